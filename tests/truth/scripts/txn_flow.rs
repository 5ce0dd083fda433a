//! AddPartitionsToTxn and EndTxn, in both protocols (S53, S55, S56).

use serde_json::json;

use super::txn::{Txn, add, init};
use crate::run::{Script, plain};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("txn_flow/add", s53_adding),
    plain("txn_flow/add_refused", s53_add_refused),
    plain("txn_flow/add_unknown", s53_add_unknown),
    plain("txn_flow/add_between_brokers", add_between_brokers),
    plain("txn_flow/verify_between_brokers", verify_between_brokers),
    plain("txn_flow/end", end),
    plain("txn_flow/end_refused", end_refused),
    plain("txn_flow/end_empty", end_empty),
    plain("txn_flow/end_again", s58_end_again),
    plain("txn_flow/end_v2", s55_end_v2),
    plain("txn_flow/end_v2_again", s56_end_v2_again),
    plain("txn_flow/end_v2_empty", s56_end_v2_empty),
    plain("txn_flow/end_v2_refused", end_v2_refused),
    plain("txn_flow/end_v2_after_a_fence", end_v2_after_a_fence),
    plain("txn_flow/both_protocols", both_protocols),
];

fn described(txn: &Txn, label: &str) {
    txn.c.call(label, "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

fn s53_adding(s: &Session) {
    let (a, b) = (s.topic("a", 3), s.topic("b", 1));
    let txn = Txn::open(s, "t");
    for version in 0..=3 {
        let call = |label: &str, partitions: &[(&str, &[i32])]| {
            txn.c.call(label, "AddPartitionsToTxn", version, txn.add(partitions));
        };
        call("no topics", &[]);
        call("no partitions", &[(&a.name, &[])]);
        described(&txn, "nothing added");
        call("one", &[(&a.name, &[1])]);
        call("the same", &[(&a.name, &[1])]);
        call("more, and the same", &[(&a.name, &[0, 1, 2]), (&b.name, &[0])]);
        call("one twice", &[(&a.name, &[1, 1])]);
        described(&txn, "all added");
        txn.ends(s, version % 2 == 0);
        described(&txn, "ended");
    }
}

fn s53_add_refused(s: &Session) {
    let a = s.topic("a", 1);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    let (id, epoch) = (txn.producer_id, txn.epoch);
    let both: &[(&str, &[i32])] = &[(&a.name, &[0])];
    for version in 0..=3 {
        let call = |label: &str, request| drop(txn.c.call(label, "AddPartitionsToTxn", version, request));
        call("an unknown transactional id", add(&s.name("missing"), id, epoch, both));
        call("no transactional id", add("", id, epoch, both));
        call("another producer id", txn.add_as(7_000_200, epoch, both));
        call("no producer id", txn.add_as(-1, epoch, both));
        call("the epoch before", txn.add_as(id, epoch - 1, both));
        call("the next epoch", txn.add_as(id, epoch + 1, both));
        call("no epoch", txn.add_as(id, -1, both));
    }
    described(&txn, "nothing came of it");
}

/// S53: one bad partition, and nothing is added.
fn s53_add_unknown(s: &Session) {
    let a = s.topic("a", 2);
    let txn = Txn::open(s, "t");
    let missing = s.name("missing");
    for version in 0..=3 {
        let call = |label: &str, partitions: &[(&str, &[i32])]| {
            txn.c.call(label, "AddPartitionsToTxn", version, txn.add(partitions));
        };
        call("an unknown topic", &[(&missing, &[0])]);
        call("an unknown partition", &[(&a.name, &[2])]);
        call("a partition below 0", &[(&a.name, &[-1])]);
        call("good and bad", &[(&a.name, &[0, 1, 2]), (&missing, &[0, 1])]);
        call("no topic", &[("", &[0])]);
        call("a bad name", &[("a b", &[0])]);
    }
    let bad = txn.add_as(7_000_201, 9, &[(&missing, &[0])]);
    txn.c.call("an unknown topic of another producer", "AddPartitionsToTxn", 3, bad);
    described(&txn, "nothing came of it");
}

/// Versions that brokers speak among themselves; without an authorizer anybody may.
fn add_between_brokers(s: &Session) {
    let a = s.topic("a", 3);
    let missing = s.name("missing");
    let one = |txn: &Txn, partitions: &[(&str, &[i32])]| txn.add(partitions)["transactions"][0].clone();
    for version in 4..=5 {
        let (x, y) = (Txn::open(s, &format!("x{version}")), Txn::open(s, &format!("y{version}")));
        let call = |label: &str, all: serde_json::Value| {
            x.c.call(label, "AddPartitionsToTxn", version, json!({"transactions": all}));
        };
        call("one", json!([one(&x, &[(&a.name, &[0])])]));
        call("two", json!([one(&x, &[(&a.name, &[1])]), one(&y, &[(&a.name, &[0, 2])])]));
        call("good and bad", json!([one(&x, &[(&a.name, &[2, 3])]), one(&y, &[(&missing, &[0])])]));
        let mut other = one(&y, &[(&a.name, &[0])]);
        other["producer_epoch"] = (y.epoch + 1).into();
        call("another epoch", json!([one(&x, &[(&a.name, &[0])]), other]));
        other["producer_id"] = 7_000_210.into();
        call("another producer", json!([other]));
        described(&x, "the first");
        described(&y, "the second");
    }
}

fn verify_between_brokers(s: &Session) {
    let a = s.topic("a", 3);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    for version in 4..=5 {
        let ask = |label: &str, id: i64, epoch: i16, partitions: &[i32]| {
            let mut one = txn.add_as(id, epoch, &[(&a.name, partitions)])["transactions"][0].clone();
            one["verify_only"] = true.into();
            txn.c.call(label, "AddPartitionsToTxn", version, json!({"transactions": [one]}));
        };
        let (id, epoch) = (txn.producer_id, txn.epoch);
        ask("nothing is open", id, epoch, &[0]);
        txn.adds(&a, &[0, 1]);
        ask("it is in", id, epoch, &[0, 1]);
        ask("one is not", id, epoch, &[0, 2]);
        ask("an old epoch", id, epoch - 1, &[0]);
        ask("a later epoch", id, epoch + 1, &[0]);
        ask("another producer", 7_000_211, epoch, &[0]);
        txn.ends(s, true);
        ask("it has ended", id, epoch, &[0]);
    }
}

/// The versions of older clients: the epoch stays.
fn end(s: &Session) {
    let a = s.topic("a", 1);
    let txn = Txn::open(s, "t");
    for version in 0..=4 {
        for commit in [true, false] {
            txn.adds(&a, &[0]);
            txn.c.call("the end", "EndTxn", version, txn.end(commit));
            txn.settled(s);
            described(&txn, "its state");
        }
    }
}

fn end_refused(s: &Session) {
    let a = s.topic("a", 1);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    txn.init(s);
    let (id, epoch) = (txn.producer_id, txn.epoch);
    for open in [false, true] {
        if open {
            txn.adds(&a, &[0]);
        }
        let call = |label: &str, id: i64, epoch: i16| {
            let label = format!("{label}, {}", if open { "open" } else { "nothing open" });
            txn.c.each(&label, "EndTxn", 0..=4, |_| txn.end_as(id, epoch, true));
        };
        call("another producer id", 7_000_220, epoch);
        call("no producer id", -1, epoch);
        call("the epoch before", id, epoch - 1);
        call("an older epoch", id, epoch - 2);
        call("the next epoch", id, epoch + 1);
    }
    let mut other = txn.end(true);
    other["transactional_id"] = s.name("missing").into();
    txn.c.each("an unknown transactional id", "EndTxn", 0..=5, |_| other.clone());
    other["transactional_id"] = "".into();
    txn.c.each("no transactional id", "EndTxn", 0..=5, |_| other.clone());
    described(&txn, "nothing came of it");
}

fn end_empty(s: &Session) {
    let txn = Txn::open(s, "t");
    for commit in [true, false] {
        let label = if commit { "commit of nothing" } else { "abort of nothing" };
        txn.c.each(label, "EndTxn", 0..=4, |_| txn.end(commit));
    }
    described(&txn, "its state");
}

fn s58_end_again(s: &Session) {
    let a = s.topic("a", 1);
    for commit in [true, false] {
        let txn = Txn::open(s, if commit { "c" } else { "a" });
        txn.writes(s, &a, 0, 1, 0);
        txn.ends(s, commit);
        txn.c.each("the same again", "EndTxn", 0..=4, |_| txn.end(commit));
        txn.c.each("the opposite", "EndTxn", 0..=4, |_| txn.end(!commit));
        described(&txn, "its state");
    }
}

/// S55: a newer client's end brings the next epoch.
fn s55_end_v2(s: &Session) {
    let a = s.topic("a", 1);
    let mut txn = Txn::open(s, "t");
    for commit in [true, false, false, true] {
        txn.adds(&a, &[0]);
        let ended = txn.c.call("the end", "EndTxn", 5, txn.end(commit));
        txn.learn(&ended);
        txn.settled(s);
        described(&txn, "its state");
    }
}

/// S56: an answer that was lost.
fn s56_end_v2_again(s: &Session) {
    let a = s.topic("a", 1);
    for commit in [true, false] {
        let mut txn = Txn::open(s, if commit { "c" } else { "a" });
        txn.adds(&a, &[0]);
        let ended = txn.c.quiet("EndTxn", 5, txn.end(commit));
        txn.settled(s);
        txn.c.call("the same again", "EndTxn", 5, txn.end(commit));
        txn.c.call("the opposite", "EndTxn", 5, txn.end(!commit));
        txn.c.call("the same as an older client", "EndTxn", 4, txn.end(commit));
        txn.c.call("the opposite as an older client", "EndTxn", 4, txn.end(!commit));
        txn.learn(&ended);
        described(&txn, "its state");
        txn.c.call("a commit of nothing", "EndTxn", 5, txn.end(true));
        described(&txn, "its state after that");
        let aborted = txn.c.call("an abort of nothing", "EndTxn", 5, txn.end(false));
        txn.settled(s);
        described(&txn, "its state after the abort");
        txn.c.call("that abort again", "EndTxn", 5, txn.end(false));
        txn.c.call("a commit instead", "EndTxn", 5, txn.end(true));
        if aborted.int("error_code") == 0 {
            txn.learn(&aborted);
        }
        txn.adds(&a, &[0]);
        txn.c.call("the next", "EndTxn", 5, txn.end(commit));
        txn.settled(s);
        described(&txn, "its state at the end");
    }
}

fn s56_end_v2_empty(s: &Session) {
    let mut txn = Txn::open(s, "t");
    txn.c.call("a commit of nothing", "EndTxn", 5, txn.end(true));
    described(&txn, "its state");
    let aborted = txn.c.call("an abort of nothing", "EndTxn", 5, txn.end(false));
    txn.settled(s);
    described(&txn, "its state after the abort");
    txn.learn(&aborted);
    let again = txn.c.call("another abort of nothing", "EndTxn", 5, txn.end(false));
    txn.settled(s);
    txn.learn(&again);
    described(&txn, "its state after that");
}

fn end_v2_refused(s: &Session) {
    let a = s.topic("a", 1);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    txn.init(s);
    let (id, epoch) = (txn.producer_id, txn.epoch);
    for open in [false, true] {
        if open {
            txn.adds(&a, &[0]);
        }
        for commit in [true, false] {
            let what = if commit { "commit" } else { "abort" };
            let call = |label: &str, id: i64, epoch: i16| {
                let label = format!("{what}, {label}, {}", if open { "open" } else { "nothing open" });
                txn.c.call(&label, "EndTxn", 5, txn.end_as(id, epoch, commit));
            };
            call("another producer id", 7_000_230, epoch);
            call("the epoch before", id, epoch - 1);
            call("an older epoch", id, epoch - 2);
            call("the next epoch", id, epoch + 1);
        }
    }
    described(&txn, "nothing came of it");
}

/// The end of a transaction that another producer has ended meanwhile.
fn end_v2_after_a_fence(s: &Session) {
    let a = s.topic("a", 1);
    for commit in [true, false] {
        let txn = Txn::open(s, if commit { "c" } else { "a" });
        txn.writes(s, &a, 0, 1, 0);
        txn.c.call("another producer", "InitProducerId", 4, init(&txn.id, -1, -1));
        txn.settled(s);
        described(&txn, "aborted");
        txn.c.call("the old one's end", "EndTxn", 5, txn.end(commit));
        txn.c.call("the other producer, again", "InitProducerId", 4, init(&txn.id, -1, -1));
        txn.c.call("the old one's end, later", "EndTxn", 5, txn.end(commit));
        described(&txn, "its state");
    }
}

/// A client may change the protocol between transactions.
fn both_protocols(s: &Session) {
    let a = s.topic("a", 1);
    let mut txn = Txn::open(s, "t");
    for (commit, version) in [(true, 4), (true, 5), (false, 4), (false, 5), (true, 5), (true, 4), (true, 4)] {
        txn.adds(&a, &[0]);
        let ended = txn.c.call("the end", "EndTxn", version, txn.end(commit));
        txn.settled(s);
        if version == 5 {
            txn.learn(&ended);
        }
        described(&txn, "its state");
    }
    txn.c.call("a new producer", "InitProducerId", 5, init(&txn.id, -1, -1));
}
