//! Committed offsets: S73 to S75.

use std::sync::Arc;

use super::driver::*;
use crate::coord::Release;
use crate::groups::*;
use crate::types::{ErrorCode, TopicId};

/// 10080 minutes.
const RETENTION_MS: i64 = 604_800_000;
/// The time between two looks at old offsets.
const CHECK_MS: i64 = 600_000;

fn simple(partition: i32, offset: i64) -> CommitOffsets {
    commit("", -1, partition, offset)
}

fn fetch(shard: &mut Shard, topic: TopicKey, partitions: &[i32]) -> FetchedTopic {
    let topics = vec![FetchTopic { topic, partitions: partitions.to_vec() }];
    let request = FetchOffsets { group: "g".into(), topics: Some(topics), require_stable: true };
    let mut reply = shard.ask(Command::Fetch(request)).fetch().unwrap();
    assert_eq!(reply.topics.len(), 1);
    reply.topics.remove(0)
}

#[test]
fn s73_a_commit_without_membership_makes_a_simple_group() {
    let mut shard = Shard::new();
    assert_eq!(shard.commit_one(simple(0, 7)), ErrorCode::None);
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 0, 7)]);
    let group = shard.describe("g");
    assert_eq!((group.state, &*group.protocol_type), (GroupState::Empty, ""));
    shard.restart();
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 0, 7)]);
}

#[test]
fn s73_the_empty_group_id_may_commit() {
    let mut shard = Shard::new();
    let request = CommitOffsets { group: "".into(), ..simple(0, 7) };
    assert_eq!(shard.commit_one(request), ErrorCode::None);
    assert_eq!(shard.offsets("").len(), 1);
}

#[test]
fn s73_commits_are_taken_from_members_of_the_generation() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    let id = &*ids[0];
    let as_instance = CommitOffsets { instance_id: Some("i".into()), ..commit(id, generation, 0, 1) };
    for (request, expected) in [
        (commit(id, generation, 0, 1), ErrorCode::None),
        (commit(id, generation + 1, 0, 2), ErrorCode::IllegalGeneration),
        (commit(id, -1, 0, 2), ErrorCode::IllegalGeneration),
        (commit("ghost", generation, 0, 2), ErrorCode::UnknownMemberId),
        (as_instance, ErrorCode::UnknownMemberId),
        (simple(0, 2), ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(shard.commit_one(request), expected);
    }
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 0, 1)]);
}

#[test]
fn s73_an_empty_group_takes_commits_from_outside_only() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    shard.leave(&[(&ids[0], None)]);
    assert_eq!(shard.commit_one(simple(0, 1)), ErrorCode::None);
    assert_eq!(shard.commit_one(commit("anyone", -1, 0, 2)), ErrorCode::None, "as Kafka does");
    assert_eq!(shard.commit_one(commit(&ids[0], generation + 1, 0, 3)), ErrorCode::UnknownMemberId);
    shard.new_id();
    assert_eq!(shard.commit_one(simple(0, 4)), ErrorCode::None, "an id that is out changes nothing");
    assert_eq!(shard.commit_one(commit(&ids[0], generation + 1, 0, 5)), ErrorCode::UnknownMemberId);
}

#[test]
fn s73_a_commit_of_a_generation_in_an_unknown_group_names_the_group() {
    let mut shard = Shard::new();
    assert_eq!(shard.commit_one(commit("m", 3, 0, 1)), ErrorCode::GroupIdNotFound);
    assert_eq!(shard.state(), GroupState::Dead);
}

#[test]
fn s73_while_the_assignment_is_awaited_commits_are_sent_back() {
    let mut shard = Shard::new();
    let id = shard.new_id();
    shard.ask_join(join(&id));
    assert_eq!(shard.commit_one(commit(&id, 1, 0, 1)), ErrorCode::RebalanceInProgress);
    shard.sync(sync(&id, 1, &[]));
    assert_eq!(shard.commit_one(commit(&id, 1, 0, 1)), ErrorCode::None);
    shard.join(JoinGroup { member_id_required: false, ..join("") });
    assert_eq!(shard.state(), GroupState::PreparingRebalance);
    assert_eq!(shard.commit_one(commit(&id, 1, 0, 2)), ErrorCode::None, "of the generation that ends");
}

