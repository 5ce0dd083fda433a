//! Produce: acks, topics, sizes and what the answer says (S8, S34, S37, S38, S39, S44, S45, S46).

use std::time::Duration;

use serde_json::{Value, json};

use super::ask;
use crate::batch::{Batch, Codec, THEN};
use crate::codec::ZERO_UUID;
use crate::run::{Script, plain, strict};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("produce/versions", s44_versions),
    plain("produce/acks", s34_acks),
    plain("produce/unanswered", s8_unanswered),
    plain("produce/unknown", s46_unknown),
    plain("produce/empty", empty),
    plain("produce/several", s35_several),
    plain("produce/sizes", s37_sizes),
    plain("produce/timestamps", s38_timestamps),
    plain("produce/log_append_time", s39_log_append_time),
    plain("produce/internal", s45_internal),
    plain("produce/transactional_id", transactional_id),
    strict("produce/strict", strict_defaults),
];

fn s44_versions(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    c.every("one record", "Produce", |v| ask::produce(&topic, &Batch::of(&format!("v{v}"))));
    c.call("all of them", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S34: -1, 0 and 1, nothing else.
fn s34_acks(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let request = |acks: i16| {
        let mut request = ask::produce(&topic, &Batch::of("x"));
        request["acks"] = acks.into();
        request
    };
    for acks in [1, -1, 2, -2, i16::MAX] {
        c.call(&format!("acks {acks}"), "Produce", 9, request(acks));
    }
    c.each("acks 2", "Produce", 3..=13, |_| request(2));
    c.call("what came in", "ListOffsets", 7, ask::list_offset(&topic, -1));
    let many = s.topic_with("b", 1, &[("min.insync.replicas", "2")]);
    c.call("fewer replicas than wanted", "Produce", 9, ask::produce(&many, &Batch::of("x")));
}

/// S8: acks=0 has no answer; a failure closes the connection.
fn s8_unanswered(s: &Session) {
    let topic = s.topic("a", 1);
    let request = |topic: &crate::session::Topic, batch: &Batch| {
        let mut request = ask::produce(topic, batch);
        request["acks"] = 0.into();
        request
    };
    let c = s.connect();
    for version in 3..=13 {
        c.unanswered("a record", "Produce", version, request(&topic, &Batch::of("x")));
    }
    s.until("all came in", || {
        c.quiet("ListOffsets", 7, ask::list_offset(&topic, -1)).int("topics[0].partitions[0].offset") == 11
    });
    c.call("all came in", "ListOffsets", 7, ask::list_offset(&topic, -1));
    let missing = crate::session::Topic { name: s.name("missing"), id: "EREREREREREREREREREREQ".to_owned() };
    for version in [3, 9, 13] {
        s.connect().unanswered("to an unknown topic", "Produce", version, request(&missing, &Batch::of("x")));
    }
    let wrong = Batch::of("x").edit(17, &[1, 2, 3, 4]);
    s.connect().unanswered("with a wrong checksum", "Produce", 9, request(&topic, &wrong));
    s.connect().unanswered("with no topics", "Produce", 9, json!({"acks": 0, "timeout_ms": 1000}));
}

fn s46_unknown(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let batch = Batch::of("x").value();
    let to = |name: &str, index: i32| {
        json!({"acks": -1, "timeout_ms": 1000, "topic_data": [
            {"name": name, "partition_data": [{"index": index, "records": batch}]}]})
    };
    let to_id = |id: &str, index: i32| {
        json!({"acks": -1, "timeout_ms": 1000, "topic_data": [
            {"topic_id": id, "partition_data": [{"index": index, "records": batch}]}]})
    };
    c.each("an unknown topic", "Produce", 3..=12, |_| to(&s.name("missing"), 0));
    c.each("an unknown partition", "Produce", 3..=12, |_| to(&topic.name, 1));
    c.call("a partition below 0", "Produce", 9, to(&topic.name, -1));
    for name in ["", "a b"] {
        c.call(&format!("to {name:?}"), "Produce", 9, to(name, 0));
    }
    c.call("an unknown id", "Produce", 13, to_id("EREREREREREREREREREREQ", 0));
    c.call("no id", "Produce", 13, to_id(ZERO_UUID, 0));
    c.call("an unknown partition of an id", "Produce", 13, to_id(&topic.id, 7));
    c.call(
        "nothing was made",
        "Metadata",
        8,
        json!({"topics": [{"name": s.name("missing")}], "allow_auto_topic_creation": false}),
    );
}

fn empty(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    c.every("no topics", "Produce", |_| json!({"acks": -1, "timeout_ms": 1000}));
    let none =
        json!({"acks": -1, "timeout_ms": 1000, "topic_data": [{"name": topic.name, "topic_id": topic.id}]});
    c.each("no partitions", "Produce", 3..=13, |_| none.clone());
    c.every("no batch", "Produce", |_| ask::produce_bytes(&topic, json!("")));
    c.wait_only(Duration::from_secs(3));
    c.call("records of null", "Produce", 9, ask::produce_bytes(&topic, Value::Null));
}

/// Each partition stands for itself.
fn s35_several(s: &Session) {
    let (a, b) = (s.topic("a", 3), s.topic("b", 1));
    let c = s.connect();
    let (good, bad) = (Batch::many(2).value(), Batch::of("x").edit(17, &[1, 2, 3, 4]).value());
    let data = json!([
        {"name": a.name, "partition_data": [
            {"index": 2, "records": good}, {"index": 0, "records": bad}, {"index": 9, "records": good}]},
        {"name": s.name("missing"), "partition_data": [{"index": 0, "records": good}]},
        {"name": b.name, "partition_data": [{"index": 0, "records": good}]},
    ]);
    let request = json!({"acks": -1, "timeout_ms": 1000, "topic_data": data});
    for version in [3, 4, 5, 8, 9, 10, 12] {
        c.call("good and bad", "Produce", version, request.clone());
    }
    let twice = json!([{"name": b.name, "partition_data": [
        {"index": 0, "records": Batch::of("first").value()}, {"index": 0, "records": Batch::of("second").value()}]}]);
    c.call("a partition twice", "Produce", 9, json!({"acks": -1, "timeout_ms": 1000, "topic_data": twice}));
    let halves = json!([
        {"name": b.name, "partition_data": [{"index": 0, "records": Batch::of("third").value()}]},
        {"name": b.name, "partition_data": [{"index": 0, "records": Batch::of("fourth").value()}]},
    ]);
    c.call("a topic twice", "Produce", 9, json!({"acks": -1, "timeout_ms": 1000, "topic_data": halves}));
    c.call("what came in", "Fetch", 12, ask::fetch(&b, 14));
}

/// S37: limits hold for the batch as sent.
fn s37_sizes(s: &Session) {
    let c = s.connect();
    let small = s.topic_with("small", 1, &[("max.message.bytes", "200")]);
    c.call("200 bytes", "Produce", 9, ask::produce(&small, &Batch::sized(200)));
    c.each("201 bytes", "Produce", 3..=13, |_| ask::produce(&small, &Batch::sized(201)));
    let zipped = Batch::of(&"x".repeat(1000)).codec(Codec::Gzip);
    c.call("1000 bytes, compressed", "Produce", 9, ask::produce(&small, &zipped));
    let unzipped =
        s.topic_with("unzipped", 1, &[("max.message.bytes", "200"), ("compression.type", "uncompressed")]);
    c.call("1000 bytes to be unpacked", "Produce", 9, ask::produce(&unzipped, &zipped));
    let none = s.topic_with("none", 1, &[("max.message.bytes", "0")]);
    c.call("nothing allowed", "Produce", 9, ask::produce(&none, &Batch::of("x")));
    let usual = s.topic("usual", 1);
    c.call("1048588 bytes", "Produce", 9, ask::produce(&usual, &Batch::sized(1_048_588)));
    c.call("1048589 bytes", "Produce", 9, ask::produce(&usual, &Batch::sized(1_048_589)));
    let segment =
        s.topic_with("segment", 1, &[("segment.bytes", "1048576"), ("max.message.bytes", "3000000")]);
    let request = ask::produce(&segment, &Batch::sized(1_048_577));
    c.call("more than a segment", "Produce", 9, request);
    c.call("what came in", "ListOffsets", 7, ask::list_offset(&usual, -1));
}

/// S38: record times and the limits around the broker's clock.
fn s38_timestamps(s: &Session) {
    let c = s.connect();
    let minute = 60_000;
    let topic = s.topic("a", 1);
    let at = |time: i64| Batch::of("x").at(time);
    for (label, time) in [
        ("in 2023", THEN),
        ("now", s.now()),
        ("-1", -1),
        ("0", 0),
        ("50 minutes ahead", s.now() + 50 * minute),
    ] {
        c.call(label, "Produce", 9, ask::produce(&topic, &at(time)));
    }
    let now = s.now();
    let ahead = now + 70 * minute;
    c.each("70 minutes ahead", "Produce", 7..=9, |_| ask::produce(&topic, &at(ahead)));
    let mixed = Batch::of("fine")
        .at(now)
        .record("k", "late")
        .at(ahead)
        .record("k", "fine")
        .at(now)
        .record("k", "late")
        .at(ahead);
    c.call("two of four ahead", "Produce", 9, ask::produce(&topic, &mixed));
    c.call("below -1", "Produce", 9, ask::produce(&topic, &at(-2)));
    let appended = Batch::of("x").attributes(8);
    c.each("marked as appended", "Produce", 7..=9, |_| ask::produce(&topic, &appended));
    let lied = at(THEN).edit(35, &(THEN + 1).to_be_bytes());
    c.call("a largest time that none has", "Produce", 9, ask::produce(&topic, &lied));
    let lied = Batch::many(2).at(THEN + 5).edit(35, &(THEN + 9).to_be_bytes()).codec(Codec::Gzip);
    c.call("the same, compressed", "Produce", 9, ask::produce(&topic, &lied));
    let narrow = s.topic_with(
        "b",
        1,
        &[("message.timestamp.before.max.ms", "600000"), ("message.timestamp.after.max.ms", "600000")],
    );
    for (label, off) in
        [("9 minutes ago", -9), ("11 minutes ago", -11), ("9 minutes ahead", 9), ("11 minutes ahead", 11)]
    {
        c.call(label, "Produce", 9, ask::produce(&narrow, &at(s.now() + off * minute)));
    }
    c.call("no time, with limits", "Produce", 9, ask::produce(&narrow, &at(-1)));
    // One at a time: such times make Kafka roll a segment for each, and it answers from one segment.
    for offset in 0..12 {
        let mut request = ask::fetch(&topic, offset);
        request["max_bytes"] = 1.into();
        c.call(&format!("record {offset}"), "Fetch", 12, request);
    }
}

/// S39: the broker's time, in the header alone.
fn s39_log_append_time(s: &Session) {
    let c = s.connect();
    let topic = s.topic_with("a", 1, &[("message.timestamp.type", "LogAppendTime")]);
    c.every("as sent in 2023", "Produce", |_| ask::produce(&topic, &Batch::many(2).at(THEN + 7)));
    c.call("marked as appended", "Produce", 9, ask::produce(&topic, &Batch::of("x").attributes(8)));
    let ahead = s.now() + 7_200_000;
    c.call("two hours ahead", "Produce", 9, ask::produce(&topic, &Batch::of("x").at(ahead)));
    for codec in Codec::ALL {
        c.call(&format!("{codec:?}"), "Produce", 9, ask::produce(&topic, &Batch::many(2).codec(codec)));
    }
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 20));
    c.call("by time", "ListOffsets", 7, ask::list_offset(&topic, THEN + 1));
    c.call("the largest", "ListOffsets", 7, ask::list_offset(&topic, -3));
}

/// S45: clients do not write to internal topics.
fn s45_internal(s: &Session) {
    let c = s.connect();
    let topic = crate::session::Topic { name: "__consumer_offsets".to_owned(), id: ZERO_UUID.to_owned() };
    c.each("to the offsets topic", "Produce", 3..=12, |_| ask::produce(&topic, &Batch::of("x")));
}

/// A transactional id on records that belong to no transaction.
fn transactional_id(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    for id in ["tx", ""] {
        let mut request = ask::produce(&topic, &Batch::of("x"));
        request["transactional_id"] = id.into();
        c.call(&format!("plain records, id {id:?}"), "Produce", 9, request);
    }
}

/// The strict profile limits records to 2000 bytes, stamps them and compresses them.
fn strict_defaults(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    c.call("a record", "Produce", 9, ask::produce(&topic, &Batch::many(3)));
    c.call("2001 bytes", "Produce", 9, ask::produce(&topic, &Batch::of(&"x".repeat(2001))));
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}
