//! Reading a file that readers may want, too, without pushing out what they want: what the cleaner alone has brought into
//! memory goes from there as soon as it is read, unless somebody reads of the segment just then. He may have found it in
//! memory, and would wait for the disk when he sends it.
//!
//! A cleaning reads the whole of a log, of which readers mostly want the end. Left to itself the system keeps what was
//! read last, and lets go of what the readers had. Kafka's cleaner leaves it to itself.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Advice;

use crate::storage::pread::{Wait, read_some};

/// A segment's file as the cleaner reads it, from its begin to its end.
pub(in crate::storage) struct Visit<'a> {
    shared: &'a File,
    /// A description of our own: what is said of how it is read is not said for others.
    own: Option<File>,
    /// Where the stretch begins that was not in memory before we came.
    cold_from: Option<u64>,
    /// Up to here we have asked for what follows.
    asked_to: u64,
    /// Where the part of that stretch begins that is there yet, since somebody read of the file.
    kept_from: Option<u64>,
    /// Whether somebody else reads of it now.
    is_read: &'a dyn Fn() -> bool,
}

/// What was read, and whether it had not been in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage) struct Visited {
    pub(in crate::storage) bytes: usize,
    pub(in crate::storage) is_cold: bool,
}

impl fmt::Debug for Visit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("asked_to", &self.asked_to).finish_non_exhaustive()
    }
}

impl<'a> Visit<'a> {
    /// A visit of `shared`, which is open under the name `path` if that is still its own.
    pub(in crate::storage) fn new(shared: &'a File, path: &Path, is_read: &'a dyn Fn() -> bool) -> Self {
        Self { shared, own: reopened(shared, path), cold_from: None, asked_to: 0, kept_from: None, is_read }
    }

    /// A visit of a file that nobody else reads through this description, by somebody who sees to the memory.
    pub(in crate::storage) fn plain(file: &'a File) -> Self {
        Self { shared: file, own: None, cold_from: None, asked_to: 0, kept_from: None, is_read: &|| false }
    }

    /// Reads at most `into.len()` bytes at `position`; 0 at the end of the file. Positions rise.
    pub(in crate::storage) fn read(&mut self, position: u64, into: &mut [u8]) -> io::Result<Visited> {
        let Some(file) = &self.own else {
            let bytes = read_some(self.shared, position, into, Wait::MayBlock)?;
            return Ok(Visited { bytes, is_cold: false });
        };
        let is_cold = position < self.asked_to || self.is_cold(file, position)?;
        let bytes = read_some(file, position, into, Wait::MayBlock)?;
        let end = position + bytes as u64;
        if !is_cold {
            (self.cold_from, self.kept_from) = (None, None);
            return Ok(Visited { bytes, is_cold });
        }
        let from = *self.cold_from.get_or_insert(position);
        // What lies only in part in the range stays: the piece in which the last one ended goes now.
        let gone_to = from.max(position.saturating_sub(FOLIO_BYTES));
        if (self.is_read)() {
            self.kept_from.get_or_insert(gone_to);
        } else {
            forget(file, self.kept_from.take().unwrap_or(gone_to), end);
        }
        if end >= self.asked_to && self.is_cold(file, end)? {
            // While this is worked on, the next comes.
            advise(file, NonZeroU64::new(bytes as u64).map(|len| (end, len)), Advice::WillNeed);
            self.asked_to = end + bytes as u64;
        }
        Ok(Visited { bytes, is_cold })
    }
}

impl Visit<'_> {
    /// Whether what follows `position` was not in memory before we came. At the end of the file it is as before.
    fn is_cold(&self, file: &File, position: u64) -> io::Result<bool> {
        // The page that the position lies in may be there on our account.
        let resident = is_resident(file, position.next_multiple_of(PAGE_BYTES_MAX))?;
        Ok(resident.map_or_else(|| self.cold_from.is_some(), |is| !is))
    }
}

/// The same file, opened anew and told to read nothing ahead; `None` if that cannot be had.
fn reopened(shared: &File, path: &Path) -> Option<File> {
    let own = OpenOptions::new().read(true).open(path).ok()?;
    let (a, b) = (own.metadata().ok()?, shared.metadata().ok()?);
    // What was read ahead by the system could not be told from what readers had in memory.
    let is_same = (a.dev(), a.ino()) == (b.dev(), b.ino());
    (is_same && rustix::fs::fadvise(&own, 0, None, Advice::Random).is_ok()).then_some(own)
}

/// Whether the byte at `position` is in memory; `None` where the file has none.
fn is_resident(file: &File, position: u64) -> io::Result<Option<bool>> {
    match read_some(file, position, &mut [0], Wait::Never) {
        Ok(read) => Ok((read > 0).then_some(true)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(false)),
        Err(error) => Err(error),
    }
}

/// Lets what of this range is on disk go from memory, if the system listens.
pub(in crate::storage) fn forget(file: &File, from: u64, to: u64) {
    let len = NonZeroU64::new(to.saturating_sub(from));
    advise(file, len.map(|len| (from, len)), Advice::DontNeed);
}

