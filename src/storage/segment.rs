//! One segment: its file, its committed length, and what is known of its batches.
//!
//! A segment is a few hundred bytes and no descriptor until somebody needs its file; [`FileCache`] closes files again.
//! The writer of the log is the only one that grows a segment; everybody else reads below the committed length.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::doubt::Doubt;
use super::files::FileCache;
use super::index::{IndexTail, OffsetEntry, TimeEntry, floor};
use super::layout::{FileKind, segment_file_in};
use super::pread::{Wait, read_full};
use super::quarantine::{self, Bad};
use super::segment_file::SegmentFile;
use super::txn_index::{AbortedTransaction, TxnIndex};
use crate::record::batch::{BatchHeader, HEADER_LEN};
use crate::types::Timestamp;
use crate::types::time::NO_TIMESTAMP;

/// One segment of a log.
#[derive(Debug)]
pub(super) struct Segment {
    base: i64,
    /// Tells it from a later segment with the same base.
    serial: u32,
    dir: Arc<Path>,
    /// Bytes of the file that hold whole, published batches.
    committed: Arc<AtomicU64>,
    slot: Mutex<Slot>,
    facts: Mutex<Facts>,
    aborted: TxnIndex,
    /// Held while index files are written, so that the writer and a checkpoint do not write the same entries.
    index_io: Mutex<()>,
    /// Stretches that are never served, sorted; and whether there are any, for those who only want to know that.
    bad: Mutex<Vec<Bad>>,
    is_bad: AtomicBool,
    /// What nobody has checked yet.
    doubt: Doubt,
    /// Whether its batches' epochs were looked at once: a second time would not help.
    epochs_looked: AtomicBool,
    /// Whether the index files were made anew once: a second time would not help.
    reindexed: AtomicBool,
}

/// A place in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Offset(i64),
    /// A batch boundary in the file.
    Position(u64),
}

/// What can be read around a place, between damaged stretches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) floor: u64,
    pub(super) limit: u64,
    /// The damaged stretch at `limit`; `None` if that is the segment's end.
    pub(super) behind: Option<Bad>,
}

#[derive(Debug, Default)]
struct Slot {
    file: Option<Arc<SegmentFile>>,
    /// The one that was closed last while somebody had it in hand.
    lent: Weak<SegmentFile>,
    /// What is at the segment's path is not this segment any more: it is never opened again.
    gone: bool,
    used: bool,
    /// How many keep the file open whatever its use.
    pins: u32,
    /// Whether the file's name is another segment's now: an open descriptor is good, a closed one gone.
    replaced: bool,
    /// Counts writes at their begin and at their end; while it is not `synced` the file has bytes to lose.
    writes: u64,
    synced: u64,
}

/// What is known of a segment's batches.
#[derive(Debug)]
pub(super) struct Facts {
    /// The write side of the indexes.
    pub(super) index: IndexTail,
    /// The largest timestamp; -1 for none.
    pub(super) max_timestamp: Timestamp,
    /// Last offset of the batch that has it, relative to the base, if known.
    pub(super) max_relative: Option<u32>,
    /// The largest timestamp of the first batch, once it is known: `segment.ms` counts from it (S91).
    pub(super) first_timestamp: Option<Timestamp>,
    /// The broker's clock at the last append; -1 if unknown.
    pub(super) appended_at: Timestamp,
    /// The broker's clock when the segment was made or opened.
    pub(super) created_at: Timestamp,
}

impl Facts {
    /// Nothing known but the time.
    pub(super) fn new(index: IndexTail, now: Timestamp) -> Self {
        Self {
            index,
            max_timestamp: NO_TIMESTAMP,
            max_relative: None,
            first_timestamp: None,
            appended_at: NO_TIMESTAMP,
            created_at: now,
        }
    }

