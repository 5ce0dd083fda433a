//! The catalog's records: KRaft's schemas as `__cluster_metadata-0` carries them, and a few of our own under api keys
//! far above Kafka's.
//!
//! A record has no key. Its value is a frame, as Kafka's `MetadataRecordSerde` has it: frame version 1, api key and
//! version as unsigned varints, then the fields in flexible form. So `kafka-dump-log --cluster-metadata-decoder` reads
//! what we write, our own records apart. KRaft's transaction records (23 to 25) are never written: one decision is
//! one batch and so atomic by itself.

use std::sync::Arc;

use bytes::BytesMut;

use crate::coord::{CorruptRecord, LogRecord};
use crate::types::TopicId;
use crate::wire::{DecodeError, Reader, Writer};

const FRAME_VERSION: u32 = 1;

/// The api keys; ours begin at [`key::OURS`].
mod key {
    pub(super) const TOPIC: u32 = 2;
    pub(super) const PARTITION: u32 = 3;
    pub(super) const CONFIG: u32 = 4;
    pub(super) const REMOVE_TOPIC: u32 = 9;
    pub(super) const FEATURE_LEVEL: u32 = 12;
    pub(super) const PRODUCER_IDS: u32 = 15;
    pub(super) const NO_OP: u32 = 20;
    pub(super) const OURS: u32 = 10_000;
    pub(super) const START: u32 = OURS + 1;
    pub(super) const TOPIC_EPOCH_BASE: u32 = OURS + 2;
    pub(super) const PENDING_REMOVAL: u32 = OURS + 3;
    pub(super) const FILES_REMOVED: u32 = OURS + 4;
    pub(super) const CHANGES: u32 = OURS + 5;
}

/// ConfigRecord's resource type of topics.
const RESOURCE_TOPIC: i8 = 2;

/// One change of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// TopicRecord (api key 2): a topic exists.
    Topic {
        /// Its name.
        name: Arc<str>,
        /// Its id.
        id: TopicId,
    },
    /// PartitionRecord (3): a partition exists, with this broker as its only replica.
    Partition {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        partition: i32,
        /// Its replica and leader.
        node: i32,
    },
    /// ConfigRecord (4) for a topic: a setting of its own.
    TopicConfig {
        /// The topic's name.
        topic: Arc<str>,
        /// The setting.
        name: String,
        /// Its value; `None` takes it back.
        value: Option<String>,
    },
    /// RemoveTopicRecord (9): a topic is gone. Its files may not be.
    RemoveTopic {
        /// Its id.
        id: TopicId,
    },
    /// FeatureLevelRecord (12).
    FeatureLevel {
        /// The feature, as `metadata.version`.
        name: String,
        /// Its finalized level.
        level: i16,
    },
    /// ProducerIdsRecord (15): ids below `next` are given out.
    ProducerIds {
        /// The broker that got the last block.
        node: i32,
        /// The first id that nobody was given.
        next: i64,
    },
    /// Ours: the broker has started for the `epoch`-th time.
    Start {
        /// The number of this start, from 0.
        epoch: i32,
    },
    /// Ours: the start in which a topic was made, from which its leader epochs count.
    TopicEpochBase {
        /// The topic.
        topic: TopicId,
        /// The number of that start.
        base: i32,
    },
    /// Ours: a topic is gone and its files may not be; what a snapshot says instead of RemoveTopic.
    PendingRemoval {
        /// Its id.
        id: TopicId,
        /// The name it had.
        name: Arc<str>,
        /// The partitions it had.
        partitions: i32,
    },
    /// Ours: the files of a removed topic are gone.
    FilesRemoved {
        /// The topic.
        id: TopicId,
    },
    /// Ours, at the end of a snapshot: how many changes there were before it, for the image's version.
    Changes {
        /// The count.
        count: u64,
    },
}

impl Record {
    /// The record as it lies in the log.
    pub fn encode(&self) -> LogRecord {
        let mut out = BytesMut::with_capacity(96);
        let mut w = Writer::new(&mut out, true);
        w.uvarint(FRAME_VERSION);
        w.uvarint(self.api_key());
        // Every schema is written in its version 0.
        w.uvarint(0);
        self.write_fields(&mut w);
        w.end();
        LogRecord { key: None, value: Some(out.freeze()) }
    }

    fn api_key(&self) -> u32 {
        match self {
            Self::Topic { .. } => key::TOPIC,
            Self::Partition { .. } => key::PARTITION,
            Self::TopicConfig { .. } => key::CONFIG,
            Self::RemoveTopic { .. } => key::REMOVE_TOPIC,
            Self::FeatureLevel { .. } => key::FEATURE_LEVEL,
            Self::ProducerIds { .. } => key::PRODUCER_IDS,
            Self::Start { .. } => key::START,
            Self::TopicEpochBase { .. } => key::TOPIC_EPOCH_BASE,
            Self::PendingRemoval { .. } => key::PENDING_REMOVAL,
            Self::FilesRemoved { .. } => key::FILES_REMOVED,
            Self::Changes { .. } => key::CHANGES,
        }
    }