#[test]
fn s73_metadata_beyond_the_limit_costs_its_own_partition_only() {
    let mut shard = Shard::with(|settings| settings.offset_metadata_max = 4);
    let noted = |partition, text: &str| CommitPartition {
        partition,
        offset: 1,
        leader_epoch: -1,
        metadata: Some(Arc::from(text)),
    };
    let partitions = vec![noted(0, "five!"), noted(1, "four"), noted(2, "éééé"), noted(3, "")];
    let topics = vec![CommitTopic { topic: TopicKey::Name("t".into()), partitions }];
    let outcome = shard.commit(CommitOffsets { topics, ..simple(0, 0) });
    let errors: Vec<_> = outcome.into_iter().map(|(_, _, error)| error).collect();
    use ErrorCode::{None as Fine, OffsetMetadataTooLarge};
    assert_eq!(errors, [OffsetMetadataTooLarge, Fine, Fine, Fine], "counted in characters, not bytes");
    let fetched = fetch(&mut shard, TopicKey::Name("t".into()), &[0, 1, 3]).partitions;
    assert_eq!(fetched[0].offset, -1);
    assert_eq!(fetched[1].metadata.as_deref(), Some("four"));
    assert_eq!((fetched[2].offset, fetched[2].metadata.as_deref()), (1, None));
}

#[test]
fn s73_topics_and_partitions_must_exist_and_the_refused_are_told_first() {
    let mut shard = Shard::new();
    let topics = vec![
        commit_topic("u", &[(0, 10)]),
        commit_topic("t", &[(3, 13), (4, 14), (-1, 9)]),
        commit_topic("nope", &[(0, 10)]),
    ];
    let outcome = shard.commit(CommitOffsets { topics, ..simple(0, 0) });
    let told = |name: &str, partition, error| (name.to_owned(), partition, error);
    use ErrorCode::{None as Fine, UnknownTopicOrPartition as Unknown};
    let expected = [
        told("t", 4, Unknown),
        told("t", -1, Unknown),
        told("t", 3, Fine),
        told("nope", 0, Unknown),
        told("u", 0, Fine),
    ];
    assert_eq!(outcome, expected);
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 3, 13), ("u".to_owned(), 0, 10)]);
}

#[test]
fn s73_what_does_not_exist_is_refused_before_the_group_is_asked() {
    let mut shard = Shard::new();
    let topics = vec![commit_topic("nope", &[(0, 1)]), commit_topic("t", &[(0, 1), (9, 1)])];
    let outcome = shard.commit(CommitOffsets { topics, ..commit("m", 3, 0, 0) });
    let errors: Vec<_> = outcome.into_iter().map(|(_, partition, error)| (partition, error)).collect();
    use ErrorCode::{GroupIdNotFound, UnknownTopicOrPartition as Unknown};
    assert_eq!(errors, [(0, Unknown), (9, Unknown), (0, GroupIdNotFound)]);
    assert!(shard.log.is_empty());
}

#[test]
fn s73_topics_may_be_named_by_id() {
    let mut shard = Shard::new();
    let by_id = |id| CommitTopic { topic: TopicKey::Id(id), ..commit_topic("", &[(0, 5)]) };
    let topics = vec![by_id(topic_id(1)), by_id(topic_id(9))];
    let reply = shard.ask(Command::Commit(CommitOffsets { topics, ..simple(0, 0) })).commit().unwrap();
    let unknown =
        CommittedTopic { name: "".into(), id: topic_id(9), partitions: vec![(0, ErrorCode::UnknownTopicId)] };
    let known = CommittedTopic { name: "t".into(), id: topic_id(1), partitions: vec![(0, ErrorCode::None)] };
    assert_eq!(reply.topics, [unknown, known]);
}

