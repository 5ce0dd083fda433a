//! ListTransactions (key 66), versions 0 to 2: all transactional ids, or those that filters let through (KIP-664).
//!
//! v1 only those whose transaction began longer ago than this; v2 only those whose transactional id matches a pattern, a
//! regular expression for the whole of it (KIP-1152). An empty filter lets everything through. States that do not
//! exist come back as such.

use std::sync::Arc;

use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{ListTransactionsResponse, ProducerId, TransactionalId};
use regex::{Regex, RegexBuilder};

use super::text;
use crate::api::{Api, Call, Started, waits};
use crate::txn::{Command, ListTransactions, ListedTransaction, Reply, Status};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 66, name: "ListTransactions", min: 0, max: 2, flexible_from: 0 };

/// What a pattern may take when it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Names of states that a transactional id never has in a list, but that Kafka knows.
const PASSING_STATES: [&str; 2] = ["Dead", "PrepareEpochFence"];

/// A ListTransactions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names of states.
    pub state_filters: Vec<StrBytes>,
    /// Producer ids.
    pub producer_id_filters: Vec<i64>,
    /// How long a transaction must be open at least, in milliseconds; negative for all (v1).
    pub duration_filter: i64,
    /// A regular expression for the transactional id (v2).
    pub transactional_id_pattern: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            state_filters: r.array(Reader::string)?,
            producer_id_filters: r.array(Reader::i64)?,
            duration_filter: if version >= 1 { r.i64()? } else { -1 },
            transactional_id_pattern: if version >= 2 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(request)
    }
}

/// Asks every shard that has transactional ids.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let (known, unknown): (Vec<_>, Vec<_>) =
            request.state_filters.iter().cloned().partition(|name| is_state(name));
        let response = match list(&api, &request, &known).await {
            Ok(listed) => ListTransactionsResponse::default()
                .with_unknown_state_filters(unknown)
                .with_transaction_states(listed.iter().map(state).collect()),
            Err(error) => ListTransactionsResponse::default().with_error_code(error.code()),
        };
        responder.reply(&response)
    }))
}

fn is_state(name: &str) -> bool {
    Status::from_name(name).is_some() || PASSING_STATES.contains(&name)
}

async fn list(api: &Api, request: &Request, known: &[StrBytes]) -> Result<Vec<ListedTransaction>, ErrorCode> {
    let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
    let pattern = pattern.map(compile).transpose()?;
    let statuses = known.iter().filter_map(|name| Status::from_name(name)).collect();
    let filter = ListTransactions {
        statuses: (!request.state_filters.is_empty()).then_some(statuses),
        producer_ids: request.producer_id_filters.clone(),
        longer_than_ms: request.duration_filter,
    };
    let mut listed = Vec::new();
    for shard in api.broker.all_transaction_shards().await? {
        match shard.call(Command::List(filter.clone())).await {
            Reply::List(some) => {
                let wanted = |one: &ListedTransaction| {
                    pattern.as_ref().is_none_or(|pattern| pattern.is_match(&one.transactional_id))
                };
                listed.extend(some.into_iter().filter(wanted));
            }
            Reply::Refused(error) => return Err(error),
            _ => return Err(ErrorCode::UnknownServerError),
        }
    }
    Ok(listed)
}

/// A pattern that must match all of an id.
fn compile(pattern: &str) -> Result<Regex, ErrorCode> {
    let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
    // By itself first: what is put around it must not make it whole.
    let whole = build(pattern).and_then(|_| build(&format!("\\A(?:{pattern})\\z")));
    whole.map_err(|_| ErrorCode::InvalidRegularExpression)
}

fn state(listed: &ListedTransaction) -> TransactionState {
    TransactionState::default()
        .with_transactional_id(TransactionalId(text(&listed.transactional_id)))
        .with_producer_id(ProducerId(listed.producer_id))
        .with_transaction_state(StrBytes::from_static_str(listed.status.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_ids_or_is_refused() {
        let matches = |pattern: &str, id: &str| compile(pattern).unwrap().is_match(id);
        assert!(matches("ap+-[0-9]+", "app-17"));
        assert!(!matches("app", "app-17"));
        assert!(!matches("17", "app-17"));
        assert!(matches("a|b", "b") && !matches("a|b", "ab"), "the bar does not leave the whole");
        for bad in ["(", "a)|(b", "*", "(?=a)"] {
            assert_eq!(compile(bad).err(), Some(ErrorCode::InvalidRegularExpression), "{bad}");
        }
    }
}
