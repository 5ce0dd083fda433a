//! Reading a manifest: which rows it holds and how far it can be believed. Pure over the file's bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::codec::{self, Encoder, HEADER_LEN, Header, Record};
use super::{Checkpoint, PartitionRow, Verdict};
use crate::types::{TopicId, TopicPartition};

/// Rows by partition.
pub(super) type Rows = HashMap<TopicPartition, Arc<PartitionRow>>;

/// What a manifest's bytes say.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) rows: Rows,
    pub(super) verdict: Verdict,
    /// Where the next frame goes: behind the last that counts.
    pub(super) end: u64,
    /// Bytes behind it, left by a write that a crash cut short.
    pub(super) torn_bytes: u64,
    /// Where the snapshot ends and the appended frames begin.
    pub(super) snapshot_end: u64,
}

/// A new manifest's bytes: a header and these rows, which must come sorted by topic to be short.
pub(super) fn snapshot<'a>(rows: impl Iterator<Item = &'a Arc<PartitionRow>>) -> Vec<u8> {
    let mut encoder = Encoder::new(HEADER_LEN as u64);
    let mut count = 0_u32;
    for row in rows {
        encoder.push(&Record::Row(row.clone()));
        count = count.saturating_add(1);
    }
    let frames = encoder.finish();
    let header = Header { snapshot_bytes: frames.len() as u64, rows: count };
    let mut bytes = Vec::with_capacity(HEADER_LEN + frames.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&frames);
    bytes
}

/// Reads a manifest. Never fails: what cannot be believed is in the verdict.
///
/// Of a damaged manifest every row that can still be found is given, for its log start and its name, but none of its
/// checkpoints: a lost row may have moved what an older one speaks of.
pub(super) fn load(bytes: &[u8]) -> Loaded {
    let header = match Header::decode(bytes) {
        Ok(header) => header,
        Err(why) => return Loaded::damaged(why),
    };
    let rest = bytes.len() - HEADER_LEN;
    let Some(snapshot_bytes) = usize::try_from(header.snapshot_bytes).ok().filter(|n| *n <= rest) else {
        let mut reader = Reader::new(bytes, bytes.len(), &header);
        reader.run();
        reader.damage.get_or_insert_with(|| "its snapshot is cut short".into());
        return reader.finish();
    };
    let mut reader = Reader::new(bytes, HEADER_LEN + snapshot_bytes, &header);
    reader.run();
    reader.finish()
}

impl Loaded {
    fn damaged(why: String) -> Self {
        Self {
            rows: Rows::new(),
            verdict: Verdict::Damaged(why),
            end: HEADER_LEN as u64,
            torn_bytes: 0,
            snapshot_end: HEADER_LEN as u64,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the next frame is looked for.
    at: usize,
    snapshot_end: usize,
    rows: Rows,
    names: HashMap<TopicId, Arc<str>>,
    /// Whether the last record said that the broker stopped.
    stopped: bool,
    damage: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], snapshot_end: usize, header: &Header) -> Self {
        // A row takes ten bytes at least, so the header's word cannot reserve more than the file justifies.
        let rows = (header.rows as usize).min(bytes.len() / 10);
        Self {
            bytes,
            at: HEADER_LEN,
            snapshot_end,
            rows: Rows::with_capacity(rows),
            names: HashMap::new(),
            stopped: false,
            damage: None,
        }
    }

    fn run(&mut self) {
        while let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
            match codec::frame(rest) {
                Some(frame) => {
                    let in_snapshot = self.at < self.snapshot_end;
                    self.apply(frame.payload);
                    self.at += frame.bytes;
                    if in_snapshot && self.at > self.snapshot_end {
                        self.harm(self.snapshot_end, "the snapshot does not end with a frame");
                    }
                }
                None => match self.known_behind(rest) {
                    Some(skipped) => {
                        self.harm(self.at, "a frame is bad");
                        self.at += skipped;
                    }
                    None if self.at < self.snapshot_end => {
                        self.harm(self.at, "a frame is bad");
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    /// How far behind a bad frame the next one stands that proves it was whole once; `None` if nothing does.
    fn known_behind(&self, rest: &[u8]) -> Option<usize> {
        let mut skipped = 0;
        loop {
            let (distance, frame) = codec::next_frame(rest.get(skipped..)?)?;
            skipped += distance;
            if self.at < self.snapshot_end || frame.synced > self.at as u64 {
                return Some(skipped);
            }
        }
    }

    fn apply(&mut self, payload: &[u8]) {
        let Self { rows, names, stopped, .. } = self;
        let intern = |id: TopicId, name: &str| match names.entry(id) {
            Entry::Occupied(known) if &**known.get() == name => known.get().clone(),
            Entry::Occupied(mut known) => {
                known.insert(name.into());
                known.get().clone()
            }
            Entry::Vacant(new) => new.insert(name.into()).clone(),
        };
        let each = |record| {
            *stopped = matches!(record, Record::Stopped(_));
            match record {
                Record::Row(row) => {
                    rows.insert(row.id, row);
                }
                Record::Remove(id) => {
                    rows.remove(&id);
                }
                Record::Started(_) | Record::Stopped(_) => {}
            }
        };
        if let Err(why) = codec::records(payload, intern, each) {
            self.harm(self.at, why);
        }
    }

    fn harm(&mut self, at: usize, why: &str) {
        self.damage.get_or_insert_with(|| format!("{why} at byte {at}"));
    }

    fn finish(mut self) -> Loaded {
        let torn_bytes = (self.bytes.len() - self.at) as u64;
        let verdict = match self.damage {
            Some(why) => {
                for row in self.rows.values_mut() {
                    let row = Arc::make_mut(row);
                    row.checkpoint = Checkpoint::NONE;
                    row.segments.clear();
                    row.producers = false;
                }
                Verdict::Damaged(why)
            }
            None if self.stopped && torn_bytes == 0 => Verdict::Clean,
            None => Verdict::Unclean,
        };
        Loaded {
            rows: self.rows,
            verdict,
            end: self.at as u64,
            torn_bytes,
            snapshot_end: self.snapshot_end as u64,
        }
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
