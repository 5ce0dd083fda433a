//! One partition: the handle that every front-end uses to append, read and wait.
//!
//! Appends go through a queue and one append section per partition (`append`); readers never take the writer's lock.
//! The high watermark is what readers may see: in `fsync = "batch"` and `"always"` the durable offset, else the log's
//! end. Acknowledgements that wait stand in one queue by their end offset, and long polls are registered as watchers:
//! both are released when the watermark moves.

pub mod ack;
mod append;
mod compaction;
mod durability;
mod off_worker;
mod open;
pub mod producers;
mod read;
pub mod schedule;
mod stability;
pub mod table;
pub mod transactions;
mod upkeep;
pub mod waiter;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Waker;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::ack::{Ack, Appended};
use self::append::{Pending, Writer};
use self::compaction::Decided;
use self::durability::SyncSide;
use self::schedule::Schedule;
use self::transactions::Transactions;
use self::waiter::{FetchWaiter, Watcher};
use crate::config::{Fsync, TopicSettings};
use crate::storage::flush::{Checkpointer, Committer, When};
use crate::storage::log::{Log, LogReader};
use crate::storage::room::Room;
use crate::types::{Clock, Timestamp, TopicPartition};

pub use self::ack::{AckSlot, AppendTicket, NotAppended};
pub use self::off_worker::off_worker;
pub use self::open::{Environment, OpenFault, OpenPartition, Recovered, Whose, set_deleted_aside};
pub use self::producers::TransactionMarker;
pub use self::read::{Isolation, OffsetAt, PartitionRead, ReadRequest};
pub use self::stability::ProducerDescription;
pub use self::upkeep::Trimmed;

/// Called when a partition is durable up to an asked-for end, or never will be.
pub type DurableWake = Arc<dyn Fn() + Send + Sync>;

/// One open partition.
#[derive(Debug)]
pub struct Partition {
    id: TopicPartition,
    topic: Arc<str>,
    leader_epoch: i32,
    clock: Clock,
    fsync: Fsync,
    settings: ArcSwap<TopicSettings>,
    committer: Arc<Committer>,
    checkpointer: Arc<Checkpointer>,
    schedule: Arc<Schedule>,
    queue: Mutex<Vec<Pending>>,
    writer: Mutex<Writer>,
    reader: LogReader,
    log: Arc<Log>,
    sync: Arc<SyncSide>,
    /// What readers may see ends here; a copy of the value under `visible` for those who only look.
    high_watermark: AtomicI64,
    /// What is decided ends here if that is below the high watermark; a copy of what `transactions` says.
    first_unstable: AtomicI64,
    decided: Decided,
    transactions: Mutex<Transactions>,
    visible: Mutex<Visible>,
    closed: OnceLock<Closed>,
}

/// Why a partition takes no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its topic is deleted.
    Deleted,
    /// The broker stops.
    Stopping,
}

impl From<Closed> for NotAppended {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Deleted => Self::Gone,
            Closed::Stopping => Self::Stopping,
        }
    }
}

/// State around the high watermark, under a lock that is never held across I/O.
#[derive(Default)]
struct Visible {
    high_watermark: i64,
    /// By rising end offset, except for recognised duplicates, which may stand behind later ends.
    waiting: VecDeque<WaitingAck>,
    /// Those who wait for the disk itself, whatever the watermark follows.
    waiting_durable: VecDeque<(i64, DurableWake)>,
    watchers: Vec<Watcher>,
    /// Set when nothing will become durable any more.
    failed: bool,
}

#[derive(Debug)]
struct WaitingAck {
    end: i64,
    ack: Ack,
    at: Appended,
}

impl Visible {
    /// Signals these watchers; those who are returned are to be woken, without the lock, which they take first of all.
    #[must_use]
    fn signal(&self, wanted: impl Fn(&Watcher) -> bool) -> Vec<Waker> {
        let signalled = self.watchers.iter().filter(|watcher| wanted(watcher));
        signalled.filter_map(|watcher| watcher.waiter.mark(watcher.slot)).collect()
    }
}

impl Partition {
    /// How much room the disk has.
    pub fn room(&self) -> &Room {
        self.committer.health().room()
    }

