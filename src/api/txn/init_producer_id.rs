//! InitProducerId (key 22), versions 0 to 5: an id for an idempotent or transactional producer.
//!
//! v2 the flexible form; v3 the id and epoch that a producer holds already (KIP-360); v4 tells a fenced producer from
//! one with a bad epoch; v5 may answer that the transaction must be aborted. Without a transactional id the answer is
//! always a fresh id with epoch 0; exactly one of id and epoch being -1 gives 42, and so does an empty transactional
//! id (S50). Ids are never given twice, restarts included.

use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdResponse, ProducerId};

use crate::api::errors::NO_TRANSACTIONS;
use crate::api::{Api, Call, Started, waits};
use crate::types::ErrorCode;
use crate::types::offset::NO_PRODUCER_ID;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 22, name: "InitProducerId", min: 0, max: 5, flexible_from: 2 };

/// An InitProducerId request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transactional id; `None` for a producer that is only idempotent.
    pub transactional_id: Option<StrBytes>,
    /// How long its transactions may stay open.
    pub transaction_timeout_ms: i32,
    /// The id that the producer holds, -1 for none (v3).
    pub producer_id: i64,
    /// The epoch that the producer holds, -1 for none (v3).
    pub producer_epoch: i16,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            transactional_id: r.nullable_string()?,
            transaction_timeout_ms: r.i32()?,
            producer_id: if version >= 3 { r.i64()? } else { NO_PRODUCER_ID },
            producer_epoch: if version >= 3 { r.i16()? } else { -1 },
        };
        r.end()?;
        Ok(request)
    }
}

/// Hands out a producer id.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    if let Some(id) = request.transactional_id.as_ref().filter(|id| !id.is_empty()) {
        api.warn_of_transactions(call.session, id);
    }
    Ok(waits(async move {
        let (error, id, epoch) = match hand_out(&api, &request).await {
            Ok(id) => (ErrorCode::None, id, 0),
            Err(error) => (error, NO_PRODUCER_ID, -1),
        };
        let response = InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch);
        responder.reply(&response)
    }))
}

/// A fresh id, whatever the producer held before (S50).
async fn hand_out(api: &Api, request: &Request) -> Result<i64, ErrorCode> {
    if request.transactional_id.as_ref().is_some_and(|id| id.is_empty())
        || (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == -1)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    if request.transactional_id.is_some() {
        return Err(NO_TRANSACTIONS);
    }
    api.broker.next_producer_id().await
}
