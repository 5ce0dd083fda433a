//! CreateTopics, DeleteTopics and CreatePartitions (S84, S89, S30).

use serde_json::{Value, json};

use crate::batch::Batch;
use crate::codec::ZERO_UUID;
use crate::run::{Script, plain, strict};
use crate::session::{Connection, Session};

pub(super) const SCRIPTS: &[Script] = &[
    plain("topics/create", create),
    plain("topics/create_twice", create_twice),
    plain("topics/create_names", create_names),
    plain("topics/create_counts", create_counts),
    plain("topics/create_assignments", create_assignments),
    plain("topics/create_configs", create_configs),
    plain("topics/create_validate_only", create_validate_only),
    plain("topics/create_limits", create_limits),
    strict("topics/create_defaults", create_defaults),
    plain("topics/delete", delete),
    plain("topics/delete_by_id", delete_by_id),
    strict("topics/delete_off", delete_off),
    plain("topics/made_again", made_again),
    plain("topics/partitions", partitions),
    plain("topics/partitions_refused", partitions_refused),
];

/// `topics/create` records the settings that a topic starts with; the others need not repeat them.
const SETTINGS: &[&str] = &["configs"];

/// An id that no topic has.
const NO_SUCH_ID: &str = "EREREREREREREREREREREQ";

fn topic(name: &str) -> Value {
    json!({"name": name, "num_partitions": 1, "replication_factor": 1})
}

fn with(mut topic: Value, field: &str, value: Value) -> Value {
    topic[field] = value;
    topic
}

fn make(c: &Connection, label: &str, version: i16, topics: Vec<Value>) {
    let request = json!({"topics": topics, "timeout_ms": 30_000});
    c.send(label, "CreateTopics", version, request).hiding(SETTINGS).answer();
}

fn create(s: &Session) {
    let c = s.connect();
    for version in 2..=7 {
        let request = |suffix: &str| json!({"topics": [topic(&s.name(&format!("{suffix}{version}")))], "timeout_ms": 30_000});
        c.call("a topic", "CreateTopics", version, request("v"));
    }
    c.every("no topics", "CreateTopics", |_| json!({"topics": [], "timeout_ms": 30_000}));
    let name = s.name("v7");
    s.served(&name, 1);
    c.call("it is there", "Metadata", 12, json!({"topics": [{"name": name}]}));
}

fn create_twice(s: &Session) {
    let c = s.connect();
    let name = s.topic("a", 1).name;
    for version in 2..=7 {
        make(&c, "a name that is taken", version, vec![topic(&name)]);
        let twice = s.name("twice");
        make(&c, "one name twice in a request", version, vec![topic(&twice), topic(&twice)]);
    }
    let (new, twice) = (s.name("new"), s.name("other"));
    make(
        &c,
        "a new name, a taken one and one twice",
        7,
        vec![topic(&new), topic(&name), topic(&twice), topic(&twice)],
    );
    let dotted = s.topic("a.b_c", 1).name;
    make(&c, "a name that differs in dots", 7, vec![topic(&dotted.replace("a.b_c", "a_b.c"))]);
}

fn create_names(s: &Session) {
    let c = s.connect();
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "a b", "ä", "a,b", "a\0b", &long] {
        make(&c, &format!("{name:.20?}"), 7, vec![topic(name)]);
    }
    make(&c, "bad at the oldest version", 2, vec![topic("a b")]);
    make(&c, "bad and good", 6, vec![topic("a b"), topic(&s.name("good"))]);
    let name = s.name(&"y".repeat(249 - s.name("").len()));
    make(&c, "249 letters", 7, vec![topic(&name)]);
    make(&c, "an internal name", 7, vec![topic("__consumer_offsets")]);
}

/// Counts of partitions and replicas; -1 asks for the broker's default from version 4 on.
fn create_counts(s: &Session) {
    let c = s.connect();
    for partitions in [0, -1, -2, 3] {
        let name = s.name(&format!("p{partitions}"));
        let wanted = with(topic(&name), "num_partitions", partitions.into());
        make(&c, &format!("{partitions} partitions"), 7, vec![wanted]);
    }
    for replicas in [0, -1, -2, 2, 3, 32767] {
        let name = s.name(&format!("r{replicas}"));
        let wanted = with(topic(&name), "replication_factor", replicas.into());
        make(&c, &format!("{replicas} replicas"), 7, vec![wanted]);
    }
    for version in 2..=5 {
        let wanted =
            json!({"name": s.name(&format!("d{version}")), "num_partitions": -1, "replication_factor": -1});
        make(&c, "defaults", version, vec![wanted]);
    }
    let both = json!({"name": s.name("both"), "num_partitions": 0, "replication_factor": 0});
    make(&c, "0 partitions and 0 replicas", 7, vec![both]);
}

