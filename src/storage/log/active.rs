//! The segment that grows, and the space that is reserved for it.
//!
//! Blocks are reserved before bytes are written (`fallocate` with the length kept), so a full disk shows before the
//! write, and the file's length stays true. Ahead of the need goes as much as the segment holds already, within bounds;
//! a log of the broker's own keeps a fixed stretch instead, also while the broker is not there, so that starting,
//! deleting and committing work with nothing free.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::storage::room::Room;
use crate::storage::segment::Segment;

/// The segment that grows.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Bytes in it: where the next batch begins.
    pub(super) position: u64,
    /// Up to where the file has its blocks; `u64::MAX` where the file system cannot say.
    pub(super) reserved: u64,
    /// Whether it is known where the index files end.
    pub(super) indexed: bool,
}

/// How far ahead of the need space is reserved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// `segment.bytes`: nothing is reserved past it but what is needed.
    pub(super) segment_bytes: u64,
    /// `preallocate`: the whole segment at once.
    pub(super) preallocate: bool,
    /// If not 0, this much and no more, and it is asked for again when half of it is used.
    pub(super) kept: u64,
}

impl Active {
    /// A segment that was there, at its end.
    pub(super) fn found(segment: Arc<Segment>) -> Self {
        Self { position: segment.len(), reserved: 0, indexed: false, segment }
    }

    /// Reserves blocks for the next `bytes`, and some ahead of them. A full disk shows here, before anything is
    /// written.
    pub(super) fn reserve(
        &mut self,
        bytes: u64,
        ahead: &Ahead,
        room: &Room,
        open: impl FnOnce(&Arc<Segment>) -> io::Result<Arc<File>>,
    ) -> io::Result<()> {
        if self.reserved == u64::MAX {
            room.take(bytes);
            return Ok(());
        }
        let need = self.position.saturating_add(bytes);
        let is_there = need <= self.reserved;
        if is_there
            && (need.saturating_add(ahead.kept / 2) <= self.reserved || room.ahead_bytes_max() < ahead.kept)
        {
            return Ok(());
        }
        let want = need.saturating_add(self.ahead(ahead, room)).min(ahead.segment_bytes.max(need));
        let from = self.reserved.max(self.position);
        if want <= from {
            return Ok(());
        }
        let file = open(&self.segment)?;
        self.reserved = match allocate(&file, from, want) {
            Ok(()) => want,
            // The file system cannot reserve: then a full disk shows at the write, or at the sync (2.2).
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => u64::MAX,
            Err(Errno::NOSPC | Errno::DQUOT) if is_there => self.reserved,
            Err(Errno::NOSPC | Errno::DQUOT) => {
                allocate(&file, from, need)?;
                need
            }
            Err(error) => return Err(error.into()),
        };
        room.take(if self.reserved == u64::MAX { bytes } else { self.reserved.saturating_sub(from) });
        Ok(())
    }

    fn ahead(&self, ahead: &Ahead, room: &Room) -> u64 {
        match ahead {
            Ahead { kept: 1.., .. } => ahead.kept,
            Ahead { preallocate: true, .. } => ahead.segment_bytes.min(room.ahead_bytes_max()),
            _ => self.position.clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX).min(room.ahead_bytes_max()),
        }
    }

    /// Takes note of the blocks that the file has behind its end, as far as `most` bytes.
    pub(super) fn find_reserve(&mut self, file: &File, most: u64) {
        let Ok(found) = file.metadata() else { return };
        let allocated = found.blocks().saturating_mul(512).min(self.position.saturating_add(most));
        // Blocks that the file has cost nothing; that they are where they should be is asked, not guessed.
        if allocated > self.position && allocate(file, self.position, allocated).is_ok() {
            self.reserved = self.reserved.max(allocated);
        }
    }
}

fn allocate(file: &File, from: u64, to: u64) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, to.saturating_sub(from))
    })
}

/// The least and the most that is reserved ahead, in bytes.
const AHEAD_BYTES_MIN: u64 = 64 << 10;
const AHEAD_BYTES_MAX: u64 = 64 << 20;
