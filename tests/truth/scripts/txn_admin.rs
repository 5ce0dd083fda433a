//! What administrators see of transactions, and WriteTxnMarkers.

use serde_json::{Value, json};

use super::ask;
use super::txn::{Txn, fetch_committed, topic};
use crate::batch::Batch;
use crate::run::{Script, plain};
use crate::session::{Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("txn_admin/producers", producers),
    plain("txn_admin/producers_unknown", producers_unknown),
    plain("txn_admin/describe", describe),
    plain("txn_admin/list", list),
    plain("txn_admin/list_filters", list_filters),
    plain("txn_admin/list_patterns", list_patterns),
    plain("txn_admin/markers", s57_markers),
    plain("txn_admin/markers_refused", markers_refused),
    plain("txn_admin/markers_v2", s57_markers_v2),
    plain("txn_admin/abort", abort),
];

fn active(topic: &Topic, partitions: &[i32]) -> Value {
    json!({"topics": [{"name": topic.name, "partition_indexes": partitions}]})
}

fn producers(s: &Session) {
    let topic = topic(s, "a", 3);
    let (x, y) = (Txn::open(s, "x"), Txn::open(s, "y"));
    let c = s.connect();
    let look = |label: &str| drop(c.call(label, "DescribeProducers", 0, active(&topic, &[0, 1, 2])));
    look("nobody");
    ask::append(s, &topic, &Batch::of("nobody in particular"));
    look("somebody without an id");
    x.writes(s, &topic, 0, 2, 0);
    y.writes(s, &topic, 0, 1, 0);
    y.writes(s, &topic, 1, 3, 0);
    x.adds(&topic, &[2]);
    look("both open");
    x.writes_on(s, &topic, 0, 1, 2);
    x.ends(s, true);
    look("the first committed");
    y.ends(s, false);
    look("both ended");
    let request = json!({"transactional_id": null, "transaction_timeout_ms": 1000});
    let id = c.quiet("InitProducerId", 4, request).int("producer_id");
    ask::append_to(s, &topic, 1, &Batch::many(4).producer(id, 0, 7));
    look("an idempotent one");
    let mut x = x;
    x.init(s);
    x.writes(s, &topic, 0, 1, 0);
    look("the next epoch");
    x.ends(s, false);
}

fn producers_unknown(s: &Session) {
    let topic = topic(s, "a", 1);
    let c = s.connect();
    c.call("a partition", "DescribeProducers", 0, active(&topic, &[0, 1, -1]));
    let missing = json!([{"name": s.name("missing"), "partition_indexes": [0]}, {"name": "", "partition_indexes": [0]}]);
    c.call("a topic", "DescribeProducers", 0, json!({"topics": missing}));
    c.call(
        "a bad name",
        "DescribeProducers",
        0,
        json!({"topics": [{"name": "a b", "partition_indexes": [0]}]}),
    );
    c.call("no topics", "DescribeProducers", 0, json!({"topics": []}));
    c.call("no partitions", "DescribeProducers", 0, active(&topic, &[]));
}

fn describe(s: &Session) {
    let (a, b) = (topic(s, "a", 2), topic(s, "b", 1));
    let (x, y) = (Txn::open(s, "x"), Txn::open(s, "y"));
    let c = s.connect();
    let look = |label: &str, ids: Value| {
        c.call(label, "DescribeTransactions", 0, json!({"transactional_ids": ids}));
    };
    look("nothing open", json!([x.id, y.id]));
    x.adds(&a, &[0, 1]);
    x.adds(&b, &[0]);
    look("one open", json!([x.id, y.id]));
    x.ends(s, true);
    look("one committed", json!([x.id, y.id]));
    y.writes(s, &b, 0, 1, 0);
    y.ends(s, false);
    look("one aborted", json!([x.id, y.id]));
    look("an unknown one", json!([x.id, s.name("missing")]));
    look("one twice", json!([x.id, x.id]));
    look("no name", json!([""]));
    look("none", json!([]));
}

