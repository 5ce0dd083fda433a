//! A new segment on its way: `.log.cleaned` and its indexes, made whole and durable before anything of the old ones is
//! touched.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::visit::forget;
use crate::record::batch::BatchHeader;
use crate::storage::index::{IndexTail, OffsetEntry};
use crate::storage::layout::{FileKind, FileState, SegmentFileName, parse_file};
use crate::storage::log::Log;
use crate::storage::segment::Facts;
use crate::storage::txn_index::{AbortedSum, AbortedTransaction, encode_all};
use crate::types::Timestamp;
use crate::types::offset::saturate_u32;

/// The files that a cleaned segment has; the first only where there was one.
pub(in crate::storage) const OUTPUT_KINDS: [FileKind; 4] =
    [FileKind::TxnIndex, FileKind::Index, FileKind::TimeIndex, FileKind::Log];

/// The segment that is being written. Dropped before [`Output::finish`], it leaves nothing.
#[derive(Debug)]
pub(super) struct Output {
    owner: Arc<Log>,
    base: i64,
    log: File,
    index: File,
    times: File,
    index_len: u64,
    times_len: u64,
    /// Bytes of batches that were taken, and not yet written.
    buffer: Vec<u8>,
    position: u64,
    synced_to: u64,
    /// Bytes of what the unsynced part was made of: those that nobody had in memory, and the others.
    made_of: [u64; 2],
    facts: Facts,
    interval: u64,
    /// The aborted transactions of its `.txnindex`, if it is to have one.
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
    /// Whether it may take what is kept for the broker's own needs.
    is_own: bool,
    keep: bool,
}

/// A new segment whose files are complete and on disk.
#[derive(Debug)]
pub(in crate::storage) struct Finished {
    pub(in crate::storage) base: i64,
    pub(in crate::storage) bytes: u64,
    pub(in crate::storage) facts: Facts,
    /// Whether there is a `.txnindex`.
    pub(in crate::storage) has_aborted: bool,
    /// What it holds.
    pub(in crate::storage) aborted: AbortedSum,
}

impl Output {
    /// Begins the files of the segment at `base`. `interval` is `index.interval.bytes`; one of the broker's own logs
    /// (`is_own`) may take what is kept for its needs. `None` if the log was given up.
    pub(super) fn create(
        owner: &Arc<Log>,
        base: i64,
        interval: u64,
        now: Timestamp,
        is_own: bool,
    ) -> io::Result<Option<Self>> {
        let open = |kind| {
            // What an earlier try may have left is nobody's.
            let path = path(&owner.dir, base, kind, FileState::Cleaned);
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
        };
        let made = owner.by_path(|| -> io::Result<_> {
            Ok((open(FileKind::Log)?, open(FileKind::Index)?, open(FileKind::TimeIndex)?))
        });
        let Some(made) = made else { return Ok(None) };
        let (log, index, times) = made.inspect_err(|_| discard(owner, base, FileState::Cleaned))?;
        Ok(Some(Self {
            owner: owner.clone(),
            base,
            log,
            index,
            times,
            index_len: 0,
            times_len: 0,
            buffer: Vec::with_capacity(WRITE_BYTES),
            position: 0,
            synced_to: 0,
            made_of: [0; 2],
            facts: Facts::new(IndexTail::new(), now),
            interval,
            aborted: None,
            is_own,
            keep: false,
        }))
    }

    /// Tells of how many bytes the next batch is made, and whether nobody had them in memory.
    pub(super) fn comes_from(&mut self, cold: bool, bytes: usize) {
        let [of_cold, of_warm] = &mut self.made_of;
        *if cold { of_cold } else { of_warm } += bytes as u64;
    }

    /// Appends a batch.
    pub(super) fn write(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        if self.position + len > POSITION_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the cleaned segment would pass 2 GiB"));
        }
        let relative = saturate_u32((header.last_offset() - self.base).max(0));
        let entry = OffsetEntry { relative, position: saturate_u32(self.position) };
        self.facts.note(entry, len, header.newest_record(), self.interval);
        if self.facts.index.wants_spill() {
            self.write_index()?;
        }
        if self.buffer.len() + bytes.len() > WRITE_BYTES {
            self.write_out()?;
        }
        if bytes.len() >= WRITE_BYTES {
            self.take_room(len)?;
            self.log.write_all_at(bytes, self.position)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.position += len;
        // Little by little: a sync of a gigabyte at once would hold up everybody else's.
        if self.position - self.synced_to > SYNC_BYTES {
            self.write_out()?;
            self.log.sync_data()?;
            self.after_sync();
        }
        Ok(())
    }

