//! Produce within transactions (S54, S55, S57): what is let in, and what a log keeps of it.

use serde_json::{Value, json};

use super::ask;
use super::txn::{Txn, fetch_committed, init, topic};
use crate::batch::{Batch, Codec};
use crate::run::{Script, plain, strict};
use crate::session::{Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("txn_produce/committed", committed),
    plain("txn_produce/unverified", s54_unverified),
    plain("txn_produce/implicit", s55_implicit),
    plain("txn_produce/implicit_refused", implicit_refused),
    plain("txn_produce/names", names),
    plain("txn_produce/unknown", unknown),
    plain("txn_produce/epochs", epochs),
    plain("txn_produce/mixed", s54_mixed),
    plain("txn_produce/plain_data", s54_plain_data),
    plain("txn_produce/plain_then_transaction", plain_then_transaction),
    plain("txn_produce/sequences", sequences),
    plain("txn_produce/sequences_v2", sequences_v2),
    plain("txn_produce/again", again),
    plain("txn_produce/after_the_end", after_the_end),
    plain("txn_produce/after_a_fence", after_a_fence),
    plain("txn_produce/acks", acks),
    plain("txn_produce/control", control),
    plain("txn_produce/codecs", codecs),
    plain("txn_produce/partitions", partitions),
    plain("txn_produce/deleted_topic", deleted_topic),
    strict("txn_produce/verification_off", s54_verification_off),
];

