//! What is known of one producer on a partition: its epoch, its last batches, its open transaction.

use crate::types::Timestamp;
use crate::types::offset::{NO_EPOCH, NO_OFFSET, saturate_i32};
use crate::types::time::NO_TIMESTAMP;

/// How many of a producer's last batches are remembered (Kafka's `NUM_BATCHES_TO_RETAIN`): as many as a client may have
/// in flight with idempotence.
pub const WINDOW_BATCHES: usize = 5;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenBatch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its last offset less its first.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

impl SeenBatch {
    /// Offset of its first record.
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    pub(super) fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        saturate_i32(if first < 0 { first + i64::from(i32::MAX) + 1 } else { first })
    }
}

/// What is known of one producer on this partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer's epoch.
    pub epoch: i16,
    /// Its last batches, oldest first; at most [`WINDOW_BATCHES`].
    pub batches: Window,
    /// When it last wrote, by the timestamps of its batches and markers; decides expiry.
    pub last_timestamp: Timestamp,
    /// Epoch of the transaction coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, or -1.
    pub transaction_first_offset: i64,
}

impl ProducerEntry {
    /// A producer that has not written yet.
    pub(super) fn new(epoch: i16) -> Self {
        Self {
            epoch,
            batches: Window::default(),
            last_timestamp: NO_TIMESTAMP,
            coordinator_epoch: NO_EPOCH,
            transaction_first_offset: NO_OFFSET,
        }
    }

    /// The first offset of its open transaction.
    pub fn open_transaction(&self) -> Option<i64> {
        Some(self.transaction_first_offset).filter(|first| *first != NO_OFFSET)
    }

    /// Takes on another epoch: what was written under the old one is no longer compared with.
    pub(super) fn adopt(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = Window::default();
        }
    }
}

/// At most [`WINDOW_BATCHES`] batches, oldest first, without an allocation of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    batches: [Option<SeenBatch>; WINDOW_BATCHES],
}

impl Window {
    pub(super) fn push(&mut self, batch: SeenBatch) {
        if let Some(free) = self.batches.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(batch);
        } else {
            self.batches.rotate_left(1);
            self.batches[WINDOW_BATCHES - 1] = Some(batch);
        }
    }

    /// The batches, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &SeenBatch> {
        self.batches.iter().flatten()
    }

    /// The newest batch.
    pub fn last(&self) -> Option<&SeenBatch> {
        self.iter().next_back()
    }
}
