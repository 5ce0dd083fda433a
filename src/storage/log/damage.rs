//! Damage that a reader meets below the log's end: quarantined, written down, reported; and index files that turn out to
//! be missing or wrong, which are made again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::{Damage, Log, ReadError, kept_until_repair};
use crate::storage::index::{IndexTail, OffsetEntry, TimeEntry, offset_entries};
use crate::storage::layout::FileKind;
use crate::storage::pread::Wait;
use crate::storage::quarantine::{self, Bad, Quarantine, Span, locate};
use crate::storage::segment::{Facts, Segment};
use crate::storage::walk::Walk;
use crate::telemetry::notices::Notices;
use crate::types::offset::saturate_u32;
use crate::types::time::NO_TIMESTAMP;
use crate::types::{Clock, TopicPartition};

/// What a log keeps besides the stretches themselves, which the segments have.
#[derive(Debug)]
pub(in crate::storage) struct Watch {
    clock: Clock,
    /// Held while damage is looked into: many readers may meet it at once.
    turn: Mutex<()>,
    /// Stretches that were spoken of, by segment and begin.
    told: Notices<(i64, u64)>,
    /// Batches whose front was put right.
    pub(super) mended: AtomicU64,
}

impl Watch {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, turn: Mutex::new(()), told: Notices::default(), mended: AtomicU64::new(0) }
    }

    /// A stretch is spoken of. Whether it was not lately.
    fn tell(&self, segment: i64, from: u64) -> bool {
        self.told.is_due((segment, from), self.clock.monotonic())
    }
}

impl Damage {
    pub(in crate::storage) fn of(segment: &Segment, bad: &Bad) -> Self {
        Self::in_file(segment.path(FileKind::Log), bad)
    }

    pub(in crate::storage) fn in_file(file: PathBuf, bad: &Bad) -> Self {
        Self {
            file,
            position: bad.from,
            end: Some(bad.to).filter(|to| *to < u64::MAX),
            first: bad.first,
            next: bad.next,
            why: bad.why,
        }
    }
}

impl Log {
    /// Every stretch of the log that is never served.
    pub fn damage(&self) -> Vec<Damage> {
        let segments = self.state.lock().segments.clone();
        let of = |segment: &Arc<Segment>| {
            segment.all_bad().iter().map(|bad| Damage::of(segment, bad)).collect::<Vec<_>>()
        };
        segments.iter().flat_map(of).collect()
    }

    /// What is known to be damaged was spoken of where the log was opened.
    pub(super) fn damage_was_told(&self) {
        for segment in &self.state.lock().segments {
            for bad in segment.all_bad() {
                self.watch.tell(segment.base(), bad.from);
            }
        }
    }

    /// A reader asked for what is damaged. Says so in the log, but not each time: readers come again and again.
    pub(super) fn damaged(&self, segment: &Segment, bad: &Bad) -> ReadError {
        if self.watch.tell(segment.base(), bad.from) {
            tracing::error!(
                topic = %self.topic, partition = self.id.partition, first_offset = bad.first, next_offset = bad.next,
                file = %segment.path(FileKind::Log).display(), position = bad.from,
                "a damaged stretch was asked for: {}. {}",
                bad.why, kept_until_repair(&self.dir)
            );
        }
        self.damage_error(segment, bad)
    }

    fn damage_error(&self, segment: &Segment, bad: &Bad) -> ReadError {
        let TopicPartition { partition, .. } = self.id;
        ReadError::Damaged { name: format!("{}-{partition}", self.topic), damage: Damage::of(segment, bad) }
    }

    /// A reader met bytes at `position` that are not what was written: finds out how far the damage goes, and from then
    /// on nobody is served any of it; or puts it right, if it can be. Blocks.
    pub(in crate::storage) fn meet_damage(
        &self,
        segment: &Arc<Segment>,
        file: &File,
        position: u64,
        why: &'static str,
    ) -> ReadError {
        let io = |error| ReadError::Io { file: segment.path(FileKind::Log), error };
        let _turn = self.watch.turn.lock();
        if let Some(bad) = segment.all_bad().into_iter().find(|bad| bad.holds(position)) {
            return self.damage_error(segment, &bad);
        }
        match self.locate(segment, file, position, why) {
            Ok(Some(bad)) if self.mend(segment, file, &bad) => {
                ReadError::Mended { file: segment.path(FileKind::Log) }
            }
            Ok(Some(bad)) => {
                tracing::error!(
                    topic = %self.topic, partition = self.id.partition, first_offset = bad.first, next_offset = bad.next,
                    file = %segment.path(FileKind::Log).display(), position = bad.from,
                    "damage was found: {}. {}",
                    bad.why, kept_until_repair(&self.dir)
                );
                segment.add_bad(bad);
                self.watch.tell(segment.base(), bad.from);
                self.write_down_damage();
                self.damage_error(segment, &bad)
            }
            // The bytes read back well now: the fault was in reading them.
            Ok(None) => io(io::Error::new(io::ErrorKind::InvalidData, why)),
            Err(error) => io(error),
        }
    }

