//! Offsets that are committed by a transaction (S60).

use serde_json::{Value, json};

use super::member::{Member, alone};
use super::txn::{Txn, init};
use crate::run::{Script, plain, strict};
use crate::session::{Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("txn_offsets/committed", s60_committed),
    plain("txn_offsets/implicit", implicit),
    plain("txn_offsets/add_refused", add_refused),
    plain("txn_offsets/refused", refused),
    plain("txn_offsets/unknown", unknown),
    plain("txn_offsets/stable", s60_stable),
    plain("txn_offsets/between", between),
    plain("txn_offsets/two_transactions", two_transactions),
    plain("txn_offsets/twice", twice),
    plain("txn_offsets/values", values),
    plain("txn_offsets/members", s60_members),
    plain("txn_offsets/instances", instances),
    plain("txn_offsets/empty_group", empty_group),
    plain("txn_offsets/deleted", deleted),
    plain("txn_offsets/groups", groups),
    plain("txn_offsets/fenced", fenced),
    plain("txn_offsets/late", late),
    strict("txn_offsets/metadata_limit", metadata_limit),
];

/// A fetch of some partitions of a topic, in the form of all versions.
fn fetch(group: &str, topic: &Topic, partitions: &[i32], stable: bool) -> Value {
    let topics = json!([{"name": topic.name, "topic_id": topic.id, "partition_indexes": partitions}]);
    let named = json!([{"name": topic.name, "partition_indexes": partitions}]);
    json!({
        "group_id": group, "topics": named, "require_stable": stable,
        "groups": [{"group_id": group, "topics": topics}],
    })
}

/// What both kinds of readers see.
fn look(c: &Connection, label: &str, group: &str, topic: &Topic, partitions: &[i32]) {
    c.call(label, "OffsetFetch", 7, fetch(group, topic, partitions, false));
    c.call(&format!("{label}, stable"), "OffsetFetch", 7, fetch(group, topic, partitions, true));
}

/// A commit outside any transaction, unrecorded.
fn plain_commit(c: &Connection, group: &str, topic: &Topic, partition: i32, offset: i64) {
    let partitions =
        json!([{"partition_index": partition, "committed_offset": offset, "committed_metadata": "plain"}]);
    let request = json!({"group_id": group, "topics": [{"name": topic.name, "partitions": partitions}]});
    let answer = c.quiet("OffsetCommit", 8, request);
    assert_eq!(answer.int("topics[0].partitions[0].error_code"), 0, "{:?}", answer.tree);
}

/// Visible with the commit, gone with the abort.
fn s60_committed(s: &Session) {
    let topic = s.topic("t", 2);
    for version in 0..=5 {
        let txn = Txn::open(s, &format!("v{version}"));
        let group = s.name(&format!("g{version}"));
        for (round, commit) in [(1, true), (2, false), (3, true)] {
            let label = if commit { "to be committed" } else { "to be aborted" };
            txn.c.call(label, "AddOffsetsToTxn", version.min(4), txn.add_offsets(&group));
            let offsets = [(0, 10 * round), (1, 10 * round + 1)];
            txn.c.call(label, "TxnOffsetCommit", version, txn.commit_offsets(&group, &topic, &offsets));
            look(&txn.c, label, &group, &topic, &[0, 1]);
            txn.ends(s, commit);
            look(&txn.c, "ended", &group, &topic, &[0, 1]);
        }
        txn.c.call("the group it made", "DescribeGroups", 6, json!({"groups": [group]}));
    }
}

