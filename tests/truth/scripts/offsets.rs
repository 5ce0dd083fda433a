//! ListOffsets and OffsetForLeaderEpoch (S85, S86, S87).

use serde_json::{Value, json};

use super::ask;
use crate::batch::{Batch, Codec, THEN};
use crate::run::{Script, plain};
use crate::session::{Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("offsets/specials", s85_specials),
    plain("offsets/by_time", s86_by_time),
    plain("offsets/out_of_order", s86_out_of_order),
    plain("offsets/largest", s85_largest),
    plain("offsets/committed", s85_committed),
    plain("offsets/unknown", unknown),
    plain("offsets/several", several),
    plain("offsets/epochs", s27_epochs),
    plain("offsets/for_epoch", s87_for_epoch),
];

fn s85_specials(s: &Session) {
    let (full, empty) = (s.topic("full", 1), s.topic("empty", 1));
    ask::append(s, &full, &Batch::many(3));
    let c = s.connect();
    for special in [-1, -2, -3, -4, -5, -6, -7, i64::MIN] {
        c.every(&format!("special {special}"), "ListOffsets", |_| ask::list_offset(&full, special));
    }
    for special in [-1, -2, -3, -4, -5, -6] {
        c.call(
            &format!("special {special} of nothing"),
            "ListOffsets",
            11,
            ask::list_offset(&empty, special),
        );
    }
    c.call("a time in nothing", "ListOffsets", 11, ask::list_offset(&empty, 0));
}

/// S86: the first record at or after a time, to the record.
fn s86_by_time(s: &Session) {
    let c = s.connect();
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let topic = s.topic(&format!("{codec:?}").to_lowercase(), 1);
        for batch in 0..3 {
            let base = THEN + batch * 1000;
            let records = (0..4).fold(Batch::new(), |b, i| b.record("k", "v").at(base + i * 10));
            ask::append(s, &topic, &records.codec(codec));
        }
        for time in
            [0, THEN, THEN + 1, THEN + 10, THEN + 30, THEN + 31, THEN + 1010, THEN + 2030, THEN + 2031]
        {
            c.call(
                &format!("{codec:?}, {} ms in", time - THEN),
                "ListOffsets",
                7,
                ask::list_offset(&topic, time),
            );
        }
        c.every("in the middle", "ListOffsets", |_| ask::list_offset(&topic, THEN + 1015));
    }
}

/// S86: with times that go back, the first record in offset order counts.
fn s86_out_of_order(s: &Session) {
    let topic = s.topic("a", 1);
    let batch = |times: &[i64]| times.iter().fold(Batch::new(), |b, t| b.record("k", "v").at(THEN + t));
    for times in [&[50, 10, 40][..], &[20, 90, 5], &[7, 8, 9], &[30, 90, 60]] {
        ask::append(s, &topic, &batch(times));
    }
    let c = s.connect();
    for time in [0, 5, 11, 41, 50, 51, 89, 90, 91] {
        c.call(&format!("{time} ms in"), "ListOffsets", 7, ask::list_offset(&topic, THEN + time));
    }
    let none = s.topic("b", 1);
    ask::append(s, &none, &Batch::of("x").at(-1).record("k", "y").at(-1));
    for time in [-3, -2, -1, 0, 1] {
        c.call(&format!("records without time, {time}"), "ListOffsets", 7, ask::list_offset(&none, time));
    }
}

/// -3: the record with the largest time, the first of equals.
fn s85_largest(s: &Session) {
    let c = s.connect();
    let topic = s.topic("a", 1);
    let batch = |times: &[i64]| times.iter().fold(Batch::new(), |b, t| b.record("k", "v").at(THEN + t));
    for (label, times, codec) in [
        ("one batch", &[5, 9, 7][..], Codec::None),
        ("an older batch behind it", &[1, 2], Codec::None),
        ("an equal time behind it", &[9, 9], Codec::None),
        ("a larger one, compressed", &[3, 20, 20, 11], Codec::Lz4),
    ] {
        ask::append(s, &topic, &batch(times).codec(codec));
        c.call(label, "ListOffsets", 7, ask::list_offset(&topic, -3));
    }
}

fn s85_committed(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::many(3));
    let c = s.connect();
    for (label, time) in
        [("the end", -1), ("the start", -2), ("the largest time", -3), ("by time", THEN), ("later", THEN + 1)]
    {
        for level in [1, 2] {
            let mut request = ask::list_offset(&topic, time);
            request["isolation_level"] = level.into();
            s.connect().call(&format!("{label}, isolation {level}"), "ListOffsets", 7, request);
        }
    }
    c.each("the end, committed", "ListOffsets", 2..=11, |_| {
        let mut request = ask::list_offset(&topic, -1);
        request["isolation_level"] = 1.into();
        request
    });
}