fn described(txn: &Txn, label: &str) {
    txn.c.call(label, "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

/// Both ends of partition 0, and what it holds.
fn shown(c: &Connection, label: &str, topic: &Topic) {
    let mut end = ask::list_offset(topic, -1);
    c.call(&format!("{label}, the end"), "ListOffsets", 7, end.clone());
    end["isolation_level"] = 1.into();
    c.call(&format!("{label}, the stable end"), "ListOffsets", 7, end);
    c.call(&format!("{label}, all"), "Fetch", 12, ask::fetch(topic, 0));
    c.call(&format!("{label}, what is committed"), "Fetch", 12, fetch_committed(topic, 0));
}

/// The whole way, as older and newer clients go it.
fn committed(s: &Session) {
    for version in [3, 7, 11, 12, 13] {
        let topic = topic(s, &format!("v{version}"), 1);
        let mut txn = Txn::open(s, &format!("v{version}"));
        let newer = version >= 12;
        for (i, commit) in [true, false, true].into_iter().enumerate() {
            if !newer {
                txn.adds(&topic, &[0]);
            }
            let batch = txn.batch(2, if newer { 0 } else { 2 * i as i32 });
            txn.c.call("records", "Produce", version, txn.produce(&topic, &batch));
            described(&txn, "open");
            let end = if newer { 5 } else { 3 };
            let ended = txn.c.call("the end", "EndTxn", end, txn.end(commit));
            txn.settled(s);
            if newer {
                txn.learn(&ended);
            }
        }
        shown(&txn.c, "at the end", &topic);
    }
}

/// S54: records for a partition that the transaction does not have.
fn s54_unverified(s: &Session) {
    let topic = topic(s, "a", 2);
    let txn = Txn::open(s, "t");
    let batch = txn.batch(1, 0);
    txn.c.each("nothing is open", "Produce", 3..=11, |_| txn.produce(&topic, &batch));
    txn.adds(&topic, &[0]);
    txn.c.each("another partition", "Produce", 3..=11, |_| txn.produce_to(&topic, 1, &batch));
    txn.c.call("the right one", "Produce", 9, txn.produce(&topic, &batch));
    txn.ends(s, true);
    txn.c.each("it has ended", "Produce", 3..=11, |_| txn.produce(&topic, &txn.batch(1, 1)));
    shown(&txn.c, "at the end", &topic);
}

/// S55: newer clients add a partition by writing to it.
fn s55_implicit(s: &Session) {
    for version in 12..=13 {
        let topic = topic(s, &format!("v{version}"), 2);
        let mut txn = Txn::open(s, &format!("v{version}"));
        txn.c.call("the first", "Produce", version, txn.produce(&topic, &txn.batch(1, 0)));
        described(&txn, "one partition");
        txn.c.call("another partition", "Produce", version, txn.produce_to(&topic, 1, &txn.batch(1, 0)));
        txn.c.call("the next", "Produce", version, txn.produce(&topic, &txn.batch(2, 1)));
        described(&txn, "two partitions");
        let ended = txn.c.call("the end", "EndTxn", 5, txn.end(true));
        txn.settled(s);
        shown(&txn.c, "committed", &topic);
        txn.c.call("the old epoch", "Produce", version, txn.produce(&topic, &txn.batch(1, 3)));
        txn.learn(&ended);
        txn.c.call("the next transaction", "Produce", version, txn.produce(&topic, &txn.batch(1, 0)));
        described(&txn, "it is open");
        txn.c.call("its end", "EndTxn", 5, txn.end(false));
        txn.settled(s);
        shown(&txn.c, "aborted", &topic);
    }
}

fn implicit_refused(s: &Session) {
    let topic = topic(s, "a", 1);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    let (id, epoch) = (txn.producer_id, txn.epoch);
    let stamp =
        |id: i64, epoch: i16, sequence: i32| Batch::of("x").producer(id, epoch, sequence).attributes(16);
    let each = |label: &str, batch: &Batch| {
        txn.c.each(label, "Produce", 12..=13, |_| txn.produce(&topic, batch));
    };
    each("the epoch before", &stamp(id, epoch - 1, 0));
    each("the next epoch", &stamp(id, epoch + 1, 0));
    each("another producer", &stamp(7_000_300, 0, 0));
    each("no producer", &stamp(-1, -1, -1));
    each("not from 0", &stamp(id, epoch, 5));
    let missing = s.name("missing");
    let mut request = txn.produce(&topic, &stamp(id, epoch, 0));
    request["transactional_id"] = missing.into();
    txn.c.each("an unknown transactional id", "Produce", 12..=13, |_| request.clone());
    described(&txn, "its state");
    shown(&txn.c, "at the end", &topic);
}

/// The transactional id of the request.
fn names(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.adds(&topic, &[0]);
    let batch = txn.batch(1, 0);
    let named = |name: Value| {
        let mut request = txn.produce(&topic, &batch);
        request["transactional_id"] = name;
        request
    };
    txn.c.each("none", "Produce", 3..=13, |_| named(Value::Null));
    txn.c.each("the empty one", "Produce", 3..=13, |_| named("".into()));
    txn.c.each("an unknown one", "Produce", 3..=13, |_| named(s.name("missing").into()));
    let plain = Batch::of("x");
    txn.c.each("a plain batch", "Produce", 3..=13, |_| txn.produce(&topic, &plain));
    let other = Txn::open(s, "u");
    let mut request = other.produce(&topic, &other.batch(1, 0));
    request["transactional_id"] = txn.id.clone().into();
    txn.c.each("another one's batch", "Produce", 3..=13, |_| request.clone());
    txn.c.call("its own", "Produce", 9, named(txn.id.clone().into()));
    txn.c.each("none, when it is open", "Produce", 3..=13, |_| {
        let mut next = txn.produce(&topic, &txn.batch(1, 1));
        next["transactional_id"] = Value::Null;
        next
    });
    shown(&txn.c, "at the end", &topic);
}

fn unknown(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    let (id, epoch) = (txn.producer_id, txn.epoch);
    let missing = Topic { name: s.name("missing"), id: "EREREREREREREREREREREQ".to_owned() };
    txn.c.each("a topic", "Produce", 3..=13, |_| txn.produce(&missing, &txn.batch(1, 0)));
    txn.c.each("a partition", "Produce", 3..=13, |_| txn.produce_to(&topic, 1, &txn.batch(1, 0)));
    txn.adds(&topic, &[0]);
    let stamp = |id: i64, epoch: i16| Batch::of("x").producer(id, epoch, 0).attributes(16);
    txn.c.each("a producer", "Produce", 3..=11, |_| txn.produce(&topic, &stamp(7_000_310, epoch)));
    txn.c.each("no producer", "Produce", 3..=11, |_| txn.produce(&topic, &stamp(-1, -1)));
    txn.c.each("no epoch", "Produce", 3..=11, |_| txn.produce(&topic, &stamp(id, -1)));
    txn.c.each("no sequence", "Produce", 3..=11, |_| txn.produce(&topic, &txn.batch(1, -1)));
    shown(&txn.c, "at the end", &topic);
}

/// S49, S54: old epochs and new ones.
fn epochs(s: &Session) {
    let topic = topic(s, "a", 1);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    txn.writes(s, &topic, 0, 1, 0);
    txn.ends(s, true);
    txn.init(s);
    let (id, epoch) = (txn.producer_id, txn.epoch);
    let stamp = |epoch: i16, sequence: i32| Batch::of("x").producer(id, epoch, sequence).attributes(16);
    let each = |label: &str, batch: &Batch| {
        txn.c.each(label, "Produce", 3..=13, |_| txn.produce(&topic, batch));
    };
    each("the epoch before, nothing open", &stamp(epoch - 1, 1));
    each("the first epoch, nothing open", &stamp(0, 1));
    txn.adds(&topic, &[0]);
    each("the epoch before, before the first record", &stamp(epoch - 1, 1));
    each("the next epoch, before the first record", &stamp(epoch + 1, 0));
    txn.c.call("the epoch", "Produce", 9, txn.produce(&topic, &stamp(epoch, 0)));
    each("the epoch before, open", &stamp(epoch - 1, 1));
    each("the first epoch, open", &stamp(0, 1));
    each("the next epoch, open", &stamp(epoch + 1, 0));
    txn.ends(s, false);
    shown(&txn.c, "at the end", &topic);
}

/// Several producers in one request.
fn s54_mixed(s: &Session) {
    let topic = topic(s, "a", 3);
    let (x, y) = (Txn::open(s, "x"), Txn::open(s, "y"));
    x.adds(&topic, &[0, 1, 2]);
    y.adds(&topic, &[0, 1, 2]);
    let part = |index: i32, batch: &Batch| json!({"index": index, "records": batch.value()});
    let each = |label: &str, id: &str, parts: Value| {
        let data = json!([{"name": topic.name, "topic_id": topic.id, "partition_data": parts}]);
        let request = json!({"transactional_id": id, "acks": -1, "timeout_ms": 1000, "topic_data": data});
        x.c.each(label, "Produce", 3..=13, |_| request.clone());
    };
    each("two transactional ones", &x.id, json!([part(0, &x.batch(1, 0)), part(1, &y.batch(1, 0))]));
    let idempotent = Batch::of("x").producer(y.producer_id, y.epoch, 0);
    each("one without transaction", &x.id, json!([part(0, &x.batch(1, 0)), part(1, &idempotent)]));
    each("one without producer", &x.id, json!([part(0, &x.batch(1, 0)), part(2, &Batch::of("x"))]));
    for partition in 0..3 {
        let mut end = ask::list_offset(&topic, -1);
        end["topics"][0]["partitions"][0]["partition_index"] = partition.into();
        x.c.call("the end", "ListOffsets", 7, end);
    }
}

/// Records outside a transaction by the producer that has one open.
fn s54_plain_data(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.writes(s, &topic, 0, 1, 0);
    let plain = |sequence: i32| Batch::of("x").producer(txn.producer_id, txn.epoch, sequence);
    txn.c.each("within it", "Produce", 3..=13, |_| ask::produce(&topic, &plain(1)));
    txn.c.call("within it, a gap", "Produce", 9, ask::produce(&topic, &plain(7)));
    txn.c.call("within it, again", "Produce", 9, ask::produce(&topic, &plain(0)));
    txn.c.each("a stranger", "Produce", 12..=13, |_| ask::produce(&topic, &Batch::of("s")));
    txn.ends(s, true);
    txn.c.call("after it", "Produce", 9, ask::produce(&topic, &plain(1)));
    txn.c.call("after it, named", "Produce", 9, txn.produce(&topic, &plain(2)));
    shown(&txn.c, "at the end", &topic);
}

fn plain_then_transaction(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    let plain = |sequence: i32| Batch::of("x").producer(txn.producer_id, txn.epoch, sequence);
    txn.c.call("before any", "Produce", 9, ask::produce(&topic, &plain(0)));
    txn.c.call("unverified", "Produce", 9, txn.produce(&topic, &txn.batch(1, 1)));
    txn.adds(&topic, &[0]);
    txn.c.call("added, nothing written", "Produce", 9, ask::produce(&topic, &plain(1)));
    txn.c.call("the first of it", "Produce", 9, txn.produce(&topic, &txn.batch(1, 2)));
    txn.c.call("within it", "Produce", 9, ask::produce(&topic, &plain(3)));
    txn.ends(s, false);
    shown(&txn.c, "at the end", &topic);
}

/// S48: older clients count on through their transactions.
fn sequences(s: &Session) {
    let topic = topic(s, "a", 2);
    let mut txn = Txn::open(s, "t");
    let send = |txn: &Txn, label: &str, partition: i32, sequence: i32| {
        let batch = txn.batch(1, sequence);
        txn.c.call(label, "Produce", 9, txn.produce_to(&topic, partition, &batch));
    };
    txn.adds(&topic, &[0, 1]);
    send(&txn, "the first from 3", 0, 3);
    send(&txn, "the first from 0", 1, 0);
    send(&txn, "the next", 0, 4);
    send(&txn, "a gap", 1, 2);
    txn.ends(s, true);
    txn.adds(&topic, &[0, 1]);
    send(&txn, "a gap in the next transaction", 0, 6);
    send(&txn, "from 0 in the next transaction", 0, 0);
    send(&txn, "on in the next transaction", 0, 5);
    txn.ends(s, false);
    txn.init(s);
    txn.adds(&topic, &[0, 1]);
    send(&txn, "on in the next epoch", 0, 6);
    send(&txn, "from 0 in the next epoch", 0, 0);
    txn.ends(s, true);
    shown(&txn.c, "at the end", &topic);
}

/// S48, S55: newer clients begin each transaction at 0.
fn sequences_v2(s: &Session) {
    let topic = topic(s, "a", 2);
    let mut txn = Txn::open(s, "t");
    let send = |txn: &Txn, label: &str, partition: i32, sequence: i32| {
        let batch = txn.batch(1, sequence);
        txn.c.call(label, "Produce", 12, txn.produce_to(&topic, partition, &batch));
    };
    let end = |txn: &mut Txn, commit: bool| {
        let ended = txn.c.quiet("EndTxn", 5, txn.end(commit));
        txn.settled(s);
        txn.learn(&ended);
    };
    send(&txn, "the first from 3", 0, 3);
    send(&txn, "the first from 0", 0, 0);
    send(&txn, "a gap", 0, 2);
    send(&txn, "the next", 0, 1);
    end(&mut txn, true);
    send(&txn, "on in the next transaction", 0, 2);
    send(&txn, "from 0 in the next transaction", 0, 0);
    end(&mut txn, false);
    send(&txn, "a gap in the third", 0, 4);
    send(&txn, "another partition, not from 0", 1, 4);
    send(&txn, "another partition, from 0", 1, 0);
    end(&mut txn, true);
    shown(&txn.c, "at the end", &topic);
}

/// S47: a batch sent again.
fn again(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.adds(&topic, &[0]);
    let send = |label: &str, version: i16, records: usize, sequence: i32| {
        txn.c.call(label, "Produce", version, txn.produce(&topic, &txn.batch(records, sequence)));
    };
    send("the first", 9, 2, 0);
    send("the second", 9, 1, 2);
    for version in [3, 9, 11, 12, 13] {
        send("the first again", version, 2, 0);
        send("the second again", version, 1, 2);
    }
    txn.ends(s, true);
    for version in [3, 9, 11, 12, 13] {
        send("the second again, after the end", version, 1, 2);
    }
    shown(&txn.c, "at the end", &topic);
}

/// What comes late.
fn after_the_end(s: &Session) {
    for commit in [true, false] {
        for version in [4, 5] {
            let name = format!("{}{version}", if commit { "c" } else { "a" });
            let topic = topic(s, &name, 1);
            let mut txn = Txn::open(s, &name);
            txn.writes(s, &topic, 0, 2, 0);
            let ended = txn.c.call("the end", "EndTxn", version, txn.end(commit));
            txn.settled(s);
            let late = txn.batch(1, 2);
            txn.c.call("a late one", "Produce", 9, txn.produce(&topic, &late));
            txn.c.call("one sent again", "Produce", 9, txn.produce(&topic, &txn.batch(2, 0)));
            if version == 5 {
                txn.learn(&ended);
                let mut late = txn.produce(&topic, &late);
                late["transactional_id"] = s.name("missing").into();
                txn.c.each("a late one of an id that is gone", "Produce", 3..=13, |_| late.clone());
                txn.c.call("one of the new epoch", "Produce", 9, txn.produce(&topic, &txn.batch(1, 0)));
            }
            txn.adds(&topic, &[0]);
            txn.c.call(
                "on",
                "Produce",
                9,
                txn.produce(&topic, &txn.batch(1, if version == 5 { 0 } else { 2 })),
            );
            shown(&txn.c, "open", &topic);
        }
    }
}

/// S54: a zombie's records.
fn after_a_fence(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.writes(s, &topic, 0, 2, 0);
    txn.c.call("another producer", "InitProducerId", 4, init(&txn.id, -1, -1));
    txn.settled(s);
    txn.c.each("the zombie", "Produce", 3..=13, |_| txn.produce(&topic, &txn.batch(1, 2)));
    txn.c.each("the zombie's last again", "Produce", 3..=13, |_| txn.produce(&topic, &txn.batch(2, 0)));
    let named = |version: i16| {
        txn.c.call("the zombie adds", "AddPartitionsToTxn", version, txn.add(&[(&topic.name, &[0])]))
    };
    (0..=3).for_each(|version| drop(named(version)));
    let other = Txn::open(s, "t");
    other.writes(s, &topic, 0, 1, 0);
    txn.c.each("the zombie in another's transaction", "Produce", 3..=13, |_| {
        txn.produce(&topic, &txn.batch(1, 2))
    });
    shown(&txn.c, "open", &topic);
    other.ends(s, true);
    shown(&txn.c, "at the end", &topic);
}

fn acks(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.adds(&topic, &[0]);
    for acks in [1, 2, -2] {
        let mut request = txn.produce(&topic, &txn.batch(1, 0));
        request["acks"] = acks.into();
        txn.c.each(&format!("acks {acks}"), "Produce", 3..=13, |_| request.clone());
    }
    let mut request = txn.produce(&topic, &txn.batch(1, 1));
    request["acks"] = 0.into();
    txn.c.unanswered("acks 0", "Produce", 9, request);
    txn.ends(s, true);
    shown(&txn.c, "at the end", &topic);
}

/// Markers are the broker's to write.
fn control(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.adds(&topic, &[0]);
    let marker = Batch::new().raw_record(Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]));
    for (label, batch) in [
        ("a marker", txn.stamp(marker.clone(), 0).attributes(0x20)),
        ("a marker without sequence", txn.stamp(marker.clone(), -1).attributes(0x20)),
        ("a control batch without transaction", marker.clone().attributes(0x20)),
        ("a transactional batch without producer", Batch::of("x").attributes(0x10)),
    ] {
        txn.c.each(label, "Produce", 3..=13, |_| txn.produce(&topic, &batch));
        txn.c.call(&format!("{label}, no transactional id"), "Produce", 9, ask::produce(&topic, &batch));
    }
    shown(&txn.c, "at the end", &topic);
}

