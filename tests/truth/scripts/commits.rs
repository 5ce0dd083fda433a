//! OffsetCommit, OffsetFetch and OffsetDelete (S73, S74, S76, S89).

use serde_json::{Value, json};

use super::member::{Member, alone, subscription};
use crate::codec::ZERO_UUID;
use crate::run::{Script, plain, strict};
use crate::session::{Connection, Session, Topic};

pub(super) const SCRIPTS: &[Script] = &[
    plain("commits/simple", simple),
    plain("commits/values", values),
    plain("commits/unknown", unknown),
    plain("commits/refused", refused),
    plain("commits/of_a_member", of_a_member),
    plain("commits/between", between),
    plain("commits/several", several),
    plain("commits/fetch_all", fetch_all),
    plain("commits/fetch_groups", fetch_groups),
    plain("commits/fetch_members", fetch_members),
    plain("commits/topic_deleted", topic_deleted),
    plain("commits/delete", delete),
    plain("commits/delete_subscribed", delete_subscribed),
    strict("commits/metadata_limit", metadata_limit),
];

/// An id that no topic has.
const NO_SUCH_ID: &str = "EREREREREREREREREREREQ";

/// A commit by nobody in particular; the topic goes by name or by id, as the version has it.
fn commit(group: &str, topic: &Topic, partitions: Value) -> Value {
    json!({
        "group_id": group, "topics": [{"name": topic.name, "topic_id": topic.id, "partitions": partitions}],
    })
}

fn at(partition: i32, offset: i64, words: &str) -> Value {
    json!({"partition_index": partition, "committed_offset": offset, "committed_metadata": words})
}

/// A fetch of some partitions of a topic, in the form of all versions.
fn fetch(group: &str, topic: &Topic, partitions: &[i32]) -> Value {
    let topics = json!([{"name": topic.name, "topic_id": topic.id, "partition_indexes": partitions}]);
    let named = json!([{"name": topic.name, "partition_indexes": partitions}]);
    json!({"group_id": group, "topics": named, "groups": [{"group_id": group, "topics": topics}]})
}

/// All versions; the two forms of topics are told apart by what the version has.
fn every_fetch(c: &Connection, label: &str, group: &str, topic: &Topic, partitions: &[i32]) {
    c.every(label, "OffsetFetch", |_| fetch(group, topic, partitions));
}

fn simple(s: &Session) {
    let topic = s.topic("t", 2);
    let c = s.connect();
    for version in 2..=10 {
        let group = s.name(&format!("v{version}"));
        c.call("before", "OffsetFetch", version, fetch(&group, &topic, &[0]));
        let partitions = json!([at(0, 10 + i64::from(version), "words"), at(1, 5, "")]);
        c.call("a commit", "OffsetCommit", version, commit(&group, &topic, partitions));
        c.call("after", "OffsetFetch", version, fetch(&group, &topic, &[1, 0]));
        c.call("the group it made", "DescribeGroups", 6, json!({"groups": [group]}));
    }
    every_fetch(&c, "at every version", &s.name("v10"), &topic, &[0, 1]);
    c.every("no topics", "OffsetCommit", |_| json!({"group_id": s.name("v2")}));
    c.every("no partitions", "OffsetCommit", |_| commit(&s.name("v2"), &topic, json!([])));
}

