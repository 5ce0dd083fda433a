//! Snappy, raw or in the framing of snappy-java, which is not Google's framing format.
//!
//! Java clients write the framing: a 16-byte header, then blocks of up to 32 KiB, each behind its compressed length in
//! big endian. librdkafka and those built on it write one raw block. Readers tell them apart by the header's magic.

use std::io;

use snap::raw;

use super::CHUNK_BYTES;

/// Opens the framing: 0x82, "SNAPPY", 0, version 1, oldest compatible version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC_LEN: usize = 8;
/// No snappy element makes more output of its input than a copy: 64 bytes of 3, so more than 22 to 1 is a lie.
const EXPANSION_MAX: usize = 22;

/// Reads blocks.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    framed: bool,
    /// The block that [`Reader::next_len`] has looked at.
    block: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        let framed = payload.len() >= HEADER.len() && payload.starts_with(&HEADER[..MAGIC_LEN]);
        Self { rest: payload, framed, block: &[] }
    }

    /// Moves to the next block and tells its decompressed length, which has been held against what the block's own
    /// length can make. 0 at the end.
    pub(super) fn next_len(&mut self) -> io::Result<usize> {
        loop {
            // Streams may be concatenated: a header can stand where a length is due.
            while self.framed && self.rest.starts_with(&HEADER[..4]) {
                self.skip_header()?;
            }
            if self.rest.is_empty() {
                self.block = &[];
                return Ok(0);
            }
            self.block = if self.framed { self.next_framed()? } else { std::mem::take(&mut self.rest) };
            let len = raw::decompress_len(self.block).map_err(io::Error::other)?;
            if len > self.block.len().saturating_mul(EXPANSION_MAX) {
                return Err(malformed("a block claims more output than it can have"));
            }
            if len > 0 {
                return Ok(len);
            }
            self.fill(0, &mut Vec::new())?;
        }
    }

    /// Decompresses the block that [`Reader::next_len`] has announced with `len` to the front of `window`.
    pub(super) fn fill(&mut self, len: usize, window: &mut Vec<u8>) -> io::Result<usize> {
        if self.block.is_empty() {
            return Ok(0);
        }
        if window.len() < len {
            window.resize(len, 0);
        }
        raw::Decoder::new().decompress(self.block, window).map_err(io::Error::other)
    }

    fn next_framed(&mut self) -> io::Result<&'a [u8]> {
        let (len, rest) =
            self.rest.split_first_chunk().ok_or_else(|| malformed("a block's length is cut off"))?;
        let len = usize::try_from(i32::from_be_bytes(*len))
            .map_err(|_| malformed("a block's length is negative"))?;
        let (block, rest) = rest.split_at_checked(len).ok_or_else(|| malformed("a block is cut off"))?;
        self.rest = rest;
        Ok(block)
    }

    fn skip_header(&mut self) -> io::Result<()> {
        let (header, rest) = self
            .rest
            .split_first_chunk::<{ HEADER.len() }>()
            .ok_or_else(|| malformed("a header is cut off"))?;
        let version = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if !header.starts_with(&HEADER[..MAGIC_LEN]) || version < 1 {
            return Err(malformed("a header is not snappy-java's"));
        }
        self.rest = rest;
        Ok(())
    }
}

/// Writes the framing as Java does.
pub(super) struct Writer {
    out: Vec<u8>,
    encoder: raw::Encoder,
}

impl Writer {
    /// Output goes behind `prefix`.
    pub(super) fn new(mut prefix: Vec<u8>) -> Self {
        prefix.extend_from_slice(&HEADER);
        Self { out: prefix, encoder: raw::Encoder::new() }
    }

    /// Writes one block of at most [`CHUNK_BYTES`].
    pub(super) fn write_block(&mut self, block: &[u8]) -> io::Result<()> {
        debug_assert!(block.len() <= CHUNK_BYTES);
        let at = self.out.len();
        self.out.resize(at + 4 + raw::max_compress_len(block.len()), 0);
        let (place, room) = self.out.split_at_mut(at + 4);
        let len = self.encoder.compress(block, room).map_err(io::Error::other)?;
        let stored = u32::try_from(len).map_err(io::Error::other)?;
        place[at..].copy_from_slice(&stored.to_be_bytes());
        self.out.truncate(at + 4 + len);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
