//! The one that appends: reserve, write, index, publish. Rolls stand in `roll.rs`.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::active::{Active, Ahead};
use super::gather::write_batches;
use super::{AppendBatch, AppendError, Log, LogMark, Place};
use crate::config::topic::TopicSettings;
use crate::record::batch::HEADER_LEN;
use crate::storage::index::OffsetEntry;
use crate::storage::pread::Wait;
use crate::storage::room::is_no_space;
use crate::storage::segment::Segment;
use crate::storage::txn_index::AbortedTransaction;
use crate::types::Timestamp;
use crate::types::offset::{NO_EPOCH, non_negative, saturate_u32};
use crate::types::time::NO_TIMESTAMP;

/// The one that appends. Its owner holds the partition's append lock.
#[derive(Debug)]
pub struct LogWriter {
    pub(super) log: Arc<Log>,
    pub(super) settings: Arc<TopicSettings>,
    pub(super) end: i64,
    last_epoch: i32,
    pub(super) active: Option<Active>,
    /// The base of the segment that grew when the log was opened.
    pub(super) found_active: Option<i64>,
    /// Bytes that stay reserved behind the end as long as the disk gives them, after a stop and a crash as well.
    kept_bytes: u64,
    closed: bool,
}

impl LogWriter {
    pub(super) fn new(
        log: Arc<Log>,
        settings: Arc<TopicSettings>,
        end: i64,
        last_epoch: Option<i32>,
        active: Option<Active>,
        kept_bytes: u64,
    ) -> Self {
        let found_active = active.as_ref().map(|active| active.segment.base());
        let last_epoch = last_epoch.unwrap_or(NO_EPOCH);
        Self { log, settings, end, last_epoch, active, found_active, kept_bytes, closed: false }
    }

    /// Makes ready for the first append, as far as the disk allows.
    pub(super) fn take_up(&mut self, now: Timestamp) {
        self.keep_reserve(now);
        if let Err(error) = self.begin_behind_hole(now) {
            // The first append tries again; no checkpoint is made before.
            tracing::warn!(dir = %self.log.dir.display(), %error, "cannot begin a segment behind what was lost");
        }
    }

    /// Makes the space known that an earlier life of the log kept reserved, and asks for what is missing of it. A full
    /// disk has none to give: then what writes first will be told.
    fn keep_reserve(&mut self, now: Timestamp) {
        let Some(active) = self.active.as_mut().filter(|_| self.kept_bytes > 0) else { return };
        match active.segment.open(&self.log.files, Wait::MayBlock) {
            Ok(file) => active.find_reserve(file.log(), 2 * self.kept_bytes),
            Err(error) => tracing::debug!(dir = %self.log.dir.display(), %error, "cannot open a segment yet"),
        }
        if let Err(error) = self.reserve(0, now) {
            tracing::debug!(%error, "no space can be kept for a log of the broker's own");
        }
    }

    /// The next offset.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The settings in use.
    pub fn settings(&self) -> &Arc<TopicSettings> {
        &self.settings
    }