#[test]
fn a_commit_is_released_as_the_settings_say() {
    let mut shard = Shard::new();
    shard.commit_one(simple(0, 1));
    assert_eq!(shard.last_release, Release::Appended);
    shard.world.settings.commit_release = Release::Durable;
    shard.commit_one(simple(0, 2));
    assert_eq!(shard.last_release, Release::Durable);
    shard.commit_one(simple(99, 2));
    assert_eq!(shard.last_release, Release::Appended, "a refusal waits for no disk");
}

#[test]
fn s74_what_was_committed_is_fetched_with_epoch_and_note() {
    let mut shard = Shard::new();
    let partition =
        CommitPartition { partition: 2, offset: 77, leader_epoch: 5, metadata: Some("note".into()) };
    let topics = vec![CommitTopic { topic: TopicKey::Name("t".into()), partitions: vec![partition] }];
    shard.commit(CommitOffsets { topics, ..simple(0, 0) });
    let topic = fetch(&mut shard, TopicKey::Name("t".into()), &[2]);
    let expected = FetchedOffset {
        partition: 2,
        offset: 77,
        leader_epoch: 5,
        metadata: Some("note".into()),
        error: ErrorCode::None,
    };
    assert_eq!((topic.id, topic.partitions), (topic_id(1), vec![expected]));
}

#[test]
fn s74_what_was_not_committed_is_no_error() {
    let mut shard = Shard::new();
    let absent = |partition| FetchedOffset::absent(partition, ErrorCode::None);
    let topic = fetch(&mut shard, TopicKey::Name("t".into()), &[0, 99]);
    assert_eq!(topic.partitions, [absent(0), absent(99)], "no such group");
    assert_eq!((absent(0).offset, absent(0).leader_epoch, absent(0).metadata), (-1, -1, None));
    let topic = fetch(&mut shard, TopicKey::Name("nope".into()), &[0]);
    assert_eq!((&*topic.name, topic.partitions), ("nope", vec![absent(0)]));
    assert!(shard.offsets("g").is_empty());
}

#[test]
fn s74_an_unknown_topic_id_is_an_error_per_partition_told_last() {
    let mut shard = Shard::new();
    shard.commit_one(simple(0, 3));
    let by_id = |n, partitions: &[i32]| FetchTopic {
        topic: TopicKey::Id(topic_id(n)),
        partitions: partitions.to_vec(),
    };
    let topics = Some(vec![by_id(9, &[0, 1]), by_id(1, &[0])]);
    let request = FetchOffsets { group: "g".into(), topics, require_stable: false };
    let reply = shard.ask(Command::Fetch(request)).fetch().unwrap();
    assert_eq!((&*reply.topics[0].name, reply.topics[0].partitions[0].offset), ("t", 3));
    assert_eq!(reply.topics[1].id, topic_id(9));
    let unknown = |offset: &FetchedOffset| offset.error == ErrorCode::UnknownTopicId && offset.offset == -1;
    assert!(reply.topics[1].partitions.iter().all(unknown));
}

#[test]
fn a_topic_made_again_does_not_inherit_offsets() {
    let mut shard = Shard::new();
    shard.commit_one(simple(0, 42));
    shard.set_topics(&[("t", 7, 4)]);
    assert_eq!(fetch(&mut shard, TopicKey::Name("t".into()), &[0]).partitions[0].offset, -1);
    assert_eq!(fetch(&mut shard, TopicKey::Id(topic_id(7)), &[0]).partitions[0].offset, -1);
    assert!(shard.offsets("g").is_empty());
    shard.set_topics(&[]);
    assert!(shard.offsets("g").is_empty(), "nor does the one that is gone keep them");
    assert_eq!(fetch(&mut shard, TopicKey::Name("t".into()), &[0]).partitions[0].offset, -1);
}