/// S74: what was committed comes back, epoch and all.
fn values(s: &Session) {
    let (topic, group) = (s.topic("t", 1), s.name("g"));
    let c = s.connect();
    let commit_one = |label: &str, field: &str, value: Value| {
        let mut one = at(0, 7, "words");
        one[field] = value;
        c.call(label, "OffsetCommit", 8, commit(&group, &topic, json!([one])));
        for version in [1, 7, 10] {
            c.call(label, "OffsetFetch", version, fetch(&group, &topic, &[0]));
        }
    };
    commit_one("epoch 0", "committed_leader_epoch", 0.into());
    commit_one("epoch 9", "committed_leader_epoch", 9.into());
    commit_one("epoch -2", "committed_leader_epoch", (-2).into());
    commit_one("no words", "committed_metadata", Value::Null);
    commit_one("4096 letters", "committed_metadata", "x".repeat(4096).into());
    commit_one("4097 letters", "committed_metadata", "x".repeat(4097).into());
    commit_one("2048 letters of two bytes", "committed_metadata", "ä".repeat(2048).into());
    commit_one("4096 letters of two bytes", "committed_metadata", "ä".repeat(4096).into());
    for offset in [0, -1, -2, i64::MAX] {
        commit_one(&format!("offset {offset}"), "committed_offset", offset.into());
    }
    let mut kept = commit(&group, &topic, json!([at(0, 1, "kept")]));
    for retention in [-1, 0, 1000] {
        kept["retention_time_ms"] = retention.into();
        c.each(&format!("retention {retention}"), "OffsetCommit", 2..=4, |_| kept.clone());
    }
}

fn unknown(s: &Session) {
    let (topic, group) = (s.topic("t", 1), s.name("g"));
    let c = s.connect();
    let missing = Topic { name: s.name("missing"), id: NO_SUCH_ID.to_owned() };
    c.every("a commit to an unknown topic", "OffsetCommit", |_| {
        commit(&group, &missing, json!([at(0, 1, "")]))
    });
    c.every("a commit to an unknown partition", "OffsetCommit", |_| {
        commit(&group, &topic, json!([at(1, 1, "")]))
    });
    c.call("a commit below partition 0", "OffsetCommit", 9, commit(&group, &topic, json!([at(-1, 1, "")])));
    c.call("good and bad", "OffsetCommit", 9, commit(&group, &topic, json!([at(0, 1, ""), at(1, 1, "")])));
    every_fetch(&c, "an unknown topic", &group, &missing, &[0]);
    every_fetch(&c, "an unknown partition", &group, &topic, &[0, 1, -1]);
    let none = Topic { name: String::new(), id: ZERO_UUID.to_owned() };
    c.each("a commit to no topic", "OffsetCommit", 9..=10, |_| commit(&group, &none, json!([at(0, 1, "")])));
    c.each("a fetch of no topic", "OffsetFetch", 9..=10, |_| fetch(&group, &none, &[0]));
    let odd = Topic { name: "a b".to_owned(), id: ZERO_UUID.to_owned() };
    c.call("a commit to a bad name", "OffsetCommit", 9, commit(&group, &odd, json!([at(0, 1, "")])));
}

/// S73: whose commits are refused.
fn refused(s: &Session) {
    let topic = s.topic("t", 1);
    let c = s.connect();
    let with = |group: &str, member: &str, generation: i32| {
        let mut request = commit(group, &topic, json!([at(0, 1, "")]));
        request["member_id"] = member.into();
        request["generation_id_or_member_epoch"] = generation.into();
        request
    };
    let missing = s.name("missing");
    c.every("no group", "OffsetCommit", |_| with("", "", -1));
    c.every("an unknown group, generation 3", "OffsetCommit", |_| with(&missing, "", 3));
    c.every("an unknown group, a member of generation 3", "OffsetCommit", |_| with(&missing, "m", 3));
    c.every("an unknown group, a member without generation", "OffsetCommit", |_| with(&missing, "m", -1));
    let member = alone(s, "live");
    c.every("a live group, nobody", "OffsetCommit", |_| with(&member.group, "", -1));
    c.every("a live group, an unknown member", "OffsetCommit", |_| with(&member.group, "m", 1));
    c.every("a live group, generation 9", "OffsetCommit", |_| with(&member.group, &member.id, 9));
    c.every("a live group, generation 0", "OffsetCommit", |_| with(&member.group, &member.id, 0));
    c.every("a live group, a member without generation", "OffsetCommit", |_| {
        with(&member.group, &member.id, -1)
    });
    let mut named = with(&member.group, &member.id, 1);
    named["group_instance_id"] = "i".into();
    c.each("a live group, an unknown instance", "OffsetCommit", 7..=10, |_| named.clone());
    c.quiet("LeaveGroup", 5, member.leave_request());
    c.every("an empty group, its former member", "OffsetCommit", |_| with(&member.group, &member.id, 1));
    c.every("an empty group, nobody", "OffsetCommit", |_| with(&member.group, "", -1));
    c.every("an empty group, nobody of generation 2", "OffsetCommit", |_| with(&member.group, "", 2));
}

