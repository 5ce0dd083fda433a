//! Offsets that go with transactions: S60.

use super::driver::*;
use crate::coord::{BatchKind, Release};
use crate::groups::*;
use crate::types::ErrorCode;
use ErrorCode::{None as Fine, UnstableOffsetCommit as Unstable};

const NOTHING: (i64, ErrorCode) = (-1, Fine);
const BARRED: (i64, ErrorCode) = (-1, Unstable);

fn one(offset: i64) -> Vec<(String, i32, i64)> {
    vec![("t".to_owned(), 0, offset)]
}

#[test]
fn s60_offsets_are_seen_when_their_transaction_is_committed() {
    let mut shard = Shard::new();
    shard.commit_one(commit("", -1, 0, 1));
    assert_eq!(shard.pend(pending(7, 0, 5)), Fine);
    assert_eq!(shard.offsets("g"), one(1), "without require_stable the old offset is told");
    assert_eq!(shard.stable_offset(0), BARRED);
    assert_eq!(shard.stable_offset(1), NOTHING, "other partitions are not barred");
    assert_eq!(shard.end(ended(7, true)), Fine);
    assert_eq!(shard.offsets("g"), one(5));
    assert_eq!(shard.stable_offset(0), (5, Fine));
    shard.restart();
}

#[test]
fn s60_offsets_of_an_aborted_transaction_were_never_there() {
    let mut shard = Shard::new();
    shard.commit_one(commit("", -1, 0, 1));
    shard.pend(pending(7, 0, 5));
    shard.pend(pending(7, 1, 6));
    assert_eq!(shard.end(ended(7, false)), Fine);
    assert_eq!(shard.offsets("g"), one(1));
    assert_eq!((shard.stable_offset(0), shard.stable_offset(1)), ((1, Fine), NOTHING));
    shard.restart();
    assert_eq!(shard.end(ended(7, true)), Fine, "a marker for a transaction that is over");
    assert_eq!(shard.offsets("g"), one(1));
}

#[test]
fn s60_the_pending_bar_everybody_who_wants_all_that_is_stable() {
    let mut shard = Shard::new();
    shard.commit_one(commit("", -1, 0, 1));
    shard.pend(pending(7, 0, 5));
    shard.pend(pending(7, 1, 6));
    let request = FetchOffsets { group: "g".into(), topics: None, require_stable: true };
    let reply = shard.ask(Command::Fetch(request)).fetch().unwrap();
    assert_eq!(reply.topics.len(), 1);
    assert_eq!(
        reply.topics[0].partitions,
        [FetchedOffset::absent(0, Unstable)],
        "what is only pending is not an offset of the group, as in Kafka"
    );
    assert_eq!(reply.barred_by, Some(7));
    let plain = FetchOffsets { group: "g".into(), topics: None, require_stable: false };
    assert_eq!(shard.ask(Command::Fetch(plain)).fetch().unwrap().barred_by, None);
}

#[test]
fn s60_a_restart_keeps_what_is_pending() {
    let mut shard = Shard::new();
    shard.pend(pending(7, 0, 5));
    shard.restart();
    assert_eq!(shard.stable_offset(0), BARRED);
    assert_eq!(shard.end(ended(7, true)), Fine);
    shard.restart();
    assert_eq!(shard.offsets("g"), one(5));
}

#[test]
fn s60_what_is_last_in_the_log_counts_whenever_its_transaction_ends() {
    // Commits by producers 7 and 8 and by nobody, in this order; then the transactions end in any order.
    let cases: [(&[i64], &[i64], i64); 6] = [
        (&[7, 0], &[7], 2),
        (&[0, 7], &[7], 2),
        (&[7, 8], &[7, 8], 2),
        (&[7, 8], &[8, 7], 2),
        (&[7, 0, 8], &[8, 7], 3),
        (&[7, 8, 7], &[7, 8], 3),
    ];
    for (commits, ends, expected) in cases {
        let mut shard = Shard::new();
        for (at, producer) in (1..).zip(commits) {
            let error = match producer {
                0 => shard.commit_one(commit("", -1, 0, at)),
                producer => shard.pend(pending(*producer, 0, at)),
            };
            assert_eq!(error, Fine);
        }
        for producer in ends {
            shard.end(ended(*producer, true));
        }
        assert_eq!(shard.stable_offset(0), (expected, Fine), "{commits:?} {ends:?}");
        shard.restart();
    }
}

