//! Questions of administration about transactions to their coordinators: which there are, and how to end one.
//!
//! A transaction is known in two places. Its coordinator knows state, start and partitions by transactional id
//! (ListTransactions, DescribeTransactions); each partition knows where a transaction is open
//! ([`super::open_transactions`]). One that only a partition knows hangs: nobody will end it.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest, ProducerId, TransactionalId,
};

use super::cluster::{At, Lane};
use super::coordinator::{self, Coordinated};
use super::metadata::text;
use super::retry::retry;
use super::{Client, Error, Wanted};
use crate::types::offset::NO_PRODUCER_ID;
use crate::types::{ErrorCode, Timestamp};

/// The time limit that an InitProducerId asks for whose producer will never begin a transaction, in milliseconds, where
/// the broker does not take the one that is on record: as short as every broker takes.
const FENCING_TIMEOUT_MS: i32 = 1;
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

    /// Whether it is open, and its outcome not decided.
    pub fn is_open(&self) -> bool {
        self.state == "Ongoing"
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

/// Ends the transaction of a transactional id that is under way: its producer is fenced, and what it wrote is aborted.
/// Returns when that is done.
///
/// The protocol knows no request for it but the one of a new producer, and that sets the time limit anew: it is given as
/// it was, so that who looks later sees what the producer had asked for.
///
/// # Errors
/// A refusal, or no answer.
pub async fn fence(client: &Client, described: &Described) -> Result<(), Error> {
    match fence_within(client, &described.id, described.timeout_ms).await {
        // The broker's limit is lower than it was, or there was no limit at all (KIP-939).
        Err(error) if error.code() == Some(ErrorCode::InvalidTransactionTimeout) => {
            fence_within(client, &described.id, FENCING_TIMEOUT_MS).await
        }
        done => done,
    }
}

async fn fence_within(client: &Client, id: &str, timeout_ms: i32) -> Result<(), Error> {
    retry(client, async || {
        let coordinator = coordinator::find(client, Coordinated::Transactions, id).await?;
        let make = |_| fence_request(id, timeout_ms);
        let answer = client.call(At::Broker(coordinator), Lane::Questions, make).await?;
        // While the transaction is being aborted this is refused, and asked again.
        Error::check(format!("fence transactional id {id}"), answer.error_code, None)
    })
    .await
}

pub(super) fn fence_request(id: &str, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(NO_PRODUCER_ID))
        .with_producer_epoch(-1)
}