fn by(member: &Member, topic: &Topic, offset: i64) -> Value {
    let mut request = commit(&member.group, topic, json!([at(0, offset, "")]));
    request["member_id"] = member.id.as_str().into();
    request["generation_id_or_member_epoch"] = member.generation.into();
    request["group_instance_id"] = json!(member.instance);
    request
}

fn of_a_member(s: &Session) {
    let topic = s.topic("t", 1);
    for version in 2..=10 {
        let member = alone(s, &format!("v{version}"));
        member.c.call("a member commits", "OffsetCommit", version, by(&member, &topic, i64::from(version)));
        member.c.call("what it committed", "OffsetFetch", version, fetch(&member.group, &topic, &[0]));
    }
    let mut member = Member::fixed(s, "static", "one");
    member.join_quietly();
    member.sync_quietly();
    member.c.each("a static member commits", "OffsetCommit", 7..=10, |_| by(&member, &topic, 3));
}

/// S73: between join and sync a group takes no commits.
fn between(s: &Session) {
    let topic = s.topic("t", 1);
    let mut member = Member::new(s, "g", "one");
    member.get_id();
    member.c.every("given an id", "OffsetCommit", |_| {
        let mut request = by(&member, &topic, 1);
        request["generation_id_or_member_epoch"] = 0.into();
        request
    });
    member.join_quietly();
    member.c.every("joined, not synced", "OffsetCommit", |_| by(&member, &topic, 1));
    member.sync_quietly();
    member.c.call("synced", "OffsetCommit", 9, by(&member, &topic, 1));
}

fn several(s: &Session) {
    let (a, b, group) = (s.topic("a", 3), s.topic("b", 1), s.name("g"));
    let c = s.connect();
    let topics = |partitions: Value| {
        json!({"group_id": group, "topics": [
            {"name": a.name, "topic_id": a.id, "partitions": partitions},
            {"name": b.name, "topic_id": b.id, "partitions": [at(0, 4, "b")]}]})
    };
    let some = json!([at(2, 1, "two"), at(0, 2, "zero"), at(7, 3, "none"), at(1, 5, &"x".repeat(5000))]);
    c.each("two topics, good and bad", "OffsetCommit", 9..=10, |_| topics(some.clone()));
    c.each("a partition twice", "OffsetCommit", 9..=10, |_| {
        topics(json!([at(0, 8, "first"), at(0, 9, "second")]))
    });
    let indexes = |topic: &Topic, wanted: &[i32]| json!({"name": topic.name, "topic_id": topic.id, "partition_indexes": wanted});
    for version in [8, 9, 10] {
        let asked = json!([indexes(&a, &[1, 0, 2, 0]), indexes(&b, &[0]), indexes(&b, &[])]);
        c.call("and back", "OffsetFetch", version, json!({"groups": [{"group_id": group, "topics": asked}]}));
    }
}