#[test]
fn s60_a_plain_commit_behind_a_pending_one_is_told_only_when_that_is_decided() {
    let mut shard = Shard::new();
    shard.pend(pending(7, 0, 5));
    shard.commit_one(commit("", -1, 0, 2));
    assert_eq!((shard.stable_offset(0), shard.offsets("g")), (BARRED, one(2)));
    shard.end(ended(7, false));
    assert_eq!(shard.stable_offset(0), (2, Fine));
}

#[test]
fn s60_a_transaction_brings_offsets_of_many_groups_and_topics_at_once() {
    let mut shard = Shard::new();
    let topics = vec![commit_topic("u", &[(1, 11)]), commit_topic("t", &[(0, 5), (3, 6)])];
    shard.commit_pending(TxnOffsetCommit { topics, ..pending(7, 0, 0) });
    shard.pend(TxnOffsetCommit { group: "h".into(), ..pending(7, 2, 8) });
    assert_eq!((shard.offsets("g"), shard.offsets("h")), (vec![], vec![]));
    shard.end(ended(7, true));
    let at = |topic: &str, partition, offset| (topic.to_owned(), partition, offset);
    assert_eq!(shard.offsets("g"), [at("t", 0, 5), at("t", 3, 6), at("u", 1, 11)]);
    assert_eq!(shard.offsets("h"), [at("t", 2, 8)]);
}

#[test]
fn s60_offsets_lie_in_a_batch_of_their_transaction_and_wait_for_the_disk() {
    let mut shard = Shard::new();
    shard.pend(pending(7, 0, 5));
    assert_eq!(shard.kinds, [BatchKind::Transactional { producer_id: 7, producer_epoch: 0 }]);
    assert_eq!(shard.last_release, Release::Durable);
    shard.end(EndTransaction { producer_epoch: 1, ..ended(7, true) });
    let marker = BatchKind::Marker { producer_id: 7, producer_epoch: 1, coordinator_epoch: 1, commit: true };
    assert_eq!(shard.kinds[1], marker);
    assert_eq!(shard.last_release, Release::Appended, "who writes markers waits for all of them at once");
    shard.world.settings.transaction_release = Release::Appended;
    shard.pend(pending(7, 0, 5));
    assert_eq!(shard.last_release, Release::Appended);
}

#[test]
fn s60_members_are_checked_when_they_are_named() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    let of = |member: &str, instance: Option<&str>, generation| TxnOffsetCommit {
        member_id: member.into(),
        instance_id: instance.map(Into::into),
        generation,
        ..pending(7, 0, 5)
    };
    for (request, expected) in [
        (of(&ids[0], None, generation), Fine),
        (of("", None, -1), Fine),
        (of(&ids[0], None, generation + 1), ErrorCode::IllegalGeneration),
        (of(&ids[0], None, -1), ErrorCode::IllegalGeneration),
        (of("ghost", None, generation), ErrorCode::UnknownMemberId),
        (of("", None, generation), ErrorCode::UnknownMemberId),
        (of(&ids[0], Some("i"), generation), ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(shard.pend(request.clone()), expected, "{request:?}");
    }
}

#[test]
fn s60_the_state_of_the_group_does_not_matter() {
    let mut shard = Shard::new();
    let id = shard.new_id();
    shard.ask_join(join(&id));
    assert_eq!(shard.state(), GroupState::CompletingRebalance);
    let request = TxnOffsetCommit { member_id: (*id).into(), generation: 1, ..pending(7, 0, 5) };
    assert_eq!(shard.commit_one(commit(&id, 1, 0, 1)), ErrorCode::RebalanceInProgress);
    assert_eq!(shard.pend(request), Fine);
}

