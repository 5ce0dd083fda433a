//! JoinGroup and the join phase: S62 to S67.

use super::driver::*;
use crate::groups::soft::PENDING_BYTES_MAX;
use crate::groups::*;
use crate::types::ErrorCode;

#[test]
fn s62_a_join_without_group_or_with_a_bad_session_timeout_is_refused() {
    let mut shard = Shard::new();
    let nameless = JoinGroup { group: "".into(), ..join("m") };
    let reply = shard.ask_join(nameless);
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::InvalidGroupId, "m"));
    assert_eq!((reply.generation, reply.protocol_name, &*reply.leader), (-1, None, ""));
    for session_timeout_ms in [5_999, 1_800_001, -1] {
        let request = JoinGroup { session_timeout_ms, ..join("") };
        assert_eq!(shard.ask_join(request).error, ErrorCode::InvalidSessionTimeout);
    }
    for session_timeout_ms in [6_000, 1_800_000] {
        let request = JoinGroup { session_timeout_ms, ..join("") };
        assert_eq!(shard.ask_join(request).error, ErrorCode::MemberIdRequired);
    }
    assert!(shard.log.is_empty(), "nothing of this is worth a record");
}

#[test]
fn s62_an_unknown_member_id_is_refused_in_a_new_group_and_in_a_known_one() {
    let mut shard = Shard::new();
    let reply = shard.ask_join(join("ghost"));
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::UnknownMemberId, "ghost"));
    assert_eq!(shard.state(), GroupState::Dead, "asking makes no group");

    shard.stable(1);
    assert_eq!(shard.ask_join(join("ghost")).error, ErrorCode::UnknownMemberId);
    assert_eq!(shard.ask_join(join_static("ghost", "i")).error, ErrorCode::UnknownMemberId);
    assert_eq!(shard.state(), GroupState::Stable);
}

#[test]
fn s62_protocols_must_go_with_those_of_the_group() {
    let mut shard = Shard::new();
    let nothing = JoinGroup { protocols: Vec::new(), ..join("") };
    assert_eq!(shard.ask_join(nothing).error, ErrorCode::InconsistentGroupProtocol);
    let untyped = JoinGroup { protocol_type: "".into(), ..join("") };
    assert_eq!(shard.ask_join(untyped).error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(shard.state(), GroupState::Dead);

    shard.stable(1);
    let foreign = JoinGroup { protocols: vec![protocol("other", b"")], ..join("") };
    assert_eq!(shard.ask_join(foreign).error, ErrorCode::InconsistentGroupProtocol);
    let connect = JoinGroup { protocol_type: "connect".into(), ..join("") };
    assert_eq!(shard.ask_join(connect).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn s62_an_empty_group_takes_members_of_another_protocol_type() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(1);
    shard.leave(&[(&ids[0], None)]);
    let connect = JoinGroup {
        protocol_type: "connect".into(),
        protocols: vec![protocol("sessioned", b"x")],
        member_id_required: false,
        ..join("")
    };
    let reply = shard.ask_join(connect);
    assert_eq!((reply.error, reply.protocol_type.as_deref()), (ErrorCode::None, Some("connect")));
}

#[test]
fn s62_a_full_group_takes_no_new_member() {
    let mut shard = Shard::with(|settings| settings.max_size = 2);
    let (ids, _) = shard.stable(2);
    let reply = shard.ask_join(JoinGroup { member_id_required: false, ..join("") });
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::GroupMaxSizeReached, ""));
    assert_eq!(shard.state(), GroupState::Stable, "those who are in stay in");

    // While members rejoin, the first ones back take the places.
    let again = shard.join(join(&ids[0]));
    assert_eq!(shard.state(), GroupState::PreparingRebalance);
    let newcomer = shard.join(JoinGroup { member_id_required: false, ..join("") });
    let late = shard.ask_join(join(&ids[1]));
    assert_eq!((late.error, &*late.member_id), (ErrorCode::GroupMaxSizeReached, ""));
    assert_eq!(shard.joined(again).error, ErrorCode::None);
    assert_eq!(shard.joined(newcomer).error, ErrorCode::None);
    assert_eq!(shard.describe("g").members.len(), 2);
}

