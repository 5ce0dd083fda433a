//! What time does to transactions and to their ids (S59).

use serde_json::{Value, json};

use super::ask;
use super::txn::{Txn, fetch_committed, init, topic};
use crate::run::{Script, hasty};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    hasty("txn_timeouts/limit", limit),
    hasty("txn_timeouts/older", s59_older),
    hasty("txn_timeouts/newer", s59_newer),
    hasty("txn_timeouts/newer_ends", newer_ends),
    hasty("txn_timeouts/new_producer", new_producer),
    hasty("txn_timeouts/expired", s59_expired),
    hasty("txn_timeouts/open_ones_stay", open_ones_stay),
];

/// An InitProducerId request with a timeout.
fn within(id: &str, timeout_ms: i32) -> Value {
    let mut request = init(id, -1, -1);
    request["transaction_timeout_ms"] = timeout_ms.into();
    request
}

/// A producer whose transactions may last for 300 ms.
fn hurried(s: &Session, suffix: &str) -> Txn {
    let mut txn = Txn::open(s, suffix);
    let answer = txn.c.quiet("InitProducerId", 4, within(&txn.id, 300));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    txn.learn(&answer);
    txn
}

/// Waits until the broker has ended it.
fn aborted(s: &Session, txn: &Txn) {
    s.until("the broker aborts it", || {
        txn.state().text("transaction_states[0].transaction_state") == "CompleteAbort"
    });
}

fn described(txn: &Txn, label: &str) {
    txn.c.call(label, "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

fn limit(s: &Session) {
    let txn = Txn::open(s, "t");
    for timeout in [60_000, 60_001] {
        txn.c.call(&format!("{timeout} ms"), "InitProducerId", 4, within(&txn.id, timeout));
    }
}

fn s59_older(s: &Session) {
    let (topic, txn) = (topic(s, "a", 1), hurried(s, "t"));
    txn.writes(s, &topic, 0, 1, 0);
    aborted(s, &txn);
    described(&txn, "aborted");
    let c = &txn.c;
    c.each("more records", "Produce", 3..=11, |_| txn.produce(&topic, &txn.batch(1, 1)));
    c.each("more partitions", "AddPartitionsToTxn", 0..=3, |_| txn.add(&[(&topic.name, &[0])]));
    c.each("its commit", "EndTxn", 0..=4, |_| txn.end(true));
    c.each("its abort", "EndTxn", 0..=4, |_| txn.end(false));
    c.call("what it has, given up", "InitProducerId", 4, init(&txn.id, txn.producer_id, txn.epoch));
    c.call("nothing, a new start", "InitProducerId", 4, init(&txn.id, -1, -1));
    c.call("what is committed", "Fetch", 12, fetch_committed(&topic, 0));
    c.call("all of it", "Fetch", 12, ask::fetch(&topic, 0));
}

fn s59_newer(s: &Session) {
    let (topic, txn) = (topic(s, "a", 1), hurried(s, "t"));
    txn.c.call("records", "Produce", 12, txn.produce(&topic, &txn.batch(1, 0)));
    aborted(s, &txn);
    described(&txn, "aborted");
    let c = &txn.c;
    c.each("more records", "Produce", 12..=13, |_| txn.produce(&topic, &txn.batch(1, 1)));
    c.call("its commit", "EndTxn", 5, txn.end(true));
    described(&txn, "its state");
    c.call("what it has, given up", "InitProducerId", 5, init(&txn.id, txn.producer_id, txn.epoch));
    c.call("nothing, a new start", "InitProducerId", 5, init(&txn.id, -1, -1));
    c.call("all of it", "Fetch", 12, ask::fetch(&topic, 0));
}

fn newer_ends(s: &Session) {
    let (topic, txn) = (topic(s, "a", 1), hurried(s, "t"));
    txn.c.call("records", "Produce", 12, txn.produce(&topic, &txn.batch(1, 0)));
    aborted(s, &txn);
    txn.c.call("its abort", "EndTxn", 5, txn.end(false));
    described(&txn, "its state");
}

fn new_producer(s: &Session) {
    let (topic, mut txn) = (topic(s, "a", 1), hurried(s, "t"));
    txn.writes(s, &topic, 0, 1, 0);
    aborted(s, &txn);
    txn.init(s);
    txn.writes(s, &topic, 0, 1, 0);
    txn.c.call("the end of the next", "EndTxn", 4, txn.end(true));
    txn.settled(s);
    txn.c.call("what is committed", "Fetch", 12, fetch_committed(&topic, 0));
}

/// Ids that nobody uses are forgotten.
fn s59_expired(s: &Session) {
    let (topic, txn) = (topic(s, "a", 1), Txn::open(s, "t"));
    txn.writes(s, &topic, 0, 1, 0);
    txn.ends(s, true);
    s.until("it is forgotten", || txn.state().int("transaction_states[0].error_code") == 105);
    let c = &txn.c;
    described(&txn, "forgotten");
    c.each("more partitions", "AddPartitionsToTxn", 0..=3, |_| txn.add(&[(&topic.name, &[0])]));
    c.every("offsets", "AddOffsetsToTxn", |_| txn.add_offsets(&s.name("g")));
    c.every("its end", "EndTxn", |_| txn.end(true));
    c.each("more records", "Produce", 9..=13, |_| txn.produce(&topic, &txn.batch(1, 1)));
    c.call("what it had", "InitProducerId", 4, init(&txn.id, txn.producer_id, txn.epoch));
    c.call("nothing, a new start", "InitProducerId", 4, init(&txn.id, -1, -1));
}

/// An open transaction keeps its id.
fn open_ones_stay(s: &Session) {
    let (topic, txn) = (topic(s, "a", 1), Txn::open(s, "t"));
    txn.writes(s, &topic, 0, 1, 0);
    let other = Txn::open(s, "u");
    s.until("another is forgotten", || other.state().int("transaction_states[0].error_code") == 105);
    described(&txn, "it is open");
    txn.c.call("its end", "EndTxn", 4, txn.end(true));
}