#[test]
fn s60_an_unknown_group_is_made_for_those_who_name_no_member() {
    let mut shard = Shard::new();
    let member = TxnOffsetCommit { member_id: "m".into(), generation: 3, ..pending(7, 0, 5) };
    assert_eq!(shard.pend(member), ErrorCode::GroupIdNotFound);
    assert_eq!(shard.state(), GroupState::Dead);
    assert_eq!(shard.pend(pending(7, 0, 5)), Fine);
    assert_eq!(shard.state(), GroupState::Empty);
    let member = TxnOffsetCommit { member_id: "m".into(), generation: 3, ..pending(7, 0, 5) };
    assert_eq!(shard.pend(member), ErrorCode::UnknownMemberId);
    assert_eq!(
        shard.pend(TxnOffsetCommit { group: "".into(), ..pending(7, 0, 5) }),
        ErrorCode::InvalidGroupId
    );
}

#[test]
fn s60_what_does_not_exist_or_is_too_long_costs_its_own_partition_only() {
    let mut shard = Shard::with(|settings| settings.offset_metadata_max = 4);
    let mut topics = vec![commit_topic("t", &[(0, 1), (1, 2), (9, 3)]), commit_topic("nope", &[(0, 4)])];
    topics[0].partitions[1].metadata = Some("five!".into());
    let outcome = shard.commit_pending(TxnOffsetCommit { topics, ..pending(7, 0, 0) });
    let told = |name: &str, partition, error| (name.to_owned(), partition, error);
    let expected = [
        told("t", 9, ErrorCode::UnknownTopicOrPartition),
        told("t", 0, Fine),
        told("t", 1, ErrorCode::OffsetMetadataTooLarge),
        told("nope", 0, ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(outcome, expected);
    shard.end(ended(7, true));
    assert_eq!(shard.offsets("g"), one(1));
}

fn ask_raw(shard: &mut Shard, request: TxnOffsetCommit) -> TxnCommitReply {
    shard.ask(Command::TxnOffsetCommit(request)).txn_offset_commit().unwrap()
}

fn guard(shard: &mut Shard, request: &TxnOffsetCommit) -> Guard {
    match ask_raw(shard, request.clone()) {
        TxnCommitReply::Unverified(guard) => guard,
        TxnCommitReply::Done(reply) => panic!("{reply:?}"),
    }
}

#[test]
fn s54_the_first_offsets_of_a_transaction_need_the_coordinators_word() {
    let mut shard = Shard::new();
    let request = pending(7, 0, 5);
    let held = guard(&mut shard, &request);
    assert!(shard.log.is_empty(), "nothing is written before the coordinator is asked");
    let reply = ask_raw(&mut shard, TxnOffsetCommit { guard: Some(held), ..request });
    assert!(matches!(reply, TxnCommitReply::Done(_)));
    let reply = ask_raw(&mut shard, pending(7, 1, 6));
    assert!(matches!(reply, TxnCommitReply::Done(_)), "the transaction is open here: nobody is asked again");
    shard.end(ended(7, true));
    guard(&mut shard, &pending(7, 1, 6));
}

#[test]
fn s54_a_marker_between_the_word_and_the_commit_voids_the_word() {
    let mut shard = Shard::new();
    let request = pending(7, 0, 5);
    let held = guard(&mut shard, &request);
    shard.end(ended(8, false));
    let late = TxnOffsetCommit { guard: Some(held), ..request };
    shard.end(ended(7, false));
    guard(&mut shard, &late);
    assert_eq!(shard.stable_offset(0), NOTHING, "nothing is left pending by a transaction that is over");
}

#[test]
fn s54_a_restart_voids_the_word() {
    let mut shard = Shard::new();
    let request = pending(7, 0, 5);
    let held = guard(&mut shard, &request);
    shard.advance(1);
    shard.restart();
    guard(&mut shard, &request);
    guard(&mut shard, &TxnOffsetCommit { guard: Some(held), ..request });
}

#[test]
fn s57_epochs_below_that_of_the_open_transaction_are_refused() {
    let mut shard = Shard::new();
    let at = |producer_epoch| TxnOffsetCommit { producer_epoch, ..pending(7, 0, i64::from(producer_epoch)) };
    let end = |producer_epoch, v2| EndTransaction { producer_epoch, v2, ..ended(7, true) };
    assert_eq!(shard.pend(at(3)), Fine);
    assert_eq!(shard.pend(at(2)), ErrorCode::InvalidProducerEpoch);
    assert_eq!(shard.end(end(2, false)), ErrorCode::InvalidProducerEpoch);
    assert_eq!(
        shard.end(end(3, true)),
        ErrorCode::InvalidProducerEpoch,
        "the marker of the one before, late"
    );
    assert_eq!(shard.stable_offset(0), BARRED);
    assert_eq!(shard.end(end(4, true)), Fine);
    assert_eq!(shard.end(end(4, true)), Fine, "once more: harmless");
    assert_eq!(shard.stable_offset(0), (3, Fine));
}

#[test]
fn s60_deleting_a_group_or_an_offset_takes_what_is_pending() {
    let mut shard = Shard::new();
    shard.pend(pending(7, 0, 5));
    shard.pend(pending(7, 1, 6));
    let topics = vec![("t".into(), vec![0, 2])];
    let delete = Command::DeleteOffsets(DeleteOffsets { group: "g".into(), topics });
    let before = shard.log.len();
    assert_eq!(shard.ask(delete).delete_offsets().unwrap().error, Fine);
    assert_eq!(shard.log.len() - before, 1, "a tombstone for the one that is pending");
    assert_eq!((shard.stable_offset(0), shard.stable_offset(1)), (NOTHING, BARRED));
    shard.restart();
    assert_eq!(shard.ask(Command::DeleteGroup { group: "g".into() }).delete_group().unwrap(), Fine);
    assert_eq!(shard.state(), GroupState::Dead);
    shard.restart();
    assert_eq!(shard.pend(pending(7, 2, 9)), Fine, "the transaction is open all the same");
    shard.end(ended(7, true));
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 2, 9)]);
}