/// S74: topics of null stand for all.
fn fetch_all(s: &Session) {
    let (a, b, group) = (s.topic("a", 2), s.topic("b", 1), s.name("g"));
    let c = s.connect();
    let all = |group: &str| json!({"group_id": group, "topics": null, "groups": [{"group_id": group, "topics": null}]});
    c.each("nothing", "OffsetFetch", 2..=10, |_| all(&group));
    for topic in [&a, &b] {
        c.quiet("OffsetCommit", 9, commit(&group, topic, json!([at(0, 3, "zero")])));
    }
    c.quiet("OffsetCommit", 9, commit(&group, &a, json!([at(1, 4, "one")])));
    c.each("three", "OffsetFetch", 2..=10, |_| all(&group));
    let none = json!({"group_id": group, "topics": [], "groups": [{"group_id": group, "topics": []}]});
    c.every("none of them", "OffsetFetch", |_| none.clone());
    c.each("of an unknown group", "OffsetFetch", 2..=10, |_| all(&s.name("missing")));
    let mut stable = all(&group);
    stable["require_stable"] = true.into();
    c.each("stable ones", "OffsetFetch", 7..=10, |_| stable.clone());
}

fn fetch_groups(s: &Session) {
    let topic = s.topic("t", 1);
    let (a, b) = (s.name("a"), s.name("b"));
    let c = s.connect();
    c.quiet("OffsetCommit", 9, commit(&a, &topic, json!([at(0, 1, "a")])));
    c.quiet("OffsetCommit", 9, commit(&b, &topic, json!([at(0, 2, "b")])));
    let one = |group: &str, topics: Value| json!({"group_id": group, "topics": topics});
    let some = json!([{"name": topic.name, "topic_id": topic.id, "partition_indexes": [0]}]);
    let groups = json!([
        one(&a, some.clone()),
        one(&b, Value::Null),
        one(&s.name("missing"), some.clone()),
        one("", some.clone())
    ]);
    c.each("four groups", "OffsetFetch", 8..=10, |_| json!({"groups": groups}));
    c.each("no groups", "OffsetFetch", 8..=10, |_| json!({"groups": []}));
    c.each(
        "a group twice",
        "OffsetFetch",
        8..=10,
        |_| json!({"groups": [one(&a, some.clone()), one(&a, some.clone())]}),
    );
}

/// From version 9 on a member may say who it is.
fn fetch_members(s: &Session) {
    let topic = s.topic("t", 1);
    let member = alone(s, "live");
    let c = s.connect();
    c.quiet("OffsetCommit", 9, by(&member, &topic, 6));
    let with = |id: Value, epoch: i64| {
        let mut request = fetch(&member.group, &topic, &[0]);
        request["groups"][0]["member_id"] = id;
        request["groups"][0]["member_epoch"] = epoch.into();
        request
    };
    for (label, id, epoch) in [
        ("itself", json!(member.id), member.generation),
        ("itself, of another epoch", json!(member.id), 9),
        ("an unknown member", json!("nobody"), 1),
        ("no member", Value::Null, 1),
        ("an empty member", json!(""), -1),
    ] {
        c.each(label, "OffsetFetch", 9..=10, |_| with(id.clone(), epoch));
    }
}

/// S89: offsets go with their topic and do not come back with its name.
fn topic_deleted(s: &Session) {
    let (old, other, group) = (s.topic("t", 1), s.topic("other", 1), s.name("g"));
    let c = s.connect();
    for topic in [&old, &other] {
        c.quiet("OffsetCommit", 9, commit(&group, topic, json!([at(0, 3, "old")])));
    }
    c.quiet("DeleteTopics", 5, json!({"topic_names": [old.name], "timeout_ms": 30_000}));
    s.gone(&old.name);
    s.until("its offsets are gone", || {
        c.quiet("OffsetFetch", 7, fetch(&group, &old, &[0])).int("topics[0].partitions[0].committed_offset")
            == -1
    });
    every_fetch(&c, "the topic is gone", &group, &old, &[0]);
    c.each(
        "all that is left",
        "OffsetFetch",
        7..=10,
        |_| json!({"group_id": group, "topics": null, "groups": [{"group_id": group, "topics": null}]}),
    );
    c.each("a commit to it", "OffsetCommit", 9..=10, |_| commit(&group, &old, json!([at(0, 4, "late")])));
    let new = s.topic("t", 1);
    every_fetch(&c, "made again", &group, &new, &[0]);
    c.call("a commit to the old id", "OffsetCommit", 10, commit(&group, &old, json!([at(0, 5, "old id")])));
    c.call("a commit to the new id", "OffsetCommit", 10, commit(&group, &new, json!([at(0, 6, "new id")])));
    every_fetch(&c, "after both", &group, &new, &[0]);
}

