//! Fetch without sessions (S15 to S23, S27 to S31).

use std::time::Duration;

use serde_json::{Value, json};

use super::ask;
use crate::batch::{Batch, Codec};
use crate::codec::ZERO_UUID;
use crate::run::{Script, plain};
use crate::session::{Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("fetch/versions", s15_s31_versions),
    plain("fetch/positions", s17_s23_positions),
    plain("fetch/whole_batches", s16_s17_whole_batches),
    plain("fetch/limits", limits),
    plain("fetch/waits", s18_waits),
    plain("fetch/woken", s18_woken),
    plain("fetch/answered_at_once", s18_answered_at_once),
    plain("fetch/unknown", unknown),
    plain("fetch/several", several),
    plain("fetch/epochs", s27_s28_epochs),
    plain("fetch/isolation", s20_s21_isolation),
    plain("fetch/replicas", s29_replicas),
    plain("fetch/deleted", s89_deleted),
];

/// One partition of a fetch.
fn at(partition: i32, offset: i64, bytes: i32) -> Value {
    json!({"partition": partition, "fetch_offset": offset, "partition_max_bytes": bytes})
}

/// Partitions of one topic, by name or by id as the version has it.
fn of(topic: &Topic, partitions: Value) -> Value {
    json!({"topic": topic.name, "topic_id": topic.id, "partitions": partitions})
}

fn request(topics: Value) -> Value {
    json!({"max_wait_ms": 0, "min_bytes": 0, "topics": topics})
}

fn s15_s31_versions(s: &Session) {
    let topic = s.topic("a", 2);
    ask::append(s, &topic, &Batch::many(2));
    ask::append(s, &topic, &Batch::of("compressed").codec(Codec::Zstd));
    let c = s.connect();
    c.every("two partitions", "Fetch", |_| {
        request(json!([of(&topic, json!([at(0, 0, 10_000), at(1, 0, 10_000)]))]))
    });
    c.every("no topics", "Fetch", |_| request(json!([])));
    c.every("no partitions", "Fetch", |_| request(json!([of(&topic, json!([]))])));
}

/// S17, S23: where a fetch may start.
fn s17_s23_positions(s: &Session) {
    let topic = s.topic("a", 1);
    for _ in 0..2 {
        ask::append(s, &topic, &Batch::many(3));
    }
    let c = s.connect();
    for (label, offset) in [
        ("the start", 0),
        ("inside the first batch", 1),
        ("its last record", 2),
        ("the second batch", 3),
        ("the last record", 5),
        ("the end", 6),
        ("behind the end", 7),
        ("far behind the end", i64::MAX),
        ("-1", -1),
        ("-2", -2),
    ] {
        c.call(label, "Fetch", 12, ask::fetch(&topic, offset));
    }
    c.every("behind the end", "Fetch", |_| ask::fetch(&topic, 7));
    let empty = s.topic("b", 1);
    c.call("the start of nothing", "Fetch", 12, ask::fetch(&empty, 0));
    c.call("behind nothing", "Fetch", 12, ask::fetch(&empty, 1));
}

/// S16, S17: the first batch comes whole, whatever the limits.
fn s16_s17_whole_batches(s: &Session) {
    let topic = s.topic("a", 2);
    for partition in [0, 1] {
        for _ in 0..3 {
            ask::append_to(s, &topic, partition, &Batch::sized(500));
        }
    }
    let c = s.connect();
    for bytes in [0, 1, 500, 1000, 1001, 1499, 1500] {
        let partitions = json!([at(0, 0, bytes), at(1, 0, 10_000)]);
        c.call(&format!("{bytes} bytes of the first"), "Fetch", 12, request(json!([of(&topic, partitions)])));
    }
    for bytes in [0, 1, 500, 1500, 2000, 2500] {
        let mut request = request(json!([of(&topic, json!([at(0, 0, 10_000), at(1, 0, 10_000)]))]));
        request["max_bytes"] = bytes.into();
        c.call(&format!("{bytes} bytes of all"), "Fetch", 12, request);
    }
    let mut request = request(json!([of(&topic, json!([at(1, 1, 1), at(0, 2, 1)]))]));
    request["max_bytes"] = 1.into();
    c.call("the other one first", "Fetch", 12, request);
}