fn codecs(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.adds(&topic, &[0]);
    for (i, codec) in Codec::ALL.into_iter().enumerate() {
        let batch = txn.batch(3, 3 * i as i32).codec(codec);
        txn.c.call(&format!("{codec:?}"), "Produce", 9, txn.produce(&topic, &batch));
    }
    txn.ends(s, true);
    shown(&txn.c, "at the end", &topic);
}

/// One request for several partitions, not all of them in the transaction.
fn partitions(s: &Session) {
    let topic = topic(s, "a", 3);
    let txn = Txn::open(s, "t");
    txn.adds(&topic, &[0, 2]);
    let part = |index: i32, batch: &Batch| json!({"index": index, "records": batch.value()});
    let send = |label: &str, version: i16, sequence: i32| {
        let parts: Vec<Value> = (0..3).map(|p| part(p, &txn.batch(1, sequence))).collect();
        let data = json!([{"name": topic.name, "topic_id": topic.id, "partition_data": parts}]);
        let request = json!({"transactional_id": txn.id, "acks": -1, "timeout_ms": 1000, "topic_data": data});
        txn.c.call(label, "Produce", version, request);
    };
    send("two of three", 9, 0);
    send("two of three, on", 11, 1);
    described(&txn, "two partitions");
    send("all three by a newer client", 12, 2);
    described(&txn, "its state");
    txn.ends(s, true);
    shown(&txn.c, "at the end", &topic);
}