/// S55: newer clients commit offsets without a word before.
fn implicit(s: &Session) {
    let topic = s.topic("t", 1);
    let (mut txn, group) = (Txn::open(s, "t"), s.name("g"));
    for version in 0..=4 {
        let request = txn.commit_offsets(&group, &topic, &[(0, 3)]);
        txn.c.call("nothing added, an older client", "TxnOffsetCommit", version, request);
    }
    described(&txn, "after the older ones");
    for commit in [true, false] {
        let request = txn.commit_offsets(&group, &topic, &[(0, if commit { 5 } else { 7 })]);
        txn.c.call("nothing added, a newer client", "TxnOffsetCommit", 5, request.clone());
        txn.c.call("the same again", "TxnOffsetCommit", 5, request);
        let ended = txn.c.call("the end", "EndTxn", 5, txn.end(commit));
        txn.settled(s);
        txn.learn(&ended);
        look(&txn.c, "ended", &group, &topic, &[0]);
    }
}

/// What the coordinator says; the partition of the offsets is not shown, for it depends on the names.
fn described(txn: &Txn, label: &str) {
    txn.c.call(label, "DescribeTransactions", 0, json!({"transactional_ids": [txn.id]}));
}

fn add_refused(s: &Session) {
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    let (group, good) = (s.name("g"), txn.add_offsets(&s.name("g")));
    let each = |label: &str, field: &str, value: Value| {
        let mut request = good.clone();
        request[field] = value;
        txn.c.every(label, "AddOffsetsToTxn", |_| request.clone());
    };
    each("an unknown transactional id", "transactional_id", s.name("missing").into());
    each("no transactional id", "transactional_id", "".into());
    each("another producer", "producer_id", 7_000_400.into());
    each("no producer", "producer_id", (-1).into());
    each("the epoch before", "producer_epoch", (txn.epoch - 1).into());
    each("the next epoch", "producer_epoch", (txn.epoch + 1).into());
    each("no group", "group_id", "".into());
    txn.c.every("all is well", "AddOffsetsToTxn", |_| txn.add_offsets(&group));
    txn.ends(s, true);
}

fn refused(s: &Session) {
    let topic = s.topic("t", 1);
    let mut txn = Txn::open(s, "t");
    txn.init(s);
    let group = s.name("g");
    for open in [false, true] {
        if open {
            let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&group));
            assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
        }
        let good = txn.commit_offsets(&group, &topic, &[(0, 5)]);
        let each = |label: &str, field: &str, value: Value| {
            let mut request = good.clone();
            request[field] = value;
            let label = format!("{label}, {}", if open { "open" } else { "nothing open" });
            txn.c.every(&label, "TxnOffsetCommit", |_| request.clone());
        };
        each("another producer", "producer_id", 7_000_410.into());
        each("no producer", "producer_id", (-1).into());
        each("the epoch before", "producer_epoch", (txn.epoch - 1).into());
        each("the next epoch", "producer_epoch", (txn.epoch + 1).into());
        each("an unknown transactional id", "transactional_id", s.name("missing").into());
        each("no transactional id", "transactional_id", "".into());
        each("no group", "group_id", "".into());
        each("no topics", "topics", json!([]));
    }
    look(&txn.c, "what came of it", &group, &topic, &[0]);
    txn.settled(s);
}

fn unknown(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, group) = (Txn::open(s, "t"), s.name("g"));
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&group));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    let missing = Topic { name: s.name("missing"), id: topic.id.clone() };
    let one = |topic: &Topic, offsets: &[(i32, i64)]| txn.commit_offsets(&group, topic, offsets);
    txn.c.every("a topic", "TxnOffsetCommit", |_| one(&missing, &[(0, 1)]));
    txn.c.every("a partition", "TxnOffsetCommit", |_| one(&topic, &[(1, 1)]));
    txn.c.every("good and bad", "TxnOffsetCommit", |_| one(&topic, &[(0, 4), (1, 1), (-1, 1)]));
    let mut refused = one(&topic, &[]);
    let topics = [&topic, &missing].map(|topic| one(topic, &[(0, 4), (1, 1)])["topics"][0].clone());
    refused["topics"] = topics.to_vec().into();
    refused["producer_id"] = 7_000_420.into();
    txn.c.every("good and bad of another producer", "TxnOffsetCommit", |_| refused.clone());
    txn.ends(s, true);
    look(&txn.c, "what came of it", &group, &topic, &[0, 1]);
}

