//! What becomes of one batch in a cleaning (S93, S94, KIP-534): pure.

use std::collections::HashMap;

use super::offset_map::OffsetMap;
use super::transactions::Transactions;
use crate::config::topic::{Compression, TopicSettings};
use crate::record::batch::{BatchError, BatchHeader, BatchView};
use crate::record::check::inflated_bytes_max;
use crate::record::{RecordView, empty, retain};
use crate::types::{Codec, Timestamp};

/// The producers that may go on writing to a log, by id: the batch that each needs to be remembered by stays.
pub type ActiveProducers = HashMap<i64, LastOfProducer>;

/// What a producer wrote last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastOfProducer {
    /// Its epoch.
    pub epoch: i16,
    /// Offset of its last data record; `None` if only a marker is known of it.
    pub last_offset: Option<i64>,
}

impl LastOfProducer {
    /// Whether this is the batch by which the producer is remembered.
    fn is(&self, header: &BatchHeader) -> bool {
        match self.last_offset {
            Some(last) => !header.attributes.is_control() && header.last_offset() == last,
            None => header.attributes.is_control() && header.producer_epoch == self.epoch,
        }
    }
}

/// What decides on records and batches.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    /// The last offset of each key of the dirty part.
    pub(super) map: &'a OffsetMap,
    /// The first offset that the map does not cover: from there on everything stays as it is.
    pub(super) end: i64,
    pub(super) now: Timestamp,
    /// `delete.retention.ms`.
    pub(super) delete_retention_ms: i64,
    /// The topic's own codec and level: a batch of that codec is compressed again with that level.
    pub(super) compression: Option<Compression>,
    pub(super) producers: &'a ActiveProducers,
    /// What the records of one batch may take once decompressed, in bytes.
    pub(super) records_bytes_max: usize,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, byte for byte.
    Stays,
    /// It goes.
    Goes,
    /// These bytes take its place.
    Becomes(Vec<u8>),
}

/// What becomes of a batch, and how many records it had and has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) fate: Fate,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// Where a batch stands in what is being written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// It stays even if its records go: it ends what its output segment covers, and tells where the log goes on.
    pub(super) frame_stays: bool,
    /// A segment can hold no more than what is left of the old ones: no delete horizon is set this time, since that
    /// writes each record's time longer.
    pub(super) is_tight: bool,
}