    /// Bytes in the segment that grows.
    pub fn active_bytes(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.position)
    }

    /// Takes other settings from here on.
    pub fn set_settings(&mut self, settings: Arc<TopicSettings>) {
        self.log.segment_bytes.store(non_negative(settings.segment_bytes), Ordering::Relaxed);
        self.settings = settings;
    }

    /// Appends `batches`, which follow on [`LogWriter::end`] without gaps, with one write, and publishes the new end.
    ///
    /// # Errors
    /// Nothing was appended: the file is cut back to where it ended.
    pub fn append(&mut self, batches: &[AppendBatch<'_>], now: Timestamp) -> Result<(), AppendError> {
        self.check_open()?;
        let bytes = self.check_contiguous(batches)?;
        let Some(last) = batches.last() else { return Ok(()) };
        let active = self.with_room(bytes, now)?;
        let (segment, position, indexed) = (active.segment.clone(), active.position, active.indexed);
        active.indexed = true;
        if !indexed {
            segment.load_index().map_err(|error| self.fault(error, bytes))?;
        }
        let file = segment.begin_write(&self.log.files).map_err(|error| self.fault(error, bytes))?;
        let written = write_batches(file.log(), position, batches);
        segment.end_write();
        if let Err(error) = written {
            return Err(self.cut_back(file.log(), error, bytes));
        }
        let spill = self.note(&segment, position, batches, now);
        if last.leader_epoch > self.last_epoch {
            self.note_epochs(batches);
        }
        self.publish(&segment, position + bytes, last);
        if spill && let Err(error) = segment.flush_index(false) {
            tracing::warn!(dir = %self.log.dir.display(), %error, "cannot write an index: it stays behind");
        }
        Ok(())
    }

    /// Takes a transaction that was aborted by a marker of the last write. Readers that go by the stable offset must not
    /// be shown the marker before.
    pub fn note_aborted(&self, entry: AbortedTransaction) {
        let Some(active) = &self.active else { return };
        if let Err(error) = active.segment.note_aborted(entry) {
            tracing::warn!(dir = %self.log.dir.display(), %error, "cannot write an aborted transaction down: checkpoints stay behind until it is");
        }
    }

    pub(super) fn check_open(&self) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed { dir: self.log.dir.to_path_buf() });
        }
        self.log.check_in_service()
    }

    /// The batches' bytes, if each begins where the one before ends.
    fn check_contiguous(&self, batches: &[AppendBatch<'_>]) -> Result<u64, AppendError> {
        let (mut next, mut bytes) = (self.end, 0);
        for batch in batches {
            debug_assert_eq!(batch.bytes.len(), batch.header.total_len(), "one whole batch each");
            if batch.base_offset != next
                || batch.bytes.len() < HEADER_LEN
                || batch.header.last_offset_delta < 0
            {
                return Err(AppendError::NotNext { given: batch.base_offset, end: next });
            }
            next += i64::from(batch.header.last_offset_delta) + 1;
            bytes += batch.bytes.len() as u64;
        }
        let base = self.active.as_ref().map_or(self.end, |active| active.segment.base());
        let position = self.active.as_ref().map_or(0, |active| active.position);
        // Positions and relative offsets are 32 bits wide in the index; `should_roll` keeps far below.
        if next - 1 - base > i64::from(i32::MAX) || (position > 0 && position + bytes > u64::from(u32::MAX)) {
            return Err(AppendError::SegmentFull { dir: self.log.dir.to_path_buf() });
        }
        Ok(bytes)
    }

    /// The active segment, made if there is none, with its next `bytes` reserved.
    fn with_room(&mut self, bytes: u64, now: Timestamp) -> Result<&mut Active, AppendError> {
        if self.active.is_none() {
            self.begin(now)?;
        }
        let ahead = Ahead {
            segment_bytes: self.segment_bytes_max(),
            preallocate: self.settings.preallocate,
            kept: self.kept_bytes,
        };
        let log = &self.log;
        let Some(active) = &mut self.active else {
            return Err(AppendError::NotNext { given: self.end, end: self.end });
        };
        let reserved = active.reserve(bytes, &ahead, log.health.room(), |segment| {
            segment.open(&log.files, Wait::MayBlock).map(|file| file.shared_log())
        });
        match reserved {
            Ok(()) => Ok(active),
            Err(error) => Err(log.refuse(error, bytes)),
        }
    }

    /// Makes sure that the next `bytes` find space in the active segment, whatever happens to the disk. A roll in
    /// between takes the promise with it: roll first if [`LogWriter::should_roll`] may say so.
    ///
    /// # Errors
    /// There is not that much space.
    pub fn reserve(&mut self, bytes: u64, now: Timestamp) -> Result<(), AppendError> {
        self.check_open()?;
        self.with_room(bytes, now).map(|_| ())
    }

    /// Indexes what was written. Whether the index entries in RAM should be written out.
    fn note(&self, segment: &Segment, position: u64, batches: &[AppendBatch<'_>], now: Timestamp) -> bool {
        let interval = non_negative(self.settings.index_interval_bytes) as u64;
        let mut facts = segment.facts();
        let mut at = position;
        for batch in batches {
            let last = batch.base_offset + i64::from(batch.header.last_offset_delta);
            let entry = OffsetEntry { relative: segment.relative(last), position: saturate_u32(at) };
            let len = batch.bytes.len() as u64;
            facts.note(entry, len, batch.header.max_timestamp, interval);
            at += len;
        }
        facts.appended_at = now;
        facts.index.wants_spill()
    }

    fn publish(&mut self, segment: &Arc<Segment>, position: u64, last: &AppendBatch<'_>) {
        self.end = last.base_offset + i64::from(last.header.last_offset_delta) + 1;
        if let Some(active) = &mut self.active {
            active.position = position;
        }
        segment.commit(position);
        let end = Place { offset: self.end, segment: segment.base(), position, serial: segment.serial() };
        self.log.state.lock().publish(end, segment);
    }

    /// Gives the epochs that began with these batches their lines in `leader-epoch-checkpoint`. The file is synced
    /// with the batches. If it cannot be written now, a checkpoint will: until then the batches themselves tell.
    fn note_epochs(&mut self, batches: &[AppendBatch<'_>]) {
        let mut side = self.log.side.lock();
        for batch in batches {
            if side.epochs.note(batch.leader_epoch, batch.base_offset) {
                side.epochs_unwritten = true;
            }
            self.last_epoch = self.last_epoch.max(batch.leader_epoch);
        }
        if let Err(error) = self.log.write_epochs(&mut side) {
            tracing::warn!(dir = %self.log.dir.display(), %error, "cannot write the leader epochs: a checkpoint will try again");
        }
    }

    /// A write failed: nothing of it may stay behind the committed length.
    fn cut_back(&mut self, file: &File, error: io::Error, bytes: u64) -> AppendError {
        let Some(active) = &mut self.active else { return self.fault(error, bytes) };
        active.reserved = active.reserved.min(active.position);
        match file.set_len(active.position) {
            Ok(()) => self.fault(error, bytes),
            Err(cut) => self.log.end_service(
                io::Error::new(error.kind(), format!("{error}; it cannot be undone: {cut}")),
                "a write failed",
            ),
        }
    }

    pub(super) fn fault(&self, error: io::Error, bytes: u64) -> AppendError {
        self.log.refuse(error, bytes)
    }

    /// The present end as a place for a checkpoint: taken together with the producer state that belongs to it.
    pub fn mark(&self) -> LogMark {
        let state = self.log.state.lock();
        let last = state.segments.last();
        let (max_timestamp, appended_at) = last.map_or((NO_TIMESTAMP, NO_TIMESTAMP), |segment| {
            let facts = segment.facts();
            (facts.max_timestamp, facts.appended_at)
        });
        let aborted = last.and_then(|segment| segment.aborted().sum());
        LogMark { place: state.end, max_timestamp, appended_at, aborted }
    }

    /// Ends writing: frees reserved space and completes the index files. Appends are refused from here on; a last sync
    /// and checkpoint may follow.
    ///
    /// # Errors
    /// What the file system says; the log recovers as after a crash.
    pub fn close(&mut self) -> Result<(), AppendError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let Some(active) = self.active.take() else { return Ok(()) };
        let trimmed = if self.kept_bytes > 0 { Ok(()) } else { self.trim(&active) };
        let sealed = trimmed.and_then(|()| active.segment.seal_index());
        match sealed.and_then(|()| active.segment.flush_aborted()) {
            // Indexes are hints, and the next start makes them again.
            Err(error) if is_no_space(&error) => {
                tracing::warn!(dir = %self.log.dir.display(), %error, "cannot complete an index on a full disk");
                Ok(())
            }
            other => other.map_err(|error| self.fault(error, 0)),
        }
    }

    /// Ends writing because the topic is deleted. When this returns, nothing of this log makes, changes, renames or
    /// removes a file by its path any more: a topic made anew may have the directory. Waits for a checkpoint's files
    /// that are being written and for segments that are being renamed.
    pub fn give_up(&mut self) {
        self.closed = true;
        self.active = None;
        self.log.give_up();
    }
}
