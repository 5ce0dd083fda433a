//! Questions of administration about topics: find, create, delete, their settings.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest,
};

use tokio::time::sleep;

use super::cluster::{At, Lane};
use super::connection::millis;
use super::metadata::{text, topic_name};
use super::retry::{Backoff, retry};
use super::{Client, Error, Topic, Wanted};
use crate::types::{ErrorCode, TopicId};

/// The resource type of topics in DescribeConfigs.
pub(super) const RESOURCE_TOPIC: i8 = 2;
/// "As the broker has it" for partitions and replication factor (KIP-464).
const BROKERS_CHOICE: i32 = -1;
/// The first CreateTopics that knows [`BROKERS_CHOICE`].
const BROKERS_CHOICE_SINCE: i16 = 4;
/// How often a topic is asked for before it counts as missing, where it has just been created, or was there a moment
/// ago: with the pauses between, a little more than two seconds.
pub(super) const LOOKUPS_MAX: u32 = 8;

/// A topic to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the broker's default without.
    pub partitions: Option<i32>,
    /// How many replicas of each; the broker's default without.
    pub replication_factor: Option<i16>,
    /// Its settings, where they differ from the broker's.
    pub config: BTreeMap<String, String>,
}

/// A topic that has been created. What brokers before Kafka 2.4 do not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Option<TopicId>,
    /// How many partitions it has.
    pub partitions: Option<i32>,
    /// How many replicas of each.
    pub replication_factor: Option<i16>,
}

/// One setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, unless it is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

/// Where a topic's setting comes from, as DescribeConfigs numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set for this topic.
    Topic,
    /// Set for the broker, in one way or another.
    Broker,
    /// Set nowhere.
    Default,
}

/// A topic that exists and whose partitions have leaders. With `create` it may come into being by being asked for,
/// where the brokers are set to do so.
///
/// # Errors
/// It does not exist, or has no leaders in time.
pub async fn find(client: &Client, name: &str, create: bool) -> Result<Topic, Error> {
    let mut backoff = Backoff::new(client.options().timeout);
    let mut tries = 0;
    loop {
        let error = match look_for(client, name, create).await {
            Ok(topic) => return Ok(topic),
            Err(error) => error,
        };
        tries += 1;
        let missing = error.code() == Some(ErrorCode::UnknownTopicOrPartition);
        if !client.may_pass(&error) || missing && (!create || tries == LOOKUPS_MAX) {
            return Err(error);
        }
        sleep(backoff.after(error)?).await;
    }
}

/// The same for a topic that is to be written to, and whether it came into being by this. Before Metadata v4 (Kafka 0.11)
/// nobody can ask without creating, and it is never told.
///
/// # Errors
/// As [`find`].
pub async fn find_or_create(client: &Client, name: &str) -> Result<(Topic, bool), Error> {
    match look_for(client, name, false).await {
        Ok(topic) => Ok((topic, false)),
        Err(error) => {
            let created = error.code() == Some(ErrorCode::UnknownTopicOrPartition);
            Ok((find(client, name, true).await?, created))
        }
    }
}

async fn look_for(client: &Client, name: &str, create: bool) -> Result<Topic, Error> {
    let mut metadata = client.metadata_once(Wanted::Named(&[name]), create).await?;
    let code = match metadata.topics.remove(name) {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(Topic { error: Some(code), .. }) => code,
        Some(topic) if topic.partitions.iter().any(|partition| partition.leader.is_none()) => {
            ErrorCode::LeaderNotAvailable
        }
        Some(topic) => return Ok(topic),
    };
    Err(Error::refused(format!("use topic {name}"), code.code(), None))
}

/// Creates topics; each has its own outcome, in the order asked.
///
/// # Errors
/// No answer at all.
pub async fn create(client: &Client, topics: &[NewTopic]) -> Result<Vec<Result<Created, Error>>, Error> {
    let timeout = client.options().timeout;
    let answer = retry(client, async || {
        client
            .call(At::Controller, Lane::Questions, |version| create_request(version, topics, millis(timeout)))
            .await
    })
    .await?;
    Ok(topics.iter().map(|topic| created(&answer, topic)).collect())
}

