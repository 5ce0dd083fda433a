//! The one that appends: reserve, write, index, publish; and the roll from one segment to the next.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;

use super::gather::write_batches;
use super::{AppendBatch, AppendError, Log, LogMark, Place};
use crate::config::topic::TopicSettings;
use crate::record::batch::{BatchHeader, HEADER_LEN};
use crate::storage::index::{IndexTail, OffsetEntry};
use crate::storage::layout::{
    FileKind, PARTITION_METADATA, encode_partition_metadata, read_partition_metadata, segment_file_in,
};
use crate::storage::pread::{Wait, read_full};
use crate::storage::put::put;
use crate::storage::segment::{Facts, Segment};
use crate::types::Timestamp;
use crate::types::offset::{NO_EPOCH, non_negative, saturate_u32};
use crate::types::time::NO_TIMESTAMP;

/// The one that appends. Its owner holds the partition's append lock.
#[derive(Debug)]
pub struct LogWriter {
    log: Arc<Log>,
    settings: Arc<TopicSettings>,
    end: i64,
    last_epoch: i32,
    active: Option<Active>,
    closed: bool,
}

/// The segment that grows.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Bytes in it: where the next batch begins.
    pub(super) position: u64,
    /// Up to where the file has its blocks; `u64::MAX` where the file system cannot say.
    pub(super) reserved: u64,
    /// Whether it is known where the index files end.
    pub(super) indexed: bool,
}

impl LogWriter {
    pub(super) fn new(
        log: Arc<Log>,
        settings: Arc<TopicSettings>,
        end: i64,
        last_epoch: Option<i32>,
        active: Option<Active>,
    ) -> Self {
        Self { log, settings, end, last_epoch: last_epoch.unwrap_or(NO_EPOCH), active, closed: false }
    }

    /// The next offset.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Takes other settings from here on.
    pub fn set_settings(&mut self, settings: Arc<TopicSettings>) {
        self.log.segment_bytes.store(non_negative(settings.segment_bytes), Ordering::Relaxed);
        self.settings = settings;
    }

    /// Whether a new segment must be begun before the batch `next` (with its assigned base offset) is appended behind
    /// `pending_bytes` that are to be appended before it (S91).
    pub fn should_roll(&self, pending_bytes: usize, next: &BatchHeader, now: Timestamp) -> bool {
        let Some(active) = &self.active else { return false };
        let size = active.position + pending_bytes as u64;
        if size == 0 {
            return false;
        }
        let segment = &active.segment;
        let settings = &self.settings;
        size + next.total_len() as u64 > non_negative(settings.segment_bytes) as u64
            || next.last_offset() - segment.base() > i64::from(i32::MAX)
            || self.waited_ms(active, next.max_timestamp, now) > self.segment_ms(segment.base())
            || segment.facts().index.is_full(non_negative(settings.segment_index_bytes) as u64)
    }

    /// How far the batch's time lies behind the segment's first (S91: the time of the data, not of the wall).
    fn waited_ms(&self, active: &Active, timestamp: Timestamp, now: Timestamp) -> i64 {
        let (first, created_at) = {
            let facts = active.segment.facts();
            (facts.first_timestamp, facts.created_at)
        };
        let first = first.or_else(|| self.read_first_timestamp(active));
        match first {
            Some(first) if first >= 0 => timestamp.saturating_sub(first),
            _ => now.saturating_sub(created_at),
        }
    }

    /// A segment that was opened from the manifest has not been looked at yet.
    fn read_first_timestamp(&self, active: &Active) -> Option<Timestamp> {
        if active.position < HEADER_LEN as u64 {
            return None;
        }
        let mut header = [0; HEADER_LEN];
        let file = active.segment.open(&self.log.files, Wait::MayBlock).ok()?;
        read_full(file.log(), 0, &mut header, Wait::MayBlock).ok()?;
        let first = BatchHeader::parse(&header).map_or(NO_TIMESTAMP, |header| header.max_timestamp);
        active.segment.facts().first_timestamp = Some(first);
        Some(first)
    }