#[test]
fn s62_an_id_that_comes_back_to_a_full_group_disturbs_nobody() {
    let mut shard = Shard::with(|settings| settings.max_size = 2);
    let (ids, generation) = shard.stable(1);
    let late = shard.new_id();
    let again = shard.join(join(&ids[0]));
    shard.join(JoinGroup { member_id_required: false, ..join("") });
    let reply = shard.ask_join(join(&late));
    assert_eq!(reply.error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(shard.joined(again).generation, generation + 1, "nobody waits for it any longer");
    assert_eq!(shard.ask_join(join(&late)).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(shard.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_join_whose_strings_no_record_can_hold_is_refused() {
    let mut shard = Shard::new();
    let long = "x".repeat(32_767);
    let request = JoinGroup { client_id: long.as_str().into(), ..join("") };
    assert_eq!(shard.ask_join(request).error, ErrorCode::InvalidRequest, "its member id would not fit");
    let request = JoinGroup { protocols: vec![protocol("p", b""); 300], ..join("") };
    assert_eq!(shard.ask_join(request).error, ErrorCode::InvalidRequest);
}

#[test]
fn s63_a_dynamic_member_gets_an_id_and_must_come_back_with_it() {
    let mut shard = Shard::new();
    let reply = shard.ask_join(join(""));
    assert_eq!(reply.error, ErrorCode::MemberIdRequired);
    let uuid = reply.member_id.strip_prefix("client-").expect("the client id, then a UUID");
    assert_eq!(uuid.len(), 36);
    assert_eq!(uuid.as_bytes()[14], b'4', "a random UUID");
    assert_eq!(shard.state(), GroupState::Empty, "the group is there, without members");

    let joined = shard.ask_join(join(&reply.member_id));
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));
    assert_eq!(joined.leader, reply.member_id);
}

#[test]
fn s63_a_member_of_an_old_client_joins_without_an_id() {
    let mut shard = Shard::new();
    let reply = shard.ask_join(JoinGroup { member_id_required: false, ..join("") });
    assert_eq!((reply.error, reply.generation), (ErrorCode::None, 1));
    assert!(reply.member_id.starts_with("client-"));
}

#[test]
fn s63_an_id_that_is_not_used_expires_and_holds_nobody_up_longer() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    shard.new_id();
    let again = shard.join(join(&ids[0]));
    shard.advance(i64::from(SESSION_MS) - 1);
    assert_eq!(shard.answer(again), None, "the newcomer may still come");
    shard.advance(1);
    assert_eq!(shard.joined(again).generation, generation + 1);
}

#[test]
fn s63_unused_ids_leave_nothing_behind() {
    let mut shard = Shard::new();
    let id = shard.new_id();
    shard.advance(i64::from(SESSION_MS));
    assert_eq!(shard.state(), GroupState::Dead);
    assert_eq!(shard.ask_join(join(&id)).error, ErrorCode::UnknownMemberId);

    for turn in 0..200 {
        let id = shard.new_id();
        assert_eq!(shard.ask_join(join(&id)).error, ErrorCode::None, "turn {turn}");
        shard.leave(&[(&id, None)]);
    }
    assert!(shard.soft.given_out.len() < 100, "ids that were used are kept");
}

#[test]
fn ids_that_are_asked_for_and_never_used_take_bounded_memory_and_keep_nobody_out() {
    let mut shard = Shard::new();
    let first = shard.new_id();
    for _ in 0..30_000 {
        shard.new_id();
        let taken: usize = shard.soft.groups.values().map(|group| group.pending_bytes()).sum();
        assert!(taken <= PENDING_BYTES_MAX, "{taken} bytes");
    }
    let last = shard.new_id();
    assert_eq!(shard.ask_join(join(&first)).error, ErrorCode::UnknownMemberId, "the oldest made room");
    let ticket = shard.join(join(&last));
    shard.advance(i64::from(SESSION_MS));
    assert_eq!(shard.joined(ticket).error, ErrorCode::None);
}

#[test]
fn s64_a_lone_first_member_does_not_wait_unless_the_delay_is_set() {
    let mut adaptive = Shard::new();
    let id = adaptive.new_id();
    assert_eq!(adaptive.ask_join(join(&id)).error, ErrorCode::None);

    let mut explicit = Shard::with(|settings| settings.initial_delay = InitialDelay::Exactly(3_000));
    let id = explicit.new_id();
    let ticket = explicit.join(join(&id));
    explicit.advance(2_999);
    assert_eq!(explicit.answer(ticket), None);
    explicit.advance(1);
    assert_eq!(explicit.joined(ticket).generation, 1);
}

#[test]
fn s64_members_that_were_given_ids_are_waited_for() {
    let mut shard = Shard::new();
    let ids: Vec<_> = (0..3).map(|_| shard.new_id()).collect();
    let tickets: Vec<_> = ids.iter().map(|id| shard.join(join(id))).collect();
    for ticket in tickets {
        assert_eq!(shard.joined(ticket).generation, 1, "one generation for all");
    }
    assert_eq!(shard.describe("g").members.len(), 3);
}

#[test]
fn s64_an_id_that_does_not_come_back_costs_no_more_than_kafkas_delay() {
    let mut shard = Shard::new();
    shard.new_id();
    let id = shard.new_id();
    let ticket = shard.join(join(&id));
    shard.advance(2_999);
    assert_eq!(shard.answer(ticket), None);
    shard.advance(1);
    assert_eq!(shard.joined(ticket).generation, 1);
}

#[test]
fn s64_a_set_delay_is_extended_by_new_members_up_to_the_rebalance_timeout() {
    let mut shard = Shard::with(|settings| settings.initial_delay = InitialDelay::Exactly(3_000));
    let brief = || JoinGroup { rebalance_timeout_ms: 7_000, member_id_required: false, ..join("") };
    let first = shard.join(brief());
    shard.advance(2_000);
    let second = shard.join(brief());
    shard.advance(1_000);
    assert_eq!(shard.answer(first), None, "extended to 6 s by the second member");
    shard.advance(1_000);
    let third = shard.join(brief());
    shard.advance(2_000);
    assert_eq!(shard.answer(first), None, "extended by what is left of the 7 s");
    shard.advance(999);
    assert_eq!(shard.answer(first), None);
    shard.advance(1);
    for ticket in [first, second, third] {
        assert_eq!(shard.joined(ticket).generation, 1);
    }
}

#[test]
fn s64_a_delay_of_zero_waits_for_nobody() {
    let mut shard = Shard::with(|settings| settings.initial_delay = InitialDelay::Exactly(0));
    shard.new_id();
    let id = shard.new_id();
    assert_eq!(shard.ask_join(join(&id)).generation, 1);
}

#[test]
fn s64_only_an_empty_group_is_delayed() {
    let mut shard = Shard::with(|settings| settings.initial_delay = InitialDelay::Exactly(3_000));
    let (ids, generation) = shard.stable(1);
    assert_eq!(shard.ask_join(join(&ids[0])).generation, generation + 1);
    shard.leave(&[(&ids[0], None)]);
    assert_eq!(shard.state(), GroupState::Empty);
    let id = shard.new_id();
    let ticket = shard.join(join(&id));
    assert_eq!(shard.answer(ticket), None, "it is empty again");
}

#[test]
fn s65_the_join_phase_ends_when_all_are_back_and_only_the_leader_sees_the_members() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(3);
    let tickets: Vec<_> = ids.iter().map(|id| shard.join(join(id))).collect();
    let replies: Vec<_> = tickets.iter().map(|ticket| shard.joined(*ticket)).collect();
    for (reply, id) in replies.iter().zip(&ids) {
        assert_eq!(
            (reply.error, reply.generation, &*reply.member_id),
            (ErrorCode::None, generation + 1, &**id)
        );
        assert_eq!((&*reply.leader, reply.protocol_name.as_deref()), (&*ids[0], Some("range")));
        let expected = if *id == ids[0] { 3 } else { 0 };
        assert_eq!(reply.members.len(), expected);
    }
    assert_eq!(replies[0].members[0].metadata, subscription(&["t"]));
}