fn unknown(s: &Session) {
    let topic = s.topic("a", 1);
    let missing = Topic { name: s.name("missing"), id: String::new() };
    let c = s.connect();
    let partition = |topic: &Topic, index: i32, time: i64| {
        json!({"replica_id": -1, "topics": [
            {"name": topic.name, "partitions": [{"partition_index": index, "timestamp": time}]}]})
    };
    for time in [-1, THEN] {
        c.every(&format!("an unknown topic at {time}"), "ListOffsets", |_| partition(&missing, 0, time));
        c.every(&format!("an unknown partition at {time}"), "ListOffsets", |_| partition(&topic, 1, time));
    }
    c.call("a partition below 0", "ListOffsets", 7, partition(&topic, -1, -1));
    for name in ["", "a b"] {
        let odd = Topic { name: name.to_owned(), id: String::new() };
        c.call(&format!("{name:?}"), "ListOffsets", 7, partition(&odd, 0, -1));
    }
    c.every("no topics", "ListOffsets", |_| json!({"replica_id": -1}));
    c.every("no partitions", "ListOffsets", |_| json!({"replica_id": -1, "topics": [{"name": topic.name}]}));
    for replica in [-2, -3, 0, 1, 9] {
        let mut request = partition(&topic, 0, -1);
        request["replica_id"] = replica.into();
        c.call(&format!("replica {replica}"), "ListOffsets", 7, request);
    }
}

fn several(s: &Session) {
    let (a, b) = (s.topic("a", 2), s.topic("b", 1));
    ask::append_to(s, &a, 1, &Batch::many(2));
    let c = s.connect();
    let one = |index: i32, time: i64| json!({"partition_index": index, "timestamp": time});
    let request = |topics: Value| json!({"replica_id": -1, "topics": topics});
    let all = request(json!([
        {"name": a.name, "partitions": [one(1, -1), one(0, -1), one(5, -1)]},
        {"name": s.name("missing"), "partitions": [one(0, -1)]},
        {"name": b.name, "partitions": [one(0, -2)]},
    ]));
    for version in [1, 4, 6, 11] {
        c.call("good and bad", "ListOffsets", version, all.clone());
    }
    let twice = request(json!([{"name": a.name, "partitions": [one(1, -1), one(1, -2), one(0, -1)]}]));
    c.every("a partition twice", "ListOffsets", |_| twice.clone());
    let halves = request(json!([
        {"name": a.name, "partitions": [one(0, -1)]}, {"name": a.name, "partitions": [one(1, -1)]}]));
    c.call("a topic twice", "ListOffsets", 7, halves);
}

fn s27_epochs(s: &Session) {
    let topic = s.topic("a", 1);
    ask::append(s, &topic, &Batch::many(2));
    let c = s.connect();
    for epoch in [-1, 0, 1, -2] {
        for time in [-1, -2, -3, THEN] {
            let mut request = ask::list_offset(&topic, time);
            request["topics"][0]["partitions"][0]["current_leader_epoch"] = epoch.into();
            c.call(&format!("epoch {epoch}, time {time}"), "ListOffsets", 7, request);
        }
    }
}

/// S87: where an epoch ends.
fn s87_for_epoch(s: &Session) {
    let (full, empty) = (s.topic("full", 1), s.topic("empty", 1));
    ask::append(s, &full, &Batch::many(3));
    let c = s.connect();
    let request = |name: &str, partition: i32, current: i32, epoch: i32| {
        json!({"replica_id": -1, "topics": [{"topic": name, "partitions": [
            {"partition": partition, "current_leader_epoch": current, "leader_epoch": epoch}]}]})
    };
    for epoch in [0, 1, 5, -1, -2] {
        c.every(&format!("epoch {epoch}"), "OffsetForLeaderEpoch", |_| request(&full.name, 0, -1, epoch));
        c.call(
            &format!("epoch {epoch} of nothing"),
            "OffsetForLeaderEpoch",
            4,
            request(&empty.name, 0, -1, epoch),
        );
    }
    for current in [0, 1, -2] {
        c.every(&format!("current epoch {current}"), "OffsetForLeaderEpoch", |_| {
            request(&full.name, 0, current, 0)
        });
    }
    c.every("an unknown topic", "OffsetForLeaderEpoch", |_| request(&s.name("missing"), 0, -1, 0));
    c.every("an unknown partition", "OffsetForLeaderEpoch", |_| request(&full.name, 3, -1, 0));
    c.call("a partition below 0", "OffsetForLeaderEpoch", 4, request(&full.name, -1, -1, 0));
    c.every("no topics", "OffsetForLeaderEpoch", |_| json!({"replica_id": -1}));
    let two = json!([{"partition": 0, "current_leader_epoch": -1}, {"partition": 0, "current_leader_epoch": -1, "leader_epoch": 7}]);
    let twice = json!({"replica_id": -1, "topics": [{"topic": full.name, "partitions": two}]});
    c.call("a partition twice", "OffsetForLeaderEpoch", 4, twice);
    for replica in [-2, 0, 1] {
        let mut request = request(&full.name, 0, -1, 0);
        request["replica_id"] = replica.into();
        c.call(&format!("replica {replica}"), "OffsetForLeaderEpoch", 4, request);
    }
}