#[test]
fn s75_offsets_that_a_transaction_is_about_to_commit_do_not_expire() {
    let mut shard = Shard::with(|settings| settings.offsets_retention_ms = 1_000);
    shard.commit_one(commit("", -1, 0, 1));
    shard.commit_one(commit("", -1, 1, 2));
    shard.pend(pending(7, 0, 5));
    shard.advance(700_000);
    assert_eq!(shard.offsets("g"), one(1), "the other has expired");
    shard.end(ended(7, false));
    shard.advance(700_000);
    assert_eq!(shard.state(), GroupState::Dead);
    shard.pend(pending(7, 0, 5));
    shard.advance(700_000);
    assert_eq!(shard.state(), GroupState::Empty, "a group with pending offsets stays");
    shard.end(ended(7, false));
    shard.advance(700_000);
    assert_eq!(shard.state(), GroupState::Dead, "and goes when none came of them");
    shard.restart();
}

#[test]
fn a_deleted_topic_takes_its_pending_offsets_and_no_others() {
    let mut shard = Shard::new();
    shard.pend(pending(7, 0, 5));
    shard.pend(pending(8, 1, 6));
    shard.set_topics(&[("t", 9, 4)]);
    // Topic and name are there again before the word of the deletion comes.
    shard.pend(pending(8, 1, 66));
    shard.pend(pending(9, 2, 77));
    assert_eq!(shard.stable_offset(0), NOTHING, "pending for the topic that is gone");
    shard.ask(Command::TopicsDeleted { topics: vec![("t".into(), topic_id(1))] });
    for producer in [7, 8, 9] {
        shard.end(ended(producer, true));
    }
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 1, 66), ("t".to_owned(), 2, 77)]);
    assert!(!shard.hard.group("g").unwrap().has("t", 0));
    shard.restart();
}