fn advise(file: &File, range: Option<(u64, NonZeroU64)>, advice: Advice) {
    if let Some((from, len)) = range {
        // Whether it is taken makes no difference to what is read.
        let _ = rustix::fs::fadvise(file, from, Some(len), advice);
    }
}

/// The largest piece of a file that the system keeps or lets go as one, in bytes.
const FOLIO_BYTES: u64 = 2 << 20;
/// The largest page of a machine that we run on, in bytes.
const PAGE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write as _;

    use super::*;
    use crate::storage::mmap;

    const PIECE: usize = 256 << 10;

    /// A file of `pieces` pieces that are on disk and not in memory; `None` where the file system keeps all in memory.
    fn cold_file(dir: &Path, pieces: usize) -> Option<File> {
        let path = dir.join("file");
        let mut file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path).unwrap();
        file.write_all(&vec![7; pieces * PIECE]).unwrap();
        file.sync_all().unwrap();
        // To ask whether a byte is in memory begins to bring it there, and what the system reads ahead with it.
        rustix::fs::fadvise(&file, 0, None, Advice::Random).unwrap();
        let end = (pieces * PIECE) as u64;
        forget(&file, 0, end);
        let is_cold = !mmap::is_resident(&file, end - 1, 1);
        forget(&file, 0, end);
        is_cold.then_some(file)
    }

    fn resident(file: &File, pieces: impl Iterator<Item = usize>) -> Vec<usize> {
        let is = |nth: &usize| is_resident(file, (nth * PIECE + PIECE / 2) as u64).unwrap() == Some(true);
        pieces.filter(is).collect()
    }

    #[test]
    fn what_was_in_memory_stays_and_what_was_not_goes_again() {
        // Batches begin and end anywhere.
        for read_bytes in [PIECE, PIECE - 1_001] {
            // A system that is short of memory, or still busy with a page, does otherwise now and then.
            let mut said = Vec::new();
            let is_so =
                |said: &mut Vec<String>| visit_half_warm(read_bytes).map_err(|why| said.push(why)).is_ok();
            assert!((0..TRIES).any(|_| is_so(&mut said)), "{said:?}");
        }
    }

    const TRIES: usize = 30;

    /// Reads a file of which some is in memory, and says what of it is there afterwards that should not be, or is not
    /// and should.
    fn visit_half_warm(read_bytes: usize) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let Some(file) = cold_file(dir.path(), 32) else { return Ok(()) };
        let mut piece = vec![0; PIECE];
        let warm: Vec<usize> = (10..20).collect();
        for nth in &warm {
            read_some(&file, (nth * PIECE) as u64, &mut piece, Wait::MayBlock).unwrap();
        }
        let before = resident(&file, 8..22);
        let mut visit = Visit::new(&file, &dir.path().join("file"), &|| false);
        let (mut at, mut cold) = (0, 0);
        loop {
            let read = visit.read(at, &mut piece[..read_bytes]).unwrap();
            if read.bytes == 0 {
                break;
            }
            assert!(piece[..read.bytes].iter().all(|byte| *byte == 7));
            cold += if read.is_cold { read.bytes } else { 0 };
            at += read.bytes as u64;
        }
        assert_eq!(at, (32 * PIECE) as u64);
        // What is read at once may lie on either side of a border.
        let left = resident(&file, (0..32).filter(|nth| ![9, 10, 19, 20].contains(nth)));
        let stays = (11..19).all(|nth| left.contains(&nth));
        // The system may keep a page that it is busy with.
        let goes = left.len() <= 8 + 2;
        let told = (21 * PIECE..=23 * PIECE).contains(&cold);
        if before == warm && stays && goes && told {
            return Ok(());
        }
        Err(format!("warm before: {before:?}, after: {left:?}, {cold} bytes were cold"))
    }

    #[test]
    fn what_somebody_reads_of_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let stays = || {
            let Some(file) = cold_file(dir.path(), 2) else { return true };
            let mut visit = Visit::new(&file, &dir.path().join("file"), &|| true);
            let read = visit.read(0, &mut vec![0; PIECE]).unwrap();
            read.is_cold && !resident(&file, 0..1).is_empty()
        };
        let stayed = (0..TRIES).filter(|_| stays()).count();
        assert!(stayed > TRIES / 2, "{stayed} times of {TRIES}");
        // And goes when he is done.
        let goes = || {
            let Some(file) = cold_file(dir.path(), 8) else { return true };
            let is_read = Cell::new(true);
            let look = || is_read.get();
            let mut visit = Visit::new(&file, &dir.path().join("file"), &look);
            for nth in 0..8 {
                is_read.set(nth < 6);
                visit.read((nth * PIECE) as u64, &mut vec![0; PIECE]).unwrap();
            }
            resident(&file, 0..6).is_empty()
        };
        assert!((0..TRIES).any(|_| goes()));
    }

    #[test]
    fn a_name_that_is_anothers_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile().unwrap();
        std::fs::write(dir.path().join("file"), b"another").unwrap();
        assert!(reopened(&file, &dir.path().join("file")).is_none());
        let mut into = [0; 4];
        let read = Visit::new(&file, &dir.path().join("file"), &|| false).read(0, &mut into).unwrap();
        assert_eq!(read, Visited { bytes: 0, is_cold: false });
    }
}
