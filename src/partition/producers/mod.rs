//! Producers of one partition (KIP-98): who wrote what last, so that a retry is recognised and a gap refused, and whose
//! transactions are open.
//!
//! Pure. The append section *stages* each batch here while it gathers a write; a write that fails is rolled back with
//! [`Producers::roll_back`], one that succeeds is kept with [`Producers::commit`]. Recovery replays the log through
//! [`Producers::replay`]. The state is saved in two forms: Kafka's `.snapshot` (the last batch of each producer) when a
//! segment rolls, and our own (all five batches) at checkpoints, so that a crash forgets none of the window.

mod entry;
mod rules;
mod snapshot;

use std::collections::{BTreeMap, HashMap};

pub use self::entry::{ProducerEntry, SeenBatch, WINDOW_BATCHES, Window};
pub use self::rules::{Verdict, Word};
pub use self::snapshot::SnapshotError;
use crate::record::batch::{BatchHeader, BatchView};
use crate::record::control::{ControlType, read_marker};
use crate::storage::compaction::{ActiveProducers, LastOfProducer};
use crate::storage::txn_index::AbortedTransaction;
use crate::types::Timestamp;
use crate::types::offset::{NO_OFFSET, NO_PRODUCER_ID};

/// The end of a producer's transaction, as a coordinator has it written into a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionMarker {
    /// Whose transaction.
    pub producer_id: i64,
    /// The transaction's epoch; in V2 the one after it.
    pub producer_epoch: i16,
    /// Epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// Committed, or else aborted.
    pub commit: bool,
    /// Whether it is one of transactions V2 (KIP-890), whose epoch must be above the partition's (S57).
    pub v2: bool,
    /// Whether this broker's own coordinator has it written. There is one at a time, so nothing fences it: the partition
    /// may know a higher epoch from an operator's marker, or from the Kafka that its log was taken from.
    pub is_own: bool,
}

/// What a batch did to the transactions of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is the first of a transaction, or of an epoch under which one goes on.
    Began {
        /// Whose.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// Offset of the transaction's first record.
        first_offset: i64,
        /// Whether the transaction began with it.
        is_new: bool,
    },
    /// It is a marker.
    Ended {
        /// Whose.
        producer_id: i64,
        /// The marker's epoch.
        epoch: i16,
        /// The marker's offset.
        marker_offset: i64,
        /// Offset of the first record of what it ended; `None` if nothing was open.
        first_offset: Option<i64>,
        /// What is to be kept from readers, if it was aborted.
        aborted: Option<AbortedTransaction>,
    },
}

/// All producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    entries: HashMap<i64, ProducerEntry>,
    /// Producers with an open transaction, by its first offset.
    open: BTreeMap<i64, i64>,
    undo: Vec<(i64, Option<ProducerEntry>)>,
}

impl Producers {
    /// Takes a batch as appended at `base_offset`, until [`Producers::commit`] or [`Producers::roll_back`]. `control`
    /// is the whole batch if it is a control batch.
    pub fn stage(
        &mut self,
        header: &BatchHeader,
        control: Option<&[u8]>,
        base_offset: i64,
    ) -> Option<Change> {
        if header.producer_id == NO_PRODUCER_ID {
            return None;
        }
        self.undo.push((header.producer_id, self.entries.get(&header.producer_id).cloned()));
        self.enter(header, control, base_offset)
    }

    /// The staged batches are in the log.
    pub fn commit(&mut self) {
        self.undo.clear();
    }

    /// The staged batches are not in the log.
    pub fn roll_back(&mut self) {
        while let Some((id, before)) = self.undo.pop() {
            let after = match before {
                Some(entry) => {
                    let first = entry.open_transaction();
                    let after = self.entries.insert(id, entry);
                    self.open.extend(first.map(|first| (first, id)));
                    after.filter(|after| after.open_transaction() != first)
                }
                None => self.entries.remove(&id),
            };
            if let Some(first) = after.and_then(|after| after.open_transaction()) {
                self.open.remove(&first);
            }
        }
    }

