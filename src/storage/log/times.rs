//! Offsets by time, exact to the record (S85, S86): the time index narrows the search, batch headers narrow it further,
//! and the records of one batch decide.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::read::Finder;
use super::{LogReader, ReadError};
use crate::record::batch::{BatchError, BatchView};
use crate::storage::index::{TimeEntry, floor, open_existing};
use crate::storage::layout::FileKind;
use crate::storage::pread::{Wait, read_full};
use crate::storage::segment::Segment;
use crate::storage::segment_file::SegmentFile;
use crate::storage::walk::{Step, WalkFault};
use crate::types::Timestamp;
use crate::types::time::NO_TIMESTAMP;

/// A record's offset, time and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp; of a log-append-time batch, the batch's.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
}

/// A segment with the bounds that a search by time keeps to.
struct Searched {
    segment: Arc<Segment>,
    /// What of it can be read. A search passes over what is damaged.
    parts: Vec<Range<u64>>,
    /// The first offset behind it, or the search's upper bound if that is lower.
    next: i64,
    /// Whether the upper bound lies inside.
    is_cut: bool,
    max: Timestamp,
}

impl LogReader {
    /// The first record at or above the log's start and below `upper` whose timestamp is at least `target` (S86).
    /// Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn offset_for_time(&self, target: Timestamp, upper: i64) -> Result<Option<TimedOffset>, ReadError> {
        past_damage(|| self.first_at_or_after(target, upper))
    }

    fn first_at_or_after(&self, target: Timestamp, upper: i64) -> Result<Option<TimedOffset>, ReadError> {
        let start = self.start();
        for searched in self.searched(upper) {
            if searched.max < target || searched.next <= start {
                continue;
            }
            let found = self
                .search(&searched, target, |record| record.timestamp >= target && record.offset >= start)?;
            if found.is_some() {
                return Ok(found.filter(|found| found.offset < upper));
            }
        }
        Ok(None)
    }

    /// The first record below `upper` that has the largest timestamp (S85, `-3`). Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn max_timestamp(&self, upper: i64) -> Result<Option<TimedOffset>, ReadError> {
        past_damage(|| self.first_of_max(upper))
    }

    fn first_of_max(&self, upper: i64) -> Result<Option<TimedOffset>, ReadError> {
        let mut segments = self.searched(upper);
        for searched in segments.iter_mut().filter(|searched| searched.is_cut) {
            searched.max = self.max_below(searched)?;
        }
        loop {
            // The first of those with the largest timestamp.
            let best = segments.iter().enumerate().rev().max_by_key(|(_, searched)| searched.max);
            let Some((nth, best)) = best.filter(|(_, best)| best.max > NO_TIMESTAMP) else { return Ok(None) };
            let max = best.max;
            if let Some(found) = self.search(best, max, |record| record.timestamp == max)? {
                return Ok(Some(found));
            }
            // What was known of the segment came from a row, and the batch that had it was lost: read it.
            let exact = self.max_below(best)?;
            segments[nth].max = if exact < max { exact } else { NO_TIMESTAMP };
        }
    }

    /// The segments below `upper` of which anything can be read.
    fn searched(&self, upper: i64) -> Vec<Searched> {
        let state = self.log().state.lock();
        let upper = upper.min(state.end.offset);
        let below = state.segments.iter().enumerate().filter(|(_, segment)| segment.base() < upper);
        below
            .map(|(nth, segment)| {
                let is_last = nth + 1 == state.segments.len();
                let next = state.next_of(nth);
                let size = if is_last { state.end.position } else { segment.len() };
                Searched {
                    parts: segment.sound_parts(size),
                    segment: segment.clone(),
                    next: next.min(upper),
                    is_cut: upper < next,
                    max: segment.facts().max_timestamp,
                }
            })
            .filter(|searched: &Searched| !searched.parts.is_empty())
            .collect()
    }

    /// The first record of the segment that `wanted` accepts, in batches that reach `target`.
    fn search(
        &self,
        searched: &Searched,
        target: Timestamp,
        wanted: impl Fn(&TimedOffset) -> bool,
    ) -> Result<Option<TimedOffset>, ReadError> {
        let file = self.open(searched)?;
        for part in &searched.parts {
            let finder = self.finder(searched, &file, part);
            let mut position = match searched.parts.as_slice() {
                [_whole] => self.near_time(searched, &finder, |entry| entry.timestamp <= target)?,
                _ => part.start,
            };
            loop {
                let step = finder.first(position, |header| header.max_timestamp >= target)?;
                let Some(step) = step else { break };
                if step.header.base_offset >= searched.next {
                    return Ok(None);
                }
                if let Some(found) = first_record(&finder, &step, &wanted)? {
                    return Ok(Some(found));
                }
                position = step.end();
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the segment's batches below its bound.
    fn max_below(&self, searched: &Searched) -> Result<Timestamp, ReadError> {
        let file = self.open(searched)?;
        let mut max = NO_TIMESTAMP;
        let next = searched.next;
        for part in &searched.parts {
            let past = self.finder(searched, &file, part).first(part.start, |header| {
                let below = header.next_offset() <= next;
                if below {
                    max = max.max(header.newest_record());
                }
                !below
            })?;
            if past.is_some() {
                break;
            }
        }
        Ok(max)
    }

    /// A batch before which none reaches the timestamp of the last time entry that `below` accepts.
    fn near_time(
        &self,
        searched: &Searched,
        finder: &Finder<'_>,
        below: impl Fn(&TimeEntry) -> bool + Copy,
    ) -> Result<u64, ReadError> {
        let pending = searched.segment.facts().index.floor_pending_time(below);
        let entry = match pending {
            Some(entry) => Some(entry),
            None => {
                let times = open_existing(&self.log().dir, searched.segment.base(), FileKind::TimeIndex);
                let times = times.map_err(|error| finder.io(error))?;
                match times {
                    Some(times) => floor(&times, Wait::MayBlock, below).map_err(|error| finder.io(error))?,
                    None => None,
                }
            }
        };
        let Some(entry) = entry else { return Ok(0) };
        // The entry's batch is the first that reaches its timestamp. Indexes are hints: look whether it is there.
        let near = finder.near(|relative| relative <= entry.relative)?;
        let segment = &searched.segment;
        let step = finder.first(near, |header| segment.relative(header.last_offset()) >= entry.relative)?;
        let found = step.filter(|step| {
            segment.relative(step.header.last_offset()) == entry.relative
                && step.header.max_timestamp == entry.timestamp
        });
        if found.is_none() {
            finder.miss_index()?;
        }
        Ok(found.map_or(0, |step| step.position))
    }

    fn open(&self, searched: &Searched) -> Result<Arc<SegmentFile>, ReadError> {
        let file = searched.segment.open(&self.log().files, Wait::MayBlock);
        file.map_err(|error| ReadError::io(&searched.segment, error))
    }

    fn finder<'a>(
        &'a self,
        searched: &'a Searched,
        file: &'a Arc<SegmentFile>,
        part: &Range<u64>,
    ) -> Finder<'a> {
        let segment = &searched.segment;
        Finder { log: self.log(), segment, file, size: part.end, wait: Wait::MayBlock }
    }
}

