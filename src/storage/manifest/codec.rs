//! The manifest's bytes: header, frames, records. Pure; nothing here touches a file.
//!
//! ```text
//! header  "streamdM" | version u32 | snapshot_bytes u64 | rows u32 | crc32c u32          (28 bytes, little endian)
//! frame   mark u32 | length u32 | synced u64 | crc32c u32 of length, synced and payload | payload
//! payload records, back to back:
//!   1 topic   id 16 bytes, name length varint, name      the rows behind it, in this frame, are this topic's
//!   2 row     partition, log start, checkpoint, flags, segments (varints; see `put_row`)
//!   3 remove  id 16 bytes, partition
//!   4 started time        5 stopped time
//!   6 row of a partition in whose segments transactions were aborted: as 2, and which ones, how many, crc32c
//! ```
//! The first `snapshot_bytes` of frames were written at once, before the file got its name; the rest is appended.
//! `synced` is the length of the file that was known to be on disk when the frame was written: a bad frame below the
//! `synced` of a later one is damage, any other is the torn end of what a crash cut short.

use std::sync::Arc;

use super::{Checkpoint, PartitionRow, SegmentRow};
use crate::storage::txn_index::AbortedSum;
use crate::types::{Timestamp, TopicId, TopicPartition};

/// One thing the manifest is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Row(Arc<PartitionRow>),
    Remove(TopicPartition),
    Started(Timestamp),
    Stopped(Timestamp),
}

/// The file's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Length of the snapshot's frames.
    pub(super) snapshot_bytes: u64,
    /// Rows in the snapshot; a hint for sizing.
    pub(super) rows: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (body, crc) = bytes.split_at_mut(HEADER_LEN - 4);
        let fields = MAGIC
            .into_iter()
            .chain(VERSION.to_le_bytes())
            .chain(self.snapshot_bytes.to_le_bytes())
            .chain(self.rows.to_le_bytes());
        for (byte, field) in body.iter_mut().zip(fields) {
            *byte = field;
        }
        crc.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        bytes
    }

    /// The format of a manifest that a later release wrote: its header is as long as ours and checksummed alike, so that
    /// a flipped bit is not taken for news.
    pub(super) fn newer_format(bytes: &[u8]) -> Option<u32> {
        let mut input = Input(bytes.get(..HEADER_LEN)?);
        if input.take(8)? != MAGIC {
            return None;
        }
        let version = input.u32().filter(|version| *version > VERSION)?;
        input.take(HEADER_LEN - 16)?;
        (bytes.get(..HEADER_LEN - 4).map(crc32c::crc32c) == input.u32()).then_some(version)
    }

    /// # Errors
    /// In which way the bytes are not a header of ours.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Input(bytes);
        if input.take(8).ok_or("it is shorter than its header")? != MAGIC {
            return Err("it does not begin as a manifest does".into());
        }
        let version = input.u32().ok_or("it is shorter than its header")?;
        if version != VERSION {
            return Err(format!("its format is {version}, not {VERSION}"));
        }
        let header = input.u64().zip(input.u32()).zip(input.u32());
        let ((snapshot_bytes, rows), crc) = header.ok_or("it is shorter than its header")?;
        if bytes.get(..HEADER_LEN - 4).map(crc32c::crc32c) != Some(crc) {
            return Err("the checksum of its header is wrong".into());
        }
        Ok(Self { snapshot_bytes, rows })
    }
}

/// Builds frames out of records.
#[derive(Debug)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    /// Where the frame that is being built begins, and the topic that its rows are of.
    open: Option<(usize, Option<TopicId>)>,
    synced: u64,
}

impl Encoder {
    /// `synced` goes into every frame.
    pub(super) fn new(synced: u64) -> Self {
        Self { bytes: Vec::new(), open: None, synced }
    }

    pub(super) fn push(&mut self, record: &Record) {
        match record {
            Record::Row(row) => {
                debug_assert!(is_sound(row), "a row that no reader would take: {row:?}");
                self.topic(row.id.topic, &row.topic);
                let has_aborted = row.segments.iter().any(|segment| segment.aborted.is_some());
                self.bytes.push(if has_aborted { KIND_ROW_ABORTED } else { KIND_ROW });
                put_row(&mut self.bytes, row);
                if has_aborted {
                    put_aborted(&mut self.bytes, row);
                }
            }
            Record::Remove(id) => {
                self.begin();
                self.bytes.push(KIND_REMOVE);
                self.bytes.extend_from_slice(id.topic.as_bytes());
                put_i64(&mut self.bytes, id.partition.into());
            }
            Record::Started(at) | Record::Stopped(at) => {
                self.begin();
                self.bytes.push(if matches!(record, Record::Started(_)) {
                    KIND_STARTED
                } else {
                    KIND_STOPPED
                });
                put_i64(&mut self.bytes, *at);
            }
        }
        let begun = self.open.map_or(0, |(start, _)| self.bytes.len() - start);
        if begun >= FRAME_BYTES_AIM {
            self.seal();
        }
    }

