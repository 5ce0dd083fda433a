//! Questions of administration about transactions to the partitions that hold them: where one is open, since when, and
//! how to end one that no coordinator knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{DescribeProducersRequest, FetchRequest, ProducerId, WriteTxnMarkersRequest};

use super::cluster::{At, Lane};
use super::metadata::topic_name;
use super::offsets::{Isolation, by_leader};
use super::retry::retry;
use super::{Client, Error, Wanted, consumer};
use crate::record::BatchView;
use crate::types::{ErrorCode, Timestamp, TopicId};

/// Partitions that one DescribeProducers asks for.
const ASKED_MAX_PARTITIONS: usize = 1_000;

/// A transaction that is open in a partition, as the partition knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIn {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Whose transaction it is.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i32,
    /// The epoch of the coordinator that ended the producer's last transaction there, -1 if there was none.
    pub coordinator_epoch: i32,
    /// The transaction's first offset there: readers of committed records wait at the first of these.
    pub first_offset: i64,
    /// When the producer wrote last.
    pub last_written: Timestamp,
}

/// The transactions that are open in these partitions of a topic, by partition and first offset.
///
/// # Errors
/// The topic or one of the partitions does not exist, another refusal, or no answer.
pub async fn open_in(client: &Client, topic: &str, partitions: &[i32]) -> Result<Vec<OpenIn>, Error> {
    retry(client, async || {
        let mut open = Vec::new();
        for (leader, partitions) in by_leader(client, topic, partitions).await? {
            open.extend(ask(client, leader, &[(topic, partitions)]).await?);
        }
        Ok(sorted(open))
    })
    .await
}

/// The same in every partition that has a leader, of the brokers' own topics too: a group's offsets are in one. What is
/// deleted meanwhile is passed over.
///
/// # Errors
/// A refusal, or no answer.
pub async fn open_anywhere(client: &Client) -> Result<Vec<OpenIn>, Error> {
    let metadata = client.metadata(Wanted::All, false).await?;
    let mut by_leader: BTreeMap<i32, Vec<(&str, i32)>> = BTreeMap::new();
    for topic in metadata.topics.values().filter(|topic| topic.error.is_none()) {
        for partition in &topic.partitions {
            if let Some(leader) = partition.leader {
                by_leader.entry(leader).or_default().push((&topic.name, partition.index));
            }
        }
    }
    let mut open = Vec::new();
    for (leader, partitions) in by_leader {
        for some in partitions.chunks(ASKED_MAX_PARTITIONS) {
            let topics: Vec<(&str, Vec<i32>)> = some
                .chunk_by(|one, next| one.0 == next.0)
                .filter_map(|of| Some((of.first()?.0, of.iter().map(|(_, index)| *index).collect())))
                .collect();
            open.extend(retry(client, async || ask(client, leader, &topics).await).await?);
        }
    }
    Ok(sorted(open))
}

/// Asks one broker. A partition that does not exist is an error if it is of the only topic that is asked for.
async fn ask(client: &Client, leader: i32, topics: &[(&str, Vec<i32>)]) -> Result<Vec<OpenIn>, Error> {
    let make = |_| producers_request(topics);
    let answer = client.call(At::Broker(leader), Lane::Questions, make).await?;
    let mut open = Vec::new();
    for topic in &answer.topics {
        for row in &topic.partitions {
            let (name, index) = (topic.name.to_string(), row.partition_index);
            let doing = format!("describe the producers of {name}-{index}");
            match Error::check(doing, row.error_code, row.error_message.as_deref()) {
                Err(error) if topics.len() > 1 && is_gone(&error) => continue,
                told => told?,
            }
            let of_open = row.active_producers.iter().filter(|row| row.current_txn_start_offset >= 0);
            open.extend(of_open.map(|row| OpenIn {
                topic: name.clone(),
                partition: index,
                producer_id: *row.producer_id,
                producer_epoch: row.producer_epoch,
                coordinator_epoch: row.coordinator_epoch,
                first_offset: row.current_txn_start_offset,
                last_written: row.last_timestamp,
            }));
        }
    }
    Ok(open)
}

