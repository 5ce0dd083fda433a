//! What the data plane asks of transaction coordinators: whether a batch may go into a partition as part of a
//! transaction (KIP-890).

use std::sync::Arc;

use super::Broker;
use crate::types::ErrorCode;

/// A producer's wish that its open transaction covers these partitions.
#[derive(Debug, Clone)]
pub struct JoinTransaction {
    /// The producer's transactional id, which picks the coordinator (S77).
    pub transactional_id: Arc<str>,
    /// Its producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The partitions: topic names and indexes.
    pub partitions: Vec<(Arc<str>, i32)>,
    /// Adds them (Produce from version 12, TxnOffsetCommit from version 5); otherwise only asks whether they are part of
    /// the transaction already (S54).
    pub add: bool,
}

impl Broker {
    /// Asks the coordinator of this transactional id, and answers per partition, in their order. A partition that was
    /// added is in the coordinator's log when this returns.
    ///
    /// Refusals, as AddPartitionsToTxn has them: 49 for an id that is not the coordinator's, 47 for an epoch that
    /// is not, 51 while an end is being carried out, 48 for a partition outside the transaction when nothing is added,
    /// and 14, 15 and 16 while the coordinator cannot serve.
    #[allow(
        clippy::unused_async,
        reason = "the coordinators are not there yet; callers are written against this"
    )]
    pub async fn join_transaction(self: &Arc<Self>, request: JoinTransaction) -> Vec<Result<(), ErrorCode>> {
        vec![Err(ErrorCode::CoordinatorNotAvailable); request.partitions.len()]
    }
}
