//! Describe, list and delete: S76.

use std::sync::Arc;

use super::driver::*;
use crate::groups::*;
use crate::types::ErrorCode;

fn delete(shard: &mut Shard, group: &str) -> ErrorCode {
    shard.ask(Command::DeleteGroup { group: group.into() }).delete_group().unwrap()
}

fn list(shard: &mut Shard, states: &[&str], types: &[&str]) -> Vec<(String, GroupState)> {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let filter = ListGroups { states: names(states), types: names(types) };
    let listed = shard.ask(Command::List(filter)).list().unwrap();
    listed.into_iter().map(|group| (group.group.to_string(), group.state)).collect()
}

fn delete_offsets(shard: &mut Shard, group: &str, topics: &[(&str, &[i32])]) -> DeleteOffsetsReply {
    let topics = topics.iter().map(|(name, partitions)| (Arc::from(*name), partitions.to_vec())).collect();
    let request = DeleteOffsets { group: group.into(), topics };
    shard.ask(Command::DeleteOffsets(request)).delete_offsets().unwrap()
}

#[test]
fn s76_state_names_are_kafkas() {
    use GroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
    let names = [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead].map(GroupState::name);
    assert_eq!(names, ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"]);
}

#[test]
fn s76_an_unknown_group_is_dead() {
    let group = Shard::new().describe("g");
    assert_eq!((group.state, &*group.protocol_type, group.members.len()), (GroupState::Dead, "", 0));
}

#[test]
fn s76_metadata_and_protocol_are_shown_in_stable_only() {
    let mut shard = Shard::new();
    let (ids, _) = shard.stable(2);
    let group = shard.describe("g");
    assert_eq!(
        (group.state, &*group.protocol_type, &*group.protocol_data),
        (GroupState::Stable, "consumer", "range")
    );
    let member = group.members.iter().find(|member| *member.member_id == *ids[1]).unwrap();
    assert_eq!((&*member.client_id, &*member.client_host), ("client", "/127.0.0.1"));
    assert_eq!((&member.metadata, &member.assignment[..]), (&subscription(&["t"]), ids[1].as_bytes()));

    let waiting = shard.join(join(&ids[0]));
    let group = shard.describe("g");
    assert_eq!((group.state, &*group.protocol_data), (GroupState::PreparingRebalance, ""));
    assert!(group.members.iter().all(|member| member.metadata.is_empty() && !member.assignment.is_empty()));
    shard.join(join(&ids[1]));
    assert_eq!(shard.joined(waiting).error, ErrorCode::None);
    assert_eq!(shard.describe("g").state, GroupState::CompletingRebalance);
    assert_eq!(&*shard.describe("g").protocol_data, "");

    shard.leave(&[(&ids[0], None), (&ids[1], None)]);
    let group = shard.describe("g");
    assert_eq!((group.state, &*group.protocol_type, group.members.len()), (GroupState::Empty, "consumer", 0));
}

#[test]
fn s76_groups_are_listed_by_state_and_type_without_regard_to_case() {
    let mut shard = Shard::new();
    shard.stable(1);
    shard.commit(CommitOffsets { group: "a-simple".into(), ..commit("", -1, 0, 1) });
    let all = [("a-simple".to_owned(), GroupState::Empty), ("g".to_owned(), GroupState::Stable)];
    assert_eq!(list(&mut shard, &[], &[]), all);
    assert_eq!(list(&mut shard, &["stable"], &[]), all[1..]);
    assert_eq!(list(&mut shard, &["EMPTY ", "Dead"], &["Classic"]), all[..1]);
    assert_eq!(list(&mut shard, &["no such state"], &[]), []);
    assert_eq!(list(&mut shard, &[], &["consumer", "share"]), []);
    let listed = shard.ask(Command::List(ListGroups::default())).list().unwrap();
    let types: Vec<_> = listed.iter().map(|group| &*group.protocol_type).collect();
    assert_eq!(types, ["", "consumer"]);
}

#[test]
fn s76_only_an_empty_group_is_deleted() {
    let mut shard = Shard::new();
    assert_eq!(delete(&mut shard, "g"), ErrorCode::GroupIdNotFound);
    let (ids, generation) = shard.stable(1);
    shard.commit_one(commit(&ids[0], generation, 0, 1));
    assert_eq!(delete(&mut shard, "g"), ErrorCode::NonEmptyGroup);
    shard.leave(&[(&ids[0], None)]);
    let before = shard.log.len();
    assert_eq!(delete(&mut shard, "g"), ErrorCode::None);
    assert_eq!(shard.log.len() - before, 2, "a tombstone for the offset and one for the group");
    assert!(shard.log[before..].iter().all(|record| record.value.is_none()));
    assert_eq!(delete(&mut shard, "g"), ErrorCode::GroupIdNotFound);
    assert!(shard.offsets("g").is_empty());
    shard.restart();
    assert_eq!(shard.state(), GroupState::Dead);
}

#[test]
fn s76_a_group_of_ids_alone_can_be_deleted() {
    let mut shard = Shard::new();
    let id = shard.new_id();
    assert_eq!(delete(&mut shard, "g"), ErrorCode::None);
    assert_eq!(shard.ask_join(join(&id)).error, ErrorCode::UnknownMemberId);
    assert!(shard.log.is_empty());
    shard.advance(i64::from(SESSION_MS));
}

#[test]
fn s76_offsets_of_topics_that_are_read_are_not_deleted() {
    let mut shard = Shard::new();
    let (ids, generation) = shard.stable(1);
    let topics = vec![commit_topic("t", &[(0, 1)]), commit_topic("u", &[(0, 2), (1, 3)])];
    shard.commit(CommitOffsets { topics, ..commit(&ids[0], generation, 0, 0) });
    let reply = delete_offsets(&mut shard, "g", &[("t", &[0]), ("u", &[0, 7]), ("nope", &[0])]);
    assert_eq!(reply.error, ErrorCode::None);
    let told: Vec<_> = reply
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|(partition, error)| (&*topic.name, *partition, *error))
        })
        .collect();
    use ErrorCode::{GroupSubscribedToTopic, None as Fine, UnknownTopicOrPartition as Unknown};
    assert_eq!(
        told,
        [("u", 7, Unknown), ("u", 0, Fine), ("nope", 0, Unknown), ("t", 0, GroupSubscribedToTopic)]
    );
    assert_eq!(shard.offsets("g"), [("t".to_owned(), 0, 1), ("u".to_owned(), 1, 3)]);

    shard.leave(&[(&ids[0], None)]);
    assert_eq!(delete_offsets(&mut shard, "g", &[("t", &[0])]).topics[0].partitions, [(0, Fine)]);
    assert_eq!(shard.offsets("g"), [("u".to_owned(), 1, 3)]);
}