    /// Ends the last frame, and returns all of them.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.seal();
        self.bytes
    }

    fn begin(&mut self) {
        if self.open.is_none() {
            self.open = Some((self.bytes.len(), None));
            self.bytes.extend_from_slice(&[0; FRAME_HEAD_LEN]);
        }
    }

    fn topic(&mut self, id: TopicId, name: &str) {
        self.begin();
        if let Some((_, topic)) = &mut self.open
            && *topic != Some(id)
        {
            *topic = Some(id);
            self.bytes.push(KIND_TOPIC);
            self.bytes.extend_from_slice(id.as_bytes());
            put_u64(&mut self.bytes, name.len() as u64);
            self.bytes.extend_from_slice(name.as_bytes());
        }
    }

    fn seal(&mut self) {
        let Some((start, _)) = self.open.take() else { return };
        let Some((head, payload)) =
            self.bytes.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(FRAME_HEAD_LEN))
        else {
            return;
        };
        // A row of 100,000 segments takes 2 MB; a length past u32 cannot be.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let crc = frame_crc(length, self.synced, payload);
        let fields = FRAME_MARK
            .into_iter()
            .chain(length.to_le_bytes())
            .chain(self.synced.to_le_bytes())
            .chain(crc.to_le_bytes());
        for (byte, field) in head.iter_mut().zip(fields) {
            *byte = field;
        }
    }
}

/// A frame that was found whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) payload: &'a [u8],
    pub(super) synced: u64,
    /// Length with its head.
    pub(super) bytes: usize,
}

/// The frame at the front of `bytes`; `None` if there is no whole and right one.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut input = Input(bytes);
    if input.take(4)? != FRAME_MARK {
        return None;
    }
    let (length, synced, crc) = (input.u32()?, input.u64()?, input.u32()?);
    let payload = input.take(usize::try_from(length).ok()?)?;
    (frame_crc(length, synced, payload) == crc).then_some(Frame {
        payload,
        synced,
        bytes: FRAME_HEAD_LEN + payload.len(),
    })
}

/// The first whole frame that begins behind the front of `bytes`, and how far behind.
pub(super) fn next_frame(bytes: &[u8]) -> Option<(usize, Frame<'_>)> {
    let mut at = 1;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.windows(FRAME_MARK.len()).position(|window| window == FRAME_MARK)?;
        if let Some(frame) = frame(bytes.get(at..)?) {
            return Some((at, frame));
        }
        at += 1;
    }
}

fn frame_crc(length: u32, synced: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&length.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &synced.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

/// Reads a payload's records, giving each to `each`. `intern` keeps one copy of each topic's name.
///
/// # Errors
/// The payload is not what we write, although its checksum is right: a bug, or a format that is not ours.
pub(super) fn records(
    payload: &[u8],
    mut intern: impl FnMut(TopicId, &str) -> Arc<str>,
    mut each: impl FnMut(Record),
) -> Result<(), &'static str> {
    let mut input = Input(payload);
    let mut topic: Option<(TopicId, Arc<str>)> = None;
    while let Some(kind) = input.u8() {
        match kind {
            KIND_TOPIC => topic = Some(take_topic(&mut input, &mut intern).ok_or("a topic is cut short")?),
            KIND_ROW | KIND_ROW_ABORTED => {
                let (id, name) = topic.as_ref().ok_or("a row has no topic")?;
                let mut row = take_row(&mut input, *id, name).ok_or("a row is not well formed")?;
                if kind == KIND_ROW_ABORTED {
                    take_aborted(&mut input, &mut row)
                        .ok_or("a row's aborted transactions are not well formed")?;
                }
                each(Record::Row(Arc::new(row)));
            }
            KIND_REMOVE => {
                let id = take_id(&mut input).zip(input.i32());
                let (topic, partition) = id.ok_or("a removal is cut short")?;
                each(Record::Remove(TopicPartition { topic, partition }));
            }
            KIND_STARTED => each(Record::Started(input.i64().ok_or("a start is cut short")?)),
            KIND_STOPPED => each(Record::Stopped(input.i64().ok_or("a stop is cut short")?)),
            _ => return Err("a record is of no known kind"),
        }
    }
    Ok(())
}

fn take_topic(
    input: &mut Input<'_>,
    intern: &mut impl FnMut(TopicId, &str) -> Arc<str>,
) -> Option<(TopicId, Arc<str>)> {
    let id = take_id(input)?;
    let length = usize::try_from(input.varint()?).ok()?;
    let name = std::str::from_utf8(input.take(length)?).ok()?;
    Some((id, intern(id, name)))
}

fn take_id(input: &mut Input<'_>) -> Option<TopicId> {
    Some(TopicId::from_bytes(input.take(16)?.try_into().ok()?))
}

