//! Questions of administration about transactions: which there are, what they hold, and how to end one.
//!
//! A transaction is known in two places. Its coordinator knows state, start and partitions by transactional id
//! (ListTransactions, DescribeTransactions); each partition knows the producers that write to it and where an open
//! transaction begins (DescribeProducers). One that only a partition knows hangs: nobody will end it.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    ProducerId, TransactionalId, WriteTxnMarkersRequest,
};

use super::cluster::{At, Lane};
use super::coordinator::{self, Coordinated};
use super::metadata::{text, topic_name};
use super::offsets::by_leader;
use super::retry::retry;
use super::{Client, Error, Wanted};
use crate::types::offset::NO_PRODUCER_ID;
use crate::types::{ErrorCode, Timestamp};

/// The time limit that an InitProducerId asks for whose producer will never begin a transaction, in milliseconds.
const FENCING_TIMEOUT_MS: i32 = 60_000;
/// Ids that one DescribeTransactions asks for.
const DESCRIBED_MAX: usize = 1_000;

/// A transactional id in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The transactional id.
    pub id: String,
    /// Its producer id.
    pub producer_id: i64,
    /// The state of its last transaction, by Kafka's name.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
}

/// A transactional id in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The transactional id.
    pub id: String,
    /// The state of its last transaction, by Kafka's name.
    pub state: String,
    /// Its producer id.
    pub producer_id: i64,
    /// Its producer epoch.
    pub producer_epoch: i16,
    /// How long a transaction of it may be open, in milliseconds.
    pub timeout_ms: i32,
    /// When the transaction that is under way began.
    pub began: Option<Timestamp>,
    /// The partitions of the transaction that is under way, sorted.
    pub partitions: Vec<(String, i32)>,
    /// The broker that coordinates it.
    pub coordinator: i32,
}

impl Described {
    /// Whether a transaction is under way: open, or decided and not yet carried out.
    pub fn is_under_way(&self) -> bool {
        is_under_way(&self.state)
    }
}

impl Listed {
    /// As [`Described::is_under_way`].
    pub fn is_under_way(&self) -> bool {
        is_under_way(&self.state)
    }
}

fn is_under_way(state: &str) -> bool {
    matches!(state, "Ongoing" | "PrepareCommit" | "PrepareAbort" | "PrepareEpochFence")
}

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

/// All transactional ids, or those with these producer ids, sorted. Every broker is asked, for each knows those that it
/// coordinates.
///
/// # Errors
/// A broker refuses, or does not answer.
pub async fn list(client: &Client, producer_ids: &[i64]) -> Result<Vec<Listed>, Error> {
    client.metadata(Wanted::None, false).await?;
    let mut ids = Vec::new();
    for broker in client.broker_ids() {
        let answer = retry(client, async || {
            let answer =
                client.call(At::Broker(broker), Lane::Questions, |_| list_request(producer_ids)).await?;
            Error::check("list transactions", answer.error_code, None)?;
            Ok(answer)
        })
        .await?;
        ids.extend(answer.transaction_states.iter().map(|row| Listed {
            id: row.transactional_id.to_string(),
            producer_id: *row.producer_id,
            state: row.transaction_state.to_string(),
            coordinator: broker,
        }));
    }
    ids.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(ids)
}

pub(super) fn list_request(producer_ids: &[i64]) -> ListTransactionsRequest {
    let ids = producer_ids.iter().map(|id| ProducerId(*id)).collect();
    ListTransactionsRequest::default().with_producer_id_filters(ids)
}

/// One transactional id.
///
/// # Errors
/// `TRANSACTIONAL_ID_NOT_FOUND` when there is none of this name, another refusal, or no answer.
pub async fn describe(client: &Client, id: &str) -> Result<Described, Error> {
    retry(client, async || {
        let coordinator = coordinator::find(client, Coordinated::Transactions, id).await?;
        let mut described = describe_at(client, coordinator, &[id]).await?;
        described.pop().unwrap_or_else(|| Err(not_told(id)))
    })
    .await
}

