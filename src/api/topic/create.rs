//! CreateTopics (key 19), versions 2 to 7: makes topics.
//!
//! v4 lets -1 stand for the broker's defaults without assignments; v5 the flexible form, and the answer tells counts
//! and settings; v7 the answer tells the topic's id. Each topic is answered for itself; what is refused with which
//! code is S84. The answer means that the topic serves every API.

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 19, name: "CreateTopics", min: 2, max: 7, flexible_from: 5 };

/// A CreateTopics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The topics to make.
    pub topics: Vec<Topic>,
    /// How long the answer may wait.
    pub timeout_ms: i32,
    /// Whether to do everything but make them.
    pub validate_only: bool,
}

/// One topic to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// How many partitions; -1 for the default or when they are assigned.
    pub num_partitions: i32,
    /// How many replicas of each; -1 for the default or when they are assigned.
    pub replication_factor: i16,
    /// Which brokers hold which partition; empty to let the broker choose.
    pub assignments: Vec<Assignment>,
    /// Settings of this topic alone.
    pub configs: Vec<Config>,
}

/// The replicas of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The partition's index.
    pub partition_index: i32,
    /// Node ids, the preferred leader first.
    pub broker_ids: Vec<i32>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: StrBytes,
    /// Its value.
    pub value: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request =
            Self { topics: r.array(Topic::decode)?, timeout_ms: r.i32()?, validate_only: r.bool()? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self {
            name: r.string()?,
            num_partitions: r.i32()?,
            replication_factor: r.i16()?,
            assignments: r.array(Assignment::decode)?,
            configs: r.array(Config::decode)?,
        };
        r.end()?;
        Ok(topic)
    }
}

impl Assignment {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let assignment = Self { partition_index: r.i32()?, broker_ids: r.array(Reader::i32)? };
        r.end()?;
        Ok(assignment)
    }
}

impl Config {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let config = Self { name: r.string()?, value: r.nullable_string()? };
        r.end()?;
        Ok(config)
    }
}
