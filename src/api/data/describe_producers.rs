//! DescribeProducers (key 61), version 0: who writes to partitions, and since which offset a transaction of theirs is
//! open (KIP-664).

use std::sync::Arc;

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersResponse, TopicName};

use crate::api::{Api, Call, Started, errors, waits_while_open};
use crate::catalog::TopicImage;
use crate::partition::ProducerDescription;
use crate::types::{ErrorCode, topic_name};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 61, name: "DescribeProducers", min: 0, max: 0, flexible_from: 0 };

/// A DescribeProducers request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to describe.
    pub topics: Vec<Topic>,
}

/// One topic of the request.
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
        let request = Self { topics: r.array(Topic::decode)? };
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

/// Describes the producers.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits_while_open(async move {
        let image = api.broker.image();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let found = find(&topic.name, image.topic(&topic.name));
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for index in topic.partitions {
                let answer = PartitionResponse::default().with_partition_index(index);
                partitions.push(match &found {
                    Err((error, message)) => answer
                        .with_error_code(error.code())
                        .with_error_message(Some(StrBytes::from_string(message.clone()))),
                    Ok(topic) => match describe(&api, topic, index).await {
                        Ok(producers) => answer.with_active_producers(producers),
                        Err(error) => answer.with_error_code(error.code()),
                    },
                });
            }
            topics
                .push(TopicResponse::default().with_name(TopicName(topic.name)).with_partitions(partitions));
        }
        responder.reply(&DescribeProducersResponse::default().with_topics(topics))
    }))
}

/// The topic, or what all of its partitions are answered with.
fn find<'a>(
    name: &str,
    topic: Option<&'a Arc<TopicImage>>,
) -> Result<&'a Arc<TopicImage>, (ErrorCode, String)> {
    topic_name::check(name).map_err(|why| (ErrorCode::InvalidTopicException, why))?;
    let unknown = || "This server does not host this topic-partition.".to_owned();
    topic.ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, unknown()))
}

async fn describe(
    api: &Arc<Api>,
    topic: &Arc<TopicImage>,
    index: i32,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = api.broker.partition(topic, index).await;
    let partition = partition.map_err(|fault| errors::open_fault(&fault))?;
    // The writer may be in the midst of a write.
    let producers = tokio::task::spawn_blocking(move || partition.describe_producers()).await;
    let producers = producers.map_err(|_stopping| ErrorCode::NotLeaderOrFollower)?;
    Ok(producers.into_iter().map(state).collect())
}

fn state(producer: ProducerDescription) -> ProducerState {
    ProducerState::default()
        .with_producer_id(producer.producer_id.into())
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_first_offset)
}