#[test]
fn offsets_without_topic_id_belong_to_whatever_has_the_name() {
    let mut shard = Shard::new();
    let value = CommittedOffset {
        offset: 5,
        leader_epoch: -1,
        metadata: None,
        committed_at: START,
        expires_at: None,
        topic_id: TopicId::ZERO,
    };
    let record = Record::Offset { group: "g".into(), topic: "t".into(), partition: 0, value: Some(value) };
    shard.hard.apply(&record);
    assert_eq!(fetch(&mut shard, TopicKey::Name("t".into()), &[0]).partitions[0].offset, 5);
    assert_eq!(fetch(&mut shard, TopicKey::Id(topic_id(1)), &[0]).partitions[0].offset, 5);
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    let mut shard = Shard::new();
    for group in ["a", "b", "c"] {
        let topics = vec![commit_topic("t", &[(0, 1), (1, 2)]), commit_topic("u", &[(0, 3)])];
        shard.commit(CommitOffsets { group: group.into(), topics, ..simple(0, 0) });
    }
    shard.set_topics(&[("u", 2, 2), ("t", 7, 4)]);
    shard.commit(CommitOffsets { group: "b".into(), ..simple(3, 9) });
    let before = shard.log.len();
    let topics = vec![("t".into(), topic_id(1)), ("never heard of".into(), topic_id(8))];
    assert_eq!(shard.ask(Command::TopicsDeleted { topics }), Reply::TopicsDeleted);
    assert_eq!(shard.log.len() - before, 6, "two tombstones for each group");
    assert_eq!(shard.offsets("a"), [("u".to_owned(), 0, 3)]);
    assert_eq!(shard.offsets("b"), [("t".to_owned(), 3, 9), ("u".to_owned(), 0, 3)], "the new topic's stays");
    shard.restart();
}

#[test]
fn a_deleted_topic_with_very_many_offsets_is_cleaned_in_slices() {
    let mut shard = Shard::new();
    shard.set_topics(&[("t", 1, 1_000)]);
    let all: Vec<_> = (0..1_000).map(|partition| (partition, 1)).collect();
    for group in 0..5 {
        let topics = vec![commit_topic("t", &all)];
        shard.commit(CommitOffsets { group: format!("g{group}").into(), topics, ..simple(0, 0) });
    }
    shard.set_topics(&[]);
    shard.ask(Command::TopicsDeleted { topics: vec![("t".into(), topic_id(1))] });
    assert_eq!(shard.log.len(), 10_000);
}

#[test]
fn s75_offsets_of_a_simple_group_expire_one_by_one_and_then_the_group() {
    let mut shard = Shard::new();
    shard.commit_one(simple(0, 1));
    shard.advance(CHECK_MS * 3);
    shard.commit_one(simple(1, 2));
    shard.advance(RETENTION_MS - CHECK_MS * 3);
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 1, 2)]);
    shard.advance(CHECK_MS * 3);
    assert!(shard.offsets("g").is_empty());
    assert_eq!(shard.state(), GroupState::Dead);
    shard.restart();
    assert_eq!(shard.state(), GroupState::Dead);
}

#[test]
fn s75_offsets_of_a_group_expire_together_once_it_was_empty_long_enough() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    shard.commit_one(commit(&ids[0], generation, 0, 1));
    for _ in 0..2 * RETENTION_MS / 9_000 {
        shard.advance(9_000);
        assert_eq!(shard.beat(&ids[0], generation), ErrorCode::None);
    }
    assert_eq!(shard.offsets("g").len(), 1, "old, but its group reads the topic");
    shard.leave(&[(&ids[0], None)]);
    shard.restart();
    shard.advance(RETENTION_MS - 1);
    assert_eq!(shard.offsets("g").len(), 1);
    shard.advance(CHECK_MS + 1);
    assert!(shard.offsets("g").is_empty());
    assert_eq!(shard.state(), GroupState::Dead);
}

