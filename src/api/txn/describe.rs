//! DescribeTransactions (key 65), version 0: where transactional ids stand (KIP-664).

use std::sync::Arc;

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{DescribeTransactionsResponse, ProducerId, TopicName, TransactionalId};

use super::{shared, text};
use crate::api::{AnswerRoom, Api, Call, Started, waits};
use crate::txn::{Command, DescribedTransaction, Reply};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 65, name: "DescribeTransactions", min: 0, max: 0, flexible_from: 0 };

/// About what one transactional id, one topic and one partition take in an answer, in bytes.
const ID_BYTES: usize = 64;
const TOPIC_BYTES: usize = 16;
const PARTITION_BYTES: usize = 4;

/// A DescribeTransactions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transactional ids.
    pub transactional_ids: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of any version.
    pub fn decode(r: &mut Reader<'_>, _: i16) -> Result<Self, DecodeError> {
        let request = Self { transactional_ids: r.array(Reader::string)? };
        r.end()?;
        Ok(request)
    }
}

/// Asks the shard of each id.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let mut room = AnswerRoom::new();
        let mut states = Vec::with_capacity(request.transactional_ids.len());
        for id in request.transactional_ids {
            let described = describe(&api, &id).await;
            if room.take(size(&id, described.as_ref().ok())).is_none() {
                return responder.too_large();
            }
            states.push(state(id, described));
        }
        responder.reply(&DescribeTransactionsResponse::default().with_transaction_states(states))
    }))
}

async fn describe(api: &Api, id: &StrBytes) -> Result<DescribedTransaction, ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let shard = api.broker.transaction_shard(id).await?;
    match shard.call(Command::Describe { transactional_id: shared(id) }).await {
        Reply::Describe(described) => described.ok_or(ErrorCode::TransactionalIdNotFound),
        Reply::Refused(error) => Err(error),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

fn size(id: &str, described: Option<&DescribedTransaction>) -> usize {
    let topics = described.into_iter().flat_map(|described| &described.partitions);
    let topics = topics.map(|(topic, all)| TOPIC_BYTES + topic.len() + PARTITION_BYTES * all.len());
    ID_BYTES + id.len() + topics.sum::<usize>()
}

fn state(id: StrBytes, described: Result<DescribedTransaction, ErrorCode>) -> TransactionState {
    let state = TransactionState::default().with_transactional_id(TransactionalId(id));
    let described = match described {
        Ok(described) => described,
        Err(error) => return state.with_error_code(error.code()),
    };
    let topics = described.partitions.iter().map(|(topic, partitions)| {
        TopicData::default()
            .with_topic(TopicName(text(topic)))
            .with_partitions(partitions.iter().copied().collect())
    });
    state
        .with_transaction_state(StrBytes::from_static_str(described.status.name()))
        .with_transaction_timeout_ms(described.timeout_ms)
        .with_transaction_start_time_ms(described.started_at)
        .with_producer_id(ProducerId(described.producer.id))
        .with_producer_epoch(described.producer.epoch)
        .with_topics(topics.collect())
}