fn create_assignments(s: &Session) {
    let c = s.connect();
    let assigned = |suffix: &str, partitions: Value| {
        let all: Vec<Value> = partitions
            .as_array()
            .unwrap()
            .iter()
            .map(|p| json!({"partition_index": p[0], "broker_ids": p[1]}))
            .collect();
        json!({"name": s.name(suffix), "num_partitions": -1, "replication_factor": -1, "assignments": all})
    };
    make(&c, "two partitions", 7, vec![assigned("two", json!([[0, [1]], [1, [1]]]))]);
    make(&c, "an unknown broker", 7, vec![assigned("unknown", json!([[0, [9]]]))]);
    make(&c, "a broker twice", 7, vec![assigned("again", json!([[0, [1, 1]]]))]);
    make(&c, "no replicas", 7, vec![assigned("none", json!([[0, []]]))]);
    make(&c, "a gap", 7, vec![assigned("gap", json!([[0, [1]], [2, [1]]]))]);
    make(&c, "not from 0", 7, vec![assigned("from-1", json!([[1, [1]]]))]);
    make(&c, "below 0", 7, vec![assigned("below", json!([[-1, [1]]]))]);
    make(&c, "a partition twice", 7, vec![assigned("twice", json!([[0, [1]], [0, [1]]]))]);
    make(&c, "uneven", 7, vec![assigned("uneven", json!([[0, [1]], [1, [1, 2]]]))]);
    let counted = with(assigned("count", json!([[0, [1]]])), "num_partitions", 1.into());
    make(&c, "with a count", 7, vec![counted]);
    let counted = with(assigned("factor", json!([[0, [1]]])), "replication_factor", 1.into());
    make(&c, "with a factor", 7, vec![counted]);
    make(&c, "at the oldest version", 2, vec![assigned("old", json!([[0, [1]]]))]);
}

fn create_configs(s: &Session) {
    let c = s.connect();
    let configured = |suffix: String, configs: &[(&str, Option<&str>)]| {
        let configs: Vec<Value> = configs.iter().map(|(k, v)| json!({"name": k, "value": v})).collect();
        with(topic(&s.name(&suffix)), "configs", configs.into())
    };
    let refused = [
        ("no.such.config", Some("1")),
        ("", Some("1")),
        ("retention.ms", Some("soon")),
        ("retention.ms", Some("")),
        ("retention.ms", Some("-2")),
        ("retention.ms", None),
        ("retention.ms", Some("9223372036854775808")),
        ("cleanup.policy", Some("shrink")),
        ("cleanup.policy", Some("delete,shrink")),
        ("compression.type", Some("brotli")),
        ("compression.gzip.level", Some("10")),
        ("max.message.bytes", Some("-1")),
        ("segment.bytes", Some("13")),
        ("segment.bytes", Some("1048575")),
        ("segment.ms", Some("0")),
        ("min.insync.replicas", Some("0")),
        ("min.cleanable.dirty.ratio", Some("1.5")),
        ("preallocate", Some("maybe")),
        ("message.timestamp.type", Some("NoTime")),
        ("message.timestamp.after.max.ms", Some("-1")),
        ("flush.messages", Some("0")),
        ("index.interval.bytes", Some("-1")),
        ("remote.storage.enable", Some("true")),
        ("message.format.version", Some("3.0")),
        ("message.downconversion.enable", Some("false")),
        ("message.timestamp.difference.max.ms", Some("1000")),
    ];
    for (i, config) in refused.iter().enumerate() {
        let label = format!("{} = {:?}", config.0, config.1);
        make(&c, &label, 7, vec![configured(format!("r{i}"), &[*config])]);
    }
    let taken = [
        ("retention.ms", Some("-1")),
        ("retention.bytes", Some("-5")),
        ("retention.ms", Some(" 1000 ")),
        ("cleanup.policy", Some("compact,delete")),
        ("cleanup.policy", Some("compact, delete")),
        ("cleanup.policy", Some("")),
        ("cleanup.policy", Some("delete,delete")),
        ("compression.type", Some("zstd")),
        ("preallocate", Some("TRUE")),
        ("min.insync.replicas", Some("5")),
        ("segment.bytes", Some("1048576")),
        ("min.cleanable.dirty.ratio", Some("0")),
        ("leader.replication.throttled.replicas", Some("0:1")),
    ];
    for (i, config) in taken.iter().enumerate() {
        let label = format!("{} = {:?}", config.0, config.1);
        make(&c, &label, 7, vec![configured(format!("t{i}"), &[*config])]);
    }
    let lag: &[_] = &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))];
    make(&c, "lags that cross", 7, vec![configured("lag".to_owned(), lag)]);
    let twice: &[_] = &[("retention.ms", Some("10")), ("retention.ms", Some("20"))];
    make(&c, "a setting twice", 7, vec![configured("twice".to_owned(), twice)]);
    make(
        &c,
        "unknown at the oldest version",
        2,
        vec![configured("old".to_owned(), &[("no.such", Some("1"))])],
    );
}

