//! InitProducerId and the sequence rules (S47 to S50).

use serde_json::{Value, json};

use super::ask;
use super::txn::{self, Txn};
use crate::batch::{Batch, Codec};
use crate::run::{Script, hasty, plain};
use crate::session::Session;
use crate::tree::Tree;

pub(super) const SCRIPTS: &[Script] = &[
    plain("idempotence/ids", ids),
    plain("idempotence/sequences", sequences),
    plain("idempotence/duplicates", duplicates),
    plain("idempotence/window", window),
    plain("idempotence/epochs", epochs),
    plain("idempotence/unknown_producers", unknown_producers),
    plain("idempotence/wrap", wrap),
    plain("idempotence/partitions", partitions),
    plain("idempotence/stamped", stamped),
    hasty("idempotence/expired", s49_expired),
];

/// S50: a fresh id each time, epoch 0.
fn ids(s: &Session) {
    let c = s.connect();
    let plain = |id: i64, epoch: i16| json!({"transactional_id": null, "transaction_timeout_ms": 1000, "producer_id": id, "producer_epoch": epoch});
    c.every("no id", "InitProducerId", |_| plain(-1, -1));
    let known = c.quiet("InitProducerId", 4, plain(-1, -1)).int("producer_id");
    c.each("an id of its own", "InitProducerId", 3..=5, |_| plain(known, 0));
    c.each("an unknown id", "InitProducerId", 3..=5, |_| plain(7_000_004, 5));
    for (id, epoch) in [(known, -1), (-1, 0), (-2, -1), (-1, -2), (-2, -2)] {
        let shown = if id == known { "known" } else { "none" };
        c.each(&format!("id {shown} {}, epoch {epoch}", id.min(0)), "InitProducerId", 3..=5, |_| {
            plain(id, epoch)
        });
    }
    for timeout in [0, -1, i32::MAX] {
        let request = json!({"transactional_id": null, "transaction_timeout_ms": timeout});
        c.call(&format!("timeout {timeout}"), "InitProducerId", 4, request);
    }
    let empty = json!({"transactional_id": "", "transaction_timeout_ms": 1000});
    c.every("an empty transactional id", "InitProducerId", |_| empty.clone());
}

/// A producer id from the broker.
fn producer(s: &Session) -> i64 {
    let request = json!({"transactional_id": null, "transaction_timeout_ms": 1000});
    s.connect().quiet("InitProducerId", 4, request).int("producer_id")
}

