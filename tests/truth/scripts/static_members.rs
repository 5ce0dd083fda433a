//! Static members of classic groups (KIP-345): S68, S72.

use serde_json::{Value, json};

use super::member::{Member, subscription};
use crate::run::{Script, plain};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("static_members/join", join),
    plain("static_members/come_back", come_back),
    plain("static_members/fenced", fenced),
    plain("static_members/come_back_changed", come_back_changed),
    plain("static_members/come_back_early", come_back_early),
    plain("static_members/follower_comes_back", follower_comes_back),
    plain("static_members/leave", leave),
    plain("static_members/stragglers", stragglers),
    plain("static_members/names", names),
];

/// A static member alone in its group, which is stable.
fn alone(s: &Session, group: &str) -> Member {
    let mut member = Member::fixed(s, group, "one");
    member.join_quietly();
    member.sync_quietly();
    member
}

/// No id is asked for first.
fn join(s: &Session) {
    for version in 4..=9 {
        let mut member = Member::fixed(s, &format!("v{version}"), "one");
        member.join_now("a static member", version);
        if version > 4 {
            member.sync("its sync", if version < 7 { 3 } else { 5 }, &[(&member, "mine")]).answer();
            member.heartbeat("its heartbeat", 3);
            member.describe("as it is described", 5);
            member.c.call("without instances", "DescribeGroups", 3, json!({"groups": [member.group]}));
        }
    }
}

/// The same instance without its id: a new id, and no rebalance.
fn come_back(s: &Session) {
    for version in 5..=9 {
        let mut member = alone(s, &format!("v{version}"));
        member.id.clear();
        member.join_now("back with another id", version);
        member.sync("gets what it had", 5, &[]).answer();
        member.join_now("joins again with the new id", version);
        member.describe("as it is described", 5);
    }
}

/// The id that was replaced is fenced everywhere.
fn fenced(s: &Session) {
    let topic = s.topic("t", 1);
    let mut member = alone(s, "a");
    let old = member.id.clone();
    member.id.clear();
    member.join_quietly();
    let new = std::mem::replace(&mut member.id, old);
    let c = s.connect();
    c.each("a heartbeat", "Heartbeat", 3..=4, |_| member.heartbeat_request());
    c.each("a heartbeat without instance", "Heartbeat", 0..=2, |_| member.heartbeat_request());
    c.each("a sync", "SyncGroup", 3..=5, |_| member.sync_request(&[]));
    c.each("a join", "JoinGroup", 5..=9, |_| member.join_request());
    let partition = json!([{"partition_index": 0, "committed_offset": 1}]);
    let commit = |member: &Member| {
        json!({
            "group_id": member.group, "generation_id_or_member_epoch": member.generation, "member_id": member.id,
            "group_instance_id": member.instance,
            "topics": [{"name": topic.name, "topic_id": topic.id, "partitions": partition}],
        })
    };
    c.each("a commit", "OffsetCommit", 7..=10, |_| commit(&member));
    c.each("leaving", "LeaveGroup", 3..=5, |_| member.leave_request());
    member.id = "nobody".to_owned();
    c.call("a heartbeat of nobody", "Heartbeat", 4, member.heartbeat_request());
    c.call("a join of nobody", "JoinGroup", 9, member.join_request());
    member.id = new;
    member.heartbeat("the new id is well", 4);
    c.call("and commits", "OffsetCommit", 8, commit(&member));
    member.instance = Some("other".to_owned());
    member.heartbeat("under another's name", 4);
    member.instance = None;
    member.heartbeat("without its name", 4);
}

/// A new subscription under the same protocol, and under another.
fn come_back_changed(s: &Session) {
    let mut member = alone(s, "a");
    member.id.clear();
    member.protocols[0].1 = subscription(&["other"]);
    member.join_now("back with other words", 9);
    member.describe("as it is described", 5);
    member.heartbeat("a heartbeat", 4);
    let mut member = alone(s, "b");
    member.id.clear();
    member.protocols[0].0 = "sticky".to_owned();
    member.join_now("back with another protocol", 9);
    let mut member = alone(s, "c");
    member.id.clear();
    member.protocols.insert(0, ("sticky".to_owned(), subscription(&["t"])));
    member.join_now("back with a protocol that it likes better", 9);
}