fn limits(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::sized(300));
    ask::append(s, &topic, &Batch::sized(300));
    let c = s.connect();
    for (label, field, value) in [
        ("max_bytes -1", "max_bytes", -1),
        ("min_bytes -1", "min_bytes", -1),
        ("max_wait -1", "max_wait_ms", -1),
        ("min_bytes 2147483647 without wait", "min_bytes", i32::MAX),
    ] {
        let mut request = ask::fetch(&topic, 0);
        request[field] = value.into();
        c.call(label, "Fetch", 12, request);
    }
    c.call("partition bytes -1", "Fetch", 12, request(json!([of(&topic, json!([at(0, 0, -1)]))])));
    let mut above = ask::fetch(&topic, 0);
    above["min_bytes"] = 5000.into();
    above["max_bytes"] = 400.into();
    above["max_wait_ms"] = 5000.into();
    c.timed("min_bytes above max_bytes", "Fetch", 12, Duration::from_secs(5), above);
}

const WAIT: Duration = Duration::from_millis(1500);

/// A fetch from the end of a topic that waits.
fn waiting(topics: Value, min_bytes: i32) -> Value {
    json!({"max_wait_ms": WAIT.as_millis() as i32, "min_bytes": min_bytes, "topics": topics})
}

/// S18: too few bytes are answered after the wait, with what there is.
fn s18_waits(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::sized(300));
    let c = s.connect();
    c.timed("nothing new", "Fetch", 12, WAIT, waiting(json!([of(&topic, json!([at(0, 1, 1000)]))]), 1));
    c.timed(
        "less than wanted",
        "Fetch",
        12,
        WAIT,
        waiting(json!([of(&topic, json!([at(0, 0, 1000)]))]), 301),
    );
    c.timed(
        "as much as wanted",
        "Fetch",
        12,
        WAIT,
        waiting(json!([of(&topic, json!([at(0, 0, 1000)]))]), 300),
    );
    let little = waiting(json!([of(&topic, json!([at(0, 0, 100)]))]), 300);
    c.timed("a partition counts no more than its limit", "Fetch", 12, WAIT, little);
    c.timed("no wish for bytes", "Fetch", 12, WAIT, waiting(json!([of(&topic, json!([at(0, 1, 1000)]))]), 0));
}

/// A produce ends the wait.
fn s18_woken(s: &Session) {
    let (a, b) = (s.topic("a", 1), s.topic("b", 1));
    let c = s.connect();
    let long = |topics: Value, min_bytes: i32| json!({"max_wait_ms": 20_000, "min_bytes": min_bytes, "topics": topics});
    let both = |offset: i64| json!([of(&a, json!([at(0, offset, 1000)])), of(&b, json!([at(0, 0, 1000)]))]);
    let pending = c.send("one of two gets a record", "Fetch", 12, long(both(0), 1));
    std::thread::sleep(Duration::from_millis(200));
    ask::append(s, &a, &Batch::of("x"));
    pending.answer();
    let pending = c.send("two records make enough", "Fetch", 12, long(both(1), 130));
    std::thread::sleep(Duration::from_millis(200));
    ask::append(s, &a, &Batch::of("y"));
    ask::append(s, &b, &Batch::of("z"));
    pending.answer();
}

/// S18: what never waits.
fn s18_answered_at_once(s: &Session) {
    let topic = s.topic("a", 2);
    let c = s.connect();
    let both = json!([of(&topic, json!([at(0, 0, 1000), at(1, 5, 1000)]))]);
    c.timed("an offset out of range", "Fetch", 12, WAIT, waiting(both, 1));
    let both = json!([of(&topic, json!([at(0, 0, 1000), at(9, 0, 1000)]))]);
    c.timed("an unknown partition", "Fetch", 12, WAIT, waiting(both, 1));
    c.timed("no topics", "Fetch", 12, WAIT, waiting(json!([]), 1));
    let missing = Topic { name: s.name("missing"), id: "EREREREREREREREREREREQ".to_owned() };
    let both = json!([of(&topic, json!([at(0, 0, 1000)])), of(&missing, json!([at(0, 0, 1000)]))]);
    c.timed("an unknown topic", "Fetch", 12, WAIT, waiting(both.clone(), 1));
    c.timed("an unknown id", "Fetch", 13, WAIT, waiting(both, 1));
}