    /// `segment.ms` (on a compacted topic at most `max.compaction.lag.ms`) less a jitter that differs from segment to
    /// segment, and is the same after a restart.
    fn segment_ms(&self, base: i64) -> i64 {
        let settings = &self.settings;
        let lag = Some(settings.max_compaction_lag_ms).filter(|lag| settings.compact && *lag > 0);
        let segment_ms = lag.map_or(settings.segment_ms, |lag| lag.min(settings.segment_ms));
        let jitter_max = settings.segment_jitter_ms.min(settings.segment_ms);
        if jitter_max <= 0 {
            return segment_ms;
        }
        let mut seed = [0; 28];
        seed[..16].copy_from_slice(self.log.id.topic.as_bytes());
        seed[16..20].copy_from_slice(&self.log.id.partition.to_be_bytes());
        seed[20..].copy_from_slice(&base.to_be_bytes());
        segment_ms - i64::from(crc32c::crc32c(&seed)) % jitter_max
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

    fn check_open(&self) -> Result<(), AppendError> {
        if self.closed {
            let why = Arc::new(io::Error::other("it was closed"));
            return Err(AppendError::OutOfService { dir: self.log.dir.to_path_buf(), why });
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
        let most = if self.settings.preallocate { u64::MAX } else { AHEAD_BYTES_MAX };
        let limit = non_negative(self.settings.segment_bytes) as u64;
        let dir = &self.log.dir;
        let files = &self.log.files;
        let Some(active) = &mut self.active else {
            return Err(AppendError::NotNext { given: self.end, end: self.end });
        };
        active
            .reserve(bytes, most, limit, |segment| {
                segment.open(files, Wait::MayBlock).map(|file| file.shared_log())
            })
            .map_err(|error| AppendError::from_io(dir, error, bytes))?;
        Ok(active)
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
        match file.set_len(active.position) {
            Ok(()) => {
                active.reserved = active.reserved.min(active.position);
                self.fault(error, bytes)
            }
            Err(cut) => {
                tracing::error!(dir = %self.log.dir.display(), %error, %cut, "a failed write cannot be undone");
                let why = Arc::new(error);
                self.log.fail(why.clone());
                AppendError::OutOfService { dir: self.log.dir.to_path_buf(), why }
            }
        }
    }

    fn fault(&self, error: io::Error, bytes: u64) -> AppendError {
        AppendError::from_io(&self.log.dir, error, bytes)
    }

    /// Seals the active segment and begins the next. `producers` is the content of Kafka's `.snapshot` at this offset;
    /// `None` if there are no producers. Nothing happens while the active segment is empty.
    ///
    /// # Errors
    /// The new file could not be made; the active segment goes on.
    pub fn roll(&mut self, producers: Option<&[u8]>, now: Timestamp) -> Result<(), AppendError> {
        self.check_open()?;
        if self.active.as_ref().is_none_or(|active| active.position == 0) {
            return Ok(());
        }
        let Some(sealed) = self.begin(now)? else { return Ok(()) };
        if let Err(error) = self.seal(&sealed) {
            tracing::warn!(dir = %self.log.dir.display(), %error, "cannot complete the indexes of a sealed segment");
        }
        if let Some(bytes) = producers {
            let path = segment_file_in(&self.log.dir, self.end, FileKind::Snapshot);
            match put(&path, bytes) {
                Ok(_) => self.log.side.lock().unsynced.push(path),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "cannot write a producer snapshot")
                }
            }
        }
        Ok(())
    }

    /// Begins a segment if the last one does not reach the log's end, because more was known to be durable than was
    /// found: no batch may follow on one that it does not follow.
    pub(super) fn begin_behind_hole(&mut self, now: Timestamp) -> Result<(), AppendError> {
        if self.active.is_none() && !self.log.state.lock().segments.is_empty() {
            self.begin(now)?;
        }
        Ok(())
    }

