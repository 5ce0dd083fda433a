//! TxnOffsetCommit (key 28), versions 0 to 5: offsets that are committed if the producer's transaction is (S60).
//!
//! v2 the leader epoch; v3 the flexible form, and the member of the group (KIP-447); v4 may answer that the transaction
//! must be aborted; v5 adds the group's partition of `__consumer_offsets` to the transaction by itself, where versions
//! before it need AddOffsetsToTxn first (KIP-890). Answered when the offsets are as durable as transactions are.

use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TopicName, TxnOffsetCommitResponse};

use super::{shared, text};
use crate::api::group::{ask, shared_if_any};
use crate::api::{Api, Call, Started, waits};
use crate::broker::{Broker, JoinTransaction, partition_of};
use crate::catalog::{CatalogImage, TopicImage};
use crate::groups::{
    Command, CommitPartition, CommitTopic, CommittedTopic, TopicKey, TxnCommitReply, TxnOffsetCommit,
};
use crate::types::ErrorCode;
use crate::types::offset::NO_EPOCH;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 28, name: "TxnOffsetCommit", min: 0, max: 5, flexible_from: 3 };

/// The first version whose clients know COORDINATOR_LOAD_IN_PROGRESS; those before could crash on it (KAFKA-7296).
const LOAD_IN_PROGRESS: i16 = 2;
/// The first version that may answer TRANSACTION_ABORTABLE.
const ABORTABLE: i16 = 4;
/// The first version that joins the transaction by itself.
const JOINS: i16 = 5;

/// A TxnOffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The producer's transactional id.
    pub transactional_id: StrBytes,
    /// The group.
    pub group_id: StrBytes,
    /// Whose transaction it is.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The member's generation, or its epoch in a KIP-848 group; -1 without a member (v3).
    pub generation_id_or_member_epoch: i32,
    /// The member; empty without one (v3).
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
    /// What to commit.
    pub topics: Vec<Topic>,
}

/// One topic of a TxnOffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition of a TxnOffsetCommit request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The offset to continue at.
    pub committed_offset: i64,
    /// The leader epoch of the last record read, -1 for none (v2).
    pub committed_leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub committed_metadata: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            transactional_id: r.string()?,
            group_id: r.string()?,
            producer_id: r.i64()?,
            producer_epoch: r.i16()?,
            generation_id_or_member_epoch: if version >= 3 { r.i32()? } else { -1 },
            member_id: if version >= 3 { r.string()? } else { StrBytes::new() },
            group_instance_id: if version >= 3 { r.nullable_string()? } else { None },
            topics: r.array(|r| Topic::decode(r, version))?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(|r| Partition::decode(r, version))? };
        r.end()?;
        Ok(topic)
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let partition = Self {
            index: r.i32()?,
            committed_offset: r.i64()?,
            committed_leader_epoch: if version >= 2 { r.i32()? } else { NO_EPOCH },
            committed_metadata: r.nullable_string()?,
        };
        r.end()?;
        Ok(partition)
    }
}

/// Takes the offsets into the transaction.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let version = responder.version;
        // What is not written in time is to be sent again: in the same transaction that does no harm.
        let limit = api.broker.config().offsets.commit_timeout;
        let committed = tokio::time::timeout(limit, commit(&api, &request, version)).await;
        let topics = match committed.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable)) {
            Ok(topics) => topics.into_iter().map(|topic| outcome(topic, version)).collect(),
            Err(error) => {
                let (image, error) = (api.broker.image(), told(error, version));
                request.topics.into_iter().map(|topic| topic.refused(&image, error)).collect()
            }
        };
        responder.reply(&TxnOffsetCommitResponse::default().with_topics(topics))
    }))
}

/// Commits, and asks the transaction's coordinator in between when the group's shard wants its word. If the word is void
/// when it comes, because a marker or a reload came first, it is asked for again.
async fn commit(api: &Api, request: &Request, version: i16) -> Result<Vec<CommittedTopic>, ErrorCode> {
    let mut command = request.to_command();
    loop {
        let reply = ask(api, &request.group_id, Command::TxnOffsetCommit(command.clone())).await;
        match reply.txn_offset_commit()? {
            TxnCommitReply::Done(reply) => return Ok(reply.topics),
            TxnCommitReply::Unverified(guard) => {
                join(&api.broker, request, version).await?;
                command.guard = Some(guard);
            }
        }
    }
}