/// Offsets rise from log start to segments, so most numbers are small differences.
fn put_row(bytes: &mut Vec<u8>, row: &PartitionRow) {
    let checkpoint = &row.checkpoint;
    put_i64(bytes, row.id.partition.into());
    put_i64(bytes, row.log_start);
    put_i64(bytes, checkpoint.offset.wrapping_sub(row.log_start));
    put_i64(bytes, checkpoint.offset.wrapping_sub(checkpoint.segment));
    put_u64(bytes, checkpoint.position);
    put_i64(bytes, checkpoint.max_timestamp);
    bytes.push(u8::from(row.producers));
    put_u64(bytes, row.segments.len() as u64);
    let (mut base, mut time) = (row.log_start, checkpoint.max_timestamp);
    for segment in &row.segments {
        put_i64(bytes, segment.base.wrapping_sub(base));
        put_u64(bytes, segment.bytes);
        put_i64(bytes, segment.max_timestamp.wrapping_sub(time));
        put_i64(bytes, segment.appended_at.wrapping_sub(segment.max_timestamp));
        (base, time) = (segment.base, segment.max_timestamp);
    }
}

fn take_row(input: &mut Input<'_>, topic: TopicId, name: &Arc<str>) -> Option<PartitionRow> {
    let partition = input.i32()?;
    let log_start = input.i64()?;
    let offset = log_start.wrapping_add(input.i64()?);
    let segment = offset.wrapping_sub(input.i64()?);
    let (position, max_timestamp) = (input.varint()?, input.i64()?);
    let producers = match input.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let count = usize::try_from(input.varint()?).ok()?;
    // Each segment takes four bytes or more, so a count that the bytes cannot hold reserves nothing.
    if count > input.0.len() / 4 {
        return None;
    }
    let mut segments = Vec::with_capacity(count);
    let (mut base, mut time) = (log_start, max_timestamp);
    for _ in 0..count {
        base = base.wrapping_add(input.i64()?);
        let bytes = input.varint()?;
        time = time.wrapping_add(input.i64()?);
        let appended_at = time.wrapping_add(input.i64()?);
        segments.push(SegmentRow { base, bytes, max_timestamp: time, appended_at, aborted: None });
    }
    let checkpoint = Checkpoint { offset, segment, position, max_timestamp };
    let row = PartitionRow {
        id: TopicPartition { topic, partition },
        topic: name.clone(),
        log_start,
        checkpoint,
        segments,
        producers,
    };
    is_sound(&row).then_some(row)
}

/// How many segments have a sum; then for each how many without one stand before it, its entries and its checksum.
fn put_aborted(bytes: &mut Vec<u8>, row: &PartitionRow) {
    let sums = row.segments.iter().enumerate().filter_map(|(nth, segment)| Some((nth, segment.aborted?)));
    put_u64(bytes, sums.clone().count() as u64);
    let mut at = 0;
    for (nth, sum) in sums {
        put_u64(bytes, (nth - at) as u64);
        put_u64(bytes, sum.entries);
        bytes.extend_from_slice(&sum.crc.to_le_bytes());
        at = nth + 1;
    }
}

fn take_aborted(input: &mut Input<'_>, row: &mut PartitionRow) -> Option<()> {
    let count = input.varint()?;
    let mut segments = row.segments.iter_mut();
    for _ in 0..count {
        let before = usize::try_from(input.varint()?).ok()?;
        let sum = AbortedSum { entries: input.varint()?, crc: input.u32()? };
        segments.nth(before)?.aborted = Some(sum);
    }
    Some(())
}

/// What every row that we write keeps.
fn is_sound(row: &PartitionRow) -> bool {
    let checkpoint = &row.checkpoint;
    let rising = row.segments.windows(2).all(|pair| matches!(pair, [a, b] if a.base < b.base));
    row.id.partition >= 0
        && row.log_start >= 0
        && checkpoint.segment >= 0
        && checkpoint.segment <= checkpoint.offset
        && row.segments.first().is_none_or(|first| first.base >= 0)
        && rising
}

/// Unsigned LEB128.
fn put_u64(bytes: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        let [low, ..] = n.to_le_bytes();
        bytes.push(low | 0x80);
        n >>= 7;
    }
    let [low, ..] = n.to_le_bytes();
    bytes.push(low);
}

/// Zigzag, so that small negative numbers stay short.
fn put_i64(bytes: &mut Vec<u8>, n: i64) {
    put_u64(bytes, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

/// A cursor that cannot run past its bytes.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    fn i64(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    fn i32(&mut self) -> Option<i32> {
        self.i64()?.try_into().ok()
    }
}

pub(super) const HEADER_LEN: usize = 28;
pub(super) const FRAME_HEAD_LEN: usize = 20;
const MAGIC: [u8; 8] = *b"streamdM";
/// What later formats keep: the header's length, its version's place and its checksum.
pub(super) const VERSION: u32 = 1;
const FRAME_MARK: [u8; 4] = [0xa5, 0x5a, b'm', b'f'];
/// A frame is sealed once it is this long: rows share their topic's name within one, and a bad one costs no more.
const FRAME_BYTES_AIM: usize = 64 * 1024;
const KIND_TOPIC: u8 = 1;
const KIND_ROW: u8 = 2;
const KIND_REMOVE: u8 = 3;
const KIND_STARTED: u8 = 4;
const KIND_STOPPED: u8 = 5;
const KIND_ROW_ABORTED: u8 = 6;

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
