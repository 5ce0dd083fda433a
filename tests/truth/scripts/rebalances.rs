//! Classic groups of several members (S65 to S67, S69 to S71, S73).

use std::time::Duration;

use serde_json::json;

use super::member::{Member, alone, pair, subscription};
use crate::run::{Script, plain};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] = &[
    plain("rebalances/second_member", second_member),
    plain("rebalances/old_versions", old_versions),
    plain("rebalances/same_again", same_again),
    plain("rebalances/changed", changed),
    plain("rebalances/between_join_and_sync", between_join_and_sync),
    plain("rebalances/leader_leaves", leader_leaves),
    plain("rebalances/stragglers", stragglers),
    plain("rebalances/never_syncs", never_syncs),
    plain("rebalances/given_ids", given_ids),
    plain("rebalances/votes", votes),
    plain("rebalances/bytes", bytes),
];

/// The whole dance, at the newest versions.
fn second_member(s: &Session) {
    s.topic("t", 1);
    let mut first = alone(s, "a");
    let mut second = Member::new(s, "a", "second");
    second.get_id();
    let joining = second.join("the second joins", 9);
    first.until(s, "PreparingRebalance");
    for version in 0..=4 {
        first.heartbeat("the first is told to join", version);
    }
    for version in 0..=5 {
        first.sync("the first syncs instead", version, &[]).answer();
    }
    first.c.call("the first commits", "OffsetCommit", 7, commit(s, &first));
    first.describe("on the way", 5);
    first.join_now("the first joins", 9);
    let answer = joining.answer();
    second.take(&answer);
    for version in 0..=4 {
        second.heartbeat("joined, not synced", version);
    }
    first.c.call("the first commits now", "OffsetCommit", 7, commit(s, &first));
    first.describe("between join and sync", 5);
    let syncing = second.sync("the second waits for the leader", 5, &[(&second, "ignored")]);
    std::thread::sleep(Duration::from_millis(100));
    first.sync("the leader assigns", 5, &[(&first, "to the first"), (&second, "to the second")]).answer();
    syncing.answer();
    first.heartbeat("stable", 4);
    first.c.call("the first commits at last", "OffsetCommit", 7, commit(s, &first));
    first.describe("stable at last", 5);
}

fn commit(s: &Session, member: &Member) -> serde_json::Value {
    let partition = json!([{"partition_index": 0, "committed_offset": 1}]);
    json!({
        "group_id": member.group, "generation_id_or_member_epoch": member.generation, "member_id": member.id,
        "group_instance_id": member.instance, "topics": [{"name": s.name("t"), "partitions": partition}],
    })
}

/// The same among members that speak what old clients speak.
fn old_versions(s: &Session) {
    for (join, sync) in [(0, 0), (2, 1), (3, 2), (5, 3)] {
        let group = format!("v{join}");
        let mut first = alone(s, &group);
        let mut second = Member::new(s, &group, "second");
        if join == 5 {
            second.get_id();
        }
        let joining = second.join("the second joins", join);
        first.until(s, "PreparingRebalance");
        first.join_now("the first joins", join);
        let answer = joining.answer();
        second.take(&answer);
        let syncing = second.sync("the second syncs", sync, &[]);
        first.sync("the first assigns to one only", sync, &[(&first, "everything")]).answer();
        syncing.answer();
    }
}

/// S67: who joins again as it was gets what it had, but for the leader.
fn same_again(s: &Session) {
    let (mut leader, mut follower) = pair(s, "a");
    for version in [3, 5, 9] {
        follower.join_now("the follower joins again", version);
    }
    follower.sync("and syncs", 5, &[]).answer();
    follower.rebalance_ms = 10_000;
    follower.join_now("with another timeout", 9);
    let joining = leader.join("the leader joins again", 9);
    follower.until(s, "PreparingRebalance");
    follower.heartbeat("the follower hears of it", 4);
    follower.join_now("and joins", 9);
    let answer = joining.answer();
    leader.take(&answer);
    leader.join_now("the leader, before it synced", 9);
    follower.join_now("the follower, before it synced", 9);
}

/// S67: changed words start a rebalance.
fn changed(s: &Session) {
    let (mut leader, mut follower) = pair(s, "a");
    follower.protocols[0].1 = subscription(&["other"]);
    let joining = follower.join("the follower has other words", 9);
    leader.until(s, "PreparingRebalance");
    leader.join_now("the leader joins", 9);
    let answer = joining.answer();
    follower.take(&answer);
    follower.protocols.push(("sticky".to_owned(), subscription(&["other"])));
    let joining = follower.join("the follower has one more protocol, before the sync", 9);
    leader.until(s, "PreparingRebalance");
    leader.join_now("the leader joins again", 9);
    joining.answer();
}

/// A third member in the middle of a rebalance.
fn between_join_and_sync(s: &Session) {
    let mut first = Member::new(s, "a", "first");
    first.join_quietly();
    let mut second = Member::new(s, "a", "second");
    second.get_id();
    let joining = second.join("the second, before the first synced", 9);
    first.until(s, "PreparingRebalance");
    first.sync("the first syncs too late", 5, &[(&first, "mine")]).answer();
    first.heartbeat("the first", 4);
    first.join_now("the first joins", 9);
    let answer = joining.answer();
    second.take(&answer);
    let syncing = second.sync("the second waits", 5, &[]);
    std::thread::sleep(Duration::from_millis(200));
    let mut third = Member::new(s, "a", "third");
    third.get_id();
    let joining = third.join("the third comes", 9);
    syncing.answer();
    let (again, also) = (first.join("the first, again", 9), second.join("the second, again", 9));
    again.answer();
    also.answer();
    joining.answer();
}