/// The listed ones in full. An id that is gone by now is left out.
///
/// # Errors
/// As [`describe`].
pub async fn describe_all(client: &Client, listed: &[Listed]) -> Result<Vec<Described>, Error> {
    let mut by_coordinator: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
    for one in listed {
        by_coordinator.entry(one.coordinator).or_default().push(&one.id);
    }
    let mut all = Vec::with_capacity(listed.len());
    for (coordinator, ids) in by_coordinator {
        for ids in ids.chunks(DESCRIBED_MAX) {
            let rows = retry(client, async || describe_at(client, coordinator, ids).await).await?;
            for row in rows {
                match row {
                    Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
                    row => all.push(row?),
                }
            }
        }
    }
    all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

async fn describe_at(
    client: &Client,
    coordinator: i32,
    ids: &[&str],
) -> Result<Vec<Result<Described, Error>>, Error> {
    let answer = client.call(At::Broker(coordinator), Lane::Questions, |_| describe_request(ids)).await?;
    let row = |row: TransactionState| {
        let id = row.transactional_id.to_string();
        Error::check(format!("describe transactional id {id}"), row.error_code, None)?;
        let of_topic = |topic: &TopicData| {
            let name = topic.topic.to_string();
            topic.partitions.iter().map(|index| (name.clone(), *index)).collect::<Vec<_>>()
        };
        let mut partitions: Vec<_> = row.topics.iter().flat_map(of_topic).collect();
        partitions.sort_unstable();
        Ok(Described {
            id,
            state: row.transaction_state.to_string(),
            producer_id: *row.producer_id,
            producer_epoch: row.producer_epoch,
            timeout_ms: row.transaction_timeout_ms,
            began: Some(row.transaction_start_time_ms).filter(|began| *began >= 0),
            partitions,
            coordinator,
        })
    };
    Ok(answer.transaction_states.into_iter().map(row).collect())
}

pub(super) fn describe_request(ids: &[&str]) -> DescribeTransactionsRequest {
    let ids = ids.iter().map(|id| TransactionalId(text(id))).collect();
    DescribeTransactionsRequest::default().with_transactional_ids(ids)
}

fn not_told(id: &str) -> Error {
    let code = ErrorCode::UnknownServerError.code();
    Error::refused(format!("describe transactional id {id}"), code, Some("the answer lacks it"))
}

/// The transactions that are open in these partitions of a topic, by partition and first offset.
///
/// # Errors
/// The topic or one of the partitions does not exist, another refusal, or no answer.
pub async fn open_in(client: &Client, topic: &str, partitions: &[i32]) -> Result<Vec<OpenIn>, Error> {
    retry(client, async || {
        let mut open = Vec::new();
        for (leader, partitions) in by_leader(client, topic, partitions).await? {
            let make = |_| producers_request(topic, &partitions);
            let answer = client.call(At::Broker(leader), Lane::Questions, make).await?;
            for row in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let index = row.partition_index;
                let doing = format!("describe the producers of {topic}-{index}");
                Error::check(doing, row.error_code, row.error_message.as_deref())?;
                let of_open = row.active_producers.iter().filter(|row| row.current_txn_start_offset >= 0);
                open.extend(of_open.map(|row| OpenIn {
                    topic: topic.to_owned(),
                    partition: index,
                    producer_id: *row.producer_id,
                    producer_epoch: row.producer_epoch,
                    coordinator_epoch: row.coordinator_epoch,
                    first_offset: row.current_txn_start_offset,
                    last_written: row.last_timestamp,
                }));
            }
        }
        open.sort_unstable_by_key(|one: &OpenIn| (one.partition, one.first_offset));
        Ok(open)
    })
    .await
}

pub(super) fn producers_request(topic: &str, partitions: &[i32]) -> DescribeProducersRequest {
    let topic =
        TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(partitions.to_vec());
    DescribeProducersRequest::default().with_topics(vec![topic])
}

/// Ends the transaction of a transactional id that is under way: its producer is fenced, and what it wrote is aborted.
/// Returns when that is done.
///
/// # Errors
/// A refusal, or no answer.
pub async fn fence(client: &Client, id: &str) -> Result<(), Error> {
    retry(client, async || {
        let coordinator = coordinator::find(client, Coordinated::Transactions, id).await?;
        let answer = client.call(At::Broker(coordinator), Lane::Questions, |_| fence_request(id)).await?;
        // While the transaction is being aborted this is refused, and asked again.
        Error::check(format!("fence transactional id {id}"), answer.error_code, None)
    })
    .await
}

pub(super) fn fence_request(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(FENCING_TIMEOUT_MS)
        .with_producer_id(ProducerId(NO_PRODUCER_ID))
        .with_producer_epoch(-1)
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
