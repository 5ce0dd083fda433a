//! OffsetDelete (key 47), version 0, never flexible: forgets committed offsets.
//!
//! A topic that the group is subscribed to gives 86 for its partitions (S76).

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteResponse, TopicName};

use super::{ask, shared, text};
use crate::api::{Call, Started, waits};
use crate::groups::{Command, DeleteOffsets, DeletedOffsets};
use crate::types::ErrorCode;
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

/// Deletes the offsets.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let topic = |topic: &Topic| (shared(&topic.name), topic.partitions.clone());
        let command = Command::DeleteOffsets(DeleteOffsets {
            group: shared(&request.group_id),
            topics: request.topics.iter().map(topic).collect(),
        });
        let response = match ask(&api, &request.group_id, command).await.delete_offsets() {
            Ok(reply) => OffsetDeleteResponse::default()
                .with_error_code(reply.error.code())
                .with_topics(reply.topics.into_iter().map(deleted).collect()),
            Err(error) => OffsetDeleteResponse::default().with_error_code(error.code()),
        };
        responder.reply(&response)
    }))
}

fn deleted(topic: DeletedOffsets) -> OffsetDeleteResponseTopic {
    let partition = |(index, error): (i32, ErrorCode)| {
        OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(error.code())
    };
    OffsetDeleteResponseTopic::default()
        .with_name(TopicName(text(&topic.name)))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}
