//! Produce (key 0), versions 3 to 13: appends record batches to partitions.
//!
//! v3 the transactional id; v5 the log start offset in the answer; v7 zstd; v8 errors per record; v9 the flexible
//! form; v10 the current leader with error 6; v12 transactions V2; v13 topic ids in place of names. Versions 0 to 2
//! are offered, since old librdkafka looks for 0, and refused (S4).
//!
//! Each partition holds exactly one v2 batch (S35); `acks` other than -1, 0 and 1 is refused for every partition
//! (S34); `acks` 0 gets no answer, and a failure then closes the connection (S8). Topics are never created here (S46).

use bytes::Bytes;

use crate::types::TopicId;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 0, name: "Produce", min: 3, max: 13, flexible_from: 9 };

/// A Produce request. Names and records are slices of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transaction that the records belong to, if any.
    pub transactional_id: Option<StrBytes>,
    /// Who must have the records before the answer: 0 nobody and no answer, 1 the leader, -1 all in sync.
    pub acks: i16,
    /// How long the answer may wait for that.
    pub timeout_ms: i32,
    /// Topics in the order of the request.
    pub topics: Vec<Topic>,
}

/// One topic of a Produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; empty from v13.
    pub name: StrBytes,
    /// Its id; zero before v13.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition of a Produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// What to append, unchecked.
    pub records: Option<Bytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            transactional_id: r.nullable_string()?,
            acks: r.i16()?,
            timeout_ms: r.i32()?,
            topics: r.array(|r| Topic::decode(r, version))?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let (name, id) =
            if version >= 13 { (StrBytes::new(), r.topic_id()?) } else { (r.string()?, TopicId::ZERO) };
        let topic = Self { name, id, partitions: r.array(Partition::decode)? };
        r.end()?;
        Ok(topic)
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let partition = Self { index: r.i32()?, records: r.records()? };
        r.end()?;
        Ok(partition)
    }
}
