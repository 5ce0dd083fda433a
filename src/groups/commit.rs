//! OffsetCommit: whose commits are taken, and which offsets (S73).

use std::sync::Arc;

use super::Groups;
use super::answers::Refusals;
use super::classic::ClassicGroup;
use super::command::{CommitOffsets, CommitPartition, CommitTopic, TopicKey};
use super::hard::{CommittedOffset, Hard, Record};
use super::reply::{CommitReply, CommittedTopic, GroupState, Reply};
use super::soft::{Soft, Turn};
use super::world::World;
use crate::catalog::{CatalogImage, TopicImage};
use crate::coord::{Context, Decision, Ticket};
use crate::types::{ErrorCode, Timestamp, TopicId};

/// Decides on an OffsetCommit request.
///
/// As in Kafka, topics and partitions are looked at first: when none of them exists, nothing is asked of the group, and
/// an error of the group is told of those alone that do.
pub(super) fn commit(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    mut request: CommitOffsets,
) -> Decision<Groups> {
    let mut refused = Refusals::default();
    let topics = std::mem::take(&mut request.topics);
    let known: Vec<_> =
        topics.into_iter().filter_map(|topic| sort_out(&context.world.image, topic, &mut refused)).collect();
    let (verdict, mut out) =
        if known.is_empty() { (Ok(()), Decision::default()) } else { admit(hard, soft, context, &request) };
    let terms = Terms::of(context, request.retention_ms);
    let mut answers = Vec::with_capacity(known.len());
    for (topic, offsets) in known {
        answers.push(match verdict {
            Ok(()) => terms.take(&topic, offsets, |partition, value| {
                out.records.push(Record::Offset {
                    group: Arc::clone(&request.group),
                    topic: Arc::clone(&topic.name),
                    partition,
                    value: Some(value),
                });
            }),
            Err(error) => told(&topic, offsets.iter().map(|offset| (offset.partition, error)).collect()),
        });
    }
    if !out.records.is_empty() {
        out.release = context.world.settings.commit_release;
    }
    out.replies.push((ticket, Reply::Commit(CommitReply { topics: refused.and(answers) })));
    out
}

/// A topic of the request with those of its partitions that exist; the others are refused.
pub(super) fn sort_out(
    image: &CatalogImage,
    asked: CommitTopic,
    refused: &mut Refusals,
) -> Option<(Arc<TopicImage>, Vec<CommitPartition>)> {
    let CommitTopic { topic, mut partitions } = asked;
    let topic = match find(image, &topic) {
        Ok(topic) => topic,
        Err(error) => {
            let (name, id) = identity(&topic);
            refused.refuse(&name, id, partitions.iter().map(|asked| asked.partition), error);
            return None;
        }
    };
    let exists = |asked: &CommitPartition| (0..topic.partitions).contains(&asked.partition);
    if !partitions.iter().all(exists) {
        let missing = partitions.iter().filter(|asked| !exists(asked)).map(|asked| asked.partition);
        refused.refuse(&topic.name, topic.id, missing, ErrorCode::UnknownTopicOrPartition);
        partitions.retain(exists);
    }
    (!partitions.is_empty()).then(|| (Arc::clone(topic), partitions))
}

/// The topic that a request means, or what to say when there is none.
pub(super) fn find<'a>(image: &'a CatalogImage, topic: &TopicKey) -> Result<&'a Arc<TopicImage>, ErrorCode> {
    match topic {
        TopicKey::Name(name) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
        TopicKey::Id(id) => image.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId),
    }
}

/// What an answer about a topic that is not known calls it.
pub(super) fn identity(topic: &TopicKey) -> (Arc<str>, TopicId) {
    match topic {
        TopicKey::Name(name) => (Arc::clone(name), TopicId::ZERO),
        TopicKey::Id(id) => (Arc::default(), *id),
    }
}

/// Whether the group takes the commit. One of a member renews its session (S70).
fn admit(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    request: &CommitOffsets,
) -> (Result<(), ErrorCode>, Decision<Groups>) {
    let mut verdict = Ok(());
    let live = soft.with_live(context, &request.group, |group, turn| {
        verdict = group.admit_commit(turn, request);
    });
    match live {
        Some(out) => (verdict, out),
        None => (admit_to_empty(hard, &request.group, request.generation), Decision::default()),
    }
}

/// A group that is empty, or that does not exist, takes the offsets of consumers that manage their partitions
/// themselves and of administrators.
pub(super) fn admit_to_empty(hard: &Hard, group: &str, generation: i32) -> Result<(), ErrorCode> {
    if generation < 0 {
        Ok(())
    } else if hard.group(group).is_some() {
        Err(ErrorCode::UnknownMemberId)
    } else {
        Err(ErrorCode::GroupIdNotFound)
    }
}

impl ClassicGroup {
    fn admit_commit(&mut self, turn: &mut Turn<'_>, request: &CommitOffsets) -> Result<(), ErrorCode> {
        self.check_commit(&request.member_id, request.instance_id.as_deref(), request.generation)?;
        if matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            self.renew_session(&request.member_id, turn);
        }
        Ok(())
    }
}

/// What all offsets of one request have in common.
pub(super) struct Terms {
    wall: Timestamp,
    expires_at: Option<Timestamp>,
    metadata_max: usize,
}

impl Terms {
    /// The terms of a request, which may say for how many milliseconds its offsets are to be kept.
    pub(super) fn of(context: &Context<'_, World>, retention_ms: Option<i64>) -> Self {
        Self {
            wall: context.wall,
            expires_at: retention_ms.map(|ms| context.wall.saturating_add(ms)),
            metadata_max: usize::try_from(context.world.settings.offset_metadata_max).unwrap_or(0),
        }
    }

    /// Hands the offsets of one topic on, each with its partition, but those with too long a note.
    pub(super) fn take(
        &self,
        topic: &TopicImage,
        offsets: Vec<CommitPartition>,
        mut hand_on: impl FnMut(i32, CommittedOffset),
    ) -> CommittedTopic {
        let mut answers = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let partition = offset.partition;
            let error = if self.is_too_long(offset.metadata.as_deref()) {
                ErrorCode::OffsetMetadataTooLarge
            } else {
                hand_on(partition, self.committed(topic, offset));
                ErrorCode::None
            };
            answers.push((partition, error));
        }
        told(topic, answers)
    }

    /// Kafka counts UTF-16 units, of which a text never has more than bytes.
    fn is_too_long(&self, metadata: Option<&str>) -> bool {
        let text = metadata.unwrap_or_default();
        text.len() > self.metadata_max && text.encode_utf16().count() > self.metadata_max
    }

    fn committed(&self, topic: &TopicImage, offset: CommitPartition) -> CommittedOffset {
        CommittedOffset {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.filter(|text| !text.is_empty()),
            committed_at: self.wall,
            expires_at: self.expires_at,
            topic_id: topic.id,
        }
    }
}

/// What became of the partitions of a topic.
pub(super) fn told(topic: &TopicImage, partitions: Vec<(i32, ErrorCode)>) -> CommittedTopic {
    CommittedTopic { name: Arc::clone(&topic.name), id: topic.id, partitions }
}
