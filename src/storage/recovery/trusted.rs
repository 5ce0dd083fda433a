//! What the manifest's row vouches for: taken as it stands, and compared with what the directory shows.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use super::Recovery;
use crate::storage::checkpoint::read_epochs;
use crate::storage::epochs::Epochs;
use crate::storage::index::IndexTail;
use crate::storage::layout::{FileKind, LEADER_EPOCHS, segment_file_in};
use crate::storage::log::OpenError;
use crate::storage::manifest::{PartitionRow, SegmentRow};
use crate::storage::pread::Wait;
use crate::storage::quarantine::Bad;
use crate::storage::scan::{Rules, scan};
use crate::storage::segment::{Facts, Segment, last_append};
use crate::storage::walk::Walk;

impl Recovery<'_> {
    /// After a clean stop the row tells everything: one look at the active file, and one at the epochs. `false` if they
    /// do not fit the row; then it is not the stop it claims to be.
    pub(super) fn take_row(&mut self) -> Result<bool, OpenError> {
        let Some(row) = self.row.clone() else { return Ok(false) };
        let Some(active) = row.segments.last() else { return Ok(false) };
        let at = row.checkpoint;
        let len =
            fs::metadata(segment_file_in(self.dir(), active.base, FileKind::Log)).map(|file| file.len());
        let rolled =
            active.base != at.offset && segment_file_in(self.dir(), at.offset, FileKind::Log).exists();
        let fits = active.base == at.segment && len.is_ok_and(|len| len == at.position) && !rolled;
        let epochs = read_epochs(&self.dir().join(LEADER_EPOCHS));
        let Ok(epochs) = epochs.map(Option::unwrap_or_default) else { return Ok(false) };
        let first = row.segments.first().map_or(0, |first| first.base);
        let has_epochs = !epochs.is_empty() || at.offset <= row.log_start.max(first);
        if !fits || !has_epochs {
            tracing::warn!(dir = %self.dir().display(), "the files do not fit a clean stop: recovering");
            return Ok(false);
        }
        self.epochs = Epochs::new(epochs);
        self.epochs_on_disk = self.epochs.clone();
        for segment in &row.segments {
            let serial = self.next_serial();
            let segment = self.segment_of(segment, serial, segment.bytes);
            self.segments.push(segment);
        }
        self.end = at.offset;
        self.last_is_active = true;
        Ok(true)
    }

    fn segment_of(&self, row: &SegmentRow, serial: u32, len: u64) -> Arc<Segment> {
        let mut facts = Facts::new(IndexTail::unloaded(), self.spec.clock.now_ms());
        facts.max_timestamp = row.max_timestamp;
        facts.appended_at = row.appended_at;
        let segment = Segment::new(row.base, serial, self.spec.dir.clone(), len, facts);
        segment.doubt().begin(len);
        self.add_known_damage(&segment);
        segment
    }

    /// Takes the segments below the checkpoint's from the row, drops files that it no longer lists, and reports what it
    /// lists and is not there.
    pub(super) fn take_below_checkpoint(&mut self) -> io::Result<()> {
        let Some(row) = self.row.clone() else { return Ok(()) };
        let at = self.checkpoint.segment;
        let stale: Vec<i64> = self
            .listing
            .logs
            .range(..at)
            .map(|(base, _)| *base)
            .filter(|base| !row.segments.iter().any(|segment| segment.base == *base))
            .collect();
        for base in stale {
            self.listing.unlink_segment(self.dir(), base);
        }
        let mut covered_to = i64::MIN;
        for nth in 0..row.segments.len() {
            let Some(segment) = row.segments.get(nth).filter(|segment| segment.base < at) else { break };
            if segment.base < covered_to {
                // What of it is left is in the compacted segment.
                self.listing.unlink_segment(self.dir(), segment.base);
                continue;
            }
            covered_to = self.take_sealed(&row, nth)?.unwrap_or(covered_to);
        }
        Ok(())
    }

    /// Takes one sealed segment. Returns the offset up to which it reaches if that is further than the row says: then
    /// a compaction was swapped in before its row was put, and the segments in between are covered by this one.
    fn take_sealed(&mut self, row: &PartitionRow, nth: usize) -> io::Result<Option<i64>> {
        let Some(listed) = row.segments.get(nth) else { return Ok(None) };
        let next = row.segments.get(nth + 1).map_or(self.checkpoint.segment, |next| next.base);
        let serial = self.next_serial();
        let Some(file) = self.listing.logs.get(&listed.base).copied() else {
            let segment = self.segment_of(listed, serial, 0);
            let why = "the file is missing";
            self.damage(&segment, Bad { from: 0, to: u64::MAX, first: listed.base, next, why });
            self.segments.push(segment);
            return Ok(None);
        };
        let segment = self.segment_of(listed, serial, file.len);
        self.segments.push(segment.clone());
        let has_length = file.len == listed.bytes;
        if has_length && (next == self.checkpoint.segment || self.listing.logs.contains_key(&next)) {
            return Ok(None);
        }
        // Another length, or no successor: only a compaction's output may have that, and it is sound and ends where a
        // segment begins.
        let rules = Rules { base: listed.base, next: listed.base, exact: false, limit: i64::MAX, reach: 0 };
        let log = File::open(segment.path(FileKind::Log))?;
        let mut max = -1;
        let scanned = scan(&log, 0, file.len, rules, &mut self.buffer, &mut |found| {
            max = max.max(found.header.newest_record());
        })?;
        let ends = row.segments.iter().map(|segment| segment.base).chain([self.checkpoint.segment]);
        let is_swapped = scanned.stop.is_none()
            && scanned.next >= next
            && ends.into_iter().any(|base| base == scanned.next);
        if is_swapped {
            let covered =
                row.segments.iter().filter(|other| (listed.base..scanned.next).contains(&other.base));
            let mut facts = segment.facts();
            facts.max_timestamp = max;
            facts.appended_at = last_append(covered.map(|other| other.appended_at));
            return Ok(Some(scanned.next));
        }
        if has_length {
            return Ok(None);
        }
        if scanned.end >= listed.bytes && scanned.next <= next {
            // All that was durable is there, and something behind it that nobody asks for.
            tracing::warn!(file = %segment.path(FileKind::Log).display(), bytes = listed.bytes, "bytes behind a sealed segment are passed over");
            segment.commit(listed.bytes);
            return Ok(None);
        }
        let known = segment.all_bad();
        if !known.iter().any(|bad| bad.holds(scanned.end)) {
            let why = "the file does not have the length that was durable";
            self.quarantine(&segment, &log, (listed.bytes, next), scanned.end, why)?;
        }
        Ok(None)
    }

    /// Where the way to the checkpoint is not as the row says: a batch has to end there, with the offset before it.
    pub(super) fn misses_checkpoint(&self, segment: &Arc<Segment>, file: &File) -> io::Result<Option<u64>> {
        let (position, offset) = (self.checkpoint.position, self.checkpoint.offset);
        if position == 0 {
            return Ok(None);
        }
        let opened = segment.open(&self.spec.files, Wait::MayBlock)?;
        let near = segment.floor(&opened, &self.spec.files, Wait::MayBlock, |entry| {
            entry.position > 0 && u64::from(entry.position) < position
        })?;
        let mut reached = 0;
        for from in [near.map_or(0, |entry| u64::from(entry.position)), 0] {
            let mut walk = Walk::new(file, from, position, Wait::MayBlock);
            let mut next = 0;
            reached = from;
            while let Ok(Some(step)) = walk.next() {
                (reached, next) = (step.end(), step.header.next_offset());
            }
            if reached == position && next <= offset {
                return Ok(None);
            }
        }
        Ok(Some(reached))
    }
}