fn list(s: &Session) {
    let topic = topic(s, "a", 1);
    let (x, y, z) = (Txn::open(s, "x"), Txn::open(s, "y"), Txn::open(s, "z"));
    let c = s.connect();
    let look = |label: &str| {
        for version in 0..=2 {
            c.send(label, "ListTransactions", version, json!({})).own().answer();
        }
    };
    look("nothing open");
    x.writes(s, &topic, 0, 1, 0);
    y.adds(&topic, &[0]);
    look("two open");
    x.ends(s, true);
    y.ends(s, false);
    z.adds(&topic, &[0]);
    look("one of each");
    z.ends(s, true);
}

fn list_filters(s: &Session) {
    let topic = topic(s, "a", 1);
    let (x, y, z) = (Txn::open(s, "x"), Txn::open(s, "y"), Txn::open(s, "z"));
    x.writes(s, &topic, 0, 1, 0);
    y.writes(s, &topic, 0, 1, 0);
    y.ends(s, false);
    let c = s.connect();
    let look = |label: &str, filters: Value| {
        c.send(label, "ListTransactions", 1, filters).own().answer();
    };
    for state in ["Ongoing", "CompleteAbort", "Empty", "PrepareCommit", "Dead", "ongoing", "Sleeping", ""] {
        look(&format!("state {state:?}"), json!({"state_filters": [state]}));
    }
    look("two states", json!({"state_filters": ["Ongoing", "Empty"]}));
    look("a state and nonsense", json!({"state_filters": ["Ongoing", "Sleeping"]}));
    look("a producer", json!({"producer_id_filters": [x.producer_id]}));
    look("two producers", json!({"producer_id_filters": [x.producer_id, z.producer_id]}));
    look("an unknown producer", json!({"producer_id_filters": [7_000_500]}));
    look(
        "a producer in another state",
        json!({"producer_id_filters": [y.producer_id], "state_filters": ["Ongoing"]}),
    );
    std::thread::sleep(std::time::Duration::from_millis(50));
    for duration in [-1, -2, 0, 20, 3_600_000] {
        look(&format!("longer than {duration} ms"), json!({"duration_filter": duration}));
    }
    look("long and Empty", json!({"duration_filter": 20, "state_filters": ["Empty"]}));
    x.ends(s, true);
}

/// KIP-1152: ids by a pattern.
fn list_patterns(s: &Session) {
    let all: Vec<Txn> = ["ab", "abc", "xbc"].iter().map(|name| Txn::open(s, name)).collect();
    let c = s.connect();
    let prefix = all[0].id.strip_suffix("ab").unwrap().to_owned();
    for tail in ["ab", "ab.*", ".*bc", "[a-x]b", "b", ".*", "ab|abc"] {
        let pattern = format!("{}{tail}", prefix.replace('.', "\\."));
        let request = json!({"transactional_id_pattern": pattern});
        c.send(&format!("pattern {tail}"), "ListTransactions", 2, request).own().answer();
    }
    for (label, pattern) in [("a name within", "abc"), ("nonsense", "a[")] {
        let request = json!({"transactional_id_pattern": pattern});
        c.send(label, "ListTransactions", 2, request).own().answer();
    }
    for pattern in [Value::Null, "".into()] {
        let request = json!({"transactional_id_pattern": pattern});
        c.send(&format!("pattern {pattern}"), "ListTransactions", 2, request).own().answer();
    }
}

/// One marker for some partitions of a topic.
fn marker(
    producer_id: i64,
    epoch: i16,
    commit: bool,
    coordinator: i32,
    topic: &Topic,
    partitions: &[i32],
) -> Value {
    json!({
        "producer_id": producer_id, "producer_epoch": epoch, "transaction_result": commit,
        "coordinator_epoch": coordinator, "topics": [{"name": topic.name, "partition_indexes": partitions}],
    })
}

