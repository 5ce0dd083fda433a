//! When a segment is full or old enough (S91), and how the next one begins.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::active::Active;
use super::{AppendError, LogWriter, Place};
use crate::record::batch::BatchHeader;
use crate::storage::index::IndexTail;
use crate::storage::layout::{
    FileKind, PARTITION_METADATA, encode_partition_metadata, read_partition_metadata, segment_file_in,
};
use crate::storage::pread::Wait;
use crate::storage::put::put;
use crate::storage::segment::{Facts, Segment};
use crate::storage::txn_index::AbortedSum;
use crate::types::Timestamp;
use crate::types::offset::non_negative;

impl LogWriter {
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
        size + next.total_len() as u64 > self.segment_bytes_max()
            || next.last_offset() - segment.base() > i64::from(i32::MAX)
            || self.waited_ms(active, next.max_timestamp, now) > self.segment_ms(segment.base())
            || segment.facts().index.is_full(non_negative(settings.segment_index_bytes) as u64)
    }

    /// `segment.bytes`; on a compacted topic no more than the cleaner finds room for when the disk is full.
    pub(super) fn segment_bytes_max(&self) -> u64 {
        let bytes = non_negative(self.settings.segment_bytes) as u64;
        match self.settings.compact {
            true => bytes.min(self.log.health.room().compacted_segment_bytes_max()),
            false => bytes,
        }
    }

    /// How far the batch's time lies behind the segment's first (S91: the time of the data, not of the wall).
    fn waited_ms(&self, active: &Active, timestamp: Timestamp, now: Timestamp) -> i64 {
        let (first, created_at) = {
            let facts = active.segment.facts();
            (facts.first_timestamp, facts.created_at)
        };
        let first = first.or_else(|| active.segment.first_timestamp(&self.log.files));
        match first {
            Some(first) if first >= 0 => timestamp.saturating_sub(first),
            _ => now.saturating_sub(created_at),
        }
    }

    /// When the active segment is to be closed though nothing is appended, so that what lies in it can be compacted, or
    /// dropped by size: `segment.ms` after it began. `None` while it is empty.
    ///
    /// It began when its file was made, by the broker's clock: the time of the data would close it at once where old
    /// records are copied in. Of a segment that was found at the start the first record tells, if it is not from the
    /// future.
    pub fn idle_roll_at(&self) -> Option<Timestamp> {
        let active = self.active.as_ref().filter(|active| active.position > 0)?;
        let (first, created_at) = {
            let facts = active.segment.facts();
            (facts.first_timestamp, facts.created_at)
        };
        let base = active.segment.base();
        let began = if self.found_active == Some(base) {
            let first = first.or_else(|| active.segment.first_timestamp(&self.log.files));
            first.filter(|first| *first >= 0).map_or(created_at, |first| first.min(created_at))
        } else {
            created_at
        };
        Some(began.saturating_add(self.segment_ms(base)).saturating_add(1))
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
    pub(super) fn begin(&mut self, now: Timestamp) -> Result<Option<Active>, AppendError> {
        self.log.files.make_room().map_err(|error| self.fault(error, 0))?;
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
        segment.aborted().knows(AbortedSum::default());
        segment.begin_with(file, &self.log.files);
        let place = Place { offset: self.end, segment: self.end, position: 0, serial };
        let mut state = self.log.state.lock();
        state.segments.push(segment.clone());
        state.has_hole = false;
        // Its file cannot be closed before it was synced, and there may be no append that asks for that.
        state.dirty.active = true;
        state.dirty.segments.push(segment.clone());
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
        let trimmed = self.trim(sealed);
        sealed.segment.open(&self.log.files, Wait::MayBlock)?.unmap();
        trimmed.and_then(|()| sealed.segment.seal_index()).and_then(|()| sealed.segment.flush_aborted())
    }

    /// Frees what was reserved and not used: the length stays, the blocks behind it go.
    pub(super) fn trim(&self, active: &Active) -> io::Result<()> {
        if active.reserved <= active.position {
            return Ok(());
        }
        active.segment.open(&self.log.files, Wait::MayBlock)?.log().set_len(active.position)
    }
}
