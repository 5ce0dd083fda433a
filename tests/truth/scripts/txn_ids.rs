//! Where transactional ids live, and InitProducerId with one (S51, S52, S61).

use serde_json::{Value, json};

use super::txn::{Txn, init};
use crate::run::{Script, plain};
use crate::session::{As, Session};

pub(super) const SCRIPTS: &[Script] = &[
    plain("txn_ids/coordinator", coordinator),
    plain("txn_ids/fresh", s51_fresh),
    plain("txn_ids/bump", s51_bump),
    plain("txn_ids/timeouts", s51_timeouts),
    plain("txn_ids/recovery", s52_recovery),
    plain("txn_ids/recovery_of_nothing", s52_recovery_of_nothing),
    plain("txn_ids/recovery_after_an_end", s52_recovery_after_an_end),
    plain("txn_ids/half_given", half_given),
    plain("txn_ids/open", s51_open),
    plain("txn_ids/open_and_recovered", open_and_recovered),
    plain("txn_ids/odd_names", odd_names),
    plain("txn_ids/two_phases", s61_two_phases),
];

fn coordinator(s: &Session) {
    let c = s.connect();
    let find = |key: &str, kind: i8| json!({"key": key, "coordinator_keys": [key], "key_type": kind});
    c.each("of a transactional id", "FindCoordinator", 1..=6, |_| find(&s.name("t"), 1));
    c.each("of no transactional id", "FindCoordinator", 1..=6, |_| find("", 1));
    let keys = json!([s.name("a"), s.name("b"), s.name("a")]);
    c.each("of several", "FindCoordinator", 4..=6, |_| json!({"coordinator_keys": keys, "key_type": 1}));
}

/// A first producer id: epoch 0.
fn s51_fresh(s: &Session) {
    let c = s.connect();
    for version in 0..=5 {
        let id = s.name(&format!("v{version}"));
        c.call("the first", "InitProducerId", version, init(&id, -1, -1));
        c.call("its state", "DescribeTransactions", 0, json!({"transactional_ids": [id]}));
    }
}

/// Each further one keeps the id and takes the next epoch.
fn s51_bump(s: &Session) {
    let txn = Txn::open(s, "t");
    for version in 0..=5 {
        txn.c.call("again", "InitProducerId", version, init(&txn.id, -1, -1));
    }
}

