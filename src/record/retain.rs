//! What compaction leaves of a batch (S93, S94, KIP-534): the same frame around fewer records.
//!
//! Base offset, last offset, leader epoch, producer id, epoch and sequence stay as they are, whatever goes: they tell
//! where the log goes on and what a producer's next sequence number is. So a batch may lose all of its records and stay.

use super::batch::{Attributes, BatchError, BatchHeader, HEADER_LEN, LENGTH_OVERHEAD, seal};
use super::compress::Deflate;
use super::format::{Flaw, Source, put_varint, read_length, read_varint, read_varlong, varint_len};
use super::iter::Records;
use crate::config::topic::Compression;
use crate::types::time::NO_TIMESTAMP;
use crate::types::{Codec, Timestamp};

/// The batch of `records` with those of them for which `kept` (one for each, in order) is true: at least one. Records
/// keep their offsets and times. `horizon`, if given, becomes the batch's delete horizon; one that it has already stays.
/// `compression` names the batch's own codec, and the level to compress with again.
///
/// # Errors
/// A record that does not parse, or a codec that fails.
pub fn retain(
    records: &Records<'_>,
    kept: &[bool],
    horizon: Option<Timestamp>,
    compression: Compression,
) -> Result<Vec<u8>, BatchError> {
    let mut header = *records.header();
    // What is left takes less: what was there, or a part of it.
    let mut front = Vec::with_capacity(HEADER_LEN + records.bytes().len().min(FRONT_HINT_MAX));
    front.resize(HEADER_LEN, 0);
    let mut body = Deflate::new(compression, front)?;
    let (mut count, mut newest) = (0, NO_TIMESTAMP);
    let (mut rest, mut scratch) = (records.bytes(), Vec::new());
    for keep in kept {
        let before = rest;
        let record = Raw::read(&mut rest)?;
        if !keep {
            continue;
        }
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        newest = newest.max(timestamp);
        count += 1;
        match horizon {
            Some(horizon) => {
                record.write(timestamp.wrapping_sub(horizon), &mut scratch);
                body.write(&scratch)?;
                body.write(record.tail)?;
            }
            None => body.write(&before[..before.len() - rest.len()])?,
        }
    }
    if let Some(horizon) = horizon {
        header.base_timestamp = horizon;
        header.attributes = header.attributes.with_delete_horizon(true);
    }
    if !header.attributes.is_log_append_time() {
        header.max_timestamp = newest;
    }
    header.attributes = header.attributes.with_codec(compression.codec);
    header.records_count = count;
    finish(header, body.finish()?)
}

/// The batch without its records. Its time stays, its delete horizon goes, and nothing is compressed.
pub fn empty(header: &BatchHeader) -> Vec<u8> {
    let attributes: Attributes = header.attributes.with_codec(Codec::None).with_delete_horizon(false);
    let header = BatchHeader { attributes, base_timestamp: NO_TIMESTAMP, records_count: 0, ..*header };
    // A header alone always has a length.
    finish(header, vec![0; HEADER_LEN]).unwrap_or_default()
}

/// Puts the header in front of the records, with the length and the checksum that they make.
fn finish(mut header: BatchHeader, mut bytes: Vec<u8>) -> Result<Vec<u8>, BatchError> {
    header.batch_length = i32::try_from(bytes.len() - LENGTH_OVERHEAD)
        .map_err(|_| BatchError::Build("it is larger than 2 GiB".to_owned()))?;
    if let Some(head) = bytes.first_chunk_mut::<HEADER_LEN>() {
        *head = header.encode();
    }
    seal(&mut bytes);
    Ok(bytes)
}

/// A record as it lies in a batch.
struct Raw<'a> {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    /// From the length of the key on.
    tail: &'a [u8],
}

impl<'a> Raw<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<Self, Flaw> {
        let length = read_length(rest)?;
        let mut body = rest.span(length)?;
        let attributes = body.byte()?;
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_delta = read_varint(&mut body)?;
        Ok(Self { attributes, timestamp_delta, offset_delta, tail: body })
    }

    /// Writes what stands before the tail, with another time.
    fn write(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        let numbers = varint_len(timestamp_delta) + varint_len(i64::from(self.offset_delta));
        out.clear();
        put_varint(out, crate::types::offset::saturate_i64(1 + numbers + self.tail.len()));
        out.push(self.attributes);
        put_varint(out, timestamp_delta);
        put_varint(out, i64::from(self.offset_delta));
    }
}

/// The most that is taken in advance for what is left of a batch, in bytes.
const FRONT_HINT_MAX: usize = 256 << 10;

#[cfg(test)]
#[path = "retain_tests.rs"]
mod tests;