fn create_validate_only(s: &Session) {
    let c = s.connect();
    let check = |label: &str, version: i16, topics: Vec<Value>| {
        let request = json!({"topics": topics, "timeout_ms": 30_000, "validate_only": true});
        c.send(label, "CreateTopics", version, request).hiding(SETTINGS).answer();
    };
    let taken = s.topic("taken", 1).name;
    for version in 2..=7 {
        check("would be made", version, vec![topic(&s.name("a"))]);
    }
    check("is taken", 7, vec![topic(&taken)]);
    check("cannot be", 7, vec![topic("a b")]);
    let wanted = json!({"name": s.name("d"), "num_partitions": -1, "replication_factor": -1});
    check("defaults", 7, vec![wanted]);
    c.call(
        "nothing was made",
        "Metadata",
        8,
        json!({"topics": [{"name": s.name("a")}], "allow_auto_topic_creation": false}),
    );
}

fn create_limits(s: &Session) {
    let c = s.connect();
    make(
        &c,
        "10001 partitions in one topic",
        7,
        vec![with(topic(&s.name("a")), "num_partitions", 10_001.into())],
    );
    let half = |suffix: &str| with(topic(&s.name(suffix)), "num_partitions", 5_001.into());
    make(&c, "10002 partitions in two topics", 7, vec![half("b"), half("c")]);
    let request = json!({"topics": [topic(&s.name("d"))], "timeout_ms": -1});
    c.send("a timeout below zero", "CreateTopics", 7, request).hiding(SETTINGS).answer();
}

/// The strict profile has defaults of its own, which a topic inherits.
fn create_defaults(s: &Session) {
    let c = s.connect();
    let wanted = json!({"name": s.name("a"), "num_partitions": -1, "replication_factor": -1});
    c.call("defaults", "CreateTopics", 7, json!({"topics": [wanted], "timeout_ms": 30_000}));
}

fn delete(s: &Session) {
    let c = s.connect();
    for version in 1..=5 {
        let (name, missing) = (s.topic(&format!("v{version}"), 1).name, s.name("missing"));
        c.call(
            "one there, one not",
            "DeleteTopics",
            version,
            json!({"topic_names": [name, missing], "timeout_ms": 30_000}),
        );
        s.gone(&name);
        c.call("it is gone", "DeleteTopics", version, json!({"topic_names": [name], "timeout_ms": 30_000}));
    }
    c.every("no topics", "DeleteTopics", |_| json!({"timeout_ms": 30_000}));
    let name = s.topic("twice", 1).name;
    c.call("a name twice", "DeleteTopics", 5, json!({"topic_names": [name, name], "timeout_ms": 30_000}));
    for name in ["", "a b", "."] {
        c.call(&format!("{name:?}"), "DeleteTopics", 5, json!({"topic_names": [name], "timeout_ms": 30_000}));
    }
}

fn delete_by_id(s: &Session) {
    let c = s.connect();
    let call = |label: &str, topics: Value| {
        c.call(label, "DeleteTopics", 6, json!({"topics": topics, "timeout_ms": 30_000}))
    };
    let (a, b, d, e) = (s.topic("a", 1), s.topic("b", 1), s.topic("d", 1), s.topic("e", 1));
    call("by name", json!([{"name": a.name}]));
    call("by id", json!([{"name": null, "topic_id": b.id}]));
    call("an unknown id", json!([{"name": null, "topic_id": NO_SUCH_ID}]));
    call("an unknown name", json!([{"name": s.name("missing")}]));
    call("both", json!([{"name": d.name, "topic_id": d.id}]));
    call("neither", json!([{"name": null, "topic_id": ZERO_UUID}]));
    call("one by name and by id", json!([{"name": d.name}, {"name": null, "topic_id": d.id}]));
    call("an id twice", json!([{"name": null, "topic_id": d.id}, {"name": null, "topic_id": d.id}]));
    call("a name twice", json!([{"name": d.name}, {"name": d.name}]));
    call("an empty name", json!([{"name": ""}]));
    call(
        "good and bad",
        json!([{"name": e.name}, {"name": s.name("missing")}, {"name": null, "topic_id": NO_SUCH_ID}]),
    );
}

