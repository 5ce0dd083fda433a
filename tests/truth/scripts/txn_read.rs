//! Reading what is committed (S20, S21): the last stable offset, the list of aborted transactions, markers.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask;
use super::txn::{Txn, fetch_committed, topic};
use crate::batch::{Batch, THEN};
use crate::run::{Script, plain};
use crate::session::{Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("txn_read/versions", versions),
    plain("txn_read/interleaved", interleaved),
    plain("txn_read/limits", limits),
    plain("txn_read/held_back", held_back),
    plain("txn_read/offsets", offsets),
    plain("txn_read/waiting", waiting),
    plain("txn_read/deleted_records", deleted_records),
    plain("txn_read/sessions", sessions),
    plain("txn_read/empty_transactions", empty_transactions),
];

fn stranger(s: &Session, topic: &Topic, value: &str) {
    ask::append(s, topic, &Batch::of(value));
}

/// A committed, an aborted and an open transaction, at each version that knows of them.
fn versions(s: &Session) {
    let topic = topic(s, "a", 1);
    let (x, y, z) = (Txn::open(s, "x"), Txn::open(s, "y"), Txn::open(s, "z"));
    x.writes(s, &topic, 0, 2, 0);
    x.ends(s, true);
    y.writes(s, &topic, 0, 2, 0);
    y.ends(s, false);
    z.writes(s, &topic, 0, 1, 0);
    let c = s.connect();
    for level in [0, 1] {
        let mut request = ask::fetch(&topic, 0);
        request["isolation_level"] = level.into();
        c.each(&format!("isolation {level}"), "Fetch", 4..=18, |_| request.clone());
    }
}

/// Three producers at once on one partition.
fn interleaved(s: &Session) {
    let topic = topic(s, "a", 1);
    let (x, y, z) = (Txn::open(s, "x"), Txn::open(s, "y"), Txn::open(s, "z"));
    for txn in [&x, &y, &z] {
        txn.adds(&topic, &[0]);
    }
    x.writes_on(s, &topic, 0, 1, 0); // 0
    y.writes_on(s, &topic, 0, 2, 0); // 1, 2
    stranger(s, &topic, "between"); // 3
    z.writes_on(s, &topic, 0, 1, 0); // 4
    x.writes_on(s, &topic, 0, 1, 1); // 5
    let c = s.connect();
    let look = |label: &str, offsets: &[i64]| {
        for offset in offsets {
            let label = format!("{label}, from {offset}");
            c.call(&label, "Fetch", 12, fetch_committed(&topic, *offset));
        }
        let mut end = ask::list_offset(&topic, -1);
        end["isolation_level"] = 1.into();
        c.call(&format!("{label}, the stable end"), "ListOffsets", 7, end);
    };
    look("three open", &[0, 3, 6, 7]);
    y.ends(s, false); // 6
    look("the second aborted", &[0, 3]);
    x.ends(s, false); // 7
    look("the first aborted too", &[0, 1, 3, 4, 5]);
    x.writes(s, &topic, 0, 1, 2); // 8
    z.ends(s, true); // 9
    look("the third committed, the first open again", &[0, 5, 8, 9]);
    x.ends(s, false); // 10
    stranger(s, &topic, "last"); // 11
    look("all ended", &[0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12]);
    c.call("all of it", "Fetch", 12, ask::fetch(&topic, 0));
}

/// The list goes as far as the records do.
fn limits(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    for i in 0..4 {
        txn.writes(s, &topic, 0, 3, 3 * i);
        txn.ends(s, i % 2 == 1);
    }
    let c = s.connect();
    for bytes in [0, 1, 200, 300, 400, 1000] {
        for offset in [0, 4, 8] {
            let mut request = fetch_committed(&topic, offset);
            request["topics"][0]["partitions"][0]["partition_max_bytes"] = bytes.into();
            c.call(&format!("{bytes} bytes from {offset}"), "Fetch", 12, request);
        }
    }
}

/// What lies behind an open transaction.
fn held_back(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    stranger(s, &topic, "before");
    txn.writes(s, &topic, 0, 1, 0);
    stranger(s, &topic, "behind");
    let c = s.connect();
    for offset in 0..=4 {
        c.call(&format!("open, from {offset}"), "Fetch", 12, fetch_committed(&topic, offset));
        c.call(&format!("open, all from {offset}"), "Fetch", 12, ask::fetch(&topic, offset));
    }
    txn.ends(s, true);
    for offset in 0..=5 {
        c.call(&format!("committed, from {offset}"), "Fetch", 12, fetch_committed(&topic, offset));
    }
}

/// S24: ListOffsets with an isolation level.
fn offsets(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    ask::append(s, &topic, &Batch::of("before").at(THEN - 1000));
    txn.adds(&topic, &[0]);
    let stamped = txn.stamp(Batch::of("in it").at(THEN + 1000), 0);
    txn.c.quiet("Produce", 9, txn.produce(&topic, &stamped));
    ask::append(s, &topic, &Batch::of("behind").at(THEN + 2000));
    let look = |label: &str| {
        for level in [0, 1] {
            for (what, time) in [
                ("the end", -1),
                ("the start", -2),
                ("the latest time", -3),
                ("before all", THEN - 2000),
                ("the time in it", THEN + 1000),
                ("the time behind it", THEN + 2000),
                ("a time after all", THEN + 3000),
            ] {
                let mut request = ask::list_offset(&topic, time);
                request["isolation_level"] = level.into();
                let low = if time == -3 { 7 } else { 2 };
                s.connect().each(
                    &format!("{label}: {what}, isolation {level}"),
                    "ListOffsets",
                    low..=10,
                    |_| request.clone(),
                );
            }
        }
    };
    look("open");
    txn.ends(s, false);
    look("aborted");
}