    /// Makes the segment for the next offset and makes it the active one. Returns the one that was.
    fn begin(&mut self, now: Timestamp) -> Result<Option<Active>, AppendError> {
        let unsynced = self.make_dir().map_err(|error| self.fault(error, 0))?;
        let path = segment_file_in(&self.log.dir, self.end, FileKind::Log);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| self.fault(error, 0))?;
        if file.metadata().map_err(|error| self.fault(error, 0))?.len() != 0 {
            // Recovery puts aside what stands behind the end of the log, so this is nobody's file we know.
            let error =
                io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is not empty", path.display()));
            return Err(self.fault(error, 0));
        }
        let serial = self.log.state.lock().take_serial();
        let segment =
            Segment::new(self.end, serial, self.log.dir.clone(), 0, Facts::new(IndexTail::new(), now));
        segment.begin_with(file, &self.log.files);
        let place = Place { offset: self.end, segment: self.end, position: 0, serial };
        let mut state = self.log.state.lock();
        state.segments.push(segment.clone());
        state.has_hole = false;
        state.dirty.active = false;
        state.dirty.add(unsynced);
        state.publish(place, &segment);
        drop(state);
        Ok(self.active.replace(Active { segment, position: 0, reserved: 0, indexed: true }))
    }

    /// Makes the partition's directory and `partition.metadata` if this is the first file, and says what is to be synced.
    fn make_dir(&self) -> io::Result<Vec<Arc<Path>>> {
        let dir = &self.log.dir;
        let mut unsynced = vec![dir.clone()];
        if self.active.is_some() {
            return Ok(unsynced);
        }
        let is_new = match fs::create_dir(dir) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        if is_new || !matches!(read_partition_metadata(dir), Ok(Some(id)) if id == self.log.id.topic) {
            let path = dir.join(PARTITION_METADATA);
            put(&path, encode_partition_metadata(self.log.id.topic).as_bytes())?;
            unsynced.push(path.into());
        }
        // Whether the directory's own entry was ever synced is not known.
        unsynced.extend(dir.parent().map(Arc::from));
        Ok(unsynced)
    }

    /// Frees what was reserved for a segment that grows no more, and completes its indexes.
    fn seal(&self, sealed: &Active) -> io::Result<()> {
        let file = sealed.segment.open(&self.log.files, Wait::MayBlock)?;
        file.unmap();
        if sealed.reserved > sealed.position {
            // The length stays; the blocks behind it go.
            file.log().set_len(sealed.position)?;
        }
        sealed.segment.seal_index()
    }

    /// The present end as a place for a checkpoint: taken together with the producer state that belongs to it.
    pub fn mark(&self) -> LogMark {
        let state = self.log.state.lock();
        let (max_timestamp, appended_at) =
            state.segments.last().map_or((NO_TIMESTAMP, NO_TIMESTAMP), |segment| {
                let facts = segment.facts();
                (facts.max_timestamp, facts.appended_at)
            });
        LogMark { place: state.end, max_timestamp, appended_at }
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
        self.seal(&active).map_err(|error| self.fault(error, 0))
    }
}

impl Active {
    /// Reserves blocks for the next `bytes`, and ahead of them as much as the segment holds already. A full disk shows
    /// here, before anything is written.
    fn reserve(
        &mut self,
        bytes: u64,
        ahead_max: u64,
        segment_bytes: u64,
        open: impl FnOnce(&Arc<Segment>) -> io::Result<Arc<File>>,
    ) -> io::Result<()> {
        let need = self.position.saturating_add(bytes);
        if need <= self.reserved {
            return Ok(());
        }
        let ahead = if ahead_max == u64::MAX {
            segment_bytes
        } else {
            self.position.clamp(AHEAD_BYTES_MIN, ahead_max)
        };
        let want = need.saturating_add(ahead).min(segment_bytes.max(need));
        let from = self.reserved.max(self.position);
        if want <= from {
            return Ok(());
        }
        let file = open(&self.segment)?;
        let allocate = |to: u64| {
            rustix::io::retry_on_intr(|| {
                rustix::fs::fallocate(&*file, FallocateFlags::KEEP_SIZE, from, to.saturating_sub(from))
            })
        };
        use rustix::io::Errno;
        self.reserved = match allocate(want) {
            Ok(()) => want,
            // The file system cannot reserve: then a full disk shows at the write, or at the sync (2.2).
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => u64::MAX,
            Err(Errno::NOSPC | Errno::DQUOT) => {
                allocate(need)?;
                need
            }
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}

/// The least and the most that is reserved ahead, in bytes.
const AHEAD_BYTES_MIN: u64 = 64 << 10;
const AHEAD_BYTES_MAX: u64 = 64 << 20;