pub(super) fn create_request(version: i16, topics: &[NewTopic], timeout_ms: i32) -> CreateTopicsRequest {
    let default = if version < BROKERS_CHOICE_SINCE { 1 } else { BROKERS_CHOICE };
    let row = |topic: &NewTopic| {
        let config = topic.config.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        CreatableTopic::default()
            .with_name(topic_name(&topic.name))
            .with_num_partitions(topic.partitions.unwrap_or(default))
            .with_replication_factor(topic.replication_factor.unwrap_or(if default == 1 { 1 } else { -1 }))
            .with_configs(config.collect())
    };
    CreateTopicsRequest::default().with_topics(topics.iter().map(row).collect()).with_timeout_ms(timeout_ms)
}

fn created(answer: &CreateTopicsResponse, topic: &NewTopic) -> Result<Created, Error> {
    let doing = || format!("create topic {}", topic.name);
    let Some(row) = answer.topics.iter().find(|row| row.name.as_str() == topic.name) else {
        return Err(Error::refused(
            doing(),
            ErrorCode::UnknownServerError.code(),
            Some("the answer lacks it"),
        ));
    };
    Error::check(doing(), row.error_code, row.error_message.as_deref())?;
    Ok(Created {
        name: topic.name.clone(),
        id: Some(TopicId::from_bytes(row.topic_id.into_bytes())).filter(|id| !id.is_zero()),
        partitions: Some(row.num_partitions).filter(|count| *count > 0).or(topic.partitions),
        replication_factor: Some(row.replication_factor)
            .filter(|count| *count > 0)
            .or(topic.replication_factor),
    })
}

/// Deletes topics; each has its own outcome, in the order asked.
///
/// # Errors
/// No answer at all.
pub async fn delete(client: &Client, names: &[String]) -> Result<Vec<Result<(), Error>>, Error> {
    let timeout = client.options().timeout;
    let answer = retry(client, async || {
        client
            .call(At::Controller, Lane::Questions, |version| delete_request(version, names, millis(timeout)))
            .await
    })
    .await?;
    Ok(names.iter().map(|name| deleted(&answer, name)).collect())
}

pub(super) fn delete_request(version: i16, names: &[String], timeout_ms: i32) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(timeout_ms);
    if version < 6 {
        return request.with_topic_names(names.iter().map(|name| topic_name(name)).collect());
    }
    let row = |name: &String| DeleteTopicState::default().with_name(Some(topic_name(name)));
    request.with_topics(names.iter().map(row).collect())
}

fn deleted(answer: &DeleteTopicsResponse, name: &str) -> Result<(), Error> {
    let row = answer.responses.iter().find(|row| row.name.as_ref().is_some_and(|told| told.as_str() == name));
    let (code, message) = match row {
        Some(row) => (row.error_code, row.error_message.as_deref()),
        None => (ErrorCode::UnknownServerError.code(), Some("the answer lacks it")),
    };
    Error::check(format!("delete topic {name}"), code, message)
}

/// The settings of a topic, by name.
///
/// # Errors
/// The broker refuses, or does not answer.
pub async fn settings(client: &Client, name: &str) -> Result<Vec<Setting>, Error> {
    let answer = retry(client, async || {
        let answer = client.call(At::Any, Lane::Questions, |_| settings_request(name)).await?;
        let row = answer.results.into_iter().next().unwrap_or_default();
        Error::check(
            format!("read the settings of topic {name}"),
            row.error_code,
            row.error_message.as_deref(),
        )?;
        Ok(row.configs)
    })
    .await?;
    let mut settings: Vec<_> = answer
        .iter()
        .map(|row| Setting {
            name: row.name.to_string(),
            value: row.value.as_ref().map(ToString::to_string),
            source: match row.config_source {
                1 => Source::Topic,
                5 => Source::Default,
                _ => Source::Broker,
            },
        })
        .collect();
    settings.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(settings)
}

pub(super) fn settings_request(name: &str) -> DescribeConfigsRequest {
    let topic = DescribeConfigsResource::default()
        .with_resource_type(RESOURCE_TOPIC)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    DescribeConfigsRequest::default().with_resources(vec![topic])
}
