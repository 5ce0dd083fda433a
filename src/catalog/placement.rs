//! Which brokers hold a topic's partitions. There is one broker, so this is about refusing what asks for others, in
//! Kafka's words.

use std::collections::HashSet;

use super::CatalogWorld;
use super::command::{MorePartitions, NewTopic, TopicError};
use crate::types::ErrorCode;

/// How many partitions a topic to make has.
///
/// # Errors
/// Its counts are out of range (37, 38), contradict its manual assignment (42), or that is not one (39).
pub(super) fn partitions_of(topic: &NewTopic, default: i32, world: &CatalogWorld) -> Result<i32, TopicError> {
    if !topic.assignments.is_empty() {
        return assigned(topic, world);
    }
    let factor = topic.replication_factor;
    if factor < -1 || factor == 0 {
        return Err(TopicError::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if topic.partitions < -1 || topic.partitions == 0 {
        return Err(TopicError::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    // The default is capped at the brokers there are, which is one.
    if factor > 1 {
        return Err(TopicError::new(
            ErrorCode::InvalidReplicationFactor,
            format!("replication factor {factor} needs {factor} brokers, 1 is up. Use -r 1, or omit it."),
        ));
    }
    Ok(if topic.partitions == -1 { default } else { topic.partitions })
}

/// Checks the manual placement of partitions to add, if one is given.
///
/// # Errors
/// It is for another number of partitions, or asks for other brokers (39).
pub(super) fn check_more(
    topic: &MorePartitions,
    additional: i32,
    world: &CatalogWorld,
) -> Result<(), TopicError> {
    let Some(assignments) = &topic.assignments else { return Ok(()) };
    if i32::try_from(assignments.len()) != Ok(additional) {
        return Err(unassignable(format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        )));
    }
    assignments.iter().try_for_each(|brokers| check_brokers(brokers, Some(1), world.node_id))
}

fn assigned(topic: &NewTopic, world: &CatalogWorld) -> Result<i32, TopicError> {
    let contradiction = |what: &str| {
        let why = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        TopicError::new(ErrorCode::InvalidRequest, why)
    };
    if topic.replication_factor != -1 {
        return Err(contradiction("replication factor"));
    }
    if topic.partitions != -1 {
        return Err(contradiction("numPartitions"));
    }
    let mut partitions = HashSet::new();
    let mut factor = None;
    for (partition, brokers) in &topic.assignments {
        if !partitions.insert(*partition) {
            return Err(unassignable(format!(
                "Found multiple manual partition assignments for partition {partition}"
            )));
        }
        check_brokers(brokers, factor, world.node_id)?;
        factor = Some(brokers.len());
    }
    let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
    if !(0..count).all(|partition| partitions.contains(&partition)) {
        return Err(unassignable("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok(count)
}

/// Checks the brokers of one partition.
fn check_brokers(brokers: &[i32], factor: Option<usize>, node: i32) -> Result<(), TopicError> {
    let said = "The manual partition assignment includes";
    if brokers.is_empty() {
        return Err(unassignable(format!("{said} an empty replica list.")));
    }
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for broker in sorted {
        if broker != node {
            return Err(unassignable(format!("{said} broker {broker}, but no such broker is registered.")));
        }
        if previous == Some(broker) {
            return Err(unassignable(format!("{said} the broker {broker} more than once.")));
        }
        previous = Some(broker);
    }
    match factor {
        Some(factor) if factor != brokers.len() => Err(unassignable(format!(
            "{said} a partition with {} replica(s), but this is not consistent with previous partitions, which have \
             {factor} replica(s).",
            brokers.len()
        ))),
        _ => Ok(()),
    }
}

fn unassignable(why: String) -> TopicError {
    TopicError::new(ErrorCode::InvalidReplicaAssignment, why)
}