/// A long poll that the end of a transaction answers.
fn waiting(s: &Session) {
    let topic = topic(s, "a", 1);
    for commit in [true, false] {
        let txn = Txn::open(s, if commit { "c" } else { "a" });
        let start = s
            .connect()
            .quiet("ListOffsets", 7, ask::list_offset(&topic, -1))
            .int("topics[0].partitions[0].offset");
        txn.adds(&topic, &[0]);
        let mut request = fetch_committed(&topic, start);
        request["min_bytes"] = 1.into();
        request["max_wait_ms"] = 300.into();
        let reader = s.connect();
        txn.writes_on(s, &topic, 0, 1, 0);
        reader.timed(
            "records of an open transaction",
            "Fetch",
            12,
            Duration::from_millis(300),
            request.clone(),
        );
        request["max_wait_ms"] = 20_000.into();
        let pending = reader.send("its end", "Fetch", 12, request.clone());
        txn.ends(s, commit);
        pending.answer();
    }
}

/// S91: records deleted under a transaction.
fn deleted_records(s: &Session) {
    let topic = topic(s, "a", 1);
    let (x, y) = (Txn::open(s, "x"), Txn::open(s, "y"));
    let c = s.connect();
    let delete = |label: &str, offset: i64| {
        let partitions = json!([{"partition_index": 0, "offset": offset}]);
        let topics = json!([{"name": topic.name, "partitions": partitions}]);
        c.call(label, "DeleteRecords", 2, json!({"topics": topics, "timeout_ms": 30_000}));
    };
    let look = |label: &str, offsets: &[i64]| {
        for offset in offsets {
            c.call(&format!("{label}, from {offset}"), "Fetch", 12, fetch_committed(&topic, *offset));
        }
    };
    x.writes(s, &topic, 0, 2, 0); // 0, 1
    x.ends(s, false); // 2
    y.writes(s, &topic, 0, 3, 0); // 3, 4, 5
    x.writes(s, &topic, 0, 1, 2); // 6
    delete("into the aborted one", 1);
    look("within the aborted one", &[1, 2, 3]);
    delete("into the open one", 4);
    look("within the open one", &[3, 4, 6]);
    describe(&c, "producers within the open one", &topic);
    delete("behind the open one's records", 6);
    look("behind the open one's records", &[6]);
    describe(&c, "producers behind the open one's records", &topic);
    y.ends(s, true); // 7
    look("it is committed", &[6, 7]);
    x.ends(s, false); // 8
    look("the other is aborted", &[6, 7, 8]);
    delete("the end", -1);
    look("nothing is left", &[9]);
    describe(&c, "producers of nothing", &topic);
}

fn describe(c: &Connection, label: &str, topic: &Topic) {
    let topics = json!([{"name": topic.name, "partition_indexes": [0]}]);
    c.call(label, "DescribeProducers", 0, json!({"topics": topics}));
}

/// S22: a fetch session whose partition's last stable offset moves.
fn sessions(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    let c = s.connect();
    let mut request = fetch_committed(&topic, 0);
    request["session_epoch"] = 0.into();
    let made = c.call("made", "Fetch", 12, request);
    let session = made.int("session_id");
    let mut epoch = 0;
    let mut next = |label: &str, topics: Value| {
        epoch += 1;
        let request = json!({
            "max_wait_ms": 0, "min_bytes": 0, "isolation_level": 1, "session_id": session,
            "session_epoch": epoch, "topics": topics,
        });
        c.call(label, "Fetch", 12, request);
    };
    next("nothing new", json!([]));
    txn.writes(s, &topic, 0, 1, 0);
    next("an open transaction", json!([]));
    next("the same", json!([]));
    txn.ends(s, false);
    next("it is aborted", json!([]));
    let on = json!([{"topic": topic.name, "partitions": [{"partition": 0, "fetch_offset": 2, "partition_max_bytes": 1_000_000}]}]);
    next("read on", on);
    next("nothing new behind it", json!([]));
}

/// Transactions that wrote nothing leave markers all the same.
fn empty_transactions(s: &Session) {
    let topic = topic(s, "a", 2);
    let mut txn = Txn::open(s, "t");
    let c = s.connect();
    for (commit, version) in [(true, 4), (false, 4), (true, 5), (false, 5)] {
        txn.adds(&topic, &[0]);
        let ended = txn.c.quiet("EndTxn", version, txn.end(commit));
        txn.settled(s);
        if version == 5 {
            txn.learn(&ended);
        }
        c.call("what is there", "Fetch", 12, ask::fetch(&topic, 0));
        c.call("what is committed", "Fetch", 12, fetch_committed(&topic, 0));
        describe(&c, "producers", &topic);
    }
}
