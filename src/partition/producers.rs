//! Idempotent producers of one partition (KIP-98): who wrote what last, so that a retry is recognised and a gap refused.
//!
//! Pure. The append section *stages* each batch here while it gathers a write; a write that fails is rolled back with
//! [`Producers::roll_back`], one that succeeds is kept with [`Producers::commit`]. Recovery replays the log through
//! [`Producers::replay`]. The state is saved in two forms: Kafka's `.snapshot` (the last batch of each producer) when a
//! segment rolls, and our own (all five batches) at checkpoints, so that a crash forgets none of the window.

use std::collections::HashMap;

use crate::record::batch::BatchHeader;
use crate::storage::compaction::{ActiveProducers, LastOfProducer};
use crate::types::offset::{NO_EPOCH, NO_OFFSET, NO_PRODUCER_ID, saturate_i32, sequence_after};
use crate::types::{ErrorCode, Timestamp};

/// How many of a producer's last batches are remembered (Kafka's `NUM_BATCHES_TO_RETAIN`): as many as a client may have
/// in flight with idempotence.
pub const WINDOW_BATCHES: usize = 5;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenBatch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its last offset less its first.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

impl SeenBatch {
    /// Offset of its first record.
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        saturate_i32(if first < 0 { first + i64::from(i32::MAX) + 1 } else { first })
    }
}

/// What is known of one producer on this partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer's epoch.
    pub epoch: i16,
    /// Its last batches, oldest first; at most [`WINDOW_BATCHES`].
    pub batches: Window,
    /// When it last wrote, by its batches' timestamps; decides expiry.
    pub last_timestamp: Timestamp,
    /// Epoch of the transaction coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, or -1.
    pub transaction_first_offset: i64,
}

/// At most [`WINDOW_BATCHES`] batches, oldest first, without an allocation of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    batches: [Option<SeenBatch>; WINDOW_BATCHES],
}

impl Window {
    fn push(&mut self, batch: SeenBatch) {
        if let Some(free) = self.batches.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(batch);
        } else {
            self.batches.rotate_left(1);
            self.batches[WINDOW_BATCHES - 1] = Some(batch);
        }
    }

    /// The batches, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &SeenBatch> {
        self.batches.iter().flatten()
    }

    /// The newest batch.
    pub fn last(&self) -> Option<&SeenBatch> {
        self.iter().next_back()
    }
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Append,
    /// It is in the log already: answer with where it went then (S47).
    Duplicate(SeenBatch),
    /// Refuse it: `OUT_OF_ORDER_SEQUENCE_NUMBER` or `INVALID_PRODUCER_EPOCH` (S48, S49).
    Refuse(ErrorCode),
}

/// A saved state that does not read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged producer snapshot: {0}")]
pub struct SnapshotError(pub(crate) &'static str);

/// All producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    entries: HashMap<i64, ProducerEntry>,
    undo: Vec<(i64, Option<ProducerEntry>)>,
}

impl Producers {
    /// Looks at a batch of a producer that is about to be appended.
    pub fn check(&self, header: &BatchHeader) -> Verdict {
        if header.producer_id == NO_PRODUCER_ID {
            return Verdict::Append;
        }
        let Some(entry) = self.entries.get(&header.producer_id) else {
            return Verdict::Append;
        };
        if header.producer_epoch < entry.epoch {
            return Verdict::Refuse(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > entry.epoch {
            return match header.base_sequence {
                0 => Verdict::Append,
                _ => Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let last_sequence = header.last_sequence();
        let twin = entry.batches.iter().find(|batch| {
            batch.last_sequence == last_sequence && batch.first_sequence() == header.base_sequence
        });
        if let Some(batch) = twin {
            return Verdict::Duplicate(*batch);
        }
        match entry.batches.last() {
            Some(last) if sequence_after(last.last_sequence, 1) != header.base_sequence => {
                Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber)
            }
            _ => Verdict::Append,
        }
    }

    /// Takes a batch as appended at `base_offset`, until [`Producers::commit`] or [`Producers::roll_back`].
    pub fn stage(&mut self, header: &BatchHeader, base_offset: i64) {
        if header.producer_id == NO_PRODUCER_ID {
            return;
        }
        self.undo.push((header.producer_id, self.entries.get(&header.producer_id).cloned()));
        self.enter(header, base_offset);
    }

    /// The staged batches are in the log.
    pub fn commit(&mut self) {
        self.undo.clear();
    }

    /// The staged batches are not in the log.
    pub fn roll_back(&mut self) {
        while let Some((id, entry)) = self.undo.pop() {
            match entry {
                Some(entry) => self.entries.insert(id, entry),
                None => self.entries.remove(&id),
            };
        }
    }

    /// Takes a batch found in the log, by its own offsets.
    pub fn replay(&mut self, header: &BatchHeader) {
        if header.producer_id != NO_PRODUCER_ID && !header.attributes.is_control() {
            self.enter(header, header.base_offset);
        }
    }

    fn enter(&mut self, header: &BatchHeader, base_offset: i64) {
        let entry = self.entries.entry(header.producer_id).or_insert_with(|| ProducerEntry {
            epoch: header.producer_epoch,
            batches: Window::default(),
            last_timestamp: header.max_timestamp,
            coordinator_epoch: NO_EPOCH,
            transaction_first_offset: NO_OFFSET,
        });
        if entry.epoch != header.producer_epoch {
            entry.epoch = header.producer_epoch;
            entry.batches = Window::default();
        }
        entry.last_timestamp = header.max_timestamp;
        entry.batches.push(SeenBatch {
            last_sequence: header.last_sequence(),
            last_offset: base_offset + i64::from(header.last_offset_delta),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
    }

    /// Forgets producers that have not written since `before` (`producer.id.expiration.ms`); those with an open
    /// transaction stay. Returns how many went.
    pub fn expire(&mut self, before: Timestamp) -> usize {
        let count = self.entries.len();
        self.entries
            .retain(|_, entry| entry.last_timestamp >= before || entry.transaction_first_offset != NO_OFFSET);
        count - self.entries.len()
    }

    /// What each producer wrote last: compaction keeps the batches that say so.
    pub fn lasts(&self) -> ActiveProducers {
        let last = |entry: &ProducerEntry| LastOfProducer {
            epoch: entry.epoch,
            last_offset: entry.batches.last().map(|batch| batch.last_offset),
        };
        self.entries.iter().map(|(id, entry)| (*id, last(entry))).collect()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of this producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// Kafka's `.snapshot` file: the last batch of each producer.
    pub fn to_kafka_snapshot(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.entries.len() * KAFKA_ENTRY_LEN);
        body.extend_from_slice(&saturate_i32(self.entries.len()).to_be_bytes());
        for (id, entry) in self.sorted() {
            let last = entry.batches.last().copied().unwrap_or(NOTHING_SEEN);
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

    /// Everybody who is known, by id.
    pub fn sorted(&self) -> Vec<(i64, &ProducerEntry)> {
        let mut all: Vec<_> = self.entries.iter().map(|(&id, entry)| (id, entry)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
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
        Ok(Self { entries, undo: Vec::new() })
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
        if last.last_sequence >= 0 {
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

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