impl Rules<'_> {
    /// Decides on a batch.
    pub(super) fn judge(
        &self,
        batch: &BatchView<'_>,
        standing: Standing,
        transactions: &mut Transactions,
    ) -> Result<Judged, BatchError> {
        let header = batch.header();
        let count = usize::try_from(header.records_count).unwrap_or(0);
        if header.base_offset >= self.end {
            // Its transactions are those of the segment that is written all the same.
            if header.attributes.is_control() {
                transactions.marker(batch)?;
            } else {
                transactions.data(header);
            }
            return Ok(Judged { fate: Fate::Stays, before: count, after: count });
        }
        let remembers =
            header.has_producer_id() && self.producers.get(&header.producer_id).is_some_and(|p| p.is(header));
        let standing = Standing { frame_stays: standing.frame_stays || remembers, ..standing };
        if header.attributes.is_control() {
            self.judge_marker(batch, count, standing, transactions)
        } else {
            self.judge_data(batch, count, standing, transactions)
        }
    }

    fn judge_marker(
        &self,
        batch: &BatchView<'_>,
        count: usize,
        standing: Standing,
        transactions: &mut Transactions,
    ) -> Result<Judged, BatchError> {
        let header = batch.header();
        let is_done = transactions.marker(batch)?;
        if count == 0 || (is_done && self.horizon_passed(header)) {
            return Ok(without_records(header, count, standing.frame_stays));
        }
        let fate = match self.new_horizon(header, standing).filter(|_| is_done) {
            Some(horizon) => {
                let records = batch.records(self.records_bytes_max)?;
                Fate::Becomes(retain(&records, &vec![true; count], Some(horizon), self.codec_of(header)?)?)
            }
            None => Fate::Stays,
        };
        Ok(Judged { fate, before: count, after: count })
    }

    fn judge_data(
        &self,
        batch: &BatchView<'_>,
        count: usize,
        standing: Standing,
        transactions: &mut Transactions,
    ) -> Result<Judged, BatchError> {
        let header = batch.header();
        let was_aborted = transactions.data(header);
        let records = batch.records(self.records_bytes_max)?;
        let tombstones_go = self.horizon_passed(header);
        let (mut kept, mut has_tombstones) = (Vec::with_capacity(count.min(KEPT_HINT_MAX)), false);
        let mut next_delta = 0;
        for record in &records {
            let record = record?;
            if !(next_delta..=header.last_offset_delta).contains(&record.offset_delta) {
                return Err(BatchError::Record("its offset is not in its batch, or does not rise"));
            }
            next_delta = record.offset_delta.saturating_add(1);
            let stays = !was_aborted && self.keeps(&record, tombstones_go);
            has_tombstones |= stays && record.value.is_none() && record.offset < self.end;
            kept.push(stays);
        }
        let after = kept.iter().filter(|stays| **stays).count();
        if after == 0 {
            return Ok(without_records(header, count, standing.frame_stays));
        }
        let horizon = self.new_horizon(header, standing).filter(|_| has_tombstones);
        let fate = if after == count && horizon.is_none() {
            Fate::Stays
        } else {
            Fate::Becomes(retain(&records, &kept, horizon, self.codec_of(header)?)?)
        };
        Ok(Judged { fate, before: count, after })
    }

    /// Whether a record stays: it is its key's last, and not a tombstone whose time is up.
    fn keeps(&self, record: &RecordView<'_>, tombstones_go: bool) -> bool {
        if record.offset >= self.end {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_last = self.map.last(key).is_none_or(|last| record.offset >= last);
        is_last && (record.value.is_some() || !tombstones_go)
    }

    /// The horizon to be set, unless there is one, or no room for it.
    fn new_horizon(&self, header: &BatchHeader, standing: Standing) -> Option<Timestamp> {
        let has_one = header.attributes.has_delete_horizon();
        (!has_one && !standing.is_tight).then(|| self.now.saturating_add(self.delete_retention_ms.max(0)))
    }

    fn horizon_passed(&self, header: &BatchHeader) -> bool {
        header.attributes.has_delete_horizon() && header.base_timestamp <= self.now
    }

    fn codec_of(&self, header: &BatchHeader) -> Result<Compression, BatchError> {
        let codec = header.attributes.codec().ok_or(BatchError::Codec(header.attributes))?;
        Ok(self.compression.filter(|own| own.codec == codec).unwrap_or(Compression {
            codec,
            level: match codec {
                Codec::Gzip => GZIP_LEVEL,
                Codec::Zstd => ZSTD_LEVEL,
                Codec::None | Codec::Snappy | Codec::Lz4 => 0,
            },
        }))
    }
}

/// A batch that has lost its records, or never had any.
fn without_records(header: &BatchHeader, before: usize, frame_stays: bool) -> Judged {
    let fate = match (frame_stays, before) {
        (false, _) => Fate::Goes,
        (true, 0) => Fate::Stays,
        (true, _) => Fate::Becomes(empty(header)),
    };
    Judged { fate, before, after: 0 }
}

/// What the records of one batch of a topic may take once decompressed, in bytes: what may have been let in, but for what
/// would be a danger to the whole broker.
pub(super) fn records_bytes_max(settings: &TopicSettings) -> usize {
    inflated_bytes_max(settings).clamp(RECORDS_BYTES_FLOOR, RECORDS_BYTES_MAX)
}

/// Why a batch cannot be judged.
pub(super) fn unreadable(error: &BatchError) -> &'static str {
    match error {
        BatchError::Bomb { .. } => "its records take more memory than compaction may, once decompressed",
        _ => "its records cannot be read",
    }
}

/// The bounds of what a batch's records may take, in bytes. The setting that let it in may have been larger.
const RECORDS_BYTES_FLOOR: usize = 256 << 20;
const RECORDS_BYTES_MAX: usize = 1 << 30;
/// A count is only believed this far before records are there.
const KEPT_HINT_MAX: usize = 64 << 10;
/// The codecs' own levels, as in Kafka.
const GZIP_LEVEL: i32 = -1;
const ZSTD_LEVEL: i32 = 3;

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
