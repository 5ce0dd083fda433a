//! OffsetForLeaderEpoch (key 23), versions 2 to 4: where a leader epoch ended in the log.
//!
//! v2 the leader epoch that the client knows; v3 the replica id; v4 the flexible form. The answer is the largest epoch
//! that is not above the one asked for, with its end; an epoch that is not known gives -1 and -1 without error (S87).

use std::sync::Arc;

use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochResponse, TopicName};

use crate::api::{Api, Call, Started, errors, waits_while_open};
use crate::catalog::TopicImage;
use crate::types::ErrorCode;
use crate::types::offset::{NO_EPOCH, NO_OFFSET};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 23, name: "OffsetForLeaderEpoch", min: 2, max: 4, flexible_from: 4 };

/// An OffsetForLeaderEpoch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The broker that asks, -1 for a consumer, -2 for a client that may see past the high watermark (before v3 always).
    pub replica_id: i32,
    /// What to look up.
    pub topics: Vec<Topic>,
}

/// One topic of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The leader epoch that the client knows, -1 for none (S27).
    pub current_leader_epoch: i32,
    /// The epoch whose end is asked for.
    pub leader_epoch: i32,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request =
            Self { replica_id: if version >= 3 { r.i32()? } else { -2 }, topics: r.array(Topic::decode)? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(Partition::decode)? };
        r.end()?;
        Ok(topic)
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let partition = Self { index: r.i32()?, current_leader_epoch: r.i32()?, leader_epoch: r.i32()? };
        r.end()?;
        Ok(partition)
    }
}

/// Looks the ends of epochs up.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits_while_open(async move {
        let image = api.broker.image();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let found = image.topic(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let (error, (epoch, end)) = match look_up(&api, found, wanted).await {
                    Ok(end) => (ErrorCode::None, end),
                    Err(error) => (error, (NO_EPOCH, NO_OFFSET)),
                };
                partitions.push(
                    EpochEndOffset::default()
                        .with_error_code(error.code())
                        .with_partition(wanted.index)
                        .with_leader_epoch(epoch)
                        .with_end_offset(end),
                );
            }
            let name = TopicName(topic.name);
            topics.push(OffsetForLeaderTopicResult::default().with_topic(name).with_partitions(partitions));
        }
        responder.reply(&OffsetForLeaderEpochResponse::default().with_topics(topics))
    }))
}

async fn look_up(
    api: &Arc<Api>,
    topic: Option<&Arc<TopicImage>>,
    wanted: &Partition,
) -> Result<(i32, i64), ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = api.broker.partition(topic, wanted.index).await;
    let partition = partition.map_err(|fault| errors::open_fault(&fault))?;
    partition.check_epoch(wanted.current_leader_epoch)?;
    Ok(partition.end_of_epoch(wanted.leader_epoch))
}
