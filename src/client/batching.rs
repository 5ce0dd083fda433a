//! Gathers records into batches, partition by partition, and numbers them for idempotent producers. Pure: what is sent
//! when, and what becomes of it, is the producer's business.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::config::topic::Compression;
use crate::record::{BatchBuilder, BatchError, BatchView, HeaderView, NewRecord};
use crate::types::offset::{saturate_i32, sequence_after};

/// What a record takes beside its key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// What the records of a batch that is split may take; it was built here, so it is not hostile.
const SPLIT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Who an idempotent producer is (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducerId {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// A batch that waits to be sent, or to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where it goes.
    pub(super) partition: i32,
    /// The batch.
    pub(super) bytes: Bytes,
    /// How many records it has.
    pub(super) records: i32,
}

/// Records on their way to one topic.
#[derive(Debug)]
pub(super) struct Batching {
    partitions: Vec<Queue>,
    compression: Compression,
    producer: Option<ProducerId>,
    batch_bytes_max: usize,
    /// Bytes of all records and batches that are held here.
    held_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// The batch that still takes records.
    open: Option<BatchBuilder>,
    /// Batches that are full.
    full: VecDeque<Batch>,
    next_sequence: i32,
}

impl Batching {
    /// For a topic with this many partitions. Batches are closed before their records pass `batch_bytes_max`, before
    /// compression; a single record may.
    pub(super) fn new(
        partitions: usize,
        compression: Compression,
        producer: Option<ProducerId>,
        batch_bytes_max: usize,
    ) -> Self {
        let partitions = (0..partitions).map(|_| Queue::default()).collect();
        Self { partitions, compression, producer, batch_bytes_max, held_bytes: 0 }
    }

    /// Adds a record. Returns whether that closed a batch.
    pub(super) fn push(&mut self, partition: i32, record: &NewRecord<'_>) -> Result<bool, BatchError> {
        let size = size_of_record(record);
        let Some(queue) = queue_of(&mut self.partitions, partition) else { return Ok(false) };
        let held = queue.open.as_ref().map_or(0, BatchBuilder::uncompressed_len);
        let is_full = held > 0 && held + size > self.batch_bytes_max;
        if is_full {
            self.close(partition)?;
        }
        let compression = self.compression;
        if let Some(queue) = queue_of(&mut self.partitions, partition) {
            let open = queue.open.get_or_insert_with(|| BatchBuilder::new().compression(compression));
            let before = open.uncompressed_len();
            open.push(record);
            self.held_bytes += open.uncompressed_len() - before;
        }
        Ok(is_full)
    }

    /// The next batch for a partition, closed early if it has to be.
    pub(super) fn take(&mut self, partition: i32) -> Result<Option<Batch>, BatchError> {
        if queue_of(&mut self.partitions, partition).is_some_and(|queue| queue.full.is_empty()) {
            self.close(partition)?;
        }
        let batch = queue_of(&mut self.partitions, partition).and_then(|queue| queue.full.pop_front());
        if let Some(batch) = &batch {
            self.held_bytes -= batch.bytes.len();
        }
        Ok(batch)
    }

    /// Puts a batch back to the front: it is to be sent again before any other of its partition.
    pub(super) fn put_back(&mut self, batch: Batch) {
        if let Some(queue) = queue_of(&mut self.partitions, batch.partition) {
            self.held_bytes += batch.bytes.len();
            queue.full.push_front(batch);
        }
    }

    /// Partitions that have something to send.
    pub(super) fn waiting(&self) -> impl Iterator<Item = i32> {
        let rows = self.partitions.iter().enumerate();
        rows.filter(|(_, queue)| queue.open.is_some() || !queue.full.is_empty())
            .map(|(index, _)| saturate_i32(index))
    }

    /// Bytes held here.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Cuts a batch that is too large for the topic into two, which keep its sequence numbers. `None` for a batch of
    /// one record.
    pub(super) fn split(&self, batch: &Batch) -> Result<Option<[Batch; 2]>, BatchError> {
        if batch.records < 2 {
            return Ok(None);
        }
        let view = BatchView::parse(&batch.bytes)?;
        let records = view.records(SPLIT_BYTES_MAX)?;
        let half = usize::try_from(batch.records / 2).unwrap_or(0);
        let sequence = view.header().base_sequence;
        let part = |skip: usize, take: usize| -> Result<Batch, BatchError> {
            let mut builder = BatchBuilder::new().compression(self.compression);
            for record in records.iter().skip(skip).take(take) {
                let record = record?;
                let headers: Vec<HeaderView<'_>> = record.headers.collect();
                let (timestamp, key, value) = (record.timestamp, record.key, record.value);
                builder.push(&NewRecord { timestamp, key, value, headers: &headers });
            }
            if let Some(ProducerId { id, epoch }) = self.producer {
                builder = builder.producer(id, epoch, sequence_after(sequence, saturate_i32(skip)));
            }
            let records = builder.count();
            Ok(Batch { partition: batch.partition, bytes: builder.build()?, records })
        };
        Ok(Some([part(0, half)?, part(half, usize::MAX)?]))
    }

    fn close(&mut self, partition: i32) -> Result<(), BatchError> {
        let Some(queue) = queue_of(&mut self.partitions, partition) else { return Ok(()) };
        let Some(mut open) = queue.open.take() else { return Ok(()) };
        self.held_bytes -= open.uncompressed_len() - BatchBuilder::new().uncompressed_len();
        let records = open.count();
        if let Some(ProducerId { id, epoch }) = self.producer {
            open = open.producer(id, epoch, queue.next_sequence);
            queue.next_sequence = sequence_after(queue.next_sequence, records);
        }
        let bytes = open.build()?;
        self.held_bytes += bytes.len();
        queue.full.push_back(Batch { partition, bytes, records });
        Ok(())
    }
}

fn queue_of(partitions: &mut [Queue], partition: i32) -> Option<&mut Queue> {
    partitions.get_mut(usize::try_from(partition).ok()?)
}

/// What a record takes in a batch, at most.
pub(super) fn size_of_record(record: &NewRecord<'_>) -> usize {
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let header = |header: &HeaderView<'_>| header.key.len() + len(header.value) + RECORD_OVERHEAD_BYTES;
    len(record.key)
        + len(record.value)
        + record.headers.iter().map(header).sum::<usize>()
        + RECORD_OVERHEAD_BYTES
}

#[cfg(test)]
#[path = "batching_tests.rs"]
mod tests;