    /// Which partition this is.
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    /// The topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The leader epoch of this start (KIP-320).
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// The topic's settings now.
    pub fn settings(&self) -> arc_swap::Guard<Arc<TopicSettings>> {
        self.settings.load()
    }

    /// Puts other settings in force: the next append goes by them, and housekeeping looks at the log at once. Does not
    /// wait for the writer.
    pub fn set_settings(&self, settings: Arc<TopicSettings>) {
        self.settings.store(settings);
        if !self.waits_for_disk() {
            // With `flush.messages` 1 taken back, nobody else would show what is waiting.
            self.advance(self.reader.end());
        }
        self.schedule.at_latest(self.id, Timestamp::MIN);
    }

    /// The log's read side: for descriptions and dumps.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// The log's upkeep: retention.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The first offset that may be read.
    pub fn log_start(&self) -> i64 {
        self.reader.start()
    }

    /// What readers may see ends here.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Whether a sync has failed: nothing becomes durable any more.
    pub fn has_failed(&self) -> bool {
        self.visible.lock().failed
    }

    /// Signals readers that the log start has moved: what they wait for may be gone.
    pub fn log_start_moved(&self) {
        let woken = self.visible.lock().signal(|_| true);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Why the partition was closed, if it was.
    pub fn closed(&self) -> Option<Closed> {
        self.closed.get().copied()
    }

    /// Whether its topic was deleted.
    fn is_deleted(&self) -> bool {
        self.closed() == Some(Closed::Deleted)
    }

    /// Takes a watcher that is signalled with `slot` whenever the end of what it may see moves, the log start moves or
    /// the partition closes. Look at that end again after this, or a move in between is missed.
    pub fn watch(&self, waiter: &Arc<FetchWaiter>, slot: usize, isolation: Isolation) {
        self.visible.lock().watchers.push(Watcher { waiter: Arc::clone(waiter), slot, isolation });
        if self.closed().is_some() {
            waiter.signal(slot);
        }
    }

    /// Drops this waiter's registrations.
    pub fn unwatch(&self, waiter: &Arc<FetchWaiter>) {
        self.visible.lock().watchers.retain(|watcher| !Arc::ptr_eq(&watcher.waiter, waiter));
    }

    /// Calls `wake` once, when the log is durable up to `end` or when that has failed; perhaps before this returns.
    pub fn when_durable(self: &Arc<Self>, end: i64, wake: DurableWake) {
        self.wake_when(end, wake, |this, _| this.reader.durable());
    }

    /// Calls `wake` once, when all below `end` is visible or when that has failed: at once where readers do not wait for
    /// the disk.
    pub fn when_visible(self: &Arc<Self>, end: i64, wake: DurableWake) {
        // Not by the durable offset, which moves first.
        self.wake_when(end, wake, |_, visible| visible.high_watermark);
    }

    fn wake_when(self: &Arc<Self>, end: i64, wake: DurableWake, at: impl Fn(&Self, &Visible) -> i64) {
        {
            let mut visible = self.visible.lock();
            let waits = at(self, &visible) < end && !visible.failed && self.closed().is_none();
            if waits {
                visible.waiting_durable.push_back((end, wake));
                drop(visible);
                self.ask_for_sync(0, When::Now);
                return;
            }
        }
        wake();
    }

    /// Closes the partition because its topic is deleted: what waits is answered so. When this returns, nothing of it
    /// touches a file by its path any more.
    pub(super) fn delete(self: &Arc<Self>) {
        self.close(Closed::Deleted);
        let waiting = std::mem::take(&mut self.visible.lock().waiting);
        for waiting in waiting {
            waiting.ack.answer(Err(NotAppended::Gone));
        }
        self.with_writer(|writer| writer.log.give_up());
        self.checkpointer.forget(self);
        // Nothing is dirty any more, so this only takes it out of the committer's queue.
        self.committer.request(&self.sync);
    }

    /// Closes the partition because the broker stops. What is appended and waits for the disk goes on waiting: it is
    /// acknowledged by the sync that follows, or never answered. A client that is told of an error sends it again.
    fn stop(&self) {
        self.close(Closed::Stopping);
    }

    /// Refuses appends from now on, and wakes those who wait for more records.
    fn close(&self, why: Closed) {
        let _first = self.closed.set(why);
        for pending in std::mem::take(&mut *self.queue.lock()) {
            pending.ack.answer(Err(why.into()));
        }
        let (wakes, watchers) = {
            let mut visible = self.visible.lock();
            (std::mem::take(&mut visible.waiting_durable), visible.watchers.clone())
        };
        for (_, wake) in wakes {
            wake();
        }
        for watcher in watchers {
            watcher.waiter.signal(watcher.slot);
        }
    }

    /// Whether the high watermark follows the durable offset (else it follows the log's end).
    fn waits_for_disk(&self) -> bool {
        matches!(self.fsync, Fsync::Always | Fsync::Batch) || self.settings.load().flush_messages == 1
    }

    /// The end of what is in the log and, where that waits for nothing, visible.
    pub fn settled_end(&self) -> i64 {
        if self.waits_for_disk() { self.reader().end() } else { self.high_watermark() }
    }

    /// Moves the high watermark up to `end`, answers what waited for it and wakes the watchers.
    fn advance(&self, end: i64) {
        let (mut covered, mut woken) = (Vec::new(), Vec::new());
        {
            let mut visible = self.visible.lock();
            if end > visible.high_watermark {
                let stable = self.stable_end(&visible);
                visible.high_watermark = end;
                self.high_watermark.store(end, Ordering::Release);
                self.show_transactions(end);
                let is_stable_moved = self.stable_end(&visible) > stable;
                woken = visible
                    .signal(|watcher| is_stable_moved || watcher.isolation == Isolation::ReadUncommitted);
            }
            while visible.waiting.front().is_some_and(|ack| ack.end <= end) {
                covered.extend(visible.waiting.pop_front());
            }
        }
        woken.into_iter().for_each(Waker::wake);
        for waiting in covered {
            waiting.ack.answer(Ok(waiting.at));
        }
    }

    /// The log is durable up to `end`.
    fn durable(&self, end: i64) {
        if self.waits_for_disk() {
            self.advance(end);
        }
        let mut covered = Vec::new();
        {
            let mut visible = self.visible.lock();
            while visible.waiting_durable.front().is_some_and(|(wanted, _)| *wanted <= end) {
                covered.extend(visible.waiting_durable.pop_front());
            }
        }
        for (_, wake) in covered {
            wake();
        }
    }

    /// Answers now if the watermark covers `end`, else when it does.
    fn answer_when_visible(&self, end: i64, ack: Ack, at: Appended) {
        let error = {
            let mut visible = self.visible.lock();
            if visible.high_watermark >= end {
                None
            } else if visible.failed {
                Some(NotAppended::Storage)
            } else if self.is_deleted() {
                // Nobody comes for it any more.
                Some(NotAppended::Gone)
            } else {
                visible.waiting.push_back(WaitingAck { end, ack, at });
                return;
            }
        };
        ack.answer(error.map_or(Ok(at), Err));
    }

    /// A sync failed: nothing becomes durable any more.
    fn fail(&self) {
        let (waiting, wakes) = {
            let mut visible = self.visible.lock();
            visible.failed = true;
            (std::mem::take(&mut visible.waiting), std::mem::take(&mut visible.waiting_durable))
        };
        // At a stop they stay unanswered: what was appended may well be on disk, and the connections end.
        if self.closed().is_none() {
            for waiting in waiting {
                waiting.ack.answer(Err(NotAppended::Storage));
            }
        }
        for (_, wake) in wakes {
            wake();
        }
    }

    fn appended(&self, base_offset: i64, log_append_time: i64) -> Appended {
        Appended { base_offset, log_append_time, log_start: self.reader.start() }
    }
}

impl std::fmt::Debug for Visible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visible")
            .field("high_watermark", &self.high_watermark)
            .field("waiting", &self.waiting.len())
            .field("watchers", &self.watchers.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod append_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod deletion_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod transaction_compaction_tests;
#[cfg(test)]
mod transaction_model_tests;
#[cfg(test)]
mod transaction_tests;
#[cfg(test)]
mod upkeep_tests;
