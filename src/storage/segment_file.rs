//! A segment's file while it stands open, with the index and the read map that hang on it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::files::{FileCache, OpenTicket};
use super::mmap::ReadMap;
use super::pread::Wait;
use super::suspects::Suspects;

/// A segment's `.log`, open, with what hangs on the open file.
#[derive(Debug)]
pub(super) struct SegmentFile {
    base: i64,
    log: Arc<File>,
    committed: Arc<AtomicU64>,
    index: OnceLock<(File, OpenTicket)>,
    txn_index: OnceLock<(File, OpenTicket)>,
    map: ArcSwapOption<ReadMap>,
    map_used: AtomicBool,
    suspects: Suspects,
    _ticket: OpenTicket,
}

impl SegmentFile {
    pub(super) fn new(base: i64, log: File, committed: Arc<AtomicU64>, ticket: OpenTicket) -> Arc<Self> {
        Arc::new(Self {
            base,
            log: Arc::new(log),
            committed,
            index: OnceLock::new(),
            txn_index: OnceLock::new(),
            map: ArcSwapOption::empty(),
            map_used: AtomicBool::new(false),
            suspects: Suspects::default(),
            _ticket: ticket,
        })
    }

    /// The segment's base offset.
    pub(super) fn base(&self) -> i64 {
        self.base
    }

    /// The file.
    pub(super) fn log(&self) -> &File {
        &self.log
    }

    /// What could not be read of it.
    pub(super) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// The file, for those that keep it beyond the segment's slot.
    pub(super) fn shared_log(&self) -> Arc<File> {
        self.log.clone()
    }

    /// The `.index`, opened if need be and if the caller may wait; `None` if there is none.
    pub(super) fn index(
        &self,
        path: impl Fn() -> PathBuf,
        files: &FileCache,
        wait: Wait,
    ) -> io::Result<Option<&File>> {
        open_beside(&self.index, path, files, wait)
    }

    /// The `.txnindex`, likewise.
    pub(super) fn txn_index(
        &self,
        path: impl Fn() -> PathBuf,
        files: &FileCache,
        wait: Wait,
    ) -> io::Result<Option<&File>> {
        open_beside(&self.txn_index, path, files, wait)
    }

    /// The read map over `size` bytes, made if there is none; `None` if maps are off or the system gives no more.
    pub(super) fn map(self: &Arc<Self>, size: usize, files: &FileCache) -> Option<Arc<ReadMap>> {
        if let Some(map) = self.map.load_full() {
            if !self.map_used.load(Ordering::Relaxed) {
                self.map_used.store(true, Ordering::Relaxed);
            }
            return Some(map);
        }
        if !files.has_maps() {
            return None;
        }
        let map = Arc::new(ReadMap::new(&self.log, size, self.committed.clone()).ok()?);
        self.map.store(Some(map.clone()));
        files.admit_map(self);
        Some(map)
    }

    #[cfg(test)]
    pub(super) fn has_map(&self) -> bool {
        self.map.load().is_some()
    }

    /// Drops the map unless it was used since the last call. Readers that hold it keep it. Whether it is gone.
    pub(super) fn try_unmap(&self) -> bool {
        if self.map_used.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.unmap();
        true
    }

    /// Drops the map: the segment was sealed, and its reads are no longer the tail's.
    pub(super) fn unmap(&self) {
        self.map.store(None);
    }
}

fn open_beside<'f>(
    slot: &'f OnceLock<(File, OpenTicket)>,
    path: impl Fn() -> PathBuf,
    files: &FileCache,
    wait: Wait,
) -> io::Result<Option<&'f File>> {
    if let Some((file, _)) = slot.get() {
        return Ok(Some(file));
    }
    if wait == Wait::Never {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    files.make_room()?;
    match File::open(path()) {
        Ok(file) => Ok(Some(&slot.get_or_init(|| (file, files.count())).0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
