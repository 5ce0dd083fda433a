//! OffsetDelete (key 47), version 0, never flexible: forgets committed offsets.
//!
//! A topic that the group is subscribed to gives 86 for its partitions (S76).

use crate::wire::header::NEVER_FLEXIBLE;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec =
    ApiSpec { key: 47, name: "OffsetDelete", min: 0, max: 0, flexible_from: NEVER_FLEXIBLE };

/// An OffsetDelete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// What to forget.
    pub topics: Vec<Topic>,
}

/// One topic of an OffsetDelete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Indexes of its partitions.
    pub partitions: Vec<i32>,
}

impl Request {
    /// Reads the body of a request.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self { group_id: r.string()?, topics: r.array(Topic::decode)? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(Reader::i32)? };
        r.end()?;
        Ok(topic)
    }
}