fn is_gone(error: &Error) -> bool {
    error.code() == Some(ErrorCode::UnknownTopicOrPartition)
}

fn sorted(mut open: Vec<OpenIn>) -> Vec<OpenIn> {
    open.sort_unstable_by(|a, b| {
        (&a.topic, a.partition, a.first_offset).cmp(&(&b.topic, b.partition, b.first_offset))
    });
    open
}

pub(super) fn producers_request(topics: &[(&str, Vec<i32>)]) -> DescribeProducersRequest {
    let row = |(name, partitions): &(&str, Vec<i32>)| {
        TopicRequest::default().with_name(topic_name(name)).with_partition_indexes(partitions.clone())
    };
    DescribeProducersRequest::default().with_topics(topics.iter().map(row).collect())
}

/// The time that the first record of an open transaction carries; `None` if it is gone, or has none.
///
/// # Errors
/// A refusal, or no answer.
pub async fn first_written(client: &Client, open: &OpenIn) -> Result<Option<Timestamp>, Error> {
    let read = retry(client, async || {
        let metadata = client.metadata_once(Wanted::Named(&[&open.topic]), false).await?;
        let topic = metadata.topics.get(&open.topic);
        let id = topic.map(|topic| topic.id).unwrap_or_default();
        let mut leaders = by_leader(client, &open.topic, &[open.partition]).await?.into_keys();
        let Some(leader) = leaders.next() else { return Ok(None) };
        let wanted = [(Arc::from(&*open.topic), id, open.partition, open.first_offset)];
        let make = |version| first_batch_request(version, &wanted);
        let answer = client.call(At::Broker(leader), Lane::Questions, make).await?;
        let row = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let Some(row) = row else { return Ok(None) };
        Error::check(format!("read {}-{}", open.topic, open.partition), row.error_code, None)?;
        let bytes = row.records.unwrap_or_default();
        let batch = BatchView::parse(&bytes).ok();
        let batch = batch.filter(|batch| batch.header().base_offset == open.first_offset);
        let written = batch.map(|batch| {
            let header = batch.header();
            if header.attributes.is_log_append_time() { header.max_timestamp } else { header.base_timestamp }
        });
        Ok(written.filter(|at| *at >= 0))
    });
    match read.await {
        Err(error) if is_gone(&error) || error.code() == Some(ErrorCode::OffsetOutOfRange) => Ok(None),
        read => read,
    }
}

/// A fetch of no more than the first batch at an offset.
fn first_batch_request(version: i16, wanted: &[(Arc<str>, TopicId, i32, i64)]) -> FetchRequest {
    let mut request = consumer::request(version, wanted, Isolation::ReadUncommitted).with_max_bytes(1);
    for partition in request.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.partition_max_bytes = 1;
    }
    request
}

/// Aborts a transaction in one partition, past its coordinator: for one that no coordinator knows.
///
/// # Errors
/// A refusal, or no answer.
pub async fn abort_in(client: &Client, open: &OpenIn) -> Result<(), Error> {
    retry(client, async || {
        for leader in by_leader(client, &open.topic, &[open.partition]).await?.into_keys() {
            let answer = client.call(At::Broker(leader), Lane::Questions, |_| marker_request(open)).await?;
            let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
            for row in topics.flat_map(|topic| &topic.partitions) {
                let doing = format!("end the transaction in {}-{}", open.topic, open.partition);
                Error::check(doing, row.error_code, None)?;
            }
        }
        Ok(())
    })
    .await
}

pub(super) fn marker_request(open: &OpenIn) -> WriteTxnMarkersRequest {
    let topic = WritableTxnMarkerTopic::default()
        .with_name(topic_name(&open.topic))
        .with_partition_indexes(vec![open.partition]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(ProducerId(open.producer_id))
        .with_producer_epoch(i16::try_from(open.producer_epoch).unwrap_or(i16::MAX))
        .with_transaction_result(false)
        .with_topics(vec![topic])
        // A producer whose first transaction hangs has met no coordinator there yet.
        .with_coordinator_epoch(open.coordinator_epoch.max(0));
    WriteTxnMarkersRequest::default().with_markers(vec![marker])
}
