//! Offset and time index of a segment, in Kafka's format.
//!
//! `.index` holds `(last offset of a batch - base, position of that batch)`, 8 bytes an entry; `.timeindex` holds
//! `(largest timestamp so far, last offset of its batch - base)`, 12 bytes, timestamps strictly rising. Both are big
//! endian, unchecksummed, and hints: a lookup checks the batch header it lands on. The entries of an active segment
//! stand in RAM until they are written out ([`IndexTail`]); a lookup looks there first and then bisects the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::layout::{FileKind, segment_file_in};
use super::pread::{Wait, read_full};
use crate::types::Timestamp;
use crate::types::offset::saturate_u32;
use crate::types::time::NO_TIMESTAMP;

/// One entry of an offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// Last offset of the batch, relative to the segment's base.
    pub(super) relative: u32,
    /// Where the batch begins in the `.log`.
    pub(super) position: u32,
}

/// One entry of a time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// The largest timestamp of the segment up to the batch.
    pub(super) timestamp: Timestamp,
    /// Last offset of the batch that has it, relative to the segment's base.
    pub(super) relative: u32,
}

/// An entry as it lies in a file.
pub(super) trait Entry: Copy {
    const BYTES: usize;
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, into: &mut Vec<u8>);
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self { relative: be_u32(bytes, 0), position: be_u32(bytes, 4) }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> Self {
        let timestamp = (u64::from(be_u32(bytes, 0)) << 32 | u64::from(be_u32(bytes, 4))).cast_signed();
        Self { timestamp, relative: be_u32(bytes, 8) }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative.to_be_bytes());
    }
}

/// Bytes short of a whole number read as 0: the caller has checked lengths, and indexes are hints.
fn be_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
}

/// The last entry of an index file for which `below` holds; `below` holds for a prefix of the entries.
pub(super) fn floor<E: Entry>(file: &File, wait: Wait, below: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
    Ok(floor_nth(file, wait, below)?.map(|(_, entry)| entry))
}