/// Searches again when damage was met: it is known now, and is passed over. So is a segment that retention or
/// compaction took away while it was to be searched.
fn past_damage<T>(search: impl Fn() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let mut outcome = search();
    for _ in 0..DAMAGES_MET {
        match outcome {
            Err(ReadError::Damaged { .. } | ReadError::Mended { .. }) => outcome = search(),
            Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => outcome = search(),
            other => return other,
        }
    }
    outcome
}

/// The first record of the batch that `wanted` accepts.
fn first_record(
    finder: &Finder<'_>,
    step: &Step,
    wanted: &impl Fn(&TimedOffset) -> bool,
) -> Result<Option<TimedOffset>, ReadError> {
    // The walk has seen that the file holds the whole batch.
    let mut bytes = vec![0; step.header.total_len()];
    read_full(finder.file.log(), step.position, &mut bytes, Wait::MayBlock)
        .map_err(|error| finder.io(error))?;
    let damaged = |why| finder.fault(WalkFault::Bad(step.position, why));
    let batch = BatchView::parse(&bytes).map_err(|_| damaged("no batch where one has to be"))?;
    let leader_epoch = step.header.partition_leader_epoch;
    let timed = |offset, timestamp| TimedOffset { offset, timestamp, leader_epoch };
    let found = batch.find_time(RECORDS_BYTES_MAX, |offset, timestamp| wanted(&timed(offset, timestamp)));
    let found = found.map_err(|error| match error {
        BatchError::Codec(_) | BatchError::Inflate { .. } | BatchError::Bomb { .. } => {
            damaged("the records cannot be decompressed")
        }
        _ => damaged("a record cannot be read"),
    })?;
    Ok(found.map(|(offset, timestamp)| timed(offset, timestamp)))
}

/// Damaged stretches that one search may find.
const DAMAGES_MET: usize = 16;
/// What the records of one batch may take once decompressed, in bytes.
const RECORDS_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
#[path = "times_tests.rs"]
mod tests;
