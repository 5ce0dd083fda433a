//! EndTxn (key 26), versions 0 to 5: commits or aborts a transaction.
//!
//! v2 tells a fenced producer from one with a bad epoch; v3 the flexible form; v4 may answer that the transaction must be
//! aborted; v5 raises the epoch with each end and answers with the producer to go on with (KIP-890). Answered when the
//! end is visible: markers are written, readers see it, and the next request of the producer is taken (S58).

use std::sync::Arc;

use kafka_protocol::messages::{EndTxnResponse, ProducerId};

use super::{shared, told};
use crate::api::{Api, Call, Started, waits};
use crate::txn::{EndTxn, Outcome, Producer};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 26, name: "EndTxn", min: 0, max: 5, flexible_from: 3 };

/// From this version on clients know `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 2;
/// From this version on an end raises the epoch.
const RAISES_EPOCH: i16 = 5;

/// An EndTxn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transactional id.
    pub transactional_id: StrBytes,
    /// The producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Commit, or else abort.
    pub committed: bool,
}

impl Request {
    /// Reads the body of a request of any version.
    pub fn decode(r: &mut Reader<'_>, _: i16) -> Result<Self, DecodeError> {
        let request = Self {
            transactional_id: r.string()?,
            producer_id: r.i64()?,
            producer_epoch: r.i16()?,
            committed: r.bool()?,
        };
        r.end()?;
        Ok(request)
    }
}

/// Ends the transaction.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder, version) = (Arc::clone(call.api), call.responder, call.version);
    Ok(waits(async move {
        let (error, producer) = match end(&api, &request, version).await {
            Ok(producer) => (ErrorCode::None, producer),
            Err(error) => (told(error, version, FENCED_FROM), Producer::NONE),
        };
        let mut response = EndTxnResponse::default().with_error_code(error.code());
        if version >= RAISES_EPOCH {
            response = response.with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch);
        }
        responder.reply(&response)
    }))
}

async fn end(api: &Api, request: &Request, version: i16) -> Result<Producer, ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let end = EndTxn {
        transactional_id: shared(&request.transactional_id),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        outcome: if request.committed { Outcome::Commit } else { Outcome::Abort },
        raises_epoch: version >= RAISES_EPOCH,
        fresh_id: None,
    };
    api.broker.end_transaction(end).await
}