#[test]
fn s65_members_that_do_not_rejoin_within_the_longest_rebalance_timeout_are_out() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let slow = JoinGroup { rebalance_timeout_ms: 20_000, ..join(&ids[0]) };
    let ticket = shard.join(slow);
    for _ in 0..59 {
        assert_eq!(shard.beat(&ids[1], generation), ErrorCode::RebalanceInProgress);
        shard.advance(1_000);
    }
    assert_eq!(shard.answer(ticket), None, "the other one has {REBALANCE_MS} ms");
    shard.advance(1_000);
    let reply = shard.joined(ticket);
    assert_eq!((reply.generation, reply.members.len()), (generation + 1, 1));
    assert_eq!(shard.beat(&ids[1], generation), ErrorCode::UnknownMemberId);
}

#[test]
fn s65_the_leader_is_replaced_when_it_does_not_come_back() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let newcomer = shard.new_id();
    let joins = [shard.join(join(&newcomer)), shard.join(join(&ids[1]))];
    shard.advance(i64::from(SESSION_MS));
    let replies = joins.map(|ticket| shard.joined(ticket));
    assert!(replies.iter().all(|reply| reply.generation == generation + 1 && *reply.leader != *ids[0]));
    assert_eq!(
        replies.iter().map(|reply| reply.members.len()).sum::<usize>(),
        2,
        "one leader, with two members"
    );
}