#[test]
fn s75_a_stable_group_of_consumers_loses_offsets_of_topics_it_no_longer_reads() {
    let mut shard = Shard::with(|settings| settings.offsets_retention_ms = CHECK_MS);
    let (ids, generation) = shard.stable(1);
    let topics = vec![commit_topic("t", &[(0, 1)]), commit_topic("u", &[(0, 2)])];
    shard.commit(CommitOffsets { topics, ..commit(&ids[0], generation, 0, 0) });
    for _ in 0..2 * CHECK_MS / 9_000 + 1 {
        shard.advance(9_000);
        shard.beat(&ids[0], generation);
    }
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 0, 1)]);
    assert_eq!(shard.state(), GroupState::Stable);
}

#[test]
fn s75_a_group_whose_subscription_is_not_known_keeps_all() {
    let mut shard = Shard::with(|settings| settings.offsets_retention_ms = CHECK_MS);
    let id = shard.new_id();
    let reply = shard.ask_join(JoinGroup { protocols: vec![protocol("range", b"?")], ..join(&id) });
    shard.sync(sync(&id, reply.generation, &[]));
    shard.commit_one(commit(&id, reply.generation, 0, 1));
    for _ in 0..2 * CHECK_MS / 9_000 + 1 {
        shard.advance(9_000);
        shard.beat(&id, reply.generation);
    }
    assert_eq!(shard.offsets("g").len(), 1);
}

#[test]
fn s75_a_commit_may_say_itself_how_long_it_lasts() {
    let mut shard = Shard::new();
    shard.commit_one(CommitOffsets { retention_ms: Some(CHECK_MS), ..simple(0, 1) });
    shard.commit_one(CommitOffsets { retention_ms: Some(2 * RETENTION_MS), ..simple(1, 1) });
    shard.advance(2 * CHECK_MS);
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 1, 1)]);
    shard.restart();
    shard.advance(RETENTION_MS + CHECK_MS);
    assert_eq!(shard.offsets("g").len(), 1, "longer than the broker's retention, over a restart");
    shard.advance(RETENTION_MS);
    assert!(shard.offsets("g").is_empty());
}

#[test]
fn s75_an_empty_group_without_offsets_goes_with_the_next_look() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(1);
    shard.leave(&[(&ids[0], None)]);
    assert_eq!(shard.state(), GroupState::Empty);
    shard.advance(CHECK_MS);
    assert_eq!(shard.state(), GroupState::Dead);
    assert!(shard.log.last().is_some_and(|record| record.value.is_none()), "a tombstone");
}

#[test]
fn s75_a_group_that_is_about_to_be_joined_is_not_taken_away() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(1);
    shard.leave(&[(&ids[0], None)]);
    shard.advance(CHECK_MS - 5_000);
    let id = shard.new_id();
    shard.advance(5_000);
    assert_eq!(shard.ask_join(join(&id)).error, ErrorCode::None);
}

#[test]
fn s75_many_groups_are_looked_at_in_slices_and_none_is_left_out() {
    let mut shard = Shard::new();
    for group in 0..1_000 {
        shard.commit(CommitOffsets { group: format!("g{group}").into(), ..simple(0, 1) });
    }
    shard.advance(RETENTION_MS + CHECK_MS);
    let listed = shard.ask(Command::List(ListGroups::default())).list().unwrap();
    assert!(listed.is_empty(), "{} are left", listed.len());
}

#[test]
fn offsets_of_a_topic_that_a_crash_left_behind_are_swept() {
    let mut shard = Shard::new();
    shard.commit_one(simple(0, 1));
    shard.commit(CommitOffsets { topics: vec![commit_topic("u", &[(0, 2)])], ..simple(0, 0) });
    shard.set_topics(&[("t", 7, 4), ("u", 2, 2)]);
    shard.advance(CHECK_MS);
    let stored = shard.hard.group("g").unwrap();
    assert!(!stored.has("t", 0) && stored.has("u", 0));
}