    fn write_fields(&self, w: &mut Writer<'_>) {
        match self {
            Self::Topic { name, id } => {
                w.string(name);
                w.topic_id(*id);
            }
            Self::Partition { topic, partition, node } => write_partition(w, *topic, *partition, *node),
            Self::TopicConfig { topic, name, value } => {
                w.i8(RESOURCE_TOPIC);
                w.string(topic);
                w.string(name);
                w.nullable_string(value.as_deref());
            }
            Self::RemoveTopic { id } | Self::FilesRemoved { id } => w.topic_id(*id),
            Self::FeatureLevel { name, level } => {
                w.string(name);
                w.i16(*level);
            }
            Self::ProducerIds { node, next } => {
                w.i32(*node);
                // The broker's registration epoch, which a broker without a quorum does not have.
                w.i64(-1);
                w.i64(*next);
            }
            Self::Start { epoch } => w.i32(*epoch),
            Self::TopicEpochBase { topic, base } => {
                w.topic_id(*topic);
                w.i32(*base);
            }
            Self::PendingRemoval { id, name, partitions } => {
                w.topic_id(*id);
                w.string(name);
                w.i32(*partitions);
            }
            Self::Changes { count } => w.i64(count.cast_signed()),
        }
    }

    /// The record back from the log; `Ok(None)` for one that says nothing.
    ///
    /// # Errors
    /// The record is not what its schema says, or it is of a kind that this version does not know. To skip that would
    /// be to lose it at the next snapshot.
    pub fn decode(record: &LogRecord) -> Result<Option<Self>, CorruptRecord> {
        let Some(value) = &record.value else {
            return Err(CorruptRecord("a catalog record without a value".into()));
        };
        let mut r = Reader::new(value, true);
        let garbled = |error: DecodeError| CorruptRecord(format!("a catalog record does not parse: {error}"));
        let frame = r.uvarint().map_err(garbled)?;
        if frame != FRAME_VERSION {
            return Err(CorruptRecord(format!(
                "a catalog record has frame version {frame}, not {FRAME_VERSION}"
            )));
        }
        let api_key = r.uvarint().map_err(garbled)?;
        let version = r.uvarint().map_err(garbled)?;
        let newest = if api_key == key::PARTITION { 2 } else { 0 };
        if version > newest {
            return Err(unknown(api_key, version));
        }
        let decoded = Self::read_fields(api_key, version, &mut r).map_err(garbled)?;
        match decoded {
            Read::Record(record) => Ok(Some(record)),
            Read::Nothing => Ok(None),
            Read::Unknown => Err(unknown(api_key, version)),
        }
    }

    fn read_fields(api_key: u32, version: u32, r: &mut Reader<'_>) -> Result<Read, DecodeError> {
        let record = match api_key {
            key::TOPIC => Self::Topic { name: r.str()?.into(), id: r.topic_id()? },
            key::PARTITION => read_partition(r, version)?,
            key::CONFIG => {
                if r.i8()? != RESOURCE_TOPIC {
                    return Ok(Read::Unknown);
                }
                let (topic, name) = (r.str()?.into(), r.str()?.to_owned());
                Self::TopicConfig { topic, name, value: r.nullable_str()?.map(str::to_owned) }
            }
            key::REMOVE_TOPIC => Self::RemoveTopic { id: r.topic_id()? },
            key::FEATURE_LEVEL => Self::FeatureLevel { name: r.str()?.to_owned(), level: r.i16()? },
            key::PRODUCER_IDS => {
                let (node, _broker_epoch) = (r.i32()?, r.i64()?);
                Self::ProducerIds { node, next: r.i64()? }
            }
            key::START => Self::Start { epoch: r.i32()? },
            key::TOPIC_EPOCH_BASE => Self::TopicEpochBase { topic: r.topic_id()?, base: r.i32()? },
            key::PENDING_REMOVAL => {
                Self::PendingRemoval { id: r.topic_id()?, name: r.str()?.into(), partitions: r.i32()? }
            }
            key::FILES_REMOVED => Self::FilesRemoved { id: r.topic_id()? },
            key::CHANGES => Self::Changes { count: r.i64()?.cast_unsigned() },
            key::NO_OP => return Ok(Read::Nothing),
            _ => return Ok(Read::Unknown),
        };
        r.end()?;
        if r.remaining() > 0 {
            return Err(r.error("bytes behind the last field"));
        }
        Ok(Read::Record(record))
    }
}

/// What reading a record came to.
enum Read {
    Record(Record),
    Nothing,
    Unknown,
}

fn unknown(api_key: u32, version: u32) -> CorruptRecord {
    CorruptRecord(format!(
        "a catalog record of kind {api_key}, version {version}, which this version of streamd does not know; was the \
         data directory used by a newer one?"
    ))
}

fn write_partition(w: &mut Writer<'_>, topic: TopicId, partition: i32, node: i32) {
    w.i32(partition);
    w.topic_id(topic);
    for replicas in [&[node][..], &[node], &[], &[]] {
        // In turn: replicas, in-sync replicas, removing, adding.
        w.array(replicas.len());
        replicas.iter().for_each(|node| w.i32(*node));
    }
    w.i32(node);
    // Leader epoch and partition epoch at creation. Ours grow with the starts, not by record.
    w.i32(0);
    w.i32(0);
}

fn read_partition(r: &mut Reader<'_>, version: u32) -> Result<Record, DecodeError> {
    let partition = r.i32()?;
    if !(0..i32::MAX).contains(&partition) {
        return Err(r.error("a partition index out of range"));
    }
    let topic = r.topic_id()?;
    for _replicas_isr_removing_adding in 0..4 {
        r.array(|r| r.i32())?;
    }
    let node = r.i32()?;
    let _leader_epoch_and_partition_epoch = (r.i32()?, r.i32()?);
    if version >= 1 {
        let _directories = r.array(|r| r.topic_id())?;
    }
    Ok(Record::Partition { topic, partition, node })
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
