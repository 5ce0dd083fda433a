//! SyncGroup, Heartbeat and LeaveGroup: S69 to S72.

use std::sync::Arc;

use super::driver::*;
use crate::groups::*;
use crate::types::ErrorCode;

/// A group of two that has joined generation 1 and not synced: leader and follower.
fn joined_pair(shard: &mut Shard) -> [String; 2] {
    let ids = [shard.new_id(), shard.new_id()];
    let joins = ids.each_ref().map(|id| shard.join(join(id)));
    let leader = shard.joined(joins[0]).leader.to_string();
    let [first, second] = ids;
    if first == leader { [first, second] } else { [second, first] }
}

#[test]
fn s69_followers_wait_for_the_leader() {
    let mut shard = Shard::new();
    let [leader, follower] = joined_pair(&mut shard);
    let waiting = shard.sync(sync(&follower, 1, &[]));
    assert_eq!(shard.answer(waiting), None);
    assert!(shard.log.is_empty(), "nothing is recorded before the assignments are there");
    let reply = shard.ask_sync(sync(&leader, 1, &[(&leader, "L"), (&follower, "F"), ("stranger", "S")]));
    assert_eq!((reply.error, &reply.assignment[..]), (ErrorCode::None, &b"L"[..]));
    assert_eq!(
        (reply.protocol_type.as_deref(), reply.protocol_name.as_deref()),
        (Some("consumer"), Some("range"))
    );
    assert_eq!(&shard.synced(waiting).assignment[..], b"F");
    assert_eq!((shard.state(), shard.log.len()), (GroupState::Stable, 1));
}

#[test]
fn s69_members_that_the_leader_left_out_get_an_empty_assignment() {
    let mut shard = Shard::new();
    let [leader, follower] = joined_pair(&mut shard);
    shard.sync(sync(&leader, 1, &[(&leader, "all")]));
    let reply = shard.ask_sync(sync(&follower, 1, &[]));
    assert_eq!((reply.error, reply.assignment.len()), (ErrorCode::None, 0));
}

#[test]
fn s69_a_stable_group_gives_out_the_assignment_it_has() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let reply = shard.ask_sync(sync(&ids[0], generation, &[(&ids[0], "another")]));
    assert_eq!(reply.assignment, ids[0], "a stable group takes no new assignment");
}

#[test]
fn s69_a_sync_that_does_not_fit_is_refused() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    let id = &*ids[0];
    let named = |name: &str| SyncGroup { protocol_name: Some(name.into()), ..sync(id, generation, &[]) };
    let typed = |name: &str| SyncGroup { protocol_type: Some(name.into()), ..sync(id, generation, &[]) };
    let of = |group: &str| SyncGroup { group: group.into(), ..sync(id, generation, &[]) };
    for (request, expected) in [
        (of(""), ErrorCode::InvalidGroupId),
        (of("unknown"), ErrorCode::UnknownMemberId),
        (sync("ghost", generation, &[]), ErrorCode::UnknownMemberId),
        (sync(id, generation + 1, &[]), ErrorCode::IllegalGeneration),
        (sync(id, generation - 1, &[]), ErrorCode::IllegalGeneration),
        (named("sticky"), ErrorCode::InconsistentGroupProtocol),
        (typed("connect"), ErrorCode::InconsistentGroupProtocol),
        (named("range"), ErrorCode::None),
        (typed("consumer"), ErrorCode::None),
    ] {
        assert_eq!(shard.ask_sync(request).error, expected);
    }
    shard.join(JoinGroup { member_id_required: false, ..join("") });
    assert_eq!(shard.ask_sync(sync(id, generation, &[])).error, ErrorCode::RebalanceInProgress);
    shard.leave(&[(id, None)]);
}

#[test]
fn s69_a_sync_in_an_empty_group_is_from_a_stranger() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    shard.leave(&[(&ids[0], None)]);
    assert_eq!(shard.ask_sync(sync(&ids[0], generation + 1, &[])).error, ErrorCode::UnknownMemberId);
    shard.new_id();
    assert_eq!(shard.ask_sync(sync(&ids[0], generation + 1, &[])).error, ErrorCode::UnknownMemberId);
}