fn forget(group: &str, topic: &str, partitions: &[i32]) -> Value {
    let partitions: Vec<Value> = partitions.iter().map(|p| json!({"partition_index": p})).collect();
    json!({"group_id": group, "topics": [{"name": topic, "partitions": partitions}]})
}

/// S76: OffsetDelete.
fn delete(s: &Session) {
    let (topic, group) = (s.topic("t", 3), s.name("g"));
    let c = s.connect();
    c.quiet("OffsetCommit", 9, commit(&group, &topic, json!([at(0, 1, ""), at(1, 2, ""), at(2, 3, "")])));
    c.call("two of three", "OffsetDelete", 0, forget(&group, &topic.name, &[0, 2]));
    c.call("what is left", "OffsetFetch", 7, fetch(&group, &topic, &[0, 1, 2]));
    c.call("one again", "OffsetDelete", 0, forget(&group, &topic.name, &[0]));
    c.call("one twice", "OffsetDelete", 0, forget(&group, &topic.name, &[1, 1]));
    c.call("an unknown partition", "OffsetDelete", 0, forget(&group, &topic.name, &[7, -1]));
    c.call("an unknown topic", "OffsetDelete", 0, forget(&group, &s.name("missing"), &[0]));
    c.call("no partitions", "OffsetDelete", 0, forget(&group, &topic.name, &[]));
    c.call("no topics", "OffsetDelete", 0, json!({"group_id": group}));
    c.call("an unknown group", "OffsetDelete", 0, forget(&s.name("missing"), &topic.name, &[0]));
    c.call("no group", "OffsetDelete", 0, forget("", &topic.name, &[0]));
    c.call("of a group without offsets", "DescribeGroups", 6, json!({"groups": [group]}));
}

/// S76: what members are subscribed to stays.
fn delete_subscribed(s: &Session) {
    let (topic, other) = (s.topic("t", 1), s.topic("other", 1));
    let member = alone(s, "live");
    let c = s.connect();
    for topic in [&topic, &other] {
        c.quiet("OffsetCommit", 9, by(&member, topic, 6));
    }
    let both = json!({"group_id": member.group, "topics": [
        {"name": topic.name, "partitions": [{"partition_index": 0}]},
        {"name": other.name, "partitions": [{"partition_index": 0}]}]});
    c.call("one subscribed, one not", "OffsetDelete", 0, both.clone());
    c.quiet("LeaveGroup", 5, member.leave_request());
    c.call("when all have left", "OffsetDelete", 0, both.clone());
    let mut odd = Member::new(s, "odd", "odd");
    odd.protocols = vec![("range".to_owned(), subscription(&[&other.name]))];
    let mut request = odd.join_request();
    request["protocol_type"] = "connect".into();
    let answer = odd.c.quiet("JoinGroup", 3, request);
    odd.take(&answer);
    c.call("of members that are no consumers", "OffsetDelete", 0, forget(&odd.group, &topic.name, &[0]));
}

/// The strict profile takes ten letters.
fn metadata_limit(s: &Session) {
    let (topic, group) = (s.topic("t", 2), s.name("g"));
    let partitions = json!([at(0, 1, "0123456789"), at(1, 1, "0123456789a")]);
    let c = s.connect();
    c.each("ten letters and eleven", "OffsetCommit", 2..=10, |_| commit(&group, &topic, partitions.clone()));
}