    /// Takes a batch found in the log, by its own offsets. `control` as for [`Producers::stage`].
    pub fn replay(&mut self, header: &BatchHeader, control: Option<&[u8]>) -> Option<Change> {
        if header.producer_id == NO_PRODUCER_ID {
            return None;
        }
        self.enter(header, control, header.base_offset)
    }

    fn enter(&mut self, header: &BatchHeader, control: Option<&[u8]>, base_offset: i64) -> Option<Change> {
        if header.attributes.is_control() {
            return self.end(header, control, base_offset);
        }
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let entry = self.entries.entry(producer_id).or_insert_with(|| ProducerEntry::new(epoch));
        let before = (entry.epoch, entry.open_transaction());
        entry.adopt(epoch);
        entry.last_timestamp = header.max_timestamp;
        entry.batches.push(SeenBatch {
            last_sequence: header.last_sequence(),
            last_offset: base_offset.saturating_add(i64::from(header.last_offset_delta)),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if !header.attributes.is_transactional() {
            return None;
        }
        match before {
            (before, Some(_)) if before == epoch => None,
            (_, Some(first_offset)) => {
                Some(Change::Began { producer_id, epoch, first_offset, is_new: false })
            }
            (_, None) => {
                entry.transaction_first_offset = base_offset;
                self.open.insert(base_offset, producer_id);
                Some(Change::Began { producer_id, epoch, first_offset: base_offset, is_new: true })
            }
        }
    }

    /// Takes a marker. One whose record compaction has taken marks nothing, nor does one that is not of a transaction.
    fn end(&mut self, header: &BatchHeader, control: Option<&[u8]>, offset: i64) -> Option<Change> {
        let batch = control.filter(|_| header.records_count > 0).map(BatchView::parse)?;
        let marker = batch.and_then(|batch| read_marker(&batch)).ok().flatten()?;
        let was_aborted = match marker.kind {
            ControlType::Abort => true,
            ControlType::Commit => false,
            ControlType::Other(_) => return None,
        };
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let entry = self.entries.entry(producer_id).or_insert_with(|| ProducerEntry::new(epoch));
        let first_offset = entry.open_transaction();
        entry.adopt(epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        entry.transaction_first_offset = NO_OFFSET;
        if let Some(first) = first_offset {
            self.open.remove(&first);
        }
        let aborted = first_offset.filter(|_| was_aborted).map(|first_offset| AbortedTransaction {
            producer_id,
            first_offset,
            last_offset: offset,
            last_stable_offset: self.first_open().unwrap_or_else(|| offset.saturating_add(1)),
        });
        Some(Change::Ended { producer_id, epoch, marker_offset: offset, first_offset, aborted })
    }

    /// First offset of the oldest open transaction.
    pub fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// Open transactions: first offset, producer, epoch.
    pub fn open(&self) -> impl Iterator<Item = (i64, i64, i16)> {
        let epoch = |id: &i64| self.entries.get(id).map(|entry| entry.epoch);
        self.open.iter().filter_map(move |(first, id)| Some((*first, *id, epoch(id)?)))
    }

    /// Forgets producers that have not written since `before` (`producer.id.expiration.ms`); those with an open
    /// transaction stay. Returns how many went.
    pub fn expire(&mut self, before: Timestamp) -> usize {
        let count = self.entries.len();
        self.entries.retain(|_, entry| entry.last_timestamp >= before || entry.open_transaction().is_some());
        count - self.entries.len()
    }

    /// What each producer wrote last: compaction keeps the batches that say so.
    pub fn lasts(&self) -> ActiveProducers {
        let last = |entry: &ProducerEntry| LastOfProducer {
            epoch: entry.epoch,
            last_offset: entry.batches.last().map(|batch| batch.last_offset),
        };
        self.entries.iter().map(|(id, entry)| (*id, last(entry))).collect()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of this producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// Everybody who is known, by id.
    pub fn sorted(&self) -> Vec<(i64, &ProducerEntry)> {
        let mut all: Vec<_> = self.entries.iter().map(|(&id, entry)| (id, entry)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transaction_tests;
