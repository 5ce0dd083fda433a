//! AddPartitionsToTxn (key 24), versions 0 to 5: which partitions a transaction writes to, before it does.
//!
//! v2 tells a fenced producer from one with a bad epoch; v3 the flexible form; v4 many transactions in one request, and
//! asking without adding; v5 may answer that the transaction must be aborted. Clients use versions up to 3, brokers the
//! others. A partition that does not exist, or, from a client, one of the broker's own topics, lets nothing be added:
//! the rest get `OPERATION_NOT_ATTEMPTED` (S53).

use std::sync::Arc;

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnResponse, TopicName, TransactionalId};

use super::{shared, told};
use crate::api::{Api, Call, Started, waits};
use crate::catalog::CatalogImage;
use crate::txn::{AddPartitions, Producer, VerifyPartitions};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 24, name: "AddPartitionsToTxn", min: 0, max: 5, flexible_from: 3 };

/// From this version on clients know `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 2;
/// From this version on a request may hold several transactions, and comes from a broker.
const MANY_TRANSACTIONS: i16 = 4;
/// `transaction.version` that a request's own version tells.
const CLIENTS_VERSION: i16 = 0;
const BROKERS_VERSION: i16 = 2;

/// An AddPartitionsToTxn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transactions; before v4 exactly one.
    pub transactions: Vec<Transaction>,
}

/// One transaction of an AddPartitionsToTxn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its transactional id.
    pub transactional_id: StrBytes,
    /// Its producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Only ask whether the partitions are part of it (v4).
    pub verify_only: bool,
    /// The partitions.
    pub topics: Vec<Topic>,
}

/// One topic of an AddPartitionsToTxn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let transactions = if version >= MANY_TRANSACTIONS {
            r.array(|r| {
                let transaction = Transaction::decode(r, version)?;
                r.end()?;
                Ok(transaction)
            })?
        } else {
            vec![Transaction::decode(r, version)?]
        };
        r.end()?;
        Ok(Self { transactions })
    }
}

impl Transaction {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        Ok(Self {
            transactional_id: r.string()?,
            producer_id: r.i64()?,
            producer_epoch: r.i16()?,
            verify_only: if version >= MANY_TRANSACTIONS { r.bool()? } else { false },
            topics: r.array(Topic::decode)?,
        })
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(Reader::i32)? };
        r.end()?;
        Ok(topic)
    }
}

/// Adds, or asks, transaction by transaction.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder, version) = (Arc::clone(call.api), call.responder, call.version);
    Ok(waits(async move {
        let mut results = Vec::with_capacity(request.transactions.len());
        for transaction in &request.transactions {
            let codes = take(&api, transaction, version).await;
            results.push((transaction.transactional_id.clone(), answer(transaction, codes)));
        }
        let response = AddPartitionsToTxnResponse::default();
        let response = if version >= MANY_TRANSACTIONS {
            let results = results.into_iter().map(|(id, topics)| {
                AddPartitionsToTxnResult::default()
                    .with_transactional_id(TransactionalId(id))
                    .with_topic_results(topics)
            });
            response.with_results_by_transaction(results.collect())
        } else {
            let topics = results.into_iter().flat_map(|(_, topics)| topics);
            response.with_results_by_topic_v3_and_below(topics.collect())
        };
        responder.reply(&response)
    }))
}

/// A code for each partition of one transaction, in order.
async fn take(api: &Api, transaction: &Transaction, version: i16) -> Vec<ErrorCode> {
    let topics = transaction.topics.iter();
    let partitions: Vec<(Arc<str>, i32)> = topics
        .flat_map(|topic| {
            let name = shared(&topic.name);
            topic.partitions.iter().map(move |partition| (Arc::clone(&name), *partition))
        })
        .collect();
    let count = partitions.len();
    let from_client = version < MANY_TRANSACTIONS;
    let checked = check(&api.broker.image(), &partitions, from_client);
    if checked.iter().any(|code| !code.is_none()) {
        let rest = |code: ErrorCode| if code.is_none() { ErrorCode::OperationNotAttempted } else { code };
        return checked.into_iter().map(rest).collect();
    }
    if transaction.transactional_id.is_empty() {
        return vec![ErrorCode::InvalidRequest; count];
    }
    let transactional_id = shared(&transaction.transactional_id);
    let producer = Producer { id: transaction.producer_id, epoch: transaction.producer_epoch };
    let verdict = if transaction.verify_only {
        let asked = VerifyPartitions { transactional_id, producer, partitions };
        let code = |is_part| if is_part { ErrorCode::None } else { ErrorCode::TransactionAbortable };
        let parts = api.broker.verify_in_transaction(asked).await;
        parts.map(|parts| parts.into_iter().map(code).collect())
    } else {
        let client_version = if from_client { CLIENTS_VERSION } else { BROKERS_VERSION };
        let added = AddPartitions { transactional_id, producer, partitions, version: client_version };
        api.broker.add_to_transaction(added).await.map(|()| vec![ErrorCode::None; count])
    };
    verdict.unwrap_or_else(|error| vec![told(error, version, FENCED_FROM); count])
}

/// Which partitions cannot be part of any transaction. A client's transaction takes in the broker's own topics by other
/// requests.
fn check(image: &CatalogImage, partitions: &[(Arc<str>, i32)], from_client: bool) -> Vec<ErrorCode> {
    let check = |(topic, partition): &(Arc<str>, i32)| match image.topic(topic) {
        Some(topic) if from_client && topic.internal => ErrorCode::TopicAuthorizationFailed,
        Some(topic) if (0..topic.partitions).contains(partition) => ErrorCode::None,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    partitions.iter().map(check).collect()
}

fn answer(transaction: &Transaction, codes: Vec<ErrorCode>) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = codes.into_iter();
    let topics = transaction.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref()).map(|(index, code)| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code.code())
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(TopicName(topic.name.clone()))
            .with_results_by_partition(partitions.collect())
    });
    topics.collect()
}
