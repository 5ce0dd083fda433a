//! What a cluster tells about its brokers and topics (Metadata).

use std::collections::BTreeMap;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Address, Error};
use crate::types::{ErrorCode, TopicId};

/// Which topics to tell about.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// No topics, only the brokers.
    None,
    /// These.
    Named(&'a [&'a str]),
    /// All that there are.
    All,
}

/// Brokers and topics, as one broker knows them.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that takes questions of administration.
    pub controller: Option<i32>,
    /// Where the brokers are, by id.
    pub brokers: BTreeMap<i32, Address>,
    /// The topics that were asked for, by name; also those that do not exist.
    pub topics: BTreeMap<String, Topic>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero before Kafka 2.8.
    pub id: TopicId,
    /// Whether it is the broker's own.
    pub internal: bool,
    /// What is wrong with it: `UNKNOWN_TOPIC_OR_PARTITION` when it does not exist.
    pub error: Option<ErrorCode>,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it, if one does.
    pub leader: Option<i32>,
    /// The leader's epoch, or -1.
    pub leader_epoch: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync: Vec<i32>,
}

/// The question.
pub(super) fn request(version: i16, wanted: Wanted<'_>, create: bool) -> MetadataRequest {
    let topics = match wanted {
        Wanted::None => Some(Vec::new()),
        Wanted::All => None,
        Wanted::Named(names) => Some(
            names
                .iter()
                .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))))
                .collect(),
        ),
    };
    let request = MetadataRequest::default().with_topics(topics);
    // Before version 4 brokers create what is asked for, if they create at all.
    if version < 4 { request } else { request.with_allow_auto_topic_creation(create) }
}

/// The answer.
pub(super) fn read(answer: MetadataResponse) -> Result<Metadata, Error> {
    Error::check("ask for metadata", answer.error_code, None)?;
    let brokers = answer.brokers.iter().filter_map(|broker| {
        let port = u16::try_from(broker.port).ok()?;
        Some((*broker.node_id, Address { host: broker.host.to_string(), port }))
    });
    Ok(Metadata {
        cluster_id: answer.cluster_id.map(|id| id.to_string()),
        controller: Some(*answer.controller_id).filter(|id| *id >= 0),
        brokers: brokers.collect(),
        topics: answer.topics.into_iter().map(topic).map(|topic| (topic.name.clone(), topic)).collect(),
    })
}

fn topic(topic: MetadataResponseTopic) -> Topic {
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition).collect();
    partitions.sort_unstable_by_key(|partition| partition.index);
    Topic {
        name: topic.name.map(|name| name.to_string()).unwrap_or_default(),
        id: TopicId::from_bytes(topic.topic_id.into_bytes()),
        internal: topic.is_internal,
        error: match topic.error_code {
            0 => None,
            code => Some(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)),
        },
        partitions,
    }
}

fn partition(partition: &MetadataResponsePartition) -> Partition {
    let ids = |brokers: &[kafka_protocol::messages::BrokerId]| brokers.iter().map(|id| **id).collect();
    Partition {
        index: partition.partition_index,
        leader: Some(*partition.leader_id).filter(|id| *id >= 0),
        leader_epoch: partition.leader_epoch,
        replicas: ids(&partition.replica_nodes),
        in_sync: ids(&partition.isr_nodes),
    }
}

/// A topic's name as requests carry it.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A string as requests carry it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
