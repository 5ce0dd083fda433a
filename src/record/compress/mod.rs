//! The four codecs of record batches, both ways, in pieces and within bounds.
//!
//! Decompression never sizes anything by a number it has only been told: output comes out in windows, is counted, and
//! stops at the caller's bound, so a bomb costs a window of memory and no more time than the bound is worth. What is
//! accepted is what Kafka's own Java client can read back, since a batch that passes here goes to every consumer as it
//! is: gzip with any number of members, snappy raw or in snappy-java's framing, one LZ4 frame of independent blocks,
//! zstd frames with windows up to 128 MiB.

mod lz4;
mod snappy;
mod zstd;

use std::cell::Cell;
use std::io::{self, Read, Write};

use ::zstd::stream::write::Encoder as ZstdEncoder;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::FrameEncoder;

use super::batch::BatchError;
use super::format::{Fields, Flaw, Source, read_fields, read_length, skip_headers};
use crate::config::topic::Compression;
use crate::types::Codec;

/// Decompressed bytes held at a time, where the codec lets us choose.
const WINDOW_BYTES: usize = 32 * 1024;
/// A window up to this size is kept for the thread's next payload, in bytes.
const WINDOW_KEPT_MAX_BYTES: usize = 256 * 1024;
/// Bytes gathered before they are handed to a compressor; snappy's block size in Java's framing.
const CHUNK_BYTES: usize = 32 * 1024;

thread_local! {
    /// The last payload's window: to make and clear one costs as much as a small batch.
    static WINDOW: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Decompresses all of `payload`, to `max_bytes` at most.
pub(super) fn inflate(codec: Codec, payload: &[u8], max_bytes: usize) -> Result<Vec<u8>, BatchError> {
    let mut inflate = Inflate::new(codec, payload, max_bytes)?;
    let mut out = Vec::new();
    while inflate.refill()? {
        out.extend_from_slice(inflate.window.get(..inflate.end).unwrap_or_default());
    }
    Ok(out)
}

/// Decompresses a payload piece by piece. As a [`Source`] it is read past, not kept.
pub(super) struct Inflate<'a> {
    decoder: Decoder<'a>,
    codec: Codec,
    /// Decompressed bytes: up to `at` they have been read, from there to `end` not yet.
    window: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes that have come out, `end` included.
    produced: usize,
    max_bytes: usize,
    /// Why there is no more, when a [`Source`] method has said [`Flaw::Source`].
    failed: Option<BatchError>,
}

enum Decoder<'a> {
    Plain(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(snappy::Reader<'a>),
    Lz4(lz4::Reader<'a>),
    Zstd(zstd::Reader<'a>),
}

impl<'a> Inflate<'a> {
    /// Over `payload`; more than `max_bytes` of output are an error.
    pub(super) fn new(codec: Codec, payload: &'a [u8], max_bytes: usize) -> Result<Self, BatchError> {
        let failed = |reason: io::Error| BatchError::Inflate { codec, reason: reason.to_string() };
        let decoder = match codec {
            Codec::None => Decoder::Plain(payload),
            Codec::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(payload))),
            Codec::Snappy => Decoder::Snappy(snappy::Reader::new(payload)),
            Codec::Lz4 => Decoder::Lz4(lz4::Reader::new(payload).map_err(failed)?),
            Codec::Zstd => Decoder::Zstd(zstd::Reader::new(payload).map_err(failed)?),
        };
        let window = WINDOW.try_with(Cell::take).unwrap_or_default();
        Ok(Self { decoder, codec, window, at: 0, end: 0, produced: 0, max_bytes, failed: None })
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.produced - (self.end - self.at)
    }

    /// Reads past the next record.
    #[inline]
    pub(super) fn next_record(&mut self) -> Result<Fields<()>, Flaw> {
        let length = read_length(self)?;
        let start = self.position();
        let fields = read_fields(self)?;
        skip_headers(self, fields.headers)?;
        if self.position() - start != length {
            return Err(Flaw::EndsLate);
        }
        Ok(fields)
    }

    /// What stands behind a flaw in what was read from here.
    pub(super) fn explain(&mut self, flaw: Flaw) -> BatchError {
        self.failed.take().unwrap_or_else(|| flaw.into())
    }

    /// Whether everything has been read. Decompresses on to find out.
    pub(super) fn at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.at == self.end && !self.refill()?)
    }

    /// Moves the next `len` bytes into `out`.
    pub(super) fn copy(&mut self, mut len: usize, out: &mut Deflate) -> Result<(), BatchError> {
        while len > 0 {
            let piece = match self.piece(len) {
                Ok(piece) => piece,
                Err(flaw) => return Err(self.explain(flaw)),
            };
            out.write(piece)?;
            len -= piece.len();
        }
        Ok(())
    }

    /// The next bytes, at least one and at most `len`.
    fn piece(&mut self, len: usize) -> Result<&[u8], Flaw> {
        if self.at == self.end {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return Err(Flaw::EndsEarly),
                Err(error) => {
                    self.failed = Some(error);
                    return Err(Flaw::Source);
                }
            }
        }
        let from = self.at;
        self.at += len.min(self.end - from);
        Ok(self.window.get(from..self.at).unwrap_or_default())
    }

    /// Puts the next bytes into the window, whose old ones have been read. `false` at the end.
    fn refill(&mut self) -> Result<bool, BatchError> {
        let bomb = BatchError::Bomb { max_bytes: self.max_bytes };
        let room = self.max_bytes - self.produced;
        let read = match &mut self.decoder {
            Decoder::Plain(rest) => fill(rest, &mut self.window),
            Decoder::Gzip(decoder) => fill(decoder.as_mut(), &mut self.window),
            Decoder::Zstd(decoder) => decoder.fill(&mut self.window),
            Decoder::Lz4(decoder) => decoder.fill(&mut self.window),
            Decoder::Snappy(decoder) => match decoder.next_len() {
                Ok(len) if len > room => return Err(bomb),
                Ok(len) => decoder.fill(len, &mut self.window),
                Err(error) => Err(error),
            },
        };
        let read =
            read.map_err(|error| BatchError::Inflate { codec: self.codec, reason: error.to_string() })?;
        if read > room {
            return Err(bomb);
        }
        self.at = 0;
        self.end = read;
        self.produced += read;
        Ok(read > 0)
    }
}

