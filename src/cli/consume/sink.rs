//! Standard output, written in pieces and flushed as records come.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Bytes after which output is written, also when more records are at hand.
const BUFFER_BYTES: usize = 64 * 1024;

/// Output that is gathered.
#[derive(Debug, Default)]
pub(super) struct Sink {
    buffer: Vec<u8>,
    /// Whether the reader has gone: `streamd consume … | head`.
    closed: bool,
}

impl Sink {
    /// Where to put the next record.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes if there is much to write.
    pub(super) fn relieve(&mut self) -> anyhow::Result<()> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush() }
    }

    /// Writes everything.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        if self.buffer.is_empty() || self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.context("cannot write to standard output"),
        }
    }

    /// Whether the reader has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}
