//! OffsetForLeaderEpoch (key 23), versions 2 to 4: where a leader epoch ended in the log.
//!
//! v2 the leader epoch that the client knows; v3 the replica id; v4 the flexible form. The answer is the largest epoch
//! that is not above the one asked for, with its end; an epoch that is not known gives -1 and -1 without error (S87).

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
