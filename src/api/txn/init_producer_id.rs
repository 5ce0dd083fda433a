//! InitProducerId (key 22), versions 0 to 5: an id for an idempotent or transactional producer.
//!
//! v2 the flexible form; v3 the id and epoch that a producer holds already (KIP-360); v4 tells a fenced producer from
//! one with a bad epoch; v5 may answer that the transaction must be aborted. Without a transactional id the answer is
//! always a fresh id with epoch 0; exactly one of id and epoch being -1 gives 42, and so does an empty transactional
//! id (S50). With one, who held it before is fenced (S51, S52). Ids are never given twice, restarts included.

use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdResponse, ProducerId};

use super::{shared, told};
use crate::api::{Api, Call, Started, Who, waits};
use crate::txn::{InitProducer, Producer};
use crate::types::ErrorCode;
use crate::types::offset::NO_PRODUCER_ID;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 22, name: "InitProducerId", min: 0, max: 5, flexible_from: 2 };

/// From this version on clients know `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 4;

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
    let (api, responder, version) = (Arc::clone(call.api), call.responder, call.version);
    let who = request.transactional_id.is_some().then(|| call.session.who());
    Ok(waits(async move {
        let (error, producer) = match hand_out(&api, &request, who.as_ref()).await {
            Ok(producer) => (ErrorCode::None, producer),
            Err(error) => (told(error, version, FENCED_FROM), Producer::NONE),
        };
        if let (ErrorCode::InvalidTransactionTimeout, Some(who), Some(id)) =
            (error, &who, &request.transactional_id)
        {
            api.warn_of_refused_timeout(who, id, request.transaction_timeout_ms);
        }
        let response = InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch);
        responder.reply(&response)
    }))
}

async fn hand_out(api: &Api, request: &Request, who: Option<&Who>) -> Result<Producer, ErrorCode> {
    let held = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let is_whole = (held.id == NO_PRODUCER_ID) == (held.epoch == -1);
    match &request.transactional_id {
        Some(id) if id.is_empty() || !is_whole => Err(ErrorCode::InvalidRequest),
        None if !is_whole => Err(ErrorCode::InvalidRequest),
        // A fresh id, whatever the producer held before (S50).
        None => api.broker.next_producer_id().await.map(Producer::fresh),
        Some(id) => {
            let request = InitProducer {
                transactional_id: shared(id),
                timeout_ms: request.transaction_timeout_ms,
                held: (held != Producer::NONE).then_some(held),
                fresh_id: None,
                client: who.map(|who| Arc::clone(&who.described)).unwrap_or_default(),
            };
            api.broker.init_transactional(request).await
        }
    }
}
