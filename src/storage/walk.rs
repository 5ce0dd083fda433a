//! Walking a segment from batch header to batch header, with as few and as small reads as the batches allow.

use std::fs::File;
use std::io;

use super::pread::{Wait, read_some};
use crate::record::batch::{BatchHeader, HEADER_LEN};

/// A walk over the batches of a file between two positions. The start is a batch boundary, and so is the limit.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a File,
    wait: Wait,
    position: u64,
    limit: u64,
    buffer: [u8; BUFFER],
    /// Where in the file the buffer begins, and how much of it is filled.
    at: u64,
    filled: usize,
    /// Length of the last batch: many small batches share a read, large ones are hopped over.
    last_len: u64,
    /// The offset behind the last batch: offsets only rise.
    next: i64,
}

/// Why a walk ended before its limit.
#[derive(Debug)]
pub(super) enum WalkFault {
    /// The read failed, or would have had to wait.
    Io(io::Error),
    /// No batch can begin at this position.
    Bad(u64, &'static str),
}

/// One batch met on a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) position: u64,
    pub(super) header: BatchHeader,
}

impl Step {
    /// Where the next batch begins.
    pub(super) fn end(&self) -> u64 {
        self.position + self.header.total_len() as u64
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a File, position: u64, limit: u64, wait: Wait) -> Self {
        Self {
            file,
            wait,
            position,
            limit,
            buffer: [0; BUFFER],
            at: 0,
            filled: 0,
            last_len: u64::MAX,
            next: i64::MIN,
        }
    }

    /// The next batch; `None` at the limit.
    pub(super) fn next(&mut self) -> Result<Option<Step>, WalkFault> {
        if self.position >= self.limit {
            return Ok(None);
        }
        let position = self.position;
        if self.limit - position < HEADER_LEN as u64 {
            return Err(WalkFault::Bad(position, "the file ends inside a batch header"));
        }
        let bytes = self.header_bytes(position).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => WalkFault::Bad(position, "the file is shorter than it was"),
            _ => WalkFault::Io(error),
        })?;
        let header = BatchHeader::parse(bytes)
            .map_err(|_| WalkFault::Bad(position, "no batch header where one has to be"))?;
        if header.last_offset_delta < 0 || header.base_offset < self.next {
            return Err(WalkFault::Bad(position, "the batch's offsets do not follow on those before"));
        }
        let step = Step { position, header };
        if step.end() > self.limit {
            return Err(WalkFault::Bad(position, "the batch is longer than what the file holds"));
        }
        self.last_len = step.end() - position;
        self.position = step.end();
        self.next = step.header.next_offset();
        Ok(Some(step))
    }

    fn header_bytes(&mut self, position: u64) -> io::Result<&[u8]> {
        let held = self.held(position);
        if held.len() < HEADER_LEN {
            self.fill(position)?;
        }
        Ok(self.held(position))
    }

    fn held(&self, position: u64) -> &[u8] {
        let from = position.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.buffer.get(from..self.filled)).unwrap_or_default()
    }

    fn fill(&mut self, position: u64) -> io::Result<()> {
        let want = if self.last_len < BUFFER as u64 / 4 { BUFFER } else { HEADER_LEN };
        self.at = position;
        self.filled = 0;
        while self.filled < HEADER_LEN {
            let into = &mut self.buffer[self.filled..want];
            let read = read_some(self.file, position + self.filled as u64, into, self.wait)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += read;
        }
        Ok(())
    }
}

/// Bytes read at once where batches are small.
const BUFFER: usize = 4096;