fn s51_timeouts(s: &Session) {
    let txn = Txn::open(s, "t");
    let with = |id: &str, timeout: i32| {
        let mut request = init(id, -1, -1);
        request["transaction_timeout_ms"] = timeout.into();
        request
    };
    for timeout in [0, -1, 1, 900_000, 900_001, i32::MAX] {
        let new = s.name(&format!("n{timeout}"));
        txn.c.call(&format!("{timeout} ms"), "InitProducerId", 4, with(&new, timeout));
        txn.c.call(&format!("{timeout} ms, known"), "InitProducerId", 4, with(&txn.id, timeout));
    }
    txn.c.each("0 ms", "InitProducerId", 0..=5, |_| with(&txn.id, 0));
    txn.c.call("the last one counts", "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

/// S52: what a producer says that it has.
fn s52_recovery(s: &Session) {
    let mut txn = Txn::open(s, "t");
    for _ in 0..3 {
        txn.init(s);
    }
    let (id, epoch) = (txn.producer_id, txn.epoch);
    let c = &txn.c;
    c.each("a later epoch", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch + 1));
    c.each("an epoch before the last", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch - 2));
    c.each("the epoch before, another's bump", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch - 1));
    c.call("the current epoch", "InitProducerId", 4, init(&txn.id, id, epoch));
    c.each("the current epoch, asked again", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch));
    c.call("the current epoch, the next", "InitProducerId", 4, init(&txn.id, id, epoch + 1));
    c.each("an old one meanwhile", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch));
    c.call("nobody in particular", "InitProducerId", 4, init(&txn.id, -1, -1));
    c.each("the epoch before that", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch + 2));
    c.each("another producer id", "InitProducerId", 3..=5, |_| init(&txn.id, 7_000_100, epoch + 3));
    c.each("another producer id, epoch 0", "InitProducerId", 3..=5, |_| init(&txn.id, 7_000_100, 0));
    c.call("the end of it", "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

/// A transactional id that the broker does not know.
fn s52_recovery_of_nothing(s: &Session) {
    let c = s.connect();
    for version in 3..=5 {
        let id = s.name(&format!("v{version}"));
        c.call("an id of its own", "InitProducerId", version, init(&id, 7_000_110, 3));
        c.call("its state", "DescribeTransactions", 0, json!({"transactional_ids": [id]}));
        c.call("nothing given", "InitProducerId", version, init(&id, -1, -1));
    }
}

/// What the producer has after a transaction.
fn s52_recovery_after_an_end(s: &Session) {
    let topic = s.topic("a", 1);
    for commit in [true, false] {
        let mut txn = Txn::open(s, if commit { "c" } else { "a" });
        txn.writes(s, &topic, 0, 1, 0);
        txn.ends(s, commit);
        let (id, epoch) = (txn.producer_id, txn.epoch);
        txn.c.each("a later epoch", "InitProducerId", 3..=5, |_| init(&txn.id, id, epoch + 1));
        txn.c.call("the current epoch", "InitProducerId", 4, init(&txn.id, id, epoch));
        txn.c.call("the current epoch, again", "InitProducerId", 4, init(&txn.id, id, epoch));
        txn.learn(&txn.state());
        txn.adds(&topic, &[0]);
        let ended = txn.c.quiet("EndTxn", 5, txn.end(commit));
        txn.settled(s);
        txn.c.call("a newer client's, the epoch before", "InitProducerId", 4, init(&txn.id, id, txn.epoch));
        txn.learn(&ended);
        txn.c.call("a newer client's, the current", "InitProducerId", 4, init(&txn.id, id, txn.epoch));
    }
}

/// S50: id and epoch go together.
fn half_given(s: &Session) {
    let txn = Txn::open(s, "t");
    for (id, epoch) in [(txn.producer_id, -1), (-1, 0), (-2, -1), (-1, -2), (-2, -2)] {
        let shown = if id == txn.producer_id { "known".to_owned() } else { id.to_string() };
        txn.c.each(&format!("id {shown}, epoch {epoch}"), "InitProducerId", 3..=5, |_| {
            init(&txn.id, id, epoch)
        });
    }
}

/// S51: a new producer ends what the one before it left open.
fn s51_open(s: &Session) {
    let topic = s.topic("a", 1);
    for version in 0..=5 {
        let txn = Txn::open(s, &format!("v{version}"));
        txn.writes(s, &topic, 0, 1, 0);
        txn.c.call("it is open", "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
        txn.c.call("a new producer", "InitProducerId", version, init(&txn.id, -1, -1));
        txn.settled(s);
        txn.c.call("it is aborted", "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
        txn.c.call("the new producer, again", "InitProducerId", version, init(&txn.id, -1, -1));
        txn.c.call("the old one's end", "EndTxn", 4, txn.end(true));
    }
}

fn open_and_recovered(s: &Session) {
    let topic = s.topic("a", 1);
    let call = |label: &str, suffix: &str, id: Option<i64>, epoch: i16| {
        let mut txn = Txn::open(s, suffix);
        txn.init(s);
        txn.writes(s, &topic, 0, 1, 0);
        let (id, epoch) = (id.unwrap_or(txn.producer_id), txn.epoch + epoch);
        txn.c.call(label, "InitProducerId", 4, init(&txn.id, id, epoch));
        txn.settled(s);
        txn.c.call("its state", "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
        txn.c.call("the same again", "InitProducerId", 4, init(&txn.id, id, epoch));
        txn.c.call("its state then", "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
    };
    call("the epoch before", "before", None, -1);
    call("a later epoch", "later", None, 1);
    call("another producer id", "other", Some(7_000_120), 0);
    call("the current epoch", "current", None, 0);
}

fn odd_names(s: &Session) {
    let c = s.connect();
    let names: [(&str, String); 4] = [
        ("words", s.name("some words / and \"signs\"")),
        ("umlauts", s.name("äöü")),
        ("a line's end", s.name("a\nb")),
        ("long", s.name(&"x".repeat(2000))),
    ];
    for (label, id) in names {
        c.call(label, "InitProducerId", 4, init(&id, -1, -1));
        let described = c.quiet("DescribeTransactions", 0, json!({"transactional_ids": [id]}));
        assert_eq!(described.text("transaction_states[0].transactional_id"), id);
    }
    let none: Value = json!({"transactional_ids": [""]});
    c.call("none", "DescribeTransactions", 0, none);
}

/// S61: two-phase commit came with version 6, which nobody serves yet.
fn s61_two_phases(s: &Session) {
    let c = s.connect();
    let frame = c.frame_of(22, 6, true, &[0; 40]);
    c.raw("version 6", "InitProducerId v6", &frame, As::Nothing);
}
