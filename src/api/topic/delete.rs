//! DeleteTopics (key 20), versions 1 to 6: deletes topics.
//!
//! v4 the flexible form; v5 messages with the errors; v6 topics by name or by id. Unknown names give 3, unknown ids
//! 100; `delete.topic.enable` = false gives 73 (S89). The answer means that the topic is gone and its name is free.

use crate::types::TopicId;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 20, name: "DeleteTopics", min: 1, max: 6, flexible_from: 4 };

/// A DeleteTopics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The topics to delete.
    pub topics: Vec<Topic>,
    /// How long the answer may wait.
    pub timeout_ms: i32,
}

/// One topic to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; `None` (from v6) when it is named by id.
    pub name: Option<StrBytes>,
    /// Its id; zero before v6 and when it is named by name.
    pub id: TopicId,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let topics = r.array(|r| Topic::decode(r, version))?;
        let request = Self { topics, timeout_ms: r.i32()? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        if version <= 5 {
            // A plain string, no structure: nothing ends here.
            return Ok(Self { name: Some(r.string()?), id: TopicId::ZERO });
        }
        let topic = Self { name: r.nullable_string()?, id: r.topic_id()? };
        r.end()?;
        Ok(topic)
    }
}