fn delete_off(s: &Session) {
    let (a, c) = (s.topic("a", 1), s.connect());
    c.each(
        "deletion is off",
        "DeleteTopics",
        1..=5,
        |_| json!({"topic_names": [a.name], "timeout_ms": 30_000}),
    );
    c.call("deletion is off", "DeleteTopics", 6, json!({"topics": [{"name": a.name}], "timeout_ms": 30_000}));
    c.call(
        "and the name unknown",
        "DeleteTopics",
        5,
        json!({"topic_names": [s.name("x")], "timeout_ms": 30_000}),
    );
    c.call("no topics", "DeleteTopics", 5, json!({"timeout_ms": 30_000}));
}

/// S30: a topic made again is another topic: new id, offsets from 0.
fn made_again(s: &Session) {
    let c = s.connect();
    let first = s.topic("a", 1);
    let produce = |label: &str| {
        let data = json!([{"name": first.name, "partition_data": [{"index": 0, "records": Batch::many(3).value()}]}]);
        c.call(label, "Produce", 9, json!({"acks": -1, "timeout_ms": 30_000, "topic_data": data}));
    };
    produce("to the first");
    produce("to the first, again");
    c.call("the first goes", "DeleteTopics", 5, json!({"topic_names": [first.name], "timeout_ms": 30_000}));
    s.gone(&first.name);
    c.call("nobody knows it", "Metadata", 12, json!({"topics": [{"topic_id": first.id, "name": null}]}));
    let second = s.topic("a", 1);
    produce("to the second");
    let fetch = |id: &str| {
        json!({"max_wait_ms": 0, "topics": [{"topic_id": id, "partitions": [
            {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]}]})
    };
    c.call("the id of the first", "Fetch", 13, fetch(&first.id));
    c.call("the id of the second", "Fetch", 13, fetch(&second.id));
    let data = json!([{"topic_id": first.id, "partition_data": [{"index": 0, "records": Batch::of("late").value()}]}]);
    c.call(
        "records for the first",
        "Produce",
        13,
        json!({"acks": -1, "timeout_ms": 30_000, "topic_data": data}),
    );
    let ends = json!({"replica_id": -1, "topics": [{"name": second.name, "partitions": [{"partition_index": 0, "timestamp": -1}]}]});
    c.call("the end of the second", "ListOffsets", 7, ends);
}

fn grow(name: &str, count: i32) -> Value {
    json!({"name": name, "count": count, "assignments": null})
}

fn partitions(s: &Session) {
    let c = s.connect();
    for version in 0..=3 {
        let name = s.topic(&format!("v{version}"), 1).name;
        c.call(
            "to 3",
            "CreatePartitions",
            version,
            json!({"topics": [grow(&name, 3)], "timeout_ms": 30_000}),
        );
        s.served(&name, 3);
    }
    let name = s.topic("check", 1).name;
    let check = json!({"topics": [grow(&name, 2)], "timeout_ms": 30_000, "validate_only": true});
    c.call("would be made", "CreatePartitions", 3, check);
    c.call("nothing was made", "Metadata", 8, json!({"topics": [{"name": name}]}));
    let assigned =
        json!([{"name": name, "count": 3, "assignments": [{"broker_ids": [1]}, {"broker_ids": [1]}]}]);
    c.call("with assignments", "CreatePartitions", 3, json!({"topics": assigned, "timeout_ms": 30_000}));
    c.every("no topics", "CreatePartitions", |_| json!({"topics": [], "timeout_ms": 30_000}));
}

fn partitions_refused(s: &Session) {
    let (name, other) = (s.topic("a", 2).name, s.topic("b", 1).name);
    let c = s.connect();
    let call = |label: &str, topics: Value| {
        c.call(label, "CreatePartitions", 3, json!({"topics": topics, "timeout_ms": 30_000}));
    };
    for count in [2, 1, 0, -1] {
        call(&format!("from 2 to {count}"), json!([grow(&name, count)]));
    }
    c.each(
        "from 2 to 1",
        "CreatePartitions",
        0..=2,
        |_| json!({"topics": [grow(&name, 1)], "timeout_ms": 30_000}),
    );
    call("an unknown topic", json!([grow(&s.name("missing"), 3)]));
    call("a bad name", json!([grow("a b", 3)]));
    call("a name twice", json!([grow(&name, 3), grow(&name, 4)]));
    let assigned = |brokers: Value| json!([{"name": name, "count": 3, "assignments": brokers}]);
    call("too few assignments", json!([{"name": name, "count": 4, "assignments": [{"broker_ids": [1]}]}]));
    call("too many assignments", assigned(json!([{"broker_ids": [1]}, {"broker_ids": [1]}])));
    call("no assignments", assigned(json!([])));
    call("an unknown broker", assigned(json!([{"broker_ids": [9]}])));
    call("a broker twice", assigned(json!([{"broker_ids": [1, 1]}])));
    call("no brokers", assigned(json!([{"broker_ids": []}])));
    call("good and bad", json!([grow(&other, 2), grow(&name, 1)]));
}
