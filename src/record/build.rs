//! Makes v2 batches: for coordinators and the catalog, transaction markers, the command line's producer, tests, and
//! for the produce-time check when a topic wants another codec than the producer used.

use bytes::Bytes;

use super::batch::{Attributes, BatchError, BatchHeader, HEADER_LEN, LENGTH_OVERHEAD, MAGIC, seal};
use super::compress::{Deflate, Inflate};
use super::format::{put_varint, varint_len};
use super::iter::HeaderView;
use crate::config::topic::Compression;
use crate::types::offset::{NO_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};
use crate::types::time::NO_TIMESTAMP;
use crate::types::{Codec, Timestamp};

/// Keys and values up to this size are gathered before they are handed on, in bytes.
const SMALL_BYTES: usize = 256;
/// Room for a record of a key and a value that are small.
const SCRATCH_BYTES: usize = 2 * SMALL_BYTES + 64;

/// A record to put into a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// When it was made, or -1.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [HeaderView<'a>],
}

/// Builds one batch, record by record. Offsets count up from the base offset.
///
/// What goes wrong while records are pushed (a batch beyond the format's 31-bit sizes, a codec that fails) is told by
/// [`BatchBuilder::build`].
#[must_use]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    /// Made with the first record; its output begins with room for the header.
    body: Option<Deflate>,
    /// Bytes of the record being written: its numbers and what is small. Larger keys and values go past it.
    scratch: Vec<u8>,
    failed: Option<BatchError>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder").field("header", &self.header).finish_non_exhaustive()
    }
}

impl BatchBuilder {
    /// An uncompressed batch at base offset 0, of no producer and no known epoch.
    pub fn new() -> Self {
        Self {
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                partition_leader_epoch: NO_EPOCH,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: -1,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            compression: Compression { codec: Codec::None, level: 0 },
            body: None,
            scratch: Vec::with_capacity(SCRATCH_BYTES),
            failed: None,
        }
    }

