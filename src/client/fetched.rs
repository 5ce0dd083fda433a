//! What a fetch brings of one partition: whole batches, those that are no data left out.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use crate::record::control::{ControlType, read_marker};
use crate::record::{BatchError, BatchView, Records};

/// What the records of one batch may take once decompressed.
const RECORDS_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Records of one partition, as they came.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The first offset that was asked for. The first batch may begin before it.
    pub from: i64,
    /// The offset to ask for next.
    pub next: i64,
    /// The partition's end for this reader: the high watermark, or the last stable offset.
    pub end: i64,
    bytes: Bytes,
    aborted: Vec<Aborted>,
}

/// A transaction that was aborted, as Fetch tells readers of committed records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aborted {
    /// Its producer.
    pub(super) producer_id: i64,
    /// Its first offset in this partition.
    pub(super) first_offset: i64,
}

impl FetchedPartition {
    /// Reads the frames of the batches. `aborted` holds the transactions to leave out.
    ///
    /// # Errors
    /// Bytes that are no batches in the v2 format.
    pub(super) fn new(
        (topic, partition): (Arc<str>, i32),
        from: i64,
        end: i64,
        bytes: Bytes,
        mut aborted: Vec<Aborted>,
    ) -> Result<Self, Error> {
        aborted.sort_unstable_by_key(|one| one.first_offset);
        let mut fetched = Self { topic, partition, from, next: from, end, bytes, aborted };
        let mut rest = &fetched.bytes[..];
        while !rest.is_empty() {
            match BatchView::parse(rest) {
                Ok(batch) => {
                    fetched.next = fetched.next.max(batch.header().next_offset());
                    rest = rest.get(batch.bytes().len()..).unwrap_or_default();
                }
                // Brokers cut the last batch at the byte limit (S17), never the first.
                Err(BatchError::Truncated { .. }) if rest.len() < fetched.bytes.len() => break,
                Err(error) => return Err(fetched.damaged(fetched.next, &error)),
            }
        }
        Ok(fetched)
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The batches that hold data for this reader, in order. An error is the last item.
    pub fn batches(&self) -> Batches<'_> {
        Batches { of: self, rest: &self.bytes, aborted: &self.aborted, open: HashSet::new() }
    }

    /// The records of one of the batches. Those below [`FetchedPartition::from`] were not asked for.
    ///
    /// # Errors
    /// They do not decompress.
    pub fn records<'a>(&self, batch: &BatchView<'a>) -> Result<Records<'a>, Error> {
        batch.records(RECORDS_BYTES_MAX).map_err(|error| self.damaged(batch.header().base_offset, &error))
    }

    /// The error for a batch or record that cannot be read.
    pub fn damaged(&self, offset: i64, error: &BatchError) -> Error {
        Error::Malformed {
            address: format!("{}-{} at offset {offset}", self.topic, self.partition),
            reason: error.to_string(),
        }
    }
}

/// Goes through the batches of a [`FetchedPartition`].
#[derive(Debug)]
pub struct Batches<'a> {
    of: &'a FetchedPartition,
    rest: &'a [u8],
    /// Aborted transactions that have not begun yet.
    aborted: &'a [Aborted],
    /// Producers whose aborted transaction is open.
    open: HashSet<i64>,
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let batch = BatchView::parse(self.rest).ok()?;
            self.rest = self.rest.get(batch.bytes().len()..).unwrap_or_default();
            match self.is_data(&batch) {
                Ok(true) => return Some(Ok(batch)),
                Ok(false) => {}
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Batches<'_> {
    /// Whether a batch holds records that this reader is to see; follows the aborted transactions.
    fn is_data(&mut self, batch: &BatchView<'_>) -> Result<bool, Error> {
        let header = batch.header();
        // Compaction leaves batches without records, markers among them.
        if header.next_offset() <= self.of.from || header.records_count == 0 {
            return Ok(false);
        }
        if !batch.crc_ok() {
            let reason = format!("the batch's checksum is wrong ({} bytes)", batch.bytes().len());
            let address = format!("{}-{} at offset {}", self.of.topic, self.of.partition, header.base_offset);
            return Err(Error::Malformed { address, reason });
        }
        while let [first, rest @ ..] = self.aborted
            && first.first_offset <= header.last_offset()
        {
            self.open.insert(first.producer_id);
            self.aborted = rest;
        }
        let marker = read_marker(batch).map_err(|error| self.of.damaged(header.base_offset, &error))?;
        match marker {
            Some(marker) => {
                if marker.kind == ControlType::Abort {
                    self.open.remove(&header.producer_id);
                }
                Ok(false)
            }
            None => Ok(!(header.attributes.is_transactional() && self.open.contains(&header.producer_id))),
        }
    }
}

#[cfg(test)]
#[path = "fetched_tests.rs"]
mod tests;
