//! Stretches of a segment's file that could not be read when they were on their way to a client.
//!
//! Batches leave as file slices, and the answer's head is gone by the time that the kernel finds a page that the disk
//! does not give: all that is left is to end the connection. So the stretch is remembered, and the next read of it tries
//! it first: if the disk still refuses, that read is answered with an error, and what lies before it is served. Nothing
//! else is marked, and what can be read again is forgotten.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::pread::{Wait, read_full};

/// The stretches of one open file. Without any, which is always, a question is one load.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    any: AtomicBool,
    /// At most [`STRETCHES_MAX`]; the oldest is forgotten.
    stretches: Mutex<Vec<Range<u64>>>,
}

impl Suspects {
    /// This stretch could not be read.
    pub(super) fn add(&self, stretch: Range<u64>) {
        let mut stretches = self.stretches.lock();
        stretches.retain(|known| *known != stretch);
        if stretches.len() >= STRETCHES_MAX {
            stretches.remove(0);
        }
        stretches.push(stretch);
        self.any.store(true, Ordering::Release);
    }

    /// How far `wanted` can be read, and what is in the way if that is not all of it.
    ///
    /// # Errors
    /// `WouldBlock` if it has to be tried and the caller may not wait for the disk.
    pub(super) fn try_read(
        &self,
        file: &File,
        wanted: Range<u64>,
        wait: Wait,
    ) -> io::Result<(u64, Option<io::Error>)> {
        if !self.any.load(Ordering::Acquire) {
            return Ok((wanted.end, None));
        }
        let mut met: Vec<_> = self.stretches.lock().clone();
        met.retain(|known| known.start < wanted.end && wanted.start < known.end);
        met.sort_unstable_by_key(|known| known.start);
        for known in met {
            if wait == Wait::Never {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Batches go as wholes: what lies before `wanted` is of no interest.
            let mut at = known.start.max(wanted.start);
            let end = known.end.min(wanted.end);
            let mut page = [0; PAGE];
            while at < end {
                let next = (at / PAGE as u64 + 1) * PAGE as u64;
                let len = usize::try_from(next.min(end) - at).unwrap_or(PAGE).min(PAGE);
                if let Err(error) = read_full(file, at, &mut page[..len], wait) {
                    return Ok((at, Some(error)));
                }
                at += len as u64;
            }
            if wanted.start <= known.start && known.end <= wanted.end {
                self.forget(&known);
            }
        }
        Ok((wanted.end, None))
    }

    fn forget(&self, stretch: &Range<u64>) {
        let mut stretches = self.stretches.lock();
        stretches.retain(|known| known != stretch);
        self.any.store(!stretches.is_empty(), Ordering::Release);
    }
}

/// Stretches that are remembered of a file.
const STRETCHES_MAX: usize = 64;
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(bytes: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; bytes]).unwrap();
        file
    }

    #[test]
    fn a_stretch_that_can_be_read_again_is_forgotten() {
        let (suspects, file) = (Suspects::default(), file(20_000));
        assert_eq!(suspects.try_read(&file, 0..20_000, Wait::Never).unwrap().0, 20_000);
        suspects.add(5_000..9_000);
        assert_eq!(
            suspects.try_read(&file, 9_000..20_000, Wait::Never).unwrap().0,
            20_000,
            "another stretch"
        );
        let error = suspects.try_read(&file, 0..20_000, Wait::Never).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(suspects.try_read(&file, 0..20_000, Wait::MayBlock).unwrap().0, 20_000);
        assert_eq!(suspects.try_read(&file, 0..20_000, Wait::Never).unwrap().0, 20_000, "forgotten");
    }

    #[test]
    fn what_lies_before_a_stretch_that_stays_bad_can_be_served() {
        // A file that is shorter than it should be stands for pages that the disk does not give.
        let (suspects, file) = (Suspects::default(), file(10_000));
        suspects.add(0..16_384);
        for _ in 0..2 {
            let (end, error) = suspects.try_read(&file, 100..16_384, Wait::MayBlock).unwrap();
            assert_eq!((end, error.unwrap().kind()), (8_192, io::ErrorKind::UnexpectedEof));
        }
    }

    #[test]
    fn stretches_are_bounded() {
        let suspects = Suspects::default();
        for n in 0..1000 {
            suspects.add(n..n + 1);
        }
        assert_eq!(suspects.stretches.lock().len(), STRETCHES_MAX);
    }
}
