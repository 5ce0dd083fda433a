//! The last stable offset (S19, S20): where `read_committed` readers stop, and what moves it.
//!
//! A transaction holds it back from before its first batch is written until its marker is below the high watermark; the
//! aborted ones are in their index before that. So the offset never shows what is undecided, nor an aborted record
//! without its entry. A partition without transactions pays one load of an atomic.

use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use super::append::Writer;
use super::producers::{Change, Word};
use super::read::Isolation;
use super::transactions::{CoordinatorWord, FirstBatch, HeldBack, TransactionTicket};
use super::{Partition, Visible};
use crate::record::batch::BatchHeader;
use crate::storage::log::{AppendBatch, AppendError};
use crate::types::offset::NO_SEQUENCE;
use crate::types::{ErrorCode, Timestamp};

impl Partition {
    /// What `read_committed` readers may see ends here (S20): at the high watermark, or before the first record of a
    /// transaction that is open, or whose end is not visible yet; never below the log's start.
    pub fn last_stable_offset(&self) -> i64 {
        // In this order: a transaction that begins below this watermark was announced before.
        let high_watermark = self.high_watermark();
        let first = self.first_unstable.load(Ordering::Acquire);
        if first >= high_watermark {
            return high_watermark;
        }
        first.max(self.log_start()).min(high_watermark)
    }

    /// The same but for the log's start, under the lock.
    pub(super) fn stable_end(&self, visible: &Visible) -> i64 {
        visible.high_watermark.min(self.first_unstable.load(Ordering::Acquire))
    }

    /// The high watermark has moved: ends below it are visible.
    pub(super) fn show_transactions(&self, high_watermark: i64) {
        if self.first_unstable.load(Ordering::Acquire) < high_watermark {
            let mut transactions = self.transactions.lock();
            transactions.show(high_watermark);
            self.first_unstable.store(transactions.first_unstable(), Ordering::Release);
        }
    }

    /// Writes batches whose producer state is staged, with what they change of transactions; then keeps the state, or
    /// drops it if they are not in the log.
    pub(super) fn write_staged(
        &self,
        writer: &mut Writer,
        batches: &[AppendBatch<'_>],
        changes: &[Change],
        now: Timestamp,
    ) -> Result<(), AppendError> {
        if !changes.is_empty() {
            let mut transactions = self.transactions.lock();
            transactions.announce(changes, self.clock.monotonic());
            self.first_unstable.store(transactions.first_unstable(), Ordering::Release);
        }
        let written = writer.log.append(batches, now);
        if written.is_ok() {
            writer.producers.commit();
            self.settle(writer, changes);
        } else {
            writer.producers.roll_back();
            if !changes.is_empty() {
                let mut transactions = self.transactions.lock();
                transactions.take_back(changes);
                self.first_unstable.store(transactions.first_unstable(), Ordering::Release);
            }
        }
        written
    }

    fn settle(&self, writer: &Writer, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        for change in changes {
            if let Change::Ended { aborted: Some(transaction), .. } = change {
                writer.log.note_aborted(*transaction);
            }
        }
        let mut woken = Vec::new();
        let visible = self.visible.lock();
        let stable = self.stable_end(&visible);
        {
            let mut transactions = self.transactions.lock();
            transactions.settle(changes, visible.high_watermark);
            self.first_unstable.store(transactions.first_unstable(), Ordering::Release);
        }
        // The sync of a marker may have been faster.
        if self.stable_end(&visible) > stable {
            woken = visible.signal(|watcher| watcher.isolation == Isolation::ReadCommitted);
        }
        drop(visible);
        woken.into_iter().for_each(Waker::wake);
    }

    /// What a transactional batch needs before it is appended: a ticket, if the coordinator has to be asked (S54), or
    /// nothing if its transaction is open here. Take it before the coordinator is asked and give it back with the batch,
    /// as [`CoordinatorWord::Given`]: a marker that is appended in between voids it.
    ///
    /// # Errors
    /// `NOT_ENOUGH_REPLICAS`, which every client retries, when too many producers wait on this partition.
    pub fn transactional_ticket(&self, batch: &FirstBatch) -> Result<Option<TransactionTicket>, ErrorCode> {
        let ticket = self.transactions.lock().ticket(batch, self.clock.now_ms());
        ticket.map_err(|_| ErrorCode::NotEnoughReplicas)
    }

    /// The coordinator has refused a batch for good. What would go before it is held against the next batches all the
    /// same, as in Kafka, until the transaction's end; but it makes room where too many wait.
    pub fn give_ticket_up(&self, producer_id: i64, ticket: TransactionTicket) {
        self.transactions.lock().give_ticket_up(producer_id, ticket);
    }

    /// A marker of the first version was appended: what its transaction asked for is void, though the epoch stays.
    pub(super) fn void_tickets(&self, producer_id: i64) {
        self.transactions.lock().void(producer_id);
    }

    /// The open transaction that has held the last stable offset back for this long, the first time that this is asked.
    pub fn held_back(&self, for_at_least: Duration) -> Option<HeldBack> {
        if self.first_unstable.load(Ordering::Acquire) == i64::MAX {
            return None;
        }
        self.transactions.lock().held_back(self.clock.monotonic(), for_at_least)
    }

    /// Whether this producer has a transaction open here.
    pub fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.first_unstable.load(Ordering::Acquire) != i64::MAX
            && self.transactions.lock().is_open(producer_id)
    }

    /// What a batch can go by besides its header; nothing for those that belong to no transaction.
    pub(super) fn word(&self, header: &BatchHeader, said: CoordinatorWord) -> Word {
        if header.attributes.is_transactional() {
            self.transactions.lock().word(header, said)
        } else {
            Word::default()
        }
    }

    /// Whether a later epoch of this producer was here: it is fenced. Waits for the writer's lock.
    pub fn is_fenced(&self, producer_id: i64, epoch: i16) -> bool {
        self.with_writer(|writer| writer.producers.get(producer_id).is_some_and(|entry| epoch < entry.epoch))
    }

    /// Who writes here, by producer id (DescribeProducers). Waits for the writer's lock.
    pub fn describe_producers(&self) -> Vec<ProducerDescription> {
        self.with_writer(|writer| {
            let all = writer.producers.sorted().into_iter();
            all.map(|(producer_id, entry)| ProducerDescription {
                producer_id,
                epoch: entry.epoch,
                last_sequence: entry.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: entry.coordinator_epoch,
                transaction_first_offset: entry.transaction_first_offset,
            })
            .collect()
        })
    }
}

/// A producer as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of its last record; -1 if only a marker is known of it.
    pub last_sequence: i32,
    /// When it last wrote, by the timestamps of its records.
    pub last_timestamp: Timestamp,
    /// Epoch of the coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, or -1.
    pub transaction_first_offset: i64,
}
