//! Static membership: S68.

use std::sync::Arc;

use super::driver::*;
use crate::groups::*;
use crate::types::ErrorCode;

/// A group of two static members, `a` leading and `b`, stable in generation 1. Returns their ids.
fn pair(shard: &mut Shard) -> [String; 2] {
    let first = shard.ask_join(join_static("", "a")).member_id.to_string();
    let second = shard.join(join_static("", "b"));
    let again = shard.join(join_static(&first, "a"));
    let second = shard.joined(second).member_id.to_string();
    assert_eq!(shard.joined(again).generation, 2);
    shard.sync(sync(&second, 2, &[]));
    shard.sync(sync(&first, 2, &[(&first, "for a"), (&second, "for b")]));
    assert_eq!(shard.state(), GroupState::Stable);
    [first, second]
}

#[test]
fn s68_a_static_member_joins_without_being_sent_back_and_is_named_after_its_instance() {
    let mut shard = Shard::new();
    let reply = shard.ask_join(join_static("", "inst"));
    assert_eq!(reply.error, ErrorCode::None);
    assert!(reply.member_id.starts_with("inst-"), "{}", reply.member_id);
    assert_eq!(reply.members[0].instance_id.as_deref(), Some("inst"));
}

#[test]
fn s68_an_instance_that_comes_back_takes_its_place_without_a_rebalance() {
    let mut shard = Shard::new();
    let [_, old] = pair(&mut shard);
    let reply = shard.ask_join(join_static("", "b"));
    assert_eq!((reply.error, reply.generation, reply.skip_assignment), (ErrorCode::None, 2, false));
    assert_ne!(*reply.member_id, *old);
    assert_eq!(shard.state(), GroupState::Stable);
    let synced = shard.ask_sync(sync(&reply.member_id, 2, &[]));
    assert_eq!((synced.error, &synced.assignment[..]), (ErrorCode::None, &b"for b"[..]));

    shard.restart();
    assert_eq!(shard.beat_as(&reply.member_id, Some("b"), 2), ErrorCode::None, "the new id is in the log");
}

#[test]
fn s68_the_old_id_is_fenced_everywhere() {
    let mut shard = Shard::new();
    let [_, old] = pair(&mut shard);
    shard.ask_join(join_static("", "b"));
    let instance: Option<Arc<str>> = Some("b".into());
    assert_eq!(shard.beat_as(&old, Some("b"), 2), ErrorCode::FencedInstanceId);
    assert_eq!(shard.ask_join(join_static(&old, "b")).error, ErrorCode::FencedInstanceId);
    let request = SyncGroup { instance_id: instance.clone(), ..sync(&old, 2, &[]) };
    assert_eq!(shard.ask_sync(request).error, ErrorCode::FencedInstanceId);
    let request = CommitOffsets { instance_id: instance.clone(), ..commit(&old, 2, 0, 1) };
    assert_eq!(shard.commit_one(request), ErrorCode::FencedInstanceId);
    let (member_id, generation) = ((*old).into(), 2);
    let request = TxnOffsetCommit { member_id, instance_id: instance, generation, ..pending(7, 0, 1) };
    assert_eq!(shard.pend(request), ErrorCode::FencedInstanceId);
    assert_eq!(shard.leave(&[(&old, Some("b"))]).members[0].error, ErrorCode::FencedInstanceId);
    assert_eq!(shard.beat(&old, 2), ErrorCode::UnknownMemberId, "without its instance it is just unknown");
}

#[test]
fn s68_a_leader_that_comes_back_skips_the_assignment() {
    let mut shard = Shard::new();
    let [old, _] = pair(&mut shard);
    let reply = shard.ask_join(join_static("", "a"));
    assert!(reply.skip_assignment);
    assert_eq!((&reply.leader, reply.members.len()), (&reply.member_id, 2));

    // Before v9 it is told a leader that it is not, and so does not assign.
    let older = JoinGroup { can_skip_assignment: false, ..join_static("", "a") };
    let newer = reply.member_id;
    let reply = shard.ask_join(older);
    assert_eq!((&reply.leader, reply.skip_assignment, reply.members.len()), (&newer, false, 0));
    assert_ne!(reply.member_id, newer);
    assert_ne!(*newer, *old);
}

#[test]
fn s68_an_instance_that_comes_back_with_other_protocols_sets_off_a_rebalance() {
    let mut shard = Shard::new();
    let [leader, _] = pair(&mut shard);
    let both = |id: &str, instance: &str| JoinGroup {
        protocols: vec![protocol("sticky", b""), protocol("range", b"")],
        ..join_static(id, instance)
    };
    let changed = shard.join(both(&leader, "a"));
    let ticket = shard.join(both("", "b"));
    assert_eq!(shard.joined(changed).protocol_name.as_deref(), Some("sticky"));
    assert_eq!(shard.joined(ticket).generation, 3);
}

#[test]
fn s68_while_the_assignment_is_awaited_a_returning_instance_sets_off_a_rebalance() {
    let mut shard = Shard::new();
    let [first, second] = pair(&mut shard);
    let joins = [shard.join(join_static(&first, "a")), shard.join(join_static(&second, "b"))];
    assert!(joins.iter().all(|ticket| shard.joined(*ticket).generation == 3));
    let waiting = shard.sync(sync(&second, 3, &[]));
    let back = shard.join(join_static("", "b"));
    assert_eq!(shard.synced(waiting).error, ErrorCode::FencedInstanceId, "it waited under the old id");
    assert_eq!(shard.state(), GroupState::PreparingRebalance);
    shard.join(join_static(&first, "a"));
    assert_eq!(shard.joined(back).generation, 4);
}

#[test]
fn s68_a_waiting_join_is_fenced_when_its_instance_joins_again() {
    let mut shard = Shard::new();
    let [first, second] = pair(&mut shard);
    shard.join(join_static(&first, "a"));
    let changed = JoinGroup { rebalance_timeout_ms: 1_000, ..join_static("", "c") };
    let waiting = shard.join(changed.clone());
    let again = shard.join(changed);
    let reply = shard.joined(waiting);
    assert_eq!((reply.error, &*reply.leader), (ErrorCode::FencedInstanceId, ""));
    shard.join(join_static(&second, "b"));
    assert_eq!(shard.joined(again).error, ErrorCode::None);
}

#[test]
fn s68_a_static_member_outlives_its_absence_within_its_session() {
    let mut shard = Shard::new();
    let [first, old] = pair(&mut shard);
    shard.advance(i64::from(SESSION_MS) - 1);
    shard.beat_as(&first, Some("a"), 2);
    let back = shard.ask_join(join_static("", "b")).member_id;
    shard.advance(i64::from(SESSION_MS) - 1);
    assert_eq!(shard.state(), GroupState::Stable, "its session began anew");
    shard.beat_as(&first, Some("a"), 2);
    shard.beat_as(&back, Some("b"), 2);
    shard.advance(2);
    assert_eq!(shard.describe("g").members.len(), 2, "the old id's timer is gone: {old}");
}