/// Markers that nobody's transaction waits for.
fn s57_markers(s: &Session) {
    let topic = topic(s, "a", 2);
    let c = s.connect();
    for version in 1..=2 {
        let send = |label: &str, markers: Value| {
            c.call(label, "WriteTxnMarkers", version, json!({"markers": markers}));
        };
        let id = 7_000_510 + i64::from(version);
        send("none", json!([]));
        send("a commit", json!([marker(id, 3, true, 0, &topic, &[0])]));
        send("the same again", json!([marker(id, 3, true, 0, &topic, &[0])]));
        send("an abort", json!([marker(id, 3, false, 0, &topic, &[0, 1])]));
        send("a later epoch", json!([marker(id, 4, true, 0, &topic, &[0])]));
        send("an older epoch", json!([marker(id, 3, true, 0, &topic, &[0])]));
        send("a later coordinator", json!([marker(id, 4, true, 2, &topic, &[0])]));
        send("an older coordinator", json!([marker(id, 4, true, 1, &topic, &[0])]));
        send(
            "two",
            json!([marker(id, 5, true, 2, &topic, &[0]), marker(id + 10, 0, false, 0, &topic, &[1])]),
        );
        send("no partitions", json!([marker(id, 5, true, 2, &topic, &[])]));
    }
    c.call("producers", "DescribeProducers", 0, active(&topic, &[0, 1]));
    c.call("what is there", "Fetch", 12, ask::fetch(&topic, 0));
}

fn markers_refused(s: &Session) {
    let topic = topic(s, "a", 1);
    let c = s.connect();
    let missing = Topic { name: s.name("missing"), id: topic.id.clone() };
    for version in 1..=2 {
        let send = |label: &str, markers: Value| {
            c.call(label, "WriteTxnMarkers", version, json!({"markers": markers}));
        };
        send("an unknown topic", json!([marker(7_000_530, 0, true, 0, &missing, &[0])]));
        send("an unknown partition", json!([marker(7_000_530, 0, true, 0, &topic, &[0, 1])]));
        send("no epoch", json!([marker(7_000_531, -1, true, 0, &topic, &[0])]));
        send("no producer", json!([marker(-1, 0, true, 0, &topic, &[0])]));
        send("no coordinator", json!([marker(7_000_532, 0, true, -1, &topic, &[0])]));
        send("no coordinator, after one", json!([marker(7_000_530, 0, true, -1, &topic, &[0])]));
    }
    c.call("what is there", "Fetch", 12, ask::fetch(&topic, 0));
}

/// S57: markers of newer transactions have an epoch of their own.
fn s57_markers_v2(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    let id = txn.producer_id;
    txn.writes(s, &topic, 0, 1, 0);
    let c = s.connect();
    let send = |label: &str, epoch: i16, commit: bool| {
        let mut marker = marker(id, epoch, commit, 0, &topic, &[0]);
        marker["transaction_version"] = 2.into();
        c.call(label, "WriteTxnMarkers", 2, json!({"markers": [marker]}));
        c.call(&format!("{label}, producers"), "DescribeProducers", 0, active(&topic, &[0]));
    };
    send("of the epoch itself", txn.epoch, true);
    send("of the next epoch", txn.epoch + 1, false);
    send("the same again", txn.epoch + 1, false);
    send("the opposite", txn.epoch + 1, true);
    send("an older epoch", txn.epoch, false);
    send("a later epoch, nothing open", txn.epoch + 2, true);
    c.call("what is there", "Fetch", 12, ask::fetch(&topic, 0));
}

/// How an administrator ends a transaction that hangs in a partition.
fn abort(s: &Session) {
    let topic = topic(s, "a", 1);
    let txn = Txn::open(s, "t");
    txn.writes(s, &topic, 0, 2, 0);
    let c = s.connect();
    c.call("open", "DescribeProducers", 0, active(&topic, &[0]));
    let markers = json!([marker(txn.producer_id, txn.epoch, false, -1, &topic, &[0])]);
    c.call("its abort", "WriteTxnMarkers", 1, json!({"markers": markers}));
    c.call("aborted", "DescribeProducers", 0, active(&topic, &[0]));
    c.call("what is committed", "Fetch", 12, fetch_committed(&topic, 0));
    c.call(
        "the coordinator does not know",
        "DescribeTransactions",
        0,
        json!({"transactional_ids": [txn.id]}),
    );
    c.call("the producer goes on", "Produce", 9, txn.produce(&topic, &txn.batch(1, 2)));
    c.call("and commits", "EndTxn", 4, txn.end(true));
    txn.settled(s);
    c.call("what is committed in the end", "Fetch", 12, fetch_committed(&topic, 0));
    c.call("all of it", "Fetch", 12, ask::fetch(&topic, 0));
}
