//! Which offset a partition has at its start, at its end or at some time (ListOffsets).

use std::collections::BTreeMap;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};

use super::cluster::{At, Lane};
use super::connection::millis;
use super::metadata::topic_name;
use super::retry::retry;
use super::{Client, Error, Wanted};
use crate::types::offset::NO_EPOCH;
use crate::types::{ErrorCode, Timestamp};

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its first record.
    Start,
    /// Behind its last record.
    End,
    /// The first record at or after this time; the end, when there is none.
    Time(Timestamp),
}

impl Place {
    const fn timestamp(self) -> Timestamp {
        match self {
            Self::Start => -2,
            Self::End => -1,
            Self::Time(at) => at,
        }
    }
}

/// Which transactions a reader waits for (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// None: it sees records as they come.
    #[default]
    ReadUncommitted,
    /// All: it sees records of transactions once they are committed.
    ReadCommitted,
}

impl Isolation {
    pub(super) const fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// The offset at `place` in each of these partitions of a topic.
///
/// # Errors
/// The topic or one of the partitions does not exist, or its leader does not answer.
pub async fn list(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    place: Place,
    isolation: Isolation,
) -> Result<BTreeMap<i32, i64>, Error> {
    retry(client, async || list_once(client, topic, partitions, place, isolation).await).await
}

/// As [`list`], but tried only once.
pub(super) async fn list_once(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    place: Place,
    isolation: Isolation,
) -> Result<BTreeMap<i32, i64>, Error> {
    let offset = |(index, found): (i32, Found)| (index, found.offset);
    let rows = by_timestamp(client, topic, partitions, place.timestamp(), isolation).await?;
    let mut found: BTreeMap<i32, i64> = rows.into_iter().map(offset).collect();
    let late: Vec<i32> = found.iter().filter(|(_, offset)| **offset < 0).map(|(index, _)| *index).collect();
    if !late.is_empty() {
        let ends = by_timestamp(client, topic, &late, Place::End.timestamp(), isolation).await?;
        found.extend(ends.into_iter().map(offset));
    }
    Ok(found)
}

/// The time of the first record that has one, in each of these partitions that has such a record.
///
/// # Errors
/// As [`list`].
pub async fn first_times(
    client: &Client,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Timestamp>, Error> {
    let found =
        retry(client, async || by_timestamp(client, topic, partitions, 0, Isolation::ReadUncommitted).await)
            .await?;
    let timed = found.into_iter().filter(|(_, found)| found.offset >= 0 && found.timestamp >= 0);
    Ok(timed.map(|(index, found)| (index, found.timestamp)).collect())
}

/// What ListOffsets tells of one partition.
#[derive(Debug, Clone, Copy)]
struct Found {
    offset: i64,
    timestamp: Timestamp,
}

async fn by_timestamp(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    timestamp: Timestamp,
    isolation: Isolation,
) -> Result<BTreeMap<i32, Found>, Error> {
    let mut found = BTreeMap::new();
    for (leader, partitions) in by_leader(client, topic, partitions).await? {
        let timeout = millis(client.options().timeout);
        let make = |version| request(version, topic, &partitions, timestamp, isolation, timeout);
        let answer = client.call(At::Broker(leader), Lane::Questions, make).await?;
        for row in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            Error::check(
                format!("look up offsets of {topic}-{}", row.partition_index),
                row.error_code,
                None,
            )?;
            found.insert(row.partition_index, Found { offset: row.offset, timestamp: row.timestamp });
        }
    }
    Ok(found)
}

/// Partitions under the brokers that lead them.
pub(super) async fn by_leader(
    client: &Client,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Vec<i32>>, Error> {
    let metadata = client.metadata_once(Wanted::Named(&[topic]), false).await?;
    let rows = metadata.topics.get(topic);
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for &index in partitions {
        let doing = || format!("look up offsets of {topic}-{index}");
        if let Some(code) = rows.and_then(|topic| topic.error) {
            return Err(Error::refused(doing(), code.code(), None));
        }
        let row = rows.and_then(|topic| topic.partitions.iter().find(|row| row.index == index));
        match row.map(|row| row.leader) {
            Some(Some(leader)) => leaders.entry(leader).or_default().push(index),
            Some(None) => return Err(Error::refused(doing(), ErrorCode::LeaderNotAvailable.code(), None)),
            None => return Err(Error::refused(doing(), ErrorCode::UnknownTopicOrPartition.code(), None)),
        }
    }
    Ok(leaders)
}

pub(super) fn request(
    version: i16,
    topic: &str,
    partitions: &[i32],
    timestamp: Timestamp,
    isolation: Isolation,
    timeout_ms: i32,
) -> ListOffsetsRequest {
    let row = |&index: &i32| {
        let row = ListOffsetsPartition::default().with_partition_index(index).with_timestamp(timestamp);
        if version < 4 { row } else { row.with_current_leader_epoch(NO_EPOCH) }
    };
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.iter().map(row).collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation.code())
        .with_topics(vec![topic]);
    if version < 10 { request } else { request.with_timeout_ms(timeout_ms) }
}