/// The three ways to ask, at all versions, while a transaction holds offsets.
fn s60_stable(s: &Session) {
    let topic = s.topic("t", 3);
    let (txn, group) = (Txn::open(s, "t"), s.name("g"));
    plain_commit(&txn.c, &group, &topic, 0, 1);
    plain_commit(&txn.c, &group, &topic, 1, 2);
    txn.commits_offsets(&group, &topic, &[(0, 11), (2, 13)]);
    let only = s.name("only-pending");
    txn.commits_offsets(&only, &topic, &[(0, 21)]);
    let all = |group: &str, stable: bool| json!({"group_id": group, "topics": null, "require_stable": stable, "groups": [{"group_id": group, "topics": null}]});
    for stable in [false, true] {
        let label = if stable { "stable" } else { "as it is" };
        let low = if stable { 7 } else { 1 };
        let c = &txn.c;
        c.each(label, "OffsetFetch", low..=10, |_| fetch(&group, &topic, &[0, 1, 2], stable));
        c.each(&format!("{label}, the other"), "OffsetFetch", low..=10, |_| {
            fetch(&group, &topic, &[1], stable)
        });
        c.each(&format!("{label}, all"), "OffsetFetch", low.max(2)..=10, |_| all(&group, stable));
        c.each(&format!("{label}, a group of nothing else"), "OffsetFetch", low..=10, |_| {
            fetch(&only, &topic, &[0, 1], stable)
        });
        c.each(&format!("{label}, all of a group of nothing else"), "OffsetFetch", low.max(2)..=10, |_| {
            all(&only, stable)
        });
    }
    txn.ends(s, true);
    txn.c.each("ended, stable, all", "OffsetFetch", 7..=10, |_| all(&group, true));
}

/// A commit of a group member between a transaction's and its end.
fn between(s: &Session) {
    let topic = s.topic("t", 1);
    for commit in [true, false] {
        let name = if commit { "c" } else { "a" };
        let (txn, group) = (Txn::open(s, name), s.name(name));
        plain_commit(&txn.c, &group, &topic, 0, 1);
        txn.commits_offsets(&group, &topic, &[(0, 11)]);
        plain_commit(&txn.c, &group, &topic, 0, 22);
        look(&txn.c, "open", &group, &topic, &[0]);
        txn.ends(s, commit);
        look(&txn.c, "ended", &group, &topic, &[0]);
    }
}

/// Two producers with offsets of one partition.
fn two_transactions(s: &Session) {
    let topic = s.topic("t", 1);
    for (name, first, second) in [("cc", true, true), ("ca", true, false), ("ac", false, true)] {
        let (x, y) = (Txn::open(s, &format!("x-{name}")), Txn::open(s, &format!("y-{name}")));
        let group = s.name(name);
        x.commits_offsets(&group, &topic, &[(0, 11)]);
        y.commits_offsets(&group, &topic, &[(0, 22)]);
        look(&x.c, "both open", &group, &topic, &[0]);
        y.ends(s, second);
        look(&x.c, "the second ended", &group, &topic, &[0]);
        x.ends(s, first);
        look(&x.c, "both ended", &group, &topic, &[0]);
    }
}

fn twice(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, group) = (Txn::open(s, "t"), s.name("g"));
    txn.commits_offsets(&group, &topic, &[(0, 11)]);
    txn.commits_offsets(&group, &topic, &[(0, 9)]);
    txn.ends(s, true);
    look(&txn.c, "the later one counts", &group, &topic, &[0]);
}