/// As [`floor`], with the entry's number.
fn floor_nth<E: Entry>(file: &File, wait: Wait, below: impl Fn(&E) -> bool) -> io::Result<Option<(u64, E)>> {
    let width = E::BYTES as u64;
    // Entries in [0, low) are below, those in [high, count) are not.
    let (mut low, mut high) = (0, file.metadata()?.len() / width);
    let mut block = [0; BLOCK];
    while high - low >= (BLOCK / E::BYTES) as u64 {
        let middle = low + (high - low) / 2;
        let entry = &mut block[..E::BYTES];
        read_full(file, middle * width, entry, wait)?;
        if below(&E::decode(entry)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    // One entry more in front, which may be the answer.
    let first = low.saturating_sub(1);
    let count = usize::try_from(high - first).unwrap_or(0);
    let Some(rest) = block.get_mut(..count * E::BYTES) else { return Ok(None) };
    read_full(file, first * width, rest, wait)?;
    let found = rest.chunks_exact(E::BYTES).map(E::decode).take_while(below).zip(first..).last();
    Ok(found.map(|(entry, nth)| (nth, entry)))
}

/// The write side of a segment's indexes: what is not in the files yet, and what decides on the next entry.
#[derive(Debug, Default)]
pub(super) struct IndexTail {
    /// Whether the counts and last entries below are those of the files.
    loaded: bool,
    offsets_written: u32,
    times_written: u32,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    last_time: Option<TimeEntry>,
    bytes_since_entry: u64,
    /// Whether [`Pending`] entries are on their way to the files.
    writing: bool,
    /// Whether the files changed since a checkpoint noted them.
    unsynced: bool,
    /// Whether a checkpoint that noted them is under way.
    noted: bool,
}

impl IndexTail {
    /// The tail of a new segment, whose files do not exist yet.
    pub(super) fn new() -> Self {
        Self { loaded: true, ..Self::default() }
    }

    /// The tail over index files as they stand; they are looked at with [`IndexTail::load`], before the first entry.
    pub(super) fn unloaded() -> Self {
        Self::default()
    }

    /// The next batch begins at `position`; `last` is the last entry before it.
    fn go_on_at(&mut self, position: u64, last: Option<OffsetEntry>) {
        self.bytes_since_entry = position.saturating_sub(last.map_or(0, |last| u64::from(last.position)));
    }

    /// Whether [`IndexTail::load`] is still to come.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Looks up where the files of a segment of `len` bytes end.
    pub(super) fn load(&mut self, dir: &Path, base: i64, len: u64) -> io::Result<()> {
        if self.loaded {
            return Ok(());
        }
        if let Some(file) = open_existing(dir, base, FileKind::Index)? {
            self.offsets_written = whole_entries::<OffsetEntry>(file.metadata()?.len());
            self.go_on_at(len, floor(&file, Wait::MayBlock, |_| true)?);
        }
        if let Some(file) = open_existing(dir, base, FileKind::TimeIndex)? {
            self.times_written = whole_entries::<TimeEntry>(file.metadata()?.len());
            self.last_time = floor(&file, Wait::MayBlock, |_| true)?;
        }
        self.loaded = true;
        Ok(())
    }

    /// Takes note of a batch that was appended, and makes index entries when more than `interval` bytes lie behind the
    /// last ones. `max` is the segment's largest timestamp so far, this batch included.
    pub(super) fn note(&mut self, batch: OffsetEntry, len: u64, max: Option<TimeEntry>, interval: u64) {
        if self.bytes_since_entry > interval {
            self.offsets.push(batch);
            self.note_time(max);
            self.bytes_since_entry = 0;
            if self.offsets.len() >= PENDING_MAX && !self.writing {
                // The disk refuses index files. Entries are hints: fewer of them cost longer walks, nothing else.
                self.offsets.clear();
                self.times.clear();
            }
        }
        self.bytes_since_entry += len;
    }

    /// [`IndexTail::note`] for an index of any length that is made in one go.
    pub(super) fn note_all(&mut self, batch: OffsetEntry, len: u64, max: Option<TimeEntry>, interval: u64) {
        self.writing = true;
        self.note(batch, len, max, interval);
    }

    /// The entries that are not in the files yet.
    pub(super) fn pending_offsets(&self) -> &[OffsetEntry] {
        &self.offsets
    }

    /// Adds a time entry if it says something new; at a seal for the last time.
    pub(super) fn note_time(&mut self, max: Option<TimeEntry>) {
        let Some(max) = max else { return };
        if self.last_time.is_none_or(|last| max.timestamp > last.timestamp && max.relative >= last.relative) {
            self.times.push(max);
            self.last_time = Some(max);
        }
    }

    /// Whether one of the files holds as many entries as `segment.index.bytes` allows (S91).
    pub(super) fn is_full(&self, index_bytes: u64) -> bool {
        let offsets = u64::from(self.offsets_written) + self.offsets.len() as u64;
        let times = u64::from(self.times_written) + self.times.len() as u64;
        // Kafka keeps one time entry free, for the seal.
        offsets >= index_bytes / OffsetEntry::BYTES as u64
            || times + 1 >= index_bytes / TimeEntry::BYTES as u64
    }

    /// Whether enough entries have gathered to write them out without waiting for a checkpoint.
    pub(super) fn wants_spill(&self) -> bool {
        self.offsets.len() >= SPILL_AT
    }

    /// Whether entries are not in the files yet.
    pub(super) fn has_pending(&self) -> bool {
        !self.offsets.is_empty() || !self.times.is_empty()
    }

    /// Whether the files have to be synced before a checkpoint may speak for them. They count as noted from here on.
    pub(super) fn note_unsynced(&mut self) -> bool {
        self.noted |= std::mem::take(&mut self.unsynced);
        self.noted
    }

    /// The checkpoint that noted the files is durable.
    pub(super) fn noted_synced(&mut self) {
        self.noted = false;
    }

    /// Whether the files hold no entry.
    pub(super) fn is_all_pending(&self) -> bool {
        self.loaded && self.offsets_written == 0
    }

    /// The last entry in RAM for which `below` holds; `None` if the answer lies in the file.
    pub(super) fn floor_pending(&self, below: impl Fn(&OffsetEntry) -> bool) -> Option<OffsetEntry> {
        let count = self.offsets.partition_point(below);
        count.checked_sub(1).and_then(|last| self.offsets.get(last)).copied()
    }

    /// The same in the time index.
    pub(super) fn floor_pending_time(&self, below: impl Fn(&TimeEntry) -> bool) -> Option<TimeEntry> {
        let count = self.times.partition_point(below);
        count.checked_sub(1).and_then(|last| self.times.get(last)).copied()
    }

    /// The bytes that are to be written, and where: taken under the lock, written without it. One at a time, and each
    /// is followed by [`IndexTail::written`].
    pub(super) fn pending(&mut self) -> Pending {
        self.writing = true;
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        self.offsets.iter().for_each(|entry| entry.encode(&mut offsets));
        self.times.iter().for_each(|entry| entry.encode(&mut times));
        Pending {
            offsets_at: u64::from(self.offsets_written) * OffsetEntry::BYTES as u64,
            times_at: u64::from(self.times_written) * TimeEntry::BYTES as u64,
            offsets,
            times,
        }
    }

    /// What [`IndexTail::pending`] gave is in the files, or with `ok` false is not. Entries may have been added since.
    pub(super) fn written(&mut self, done: &Pending, ok: bool) {
        self.writing = false;
        if !ok {
            return;
        }
        let offsets = (done.offsets.len() / OffsetEntry::BYTES).min(self.offsets.len());
        let times = (done.times.len() / TimeEntry::BYTES).min(self.times.len());
        self.offsets.drain(..offsets);
        self.times.drain(..times);
        // An idle partition keeps nothing.
        if self.offsets.is_empty() {
            self.offsets = Vec::new();
            self.times = Vec::new();
        }
        self.offsets_written += saturate_u32(offsets);
        self.times_written += saturate_u32(times);
        self.unsynced = true;
    }

    /// Cuts the files back to what lies below `position` and below `relative`, which a checkpoint has vouched for, and
    /// goes on from there.
    pub(super) fn cut(dir: &Path, base: i64, position: u64, relative: u32) -> io::Result<Self> {
        let mut tail = Self { loaded: true, unsynced: true, ..Self::default() };
        if let Some(file) = open_existing(dir, base, FileKind::Index)? {
            let kept = floor_nth::<OffsetEntry>(&file, Wait::MayBlock, |entry| {
                // Zeros are what a crash leaves of a file that grew: no entry has position 0.
                entry.position > 0 && u64::from(entry.position) < position && entry.relative < relative
            })?;
            tail.offsets_written = kept.map_or(0, |(nth, _)| saturate_u32(nth + 1));
            tail.go_on_at(position, kept.map(|(_, entry)| entry));
            shorten(&file, u64::from(tail.offsets_written) * OffsetEntry::BYTES as u64)?;
        }
        if let Some(file) = open_existing(dir, base, FileKind::TimeIndex)? {
            let kept = floor_nth::<TimeEntry>(&file, Wait::MayBlock, |entry| {
                entry.timestamp > 0 && entry.relative < relative
            })?;
            tail.times_written = kept.map_or(0, |(nth, _)| saturate_u32(nth + 1));
            tail.last_time = kept.map(|(_, entry)| entry);
            shorten(&file, u64::from(tail.times_written) * TimeEntry::BYTES as u64)?;
        }
        Ok(tail)
    }

    /// The segment's largest timestamp as the time index knows it.
    pub(super) fn last_time(&self) -> Option<TimeEntry> {
        self.last_time.filter(|last| last.timestamp > NO_TIMESTAMP)
    }
}

/// Encoded entries on their way to the index files.
#[derive(Debug)]
pub(super) struct Pending {
    offsets_at: u64,
    times_at: u64,
    offsets: Vec<u8>,
    times: Vec<u8>,
}

impl Pending {
    /// The entries of the offset index and of the time index.
    pub(super) fn bytes(&self) -> (&[u8], &[u8]) {
        (&self.offsets, &self.times)
    }

    /// Writes them. The files are made even if there is no entry, as Kafka has them.
    pub(super) fn write(&self, dir: &Path, base: i64) -> io::Result<()> {
        for (kind, at, bytes) in [
            (FileKind::Index, self.offsets_at, &self.offsets),
            (FileKind::TimeIndex, self.times_at, &self.times),
        ] {
            let path = segment_file_in(dir, base, kind);
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            file.write_all_at(bytes, at)?;
        }
        Ok(())
    }
}

/// All entries of an offset index, as many as one of a segment can have.
pub(super) fn offset_entries(file: File) -> io::Result<Vec<OffsetEntry>> {
    let mut bytes = Vec::new();
    file.take(INDEX_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(OffsetEntry::BYTES).map(OffsetEntry::decode).collect())
}

/// Opens an index file for reading and writing, if it exists.
pub(super) fn open_existing(dir: &Path, base: i64, kind: FileKind) -> io::Result<Option<File>> {
    let path = segment_file_in(dir, base, kind);
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn shorten(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) }
}

fn whole_entries<E: Entry>(bytes: u64) -> u32 {
    saturate_u32(bytes / E::BYTES as u64)
}

/// Bytes of index that a bisection reads at its end; a whole number of entries of either kind fits with little rest.
const BLOCK: usize = 4096;
/// Offset entries in RAM at which the appender writes them out itself (13 MiB of log at Kafka's 4 KiB interval).
const SPILL_AT: usize = 3_328;
/// More than an index has of a segment of 2 GiB in steps of 512 bytes.
const INDEX_BYTES_MAX: u64 = 32 << 20;
/// Offset entries in RAM at which they are given up.
const PENDING_MAX: usize = 16 * SPILL_AT;

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
