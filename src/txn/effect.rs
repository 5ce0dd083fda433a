//! What a transaction's decision asks of the rest of the broker, and what it only reports.

use std::sync::Arc;

use super::transaction::{Outcome, Partitions, Producer, Transaction};
use crate::types::Timestamp;

/// One thing to do or to tell, when its decision is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write these markers, and post [`super::Command::MarkersWritten`] when all of them are durable. Asked for again by
    /// every load until that is recorded, so writing one twice must do no harm.
    WriteMarkers(Arc<Markers>),
    /// Draw a producer id and post [`super::Command::ProducerIdFound`]. Asked for again until it comes.
    WantProducerId {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// The producer whose epochs are used up.
        producer: Producer,
    },
    /// The transaction was open for longer than its time-out: its producer is fenced, and it is being aborted.
    TimedOut {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// The transaction as it was open.
        transaction: Arc<Transaction>,
    },
    /// Somebody has asked for a producer of the same transactional id: the one before is fenced, and its transaction is
    /// being aborted.
    Fenced {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// The transaction as it was open.
        transaction: Arc<Transaction>,
        /// Who has asked, as a log line names it.
        client: Arc<str>,
    },
    /// The transaction holds the last stable offset of its partitions back for a long time.
    HeldBack {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// The transaction.
        transaction: Arc<Transaction>,
        /// How long, in milliseconds.
        for_ms: i64,
    },
    /// Transactional ids that nobody used for long are forgotten.
    Expired {
        /// How many.
        count: usize,
        /// One of them.
        first: Arc<str>,
    },
}

/// The end of one transaction, as every partition of it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// Which asking this is: the word that they are written names it.
    pub attempt: Attempt,
    /// The producer that the markers carry.
    pub producer: Producer,
    /// Commit or abort.
    pub outcome: Outcome,
    /// The marker's epoch is above that of the transaction's batches (S57).
    pub raises_epoch: bool,
    /// Where they go; partitions of `__consumer_offsets` stand for the groups whose offsets were committed.
    pub partitions: Partitions,
    /// When the transaction began, by the wall clock.
    pub started_at: Timestamp,
}

/// One asking for markers. A word on an earlier one, which may come late and twice, says nothing of a later one, though
/// transactions of V1 follow each other under the same producer and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(pub(super) u64);

#[cfg(test)]
impl Attempt {
    /// One of a test that has no coordinator.
    pub fn of_test(nth: u64) -> Self {
        Self(nth)
    }
}

impl Markers {
    /// The markers of a transaction that is prepared.
    pub(super) fn of(
        id: &Arc<str>,
        attempt: Attempt,
        transaction: &Transaction,
        outcome: Outcome,
    ) -> Arc<Self> {
        Arc::new(Self {
            transactional_id: Arc::clone(id),
            attempt,
            producer: transaction.producer,
            outcome,
            raises_epoch: transaction.is_version_2(),
            partitions: transaction.partitions.clone(),
            started_at: transaction.started_at,
        })
    }
}