/// S48: each sequence follows the last.
fn sequences(s: &Session) {
    let (topic, id) = (s.topic("a", 1), producer(s));
    let c = s.connect();
    let send = |label: &str, records: usize, sequence: i32| {
        c.call(label, "Produce", 9, ask::produce(&topic, &Batch::many(records).producer(id, 0, sequence)));
    };
    send("from 0", 3, 0);
    send("the next", 2, 3);
    send("a gap of one", 1, 6);
    send("a step back into the last batch", 1, 4);
    send("a step back to the start, longer", 4, 0);
    send("below 0", 1, -2);
    send("the next after all this", 1, 5);
    c.each("a gap", "Produce", 3..=13, |_| ask::produce(&topic, &Batch::of("x").producer(id, 0, 9)));
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S47: a batch sent again is answered with its first offsets.
fn duplicates(s: &Session) {
    let (topic, id) = (s.topic("a", 1), producer(s));
    let c = s.connect();
    let batch =
        |records: usize, sequence: i32| ask::produce(&topic, &Batch::many(records).producer(id, 0, sequence));
    c.call("first", "Produce", 9, batch(3, 0));
    c.call("second", "Produce", 9, batch(2, 3));
    c.each("the second again", "Produce", 3..=13, |_| batch(2, 3));
    c.call("the first again", "Produce", 9, batch(3, 0));
    c.call("a part of the second", "Produce", 9, batch(1, 3));
    c.call("the second and more", "Produce", 9, batch(3, 3));
    c.call("both in one", "Produce", 9, batch(5, 0));
    let other = Batch::of("other").record("k", "words").producer(id, 0, 3);
    c.call("other records, same sequences", "Produce", 9, ask::produce(&topic, &other));
    let packed = Batch::many(2).codec(Codec::Gzip).producer(id, 0, 3);
    c.call("the second, compressed", "Produce", 9, ask::produce(&topic, &packed));
    for acks in [1, 0] {
        let mut again = batch(2, 3);
        again["acks"] = acks.into();
        match acks {
            0 => c.unanswered("the second again, acks 0", "Produce", 9, again),
            _ => drop(c.call("the second again, acks 1", "Produce", 9, again)),
        }
    }
    c.call("the end", "ListOffsets", 7, ask::list_offset(&topic, -1));
    let stamped = s.topic_with("b", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let batch = ask::produce(&stamped, &Batch::of("x").producer(id, 0, 0));
    c.call("stamped by the broker", "Produce", 9, batch.clone());
    c.call("stamped by the broker, again", "Produce", 9, batch);
}

/// S47: five batches are remembered.
fn window(s: &Session) {
    let (topic, id) = (s.topic("a", 1), producer(s));
    let c = s.connect();
    let batch = |sequence: i32| ask::produce(&topic, &Batch::of("x").producer(id, 0, sequence));
    for sequence in 0..7 {
        c.quiet("Produce", 9, batch(sequence));
    }
    for sequence in (0..7).rev() {
        c.call(&format!("sequence {sequence} again"), "Produce", 9, batch(sequence));
    }
    c.call("the next", "Produce", 9, batch(7));
}

/// S49: epochs rise, and begin at sequence 0.
fn epochs(s: &Session) {
    let (topic, id) = (s.topic("a", 1), producer(s));
    let c = s.connect();
    let send = |label: &str, epoch: i16, sequence: i32| {
        c.call(label, "Produce", 9, ask::produce(&topic, &Batch::of("x").producer(id, epoch, sequence)));
    };
    send("epoch 1", 1, 0);
    send("epoch 1, the next", 1, 1);
    send("epoch 0", 0, 0);
    send("epoch 0, the next", 0, 2);
    send("epoch 2, not from 0", 2, 2);
    send("epoch 2", 2, 0);
    send("epoch 1 again", 1, 2);
    send("epoch 5", 5, 0);
    c.each("epoch 0", "Produce", 3..=13, |_| ask::produce(&topic, &Batch::of("x").producer(id, 0, 0)));
    send("epoch 32767", i16::MAX, 0);
}

/// S48: a producer without state on a partition may start anywhere.
fn unknown_producers(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let send = |label: &str, id: i64, epoch: i16, sequence: i32| {
        c.call(label, "Produce", 9, ask::produce(&topic, &Batch::of("x").producer(id, epoch, sequence)));
    };
    send("an id that nobody got", 7_000_010, 0, 0);
    send("from sequence 5", 7_000_011, 0, 5);
    send("and on", 7_000_011, 0, 6);
    send("from epoch 3", 7_000_012, 3, 9);
    send("the largest id", i64::MAX, 0, 0);
    send("id -2", -2, 0, 0);
    send("without epoch", 7_000_013, -1, 0);
    send("with an epoch after it", 7_000_013, 0, 0);
}

/// S48: after 2147483647 comes 0.
fn wrap(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    let send = |label: &str, id: i64, records: usize, sequence: i32| {
        c.call(label, "Produce", 9, ask::produce(&topic, &Batch::many(records).producer(id, 0, sequence)));
    };
    send("the largest sequence", 7_000_020, 1, i32::MAX);
    send("a gap behind it", 7_000_020, 1, 1);
    send("0 behind it", 7_000_020, 1, 0);
    send("a batch over the edge", 7_000_021, 4, i32::MAX - 1);
    send("a batch over the edge, again", 7_000_021, 4, i32::MAX - 1);
    send("the next", 7_000_021, 1, 2);
}

/// Each partition has its own sequences.
fn partitions(s: &Session) {
    let (topic, id) = (s.topic("a", 2), producer(s));
    let c = s.connect();
    let part = |index: i32, sequence: i32| json!({"index": index, "records": Batch::of("x").producer(id, 0, sequence).value()});
    let send = |label: &str, parts: Value| {
        let data = json!([{"name": topic.name, "partition_data": parts}]);
        c.call(label, "Produce", 9, json!({"acks": -1, "timeout_ms": 1000, "topic_data": data}));
    };
    send("both from 0", json!([part(0, 0), part(1, 0)]));
    send("one on, one again", json!([part(0, 1), part(1, 0)]));
    send("one on, one with a gap", json!([part(0, 2), part(1, 2)]));
    send("one again, one on", json!([part(0, 2), part(1, 1)]));
}

/// What a consumer sees of it.
fn stamped(s: &Session) {
    let (topic, id) = (s.topic("a", 1), producer(s));
    let c = s.connect();
    for (sequence, codec) in Codec::ALL.into_iter().enumerate() {
        let batch = Batch::many(2).codec(codec).producer(id, 0, 2 * sequence as i32);
        c.call(&format!("{codec:?}"), "Produce", 9, ask::produce(&topic, &batch));
    }
    c.call("what came in", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S49: a producer that is silent for long is forgotten, unless it has a transaction open.
fn s49_expired(s: &Session) {
    let (topic, id) = (txn::topic(s, "a", 1), producer(s));
    let c = s.connect();
    let batch = |sequence: i32| {
        let batch = Batch::of("x").at(s.now()).producer(id, 0, sequence);
        ask::produce(&topic, &batch)
    };
    let active = json!({"topics": [{"name": topic.name, "partition_indexes": [0]}]});
    let count = || match c
        .quiet("DescribeProducers", 0, active.clone())
        .tree
        .at("topics[0].partitions[0].active_producers")
    {
        Some(Tree::List(all)) => all.len(),
        other => panic!("{other:?}"),
    };
    let open = Txn::open(s, "open");
    open.writes(s, &topic, 0, 1, 0);
    c.call("the first", "Produce", 9, batch(0));
    c.call("the next", "Produce", 9, batch(1));
    c.call("the next again", "Produce", 9, batch(1));
    c.call("a gap", "Produce", 9, batch(5));
    c.call("both are known", "DescribeProducers", 0, active.clone());
    s.until("one of them is forgotten", || count() == 1);
    c.call("the other is in a transaction", "DescribeProducers", 0, active.clone());
    c.call("the same batch is another", "Produce", 9, batch(1));
    c.call("and again", "Produce", 9, batch(1));
    c.call("a gap behind it", "Produce", 9, batch(5));
    open.ends(s, true);
    s.until("all are forgotten", || count() == 0);
    c.call("from anywhere", "Produce", 9, batch(9));
    let end = ask::list_offset(&topic, -1);
    c.call("the end", "ListOffsets", 7, end);
}
