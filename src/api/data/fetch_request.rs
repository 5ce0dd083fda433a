//! A Fetch request as it comes: what is read and from where, and what changes in the session.

use super::mentions::{self, Mention};
use crate::types::TopicId;
use crate::types::offset::NO_EPOCH;
use crate::wire::{DecodeError, Reader, StrBytes};

/// From this version on topics go by their ids.
pub(super) const TOPIC_IDS: i16 = 13;
/// The tagged field that holds the replica's id and epoch from v15.
const REPLICA_STATE: u32 = 1;

/// A Fetch request. Names are slices of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The broker that replicates, or -1 for a consumer.
    pub replica_id: i32,
    /// How long the answer may wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// How many bytes are worth an answer before that.
    pub min_bytes: i32,
    /// How many bytes the whole answer should stay below.
    pub max_bytes: i32,
    /// 0 read_uncommitted, 1 read_committed.
    pub isolation_level: i8,
    /// The incremental session, 0 for none.
    pub session_id: i32,
    /// Where in the session this request stands: -1 outside of any, 0 the first.
    pub session_epoch: i32,
    /// What to read; in a session, what changed since the last request.
    pub topics: Vec<Topic>,
    /// What to take out of the session.
    pub forgotten: Vec<ForgottenTopic>,
    /// The reader's rack; empty when it says none.
    pub rack_id: StrBytes,
}

/// One topic of a Fetch request.
pub type Topic = mentions::Topic<Partition>;

/// One partition of a Fetch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// The leader epoch that the reader knows, -1 for none (S27).
    pub current_leader_epoch: i32,
    /// Where to read.
    pub fetch_offset: i64,
    /// The epoch of the last record that the reader has, -1 for none (S28).
    pub last_fetched_epoch: i32,
    /// How many bytes of this partition are wanted.
    pub max_bytes: i32,
}

/// Partitions of one topic that leave the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenTopic {
    /// The topic's name; empty from v13.
    pub name: StrBytes,
    /// The topic's id; zero before v13.
    pub id: TopicId,
    /// Indexes of the partitions.
    pub partitions: Vec<i32>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let mut request = Self {
            replica_id: if version <= 14 { r.i32()? } else { -1 },
            max_wait_ms: r.i32()?,
            min_bytes: r.i32()?,
            max_bytes: r.i32()?,
            isolation_level: r.i8()?,
            session_id: if version >= 7 { r.i32()? } else { 0 },
            session_epoch: if version >= 7 { r.i32()? } else { -1 },
            topics: r.array(|r| Topic::decode(r, version))?,
            forgotten: if version >= 7 {
                r.array(|r| ForgottenTopic::decode(r, version))?
            } else {
                Vec::new()
            },
            rack_id: if version >= 11 { r.string()? } else { StrBytes::new() },
        };
        let known: &[u32] = if version >= 15 { &[REPLICA_STATE] } else { &[] };
        r.tags(known, |_, r| {
            request.replica_id = r.i32()?;
            let _replica_epoch = r.i64()?;
            r.end()
        })?;
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

impl Mention for Partition {
    fn index(&self) -> i32 {
        self.index
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let index = r.i32()?;
        let current_leader_epoch = if version >= 9 { r.i32()? } else { NO_EPOCH };
        let fetch_offset = r.i64()?;
        let last_fetched_epoch = if version >= 12 { r.i32()? } else { NO_EPOCH };
        if version >= 5 {
            let _log_start_of_follower = r.i64()?;
        }
        let max_bytes = r.i32()?;
        r.end()?;
        Ok(Self { index, current_leader_epoch, fetch_offset, last_fetched_epoch, max_bytes })
    }
}

impl ForgottenTopic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let (name, id) = r.name_or_id(version >= TOPIC_IDS)?;
        let topic = Self { name, id, partitions: r.array(Reader::i32)? };
        r.end()?;
        Ok(topic)
    }
}