    /// Takes note of one batch: `entry` is its last offset and position.
    pub(super) fn note(&mut self, entry: OffsetEntry, len: u64, max_timestamp: Timestamp, interval: u64) {
        if entry.position == 0 {
            self.first_timestamp = Some(max_timestamp);
        }
        if max_timestamp > self.max_timestamp {
            self.max_timestamp = max_timestamp;
            self.max_relative = Some(entry.relative);
        }
        let max = self.max_entry();
        self.index.note(entry, len, max, interval);
    }

    /// The largest timestamp and its batch, as a time index has it.
    pub(super) fn max_entry(&self) -> Option<TimeEntry> {
        let relative = self.max_relative?;
        Some(TimeEntry { timestamp: self.max_timestamp, relative })
    }
}

/// When segments that became one were last appended to; -1 if that is not known of all.
pub(super) fn last_append(all: impl Iterator<Item = Timestamp>) -> Timestamp {
    let known = |(least, most): (Timestamp, Timestamp), at: Timestamp| (least.min(at), most.max(at));
    match all.fold((Timestamp::MAX, NO_TIMESTAMP), known) {
        (least, _) if least < 0 => NO_TIMESTAMP,
        (_, most) => most,
    }
}

impl Segment {
    /// A segment whose first `committed` bytes are whole batches.
    pub(super) fn new(base: i64, serial: u32, dir: Arc<Path>, committed: u64, facts: Facts) -> Arc<Self> {
        Arc::new(Self {
            base,
            serial,
            dir,
            committed: Arc::new(AtomicU64::new(committed)),
            slot: Mutex::default(),
            facts: Mutex::new(facts),
            aborted: TxnIndex::found(),
            index_io: Mutex::new(()),
            bad: Mutex::default(),
            is_bad: AtomicBool::new(false),
            doubt: Doubt::default(),
            epochs_looked: AtomicBool::new(false),
            reindexed: AtomicBool::new(false),
        })
    }

    /// The offset it begins at, which is its name.
    pub(super) fn base(&self) -> i64 {
        self.base
    }

    pub(super) fn serial(&self) -> u32 {
        self.serial
    }

    /// Bytes of whole, published batches.
    pub(super) fn len(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Publishes that the file's first `len` bytes are whole batches.
    pub(super) fn commit(&self, len: u64) {
        self.committed.store(len, Ordering::Release);
    }

    /// What is known of its batches. A small lock: no I/O under it.
    pub(super) fn facts(&self) -> parking_lot::MutexGuard<'_, Facts> {
        self.facts.lock()
    }

    /// The largest timestamp of the first batch, read if it is not known: a segment that was opened from the manifest has
    /// not been looked at yet. `None` without a batch, or if it cannot be read.
    pub(super) fn first_timestamp(self: &Arc<Self>, files: &FileCache) -> Option<Timestamp> {
        let known = self.facts().first_timestamp;
        if known.is_some() || self.len() < HEADER_LEN as u64 {
            return known;
        }
        let mut header = [0; HEADER_LEN];
        let file = self.open(files, Wait::MayBlock).ok()?;
        read_full(file.log(), 0, &mut header, Wait::MayBlock).ok()?;
        let first = BatchHeader::parse(&header).map_or(NO_TIMESTAMP, |header| header.newest_record());
        self.facts().first_timestamp = Some(first);
        Some(first)
    }

    pub(super) fn path(&self, kind: FileKind) -> PathBuf {
        segment_file_in(&self.dir, self.base, kind)
    }

    /// `offset` as index entries have it. Offsets below the base count as the base.
    pub(super) fn relative(&self, offset: i64) -> u32 {
        crate::types::offset::saturate_u32(offset.saturating_sub(self.base).max(0))
    }

    /// What of the file nobody has checked yet.
    pub(super) fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    /// The first stretch of the file that is never served, if there is one.
    pub(super) fn bad(&self) -> Option<Bad> {
        if !self.is_bad.load(Ordering::Acquire) {
            return None;
        }
        self.bad.lock().first().copied()
    }