#[test]
fn s65_static_members_stay_though_they_did_not_rejoin() {
    let mut shard = Shard::new();
    let gone = JoinGroup { session_timeout_ms: 600_000, ..join_static("", "i") };
    let gone = shard.ask_join(gone).member_id;
    shard.sync(sync(&gone, 1, &[(&gone, "a")]));
    let ticket = shard.join(JoinGroup { member_id_required: false, ..join("") });
    shard.advance(i64::from(REBALANCE_MS));
    let reply = shard.joined(ticket);
    assert_eq!((reply.generation, reply.members.len()), (2, 2));
    assert_eq!(reply.leader, reply.member_id, "the absent one does not lead");
}

#[test]
fn s65_when_only_absent_static_members_are_left_the_phase_waits_for_their_sessions() {
    let mut shard = Shard::new();
    let one = JoinGroup { session_timeout_ms: 130_000, ..join_static("", "i") };
    let gone = shard.ask_join(one).member_id;
    shard.sync(sync(&gone, 1, &[(&gone, "a")]));
    let visitor = shard.new_id();
    let ticket = shard.join(join(&visitor));
    shard.leave(&[(&visitor, None)]);
    assert_eq!(shard.joined(ticket).error, ErrorCode::UnknownMemberId);
    shard.advance(i64::from(REBALANCE_MS));
    assert_eq!(shard.state(), GroupState::PreparingRebalance, "nobody to lead");
    shard.advance(70_000);
    assert_eq!(shard.state(), GroupState::Empty);
}

#[test]
fn s65_a_newcomer_whose_join_is_not_answered_is_dropped_after_five_minutes() {
    let mut shard = Shard::new();
    let long =
        |id: &str| JoinGroup { session_timeout_ms: 1_000_000, rebalance_timeout_ms: 900_000, ..join(id) };
    let id = shard.new_id();
    shard.ask_join(long(&id));
    shard.sync(sync(&id, 1, &[]));
    let newcomer = shard.join(JoinGroup { member_id_required: false, ..long("") });
    shard.advance(299_999);
    assert_eq!(shard.answer(newcomer), None);
    shard.advance(1);
    let reply = shard.joined(newcomer);
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::UnknownMemberId, ""));
}

#[test]
fn s66_the_protocol_that_most_prefer_among_those_all_support_is_chosen() {
    let mut shard = Shard::new();
    let offers: [&[&str]; 3] = [&["a", "b", "c"], &["b", "c"], &["x", "c", "b"]];
    let ids: Vec<_> = offers.iter().map(|_| shard.new_id()).collect();
    let mut tickets = Vec::new();
    for (id, offer) in ids.iter().zip(offers) {
        let protocols =
            offer.iter().map(|name| protocol(name, format!("{name} of {id}").as_bytes())).collect();
        tickets.push(shard.join(JoinGroup { protocols, ..join(id) }));
    }
    let replies: Vec<_> = tickets.iter().map(|ticket| shard.joined(*ticket)).collect();
    assert!(replies.iter().all(|reply| reply.protocol_name.as_deref() == Some("b")), "two votes against one");
    let leader = replies.iter().find(|reply| !reply.members.is_empty()).unwrap();
    for member in &leader.members {
        assert_eq!(member.metadata, format!("b of {}", member.member_id), "the metadata for what was chosen");
    }
}

