//! What a read answers: whole batches as slices of segment files, and the place behind them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::storage::mmap::{self, ReadMap};
use crate::storage::pread::{Wait, read_full, read_some};
use crate::storage::segment_file::SegmentFile;

/// A batch boundary in the log: the offset of the batch that begins there, and where it does (or will).
///
/// A hint: a place that no longer fits (the segment was dropped or replaced) is ignored and looked up anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(in crate::storage) offset: i64,
    pub(in crate::storage) segment: i64,
    pub(in crate::storage) position: u64,
    /// Tells a segment from a later one with the same base.
    pub(in crate::storage) serial: u32,
}

impl Place {
    /// A place in no segment: it only carries its offset.
    pub(in crate::storage) fn nowhere(offset: i64) -> Self {
        Self { offset, segment: -1, position: 0, serial: 0 }
    }

    /// The offset of the batch at this place.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The base offset of the segment it lies in.
    pub fn segment(&self) -> i64 {
        self.segment
    }

    /// The byte in that segment's file.
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// Whole batches, beginning with the one that holds the offset asked for.
#[derive(Debug)]
pub struct ReadBatches {
    /// The batches' bytes in order; empty when there was nothing below the upper bound, or nothing that fitted.
    pub slices: Vec<LogSlice>,
    /// Bytes of all slices.
    pub bytes: usize,
    /// Where the next read goes on: pass it as the hint.
    pub next: Place,
}

impl ReadBatches {
    /// Nothing, at an offset.
    pub fn none(from: i64) -> Self {
        Self { slices: Vec::new(), bytes: 0, next: Place::nowhere(from) }
    }
}

/// Some whole batches in one segment file. Holds the file open: what was read stays readable, whatever retention does.
#[derive(Debug, Clone)]
pub struct LogSlice {
    pub(in crate::storage) file: Arc<SegmentFile>,
    pub(in crate::storage) map: Option<Arc<ReadMap>>,
    pub(in crate::storage) is_tail: bool,
    pub(in crate::storage) position: u64,
    pub(in crate::storage) len: u32,
}

impl LogSlice {
    /// Bytes in the slice.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the slice is empty; reads never answer an empty one.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the slice begins in the file: the offset for `sendfile`.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The segment's file, open for reading.
    pub fn file(&self) -> &File {
        self.file.log()
    }

    /// The slice through the active segment's read map, if it has one. A load of what is not in memory waits for the
    /// disk: [`LogSlice::is_tail`].
    ///
    /// **Only the kernel may load from it** (as the source of `writev`): a page that cannot be read is then an EFAULT
    /// of one call; a load by our own code would be a SIGBUS.
    pub fn mapped(&self) -> Option<&[u8]> {
        self.map.as_deref()?.slice(self.position, self.len as usize)
    }

    /// Whether the slice was appended so lately that it is in memory; of any other a piece is looked for first
    /// ([`LogSlice::is_resident`]).
    pub fn is_tail(&self) -> bool {
        self.is_tail
    }

    /// Takes note that time went by since the slice was read: it need no longer be what was appended last.
    pub fn has_waited(&mut self) {
        self.is_tail = false;
    }

    /// Leaves the slice without its map: it is not in memory, so it goes the way of those that are read from disk.
    pub fn leave_map(&mut self) {
        self.map = None;
    }

    /// Whether `bytes` bytes from byte `from` of it on are in memory: then they go to a socket without a wait for the
    /// disk. Asks the disk for nothing itself.
    ///
    /// # Errors
    /// What the file system says; a file that ends before these bytes do.
    pub fn is_resident(&self, from: usize, bytes: usize) -> io::Result<bool> {
        let (position, bytes) = self.part(from, bytes);
        if bytes == 0 {
            return Ok(true);
        }
        let is_there = match &self.map {
            Some(map) => map.is_resident(position, bytes),
            None => mmap::is_resident(self.file.log(), position, bytes),
        };
        // The page in which a file ends is there as a whole, whatever the file has of it.
        if is_there && self.file.log().metadata()?.len() < position + bytes as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(is_there)
    }

    /// Copies the slice from byte `from` of it into `into`, as far as it is in memory. Never waits for the disk.
    /// Returns the bytes copied; 0 says that the next byte is not resident.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_read_resident(&self, from: usize, into: &mut [u8]) -> io::Result<usize> {
        let (position, room) = self.part(from, into.len());
        match read_some(self.file.log(), position, &mut into[..room], Wait::Never) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Ok(0) if room > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result,
        }
    }

    /// Copies the slice from byte `from` of it into `into` until one of them ends. May wait for the disk.
    /// Returns the bytes copied.
    ///
    /// # Errors
    /// What the file system says; a file that ends before the slice does.
    pub fn read_into(&self, from: usize, into: &mut [u8]) -> io::Result<usize> {
        let (position, room) = self.part(from, into.len());
        read_full(self.file.log(), position, &mut into[..room], Wait::MayBlock)?;
        Ok(room)
    }

    /// Takes note that the slice could not be read when it was to be sent: the next read that wants it tries it before
    /// anything is promised, and is answered with an error if the disk still refuses.
    pub fn could_not_be_read(&self) {
        self.file.suspects().add(self.position..self.position + u64::from(self.len));
    }

    fn part(&self, from: usize, room: usize) -> (u64, usize) {
        let from = from.min(self.len());
        (self.position + from as u64, room.min(self.len() - from))
    }
}

/// For `sendfile`.
impl AsFd for LogSlice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.log().as_fd()
    }
}
