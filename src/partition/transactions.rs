//! The transactions of one partition as those see them who do not hold its writer: which hold the stable offset back, and
//! who waits for the coordinator's word.
//!
//! Pure, behind a small lock of its own that only transactional batches, markers and what follows from them take. A
//! *ticket* is what a producer of a first batch takes before the coordinator is asked, and gives back with the batch
//! (KIP-890): a marker that is appended in between voids it, so that a batch of a transaction that has ended cannot begin
//! one that nobody will end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::producers::{Change, Producers, Word};
use crate::record::batch::BatchHeader;
use crate::types::Timestamp;

/// Producers that may wait for the coordinator's word at once, on one partition.
const WAITING_MAX: usize = 100_000;

/// Whether a transactional batch may be appended, as far as the coordinator is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoordinatorWord {
    /// It was not asked: right for batches of a transaction that is open here.
    #[default]
    NotAsked,
    /// It has said that the partition is part of the transaction, to who held this ticket.
    Given(TransactionTicket),
}

/// Taken before the coordinator is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionTicket(u64);

/// The first batch of a transaction that is to come.
#[derive(Debug, Clone, Copy)]
pub struct FirstBatch {
    /// Whose.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Its first sequence number.
    pub base_sequence: i32,
    /// Whether its client is one of transactions V2.
    pub is_v2: bool,
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By first offset: transactions that are open, and those whose marker is not visible yet.
    unstable: BTreeMap<i64, Unstable>,
    /// Those of them that have a marker, by its offset: their first offsets. What becomes visible is at the front, so a
    /// watermark that moves costs nothing for those that are open, however many.
    ended: BTreeMap<i64, i64>,
    /// The epochs of open ones, by producer.
    open: HashMap<i64, i16>,
    waiting: HashMap<i64, Waiting>,
    last_ticket: u64,
    /// First offset of the transaction that people were told of because it holds the stable offset back.
    told: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Unstable {
    producer_id: i64,
    /// On the steady clock; for one that recovery found, the start of the partition.
    since: Duration,
    /// The marker's offset, once there is one.
    marker: Option<i64>,
}

/// A transaction that holds the stable offset back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// Whose it is.
    pub producer_id: i64,
    /// Where it begins.
    pub first_offset: i64,
    /// For how long it has been open, or the partition if that is shorter.
    pub for_at_least: Duration,
}

#[derive(Debug)]
struct Waiting {
    ticket: TransactionTicket,
    epoch: i16,
    lowest_sequence: i32,
    is_v2: bool,
    since: Timestamp,
    /// The coordinator has refused the last one for good: it need not be remembered.
    is_refused: bool,
}

impl Transactions {
    /// As recovery finds them: all that have ended are visible.
    pub(super) fn recovered(producers: &Producers, since: Duration) -> Self {
        let unstable = |producer_id| Unstable { producer_id, since, marker: None };
        Self {
            unstable: producers.open().map(|(first, id, _)| (first, unstable(id))).collect(),
            open: producers.open().map(|(_, id, epoch)| (id, epoch)).collect(),
            ..Self::default()
        }
    }

    /// The first offset that is not decided, or not visibly so; `i64::MAX` if there is none.
    pub(super) fn first_unstable(&self) -> i64 {
        self.unstable.keys().next().copied().unwrap_or(i64::MAX)
    }

    /// Batches with these changes are about to be written: whoever sees them sees them as undecided.
    pub(super) fn announce(&mut self, changes: &[Change], since: Duration) {
        for change in changes {
            if let Change::Began { producer_id, first_offset, is_new: true, .. } = *change {
                self.unstable.insert(first_offset, Unstable { producer_id, since, marker: None });
            }
        }
    }

