//! Read maps of active segments, and what of a file is in memory. The crate's only unsafe code.
//!
//! A map is made once, over the whole size that the segment may reach: it may reach past the end of the file, and what
//! is later written with `pwrite` shows through it, so nothing is ever mapped again. The rules that make this sound:
//!
//! 1. A slice is given only below the committed length, so it never reaches past the end of the file.
//! 2. Committed bytes never change: the log is append-only, and a failed write is cut back to the committed length.
//! 3. No file is shortened below its committed length while it is open (recovery, which does that, runs before any
//!    map exists), and the data directory's lock keeps other processes of ours away.
//! 4. Our own code never loads from a slice. The kernel does, as the source of a `writev`: a page that cannot be read
//!    (bad disk) is then an EFAULT of that call and not a SIGBUS of the process.
//!
//! What is in memory is asked of the kernel page by page (mincore(2)), through a map, since a read that does not wait
//! (`RWF_NOWAIT`) says it only of the bytes it copies. `sendfile` and a load from a map wait where a page is on its way.
//! The kernel tells only who owns a file or may write to it, and says of all other files that all is there: whoever opens
//! a segment opens it to write ([`super::segment`]), and the data directory is the broker's own.
#![allow(unsafe_code, reason = "a slice over mapped bytes cannot be made, nor mincore called, without")]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// A read-only map of a segment's file that shows what is committed.
#[derive(Debug)]
pub(super) struct ReadMap {
    map: MmapRaw,
    committed: Arc<AtomicU64>,
}

impl ReadMap {
    /// Maps the first `len` bytes of `file`, whether they exist yet or not. `committed` says how many of the file's
    /// bytes are final; it only grows.
    pub(super) fn new(file: &File, len: usize, committed: Arc<AtomicU64>) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).map_raw_read_only(file)?;
        Ok(Self { map, committed })
    }

    /// The committed bytes at `position`; `None` if they are not all committed or the map does not reach that far.
    pub(super) fn slice(&self, position: u64, len: usize) -> Option<&[u8]> {
        let end = position.checked_add(len as u64)?;
        if end > self.committed.load(Ordering::Acquire) || end > self.map.len() as u64 {
            return None;
        }
        let start = usize::try_from(position).ok()?;
        // SAFETY: `start + len` lies within the map (checked above), which lives as long as `self`. The bytes lie below
        // the committed length, so by rules 1 to 3 of this module they exist in the file and no longer change.
        Some(unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), len) })
    }

    /// As [`is_resident`], of the file that is mapped; what the map does not show is not in memory.
    pub(super) fn is_resident(&self, position: u64, len: usize) -> bool {
        len == 0 || self.slice(position, len).is_some_and(|bytes| is_resident_at(bytes.as_ptr(), len))
    }
}

/// Whether the `len` bytes of a file from `position` on are all in memory.
pub(super) fn is_resident(file: &File, position: u64, len: usize) -> bool {
    let map = || MmapOptions::new().offset(position).len(len).map_raw_read_only(file);
    len == 0 || map().is_ok_and(|map| is_resident_at(map.as_ptr(), len))
}

/// Whether the `len` bytes of a map from `first` on are all in memory. If the kernel cannot say, they are not.
fn is_resident_at(first: *const u8, len: usize) -> bool {
    // A mebibyte, wherever in a page it begins.
    const PAGES_AT_ONCE: usize = 512;
    let page_bytes = rustix::param::page_size();
    let before = first.addr() % page_bytes;
    let (first, bytes) = (first.wrapping_sub(before), before + len);
    let stretch = PAGES_AT_ONCE * page_bytes;
    (0..bytes).step_by(stretch).all(|at| {
        let asked = (bytes - at).min(stretch);
        let mut pages = [0; PAGES_AT_ONCE];
        // SAFETY: mincore writes a byte for each page that it is asked about, and `pages` has one for each. It loads
        // nothing from the address, and one that is not mapped is an error that it returns.
        let told =
            unsafe { libc::mincore(first.wrapping_add(at).cast_mut().cast(), asked, pages.as_mut_ptr()) };
        told == 0 && pages[..asked.div_ceil(page_bytes)].iter().all(|page| page & 1 == 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    use rustix::fs::Advice;

    #[test]
    fn later_writes_show_through_a_map_that_was_made_past_the_end() {
        let file = tempfile::tempfile().unwrap();
        let committed = Arc::new(AtomicU64::new(0));
        let map = ReadMap::new(&file, 1 << 20, committed.clone()).unwrap();
        assert!(map.slice(0, 1).is_none(), "nothing is committed");
        for (at, byte) in [(0_u64, b'a'), (4096, b'b'), (300_000, b'c')] {
            file.write_all_at(&[byte; 4096], at).unwrap();
            committed.store(at + 4096, Ordering::Release);
            assert_eq!(map.slice(at, 4096).unwrap(), [byte; 4096]);
        }
    }

    #[test]
    fn a_slice_never_passes_the_committed_length_or_the_map() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 8192], 0).unwrap();
        let committed = Arc::new(AtomicU64::new(5000));
        let map = ReadMap::new(&file, 4096, committed).unwrap();
        assert_eq!(map.slice(4090, 6).unwrap().len(), 6);
        assert!(map.slice(4090, 7).is_none(), "past the map");
        assert!(map.slice(u64::MAX, 2).is_none(), "the sum overflows");
        let map = ReadMap::new(&file, 8192, Arc::new(AtomicU64::new(5000))).unwrap();
        assert!(map.slice(4999, 2).is_none(), "past the committed length");
    }

    #[test]
    fn what_is_in_memory_is_found_to_the_page() {
        const PAGES: usize = 1024;
        let page = rustix::param::page_size();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![1; PAGES * page], 0).unwrap();
        file.sync_all().unwrap();
        let all = PAGES * page;
        let map = ReadMap::new(&file, all, Arc::new(AtomicU64::new(all as u64))).unwrap();
        let is = |position: usize, len| {
            let is = is_resident(&file, position as u64, len);
            assert!(position + len > all || map.is_resident(position as u64, len) == is, "{position}, {len}");
            is
        };
        assert!(is(0, all) && is(10, all - 10) && is(5, 0));
        assert!(!map.is_resident(1, all), "past the map");
        assert!(!is(all - 1, 2 * page), "past the end of the file");

        // Pages come and go one by one now; a system that is short of memory, or busy with a page, does otherwise.
        rustix::fs::fadvise(&file, 0, None, Advice::Random).unwrap();
        let (from, to) = (300 * page, 305 * page);
        let is_so = || {
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            let gone = !is(0, 1) && !is(from - 1, 1) && !is(to, 1);
            file.read_exact_at(&mut vec![0; 5 * page], from as u64).unwrap();
            let there = is(from, 5 * page) && is(from + 7, 5 * page - 7) && is(to - 1, 1);
            gone && there && !is(from - 1, 2) && !is(to - 1, 2) && !is(to, 1) && !is(0, all)
        };
        let is_cold = || {
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            !is(900 * page, 1)
        };
        let mut tries = (0..30).filter(|_| is_cold()).peekable();
        // A file system may have nothing but memory.
        assert!(tries.peek().is_none() || tries.any(|_| is_so()));
    }
}