#[test]
fn s76_topics_without_partitions_are_told_only_when_they_are_unknown() {
    let mut shard = Shard::new();
    shard.commit_one(commit("", -1, 0, 1));
    let reply = delete_offsets(&mut shard, "g", &[("t", &[]), ("nope", &[])]);
    let expected = DeletedOffsets { name: "nope".into(), partitions: Vec::new() };
    assert_eq!((reply.error, reply.topics), (ErrorCode::None, vec![expected]));
}

#[test]
fn s76_offsets_of_a_living_group_that_is_none_of_consumers_are_not_deleted() {
    let mut shard = Shard::new();
    assert_eq!(delete_offsets(&mut shard, "", &[]).error, ErrorCode::InvalidGroupId);
    assert_eq!(delete_offsets(&mut shard, "g", &[("t", &[0])]).error, ErrorCode::GroupIdNotFound);
    let id = shard.new_id();
    shard.ask_join(JoinGroup { protocol_type: "connect".into(), ..join(&id) });
    let reply = delete_offsets(&mut shard, "g", &[("t", &[0])]);
    assert_eq!((reply.error, reply.topics.len()), (ErrorCode::NonEmptyGroup, 0));
}

#[test]
fn s76_a_subscription_that_cannot_be_read_protects_every_topic() {
    let mut shard = Shard::new();
    let id = shard.new_id();
    let reply = shard.ask_join(JoinGroup { protocols: vec![protocol("range", b"?")], ..join(&id) });
    shard.sync(sync(&id, reply.generation, &[]));
    shard.commit_one(commit(&id, reply.generation, 0, 1));
    let reply = delete_offsets(&mut shard, "g", &[("t", &[0])]);
    assert_eq!(reply.topics[0].partitions, [(0, ErrorCode::GroupSubscribedToTopic)]);
}