    /// What readers had in memory they shall have there again; the rest is not to stand in their way.
    fn after_sync(&mut self) {
        let [of_cold, of_warm] = std::mem::take(&mut self.made_of);
        if of_cold > of_warm {
            forget(&self.log, self.synced_to, self.position);
        }
        self.synced_to = self.position;
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.position
    }

    fn write_out(&mut self) -> io::Result<()> {
        let at = self.position - self.buffer.len() as u64;
        self.take_room(self.buffer.len() as u64)?;
        self.log.write_all_at(&self.buffer, at)?;
        self.buffer.clear();
        Ok(())
    }

    /// Counts what is about to be written. Compaction needs space before it makes some: some of what clients do not get,
    /// and none of that which is kept for the broker's own needs.
    fn take_room(&self, bytes: u64) -> io::Result<()> {
        let room = self.owner.health.room();
        if bytes > 0 && !self.is_own && !room.admits_cleaner() {
            let why = "no room on the disk but what disk.reserve and disk.limit keep for other needs";
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        room.take(bytes);
        Ok(())
    }

    fn write_index(&mut self) -> io::Result<()> {
        let pending = self.facts.index.pending();
        let (offsets, times) = pending.bytes();
        self.index.write_all_at(offsets, self.index_len)?;
        self.times.write_all_at(times, self.times_len)?;
        self.index_len += offsets.len() as u64;
        self.times_len += times.len() as u64;
        self.facts.index.written(&pending, true);
        Ok(())
    }

    /// Completes the files and makes them durable. `appended_at` is the newest of the inputs'.
    pub(super) fn finish(mut self, appended_at: Timestamp) -> io::Result<Finished> {
        self.write_out()?;
        let max = self.facts.max_entry();
        self.facts.index.note_time(max);
        self.write_index()?;
        let aborted = self.write_aborted()?;
        // Before the names change: what they speak for is on disk.
        for file in [&self.log, &self.index, &self.times] {
            file.sync_all()?;
        }
        self.after_sync();
        // They are on disk: no checkpoint need see to it.
        self.facts.index.note_unsynced();
        self.facts.index.noted_synced();
        self.facts.appended_at = appended_at;
        self.keep = true;
        let facts = std::mem::replace(&mut self.facts, Facts::new(IndexTail::unloaded(), appended_at));
        let has_aborted = self.aborted.is_some();
        Ok(Finished { base: self.base, bytes: self.position, facts, has_aborted, aborted })
    }

    fn write_aborted(&self) -> io::Result<AbortedSum> {
        let Some(aborted) = &self.aborted else { return Ok(AbortedSum::default()) };
        let bytes = encode_all(aborted);
        let path = path(&self.owner.dir, self.base, FileKind::TxnIndex, FileState::Cleaned);
        let written = self.owner.by_path(|| -> io::Result<()> {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            file.write_all_at(&bytes, 0)?;
            file.sync_all()
        });
        written.unwrap_or(Ok(())).map(|()| AbortedSum::of(&bytes))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.keep {
            // Before it is so: who measures in between must not count it twice.
            self.owner.health.room().give_back(self.position - self.buffer.len() as u64);
            discard(&self.owner, self.base, FileState::Cleaned);
        }
    }
}

/// Removes what an earlier cleaning could not. Left there, it would tell a recovery that a later swap was cut short.
pub(super) fn unlink_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let file = name.to_str().and_then(parse_file);
        if file.is_some_and(|file| file.state == FileState::Cleaned) {
            fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}

/// Removes an output that is not wanted, unless the paths are the log's no more.
pub(in crate::storage) fn discard(log: &Log, base: i64, state: FileState) {
    if !log.health.is_lost() {
        log.by_path(|| unlink_outputs(&log.dir, base, state));
    }
}

/// The same for who works by path already.
pub(in crate::storage) fn unlink_outputs(dir: &Path, base: i64, state: FileState) {
    for kind in OUTPUT_KINDS {
        let path = path(dir, base, kind, state);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = %path.display(), %error, "cannot unlink what a cleaning left: a recovery does");
            }
            _ => {}
        }
    }
}

fn path(dir: &Path, base: i64, kind: FileKind, state: FileState) -> PathBuf {
    SegmentFileName { offset: base, kind, state }.path_in(dir)
}

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 512 << 10;
/// Bytes that may stand unsynced.
const SYNC_BYTES: u64 = 16 << 20;
/// Positions are 31 bits wide in Kafka's indexes.
pub(super) const POSITION_MAX: u64 = i32::MAX as u64;
