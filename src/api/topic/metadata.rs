//! Metadata (key 3), versions 0 to 13: brokers, the cluster's id, topics and who leads their partitions.
//!
//! v1 the controller, racks, and null for all topics; v4 whether topics may be created; v5 offline replicas; v7 leader
//! epochs; v8 authorized operations (the cluster's only up to v10); v9 the flexible form; v10 topic ids; v12 topics
//! asked for by id; v13 an error for the whole answer.
//!
//! An id or a null name before v12 is refused with 42; an unknown id gives 100; unknown names may create the topic,
//! which is then in the answer (S83). Authorized operations that nobody asked for are the smallest `i32` (S97).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};
use uuid::Uuid;

use crate::api::{Api, Call, Outcome, Responder, Started, done, operations, waits};
use crate::broker::Endpoint;
use crate::catalog::{self, CatalogImage, TopicImage};
use crate::types::{ErrorCode, TopicId, topic_name};
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

/// Describes the cluster, after making the topics that the request may make.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let endpoint = api.broker.endpoint(&call.session.peer);
    let may_create = request.allow_auto_topic_creation && api.broker.config().topics.auto_create;
    let missing = if may_create { missing(&api, &request) } else { HashSet::new() };
    if missing.is_empty() {
        let topics = describe(&api, &request, call.version, &HashMap::new());
        return Ok(done(answer(&api, responder, endpoint, &request, topics)));
    }
    let partitions = u64::try_from(api.broker.config().topics.default_partitions).unwrap_or(1);
    if (missing.len() as u64).saturating_mul(partitions) > catalog::NEW_PARTITIONS_MAX {
        // None of them, as Kafka: its controller refuses, and the client is told that they are unknown.
        api.warn_of_uncreated(call.session, missing.len());
        let topics = describe(&api, &request, call.version, &HashMap::new());
        return Ok(done(answer(&api, responder, endpoint, &request, topics)));
    }
    let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();
    let client = call.session.describe();
    Ok(waits(async move {
        let created = create(&api, missing, &client).await;
        let topics = describe(&api, &request, responder.version, &created);
        answer(&api, responder, endpoint, &request, topics)
    }))
}

/// The topics that are asked for by a name that a topic may have, and do not exist.
fn missing<'a>(api: &Api, request: &'a Request) -> HashSet<&'a str> {
    let image = api.broker.image();
    let names = request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref());
    names.filter(|name| image.topic(name).is_none() && topic_name::check(name).is_ok()).collect()
}

/// Makes topics; returns those that could not be made, with what the client is told of them.
async fn create(api: &Api, missing: Vec<String>, client: &str) -> HashMap<String, ErrorCode> {
    let outcomes = api.broker.auto_create(missing, client).await;
    let refused = outcomes.into_iter().filter_map(|(name, outcome)| {
        let code = match outcome.err()?.code {
            ErrorCode::PolicyViolation => ErrorCode::UnknownTopicOrPartition,
            code => code,
        };
        Some((name, code))
    });
    refused.collect()
}

fn describe(
    api: &Api,
    request: &Request,
    version: i16,
    refused: &HashMap<String, ErrorCode>,
) -> Vec<MetadataResponseTopic> {
    let image = api.broker.image();
    let node = api.broker.node_id();
    let Some(wanted) = &request.topics else {
        return image.topics().map(|topic| found(&image, topic, node)).collect();
    };
    let early_form = wanted.iter().any(|topic| topic.name.is_none() || !topic.id.is_zero());
    if (10..=11).contains(&version) && early_form {
        // These versions have no error for the whole answer, and no null names.
        let name = |asked: &Topic| asked.name.clone().or_else(|| Some(StrBytes::new()));
        return wanted.iter().map(|asked| absent(name(asked), asked.id, ErrorCode::InvalidRequest)).collect();
    }
    let mut topics = Vec::with_capacity(wanted.len());
    let mut seen = HashSet::new();
    for asked in wanted.iter().filter(|asked| seen.insert((asked.id, asked.name.as_ref()))) {
        let topic = match asked.name.as_ref().filter(|_| asked.id.is_zero()) {
            None => match image.topic_by_id(asked.id) {
                Some(topic) => found(&image, topic, node),
                None => absent(None, asked.id, ErrorCode::UnknownTopicId),
            },
            Some(name) => match image.topic(name) {
                Some(topic) => found(&image, topic, node),
                None => {
                    let error = refused.get(&**name).copied().unwrap_or_else(|| unknown(name));
                    absent(Some(name.clone()), TopicId::ZERO, error)
                }
            },
        };
        topics.push(topic);
    }
    topics
}

/// Why a name is not found: it cannot exist, or it does not.
fn unknown(name: &str) -> ErrorCode {
    match topic_name::check(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn found(image: &CatalogImage, topic: &TopicImage, node: i32) -> MetadataResponseTopic {
    let epoch = image.leader_epoch(topic);
    let partitions = (0..topic.partitions).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(node))
            .with_leader_epoch(epoch)
            .with_replica_nodes(vec![BrokerId(node)])
            .with_isr_nodes(vec![BrokerId(node)])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(Uuid::from_bytes(*topic.id.as_bytes()))
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations::NOT_ASKED)
}

fn absent(name: Option<StrBytes>, id: TopicId, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name.map(TopicName))
        .with_topic_id(Uuid::from_bytes(*id.as_bytes()))
        .with_topic_authorized_operations(operations::NOT_ASKED)
}

fn answer(
    api: &Api,
    responder: Responder,
    endpoint: Endpoint,
    request: &Request,
    mut topics: Vec<MetadataResponseTopic>,
) -> Outcome {
    for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
        let asked = request.include_topic_authorized_operations;
        topic.topic_authorized_operations = operations::told(asked, operations::TOPIC);
    }
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(api.broker.node_id()))
        .with_host(StrBytes::from_string(endpoint.host))
        .with_port(endpoint.port)
        .with_rack(api.broker.config().rack.clone().map(StrBytes::from_string));
    let asked = request.include_cluster_authorized_operations;
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_string(api.broker.cluster_id().to_owned())))
        .with_controller_id(BrokerId(api.broker.node_id()))
        .with_topics(topics)
        .with_cluster_authorized_operations(operations::told(asked, operations::CLUSTER));
    responder.reply(&response)
}