    /// A segment's file is not there, and retention did not take it.
    pub(super) fn miss_file(&self, segment: &Arc<Segment>, next: i64) -> ReadError {
        let _turn = self.watch.turn.lock();
        let bad = Bad { from: 0, to: u64::MAX, first: segment.base(), next, why: "the file is missing" };
        let is_known = segment.bad().is_some_and(|known| known.is_all());
        let is_listed = self.state.lock().segments.iter().any(|known| known.serial() == segment.serial());
        let is_missing = || is_listed && !segment.path(FileKind::Log).exists();
        let is_ours = self.unless_swapping(|| self.by_path(is_missing)).unwrap_or(false);
        if is_ours && !is_known && !self.is_failed() {
            segment.add_bad(bad);
            self.write_down_damage();
        }
        self.damaged(segment, &bad)
    }

    fn locate(
        &self,
        segment: &Arc<Segment>,
        file: &File,
        position: u64,
        why: &'static str,
    ) -> io::Result<Option<Bad>> {
        let to = {
            let state = self.state.lock();
            let nth = state.segments.iter().position(|known| known.serial() == segment.serial());
            // One that left the log meanwhile is not looked into.
            let Some(nth) = nth else { return Ok(None) };
            (state.size_of(nth), state.next_of(nth))
        };
        let bads = segment.all_bad();
        let before = bads.iter().rfind(|bad| bad.to <= position);
        let behind = bads.iter().find(|bad| bad.from > position);
        let span = Span {
            base: segment.base(),
            from: before.map_or_else(|| (0, segment.base()), |bad| (bad.to, bad.next)),
            to: behind.map_or(to, |bad| (bad.from, bad.first)),
        };
        locate(file, &segment.offset_entries()?, span, position, why)
    }

    pub(super) fn write_down_damage(&self) {
        let segments = self.state.lock().segments.clone();
        let all: Quarantine = segments
            .iter()
            .map(|segment| (segment.base(), segment.all_bad()))
            .filter(|(_, bad)| !bad.is_empty())
            .collect();
        if let Some(Err(error)) = self.by_path(|| quarantine::save(&self.dir, &all)) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot write down what is damaged: a restart finds it again");
        }
    }

    /// Makes the index files of a sealed segment again, once. Blocks.
    pub(super) fn reindex(&self, segment: &Arc<Segment>) {
        let is_active =
            self.state.lock().segments.last().is_none_or(|last| last.serial() == segment.serial());
        if is_active || !segment.take_reindex() {
            return;
        }
        let dir = self.dir.display();
        let begun = segment.base();
        // A compaction may give its files' names to another segment, but not meanwhile.
        let is_listed = || self.state.lock().segments.iter().any(|known| known.serial() == segment.serial());
        let write = || if is_listed() { self.by_path(|| self.write_index(segment)) } else { None };
        match self.unless_swapping(write) {
            Some(Ok(())) => {
                tracing::warn!(%dir, segment = begun, "the indexes of a segment were missing or wrong and were made again");
            }
            Some(Err(error)) => {
                tracing::warn!(%dir, segment = begun, %error, "the indexes of a segment are missing or wrong and cannot be made again");
            }
            None => {}
        }
    }

    /// Makes the index files of a segment's new file, of `len` bytes.
    pub(in crate::storage) fn index_anew(&self, base: i64, len: u64) -> io::Result<()> {
        let facts = Facts::new(IndexTail::unloaded(), NO_TIMESTAMP);
        let segment = Segment::new(base, 0, self.dir.clone(), len, facts);
        self.write_index(&segment)
    }

    fn write_index(&self, segment: &Arc<Segment>) -> io::Result<()> {
        let file = segment.open(&self.files, Wait::MayBlock)?;
        let mut index = IndexTail::new();
        let mut max = TimeEntry { timestamp: NO_TIMESTAMP, relative: 0 };
        for part in segment.sound_parts(segment.len()) {
            let mut walk = Walk::new(file.log(), part.start, part.end, Wait::MayBlock);
            // What breaks the walk is met again by whoever reads there.
            while let Ok(Some(step)) = walk.next() {
                let header = &step.header;
                let entry = OffsetEntry {
                    relative: segment.relative(header.last_offset()),
                    position: saturate_u32(step.position),
                };
                if header.newest_record() > max.timestamp {
                    max = TimeEntry { timestamp: header.newest_record(), relative: entry.relative };
                }
                let known = Some(max).filter(|max| max.timestamp > NO_TIMESTAMP);
                index.note_all(entry, header.total_len() as u64, known, INDEX_INTERVAL_BYTES);
            }
        }
        index.note_time(Some(max).filter(|max| max.timestamp > NO_TIMESTAMP));
        let pending = index.pending();
        let (offsets, times) = pending.bytes();
        for (kind, bytes) in [(FileKind::Index, offsets), (FileKind::TimeIndex, times)] {
            // In place: whoever has the file open sees it at once.
            let path: PathBuf = segment.path(kind);
            OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(bytes)?;
        }
        Ok(())
    }
}

impl Segment {
    /// The entries of the offset index, in RAM and in the file.
    fn offset_entries(&self) -> io::Result<Vec<OffsetEntry>> {
        let mut entries = match File::open(self.path(FileKind::Index)) {
            Ok(file) => offset_entries(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        entries.extend_from_slice(self.facts().index.pending_offsets());
        Ok(entries)
    }
}

/// Bytes between entries of an index that is made again (Kafka's default of `index.interval.bytes`).
const INDEX_INTERVAL_BYTES: u64 = 4096;