#[test]
fn s69_members_that_never_sync_are_out_after_the_rebalance_timeout() {
    let mut shard = Shard::new();
    let [leader, follower] = joined_pair(&mut shard);
    shard.sync(sync(&leader, 1, &[(&leader, "L"), (&follower, "F")]));
    for _ in 0..i64::from(REBALANCE_MS) / 1_000 - 1 {
        shard.advance(1_000);
        assert_eq!(shard.beat(&leader, 1), ErrorCode::None);
        assert_eq!(shard.beat(&follower, 1), ErrorCode::None);
    }
    shard.advance(1_000);
    assert_eq!(shard.beat(&leader, 1), ErrorCode::RebalanceInProgress);
    assert_eq!(shard.beat(&follower, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn s69_when_the_leader_never_syncs_the_others_are_sent_to_join() {
    let mut shard = Shard::new();
    let [leader, follower] = joined_pair(&mut shard);
    let waiting = shard.sync(sync(&follower, 1, &[]));
    for _ in 0..i64::from(REBALANCE_MS) / 5_000 {
        assert_eq!(shard.beat(&leader, 1), ErrorCode::None);
        shard.advance(5_000);
    }
    let reply = shard.synced(waiting);
    assert_eq!((reply.error, reply.protocol_name), (ErrorCode::RebalanceInProgress, None));
    assert_eq!(shard.beat(&leader, 1), ErrorCode::UnknownMemberId);
    assert_eq!(shard.beat(&follower, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn s69_all_synced_means_nobody_is_timed() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    for _ in 0..i64::from(REBALANCE_MS) / 5_000 + 2 {
        shard.advance(5_000);
        assert!(ids.iter().all(|id| shard.beat(id, generation) == ErrorCode::None));
    }
}

#[test]
fn s69_a_rebalance_timeout_of_zero_leaves_no_time_to_sync() {
    // As seen on Kafka 4.3.1: such a member finds itself unknown when it syncs.
    let mut shard = Shard::new();
    let id = shard.new_id();
    let reply = shard.ask_join(JoinGroup { rebalance_timeout_ms: 0, ..join(&id) });
    assert_eq!(reply.error, ErrorCode::None);
    assert_eq!(shard.ask_sync(sync(&id, reply.generation, &[])).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_sync_repeated_while_the_first_one_waits_takes_its_place() {
    let mut shard = Shard::new();
    let [leader, follower] = joined_pair(&mut shard);
    let first = shard.sync(sync(&follower, 1, &[]));
    let second = shard.sync(sync(&follower, 1, &[]));
    assert_eq!(shard.synced(first).error, ErrorCode::RebalanceInProgress);
    shard.sync(sync(&leader, 1, &[(&follower, "F")]));
    assert_eq!(&shard.synced(second).assignment[..], b"F");
}

#[test]
fn s70_heartbeats_are_answered_by_the_state_of_the_group() {
    let mut shard = Shard::new();
    assert_eq!(shard.beat("ghost", 1), ErrorCode::UnknownMemberId, "no such group");
    let nameless = Heartbeat { group: "".into(), member_id: "m".into(), instance_id: None, generation: 1 };
    assert_eq!(shard.ask(Command::Heartbeat(nameless)).heartbeat(), Ok(ErrorCode::InvalidGroupId));

    let [leader, follower] = joined_pair(&mut shard);
    assert_eq!(shard.beat(&follower, 1), ErrorCode::None, "completing: a beat before the sync is in order");
    shard.sync(sync(&leader, 1, &[]));
    assert_eq!(shard.beat(&leader, 1), ErrorCode::None, "stable");
    assert_eq!(shard.beat(&leader, 0), ErrorCode::IllegalGeneration);
    assert_eq!(shard.beat(&leader, 2), ErrorCode::IllegalGeneration);
    assert_eq!(shard.beat("ghost", 1), ErrorCode::UnknownMemberId);
    assert_eq!(shard.beat_as(&leader, Some("i"), 1), ErrorCode::UnknownMemberId, "no such instance");

    shard.join(join(&leader));
    assert_eq!(shard.beat(&follower, 1), ErrorCode::RebalanceInProgress, "preparing");
    shard.leave(&[(&leader, None), (&follower, None)]);
    assert_eq!(shard.beat(&follower, 2), ErrorCode::UnknownMemberId, "empty");
}

#[test]
fn s70_silence_ends_a_session_and_beats_renew_it() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    for _ in 0..5 {
        shard.advance(i64::from(SESSION_MS) - 1);
        assert_eq!(shard.beat(&ids[0], generation), ErrorCode::None);
        assert_eq!(shard.beat(&ids[1], generation), ErrorCode::None);
    }
    shard.advance(i64::from(SESSION_MS) / 2);
    shard.beat(&ids[0], generation);
    shard.advance(i64::from(SESSION_MS) / 2);
    assert_eq!(shard.beat(&ids[1], generation), ErrorCode::UnknownMemberId);
    assert_eq!(shard.beat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    let failed =
        |effect: &Effect| matches!(effect, Effect::MemberFailed { member_id, .. } if **member_id == *ids[1]);
    assert!(shard.effects.iter().any(failed));
}

#[test]
fn s70_a_beat_during_a_rebalance_renews_the_session_too() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let ticket = shard.join(join(&ids[0]));
    for _ in 0..5 {
        shard.advance(i64::from(SESSION_MS) - 1);
        assert_eq!(shard.beat(&ids[1], generation), ErrorCode::RebalanceInProgress);
    }
    assert_eq!(shard.answer(ticket), None);
    shard.join(join(&ids[1]));
    assert_eq!(shard.joined(ticket).error, ErrorCode::None);
}

#[test]
fn s70_a_member_that_waits_for_an_answer_owes_no_heartbeat() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let ticket = shard.join(join(&ids[0]));
    for _ in 0..50 {
        shard.advance(1_000);
        shard.beat(&ids[1], generation);
    }
    shard.join(join(&ids[1]));
    assert_eq!(shard.joined(ticket).error, ErrorCode::None, "50 s in a session of {SESSION_MS} ms");
    shard.advance(i64::from(SESSION_MS) - 1);
    assert_eq!(shard.describe("g").members.len(), 2, "with the answer the session begins anew");
    shard.advance(1);
    assert_eq!(shard.state(), GroupState::Empty);
}

#[test]
fn s70_commits_renew_the_session() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    for offset in 0..5 {
        shard.advance(i64::from(SESSION_MS) - 1);
        assert_eq!(shard.commit_one(commit(&ids[0], generation, 0, offset)), ErrorCode::None);
    }
    shard.advance(i64::from(SESSION_MS));
    assert_eq!(shard.state(), GroupState::Empty);
}

#[test]
fn s71_cooperative_members_rebalance_twice_and_their_bytes_are_passed_on_as_they_are() {
    let mut shard = Shard::new();
    let odd = |id: &str, owned: &[u8]| JoinGroup {
        protocols: vec![protocol("cooperative-sticky", &[b"\xff\xfe not a subscription ", owned].concat())],
        ..join(id)
    };
    let first = shard.new_id();
    shard.ask_join(odd(&first, b""));
    shard.sync(sync(&first, 1, &[(&first, "0,1")]));
    let second = shard.ask_join(odd("", b"")).member_id.to_string();
    let newcomer = shard.join(odd(&second, b""));
    let reply = shard.ask_join(odd(&first, b"0,1"));
    let metadata: Vec<_> = reply.members.iter().map(|member| member.metadata.clone()).collect();
    assert!(metadata.contains(&protocol("", b"\xff\xfe not a subscription 0,1").metadata), "{metadata:?}");
    let waiting = shard.sync(sync(&second, 2, &[]));
    shard.sync(sync(&first, 2, &[(&first, "0"), (&second, "")]));
    assert_eq!(shard.joined(newcomer).generation, 2);
    assert_eq!(shard.synced(waiting).assignment.len(), 0, "nothing yet: the first must give it up");

    // It gives partition 1 up by joining with what it now owns, though nothing else has changed.
    let third = shard.join(odd(&first, b"0"));
    assert_eq!(shard.state(), GroupState::PreparingRebalance);
    shard.join(odd(&second, b""));
    assert_eq!(shard.joined(third).generation, 3);
}

#[test]
fn s72_a_member_that_leaves_sets_off_a_rebalance_at_once() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(3);
    let reply = shard.leave(&[(&ids[1], None)]);
    assert_eq!((reply.error, reply.members[0].error), (ErrorCode::None, ErrorCode::None));
    assert_eq!(shard.beat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    let tickets = [shard.join(join(&ids[0])), shard.join(join(&ids[2]))];
    assert!(tickets.iter().all(|ticket| shard.joined(*ticket).generation == generation + 1));
}

#[test]
fn s72_each_leaver_of_a_batch_has_its_own_error() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(2);
    let fixed = shard.join(join_static("", "i"));
    let joins = ids.iter().map(|id| shard.join(join(id))).collect::<Vec<_>>();
    assert_eq!(shard.joined(joins[0]).generation, 2);
    let fixed = shard.joined(fixed).member_id.to_string();
    let pending = shard.new_id();
    let reply = shard.leave(&[
        (&ids[0], None),
        ("ghost", None),
        (&ids[1], Some("i")),
        ("", Some("nobody")),
        ("", None),
        (&pending, None),
        ("", Some("i")),
    ]);
    let errors: Vec<_> = reply.members.iter().map(|member| member.error).collect();
    use ErrorCode::{FencedInstanceId, None as Fine, UnknownMemberId as Unknown};
    assert_eq!(errors, [Fine, Unknown, FencedInstanceId, Unknown, Unknown, Fine, Fine]);
    assert_eq!(reply.members[6].instance_id.as_deref(), Some("i"));
    assert_eq!(&*reply.members[6].member_id, "", "as it was asked");
    assert_eq!(shard.beat(&fixed, 2), ErrorCode::UnknownMemberId);
    assert_eq!(shard.describe("g").members.len(), 1);
}

#[test]
fn s72_leaving_a_group_that_is_not_there_makes_strangers_of_all() {
    let mut shard = Shard::new();
    let reply = shard.leave(&[("a", None), ("", Some("i"))]);
    assert_eq!(reply.error, ErrorCode::None);
    assert!(reply.members.iter().all(|member| member.error == ErrorCode::UnknownMemberId));
    let nameless = LeaveGroup { group: "".into(), members: Vec::new() };
    let reply = shard.ask(Command::Leave(nameless)).leave().unwrap();
    assert_eq!(reply.error, ErrorCode::InvalidGroupId);
}

#[test]
fn s72_the_last_one_out_empties_the_group_for_good() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    shard.leave(&[(&ids[0], None), (&ids[1], None)]);
    assert_eq!(shard.state(), GroupState::Empty);
    shard.restart();
    assert_eq!(shard.state(), GroupState::Empty, "that it emptied is in the log");
    let id = shard.new_id();
    assert_eq!(shard.ask_join(join(&id)).generation, generation + 2, "generations go on");
}

#[test]
fn s72_one_who_leaves_while_its_own_join_waits_gets_an_answer() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(2);
    let waiting = shard.join(join(&ids[0]));
    shard.leave(&[(&ids[0], None)]);
    let reply = shard.joined(waiting);
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::UnknownMemberId, ""));
}