    /// Compresses the records. To be said before the first record.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self.header.attributes = self.header.attributes.with_codec(compression.codec);
        self
    }

    /// The offset of the first record.
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// The epoch of the leader that appends the batch.
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// The idempotent or transactional producer, and the first record's sequence number.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Whether the batch belongs to a transaction.
    pub fn transactional(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(on);
        self
    }

    /// Whether the batch is a marker (S22).
    pub fn control(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_control(on);
        self
    }

    /// Gives every record the time of the append (S39).
    pub fn log_append_time(mut self, now: Timestamp) -> Self {
        self.header.attributes = self.header.attributes.with_log_append_time(true);
        self.header.max_timestamp = now;
        self
    }

    /// Adds a record.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        let tail = tail_len(record);
        self.write(|builder| {
            builder.put_head(record.timestamp, tail)?;
            builder.put_bytes(record.key)?;
            builder.put_bytes(record.value)?;
            builder.put_number(record.headers.len())?;
            for header in record.headers {
                builder.put_bytes(Some(header.key))?;
                builder.put_bytes(header.value)?;
            }
            builder.flush()
        });
    }

    /// Adds a record whose last `tail` bytes, from the length of its key on, come from `source` as they are.
    pub(super) fn push_tail(&mut self, timestamp: Timestamp, tail: usize, source: &mut Inflate<'_>) {
        self.write(|builder| {
            builder.put_head(timestamp, tail)?;
            builder.flush()?;
            let body = Self::body(&mut builder.body, builder.compression)?;
            source.copy(tail, body)
        });
    }

    /// Records so far.
    pub fn count(&self) -> i32 {
        self.header.records_count
    }

    /// Whether there are no records yet.
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Bytes of the batch so far, header included, as they would be without compression.
    pub fn uncompressed_len(&self) -> usize {
        HEADER_LEN + self.body.as_ref().map_or(0, Deflate::taken)
    }

    /// Bytes of output so far. Compressors hold back some: the finished batch is never smaller.
    pub(super) fn produced_len(&self) -> usize {
        self.body.as_ref().map_or(HEADER_LEN, Deflate::produced)
    }

    /// The error that [`BatchBuilder::build`] would tell, if there is one already.
    pub(super) fn failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The batch, its CRC set.
    ///
    /// # Errors
    /// No records, or what went wrong with one of them.
    pub fn build(mut self) -> Result<Bytes, BatchError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(body) = self.body else {
            return Err(BatchError::Build("it has no records".to_owned()));
        };
        let mut bytes = body.finish()?;
        let length = i32::try_from(bytes.len() - LENGTH_OVERHEAD).map_err(|_| too_large())?;
        self.header.batch_length = length;
        if let Some(head) = bytes.first_chunk_mut::<HEADER_LEN>() {
            *head = self.header.encode();
        }
        seal(&mut bytes);
        Ok(bytes.into())
    }

    fn write(&mut self, put: impl FnOnce(&mut Self) -> Result<(), BatchError>) {
        if self.failed.is_none() {
            self.failed = put(self).err();
        }
    }

    /// Starts a record whose bytes from its key on are `tail`, and counts it.
    fn put_head(&mut self, timestamp: Timestamp, tail: usize) -> Result<(), BatchError> {
        let count = self.header.records_count.checked_add(1).ok_or_else(too_large)?;
        let offset_delta = self.header.records_count;
        if offset_delta == 0 {
            self.header.base_timestamp = timestamp;
        }
        // Wraps as every reader's sum does.
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        let length = 1 + varint_len(timestamp_delta) + varint_len(i64::from(offset_delta)) + tail;
        let length = i32::try_from(length).map_err(|_| too_large())?;
        self.scratch.clear();
        put_varint(&mut self.scratch, i64::from(length));
        self.scratch.push(0);
        put_varint(&mut self.scratch, timestamp_delta);
        put_varint(&mut self.scratch, i64::from(offset_delta));
        self.header.last_offset_delta = offset_delta;
        self.header.records_count = count;
        if !self.header.attributes.is_log_append_time() {
            self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        }
        Ok(())
    }

    fn put_bytes(&mut self, bytes: Option<&[u8]>) -> Result<(), BatchError> {
        let Some(bytes) = bytes else {
            put_varint(&mut self.scratch, -1);
            return Ok(());
        };
        self.put_number(bytes.len())?;
        if bytes.len() <= SMALL_BYTES {
            self.scratch.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        Self::body(&mut self.body, self.compression)?.write(bytes)
    }

    fn put_number(&mut self, n: usize) -> Result<(), BatchError> {
        let n = i32::try_from(n).map_err(|_| too_large())?;
        put_varint(&mut self.scratch, i64::from(n));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BatchError> {
        Self::body(&mut self.body, self.compression)?.write(&self.scratch)?;
        self.scratch.clear();
        Ok(())
    }

    fn body(body: &mut Option<Deflate>, compression: Compression) -> Result<&mut Deflate, BatchError> {
        match body {
            Some(body) => Ok(body),
            None => Ok(body.insert(Deflate::new(compression, header_room())?)),
        }
    }
}

/// Room for the header, in a buffer that does not grow at once.
fn header_room() -> Vec<u8> {
    let mut room = Vec::with_capacity(1024);
    room.resize(HEADER_LEN, 0);
    room
}

/// Bytes of a record from the length of its key on.
fn tail_len(record: &NewRecord<'_>) -> usize {
    let headers = record.headers.iter().map(|header| bytes_len(Some(header.key)) + bytes_len(header.value));
    bytes_len(record.key)
        + bytes_len(record.value)
        + varint_len(crate::types::offset::saturate_i64(record.headers.len()))
        + headers.sum::<usize>()
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_len(crate::types::offset::saturate_i64(bytes.len())) + bytes.len())
}

fn too_large() -> BatchError {
    BatchError::Build("it is larger than 2 GiB".to_owned())
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
