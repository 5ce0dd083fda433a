//! OffsetCommit (key 8), versions 2 to 10: remembers how far a group has read.
//!
//! v3 the throttle time; v5 drops the retention time; v6 the leader epoch; v7 static members; v8 the flexible form; v9
//! members of KIP-848 groups; v10 topic ids in place of names. Who may commit is S73; an answer comes when the offsets
//! are in the log.

use std::sync::Arc;
use std::time::Duration;

use super::{ask, shared, shared_if_any, text, topic_key};
use crate::api::{Call, Started, waits};
use crate::groups::{Command, CommitOffsets, CommitPartition, CommitTopic, CommittedTopic, Reply};
use crate::types::offset::NO_EPOCH;
use crate::types::{ErrorCode, TopicId};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes, Writer};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 8, name: "OffsetCommit", min: 2, max: 10, flexible_from: 8 };

/// From this version on topics go by their ids.
const TOPIC_IDS: i16 = 10;

/// An OffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// The member's generation, or its epoch in a KIP-848 group; -1 from outside the group.
    pub generation_id_or_member_epoch: i32,
    /// The member; empty from outside the group.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v7).
    pub group_instance_id: Option<StrBytes>,
    /// How long to keep the offsets, -1 for the broker's setting (up to v4).
    pub retention_time_ms: i64,
    /// What to remember.
    pub topics: Vec<Topic>,
}

/// One topic of an OffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; empty from v10.
    pub name: StrBytes,
    /// Its id; zero before v10.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition of an OffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The offset to continue at.
    pub committed_offset: i64,
    /// The leader epoch of the last record read, -1 for none.
    pub committed_leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub committed_metadata: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            group_id: r.string()?,
            generation_id_or_member_epoch: r.i32()?,
            member_id: r.string()?,
            group_instance_id: if version >= 7 { r.nullable_string()? } else { None },
            retention_time_ms: if version <= 4 { r.i64()? } else { -1 },
            topics: r.array(|r| Topic::decode(r, version))?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let (name, id) = r.name_or_id(version >= TOPIC_IDS)?;
        let topic = Self { name, id, partitions: r.array(|r| Partition::decode(r, version))? };
        r.end()?;
        Ok(topic)
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let partition = Self {
            index: r.i32()?,
            committed_offset: r.i64()?,
            committed_leader_epoch: if version >= 6 { r.i32()? } else { NO_EPOCH },
            committed_metadata: r.nullable_string()?,
        };
        r.end()?;
        Ok(partition)
    }
}

/// An OffsetCommit response, written by hand as the request is read: the protocol crate has v10 only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// How long the client is held back by quotas.
    pub throttle_time_ms: i32,
    /// The outcomes, by topic.
    pub topics: Vec<TopicOutcome>,
}

/// One topic of an OffsetCommit response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOutcome {
    /// Its name, written up to v9.
    pub name: StrBytes,
    /// Its id, written from v10.
    pub id: TopicId,
    /// Index and outcome of each partition.
    pub partitions: Vec<(i32, ErrorCode)>,
}

impl Response {
    /// Writes the body of a response of `version`.
    pub fn write(&self, w: &mut Writer<'_>, version: i16) {
        if version >= 3 {
            w.i32(self.throttle_time_ms);
        }
        w.array(self.topics.len());
        for topic in &self.topics {
            w.name_or_id(version >= TOPIC_IDS, &topic.name, topic.id);
            w.array(topic.partitions.len());
            for (index, error) in &topic.partitions {
                w.i32(*index);
                w.i16(error.code());
                w.end();
            }
            w.end();
        }
        w.end();
    }
}

/// The first version whose clients know GROUP_ID_NOT_FOUND; those before get ILLEGAL_GENERATION (S73).
const GROUP_ID_NOT_FOUND: i16 = 9;

/// Commits the offsets.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let version = responder.version;
        let command = Command::Commit(request.to_command(version));
        let limit = api.broker.config().offsets.commit_timeout;
        let topics = match within(limit, ask(&api, &request.group_id, command)).await.commit() {
            Ok(reply) => reply.topics.into_iter().map(|topic| outcome(topic, version)).collect(),
            Err(error) => request.topics.into_iter().map(|topic| topic.refused(error)).collect(),
        };
        let response = Response { throttle_time_ms: 0, topics };
        responder.reply_with(128, |w| response.write(w, version))
    }))
}

/// What the group answers, or COORDINATOR_NOT_AVAILABLE when that takes longer than `limit`, as in Kafka
/// (`offsets.commit.timeout.ms`). The commit may come to pass nevertheless; to commit again does no harm.
async fn within(limit: Duration, answer: impl Future<Output = Reply>) -> Reply {
    let late = Reply::Refused(ErrorCode::CoordinatorNotAvailable);
    tokio::time::timeout(limit, answer).await.unwrap_or(late)
}

impl Request {
    fn to_command(&self, version: i16) -> CommitOffsets {
        let partition = |p: &Partition| CommitPartition {
            partition: p.index,
            offset: p.committed_offset,
            leader_epoch: p.committed_leader_epoch,
            metadata: shared_if_any(p.committed_metadata.as_ref()),
        };
        let topic = |topic: &Topic| CommitTopic {
            topic: topic_key(version >= TOPIC_IDS, &topic.name, topic.id),
            partitions: topic.partitions.iter().map(partition).collect(),
        };
        CommitOffsets {
            group: shared(&self.group_id),
            member_id: shared(&self.member_id),
            instance_id: shared_if_any(self.group_instance_id.as_ref()),
            generation: self.generation_id_or_member_epoch,
            retention_ms: Some(self.retention_time_ms).filter(|ms| *ms >= 0),
            topics: self.topics.iter().map(topic).collect(),
        }
    }
}

impl Topic {
    fn refused(self, error: ErrorCode) -> TopicOutcome {
        let partitions = self.partitions.iter().map(|partition| (partition.index, error)).collect();
        TopicOutcome { name: self.name, id: self.id, partitions }
    }
}

fn outcome(topic: CommittedTopic, version: i16) -> TopicOutcome {
    let known = |error| match error {
        ErrorCode::GroupIdNotFound if version < GROUP_ID_NOT_FOUND => ErrorCode::IllegalGeneration,
        error => error,
    };
    TopicOutcome {
        name: text(&topic.name),
        id: topic.id,
        partitions: topic.partitions.into_iter().map(|(index, error)| (index, known(error))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_is_not_written_in_time_is_to_be_sent_again() {
        let limit = Duration::from_secs(5);
        let began = tokio::time::Instant::now();
        let late = within(limit, std::future::pending()).await;
        assert_eq!(late.commit().unwrap_err(), ErrorCode::CoordinatorNotAvailable);
        assert_eq!(began.elapsed(), limit);
        let answer = async {
            tokio::time::sleep(limit / 2).await;
            Reply::Refused(ErrorCode::UnknownMemberId)
        };
        assert_eq!(within(limit, answer).await.commit().unwrap_err(), ErrorCode::UnknownMemberId);
    }
}
