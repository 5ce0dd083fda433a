//! The append section: one writer at a time, whoever it is.
//!
//! Checked batches are pushed to the partition's queue; whoever then gets the writer's lock drains it: sequences are
//! checked on staged producer state, offsets assigned, everything written with one vectored write, the staged state
//! kept, the new end published. Whoever does not get the lock goes away and waits on its ticket: the holder looks at
//! the queue again after it has unlocked, so nothing that was pushed meanwhile is left behind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::MutexGuard;
use tokio::runtime::Handle;

use super::ack::{Ack, NotAppended};
use super::off_worker::{off_worker, writes_here};
use super::producers::{Change, Producers, SeenBatch, TransactionMarker, Verdict};
use super::transactions::CoordinatorWord;
use super::{Appended, Partition};
use crate::config::Fsync;
use crate::record::batch::BatchHeader;
use crate::record::check::CheckedBatch;
use crate::record::control::{ControlType, Marker, build_marker};
use crate::storage::flush::When;
use crate::storage::log::{AppendBatch, AppendError, LogWriter};
use crate::types::Timestamp;

/// The most that one drain writes before it publishes.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// What a thread appends for everybody before it goes back to its own: the first write that reaches it is the last.
const DRAIN_TURN_BYTES: usize = 512 << 10;
/// The most batches that one drain takes.
const DRAIN_BATCHES_MAX: usize = 1024;

/// A batch in the queue.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) batch: CheckedBatch,
    pub(super) ack: Ack,
    pub(super) said: CoordinatorWord,
}

/// What only the writer touches.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: LogWriter,
    pub(super) producers: Producers,
    /// Records appended since a sync was last asked for (`flush.messages`).
    pub(super) unflushed_records: i64,
    /// Bytes that may be appended before `retention.bytes` asks for the oldest segment.
    pub(super) room_bytes: u64,
}

/// Batches that a drain has given offsets and not written yet.
#[derive(Default)]
struct Stage {
    batches: Vec<(Pending, i64)>,
    duplicates: Vec<(Pending, SeenBatch)>,
    changes: Vec<Change>,
    bytes: usize,
    records: i64,
}

impl Partition {
    /// Puts a batch in the queue. [`Partition::drain`] must be called before anybody waits for its ticket.
    pub fn enqueue(&self, batch: CheckedBatch, ack: Ack) {
        self.enqueue_said(batch, ack, CoordinatorWord::NotAsked);
    }

    /// [`Partition::enqueue`] for a batch of which the transaction coordinator has spoken: see
    /// [`Partition::transactional_ticket`].
    pub fn enqueue_said(&self, batch: CheckedBatch, ack: Ack, said: CoordinatorWord) {
        if let Some(why) = self.closed() {
            ack.answer(Err(why.into()));
            return;
        }
        self.queue.lock().push(Pending { batch, ack, said });
    }

    /// Appends what is in the queue, unless another thread does: a turn's worth of it, for whoever calls this has others
    /// to serve, and those who push may go on for as long as there is no answer. What is left is a task's, where there are
    /// any.
    ///
    /// On a runtime this thread's other tasks go to another one first, if the disk is so far behind that the write may
    /// stand still. This holds for all that appends here.
    pub fn drain(self: &Arc<Self>) {
        self.writing(|| self.drain_here());
    }

    fn drain_here(self: &Arc<Self>) {
        let mut left = DRAIN_TURN_BYTES;
        loop {
            {
                let Some(mut writer) = self.writer.try_lock() else { return };
                self.adopt_settings(&mut writer);
                while left > 0
                    && let Some(pending) = self.take_queue()
                {
                    left = left.saturating_sub(pending.iter().map(|pending| pending.batch.bytes.len()).sum());
                    self.append_all(&mut writer, pending);
                    // Those who wait for the writer itself would wait for as long as others push.
                    MutexGuard::bump(&mut writer);
                }
            }
            // A push may have come between the last look and the unlock, by someone who then found the lock taken.
            if self.queue.lock().is_empty() {
                return;
            }
            if left == 0 {
                if self.hand_over() {
                    return;
                }
                left = DRAIN_TURN_BYTES;
            }
        }
    }

    /// Has a task see to the queue; `false` where there are none.
    fn hand_over(self: &Arc<Self>) -> bool {
        let Ok(tasks) = Handle::try_current() else { return false };
        let this = Arc::clone(self);
        drop(tasks.spawn(async move { this.drain() }));
        true
    }

    /// Whether somebody has the writer at this moment.
    pub fn is_written_to(&self) -> bool {
        self.writer.is_locked()
    }