    /// All of them, in order.
    pub(super) fn all_bad(&self) -> Vec<Bad> {
        if !self.is_bad.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.bad.lock().clone()
    }

    /// Whether nobody has made the index files anew yet; from now on somebody has.
    pub(super) fn take_reindex(&self) -> bool {
        !self.reindexed.swap(true, Ordering::Relaxed)
    }

    /// Whether nobody has looked at its batches' epochs yet; from now on somebody has.
    pub(super) fn take_epochs_look(&self) -> bool {
        !self.epochs_looked.swap(true, Ordering::Relaxed)
    }

    /// Whether the index files may be made anew.
    pub(super) fn can_reindex(&self) -> bool {
        !self.reindexed.load(Ordering::Relaxed)
    }

    /// Never serves this stretch.
    pub(super) fn add_bad(&self, bad: Bad) {
        quarantine::add(&mut self.bad.lock(), bad);
        self.is_bad.store(true, Ordering::Release);
    }

    /// Serves this stretch again.
    pub(super) fn remove_bad(&self, bad: &Bad) {
        let mut all = self.bad.lock();
        all.retain(|known| known != bad);
        self.is_bad.store(!all.is_empty(), Ordering::Release);
    }

    /// What of the file's first `size` bytes can be read, as stretches in order.
    pub(super) fn sound_parts(&self, size: u64) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        let mut from = 0;
        for bad in self.all_bad() {
            parts.push(from..bad.from.min(size));
            from = bad.to;
        }
        parts.push(from..size);
        parts.retain(|part| part.start < part.end);
        parts
    }

    /// The sound stretch around a place.
    ///
    /// # Errors
    /// The damaged stretch that the place lies in.
    pub(super) fn around(&self, at: At, size: u64) -> Result<Around, Bad> {
        let mut around = Around { floor: 0, limit: size, behind: None };
        for bad in self.all_bad() {
            let (holds, is_before) = match at {
                At::Offset(offset) => (bad.holds_offset(offset), bad.next <= offset),
                At::Position(position) => (bad.holds(position), bad.to <= position),
            };
            if holds {
                return Err(bad);
            }
            if !is_before {
                around.limit = bad.from.min(size);
                around.behind = Some(bad);
                break;
            }
            around.floor = bad.to.min(size);
        }
        Ok(around)
    }

    /// The open file, opened if need be and if the caller may wait.
    pub(super) fn open(self: &Arc<Self>, files: &FileCache, wait: Wait) -> io::Result<Arc<SegmentFile>> {
        if let Some(file) = self.opened() {
            return Ok(file);
        }
        if wait == Wait::Never {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.install(self.open_log(files)?, files, false)
    }

    fn open_log(&self, files: &FileCache) -> io::Result<File> {
        if self.slot.lock().gone {
            return Err(given_up());
        }
        files.make_room()?;
        OpenOptions::new().read(true).write(true).open(self.path(FileKind::Log))
    }

    /// Makes `log` the segment's file unless somebody was faster; with `writes`, for a write that begins.
    ///
    /// # Errors
    /// The segment was given up meanwhile.
    fn install(self: &Arc<Self>, log: File, files: &FileCache, writes: bool) -> io::Result<Arc<SegmentFile>> {
        let file = {
            let mut slot = self.slot.lock();
            if slot.gone {
                return Err(given_up());
            }
            slot.used = true;
            slot.writes += u64::from(writes);
            match &slot.file {
                Some(file) => return Ok(file.clone()),
                // What was opened by name may be the segment that took this one's place.
                None if slot.replaced => return Err(io::ErrorKind::NotFound.into()),
                None => {
                    let file = SegmentFile::new(self.base, log, self.committed.clone(), files.count());
                    slot.file.insert(file).clone()
                }
            }
        };
        files.admit(self);
        Ok(file)
    }

    /// Whether somebody has the file in hand, beside the `own` of the caller: from before he looks for what he reads until
    /// the last of it is sent.
    pub(super) fn is_read(&self, own: usize) -> bool {
        let slot = self.slot.lock();
        // The slot holds it as well.
        let of_open = slot.file.as_ref().map_or(0, |file| Arc::strong_count(file) - 1);
        of_open + slot.lent.strong_count() > own
    }

    fn opened(&self) -> Option<Arc<SegmentFile>> {
        let mut slot = self.slot.lock();
        slot.used = true;
        slot.file.clone()
    }

    /// The open file, for a write: until [`Segment::mark_synced`] has seen its end, the descriptor stays.
    pub(super) fn begin_write(self: &Arc<Self>, files: &FileCache) -> io::Result<Arc<SegmentFile>> {
        {
            let mut slot = self.slot.lock();
            if let Some(file) = slot.file.clone() {
                slot.used = true;
                slot.writes += 1;
                return Ok(file);
            }
        }
        self.install(self.open_log(files)?, files, true)
    }

    /// Makes `log`, which was just created, the segment's file. That it exists is what is unsynced.
    pub(super) fn begin_with(self: &Arc<Self>, log: File, files: &FileCache) {
        if self.install(log, files, true).is_ok() {
            self.end_write();
        }
    }

    /// Keeps the file open from when it next is until [`Segment::unpin`].
    pub(super) fn pin(&self) {
        self.slot.lock().pins += 1;
    }

    /// Opens the file and its indexes, so that they can be read when their names are gone. To be pinned before.
    pub(super) fn open_for_good(self: &Arc<Self>, files: &FileCache) -> io::Result<()> {
        let file = self.open(files, Wait::MayBlock)?;
        if self.aborted.needs_file(&self.path(FileKind::TxnIndex), Wait::MayBlock)? {
            file.txn_index(|| self.path(FileKind::TxnIndex), files, Wait::MayBlock)?;
        }
        file.index(|| self.path(FileKind::Index), files, Wait::MayBlock).map(|_| ())
    }

    /// Takes a pin back. `replaced` says that the file's name is now another segment's: it is not opened again.
    pub(super) fn unpin(&self, replaced: bool) {
        let mut slot = self.slot.lock();
        slot.pins = slot.pins.saturating_sub(1);
        slot.replaced |= replaced;
    }

    /// The write that [`Segment::begin_write`] announced is over.
    pub(super) fn end_write(&self) {
        self.slot.lock().writes += 1;
    }

    /// The file, if it has unsynced bytes, and the count to give to [`Segment::mark_synced`].
    pub(super) fn unsynced(&self) -> Option<(Arc<File>, u64)> {
        let slot = self.slot.lock();
        let file = slot.file.as_ref().filter(|_| slot.writes != slot.synced)?;
        Some((file.shared_log(), slot.writes))
    }

    /// What was written when `writes` was counted is on disk.
    pub(super) fn mark_synced(&self, writes: u64) {
        let mut slot = self.slot.lock();
        slot.synced = slot.synced.max(writes);
    }

    /// Closes the file unless it was used since the last call or has unsynced bytes; whoever has it in hand keeps it until
    /// he is done. Whether it is closed now.
    pub(super) fn try_close(&self) -> bool {
        let mut slot = self.slot.lock();
        if slot.pins > 0 || slot.writes != slot.synced || std::mem::take(&mut slot.used) {
            return slot.file.is_none();
        }
        if let Some(file) = slot.file.take().filter(|file| Arc::strong_count(file) > 1) {
            slot.lent = Arc::downgrade(&file);
        }
        true
    }

    /// Closes the file for good, with whatever it has unsynced: its topic is deleted. Those who read it at this moment
    /// keep it until they are done.
    pub(super) fn give_up(&self) {
        let mut slot = self.slot.lock();
        slot.gone = true;
        slot.file = None;
        slot.synced = slot.writes;
    }

    pub(super) fn is_open(&self) -> bool {
        self.slot.lock().file.is_some()
    }

    /// Writes index entries that stand in RAM to the files. Callers that only want to save memory do not wait.
    pub(super) fn flush_index(&self, wait: bool) -> io::Result<()> {
        let _io = if wait {
            self.index_io.lock()
        } else {
            let Some(guard) = self.index_io.try_lock() else { return Ok(()) };
            guard
        };
        self.load_index()?;
        let pending = self.facts.lock().index.pending();
        let result = pending.write(&self.dir, self.base);
        self.facts.lock().index.written(&pending, result.is_ok());
        result
    }

    /// The transactions that were aborted in this segment.
    pub(super) fn aborted(&self) -> &TxnIndex {
        &self.aborted
    }

    /// Takes a transaction that was aborted by the batch that was just appended, and writes it down if nobody writes
    /// index files at this moment.
    pub(super) fn note_aborted(&self, entry: AbortedTransaction) -> io::Result<()> {
        self.aborted.push(entry);
        match self.index_io.try_lock() {
            Some(_io) => self.aborted.flush(&self.path(FileKind::TxnIndex)),
            None => Ok(()),
        }
    }

    /// Writes the aborted transactions that stand in RAM to their file.
    pub(super) fn flush_aborted(&self) -> io::Result<()> {
        let _io = self.index_io.lock();
        self.aborted.flush(&self.path(FileKind::TxnIndex))
    }

    /// [`TxnIndex::overlapping`] with this segment's file.
    pub(super) fn aborted_in(
        self: &Arc<Self>,
        range: (i64, i64),
        files: &FileCache,
        wait: Wait,
        out: &mut Vec<AbortedTransaction>,
    ) -> io::Result<bool> {
        let path = || self.path(FileKind::TxnIndex);
        let file = match self.aborted.needs_file(&path(), wait)? {
            true => Some(self.open(files, wait)?),
            false => None,
        };
        let open = || file.as_ref().map_or(Ok(None), |file| file.txn_index(path, files, wait));
        self.aborted.overlapping(range, wait, open, out)
    }

    /// Looks up where the index files end, before entries are added to them.
    pub(super) fn load_index(&self) -> io::Result<()> {
        if self.facts.lock().index.is_loaded() {
            return Ok(());
        }
        let mut index = IndexTail::unloaded();
        index.load(&self.dir, self.base, self.len())?;
        let mut facts = self.facts.lock();
        if !facts.index.is_loaded() {
            if let Some(last) = index.last_time()
                && facts.max_relative.is_none()
                && last.timestamp == facts.max_timestamp
            {
                facts.max_relative = Some(last.relative);
            }
            facts.index = index;
        }
        Ok(())
    }

    /// Completes the indexes of a segment that grows no more: what stands in RAM, and the last time entry.
    pub(super) fn seal_index(&self) -> io::Result<()> {
        self.load_index()?;
        {
            let mut facts = self.facts.lock();
            let max = facts.max_entry();
            facts.index.note_time(max);
        }
        self.flush_index(true)
    }

    /// The last offset-index entry for which `below` holds.
    pub(super) fn floor(
        &self,
        file: &SegmentFile,
        files: &FileCache,
        wait: Wait,
        below: impl Fn(&OffsetEntry) -> bool + Copy,
    ) -> io::Result<Option<OffsetEntry>> {
        {
            let facts = self.facts.lock();
            let pending = facts.index.floor_pending(below);
            if pending.is_some() || facts.index.is_all_pending() {
                return Ok(pending);
            }
        }
        match file.index(|| self.path(FileKind::Index), files, wait)? {
            Some(index) => floor(index, wait, below),
            None => Ok(None),
        }
    }
}

fn given_up() -> io::Error {
    io::Error::other("its topic was deleted")
}
