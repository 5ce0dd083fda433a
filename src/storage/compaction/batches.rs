//! The batches of a sealed segment one after the other, each whole and verified.

use std::io;

use super::visit::Visit;
use crate::record::batch::{BatchHeader, BatchView, HEADER_LEN};

/// Reads a segment's file from its begin.
#[derive(Debug)]
pub(in crate::storage) struct Batches<'a> {
    visit: Visit<'a>,
    /// Bytes of the file that hold batches.
    len: u64,
    /// Offsets rise from here, and end before `end`.
    next: i64,
    end: i64,
    /// Where the next batch begins.
    position: u64,
    buffer: &'a mut Vec<u8>,
    /// What the buffer holds of the file: from `at` on, in `buffer[from..]`.
    at: u64,
    /// Whether the last that was read of it had not been in memory.
    is_cold: bool,
    read_bytes: usize,
}

/// A batch and where it begins.
#[derive(Debug)]
pub(in crate::storage) struct Found<'b> {
    pub(in crate::storage) position: u64,
    pub(in crate::storage) batch: BatchView<'b>,
    /// Whether nobody had it in memory, its last part at least.
    pub(in crate::storage) is_cold: bool,
}

impl Found<'_> {
    /// Where the next one begins.
    pub(in crate::storage) fn end(&self) -> u64 {
        self.position + self.batch.bytes().len() as u64
    }
}

/// Why there is no next batch.
#[derive(Debug)]
pub(in crate::storage) enum BatchFault {
    /// The file system.
    Io(io::Error),
    /// The bytes at this position are not the batch that has to be there.
    Bad(u64, &'static str),
}

impl<'a> Batches<'a> {
    /// The batches in the first `len` bytes of a file, whose offsets lie from `base` to below `end`. `buffer` is scratch;
    /// about `read_bytes` are read at once.
    pub(in crate::storage) fn new(
        visit: Visit<'a>,
        len: u64,
        (base, end): (i64, i64),
        buffer: &'a mut Vec<u8>,
        read_bytes: usize,
    ) -> Self {
        buffer.clear();
        let (position, at, is_cold) = (0, 0, false);
        Self { visit, len, next: base, end, position, buffer, at, is_cold, read_bytes }
    }

    /// Begins at this batch boundary and not with the file.
    pub(in crate::storage) fn starting_at(mut self, position: u64) -> Self {
        (self.position, self.at) = (position, position);
        self
    }

    /// Where the next batch begins.
    pub(in crate::storage) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch; `None` at the end of the segment.
    pub(in crate::storage) fn next(&mut self) -> Result<Option<Found<'_>>, BatchFault> {
        if self.position >= self.len {
            return Ok(None);
        }
        let position = self.position;
        let bad = |why| BatchFault::Bad(position, why);
        self.have(HEADER_LEN).map_err(BatchFault::Io)?;
        let header =
            BatchHeader::parse(self.held()).map_err(|_| bad("no batch header where one has to be"))?;
        self.check(&header).map_err(bad)?;
        let total = header.total_len();
        if total > self.read_bytes.max(LARGE_BYTES)
            && !self.large_is_sound(&header).map_err(BatchFault::Io)?
        {
            return Err(bad("the CRC does not match"));
        }
        self.have(total).map_err(BatchFault::Io)?;
        self.position += total as u64;
        self.next = header.next_offset();
        let from = usize::try_from(position - self.at).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(from..).unwrap_or_default();
        let batch = BatchView::parse(bytes).map_err(|_| bad("the batch is not whole"))?;
        if !batch.crc_ok() {
            return Err(bad("the CRC does not match"));
        }
        Ok(Some(Found { position, batch, is_cold: self.is_cold }))
    }

    fn check(&self, header: &BatchHeader) -> Result<(), &'static str> {
        if header.total_len() as u64 > self.len - self.position {
            return Err("the batch is longer than what the file holds");
        }
        if header.last_offset_delta < 0 || header.records_count < 0 {
            return Err("the batch has negative counts");
        }
        if header.base_offset < self.next || header.next_offset() > self.end {
            return Err("the batch's offset does not belong there");
        }
        Ok(())
    }

    /// The bytes from the position on that are in memory.
    fn held(&self) -> &[u8] {
        let from = usize::try_from(self.position - self.at).unwrap_or(usize::MAX);
        self.buffer.get(from..).unwrap_or_default()
    }

    /// Reads on until `want` bytes from the position on are in memory, or the segment ends.
    fn have(&mut self, want: usize) -> io::Result<()> {
        let held = self.held().len();
        if held >= want {
            return Ok(());
        }
        let gone = self.buffer.len() - held;
        self.buffer.drain(..gone);
        self.at = self.position;
        let left = usize::try_from(self.len - self.position).unwrap_or(usize::MAX);
        let target = want.max(self.read_bytes).min(left);
        let mut filled = held;
        self.buffer.resize(target, 0);
        while filled < target {
            let into = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.visit.read(self.at + filled as u64, into)?;
            if read.bytes == 0 {
                break;
            }
            filled += read.bytes;
            self.is_cold = read.is_cold;
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// Whether a large batch has the CRC that it says, found without holding all of it: its length is only a claim.
    fn large_is_sound(&mut self, header: &BatchHeader) -> io::Result<bool> {
        let end = self.position + header.total_len() as u64;
        let (mut at, mut crc) = (self.position + CRC_FROM, 0);
        let mut piece = vec![0; self.read_bytes.clamp(HEADER_LEN, LARGE_BYTES)];
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let room = left.min(piece.len());
            let read = self.visit.read(at, piece.get_mut(..room).unwrap_or_default())?.bytes;
            if read == 0 {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, piece.get(..read).unwrap_or_default());
            at += read as u64;
        }
        Ok(crc == header.crc)
    }
}

/// A batch beyond this is verified before memory is taken for it.
const LARGE_BYTES: usize = 8 << 20;
/// Where the part of a batch begins that its CRC covers.
const CRC_FROM: u64 = 21;