impl Source for Inflate<'_> {
    type Span = ();

    #[inline]
    fn byte(&mut self) -> Result<u8, Flaw> {
        if let Some(&byte) = self.window.get(..self.end).and_then(|window| window.get(self.at)) {
            self.at += 1;
            return Ok(byte);
        }
        let piece = self.piece(1)?;
        piece.first().copied().ok_or(Flaw::EndsEarly)
    }

    fn span(&mut self, mut len: usize) -> Result<(), Flaw> {
        while len > 0 {
            len -= self.piece(len)?.len();
        }
        Ok(())
    }
}

impl Drop for Inflate<'_> {
    fn drop(&mut self) {
        if self.window.len() <= WINDOW_KEPT_MAX_BYTES {
            // Fails when the thread is ending; then it goes with it.
            let _ = WINDOW.try_with(|slot| slot.set(std::mem::take(&mut self.window)));
        }
    }
}

fn fill(decoder: &mut impl Read, window: &mut Vec<u8>) -> io::Result<usize> {
    if window.len() < WINDOW_BYTES {
        window.resize(WINDOW_BYTES, 0);
    }
    decoder.read(window)
}

/// Compresses what is written to it, behind a prefix of its own choosing: room for a batch's header.
pub(super) struct Deflate {
    encoder: Encoder,
    /// Bytes not yet handed to the encoder.
    pending: Vec<u8>,
    /// Bytes written, before compression.
    taken: usize,
}

enum Encoder {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(Box<snappy::Writer>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Deflate {
    /// An encoder whose output begins with `prefix`.
    pub(super) fn new(compression: Compression, prefix: Vec<u8>) -> Result<Self, BatchError> {
        let encoder = match compression.codec {
            Codec::None => Encoder::Plain(prefix),
            Codec::Gzip => Encoder::Gzip(GzEncoder::new(prefix, gzip_level(compression.level))),
            Codec::Snappy => Encoder::Snappy(Box::new(snappy::Writer::new(prefix))),
            Codec::Lz4 => Encoder::Lz4(Box::new(lz4::writer(prefix))),
            Codec::Zstd => {
                let encoder = ZstdEncoder::new(prefix, compression.level);
                Encoder::Zstd(encoder.map_err(build_error)?)
            }
        };
        Ok(Self { encoder, pending: Vec::new(), taken: 0 })
    }

    /// Takes `bytes`.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), BatchError> {
        self.taken += bytes.len();
        if let Encoder::Plain(out) = &mut self.encoder {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        while self.pending.len() + bytes.len() >= CHUNK_BYTES {
            let (now, later) = bytes.split_at(CHUNK_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            bytes = later;
            self.drain()?;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes written, before compression.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Bytes of output so far, prefix included. Encoders hold back some.
    pub(super) fn produced(&self) -> usize {
        match &self.encoder {
            Encoder::Plain(out) => out.len(),
            Encoder::Gzip(encoder) => encoder.get_ref().len(),
            Encoder::Snappy(writer) => writer.len(),
            Encoder::Lz4(encoder) => encoder.get_ref().len(),
            Encoder::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// Prefix and output.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, BatchError> {
        self.drain()?;
        match self.encoder {
            Encoder::Plain(out) => Ok(out),
            Encoder::Gzip(encoder) => encoder.finish().map_err(build_error),
            Encoder::Snappy(writer) => Ok(writer.finish()),
            Encoder::Lz4(encoder) => encoder.finish().map_err(|error| BatchError::Build(error.to_string())),
            Encoder::Zstd(encoder) => encoder.finish().map_err(build_error),
        }
    }

    fn drain(&mut self) -> Result<(), BatchError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match &mut self.encoder {
            Encoder::Plain(out) => out.write_all(&self.pending),
            Encoder::Gzip(encoder) => encoder.write_all(&self.pending),
            Encoder::Snappy(writer) => writer.write_block(&self.pending),
            Encoder::Lz4(encoder) => encoder.write_all(&self.pending),
            Encoder::Zstd(encoder) => encoder.write_all(&self.pending),
        }
        .map_err(build_error)?;
        self.pending.clear();
        Ok(())
    }
}

/// Kafka's `compression.gzip.level`: 1 to 9, and -1 for the library's default.
fn gzip_level(level: i32) -> flate2::Compression {
    match u32::try_from(level) {
        Ok(level) => flate2::Compression::new(level.min(9)),
        Err(_) => flate2::Compression::default(),
    }
}

fn build_error(error: io::Error) -> BatchError {
    BatchError::Build(error.to_string())
}

#[cfg(test)]
mod tests;