    /// Keeps the writer from everybody else for as long as this takes.
    #[cfg(test)]
    pub(crate) fn hold_writer<T>(&self, work: impl FnOnce() -> T) -> T {
        self.with_writer(|_| work())
    }

    /// Does what writes: with a file to write to, and on a thread that may wait where the disk may make it.
    fn writing<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.log.lacks_file() {
            off_worker(|| self.committer.relieve(self.log.files()));
        }
        writes_here(&self.committer, write)
    }

    /// [`Partition::with_writer`] for work that appends.
    fn append_with<T>(&self, append: impl FnOnce(&mut Writer) -> T) -> T {
        self.writing(|| self.with_writer(append))
    }

    /// Runs `work` with the writer, then sees to what was pushed meanwhile by those who found the lock taken: whoever
    /// holds the writer owes them that, whatever it holds it for. It is appended by a task where there are any, for it
    /// may be much, and more may come.
    pub(super) fn with_writer<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        let outcome = {
            let mut writer = self.writer.lock();
            self.adopt_settings(&mut writer);
            work(&mut writer)
        };
        let left_behind = !self.queue.lock().is_empty();
        if left_behind
            && let Some(this) = self.sync.partition.upgrade()
            && !this.hand_over()
        {
            this.drain();
        }
        outcome
    }

    /// Has the writer use the settings that are in force.
    fn adopt_settings(&self, writer: &mut Writer) {
        let settings = self.settings();
        if !Arc::ptr_eq(writer.log.settings(), &settings) {
            writer.log.set_settings(Arc::clone(&settings));
            self.reschedule(writer);
        }
    }

    fn take_queue(&self) -> Option<Vec<Pending>> {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fits = queue.iter().take(DRAIN_BATCHES_MAX).take_while(|pending| {
            let before = bytes;
            bytes += pending.batch.bytes.len();
            before == 0 || bytes <= DRAIN_BYTES_MAX
        });
        let count = fits.count();
        if count == queue.len() {
            return Some(std::mem::take(&mut *queue));
        }
        Some(queue.drain(..count).collect())
    }

    fn append_all(self: &Arc<Self>, writer: &mut Writer, pending: Vec<Pending>) {
        let now = self.clock.now_ms();
        let room = self.committer.health().room();
        let admits = room.admits();
        let mut stage = Stage::default();
        let mut next = writer.log.end();
        for pending in pending {
            if let Some(why) = self.closed() {
                pending.ack.answer(Err(why.into()));
                continue;
            }
            let header = BatchHeader { base_offset: next, ..pending.batch.header };
            let verdict = writer.producers.check(&header, &self.word(&header, pending.said));
            // What was appended before is acknowledged again; of the rest nothing is looked at, since the batch before
            // it may have been refused for the same reason.
            if !admits && !matches!(verdict, Verdict::Duplicate(_)) {
                room.count_refused();
                pending.ack.answer(Err(NotAppended::Storage));
                continue;
            }
            match verdict {
                Verdict::Refuse(error) => pending.ack.answer(Err(error.into())),
                Verdict::Duplicate(seen) => stage.duplicates.push((pending, seen)),
                Verdict::Append => {
                    if writer.log.should_roll(stage.bytes, &header, now) {
                        if !self.write(writer, std::mem::take(&mut stage), now) {
                            // It was checked against batches that are not in the log.
                            pending.ack.answer(Err(NotAppended::Storage));
                            next = writer.log.end();
                            continue;
                        }
                        if let Err(error) = self.roll(writer, now) {
                            pending.ack.answer(Err(self.not_appended(&error)));
                            continue;
                        }
                        next = writer.log.end();
                    }
                    stage.changes.extend(writer.producers.stage(&header, None, next));
                    stage.bytes += pending.batch.bytes.len();
                    stage.records += i64::from(header.records_count);
                    stage.batches.push((pending, next));
                    next += i64::from(header.last_offset_delta) + 1;
                }
            }
        }
        self.write(writer, stage, now);
    }

    /// Writes what is staged, in one write, and answers or parks its acknowledgements. `false` if the write failed.
    fn write(self: &Arc<Self>, writer: &mut Writer, stage: Stage, now: Timestamp) -> bool {
        if !stage.batches.is_empty() {
            let batches: Vec<AppendBatch<'_>> = stage
                .batches
                .iter()
                .map(|(pending, base_offset)| AppendBatch {
                    bytes: &pending.batch.bytes,
                    header: &pending.batch.header,
                    base_offset: *base_offset,
                    leader_epoch: self.leader_epoch,
                })
                .collect();
            if let Err(error) = self.write_staged(writer, &batches, &stage.changes, now) {
                self.report(&error, "append refused", stage.batches.len());
                let error = self.not_appended(&error);
                let duplicates = stage.duplicates.into_iter().map(|(pending, _)| pending);
                for pending in stage.batches.into_iter().map(|(pending, _)| pending).chain(duplicates) {
                    pending.ack.answer(Err(error));
                }
                return false;
            }
            self.publish(writer, &stage);
        }
        for (pending, base_offset) in stage.batches {
            let end = base_offset + i64::from(pending.batch.header.last_offset_delta) + 1;
            let at = self.appended(base_offset, pending.batch.log_append_time);
            self.acknowledge(end, pending.ack, at);
        }
        for (pending, seen) in stage.duplicates {
            let append_time = if self.settings().log_append_time { seen.timestamp } else { -1 };
            let at = self.appended(seen.first_offset(), append_time);
            self.acknowledge(seen.last_offset + 1, pending.ack, at);
        }
        true
    }

    /// Makes the new end visible, or sees to it that it becomes durable soon.
    fn publish(self: &Arc<Self>, writer: &mut Writer, stage: &Stage) {
        let waited_for = stage.batches.iter().any(|(pending, _)| match pending.ack {
            Ack::All(_) => true,
            Ack::Leader(_) => self.leader_waits_for_disk(),
            Ack::None(_) => false,
        });
        self.publish_end(writer, stage.bytes, stage.records, waited_for);
    }

    fn publish_end(self: &Arc<Self>, writer: &mut Writer, bytes: usize, records: i64, waited_for: bool) {
        if !self.waits_for_disk() {
            self.advance(writer.log.end());
        }
        let settings = self.settings();
        writer.unflushed_records = writer.unflushed_records.saturating_add(records);
        let mut when = match self.fsync {
            Fsync::Always | Fsync::Batch if waited_for => When::Now,
            Fsync::Always | Fsync::Batch => When::Soon,
            Fsync::Interval(every) => When::Within(every),
            Fsync::Never => When::Someday,
        };
        if writer.unflushed_records >= settings.flush_messages {
            writer.unflushed_records = 0;
            when = When::Now;
        } else if let (Ok(within), When::Within(_) | When::Someday) = (u64::try_from(settings.flush_ms), when)
            && settings.flush_ms != i64::MAX
        {
            let within = Duration::from_millis(within);
            when = match when {
                When::Within(every) => When::Within(every.min(within)),
                _ => When::Within(within),
            };
        }
        self.ask_for_sync(bytes as u64, when);
        self.note_growth(writer, bytes as u64);
    }

    fn acknowledge(&self, end: i64, ack: Ack, at: Appended) {
        match ack {
            Ack::None(_) => ack.answer(Ok(at)),
            Ack::Leader(_) if !self.leader_waits_for_disk() => ack.answer(Ok(at)),
            Ack::Leader(_) | Ack::All(_) => self.answer_when_visible(end, ack, at),
        }
    }

    /// Whether acks=1 waits for the disk as acks=all does.
    fn leader_waits_for_disk(&self) -> bool {
        self.fsync == Fsync::Always || self.settings().flush_messages == 1
    }

    pub(super) fn roll(self: &Arc<Self>, writer: &mut Writer, now: Timestamp) -> Result<(), AppendError> {
        let snapshot = (!writer.producers.is_empty()).then(|| writer.producers.to_kafka_snapshot());
        let rolled = writer.log.roll(snapshot.as_deref(), now);
        match &rolled {
            Ok(()) => {
                self.checkpointer.request(self);
                // Without an append nobody else would sync the new file, and until then it is not closed.
                self.ask_for_sync(0, When::Soon);
            }
            Err(error) => self.report(error, "cannot begin a segment", 1),
        }
        rolled
    }

    /// Appends the broker's own batches (an internal topic's) in one write and returns the offset after the last: on an
    /// error none of them is in the log. They share a segment, which they may outgrow. Waits for the writer's lock,
    /// never for the disk's sync. The batches are trusted: their builder made them. Those of transactions, and markers,
    /// change the partition's producers as any other does; sequences are not looked at.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append_own(self: &Arc<Self>, batches: &[(Bytes, BatchHeader)]) -> Result<i64, AppendError> {
        self.append_with(|writer| self.append_staged(writer, batches, self.clock.now_ms()))
    }

    fn append_staged(
        self: &Arc<Self>,
        writer: &mut Writer,
        batches: &[(Bytes, BatchHeader)],
        now: Timestamp,
    ) -> Result<i64, AppendError> {
        if self.needs_roll(writer, batches, now) {
            self.roll(writer, now)?;
        }
        let (mut bytes, mut records, mut next) = (0, 0, writer.log.end());
        let (mut staged, mut changes) = (Vec::with_capacity(batches.len()), Vec::new());
        for (batch, header) in batches {
            let control = header.attributes.is_control().then_some(&**batch);
            changes.extend(writer.producers.stage(header, control, next));
            let leader_epoch = self.leader_epoch;
            staged.push(AppendBatch { bytes: batch, header, base_offset: next, leader_epoch });
            bytes += batch.len();
            records += i64::from(header.records_count);
            next += i64::from(header.last_offset_delta) + 1;
        }
        self.write_staged(writer, &staged, &changes, now)?;
        self.publish_end(writer, bytes, records, false);
        Ok(writer.log.end())
    }

    /// Appends the marker that ends a producer's transaction here, open or not (S57), and returns the offset after it:
    /// [`Partition::when_visible`] tells when nobody can take it back. Waits for the writer's lock, never for the disk's
    /// sync. A full disk's reserve is its to use.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` or `TRANSACTION_COORDINATOR_FENCED` as [`NotAppended::Refused`]; otherwise nothing was
    /// appended for another reason, and the marker is to be written again.
    pub fn append_marker(self: &Arc<Self>, marker: TransactionMarker) -> Result<i64, NotAppended> {
        if let Some(why) = self.closed() {
            return Err(why.into());
        }
        let now = self.clock.now_ms();
        let kind = if marker.commit { ControlType::Commit } else { ControlType::Abort };
        let record = Marker { kind, coordinator_epoch: marker.coordinator_epoch };
        let built = build_marker(record, marker.producer_id, marker.producer_epoch, now);
        let batch = built.and_then(|bytes| BatchHeader::parse(&bytes).map(|header| (bytes, header)));
        // Nothing but a bug.
        let batch = batch.map_err(|_| NotAppended::Misplaced)?;
        self.append_with(|writer| {
            writer.producers.check_marker(&marker)?;
            let appended = self.append_staged(writer, &[batch], now);
            if appended.is_ok() && !marker.v2 {
                self.void_tickets(marker.producer_id);
            }
            appended.map_err(|error| {
                self.report(&error, "marker refused", 1);
                self.not_appended(&error)
            })
        })
    }

    /// Whether one of these batches would not be appended to the segment that grows now.
    fn needs_roll(&self, writer: &Writer, batches: &[(Bytes, BatchHeader)], now: Timestamp) -> bool {
        let (mut before, mut next) = (0, writer.log.end());
        batches.iter().any(|(batch, header)| {
            let rolls = writer.log.should_roll(before, &BatchHeader { base_offset: next, ..*header }, now);
            before += batch.len();
            next += i64::from(header.last_offset_delta) + 1;
            rolls
        })
    }

    /// Makes sure that `bytes` more can be appended without asking the disk for space.
    pub fn reserve(&self, bytes: u64) -> Result<(), AppendError> {
        self.append_with(|writer| writer.log.reserve(bytes, self.clock.now_ms()))
    }

    /// Begins a new segment, so that what lies before it can be dropped as a whole.
    pub fn roll_segment(self: &Arc<Self>) -> Result<(), AppendError> {
        self.append_with(|writer| self.roll(writer, self.clock.now_ms()))
    }

    /// Ends writing for good: reserved space is freed and index files are completed.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.with_writer(|writer| writer.log.close()).map_err(io::Error::other)
    }

    /// Forgets producers that have not written since `before` (`producer.id.expiration.ms`).
    pub fn expire_producers(&self, before: Timestamp) -> usize {
        self.transactions.lock().expire(before);
        self.with_writer(|writer| writer.producers.expire(before))
    }

    /// Says that an append failed. Of a full disk the broker speaks, once for all.
    fn report(&self, error: &AppendError, what: &str, batches: usize) {
        let (topic, partition) = (&self.topic, self.id.partition);
        match error {
            AppendError::Full { .. } => {
                (0..batches).for_each(|_| self.committer.health().room().count_refused());
                tracing::debug!(%topic, partition, %error, "{what}");
            }
            AppendError::OutOfService { .. } => tracing::debug!(%topic, partition, %error, "{what}"),
            // Who waited for a descriptor has said so.
            error if error.is_shortage() => tracing::debug!(%topic, partition, %error, "{what}"),
            _ => tracing::error!(%topic, partition, %error, "{what}"),
        }
    }

    fn not_appended(&self, error: &AppendError) -> NotAppended {
        match error {
            AppendError::Full { .. } | AppendError::Io { .. } | AppendError::OutOfService { .. } => {
                NotAppended::Storage
            }
            AppendError::Closed { .. } => self.closed().map_or(NotAppended::Storage, NotAppended::from),
            AppendError::SegmentFull { .. } => NotAppended::TooLarge,
            AppendError::NotNext { .. } => NotAppended::Misplaced,
        }
    }
}
