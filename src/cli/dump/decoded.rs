//! What the records of the broker's own topics say, in words.

use std::fmt::{Display, Write as _};

use crate::catalog::names::{CLUSTER_METADATA, CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::catalog::records::Record;
use crate::coord::{BatchKind, Decoded, LogRecord, StateMachine as _};
use crate::groups::{CommittedOffset, Groups, Record as GroupRecord};
use crate::record::{BatchView, RecordView};
use crate::txn::{Record as TransactionRecord, Transactions};

/// What a record of one of the broker's own topics says; `None` for those of others.
pub(super) fn decoded(batch: &BatchView<'_>, record: &RecordView<'_>, topic: Option<&str>) -> Option<String> {
    let kind = BatchKind::of(batch).ok().flatten()?;
    if batch.header().attributes.is_control() {
        return None;
    }
    let copied = |bytes: Option<&[u8]>| bytes.map(bytes::Bytes::copy_from_slice);
    let record = LogRecord { key: copied(record.key), value: copied(record.value) };
    match topic? {
        CLUSTER_METADATA => Some(match Record::decode(&record) {
            Ok(Some(record)) => of_catalog(&record),
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }),
        CONSUMER_OFFSETS => Some(match Groups::decode(&record, &kind) {
            Ok(Decoded::Own(record)) => of_group(&record),
            Ok(Decoded::Nothing) => "nothing".to_owned(),
            Ok(Decoded::NotOurs(why)) => why,
            Err(error) => error.to_string(),
        }),
        TRANSACTION_STATE => Some(match Transactions::decode(&record, &kind) {
            Ok(Decoded::Own(record)) => of_transaction(&record),
            Ok(Decoded::Nothing) => "nothing".to_owned(),
            Ok(Decoded::NotOurs(why)) => why,
            Err(error) => error.to_string(),
        }),
        _ => None,
    }
}

fn of_catalog(record: &Record) -> String {
    match record {
        Record::Topic { name, id } => format!("topic {name}, id {id}"),
        Record::Partition { topic, partition, node } => {
            format!("partition {partition} of topic id {topic}, on node {node}")
        }
        Record::TopicConfig { topic, name, value: Some(value) } => {
            format!("setting of topic {topic}: {name}={value}")
        }
        Record::TopicConfig { topic, name, value: None } => {
            format!("setting of topic {topic}: {name} is the default again")
        }
        Record::RemoveTopic { id } => format!("topic id {id} is deleted"),
        Record::FeatureLevel { name, level } => format!("feature {name} at level {level}"),
        Record::ProducerIds { node, next } => {
            format!("producer ids below {next} are given, the last ones to node {node}")
        }
        Record::Start { epoch } => format!("start, leader epoch {epoch}"),
        Record::TopicEpochBase { topic, base } => {
            format!("leader epochs of topic id {topic} count from start {base}")
        }
        Record::PendingRemoval { id, name, partitions } => {
            format!("the files of topic {name}, id {id}, {partitions} partitions, are to be removed")
        }
        Record::FilesRemoved { id } => format!("the files of topic id {id} are removed"),
        Record::Changes { count } => format!("{count} changes so far"),
    }
}

fn of_group(record: &GroupRecord) -> String {
    match record {
        GroupRecord::Offset { group, topic, partition, value: None } => {
            format!("group {group} has no offset of {topic}-{partition} any more")
        }
        GroupRecord::Offset { group, topic, partition, value: Some(value) } => {
            format!("group {group} is at {}", of_offset(topic, *partition, value))
        }
        GroupRecord::PendingOffset { group, topic, partition, pending } => format!(
            "if the transaction of producer {}, epoch {}, is committed, group {group} is at {}",
            pending.producer_id,
            pending.producer_epoch,
            of_offset(topic, *partition, &pending.value)
        ),
        GroupRecord::EndTransaction { producer_id, commit } => {
            let end = if *commit { "committed" } else { "aborted" };
            format!("the transaction of producer {producer_id} is {end}")
        }
        GroupRecord::Group { group, value: None } => format!("group {group} is gone"),
        GroupRecord::Group { group, value: Some(value) } => {
            let mut text = format!("group {group}, generation {}", value.generation);
            let mut more = |what: &str, value: Option<&dyn Display>| {
                if let Some(value) = value {
                    let _ = write!(text, ", {what} {value}");
                }
            };
            more("type", value.protocol_type.as_ref().map(|it| it as &dyn Display));
            more("protocol", value.protocol.as_ref().map(|it| it as &dyn Display));
            more("leader", value.leader.as_ref().map(|it| it as &dyn Display));
            more("since", value.state_since.as_ref().map(|it| it as &dyn Display));
            for member in &value.members {
                let _ = write!(
                    text,
                    "; member {} of client {} at {}, session {} ms, rebalance {} ms, subscription {} bytes, assignment \
                     {} bytes",
                    member.member_id,
                    member.client_id,
                    member.client_host,
                    member.session_timeout_ms,
                    member.rebalance_timeout_ms,
                    member.subscription.len(),
                    member.assignment.len()
                );
                if let Some(instance) = &member.instance_id {
                    let _ = write!(text, ", instance {instance}");
                }
            }
            text
        }
    }
}

fn of_offset(topic: &str, partition: i32, value: &CommittedOffset) -> String {
    let mut text = format!(
        "offset {} of {topic}-{partition}, epoch {}, committed at {}",
        value.offset, value.leader_epoch, value.committed_at
    );
    if let Some(expires) = value.expires_at {
        let _ = write!(text, ", expires at {expires}");
    }
    if let Some(note) = &value.metadata {
        let _ = write!(text, ", note \"{}\"", note.escape_debug());
    }
    text
}

fn of_transaction(record: &TransactionRecord) -> String {
    let id = &record.transactional_id;
    let Some(transaction) = &record.value else { return format!("transactional id {id} is gone") };
    let mut text = format!(
        "transactional id {id} is {}, producer {}, epoch {}, time-out {} ms, changed at {}",
        transaction.status.name(),
        transaction.producer.id,
        transaction.producer.epoch,
        transaction.timeout_ms,
        transaction.updated_at
    );
    for (topic, partitions) in &transaction.partitions {
        for partition in partitions {
            let _ = write!(text, ", {topic}-{partition}");
        }
    }
    text
}
