//! The records of a batch, as borrowed slices.
//!
//! [`super::BatchView::records`] decompresses, once and up to a bound, if there is anything to decompress; from there
//! on nothing is copied. A batch read from disk or wire may be damaged in any way: the first record that does not
//! parse ends the iteration with an error.

use std::borrow::Cow;

use super::batch::{BatchError, BatchHeader, BatchView};
use super::compress::inflate;
use super::format::{Flaw, Source, read_fields, read_header, read_length, skip_headers};
use crate::types::{Codec, Timestamp};

/// A batch's records, decompressed. Iterate over `&records`.
#[derive(Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// The records of `batch`, which take at most `max_bytes` once decompressed. An uncompressed batch is borrowed and
    /// knows no bound; one without records (compaction leaves such) is not decompressed at all.
    pub(super) fn open(batch: &BatchView<'a>, max_bytes: usize) -> Result<Self, BatchError> {
        let header = *batch.header();
        let codec = header.attributes.codec().ok_or(BatchError::Codec(header.attributes))?;
        let bytes = if codec == Codec::None || header.records_count == 0 {
            Cow::Borrowed(batch.payload())
        } else {
            Cow::Owned(inflate(codec, batch.payload(), max_bytes)?)
        };
        Ok(Self { header, bytes })
    }

    /// The header of their batch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records' bytes, not compressed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records in order.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(self.header, &self.bytes)
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<RecordView<'r>, BatchError>;
    type IntoIter = RecordIter<'r>;

    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// Goes through the records of a batch. Yields as many as the header counts; an error, when there is one, is the last
/// item.
#[derive(Debug, Clone)]
pub struct RecordIter<'r> {
    header: BatchHeader,
    rest: &'r [u8],
    /// Records still to come; `None` once the end, good or bad, has been told.
    left: Option<i32>,
}

impl<'r> RecordIter<'r> {
    /// Over the records in `bytes`, which are not compressed.
    pub(super) fn new(header: BatchHeader, bytes: &'r [u8]) -> Self {
        Self { header, rest: bytes, left: Some(header.records_count) }
    }
}

impl<'r> Iterator for RecordIter<'r> {
    type Item = Result<RecordView<'r>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let left = self.left?;
        if left > 0 {
            let record = RecordView::read(&mut self.rest, &self.header);
            self.left = record.is_ok().then_some(left - 1);
            return Some(record.map_err(BatchError::from));
        }
        self.left = None;
        if left < 0 {
            return Some(Err(BatchError::Count(left)));
        }
        // An empty batch keeps what it was compressed to, if anything.
        let done = self.rest.is_empty() || self.header.records_count == 0;
        (!done).then_some(Err(BatchError::Surplus))
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// One record. Key, value and headers borrow from the batch or from what it was decompressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'r> {
    /// Offset in the partition.
    pub offset: i64,
    /// The offset as it stands in the batch: relative to the batch's base offset.
    pub offset_delta: i32,
    /// The record's time: its own, or the batch's under log append time (S39).
    pub timestamp: Timestamp,
    /// The key; on a compacted topic what the record is about.
    pub key: Option<&'r [u8]>,
    /// The value; without one, on a compacted topic, the record is a tombstone.
    pub value: Option<&'r [u8]>,
    /// The headers, in order; a key may occur more than once (KIP-82).
    pub headers: Headers<'r>,
}

impl<'r> RecordView<'r> {
    /// Reads the record at the front of `rest` to its last byte, headers included.
    #[inline]
    fn read(rest: &mut &'r [u8], header: &BatchHeader) -> Result<Self, Flaw> {
        let length = read_length(rest)?;
        let mut body = rest.span(length)?;
        let fields = read_fields(&mut body)?;
        let headers = Headers { bytes: body, left: fields.headers };
        skip_headers(&mut body, fields.headers)?;
        if !body.is_empty() {
            return Err(Flaw::EndsLate);
        }
        Ok(Self {
            offset: header.base_offset.saturating_add(i64::from(fields.offset_delta)),
            offset_delta: fields.offset_delta,
            timestamp: header.timestamp_of(fields.timestamp_delta),
            key: fields.key.map(|key| key.span),
            value: fields.value.map(|value| value.span),
            headers,
        })
    }
}

/// A record's headers, an iterator over them. They have been parsed once already, so it does not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Headers<'r> {
    bytes: &'r [u8],
    left: i32,
}

impl Headers<'_> {
    /// Headers still to come.
    pub fn len(&self) -> usize {
        usize::try_from(self.left).unwrap_or(0)
    }

    /// Whether there are none left.
    pub fn is_empty(&self) -> bool {
        self.left <= 0
    }
}

impl<'r> Iterator for Headers<'r> {
    type Item = HeaderView<'r>;

    fn next(&mut self) -> Option<HeaderView<'r>> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let (key, value) = read_header(&mut self.bytes).ok()?;
        Some(HeaderView { key, value })
    }
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderView<'r> {
    /// The key. Kafka calls it a string; nobody checks that it is UTF-8.
    pub key: &'r [u8],
    /// The value.
    pub value: Option<&'r [u8]>,
}

#[cfg(test)]
#[path = "iter_tests.rs"]
mod tests;
