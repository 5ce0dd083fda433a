//! Settings of topics change: what is asked is checked against the settings that a topic has, in Kafka's order and words
//! (S96; KRaft's ConfigurationControlManager), and turned into KRaft's ConfigRecords.
//!
//! All changes of one topic are made or none; topics are independent of each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CatalogWorld;
use super::command::{AlterTopic, ConfigChange, ConfigOp, TopicError, TopicOutcome};
use super::machine::{Plan, image_of};
use super::records::Record;
use super::state::{Catalog, TopicRow};
use super::topics::{CONFIG_VALUE_MAX_CHARS, check_value_size};
use crate::config::keys::{self, Kind, Scope};
use crate::types::{ErrorCode, topic_name};

type Overrides = BTreeMap<String, String>;

/// AlterConfigs and IncrementalAlterConfigs of topics, each named once.
pub(super) fn alter(
    hard: &Catalog,
    world: &CatalogWorld,
    topics: &[AlterTopic],
) -> (Plan, Vec<TopicOutcome>) {
    let mut plan = Plan::default();
    let mut outcomes = Vec::with_capacity(topics.len());
    for topic in topics {
        let result = check(hard, world, topic).map(|(row, overrides)| {
            let records = differences(row, &overrides);
            let altered = TopicRow { overrides: Arc::new(overrides), ..row.clone() };
            let image = image_of(&altered, world);
            if !records.is_empty() {
                plan.records.extend(records);
                plan.put.push(Arc::clone(&image));
                plan.configured.push(Arc::clone(&image));
            }
            image
        });
        outcomes.push(TopicOutcome { name: Some(Arc::from(topic.name.as_str())), result });
    }
    (plan, outcomes)
}

/// What the records of a change take at most, each with `record` bytes besides name and value.
pub(super) fn room(topic: &AlterTopic, record: u64) -> u64 {
    let (count, bytes): (usize, usize) = match &topic.change {
        ConfigChange::Replace(settings) => {
            let bytes = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
            // As many as there are may go with it.
            (settings.len() + keys::topic().count(), bytes)
        }
        ConfigChange::Each(ops) => {
            let of_op = |op: &ConfigOp| match op {
                ConfigOp::Set(value) => value.len(),
                ConfigOp::Delete => 0,
                // The list may have been long before.
                ConfigOp::Append(_) | ConfigOp::Subtract(_) => 3 * CONFIG_VALUE_MAX_CHARS,
            };
            (ops.len(), ops.iter().map(|(name, op)| name.len() + of_op(op)).sum())
        }
    };
    record * count as u64 + bytes as u64
}

/// The topic and its settings as they would be.
fn check<'a>(
    hard: &'a Catalog,
    world: &CatalogWorld,
    topic: &AlterTopic,
) -> Result<(&'a TopicRow, Overrides), TopicError> {
    let row = hard.topic(&topic.name);
    let none = Overrides::new();
    let present = row.map_or(&none, |row| &row.overrides);
    let altered = match &topic.change {
        ConfigChange::Replace(settings) => settings.iter().cloned().collect(),
        ConfigChange::Each(ops) => apply(present, ops)?,
    };
    for (name, value) in &altered {
        if present.get(name) != Some(value) {
            check_value_size(value)?;
        }
    }
    if topic.name.is_empty() {
        let message = "Default topic resources are not allowed.";
        return Err(TopicError::new(ErrorCode::InvalidRequest, message));
    }
    topic_name::check(&topic.name).map_err(|why| TopicError::new(ErrorCode::InvalidTopicException, why))?;
    world.defaults.validate(&altered).map_err(|why| TopicError::new(ErrorCode::InvalidConfig, why))?;
    let row = row.ok_or_else(|| {
        let message = format!("The topic '{}' does not exist.", topic.name);
        TopicError::new(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    Ok((row, altered))
}

/// The settings after these changes.
fn apply(present: &Overrides, ops: &[(String, ConfigOp)]) -> Result<Overrides, TopicError> {
    let mut altered = present.clone();
    for (name, op) in ops {
        match op {
            ConfigOp::Set(value) => drop(altered.insert(name.clone(), value.clone())),
            ConfigOp::Delete => drop(altered.remove(name)),
            ConfigOp::Append(values) => {
                let mut list = list_of(&altered, name, "APPEND")?;
                for value in elements(values) {
                    if !list.iter().any(|known| known == value) {
                        list.push(value.to_owned());
                    }
                }
                altered.insert(name.clone(), list.join(","));
            }
            ConfigOp::Subtract(values) => {
                let mut list = list_of(&altered, name, "SUBTRACT")?;
                for value in elements(values) {
                    if let Some(at) = list.iter().position(|known| known == value) {
                        list.remove(at);
                    }
                }
                altered.insert(name.clone(), list.join(","));
            }
        }
    }
    Ok(altered)
}

/// The elements of a list setting: the topic's own, else Kafka's default, as Kafka has it.
fn list_of(present: &Overrides, name: &str, op: &str) -> Result<Vec<String>, TopicError> {
    let key = keys::find(Scope::Topic, name).filter(|key| key.kind == Kind::List).ok_or_else(|| {
        let message = format!("Can't {op} to key {name} because its type is not LIST.");
        TopicError::new(ErrorCode::InvalidConfig, message)
    })?;
    let text = present.get(name).map(String::as_str).or(key.default).unwrap_or_default();
    Ok(text.split(',').filter(|element| !element.is_empty()).map(str::to_owned).collect())
}

/// The elements of what is to be added or taken away, split as Java splits: without empty ones at the end.
fn elements(values: &str) -> impl Iterator<Item = &str> {
    let trimmed = values.trim_end_matches(',');
    let is_nothing = trimmed.is_empty() && !values.is_empty();
    trimmed.split(',').filter(move |_| !is_nothing)
}

/// The records that lead from a topic's settings to these.
fn differences(row: &TopicRow, altered: &Overrides) -> Vec<Record> {
    let record = |name: &String, value: Option<&String>| Record::TopicConfig {
        topic: Arc::clone(&row.name),
        name: name.clone(),
        value: value.cloned(),
    };
    let set = altered
        .iter()
        .filter(|(name, value)| row.overrides.get(*name) != Some(*value))
        .map(|(name, value)| record(name, Some(value)));
    let gone =
        row.overrides.keys().filter(|name| !altered.contains_key(*name)).map(|name| record(name, None));
    set.chain(gone).collect()
}

#[cfg(test)]
#[path = "configs_tests.rs"]
mod tests;