/// A topic that goes while a transaction holds it.
fn deleted_topic(s: &Session) {
    let (a, b) = (topic(s, "a", 1), topic(s, "b", 1));
    let txn = Txn::open(s, "t");
    txn.writes(s, &a, 0, 1, 0);
    txn.writes(s, &b, 0, 1, 0);
    txn.c.quiet("DeleteTopics", 4, json!({"topic_names": [a.name], "timeout_ms": 30_000}));
    s.gone(&a.name);
    described(&txn, "open");
    txn.c.call("the end", "EndTxn", 4, txn.end(true));
    txn.settled(s);
    described(&txn, "its state");
    shown(&txn.c, "the topic that is left", &b);
}

/// S54 with `transaction.partition.verification.enable` off: batches open transactions of which no coordinator knows.
fn s54_verification_off(s: &Session) {
    let topic = topic(s, "a", 2);
    let mut txn = Txn::open(s, "t");
    let producers = |label: &str| {
        let topics = json!([{"name": topic.name, "partition_indexes": [0, 1]}]);
        s.connect().call(label, "DescribeProducers", 0, json!({"topics": topics}));
    };
    for (version, sequence) in (3..=11).zip(0..) {
        let batch = txn.batch(1, sequence);
        txn.c.call("nothing is open", "Produce", version, txn.produce(&topic, &batch));
    }
    txn.c.call("a gap", "Produce", 9, txn.produce(&topic, &txn.batch(1, 20)));
    let mut strangers = txn.produce_to(&topic, 1, &Batch::of("x").producer(7_000_320, 3, 0).attributes(16));
    strangers["transactional_id"] = s.name("missing").into();
    txn.c.call("a producer that nobody knows", "Produce", 9, strangers);
    producers("open");
    described(&txn, "the coordinator does not know");
    txn.c.call("its end", "EndTxn", 4, txn.end(true));
    producers("still open");
    for (index, id, epoch) in [(0, txn.producer_id, txn.epoch), (1, 7_000_320, 3)] {
        let marker = json!({
            "producer_id": id, "producer_epoch": epoch, "transaction_result": false, "coordinator_epoch": -1,
            "topics": [{"name": topic.name, "partition_indexes": [index]}],
        });
        txn.c.call("an operator's abort", "WriteTxnMarkers", 1, json!({"markers": [marker]}));
    }
    producers("aborted");
    shown(&txn.c, "aborted", &topic);
    txn.init(s);
    txn.c.call("a newer client", "Produce", 12, txn.produce(&topic, &txn.batch(1, 0)));
    described(&txn, "what the coordinator knows of a newer client");
    producers("a newer client");
}
