//! Topics are made, grown and deleted: what is asked is checked against what there is, in Kafka's order and words
//! (S84, S89; KRaft's ReplicationControlManager), and turned into records.
//!
//! The topics of one command are one decision: its records are in the log together or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::command::{MorePartitions, NewTopic, TopicError, TopicOutcome, TopicRef};
use super::machine::{Plan, image_of};
use super::names;
use super::placement;
use super::state::{Catalog, TopicRow};
use super::{CatalogWorld, TopicImage};
use crate::config::{OffsetRules, TransactionRules};
use crate::types::{ErrorCode, TopicId, topic_name};

/// Partitions that one request may make.
pub const NEW_PARTITIONS_MAX: u64 = 10_000;
/// The longest value of a setting, in UTF-16 units: what KRaft's records can hold.
pub(super) const CONFIG_VALUE_MAX_CHARS: usize = 32_767;

type Outcome = Result<Arc<TopicImage>, TopicError>;

/// CreateTopics. The plan is for all topics that can be made.
pub(super) fn create(
    hard: &Catalog,
    world: &CatalogWorld,
    topics: Vec<NewTopic>,
) -> (Plan, Vec<TopicOutcome>) {
    let duplicates = repeated(topics.iter().map(|topic| topic.name.as_str()));
    let single = |topic: &&NewTopic| !duplicates.contains(&topic.name.as_str());
    let asked = topics.iter().filter(single).map(|topic| partitions_asked(topic, world));
    if asked.sum::<u64>() > NEW_PARTITIONS_MAX {
        let error = too_many_partitions();
        return (Plan::default(), topics.iter().map(|topic| refused(&topic.name, error.clone())).collect());
    }
    let mut plan = Plan::default();
    let mut outcomes = Vec::with_capacity(topics.len());
    for topic in topics.iter().filter(single) {
        let result = check_new(hard, world, topic).map(|row| plan.add(&row, world));
        outcomes.push(TopicOutcome { name: Some(Arc::from(topic.name.as_str())), result });
    }
    for name in duplicates {
        outcomes.push(refused(name, TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")));
    }
    (plan, outcomes)
}

/// Makes what does not exist yet, unless that is more than one request may make: then nothing is made, and what does
/// not exist is refused with `POLICY_VIOLATION`, as CreateTopics does and, behind a Metadata request, Kafka's
/// controller.
pub(super) fn ensure(
    hard: &Catalog,
    world: &CatalogWorld,
    topics: Vec<NewTopic>,
) -> (Plan, Vec<TopicOutcome>) {
    let mut plan = Plan::default();
    let mut made: HashMap<&str, Outcome> = HashMap::with_capacity(topics.len());
    let mut outcomes = Vec::with_capacity(topics.len());
    let mut seen = HashSet::new();
    let new = topics.iter().filter(|topic| hard.topic(&topic.name).is_none() && seen.insert(&*topic.name));
    let too_many = new.map(|topic| partitions_asked(topic, world)).sum::<u64>() > NEW_PARTITIONS_MAX;
    for topic in &topics {
        let outcome = made.entry(&topic.name).or_insert_with(|| match hard.topic(&topic.name) {
            Some(row) => Ok(image_of(row, world)),
            None if too_many => Err(too_many_partitions()),
            None => check_new(hard, world, topic).map(|row| plan.add(&row, world)),
        });
        outcomes.push(TopicOutcome { name: Some(Arc::from(topic.name.as_str())), result: outcome.clone() });
    }
    (plan, outcomes)
}

/// DeleteTopics.
pub(super) fn delete(hard: &Catalog, world: &CatalogWorld, wanted: &[TopicRef]) -> (Plan, Vec<TopicOutcome>) {
    let mut plan = Plan::default();
    let mut outcomes = Vec::with_capacity(wanted.len());
    let duplicates = repeated(wanted.iter());
    let mut answered = HashSet::new();
    for topic in wanted.iter().filter(|topic| answered.insert(*topic)) {
        let row = match topic {
            TopicRef::Name(name) => hard.topic(name),
            TopicRef::Id(id) => hard.topic_by_id(*id),
        };
        let result = check_delete(world, topic, row, &duplicates, &plan.removed).map(|row| {
            plan.records.push(super::Record::RemoveTopic { id: row.id });
            plan.removed.push(row.id);
            image_of(row, world)
        });
        let name = match (topic, row) {
            (TopicRef::Name(name), _) => Some(Arc::from(name.as_str())),
            (TopicRef::Id(_), row) => row.map(|row| Arc::clone(&row.name)),
        };
        outcomes.push(TopicOutcome { name, result });
    }
    (plan, outcomes)
}

/// CreatePartitions.
pub(super) fn grow(
    hard: &Catalog,
    world: &CatalogWorld,
    topics: &[MorePartitions],
) -> (Plan, Vec<TopicOutcome>) {
    let duplicates = repeated(topics.iter().map(|topic| topic.name.as_str()));
    let mut plan = Plan::default();
    let mut outcomes = Vec::with_capacity(topics.len());
    for name in &duplicates {
        outcomes.push(refused(name, TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")));
    }
    let mut made = 0;
    for topic in topics.iter().filter(|topic| !duplicates.contains(&topic.name.as_str())) {
        let result = check_grow(hard, world, topic, made).map(|(row, grown)| {
            made += u64::try_from(grown.partitions.saturating_sub(row.partitions)).unwrap_or(0);
            plan.records.extend(grown.partition_records(row.partitions));
            let image = image_of(&grown, world);
            plan.put.push(Arc::clone(&image));
            image
        });
        outcomes.push(TopicOutcome { name: Some(Arc::from(topic.name.as_str())), result });
    }
    (plan, outcomes)
}

impl Plan {
    fn add(&mut self, row: &TopicRow, world: &CatalogWorld) -> Arc<TopicImage> {
        self.records.extend(row.records());
        let image = image_of(row, world);
        self.put.push(Arc::clone(&image));
        image
    }
}

/// The row that a topic to make would be.
fn check_new(hard: &Catalog, world: &CatalogWorld, topic: &NewTopic) -> Result<TopicRow, TopicError> {
    check_name(hard, &topic.name)?;
    let overrides = check_configs(world, topic)?;
    let default_partitions = match &*topic.name {
        names::CONSUMER_OFFSETS => world.offsets.topic_partitions,
        names::TRANSACTION_STATE => world.transactions.topic_partitions,
        _ => world.topics.default_partitions,
    };
    let partitions = placement::partitions_of(topic, default_partitions, world)?;
    if hard.knows_id(topic.id) || topic.id.is_zero() {
        // A second draw of 122 random bits came out the same: in practice, a caller that drew none.
        return Err(TopicError::new(
            ErrorCode::UnknownServerError,
            "The topic id drawn is in use. Try again.",
        ));
    }
    Ok(TopicRow {
        id: topic.id,
        name: Arc::from(topic.name.as_str()),
        partitions,
        node: world.node_id,
        epoch_base: hard.start_epoch().unwrap_or(0),
        overrides: Arc::new(overrides),
    })
}

fn check_name(hard: &Catalog, name: &str) -> Result<(), TopicError> {
    if name == names::CLUSTER_METADATA {
        return Err(TopicError::new(
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {name} is prohibited."),
        ));
    }
    if names::is_reserved(name) {
        return Err(TopicError::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' is reserved for the broker's own use."),
        ));
    }
    if hard.topic(name).is_some() {
        return Err(TopicError::new(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{name}' already exists."),
        ));
    }
    if let Some(other) = hard.colliding(name) {
        return Err(TopicError::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        ));
    }
    topic_name::check(name).map_err(|why| TopicError::new(ErrorCode::InvalidTopicException, why))
}

/// What the log of committed offsets needs.
pub fn consumer_offsets_settings(rules: &OffsetRules) -> BTreeMap<String, String> {
    let segment = rules.topic_segment_bytes.to_string();
    let own = [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", &*segment)];
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// What the log of transactions needs.
fn transaction_state_settings(rules: &TransactionRules) -> BTreeMap<String, String> {
    let segment = rules.topic_segment_bytes.to_string();
    let own =
        [("cleanup.policy", "compact"), ("compression.type", "uncompressed"), ("segment.bytes", &*segment)];
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The topic's own settings. What is given twice counts as it was given last. The broker's own topics begin with what
/// their log needs.
fn check_configs(world: &CatalogWorld, topic: &NewTopic) -> Result<BTreeMap<String, String>, TopicError> {
    let invalid = |why: String| TopicError::new(ErrorCode::InvalidConfig, why);
    let nulls: Vec<_> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        return Err(invalid(format!("Null value not supported for topic configs: {}", nulls.join(","))));
    }
    let mut overrides = match &*topic.name {
        names::CONSUMER_OFFSETS => consumer_offsets_settings(&world.offsets),
        names::TRANSACTION_STATE => transaction_state_settings(&world.transactions),
        _ => BTreeMap::new(),
    };
    for (name, value) in &topic.configs {
        let value = value.clone().unwrap_or_default();
        check_value_size(&value)?;
        overrides.insert(name.clone(), value);
    }
    world.defaults.validate(&overrides).map_err(invalid)?;
    Ok(overrides)
}

/// Whether KRaft's records can hold this value of a setting.
pub(super) fn check_value_size(value: &str) -> Result<(), TopicError> {
    if value.encode_utf16().count() <= CONFIG_VALUE_MAX_CHARS {
        return Ok(());
    }
    Err(TopicError::new(
        ErrorCode::InvalidConfig,
        format!(
            "The configuration value cannot be added because it exceeds the maximum value size of \
             {CONFIG_VALUE_MAX_CHARS} bytes."
        ),
    ))
}

fn check_delete<'a>(
    world: &CatalogWorld,
    wanted: &TopicRef,
    row: Option<&'a TopicRow>,
    duplicates: &[&TopicRef],
    removed: &[TopicId],
) -> Result<&'a TopicRow, TopicError> {
    if !world.topics.deletable {
        return Err(TopicError::bare(ErrorCode::TopicDeletionDisabled));
    }
    let invalid = |why: &str| TopicError::new(ErrorCode::InvalidRequest, why);
    if duplicates.contains(&wanted) {
        return Err(invalid(match wanted {
            TopicRef::Name(_) => "Duplicate topic name.",
            TopicRef::Id(_) => "Duplicate topic id.",
        }));
    }
    let Some(row) = row else {
        return Err(match wanted {
            TopicRef::Name(_) => unknown_topic(),
            TopicRef::Id(_) => {
                TopicError::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
            }
        });
    };
    if removed.contains(&row.id) {
        return Err(invalid("The provided topic name maps to an ID that was already supplied."));
    }
    if names::is_internal(&row.name) {
        return Err(invalid(&format!("Topic {} is the broker's own and cannot be deleted.", row.name)));
    }
    Ok(row)
}

/// The row as it is and as it would be, after `made` partitions for other topics of the request.
fn check_grow<'a>(
    hard: &'a Catalog,
    world: &CatalogWorld,
    topic: &MorePartitions,
    made: u64,
) -> Result<(&'a TopicRow, TopicRow), TopicError> {
    let row = hard.topic(&topic.name).ok_or_else(|| TopicError::bare(ErrorCode::UnknownTopicOrPartition))?;
    let invalid = |why: String| TopicError::new(ErrorCode::InvalidPartitions, why);
    if names::is_internal(&row.name) {
        return Err(invalid(format!(
            "Topic {} is the broker's own: its partition count decides where groups are kept and cannot change.",
            row.name
        )));
    }
    let (have, want) = (row.partitions, topic.count);
    if want == have {
        return Err(invalid(format!("Topic already has {have} partition(s).")));
    }
    if want < have {
        return Err(invalid(format!(
            "The topic {} currently has {have} partition(s); {want} would not be an increase.",
            topic.name
        )));
    }
    placement::check_more(topic, want - have, world)?;
    if made + u64::from((want - have).unsigned_abs()) > NEW_PARTITIONS_MAX {
        return Err(TopicError::new(
            ErrorCode::PolicyViolation,
            "Unable to perform excessively large batch operation.",
        ));
    }
    Ok((row, TopicRow { partitions: want, ..row.clone() }))
}

fn partitions_asked(topic: &NewTopic, world: &CatalogWorld) -> u64 {
    if !topic.assignments.is_empty() {
        return topic.assignments.len() as u64;
    }
    let count = if topic.partitions == -1 { world.topics.default_partitions } else { topic.partitions };
    u64::try_from(count).unwrap_or(0)
}

fn too_many_partitions() -> TopicError {
    TopicError::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
}

fn unknown_topic() -> TopicError {
    TopicError::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
}

fn refused(name: &str, error: TopicError) -> TopicOutcome {
    TopicOutcome { name: Some(Arc::from(name)), result: Err(error) }
}

/// What comes more than once, each once, in the order of its second coming.
fn repeated<T: Hash + Eq + Copy>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashMap::new();
    items
        .filter(|item| {
            let times = seen.entry(*item).or_insert(0);
            *times += 1;
            *times == 2
        })
        .collect()
}
