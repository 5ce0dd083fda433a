//! What a partition refuses a producer: gaps (S48), old epochs (S49), records outside a transaction that the coordinator
//! knows (S54), and markers that are late (S57).

use super::entry::SeenBatch;
use super::{Producers, TransactionMarker};
use crate::record::batch::BatchHeader;
use crate::types::ErrorCode;
use crate::types::offset::{NO_PRODUCER_ID, sequence_after};

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Append,
    /// It is in the log already: answer with where it went then (S47).
    Duplicate(SeenBatch),
    /// Refuse it.
    Refuse(ErrorCode),
}

/// What the transaction coordinator has to do with a transactional batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Word {
    /// The coordinator has said that the partition is part of the open transaction, and no marker has come since.
    pub is_given: bool,
    /// The lowest sequence of those that wait for the word: none above it goes first.
    pub lowest_sequence: Option<i32>,
    /// The client is one of transactions V2, whose epoch rises with every transaction.
    pub is_v2: bool,
}

impl Producers {
    /// Looks at a batch of a producer that is about to be appended. Of `word` only transactional batches need any.
    pub fn check(&self, header: &BatchHeader, word: &Word) -> Verdict {
        if header.producer_id == NO_PRODUCER_ID {
            return Verdict::Append;
        }
        let entry = self.entries.get(&header.producer_id);
        if let Some(entry) = entry.filter(|entry| entry.epoch == header.producer_epoch) {
            let last_sequence = header.last_sequence();
            let twin = entry.batches.iter().find(|batch| {
                batch.last_sequence == last_sequence && batch.first_sequence() == header.base_sequence
            });
            if let Some(batch) = twin {
                return Verdict::Duplicate(*batch);
            }
        }
        if entry.is_some_and(|entry| header.producer_epoch < entry.epoch) {
            return Verdict::Refuse(ErrorCode::InvalidProducerEpoch);
        }
        let is_transactional = header.attributes.is_transactional();
        let open = entry.filter(|entry| entry.open_transaction().is_some());
        let is_in_it = open.is_some_and(|entry| entry.epoch == header.producer_epoch);
        if is_transactional && !is_in_it && !word.is_given {
            return Verdict::Refuse(ErrorCode::InvalidTxnState);
        }
        // Who waited for the word waits no more once the transaction is open, be it by a batch of the same write.
        let word = if is_in_it { &Word::default() } else { word };
        if !self.is_in_sequence(header, word) {
            return Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber);
        }
        if !is_transactional && open.is_some() {
            return Verdict::Refuse(ErrorCode::InvalidTxnState);
        }
        Verdict::Append
    }

    fn is_in_sequence(&self, header: &BatchHeader, word: &Word) -> bool {
        let sequence = header.base_sequence;
        if word.lowest_sequence.is_some_and(|lowest| sequence > lowest) {
            return false;
        }
        let Some(entry) = self.entries.get(&header.producer_id) else {
            // Its records may all have been deleted; a V2 producer that comes for the first time begins at 0.
            return !word.is_v2 || sequence == 0;
        };
        match entry.batches.last() {
            Some(last) if entry.epoch == header.producer_epoch => {
                sequence_after(last.last_sequence, 1) == sequence
            }
            _ => sequence == 0,
        }
    }

    /// Looks at a marker that is about to be appended (S57).
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` for one that is late, `TRANSACTION_COORDINATOR_FENCED` for one of a coordinator that
    /// has a successor, unless it is our own.
    pub fn check_marker(&self, marker: &TransactionMarker) -> Result<(), ErrorCode> {
        let Some(entry) = self.entries.get(&marker.producer_id) else { return Ok(()) };
        let is_late = if marker.v2 {
            // Its epoch is above the transaction's. One that is there already is repeated by a coordinator that could
            // not know of it; a transaction under the last epoch of all can only be ended by a marker of the same.
            let is_repeated = entry.open_transaction().is_none() || marker.producer_epoch == i16::MAX;
            marker.producer_epoch < entry.epoch || (marker.producer_epoch == entry.epoch && !is_repeated)
        } else {
            marker.producer_epoch < entry.epoch
        };
        if is_late {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if !marker.is_own && marker.coordinator_epoch < entry.coordinator_epoch {
            return Err(ErrorCode::TransactionCoordinatorFenced);
        }
        Ok(())
    }
}
