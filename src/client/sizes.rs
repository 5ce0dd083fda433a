//! How much room partitions take on their leaders' disks, and what of them is damaged there (DescribeLogDirs, KIP-113).

use std::collections::BTreeMap;

use kafka_protocol::messages::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;

use super::cluster::{At, Lane};
use super::metadata::topic_name;
use super::{Client, Error, Topic};
use crate::types::ErrorCode;

/// What a leader tells of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// Its bytes.
    pub bytes: i64,
    /// What of it cannot be read any more; only streamd tells.
    pub damage: Vec<Lost>,
}

/// Offsets that are damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The first.
    pub first: i64,
    /// The one behind the last.
    pub next: i64,
    /// In which way.
    pub why: String,
}

/// What is on disk of each partition of a topic on its leader. A broker that does not tell, because it is too old or must not, is
/// passed over.
///
/// # Errors
/// A broker does not answer.
pub async fn of_topic(client: &Client, topic: &Topic) -> Result<BTreeMap<i32, OnDisk>, Error> {
    let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in &topic.partitions {
        if let Some(leader) = partition.leader {
            led.entry(leader).or_default().push(partition.index);
        }
    }
    let mut sizes = BTreeMap::new();
    for (leader, partitions) in led {
        let make = |_| request(&topic.name, &partitions);
        let answer = match client.call(At::Broker(leader), Lane::Questions, make).await {
            Ok(answer) if answer.error_code == ErrorCode::None.code() => answer,
            Ok(_) | Err(Error::Unsupported { .. } | Error::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        let topics = answer.results.iter().flat_map(|dir| &dir.topics);
        for row in topics.filter(|row| row.name.as_str() == topic.name).flat_map(|row| &row.partitions) {
            // A replica that moves between directories is in both; the one that serves counts.
            if !row.is_future_key && partitions.contains(&row.partition_index) {
                let damage =
                    row.unknown_tagged_fields.get(&DAMAGE_TAG).map(|text| lost(text)).unwrap_or_default();
                sizes.insert(row.partition_index, OnDisk { bytes: row.partition_size, damage });
            }
        }
    }
    Ok(sizes)
}

fn lost(text: &[u8]) -> Vec<Lost> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ' ');
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        let (first, next) = (number()?, number()?);
        Some(Lost { first, next, why: fields.next().unwrap_or_default().to_owned() })
    };
    String::from_utf8_lossy(text).lines().filter_map(line).collect()
}

fn request(topic: &str, partitions: &[i32]) -> DescribeLogDirsRequest {
    let topic =
        DescribableLogDirTopic::default().with_topic(topic_name(topic)).with_partitions(partitions.to_vec());
    DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
}

/// The tagged field in which streamd tells of damage.
const DAMAGE_TAG: i32 = 21_000;
