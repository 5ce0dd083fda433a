//! Metadata (key 3), versions 0 to 13: brokers, the cluster's id, topics and who leads their partitions.
//!
//! v1 the controller, racks, and null for all topics; v4 whether topics may be created; v5 offline replicas; v7 leader
//! epochs; v8 authorized operations (the cluster's only up to v10); v9 the flexible form; v10 topic ids; v12 topics
//! asked for by id; v13 an error for the whole answer.
//!
//! An id or a null name before v12 is refused with 42; an unknown id gives 100; unknown names may create the topic,
//! which is then in the answer (S83). Authorized operations that nobody asked for are the smallest `i32` (S97).

use crate::types::TopicId;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 3, name: "Metadata", min: 0, max: 13, flexible_from: 9 };

/// A Metadata request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The topics asked for; `None` for all. (In v0 an empty list says that.)
    pub topics: Option<Vec<Topic>>,
    /// Whether topics that are not there may be created; before v4 always.
    pub allow_auto_topic_creation: bool,
    /// Whether to say what the client may do with the cluster (v8 to v10).
    pub include_cluster_authorized_operations: bool,
    /// Whether to say what the client may do with each topic (v8).
    pub include_topic_authorized_operations: bool,
}

/// One topic asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id; zero before v10 and when it is asked for by name.
    pub id: TopicId,
    /// Its name; `None` (from v10) when it is asked for by id.
    pub name: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let topics = if version == 0 {
            Some(r.array(|r| Topic::decode(r, version))?).filter(|topics| !topics.is_empty())
        } else {
            r.nullable_array(|r| Topic::decode(r, version))?
        };
        let request = Self {
            topics,
            allow_auto_topic_creation: if version >= 4 { r.bool()? } else { true },
            include_cluster_authorized_operations: if (8..=10).contains(&version) {
                r.bool()?
            } else {
                false
            },
            include_topic_authorized_operations: if version >= 8 { r.bool()? } else { false },
        };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let topic = if version >= 10 {
            Self { id: r.topic_id()?, name: r.nullable_string()? }
        } else {
            Self { id: TopicId::ZERO, name: Some(r.string()?) }
        };
        r.end()?;
        Ok(topic)
    }
}
