//! Changing topics that exist: their settings (IncrementalAlterConfigs, KIP-339) and where they begin (DeleteRecords).

use std::collections::BTreeMap;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DeleteRecordsRequest, IncrementalAlterConfigsRequest};

use super::cluster::{At, Lane};
use super::connection::millis;
use super::metadata::{text, topic_name};
use super::offsets::by_leader;
use super::retry::retry;
use super::topics::RESOURCE_TOPIC;
use super::{Client, Error};

/// The change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub op: SettingOp,
}

/// What happens to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingOp {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Delete,
    /// Its list gets these elements.
    Append(String),
    /// Its list loses these elements.
    Subtract(String),
}

impl SettingOp {
    /// The operation's number, and its value.
    fn parts(&self) -> (i8, Option<&str>) {
        match self {
            Self::Set(value) => (0, Some(value)),
            Self::Delete => (1, None),
            Self::Append(values) => (2, Some(values)),
            Self::Subtract(values) => (3, Some(values)),
        }
    }
}

/// Changes settings of a topic: all of these or none.
///
/// # Errors
/// The broker refuses, does not answer, or is older than Kafka 2.3.
pub async fn alter(client: &Client, topic: &str, changes: &[SettingChange]) -> Result<(), Error> {
    let answer = retry(client, async || {
        client.call(At::Controller, Lane::Questions, |_| alter_request(topic, changes)).await
    })
    .await?;
    let row = answer.responses.into_iter().next().unwrap_or_default();
    Error::check(format!("change topic {topic}"), row.error_code, row.error_message.as_deref())
}

fn alter_request(topic: &str, changes: &[SettingChange]) -> IncrementalAlterConfigsRequest {
    let config = |change: &SettingChange| {
        let (operation, value) = change.op.parts();
        AlterableConfig::default()
            .with_name(text(&change.name))
            .with_config_operation(operation)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(RESOURCE_TOPIC)
        .with_resource_name(text(topic))
        .with_configs(changes.iter().map(config).collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

/// Deletes the records below an offset in each of these partitions of a topic. Returns each partition's first offset
/// from then on.
///
/// # Errors
/// The first partition that a broker refuses, or no answer; others may have been trimmed.
pub async fn delete_below(
    client: &Client,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, Error> {
    retry(client, async || {
        let partitions: Vec<i32> = offsets.keys().copied().collect();
        let mut starts = BTreeMap::new();
        for (leader, partitions) in by_leader(client, topic, &partitions).await? {
            let timeout = millis(client.options().timeout);
            let make = |_| delete_request(topic, &partitions, offsets, timeout);
            let answer = client.call(At::Broker(leader), Lane::Questions, make).await?;
            for row in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                Error::check(format!("trim {topic}-{}", row.partition_index), row.error_code, None)?;
                starts.insert(row.partition_index, row.low_watermark);
            }
        }
        Ok(starts)
    })
    .await
}

fn delete_request(
    topic: &str,
    partitions: &[i32],
    offsets: &BTreeMap<i32, i64>,
    timeout_ms: i32,
) -> DeleteRecordsRequest {
    let row = |index: &i32| {
        let offset = offsets.get(index).copied().unwrap_or(0);
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(offset)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.iter().map(row).collect());
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms)
}