#[test]
fn one_who_leaves_while_its_own_sync_waits_gets_an_answer() {
    let mut shard = Shard::new();
    let [_, follower] = joined_pair(&mut shard);
    let waiting = shard.sync(sync(&follower, 1, &[]));
    shard.leave(&[(&follower, None)]);
    assert_eq!(shard.synced(waiting).error, ErrorCode::UnknownMemberId);
}

#[test]
fn s72_when_a_waited_for_member_leaves_the_others_go_on() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let waiting = shard.join(join(&ids[0]));
    shard.leave(&[(&ids[1], None)]);
    assert_eq!(shard.joined(waiting).generation, generation + 1);
}

#[test]
fn a_restart_keeps_the_generation_and_begins_all_sessions_anew() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    shard.advance(i64::from(SESSION_MS) - 1);
    shard.restart();
    shard.advance(i64::from(SESSION_MS) - 1);
    assert_eq!(shard.beat(&ids[0], generation), ErrorCode::None);
    let assignment = shard.ask_sync(sync(&ids[1], generation, &[])).assignment;
    assert_eq!(assignment, ids[1], "assignments are in the log");
    let reply = shard.ask_join(join(&ids[1]));
    assert_eq!(
        (reply.generation, &*reply.leader),
        (generation, &*ids[0]),
        "so are subscriptions and the leader"
    );
    shard.advance(1);
    assert_eq!(shard.describe("g").members.len(), 1, "the other one was not heard of");
}

