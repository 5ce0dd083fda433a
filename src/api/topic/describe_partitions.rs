//! DescribeTopicPartitions (key 75), version 0: topics and their partitions, page by page.
//!
//! Topics come sorted by name; the cursor says where the next page begins; a page holds at most 2,000 partitions (S89).

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor as NextCursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsResponse, TopicName};
use uuid::Uuid;

use crate::api::operations;
use crate::api::{Api, Call, Started, done};
use crate::catalog::{CatalogImage, TopicImage};
use crate::types::{ErrorCode, topic_name};
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

/// Answers from the catalog's image: topics by name, partitions by index, from the cursor on, up to the limit (S89).
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let image = call.api.broker.image();
    Ok(done(call.responder.reply(&describe(call.api, &image, &request))))
}

fn describe(api: &Api, image: &CatalogImage, request: &Request) -> DescribeTopicPartitionsResponse {
    let limit = api.broker.config().topics.describe_partitions_max.min(request.response_partition_limit);
    let mut names: Vec<String> = match request.topics.is_empty() {
        true => image.topics().map(|topic| topic.name.to_string()).collect(),
        false => request.topics.iter().map(|name| name.to_string()).collect(),
    };
    names.sort_unstable();
    names.dedup();
    let astray = |cursor: &Cursor| {
        let listed = request.topics.is_empty() || request.topics.contains(&cursor.topic_name);
        cursor.partition_index < 0 || !listed
    };
    if request.cursor.as_ref().is_some_and(astray) {
        let refused = names.iter().map(|name| absent(name, ErrorCode::InvalidRequest));
        return DescribeTopicPartitionsResponse::default().with_topics(refused.collect());
    }
    let (first, mut from) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index),
        None => (String::new(), 0),
    };
    names.retain(|name| *name >= first);
    if names.first() != Some(&first) {
        from = 0;
    }
    let mut left = limit.max(1);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(cursor(&name, 0));
            break;
        }
        let Some(topic) = image.topic(&name) else {
            response.topics.push(absent(&name, unknown(&name)));
            continue;
        };
        let end = topic.partitions.min(from.saturating_add(left));
        response.topics.push(found(image, topic, from..end, api.broker.node_id()));
        left -= (end - from).max(0);
        if end < topic.partitions {
            response.next_cursor = Some(cursor(&name, end));
            break;
        }
        from = 0;
    }
    response
}

fn found(
    image: &CatalogImage,
    topic: &TopicImage,
    partitions: std::ops::Range<i32>,
    node: i32,
) -> DescribeTopicPartitionsResponseTopic {
    let epoch = image.leader_epoch(topic);
    let partitions = partitions.map(|index| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(node))
            .with_leader_epoch(epoch)
            .with_replica_nodes(vec![BrokerId(node)])
            .with_isr_nodes(vec![BrokerId(node)])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(Uuid::from_bytes(*topic.id.as_bytes()))
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations::TOPIC)
}

/// Why a name is not found: it cannot exist, or it does not.
fn unknown(name: &str) -> ErrorCode {
    match topic_name::check(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn absent(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    // A client may do all with a topic that is not there yet.
    let may = operations::told(error == ErrorCode::UnknownTopicOrPartition, operations::TOPIC);
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_authorized_operations(may)
}

fn cursor(name: &str, partition: i32) -> NextCursor {
    NextCursor::default()
        .with_topic_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_partition_index(partition)
}
