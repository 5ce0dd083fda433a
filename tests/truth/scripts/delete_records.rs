//! DeleteRecords (S88), and what reads say behind it.

use serde_json::{Value, json};

use super::ask;
use crate::batch::{Batch, Codec};
use crate::run::{Script, plain};
use crate::session::{Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("delete_records/up_to", up_to),
    plain("delete_records/all", all),
    plain("delete_records/refused", refused),
    plain("delete_records/policies", policies),
    plain("delete_records/several", several),
    plain("delete_records/producers", producers),
];

fn row(partition: i32, offset: i64) -> Value {
    json!({"partition_index": partition, "offset": offset})
}

fn of(topic: &str, rows: &[Value]) -> Value {
    json!({"topics": [{"name": topic, "partitions": rows}], "timeout_ms": 30_000})
}

/// A topic with two batches of five records.
fn filled(s: &Session, suffix: &str, codec: Codec) -> Topic {
    let topic = s.topic(suffix, 1);
    for _ in 0..2 {
        ask::append(s, &topic, &Batch::many(5).codec(codec));
    }
    topic
}

fn up_to(s: &Session) {
    let c = s.connect();
    for codec in [Codec::None, Codec::Gzip] {
        let topic = filled(s, &format!("{codec:?}").to_lowercase(), codec);
        for (version, offset) in [(0, 0), (0, 2), (1, 5), (2, 7), (2, 7), (2, 3)] {
            c.call(&format!("up to {offset}"), "DeleteRecords", version, of(&topic.name, &[row(0, offset)]));
        }
        c.call("the start", "ListOffsets", 7, ask::list_offset(&topic, -2));
        c.call("the first record with a time", "ListOffsets", 7, ask::list_offset(&topic, 0));
        c.call("the end", "ListOffsets", 7, ask::list_offset(&topic, -1));
        for offset in [0, 6, 7, 9, 10] {
            c.call(&format!("read from {offset}"), "Fetch", 12, ask::fetch(&topic, offset));
        }
    }
}

fn all(s: &Session) {
    let c = s.connect();
    let topic = filled(s, "t", Codec::None);
    c.call("everything", "DeleteRecords", 2, of(&topic.name, &[row(0, -1)]));
    for special in [-2, -1, -3, 0] {
        c.call(&format!("offset at {special}"), "ListOffsets", 7, ask::list_offset(&topic, special));
    }
    c.call("read from the end", "Fetch", 12, ask::fetch(&topic, 10));
    c.call("read from before", "Fetch", 12, ask::fetch(&topic, 9));
    c.call("offsets go on", "Produce", 9, ask::produce(&topic, &Batch::of("next")));
    c.call("and are read", "Fetch", 12, ask::fetch(&topic, 10));
    let empty = s.topic("empty", 1);
    c.call("everything of nothing", "DeleteRecords", 2, of(&empty.name, &[row(0, -1)]));
    c.call("0 of nothing", "DeleteRecords", 2, of(&empty.name, &[row(0, 0)]));
}

fn refused(s: &Session) {
    let topic = filled(s, "t", Codec::None);
    let c = s.connect();
    for offset in [11, i64::MAX, -2, i64::MIN] {
        c.every(&format!("up to {offset}"), "DeleteRecords", |_| of(&topic.name, &[row(0, offset)]));
    }
    for partition in [1, -1] {
        c.call(&format!("partition {partition}"), "DeleteRecords", 2, of(&topic.name, &[row(partition, 0)]));
    }
    for name in [s.name("missing").as_str(), "", "a b"] {
        c.call(&format!("topic {name:.24?}"), "DeleteRecords", 2, of(name, &[row(0, 0)]));
    }
    let group = s.name("g");
    s.until("the offsets topic is there", || {
        s.connect()
            .quiet("FindCoordinator", 4, json!({"key_type": 0, "coordinator_keys": [group]}))
            .int("coordinators[0].error_code")
            == 0
    });
    c.call("an internal topic", "DeleteRecords", 2, of("__consumer_offsets", &[row(0, 0)]));
    c.call("no topics", "DeleteRecords", 2, json!({"topics": [], "timeout_ms": 30_000}));
    c.call("no partitions", "DeleteRecords", 2, of(&topic.name, &[]));
    c.call(
        "no time",
        "DeleteRecords",
        2,
        json!({
        "topics": [{"name": topic.name, "partitions": [row(0, 1)]}], "timeout_ms": 0}),
    );
    c.call("the start", "ListOffsets", 7, ask::list_offset(&topic, -2));
}

fn policies(s: &Session) {
    let c = s.connect();
    for policy in ["compact", "compact,delete", "delete"] {
        let topic = s.topic_with(&policy.replace(',', "-"), 1, &[("cleanup.policy", policy)]);
        ask::append(s, &topic, &Batch::many(3));
        c.call(policy, "DeleteRecords", 2, of(&topic.name, &[row(0, 2)]));
        c.call(&format!("{policy}: the start"), "ListOffsets", 7, ask::list_offset(&topic, -2));
    }
}

fn several(s: &Session) {
    let (a, b) = (s.topic("a", 2), s.topic("b", 1));
    for partition in 0..2 {
        ask::append_to(s, &a, partition, &Batch::many(4));
    }
    ask::append(s, &b, &Batch::many(4));
    let c = s.connect();
    let topics = json!([
        {"name": a.name, "partitions": [row(0, 2), row(1, 9), row(2, 0)]},
        {"name": b.name, "partitions": [row(0, 3)]},
        {"name": s.name("missing"), "partitions": [row(0, 3)]}
    ]);
    c.every("good and bad", "DeleteRecords", |_| json!({"topics": topics, "timeout_ms": 30_000}));
    c.call("a partition twice", "DeleteRecords", 2, of(&b.name, &[row(0, 9), row(0, 4)]));
}

/// What a producer sent last is known although its records are gone.
fn producers(s: &Session) {
    let topic = s.topic("t", 1);
    let c = s.connect();
    let id = c.call("an id", "InitProducerId", 4, json!({"transaction_timeout_ms": 1000})).int("producer_id");
    let batch = |sequence| ask::produce(&topic, &Batch::of("v").producer(id, 0, sequence));
    c.call("first", "Produce", 9, batch(0));
    c.call("everything", "DeleteRecords", 2, of(&topic.name, &[row(0, -1)]));
    c.call("first again", "Produce", 9, batch(0));
    c.call("second", "Produce", 9, batch(1));
    c.call("a gap", "Produce", 9, batch(5));
}