fn values(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, group) = (Txn::open(s, "t"), s.name("g"));
    let one = |label: &str, field: &str, value: Value| {
        let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&group));
        assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
        let mut request = txn.commit_offsets(&group, &topic, &[(0, 7)]);
        request["topics"][0]["partitions"][0][field] = value;
        txn.c.call(label, "TxnOffsetCommit", 3, request);
        txn.ends(s, true);
        txn.c.call(label, "OffsetFetch", 7, fetch(&group, &topic, &[0], true));
    };
    one("epoch 9", "committed_leader_epoch", 9.into());
    one("epoch -2", "committed_leader_epoch", (-2).into());
    one("no words", "committed_metadata", Value::Null);
    one("4096 letters", "committed_metadata", "x".repeat(4096).into());
    one("4097 letters", "committed_metadata", "x".repeat(4097).into());
    for offset in [0, -1, i64::MAX] {
        one(&format!("offset {offset}"), "committed_offset", offset.into());
    }
}

/// KIP-447: the member on whose behalf offsets are committed.
fn s60_members(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, member) = (Txn::open(s, "t"), alone(s, "live"));
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&member.group));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    let each = |label: &str, group: &str, id: &str, generation: i64| {
        let mut request = txn.commit_offsets(group, &topic, &[(0, 5)]);
        request["member_id"] = id.into();
        request["generation_id"] = generation.into();
        txn.c.every(label, "TxnOffsetCommit", |_| request.clone());
    };
    each("nobody in particular", &member.group, "", -1);
    each("the member", &member.group, &member.id, member.generation);
    each("the member of another generation", &member.group, &member.id, member.generation + 1);
    each("the member of an older generation", &member.group, &member.id, member.generation - 1);
    each("the member without generation", &member.group, &member.id, -1);
    each("an unknown member", &member.group, "m", member.generation);
    each("an unknown member without generation", &member.group, "m", -1);
    each("nobody, of a generation", &member.group, "", member.generation);
    txn.ends(s, true);
    let missing = s.name("missing");
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&missing));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    each("a group that is not there, a member", &missing, "m", 1);
    each("a group that is not there, a generation", &missing, "", 1);
    each("a group that is not there, nobody", &missing, "", -1);
    txn.ends(s, false);
}

fn instances(s: &Session) {
    let topic = s.topic("t", 1);
    let txn = Txn::open(s, "t");
    let mut member = Member::fixed(s, "static", "one");
    member.join_quietly();
    member.sync_quietly();
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&member.group));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    let each = |label: &str, id: &str, instance: &str, generation: i64| {
        let mut request = txn.commit_offsets(&member.group, &topic, &[(0, 5)]);
        request["member_id"] = id.into();
        request["group_instance_id"] = instance.into();
        request["generation_id"] = generation.into();
        txn.c.each(label, "TxnOffsetCommit", 3..=5, |_| request.clone());
    };
    each("the member", &member.id, "one", member.generation);
    each("another member of that instance", "m", "one", member.generation);
    each("an unknown instance", &member.id, "two", member.generation);
    each("nobody, with the instance", "", "one", -1);
    txn.ends(s, true);
}

/// A group whose members have left.
fn empty_group(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, member) = (Txn::open(s, "t"), alone(s, "live"));
    txn.c.quiet("LeaveGroup", 5, member.leave_request());
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&member.group));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    for (label, id, generation) in
        [("nobody", "", -1), ("its former member", &*member.id, member.generation), ("a generation", "", 2)]
    {
        let mut request = txn.commit_offsets(&member.group, &topic, &[(0, 5)]);
        request["member_id"] = id.into();
        request["generation_id"] = generation.into();
        txn.c.each(label, "TxnOffsetCommit", 2..=5, |_| request.clone());
    }
    txn.ends(s, true);
    look(&txn.c, "ended", &member.group, &topic, &[0]);
}