#[test]
fn s66_a_group_moves_to_a_protocol_once_everybody_supports_it() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(2);
    let both = |id: &str| JoinGroup {
        protocols: vec![protocol("cooperative", b"1"), protocol("range", b"2")],
        ..join(id)
    };
    let first = shard.join(both(&ids[0]));
    let second = shard.join(join(&ids[1]));
    assert_eq!(shard.joined(first).protocol_name.as_deref(), Some("range"));
    assert_eq!(shard.joined(second).protocol_name.as_deref(), Some("range"));
    let tickets = [shard.join(both(&ids[1])), shard.join(both(&ids[0]))];
    for ticket in tickets {
        assert_eq!(shard.joined(ticket).protocol_name.as_deref(), Some("cooperative"));
    }
}

#[test]
fn s66_a_protocol_offered_twice_counts_once() {
    let mut shard = Shard::new();
    let twice = vec![protocol("range", b"1"), protocol("range", b"2")];
    let reply = shard.ask_join(JoinGroup { protocols: twice, member_id_required: false, ..join("") });
    assert_eq!((reply.error, reply.protocol_name.as_deref()), (ErrorCode::None, Some("range")));
}

#[test]
fn s67_a_follower_that_rejoins_unchanged_gets_the_generation_it_has() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let reply = shard.ask_join(join(&ids[1]));
    assert_eq!((reply.error, reply.generation), (ErrorCode::None, generation));
    assert_eq!((&*reply.leader, reply.members.len()), (&*ids[0], 0));
    assert_eq!(shard.state(), GroupState::Stable);
}

#[test]
fn s67_the_leader_or_changed_metadata_sets_off_a_rebalance() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let changed = JoinGroup { protocols: vec![protocol("range", &subscription(&["u"]))], ..join(&ids[1]) };
    let follower = shard.join(changed.clone());
    assert_eq!(shard.state(), GroupState::PreparingRebalance);
    let leader = shard.join(join(&ids[0]));
    let (ids, generation) = {
        assert_eq!(shard.joined(leader).generation, generation + 1);
        shard.settle(ids, &[leader, follower])
    };
    let leader = shard.join(join(&ids[0]));
    assert_eq!(shard.state(), GroupState::PreparingRebalance, "a leader rejoins for a reason");
    shard.join(changed);
    assert_eq!(shard.joined(leader).generation, generation + 1);
}

#[test]
fn s67_while_the_assignment_is_awaited_an_unchanged_join_repeats_the_answer() {
    let mut shard = Shard::new();
    let ids = [shard.new_id(), shard.new_id()];
    let joins = ids.each_ref().map(|id| shard.join(join(id)));
    let leader = shard.joined(joins[0]).leader.to_string();
    for id in &ids {
        let reply = shard.ask_join(join(id));
        assert_eq!((reply.error, reply.generation), (ErrorCode::None, 1));
        assert_eq!(reply.members.len(), if *id == leader { 2 } else { 0 });
    }
    let follower = ids.iter().find(|id| **id != leader).unwrap();
    let changed = JoinGroup { protocols: vec![protocol("range", b"new")], ..join(follower) };
    let ticket = shard.join(changed);
    assert_eq!(shard.answer(ticket), None);
    assert_eq!(shard.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_join_repeated_while_the_first_one_waits_takes_its_place() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(2);
    let first = shard.join(join(&ids[0]));
    let second = shard.join(join(&ids[0]));
    assert_eq!(shard.joined(first).error, ErrorCode::RebalanceInProgress);
    shard.join(join(&ids[1]));
    assert_eq!(shard.joined(second).generation, generation + 1);
}

#[test]
fn what_is_kept_of_a_request_does_not_keep_its_frame() {
    let frame = subscription(&["t"]);
    let mut shard = Shard::new();
    let request =
        JoinGroup { protocols: vec![Protocol { name: "range".into(), metadata: frame.clone() }], ..join("") };
    let id = shard.ask_join(request.clone()).member_id;
    shard.ask_join(JoinGroup { member_id: id, ..request });
    assert!(frame.is_unique());
}
