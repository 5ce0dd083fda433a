//! The producers of a partition in a file: Kafka's `.snapshot` (the last batch of each producer), written when a segment
//! rolls, and our own (all remembered batches), written at checkpoints.

use std::collections::HashMap;

use super::Producers;
use super::entry::{ProducerEntry, SeenBatch, WINDOW_BATCHES, Window};
use crate::types::Timestamp;
use crate::types::offset::saturate_i32;

/// A saved state that does not read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged producer snapshot: {0}")]
pub struct SnapshotError(pub(crate) &'static str);

impl Producers {
    /// Kafka's `.snapshot` file: the last batch of each producer.
    pub fn to_kafka_snapshot(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.entries.len() * KAFKA_ENTRY_LEN);
        body.extend_from_slice(&saturate_i32(self.entries.len()).to_be_bytes());
        for (id, entry) in self.sorted() {
            let last = entry.batches.last().copied().unwrap_or(NOTHING_SEEN);
            // Kafka has one time for both: the producer's, which a marker may have moved.
            let last = SeenBatch { timestamp: entry.last_timestamp, ..last };
            put_head(&mut body, id, entry);
            put_batch(&mut body, &last);
            put_tail(&mut body, entry);
        }
        framed(&KAFKA_VERSION.to_be_bytes(), &body)
    }

    /// Our own form: all remembered batches of each producer.
    pub fn to_window_snapshot(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.entries.len() * 160);
        body.extend_from_slice(&saturate_i32(self.entries.len()).to_be_bytes());
        for (id, entry) in self.sorted() {
            put_head(&mut body, id, entry);
            let count = entry.batches.iter().count();
            body.push(u8::try_from(count).unwrap_or(0));
            for batch in entry.batches.iter() {
                put_batch(&mut body, batch);
            }
            body.extend_from_slice(&entry.last_timestamp.to_be_bytes());
            put_tail(&mut body, entry);
        }
        framed(WINDOW_MAGIC, &body)
    }

    /// The state back from either form.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (window, rest) = match bytes.strip_prefix(WINDOW_MAGIC) {
            Some(rest) => (true, rest),
            None => match bytes.strip_prefix(KAFKA_VERSION.to_be_bytes().as_slice()) {
                Some(rest) => (false, rest),
                None => return Err(SnapshotError("unknown version")),
            },
        };
        let Some((crc, body)) = rest.split_first_chunk::<4>() else {
            return Err(SnapshotError("shorter than its checksum"));
        };
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(SnapshotError("checksum does not match"));
        }
        let mut input = Input(body);
        let count = input.i32()?;
        let mut entries = HashMap::new();
        for _ in 0..count {
            let (id, entry) = if window { input.window_entry()? } else { input.kafka_entry()? };
            entries.insert(id, entry);
        }
        if !input.0.is_empty() {
            return Err(SnapshotError("bytes behind the last producer"));
        }
        let open = entries.iter().filter_map(|(id, entry)| Some((entry.open_transaction()?, *id))).collect();
        Ok(Self { entries, open, undo: Vec::new() })
    }
}

const KAFKA_VERSION: i16 = 1;
const KAFKA_ENTRY_LEN: usize = 46;
const WINDOW_MAGIC: &[u8] = b"SDW1";
/// Stands for a producer of whom only the epoch is known.
const NOTHING_SEEN: SeenBatch =
    SeenBatch { last_sequence: -1, last_offset: -1, offset_delta: 0, timestamp: -1 };

fn framed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 4 + body.len());
    out.extend_from_slice(head);
    out.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn put_head(out: &mut Vec<u8>, id: i64, entry: &ProducerEntry) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&entry.epoch.to_be_bytes());
}

fn put_batch(out: &mut Vec<u8>, batch: &SeenBatch) {
    out.extend_from_slice(&batch.last_sequence.to_be_bytes());
    out.extend_from_slice(&batch.last_offset.to_be_bytes());
    out.extend_from_slice(&batch.offset_delta.to_be_bytes());
    out.extend_from_slice(&batch.timestamp.to_be_bytes());
}

fn put_tail(out: &mut Vec<u8>, entry: &ProducerEntry) {
    out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
    out.extend_from_slice(&entry.transaction_first_offset.to_be_bytes());
}

/// Reads big-endian numbers off the front.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError("cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn i16(&mut self) -> Result<i16, SnapshotError> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32, SnapshotError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn i64(&mut self) -> Result<i64, SnapshotError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    fn batch(&mut self) -> Result<SeenBatch, SnapshotError> {
        let batch = SeenBatch {
            last_sequence: self.i32()?,
            last_offset: self.i64()?,
            offset_delta: self.i32()?,
            timestamp: self.i64()?,
        };
        let sane = batch.offset_delta >= 0 && batch.last_sequence >= -1 && batch.last_offset >= -1;
        sane.then_some(batch).ok_or(SnapshotError("a batch's numbers are out of range"))
    }

    fn kafka_entry(&mut self) -> Result<(i64, ProducerEntry), SnapshotError> {
        let (id, epoch, last) = (self.i64()?, self.i16()?, self.batch()?);
        let mut batches = Window::default();
        if last.last_offset >= 0 {
            batches.push(last);
        }
        Ok((id, self.tail(epoch, batches, last.timestamp)?))
    }

    fn window_entry(&mut self) -> Result<(i64, ProducerEntry), SnapshotError> {
        let (id, epoch) = (self.i64()?, self.i16()?);
        let [count] = self.take::<1>()?;
        if usize::from(count) > WINDOW_BATCHES {
            return Err(SnapshotError("more batches than the window holds"));
        }
        let mut batches = Window::default();
        for _ in 0..count {
            batches.push(self.batch()?);
        }
        let last_timestamp = self.i64()?;
        Ok((id, self.tail(epoch, batches, last_timestamp)?))
    }

    fn tail(
        &mut self,
        epoch: i16,
        batches: Window,
        last_timestamp: Timestamp,
    ) -> Result<ProducerEntry, SnapshotError> {
        Ok(ProducerEntry {
            epoch,
            batches,
            last_timestamp,
            coordinator_epoch: self.i32()?,
            transaction_first_offset: self.i64()?,
        })
    }
}