/// Groups and offsets that go while a transaction holds offsets of them.
fn deleted(s: &Session) {
    let topic = s.topic("t", 1);
    let txn = Txn::open(s, "t");
    let (group, other) = (s.name("g"), s.name("h"));
    plain_commit(&txn.c, &group, &topic, 0, 1);
    txn.commits_offsets(&group, &topic, &[(0, 11)]);
    txn.commits_offsets(&other, &topic, &[(0, 12)]);
    let c = &txn.c;
    let delete =
        json!({"group_id": group, "topics": [{"name": topic.name, "partitions": [{"partition_index": 0}]}]});
    c.call("the offsets", "OffsetDelete", 0, delete);
    look(c, "the offsets are deleted", &group, &topic, &[0]);
    c.call("the group", "DeleteGroups", 2, json!({"groups_names": [group]}));
    c.call("a group of nothing else", "DeleteGroups", 2, json!({"groups_names": [other]}));
    txn.ends(s, true);
    look(c, "ended", &group, &topic, &[0]);
    look(c, "ended, the other", &other, &topic, &[0]);
    txn.commits_offsets(&group, &topic, &[(0, 31)]);
    c.call("the group, open again", "DeleteGroups", 2, json!({"groups_names": [group]}));
    txn.ends(s, false);
    look(c, "aborted", &group, &topic, &[0]);
}

/// Whether a group that only a transaction has named is there.
fn groups(s: &Session) {
    let topic = s.topic("t", 1);
    let txn = Txn::open(s, "t");
    let group = s.name("g");
    let look = |label: &str| {
        txn.c.send(label, "ListGroups", 5, json!({})).own().answer();
        txn.c.call(label, "DescribeGroups", 6, json!({"groups": [group]}));
    };
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&group));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    look("named");
    txn.commits_offsets(&group, &topic, &[(0, 11)]);
    look("open");
    txn.ends(s, false);
    look("aborted");
    txn.commits_offsets(&group, &topic, &[(0, 11)]);
    txn.ends(s, true);
    look("committed");
}

/// A new producer ends the transaction of the one before it, offsets and all.
fn fenced(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, group) = (Txn::open(s, "t"), s.name("g"));
    plain_commit(&txn.c, &group, &topic, 0, 1);
    txn.commits_offsets(&group, &topic, &[(0, 11)]);
    look(&txn.c, "open", &group, &topic, &[0]);
    txn.c.call("another producer", "InitProducerId", 4, init(&txn.id, -1, -1));
    txn.settled(s);
    look(&txn.c, "fenced", &group, &topic, &[0]);
    let request = txn.commit_offsets(&group, &topic, &[(0, 33)]);
    txn.c.every("the zombie", "TxnOffsetCommit", |_| request.clone());
    look(&txn.c, "after the zombie", &group, &topic, &[0]);
}

/// Offsets that come after the end.
fn late(s: &Session) {
    let topic = s.topic("t", 1);
    for version in [4, 5] {
        let mut txn = Txn::open(s, &format!("v{version}"));
        let group = s.name(&format!("g{version}"));
        txn.commits_offsets(&group, &topic, &[(0, 11)]);
        let late = txn.commit_offsets(&group, &topic, &[(0, 22)]);
        let ended = txn.c.call("the end", "EndTxn", version, txn.end(true));
        txn.settled(s);
        txn.c.each("late", "TxnOffsetCommit", 0..=4, |_| late.clone());
        if version == 5 {
            txn.c.call("late, a newer client", "TxnOffsetCommit", 5, late.clone());
            let mut renamed = late;
            renamed["transactional_id"] = s.name("missing").into();
            txn.c.every("late, of an id that is gone", "TxnOffsetCommit", |_| renamed.clone());
            txn.learn(&ended);
        }
        look(&txn.c, "ended", &group, &topic, &[0]);
    }
}

fn metadata_limit(s: &Session) {
    let topic = s.topic("t", 1);
    let (txn, group) = (Txn::open(s, "t"), s.name("g"));
    let answer = txn.c.quiet("AddOffsetsToTxn", 3, txn.add_offsets(&group));
    assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
    for words in ["0123456789", "0123456789a"] {
        let mut request = txn.commit_offsets(&group, &topic, &[(0, 7)]);
        request["topics"][0]["partitions"][0]["committed_metadata"] = words.into();
        txn.c.call(&format!("{} letters", words.len()), "TxnOffsetCommit", 3, request);
    }
    txn.ends(s, true);
    look(&txn.c, "ended", &group, &topic, &[0]);
}