/// Asks the coordinator whether the group's partition is part of the transaction, or to make it so.
async fn join(broker: &Arc<Broker>, request: &Request, version: i16) -> Result<(), ErrorCode> {
    let offsets = broker.consumer_offsets().await?;
    let partition = partition_of(&request.group_id, offsets.partitions);
    let join = JoinTransaction {
        transactional_id: shared(&request.transactional_id),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        partitions: vec![(Arc::clone(&offsets.name), partition)],
        add: version >= JOINS,
    };
    let joined = broker.join_transaction(join).await;
    let joined = joined.into_iter().next().unwrap_or(Err(ErrorCode::UnknownServerError));
    match joined {
        // A zombie is told that it is one, though its transactional id may be gone or at another producer id.
        Err(_) if is_fenced(broker, request, &offsets, partition).await => {
            Err(ErrorCode::InvalidProducerEpoch)
        }
        joined => joined,
    }
}

/// Whether the partition of the group's offsets has seen a later epoch of the producer.
async fn is_fenced(
    broker: &Arc<Broker>,
    request: &Request,
    offsets: &Arc<TopicImage>,
    partition: i32,
) -> bool {
    let partition = broker.partition(offsets, partition).await;
    partition.is_ok_and(|partition| partition.is_fenced(request.producer_id, request.producer_epoch))
}

impl Request {
    fn to_command(&self) -> TxnOffsetCommit {
        let partition = |p: &Partition| CommitPartition {
            partition: p.index,
            offset: p.committed_offset,
            leader_epoch: p.committed_leader_epoch,
            metadata: shared_if_any(p.committed_metadata.as_ref()),
        };
        let topic = |topic: &Topic| CommitTopic {
            topic: TopicKey::Name(shared(&topic.name)),
            partitions: topic.partitions.iter().map(partition).collect(),
        };
        TxnOffsetCommit {
            group: shared(&self.group_id),
            member_id: shared(&self.member_id),
            instance_id: shared_if_any(self.group_instance_id.as_ref()),
            generation: self.generation_id_or_member_epoch,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            guard: None,
            topics: self.topics.iter().map(topic).collect(),
        }
    }
}

impl Topic {
    /// The refusal of all that exists; what does not is told so, whatever becomes of the rest.
    fn refused(self, image: &CatalogImage, error: ErrorCode) -> TxnOffsetCommitResponseTopic {
        let count = image.topic(&self.name).map_or(0, |topic| topic.partitions);
        let partitions = self.partitions.iter().map(|partition| {
            let exists = (0..count).contains(&partition.index);
            answer(partition.index, if exists { error } else { ErrorCode::UnknownTopicOrPartition })
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(TopicName(self.name)).with_partitions(partitions)
    }
}

fn outcome(topic: CommittedTopic, version: i16) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.into_iter();
    let partitions = partitions.map(|(index, error)| answer(index, told(error, version))).collect();
    TxnOffsetCommitResponseTopic::default()
        .with_name(TopicName(text(&topic.name)))
        .with_partitions(partitions)
}

fn answer(index: i32, error: ErrorCode) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(error.code())
}

/// An error as the version can tell it.
fn told(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::GroupIdNotFound => ErrorCode::IllegalGeneration,
        ErrorCode::TransactionAbortable if version < ABORTABLE => ErrorCode::InvalidTxnState,
        ErrorCode::CoordinatorLoadInProgress if version < LOAD_IN_PROGRESS => {
            ErrorCode::CoordinatorNotAvailable
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s60_old_clients_are_told_what_they_understand() {
        use ErrorCode::{CoordinatorLoadInProgress as Loading, CoordinatorNotAvailable, GroupIdNotFound};
        assert_eq!(told(Loading, 1), CoordinatorNotAvailable);
        assert_eq!(told(Loading, 2), Loading);
        assert_eq!(told(GroupIdNotFound, 5), ErrorCode::IllegalGeneration);
        assert_eq!(told(ErrorCode::TransactionAbortable, 3), ErrorCode::InvalidTxnState);
        assert_eq!(told(ErrorCode::TransactionAbortable, 4), ErrorCode::TransactionAbortable);
    }
}
