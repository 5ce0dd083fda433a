//! AddOffsetsToTxn (key 25), versions 0 to 4: a transaction will commit offsets of this group.
//!
//! v2 tells a fenced producer from one with a bad epoch; v3 the flexible form; v4 may answer that the transaction must be
//! aborted. It adds the group's partition of `__consumer_offsets`, whose markers commit or drop the offsets.

use std::sync::Arc;

use kafka_protocol::messages::AddOffsetsToTxnResponse;

use super::{shared, told};
use crate::api::{Api, Call, Started, waits};
use crate::broker::partition_of;
use crate::txn::{AddPartitions, Producer};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 25, name: "AddOffsetsToTxn", min: 0, max: 4, flexible_from: 3 };

/// From this version on clients know `PRODUCER_FENCED`.
const FENCED_FROM: i16 = 2;

/// An AddOffsetsToTxn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transactional id.
    pub transactional_id: StrBytes,
    /// The producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The group.
    pub group_id: StrBytes,
}

impl Request {
    /// Reads the body of a request of any version.
    pub fn decode(r: &mut Reader<'_>, _: i16) -> Result<Self, DecodeError> {
        let request = Self {
            transactional_id: r.string()?,
            producer_id: r.i64()?,
            producer_epoch: r.i16()?,
            group_id: r.string()?,
        };
        r.end()?;
        Ok(request)
    }
}

/// Adds the partition that holds the group's offsets.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder, version) = (Arc::clone(call.api), call.responder, call.version);
    Ok(waits(async move {
        let error = add(&api, &request).await.err().unwrap_or(ErrorCode::None);
        let error = told(error, version, FENCED_FROM);
        responder.reply(&AddOffsetsToTxnResponse::default().with_error_code(error.code()))
    }))
}

async fn add(api: &Api, request: &Request) -> Result<(), ErrorCode> {
    if request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let offsets = api.broker.consumer_offsets().await?;
    let partition = partition_of(&request.group_id, offsets.partitions);
    let added = AddPartitions {
        transactional_id: shared(&request.transactional_id),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        partitions: vec![(Arc::clone(&offsets.name), partition)],
        // Clients of the second version have TxnOffsetCommit add it.
        version: 0,
    };
    api.broker.add_to_transaction(added).await
}