#[test]
fn a_restart_amid_a_rebalance_goes_back_to_the_last_generation() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let waiting = shard.join(join(&ids[0]));
    shard.restart();
    assert_eq!(shard.answer(waiting), None, "its connection is gone");
    assert_eq!(shard.state(), GroupState::Stable);
    assert_eq!(shard.beat(&ids[1], generation), ErrorCode::None);
}

#[test]
fn a_group_above_a_lowered_limit_rebalances_when_it_is_loaded() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(3);
    shard.world.settings.max_size = 2;
    shard.restart();
    assert_eq!(shard.beat(&ids[2], generation), ErrorCode::RebalanceInProgress);
    let tickets = [shard.join(join(&ids[0])), shard.join(join(&ids[1]))];
    assert_eq!(shard.ask_join(join(&ids[2])).error, ErrorCode::GroupMaxSizeReached);
    assert!(tickets.iter().all(|ticket| shard.joined(*ticket).error == ErrorCode::None));
}

#[test]
fn a_rebalance_is_told_with_its_reason_and_its_length() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    shard.effects.clear();
    let reason: Option<Arc<str>> = Some("assignment changed".into());
    let reply = shard.ask_join(JoinGroup { reason, ..join(&ids[0]) });
    shard.advance(250);
    shard.sync(sync(&ids[0], reply.generation, &[]));
    let group: Arc<str> = "g".into();
    let reason = format!("leader {} rejoined (assignment changed)", ids[0]);
    let begun = Effect::RebalanceBegun { group: group.clone(), generation, reason };
    let stable = Effect::Stabilized { group, generation: generation + 1, members: 1, took_ms: 250 };
    assert_eq!(shard.effects, [begun, stable]);
}
