//! CreateTopics (key 19), versions 2 to 7: makes topics.
//!
//! v4 lets -1 stand for the broker's defaults without assignments; v5 the flexible form, and the answer tells counts
//! and settings; v7 the answer tells the topic's id. Each topic is answered for itself; what is refused with which
//! code is S84. The answer means that the topic serves every API.

use std::sync::Arc;

use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsResponse, TopicName};
use uuid::Uuid;

use crate::api::{Api, Call, Started, waits};
use crate::broker::{random, tell_created};
use crate::catalog::{Command, NewTopic, Reply, TopicOutcome};
use crate::types::ErrorCode;
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

/// Makes the topics and answers when they serve every API.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let how = format!("by client {}", call.session.describe());
    Ok(waits(async move {
        let names: Vec<StrBytes> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let topics = request.topics.into_iter().map(Topic::into_command).collect();
        let command = Command::CreateTopics { topics, validate_only: request.validate_only };
        let results = match api.broker.catalog().call(command).await {
            Reply::Topics(outcomes) => {
                if !request.validate_only {
                    let made = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
                    made.for_each(|topic| tell_created(topic, &how));
                }
                outcomes.into_iter().map(|outcome| result(&api, outcome)).collect()
            }
            Reply::Refused(error) => names.into_iter().map(|name| refused(name, error, None)).collect(),
            _ => Vec::new(),
        };
        responder.reply(&CreateTopicsResponse::default().with_topics(results))
    }))
}

impl Topic {
    fn into_command(self) -> NewTopic {
        let config = |config: Config| (config.name.to_string(), config.value.map(|value| value.to_string()));
        NewTopic {
            name: self.name.to_string(),
            id: random::topic_id(),
            partitions: self.num_partitions,
            replication_factor: self.replication_factor,
            assignments: self.assignments.into_iter().map(|a| (a.partition_index, a.broker_ids)).collect(),
            configs: self.configs.into_iter().map(config).collect(),
        }
    }
}

fn result(api: &Api, outcome: TopicOutcome) -> CreatableTopicResult {
    let topic = match outcome.result {
        Ok(topic) => topic,
        Err(error) => {
            let name = outcome.name.as_deref().unwrap_or_default();
            return refused(StrBytes::from_string(name.to_owned()), error.code, error.message);
        }
    };
    let configs = api.broker.config().topic_defaults.entries(&topic.overrides);
    let configs = configs.into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_string(entry.name.to_string()))
            .with_value(entry.value.map(StrBytes::from_string))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source.code())
            .with_is_sensitive(entry.sensitive)
    });
    CreatableTopicResult::default()
        .with_name(TopicName(StrBytes::from_string(topic.name.to_string())))
        .with_topic_id(Uuid::from_bytes(*topic.id.as_bytes()))
        .with_error_message(None)
        .with_num_partitions(topic.partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()))
}

fn refused(name: StrBytes, error: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(TopicName(name))
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}