fn leader_leaves(s: &Session) {
    let (leader, mut follower) = pair(s, "a");
    leader.c.call("the leader leaves", "LeaveGroup", 5, leader.leave_request());
    follower.heartbeat("the follower hears of it", 4);
    follower.join_now("and leads", 9);
    follower.sync("and assigns", 5, &[(&follower, "all")]).answer();
}

/// S65: who does not join in time is out.
fn stragglers(s: &Session) {
    let (mut leader, mut follower) = pair(s, "a");
    leader.rebalance_ms = 1_000;
    follower.rebalance_ms = 1_000;
    // Timeouts count from the join that names them.
    follower.join_quietly();
    let joining = leader.join("", 9);
    leader.until(s, "PreparingRebalance");
    let joined = follower.join("", 9).quiet();
    follower.take(&joined);
    let answer = joining.quiet();
    leader.take(&answer);
    let syncing = follower.sync("", 5, &[]);
    leader.sync("", 5, &[(&leader, "x"), (&follower, "y")]).quiet();
    syncing.quiet();
    let wait = Duration::from_secs(1);
    let answer = leader.c.timed(
        "the leader joins, the follower does not",
        "JoinGroup",
        9,
        wait,
        leader.join_request(),
    );
    leader.take(&answer);
    follower.heartbeat("the follower is out", 4);
    follower.sync("and cannot sync", 5, &[]).answer();
    follower.join("nor join with its id", 9).answer();
}

/// S69: who joins and never syncs is out.
fn never_syncs(s: &Session) {
    let mut member = Member { rebalance_ms: 1_000, ..Member::new(s, "a", "x") };
    member.join_quietly();
    member.until(s, "Empty");
    member.heartbeat("gone", 4);
    member.sync("too late", 5, &[(&member, "mine")]).answer();
    member.describe("nobody is left", 5);
    let (leader, mut follower) = pair(s, "b");
    follower.rebalance_ms = 1_000;
    follower.protocols[0].1 = subscription(&["other"]);
    let joining = follower.join("", 9);
    leader.until(s, "PreparingRebalance");
    let mut leader = Member { rebalance_ms: 1_000, ..leader };
    leader.join_quietly();
    let answer = joining.quiet();
    follower.take(&answer);
    leader.sync("the leader syncs, the follower never does", 5, &[(&leader, "x"), (&follower, "y")]).answer();
    leader.until(s, "PreparingRebalance");
    leader.heartbeat("so all join again", 4);
    leader.join_now("and the leader is alone", 9);
    follower.heartbeat("the follower is gone", 4);
}

/// KIP-394: an id that was given out holds the group up until it joins or is given back.
fn given_ids(s: &Session) {
    let mut first = alone(s, "a");
    let mut second = Member::new(s, "a", "second");
    second.get_id();
    let joining = first.join("the leader joins", 9);
    first.until(s, "PreparingRebalance");
    let c = s.connect();
    let back = json!({"group_id": second.group, "members": [{"member_id": second.id}]});
    c.call("the other gives its id back", "LeaveGroup", 5, back);
    let answer = joining.answer();
    first.take(&answer);
    first.sync_quietly();
    second.get_id();
    let joining = first.join("the leader joins once more", 9);
    first.until(s, "PreparingRebalance");
    let other = second.join("the other joins", 9);
    joining.answer();
    other.answer();
}

/// S66: each member votes for the first protocol that all have.
fn votes(s: &Session) {
    let ballot =
        |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), subscription(&["t"]))).collect::<Vec<_>>();
    let voter = |name: &str, names: &[&str]| Member { protocols: ballot(names), ..Member::new(s, "a", name) };
    let mut first = voter("first", &["x", "a", "b"]);
    first.join_quietly();
    let (mut second, mut third) = (voter("second", &["b", "y", "a"]), voter("third", &["b", "a", "z"]));
    second.get_id();
    third.get_id();
    let (more, most) = (second.join("b before a", 9), third.join("b before a too", 9));
    first.until(s, "PreparingRebalance");
    first.join_now("a before b", 9);
    more.answer();
    most.answer();
}

/// S71: what members say and get is passed on byte by byte.
fn bytes(s: &Session) {
    let odd = ["", "hex:00", "hex:ffffffff", "hex:000100000001"];
    for (i, words) in odd.iter().enumerate() {
        let mut member = Member::new(s, &format!("g{i}"), "odd");
        member.protocols = vec![("range".to_owned(), json!(words))];
        let mut request = member.join_request();
        request["protocol_type"] = "odd".into();
        let answer = member.c.call("a member with odd words", "JoinGroup", 3, request);
        member.take(&answer);
        member.sync("gets them as assignment", 3, &[(&member, words)]).answer();
        member.describe("as it is described", 5);
    }
}
