//! DeleteGroups and OffsetDelete: what an administrator removes (S76).

use std::sync::Arc;

use super::Groups;
use super::answers::Refusals;
use super::command::DeleteOffsets;
use super::effect::Effect;
use super::hard::{Hard, Record};
use super::reply::{CommittedTopic, DeleteOffsetsReply, DeletedOffsets, GroupState, Reply};
use super::soft::Soft;
use super::view::View;
use super::world::World;
use crate::coord::{Context, Decision, Ticket};
use crate::types::{ErrorCode, TopicId};

/// Decides on the deletion of one group with all its offsets.
pub(super) fn delete_group(hard: &Hard, soft: &mut Soft, ticket: Ticket, id: &Arc<str>) -> Decision<Groups> {
    let answer = |error| Decision::reply(ticket, Reply::DeleteGroup(error));
    match View::of(hard, soft, id).map(View::state) {
        None => return answer(ErrorCode::GroupIdNotFound),
        Some(GroupState::Empty) => {}
        Some(_) => return answer(ErrorCode::NonEmptyGroup),
    }
    soft.drop_empty(id);
    let mut out = answer(ErrorCode::None);
    bury(hard, id, "it was deleted", &mut out);
    out
}

/// Decides on tombstones for a group and all its offsets, those first: none outlives the group.
pub(super) fn bury(hard: &Hard, id: &Arc<str>, reason: &'static str, out: &mut Decision<Groups>) {
    let Some(stored) = hard.group(id) else { return };
    for topic in stored.topics() {
        let partitions = stored.partitions(topic).into_iter();
        out.records.extend(partitions.map(|partition| offset_tombstone(id, topic, partition)));
    }
    out.records.push(Record::Group { group: Arc::clone(id), value: None });
    out.effects.push(Effect::GroupRemoved { group: Arc::clone(id), reason });
}

/// The record that removes an offset.
pub(super) fn offset_tombstone(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
    Record::Offset { group: Arc::clone(group), topic: Arc::clone(topic), partition, value: None }
}

/// Decides on an OffsetDelete request.
pub(super) fn delete_offsets(
    hard: &Hard,
    soft: &Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &DeleteOffsets,
) -> Decision<Groups> {
    let group = match deletable(hard, soft, &request.group) {
        Ok(group) => group,
        Err(error) => {
            let reply = DeleteOffsetsReply { error, topics: Vec::new() };
            return Decision::reply(ticket, Reply::DeleteOffsets(reply));
        }
    };
    let mut refused = Refusals::default();
    let mut answers = Vec::new();
    let mut out = Decision::default();
    for (name, partitions) in &request.topics {
        let Some(topic) = context.world.image.topic(name) else {
            refused.refuse(name, TopicId::ZERO, partitions.clone(), ErrorCode::UnknownTopicOrPartition);
            continue;
        };
        let (existing, missing): (Vec<i32>, Vec<i32>) =
            partitions.iter().partition(|partition| (0..topic.partitions).contains(*partition));
        if !missing.is_empty() {
            refused.refuse(name, TopicId::ZERO, missing, ErrorCode::UnknownTopicOrPartition);
        }
        if existing.is_empty() {
            continue;
        }
        let error = if group.subscribes_to(name) {
            ErrorCode::GroupSubscribedToTopic
        } else {
            let stored = hard.group(&request.group);
            let stored = existing.iter().filter(|at| stored.is_some_and(|group| group.has(name, **at)));
            out.records.extend(stored.map(|at| offset_tombstone(&request.group, name, *at)));
            ErrorCode::None
        };
        let partitions = existing.into_iter().map(|partition| (partition, error)).collect();
        answers.push(CommittedTopic { name: Arc::clone(name), id: TopicId::ZERO, partitions });
    }
    let topics = refused.and(answers).into_iter();
    let topics =
        topics.map(|topic| DeletedOffsets { name: topic.name, partitions: topic.partitions }).collect();
    let reply = DeleteOffsetsReply { error: ErrorCode::None, topics };
    out.replies.push((ticket, Reply::DeleteOffsets(reply)));
    out
}

/// The group, if offsets of it may be deleted: while it has members we must be able to tell what they read.
fn deletable<'a>(hard: &'a Hard, soft: &'a Soft, id: &str) -> Result<View<'a>, ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let view = View::of(hard, soft, id).ok_or(ErrorCode::GroupIdNotFound)?;
    if view.state() == GroupState::Empty || view.is_consumer() {
        Ok(view)
    } else {
        Err(ErrorCode::NonEmptyGroup)
    }
}
