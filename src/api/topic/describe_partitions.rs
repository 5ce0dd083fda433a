//! DescribeTopicPartitions (key 75), version 0: topics and their partitions, page by page.
//!
//! Topics come sorted by name; the cursor says where the next page begins; a page holds at most 2,000 partitions (S89).

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec =
    ApiSpec { key: 75, name: "DescribeTopicPartitions", min: 0, max: 0, flexible_from: 0 };

/// A DescribeTopicPartitions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names of the topics; empty for all.
    pub topics: Vec<StrBytes>,
    /// How many partitions the answer may hold.
    pub response_partition_limit: i32,
    /// Where to begin.
    pub cursor: Option<Cursor>,
}

/// The first partition of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Its topic's name.
    pub topic_name: StrBytes,
    /// Its index.
    pub partition_index: i32,
}

impl Request {
    /// Reads the body of a request.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            topics: r.array(topic)?,
            response_partition_limit: r.i32()?,
            cursor: r.nullable(Cursor::decode)?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Cursor {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cursor = Self { topic_name: r.string()?, partition_index: r.i32()? };
        r.end()?;
        Ok(cursor)
    }
}

fn topic(r: &mut Reader<'_>) -> Result<StrBytes, DecodeError> {
    let name = r.string()?;
    r.end()?;
    Ok(name)
}