/// Before the sync, and while all join.
fn come_back_early(s: &Session) {
    let mut member = Member::fixed(s, "a", "one");
    member.join_quietly();
    member.id.clear();
    member.join_now("back before the sync", 9);
    member.sync("and its sync", 5, &[(&member, "mine")]).answer();
    let mut first = alone(s, "b");
    let mut second = Member::fixed(s, "b", "two");
    let joining = second.join("a second joins", 9);
    first.until(s, "PreparingRebalance");
    let elsewhere = Member { instance: second.instance.clone(), ..Member::new(s, "b", "two again") };
    let again = elsewhere.join("and joins again under its name", 9);
    joining.answer();
    first.join_now("the first joins", 9);
    let answer = again.answer();
    second.take(&answer);
    second.heartbeat("of the second's new id", 4);
}

/// A follower that comes back disturbs nobody.
fn follower_comes_back(s: &Session) {
    let mut leader = alone(s, "a");
    let mut follower = Member::fixed(s, "a", "two");
    let joining = follower.join("", 9);
    leader.until(s, "PreparingRebalance");
    leader.join_quietly();
    let answer = joining.quiet();
    follower.take(&answer);
    let syncing = follower.sync("", 5, &[]);
    leader.sync("", 5, &[(&leader, "to one"), (&follower, "to two")]).quiet();
    syncing.quiet();
    follower.id.clear();
    follower.join_now("the follower is back", 9);
    follower.sync("gets what it had", 5, &[]).answer();
    leader.heartbeat("the leader saw nothing", 4);
    leader.id.clear();
    leader.join_now("the leader is back, and asked to assign nothing", 9);
    leader.sync("gets what it had", 5, &[]).answer();
    follower.heartbeat("the follower saw nothing", 4);
    leader.describe("as they are described", 5);
}

/// S72: by name, by id, by both.
fn leave(s: &Session) {
    let c = s.connect();
    let members = |group: &str, members: Value| json!({"group_id": group, "members": members});
    for version in 3..=5 {
        let member = alone(s, &format!("name{version}"));
        c.call(
            "by name",
            "LeaveGroup",
            version,
            members(&member.group, json!([{"group_instance_id": "one"}])),
        );
        member.heartbeat("it is gone", 4);
    }
    let member = alone(s, "id");
    c.call("by id", "LeaveGroup", 5, members(&member.group, json!([{"member_id": member.id}])));
    member.heartbeat("it is gone", 4);
    let member = alone(s, "both");
    c.call("by both", "LeaveGroup", 5, member.leave_request());
    let member = alone(s, "odd");
    let odd = json!([
        {"group_instance_id": "unknown"}, {"member_id": "nobody", "group_instance_id": "one"},
        {"member_id": member.id, "group_instance_id": "unknown"}]);
    c.call("by names and ids that do not fit", "LeaveGroup", 5, members(&member.group, odd));
    member.heartbeat("it is still there", 4);
    c.call("at a version without names", "LeaveGroup", 2, member.leave_request());
    member.heartbeat("it is gone", 4);
}

/// S65: a static member that does not join in time keeps its place.
fn stragglers(s: &Session) {
    let mut leader = Member { rebalance_ms: 1_000, ..Member::fixed(s, "a", "one") };
    leader.join_quietly();
    leader.sync_quietly();
    let mut absent = Member { rebalance_ms: 1_000, ..Member::fixed(s, "a", "two") };
    let joining = absent.join("", 9);
    leader.until(s, "PreparingRebalance");
    leader.join_quietly();
    let answer = joining.quiet();
    absent.take(&answer);
    let syncing = absent.sync("", 5, &[]);
    leader.sync("", 5, &[(&leader, "to one"), (&absent, "to two")]).quiet();
    syncing.quiet();
    let answer = leader.join("the leader joins, the other does not", 9).answer();
    leader.take(&answer);
    absent.heartbeat("the other, of an older generation", 4);
    leader.sync("the leader assigns to both", 5, &[(&leader, "to one"), (&absent, "to two")]).answer();
}

fn names(s: &Session) {
    for (i, name) in ["", "a b", "ä", &"x".repeat(300)].iter().enumerate() {
        let member = Member { instance: Some((*name).to_owned()), ..Member::new(s, &format!("g{i}"), "odd") };
        member.join(&format!("named {name:.10?}"), 9).answer();
    }
}
