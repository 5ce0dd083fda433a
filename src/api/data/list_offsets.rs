//! ListOffsets (key 2), versions 1 to 11: the offset that belongs to a timestamp, or to an end of the log.
//!
//! v2 the isolation level; v4 the leader epoch that the client knows; v6 the flexible form; v7 the special timestamp
//! -3, v8 -4, v9 -5, v11 -6; v10 a timeout for lookups in remote storage. A special below its version is refused with
//! 35, a partition named twice with 42 (S85); lookups by time are exact to the record (S86).

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::api::{Api, Call, Started, errors, waits_while_open};
use crate::catalog::TopicImage;
use crate::partition::{Isolation, OffsetAt};
use crate::storage::log::ReadError;
use crate::types::offset::NO_EPOCH;
use crate::types::{ErrorCode, Timestamp};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes, Writer};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 2, name: "ListOffsets", min: 1, max: 11, flexible_from: 6 };

/// A ListOffsets request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The broker that asks, or -1 for a client, -2 for a client that may see past the high watermark.
    pub replica_id: i32,
    /// 0 read_uncommitted, 1 read_committed.
    pub isolation_level: i8,
    /// What to look up.
    pub topics: Vec<Topic>,
    /// How long lookups in remote storage may take (v10).
    pub timeout_ms: i32,
}

/// One topic of a ListOffsets request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition of a ListOffsets request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The leader epoch that the client knows, -1 for none (S27).
    pub current_leader_epoch: i32,
    /// The time looked for, or one of the specials below zero.
    pub timestamp: Timestamp,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            replica_id: r.i32()?,
            isolation_level: if version >= 2 { r.i8()? } else { 0 },
            topics: r.array(|r| Topic::decode(r, version))?,
            timeout_ms: if version >= 10 { r.i32()? } else { 0 },
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
            current_leader_epoch: if version >= 4 { r.i32()? } else { NO_EPOCH },
            timestamp: r.i64()?,
        };
        r.end()?;
        Ok(partition)
    }
}

/// A ListOffsets response, written by hand: the protocol crate ends at v10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// How long the client is held back by quotas.
    pub throttle_time_ms: i32,
    /// The answers, by topic.
    pub topics: Vec<TopicOffsets>,
}

/// One topic of a ListOffsets response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOffsets {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions.
    pub partitions: Vec<PartitionOffset>,
}

/// One partition of a ListOffsets response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffset {
    /// Its index.
    pub index: i32,
    /// Its error.
    pub error: ErrorCode,
    /// The timestamp of the record found; -1 for none.
    pub timestamp: Timestamp,
    /// The offset found; -1 for none.
    pub offset: i64,
    /// The leader epoch of the record found; -1 for none.
    pub leader_epoch: i32,
}

impl Response {
    /// Writes the body of a response of `version`.
    pub fn write(&self, w: &mut Writer<'_>, version: i16) {
        if version >= 2 {
            w.i32(self.throttle_time_ms);
        }
        w.array(self.topics.len());
        for topic in &self.topics {
            w.string(&topic.name);
            w.array(topic.partitions.len());
            for partition in &topic.partitions {
                w.i32(partition.index);
                w.i16(partition.error.code());
                w.i64(partition.timestamp);
                w.i64(partition.offset);
                if version >= 4 {
                    w.i32(partition.leader_epoch);
                }
                w.end();
            }
            w.end();
        }
        w.end();
    }
}

/// The specials of the timestamp field, each with the version that brought it.
mod special {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const MAX_TIMESTAMP: i64 = -3;
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    pub(super) const LATEST_TIERED: i64 = -5;
    pub(super) const EARLIEST_PENDING_UPLOAD: i64 = -6;

    /// The first version that may ask for this special.
    pub(super) const fn since(timestamp: i64) -> i16 {
        match timestamp {
            MAX_TIMESTAMP => 7,
            EARLIEST_LOCAL => 8,
            LATEST_TIERED => 9,
            EARLIEST_PENDING_UPLOAD => 11,
            i64::MIN..EARLIEST_PENDING_UPLOAD => i16::MAX,
            _ => 0,
        }
    }
}

/// Lookups by time at once, of all connections: each takes a thread that others need, too, and what a decompressor
/// takes, which is up to 128 MiB for zstd.
const SEARCHES_MAX: usize = 8;
static SEARCHES: Semaphore = Semaphore::const_new(SEARCHES_MAX);

/// Looks the offsets up.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits_while_open(async move {
        let response = look_up(&api, &request, responder.version).await;
        let partitions: usize = response.topics.iter().map(|topic| topic.partitions.len()).sum();
        responder.reply_with(64 + 32 * partitions, |w| response.write(w, responder.version))
    }))
}

async fn look_up(api: &Arc<Api>, request: &Request, version: i16) -> Response {
    let image = api.broker.image();
    let isolation = match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let mut seen = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *seen.entry((&*topic.name, partition.index)).or_insert(0) += 1;
        }
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let times = seen.insert((&*topic.name, wanted.index), 0);
            let result = if times == Some(0) {
                // The answer for its first mention stands for all.
                continue;
            } else if times != Some(1) {
                Err(ErrorCode::InvalidRequest)
            } else if version < special::since(wanted.timestamp) {
                Err(ErrorCode::UnsupportedVersion)
            } else {
                look_up_one(api, image.topic(&topic.name), wanted, isolation).await
            };
            partitions.push(answer(wanted.index, result));
        }
        topics.push(TopicOffsets { name: topic.name.clone(), partitions });
    }
    Response { throttle_time_ms: 0, topics }
}

async fn look_up_one(
    api: &Arc<Api>,
    topic: Option<&Arc<TopicImage>>,
    wanted: &Partition,
    isolation: Isolation,
) -> Result<OffsetAt, ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = api.broker.partition(topic, wanted.index).await;
    let partition = partition.map_err(|fault| errors::open_fault(&fault))?;
    partition.check_epoch(wanted.current_leader_epoch)?;
    let timestamp = wanted.timestamp;
    match timestamp {
        special::LATEST => Ok(partition.latest(isolation)),
        special::EARLIEST | special::EARLIEST_LOCAL => Ok(partition.earliest()),
        // Nothing is tiered, and nothing waits to be.
        special::LATEST_TIERED | special::EARLIEST_PENDING_UPLOAD => Ok(OffsetAt::NONE),
        _ => {
            let place = SEARCHES.acquire().await;
            let search = move || {
                // Held to the end of the search, which goes on when nobody waits for it any more.
                let _place = place;
                match timestamp {
                    special::MAX_TIMESTAMP => partition.max_timestamp(isolation),
                    time => partition.offset_for_time(time, isolation),
                }
            };
            match tokio::task::spawn_blocking(search).await {
                Ok(found) => found.map_err(|error| {
                    if !matches!(error, ReadError::Gone) {
                        tracing::error!(topic = %topic.name, partition = wanted.index, %error, "offset lookup failed");
                    }
                    errors::read_fault(&error)
                }),
                Err(_stopping) => Err(ErrorCode::KafkaStorageError),
            }
        }
    }
}

fn answer(index: i32, result: Result<OffsetAt, ErrorCode>) -> PartitionOffset {
    let (error, at) = match result {
        Ok(at) => (ErrorCode::None, at),
        Err(error) => (error, OffsetAt::NONE),
    };
    PartitionOffset {
        index,
        error,
        timestamp: at.timestamp,
        offset: at.offset,
        leader_epoch: at.leader_epoch,
    }
}