    /// They were not written.
    pub(super) fn take_back(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Began { first_offset, is_new: true, .. } = change {
                self.unstable.remove(first_offset);
            }
        }
    }

    /// They are in the log, of which all below `high_watermark` is visible.
    pub(super) fn settle(&mut self, changes: &[Change], high_watermark: i64) {
        for change in changes {
            match *change {
                Change::Began { producer_id, epoch, .. } => {
                    self.open.insert(producer_id, epoch);
                    self.waiting.remove(&producer_id);
                }
                Change::Ended { producer_id, epoch, marker_offset, first_offset, .. } => {
                    self.open.remove(&producer_id);
                    // In V2 the next transaction has the marker's epoch: who waits under it waits for the next one. After
                    // a marker of V1, which a client of both may have asked for, nobody does: see `void`.
                    let is_for_next = |waiting: &Waiting| waiting.is_v2 && waiting.epoch == epoch;
                    if !self.waiting.get(&producer_id).is_some_and(is_for_next) {
                        self.waiting.remove(&producer_id);
                    }
                    if let Some(first) = first_offset
                        && let Some(ended) = self.unstable.get_mut(&first)
                    {
                        ended.marker = Some(marker_offset);
                        self.ended.insert(marker_offset, first);
                    }
                }
            }
        }
        self.show(high_watermark);
    }

    /// All below `high_watermark` is visible.
    pub(super) fn show(&mut self, high_watermark: i64) {
        while let Some(oldest) = self.ended.first_entry()
            && *oldest.key() < high_watermark
        {
            self.unstable.remove(&oldest.remove());
        }
    }

    /// The transaction that has held the stable offset back for this long, if nobody was told of it yet.
    pub(super) fn held_back(&mut self, now: Duration, for_at_least: Duration) -> Option<HeldBack> {
        let (&first_offset, one) = self.unstable.first_key_value()?;
        let open_for = now.saturating_sub(one.since);
        if one.marker.is_some() || open_for < for_at_least || self.told == Some(first_offset) {
            return None;
        }
        self.told = Some(first_offset);
        Some(HeldBack { producer_id: one.producer_id, first_offset, for_at_least: open_for })
    }

    /// Whether this producer's transaction is open.
    pub(super) fn is_open(&self, producer_id: i64) -> bool {
        self.open.contains_key(&producer_id)
    }

    /// A ticket for a batch, if the coordinator has to be asked before it is appended. `Err` if too many wait already.
    pub(super) fn ticket(
        &mut self,
        batch: &FirstBatch,
        now: Timestamp,
    ) -> Result<Option<TransactionTicket>, TooManyWait> {
        if self.open.get(&batch.producer_id) == Some(&batch.producer_epoch) {
            return Ok(None);
        }
        if let Some(waiting) = self.waiting.get_mut(&batch.producer_id) {
            waiting.is_refused = false;
            if batch.producer_epoch > waiting.epoch {
                waiting.epoch = batch.producer_epoch;
                waiting.lowest_sequence = batch.base_sequence;
            } else if batch.producer_epoch == waiting.epoch {
                waiting.lowest_sequence = waiting.lowest_sequence.min(batch.base_sequence);
            }
            return Ok(Some(waiting.ticket));
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|_, waiting| !waiting.is_refused);
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(TooManyWait);
        }
        self.last_ticket += 1;
        let ticket = TransactionTicket(self.last_ticket);
        let waiting = Waiting {
            ticket,
            epoch: batch.producer_epoch,
            lowest_sequence: batch.base_sequence,
            is_v2: batch.is_v2,
            since: now,
            is_refused: false,
        };
        self.waiting.insert(batch.producer_id, waiting);
        Ok(Some(ticket))
    }

    /// The coordinator has refused for good: this one goes first where too many wait. Its sequence still counts, for a
    /// batch behind it may be on its way.
    pub(super) fn give_ticket_up(&mut self, producer_id: i64, ticket: TransactionTicket) {
        let waiting = self.waiting.get_mut(&producer_id);
        if let Some(waiting) = waiting.filter(|waiting| waiting.ticket == ticket) {
            waiting.is_refused = true;
        }
    }

    /// The producer's transaction has ended under the epoch that it had: the ticket was for it.
    pub(super) fn void(&mut self, producer_id: i64) {
        self.waiting.remove(&producer_id);
    }

    /// What there is to go by for a transactional batch.
    pub(super) fn word(&self, header: &BatchHeader, said: CoordinatorWord) -> Word {
        let waiting = self.waiting.get(&header.producer_id);
        Word {
            is_given: match said {
                CoordinatorWord::NotAsked => false,
                CoordinatorWord::Given(ticket) => waiting.is_some_and(|waiting| waiting.ticket == ticket),
            },
            lowest_sequence: waiting.map(|waiting| waiting.lowest_sequence),
            is_v2: waiting.is_some_and(|waiting| waiting.is_v2),
        }
    }

    /// Forgets who has waited since before `before`.
    pub(super) fn expire(&mut self, before: Timestamp) {
        self.waiting.retain(|_, waiting| waiting.since >= before);
    }
}

/// No more can wait for the coordinator on this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyWait;

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;