fn unknown(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let missing = Topic { name: s.name("missing"), id: "EREREREREREREREREREREQ".to_owned() };
    c.every("an unknown topic", "Fetch", |_| request(json!([of(&missing, json!([at(0, 0, 1000)]))])));
    c.every("an unknown partition", "Fetch", |_| request(json!([of(&topic, json!([at(1, 0, 1000)]))])));
    c.call("a partition below 0", "Fetch", 12, request(json!([of(&topic, json!([at(-1, 0, 1000)]))])));
    for name in ["", "a b"] {
        let odd = Topic { name: name.to_owned(), id: ZERO_UUID.to_owned() };
        c.call(&format!("{name:?}"), "Fetch", 12, request(json!([of(&odd, json!([at(0, 0, 1000)]))])));
    }
    let none = Topic { name: String::new(), id: ZERO_UUID.to_owned() };
    c.call("no id", "Fetch", 13, request(json!([of(&none, json!([at(0, 0, 1000)]))])));
    let request = json!({"topics": [{"name": missing.name}], "allow_auto_topic_creation": false});
    c.call("nothing was made", "Metadata", 8, request);
}

fn several(s: &Session) {
    let (a, b) = (s.topic("a", 3), s.topic("b", 1));
    for partition in 0..3 {
        ask::append_to(s, &a, partition, &Batch::of(&format!("a{partition}")));
    }
    ask::append(s, &b, &Batch::of("b"));
    let c = s.connect();
    let all = json!([
        of(&a, json!([at(2, 0, 1000), at(0, 0, 1000), at(7, 0, 1000)])),
        of(&b, json!([at(0, 0, 1000)]))
    ]);
    for version in [4, 11, 12, 13, 18] {
        c.call("two topics", "Fetch", version, request(all.clone()));
    }
    let twice = json!([of(&a, json!([at(0, 0, 1000), at(0, 1, 1000)]))]);
    c.call("a partition twice", "Fetch", 12, request(twice.clone()));
    c.call("a partition twice", "Fetch", 13, request(twice));
    let halves = json!([of(&a, json!([at(0, 0, 1000)])), of(&a, json!([at(1, 0, 1000)]))]);
    c.call("a topic twice", "Fetch", 12, request(halves));
}

/// S27, S28: epochs other than the present one.
fn s27_s28_epochs(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::of("x"));
    let c = s.connect();
    let with = |field: &str, epoch: i32| {
        let mut partition = at(0, 0, 1000);
        partition[field] = epoch.into();
        request(json!([of(&topic, json!([partition]))]))
    };
    for epoch in [-1, 0, 1, 100, -2] {
        c.each(&format!("current epoch {epoch}"), "Fetch", 9..=18, |_| with("current_leader_epoch", epoch));
    }
    for epoch in [0, 1] {
        c.call(&format!("last fetched epoch {epoch}"), "Fetch", 12, with("last_fetched_epoch", epoch));
    }
}

/// S20, S21: without transactions both isolations see the same; the aborted list is null or empty.
fn s20_s21_isolation(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::of("x"));
    let c = s.connect();
    for level in [0, 1, 2, -1] {
        let mut request = ask::fetch(&topic, 0);
        request["isolation_level"] = level.into();
        s.connect().each(&format!("isolation {level}"), "Fetch", 4..=18, |_| request.clone());
    }
    let mut request = ask::fetch(&topic, 1);
    request["isolation_level"] = 1.into();
    c.call("committed, at the end", "Fetch", 12, request);
}

/// Fields of followers, as consumers and debuggers set them.
fn s29_replicas(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::of("x"));
    let c = s.connect();
    let with = |field: &str, value: Value| {
        let mut request = ask::fetch(&topic, 0);
        request[field] = value;
        request
    };
    c.call("a debugger", "Fetch", 12, with("replica_id", (-2).into()));
    c.call("a rack", "Fetch", 12, with("rack_id", "here".into()));
    c.call("a cluster's id", "Fetch", 12, with("cluster_id", "other".into()));
    c.call(
        "a consumer by its state",
        "Fetch",
        15,
        with("replica_state", json!({"replica_id": -1, "replica_epoch": -1})),
    );
}

/// S89: a deleted topic is an error and ends waits.
fn s89_deleted(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let long =
        json!({"max_wait_ms": 20_000, "min_bytes": 1, "topics": [of(&topic, json!([at(0, 0, 1000)]))]});
    let pending = c.send("deleted while it waits", "Fetch", 12, long);
    std::thread::sleep(Duration::from_millis(300));
    s.connect().quiet("DeleteTopics", 5, json!({"topic_names": [topic.name], "timeout_ms": 30_000}));
    pending.answer();
    s.gone(&topic.name);
    c.call("by name", "Fetch", 12, ask::fetch(&topic, 0));
    c.call("by id", "Fetch", 13, ask::fetch(&topic, 0));
}
