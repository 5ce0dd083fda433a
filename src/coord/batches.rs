//! The batches of one step. Neighbouring plain decisions share a batch, those of transactions have their own, and none is
//! split over two: a torn tail is cut between batches, so a decision is in the log whole or not at all.

use bytes::Bytes;

use super::{BatchKind, LogRecord};
use crate::record::{BatchError, NewRecord};
use crate::types::Timestamp;

/// A batch takes no further decision once it is this large. One decision may be larger.
const BATCH_BYTES_MAX: u64 = 1 << 20;
/// A batch's header, and the most that a record's own framing takes: length, attributes, deltas, key, value and
/// header counts as variable-length numbers.
const BATCH_OVERHEAD_BYTES: u64 = 61;
const RECORD_OVERHEAD_BYTES: u64 = 32;
/// Key and value of a marker's record.
const MARKER_BYTES: u64 = 10;

/// The most that these records take in the log, in a batch of their own; a marker has one that is not among them.
pub(super) fn batch_len_max(kind: BatchKind, records: &[LogRecord]) -> u64 {
    match kind {
        BatchKind::Marker { .. } => BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES + MARKER_BYTES,
        BatchKind::Plain | BatchKind::Transactional { .. } => BATCH_OVERHEAD_BYTES + records_len(records),
    }
}

fn records_len(records: &[LogRecord]) -> u64 {
    records.iter().fold(0, |sum, record| {
        let parts = [&record.key, &record.value];
        let bytes: usize = parts.into_iter().flatten().map(Bytes::len).sum();
        sum + RECORD_OVERHEAD_BYTES + bytes as u64
    })
}

/// Batches in the making.
#[derive(Debug)]
pub(super) struct StepBatches {
    wall: Timestamp,
    done: Vec<Bytes>,
    open: Vec<LogRecord>,
    open_len: u64,
    done_len: u64,
}

impl StepBatches {
    /// No batches yet; records will carry this time.
    pub(super) fn new(wall: Timestamp) -> Self {
        Self { wall, done: Vec::new(), open: Vec::new(), open_len: 0, done_len: 0 }
    }

    /// Adds one decision's records; a marker has none.
    ///
    /// # Errors
    /// A batch that is complete cannot be built.
    pub(super) fn push(&mut self, kind: BatchKind, records: Vec<LogRecord>) -> Result<(), BatchError> {
        if kind == BatchKind::Plain {
            return self.push_plain(records);
        }
        self.close()?;
        self.done_len += batch_len_max(kind, &records);
        let batch = match kind.marker(self.wall) {
            Some(marker) => marker?,
            None => self.build(kind, records)?,
        };
        self.done.push(batch);
        Ok(())
    }

    fn push_plain(&mut self, records: Vec<LogRecord>) -> Result<(), BatchError> {
        let len = records_len(&records);
        if self.open_len + len > BATCH_BYTES_MAX {
            self.close()?;
        }
        if self.open.is_empty() {
            self.open_len = BATCH_OVERHEAD_BYTES;
        }
        self.open.extend(records);
        self.open_len += len;
        Ok(())
    }

    /// The most that all of it takes in the log, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.done_len + self.open_len
    }

    /// The batches, in order.
    ///
    /// # Errors
    /// A decision is larger than a batch can be, which is 2 GiB.
    pub(super) fn finish(mut self) -> Result<Vec<Bytes>, BatchError> {
        self.close()?;
        Ok(self.done)
    }

    fn close(&mut self) -> Result<(), BatchError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.open);
        self.done.push(self.build(BatchKind::Plain, records)?);
        self.done_len += self.open_len;
        self.open_len = 0;
        Ok(())
    }

    fn build(&self, kind: BatchKind, records: Vec<LogRecord>) -> Result<Bytes, BatchError> {
        let mut builder = kind.builder();
        for record in records {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push(&NewRecord { timestamp: self.wall, key, value, ..NewRecord::default() });
        }
        builder.build()
    }
}
