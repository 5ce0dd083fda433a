//! From the checkpoint on the bytes decide: reading forward, batch by batch and segment by segment, to the end of what
//! is valid.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use rustix::fs::Advice;

use super::listing::LogFile;
use super::{Recovery, keep_end, set_aside};
use crate::storage::index::{IndexTail, OffsetEntry};
use crate::storage::layout::{FileKind, segment_file_in};
use crate::storage::log::{Replay, Replayed};
use crate::storage::proof::{batch_by_checksum, whole_batch_in};
use crate::storage::quarantine::{Bad, Span, batch_between};
use crate::storage::scan::{Found, Rules, Scanned, scan};
use crate::storage::segment::{Facts, Segment};
use crate::storage::txn_index;
use crate::types::offset::{non_negative, saturate_u32};

/// Where reading forward goes on after a segment.
enum After {
    /// In the segment with this base.
    Segment(i64),
    /// Nowhere: the log ends here.
    End,
}

/// What bytes are where a batch has to be and none is.
enum Judged {
    /// The end of the log.
    End,
    /// Damage, behind which the log goes on.
    Damage(Bad),
    /// A batch whose front was put right.
    Mended,
}

impl Recovery<'_> {
    /// Reads from the checkpoint to the end of what is valid, and puts aside what lies behind it.
    pub(super) fn read_forward(&mut self, replay: &mut dyn FnMut(Replay<'_>) -> Replayed) -> io::Result<()> {
        self.end = self.checkpoint.offset;
        let mut base = self.checkpoint.segment;
        let mut position = self.checkpoint.position;
        loop {
            let after = match self.listing.logs.get(&base).copied() {
                Some(log) if log.len >= position => self.read_segment(base, position, log, replay)?,
                log => self.miss_checkpoint(base, log)?,
            };
            self.drop_covered(base)?;
            match after {
                After::Segment(next) => base = next,
                After::End => break,
            }
            position = 0;
        }
        self.sieve.end(&mut self.epochs, self.spec.leader_epoch);
        self.set_rest_aside(base)
    }

    /// The checkpoint's segment is not there, or shorter than it was: damage. The log goes on at the checkpoint.
    fn miss_checkpoint(&mut self, base: i64, log: Option<LogFile>) -> io::Result<After> {
        let serial = self.next_serial();
        let len = log.map_or(0, |log| log.len);
        let mut facts = Facts::new(IndexTail::unloaded(), self.spec.clock.now_ms());
        facts.max_timestamp = self.checkpoint.max_timestamp;
        let segment = Segment::new(base, serial, self.spec.dir.clone(), len, facts);
        segment.doubt().begin(len);
        let why = if log.is_none() { "the file is missing" } else { "the file is shorter than it was" };
        // Batches that end on a boundary count; what is behind the last one was there and is not.
        match log {
            Some(_) => {
                let file = File::open(segment.path(FileKind::Log))?;
                let end = (self.checkpoint.position, self.checkpoint.offset);
                self.quarantine(&segment, &file, end, len, why)?;
            }
            None => {
                let next = self.checkpoint.offset;
                self.damage(&segment, Bad { from: 0, to: u64::MAX, first: base, next, why });
            }
        }
        self.segments.push(segment);
        self.last_is_active = false;
        Ok(self.next_segment(base, self.end))
    }

    /// Reads one segment from `position`, rebuilding its indexes, and cuts it if the log ends in it.
    fn read_segment(
        &mut self,
        base: i64,
        position: u64,
        log: LogFile,
        replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
    ) -> io::Result<After> {
        let file = OpenOptions::new().read(true).write(true).open(segment_file_in(
            self.dir(),
            base,
            FileKind::Log,
        ))?;
        forget_cached(&file, position)?;
        let segment = self.segment_to_read(base, position, log)?;
        let is_last = self.listing.logs.range(base + 1..).next().is_none();
        let rules = Rules {
            base,
            next: self.end.max(base),
            exact: !self.manifest_lost || is_last,
            limit: i64::MAX,
            reach: 0,
        };
        if base == self.checkpoint.segment
            && let Some(bad) = self.misses_checkpoint(&segment, &file)?
        {
            let end = (self.checkpoint.position, self.checkpoint.offset);
            self.quarantine(&segment, &file, end, bad, "a batch that was durable is not there")?;
        }
        let scanned = self.scan_segment(&segment, &file, position, log.len, rules, replay)?;
        segment.commit(scanned.end);
        self.segments.push(segment.clone());
        self.report.scanned_bytes += scanned.end - position;
        self.report.batches += scanned.batches;
        self.end = scanned.next;
        let after = self.after(&segment, &scanned);
        let goes_on = matches!(after, After::Segment(_));
        // What is missing at a file's end leaves no place to go on in it.
        let is_open_ended = segment.all_bad().last().is_some_and(|bad| bad.to == u64::MAX);
        self.last_is_active = !goes_on && !is_open_ended;
        if !goes_on {
            self.cut(&segment, &file, log, &scanned)?;
        }
        if scanned.end > position || scanned.end < log.len {
            self.scanned.push(segment.clone());
        }
        let pending = segment.facts().index.has_pending();
        let indexed = match (goes_on, pending) {
            (true, _) => segment.seal_index(),
            (false, true) => segment.flush_index(true),
            (false, false) => Ok(()),
        };
        if let Err(error) = indexed.and_then(|()| segment.flush_aborted()) {
            tracing::warn!(dir = %self.dir().display(), %error, "cannot write an index: it stays behind");
        }
        Ok(after)
    }

    /// Cuts the segment in which the log ends, and keeps a copy of what may have been acknowledged.
    fn cut(&mut self, segment: &Segment, file: &File, log: LogFile, scanned: &Scanned) -> io::Result<()> {
        let path = segment.path(FileKind::Log);
        let mut behind = None;
        if scanned.end < log.len {
            let offsets = scanned.next..segment.base().saturating_add(i64::from(i32::MAX));
            // A torn write leaves nothing whole there.
            behind = whole_batch_in(file, scanned.end..log.len, offsets)?;
            if self.manifest_lost || behind.is_some() {
                self.report.set_aside.push(keep_end(&path, scanned.end)?);
            }
        }
        if scanned.end < log.len || log.has_reserve() && self.spec.kept_bytes == 0 {
            // Frees what was reserved behind the end, too.
            file.set_len(scanned.end)?;
        }
        if let Some(why) = scanned.stop {
            self.report.truncated_bytes += log.len - scanned.end;
            let mut cut = format!("{}: byte {}: {why}", path.display(), scanned.end);
            if let Some((position, offset)) = behind {
                let _ = write!(cut, "; offset {offset} at byte {position} is whole");
            }
            self.report.cut = Some(cut);
        }
        Ok(())
    }

    fn segment_to_read(&mut self, base: i64, position: u64, log: LogFile) -> io::Result<Arc<Segment>> {
        let relative = saturate_u32((self.end - base).max(0));
        let relative = if position == 0 { 0 } else { relative };
        let index = IndexTail::cut(self.dir(), base, position, relative)?;
        let last_time = index.last_time();
        let mut facts = Facts::new(index, self.spec.clock.now_ms());
        facts.appended_at = log.modified;
        if position > 0 {
            facts.max_timestamp = self.checkpoint.max_timestamp;
            let known = last_time.filter(|last| last.timestamp == self.checkpoint.max_timestamp);
            facts.max_relative = known.map(|last| last.relative);
        }
        let serial = self.next_serial();
        let segment = Segment::new(base, serial, self.spec.dir.clone(), log.len, facts);
        match self.remade_aborted.remove(&base) {
            Some(entries) => segment.aborted().was_remade(entries),
            None => {
                // Of one that is read from its front, all is made again.
                let sound_to = if position == 0 { i64::MIN } else { self.end };
                segment.aborted().was_cut(txn_index::cut(&segment.path(FileKind::TxnIndex), sound_to)?);
            }
        }
        // Only what the checkpoint vouches for is not read now.
        segment.doubt().begin(position);
        self.add_known_damage(&segment);
        Ok(segment)
    }

    /// Reads the segment's batches from `position` to the end of what is valid, past what is known to be damaged.
    fn scan_segment(
        &mut self,
        segment: &Segment,
        file: &File,
        position: u64,
        len: u64,
        mut rules: Rules,
        replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
    ) -> io::Result<Scanned> {
        let mut from = position;
        let mut batches = 0;
        let mut mended = None;
        loop {
            let known = segment.all_bad().into_iter().find(|bad| bad.from >= from);
            let to = known.map_or(len, |bad| bad.from.min(len));
            let mut scanned = self.scan_part(segment, file, from, to, rules, replay)?;
            scanned.batches += batches;
            let bad = match (scanned.stop, known) {
                (None, None) => return Ok(scanned),
                (None, Some(bad)) => bad,
                // What was put right and is still refused is no batch that belongs here.
                (Some(_), _) if mended == Some(scanned.end) => return Ok(scanned),
                (Some(why), _) => match self.judge(segment, file, &scanned, why, to)? {
                    Judged::Damage(bad) => bad,
                    Judged::Mended => {
                        mended = Some(scanned.end);
                        (from, batches, rules.next) = (scanned.end, scanned.batches, scanned.next);
                        continue;
                    }
                    Judged::End => return Ok(scanned),
                },
            };
            if bad.to >= len {
                return Ok(Scanned { end: len, next: bad.next, stop: None, ..scanned });
            }
            (from, batches) = (bad.to, scanned.batches);
            rules.next = bad.next;
        }
    }

    /// What bytes are that are no batch: the end of the log, unless all that is wrong is the front of a batch, as
    /// another that follows on it or its checksum shows. Without the manifest nobody knows what was durable, and bad
    /// bytes that a valid segment follows are damage.
    fn judge(
        &mut self,
        segment: &Segment,
        file: &File,
        scanned: &Scanned,
        why: &'static str,
        to: u64,
    ) -> io::Result<Judged> {
        let span = Span { base: segment.base(), from: (scanned.end, scanned.next), to: (to, i64::MAX) };
        if let Some(bad) = batch_between(file, span, why)?
            && self.mend(segment, file, &bad)
        {
            return Ok(Judged::Mended);
        }
        if let Some(bad) = batch_by_checksum(file, scanned.end..to, scanned.next, why)?
            && self.mend(segment, file, &bad)
        {
            return Ok(Judged::Mended);
        }
        if !self.manifest_lost {
            return Ok(Judged::End);
        }
        let Some(next) = self.valid_segment_behind(segment.base()) else { return Ok(Judged::End) };
        if self.quarantine(segment, file, (segment.len(), next), scanned.end, why)? {
            return Ok(Judged::Mended);
        }
        let bad = segment.all_bad().into_iter().find(|bad| bad.holds(scanned.end));
        Ok(bad.map_or(Judged::End, Judged::Damage))
    }

    fn scan_part(
        &mut self,
        segment: &Segment,
        file: &File,
        position: u64,
        len: u64,
        rules: Rules,
        replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
    ) -> io::Result<Scanned> {
        let interval = non_negative(self.spec.settings.index_interval_bytes) as u64;
        let (epochs, sieve, replay_from) = (&mut self.epochs, &mut self.sieve, self.replay_from);
        let first_epoch = self.epochs_on_disk.first().filter(|_| self.manifest_lost);
        let proven_start = &mut self.proven_start;
        let mut each = |found: &Found<'_>| {
            let header = &found.header;
            let relative = segment.relative(header.last_offset());
            let entry = OffsetEntry { relative, position: saturate_u32(found.position) };
            let spill = {
                let mut facts = segment.facts();
                facts.note(entry, header.total_len() as u64, header.newest_record(), interval);
                facts.index.wants_spill()
            };
            if spill {
                // Fewer entries if it fails: they are hints.
                let _ = segment.flush_index(true);
            }
            // A batch below the begin of its own epoch: the file was cut to the log's start, and that batch deleted.
            if let Some((epoch, start)) = first_epoch
                && header.base_offset < start
                && header.partition_leader_epoch == epoch
            {
                *proven_start = start;
            }
            sieve.note(epochs, header.partition_leader_epoch, header.base_offset);
            if header.last_offset() >= replay_from
                && let Replayed::Aborted(transaction) =
                    replay(Replay::Batch { header, control: found.control })
            {
                segment.aborted().push(transaction);
            }
        };
        scan(file, position, len, rules, &mut self.buffer, &mut each)
    }

    /// Where the log goes on behind what was read of a segment.
    fn after(&self, segment: &Segment, scanned: &Scanned) -> After {
        match scanned.stop {
            Some(_) => After::End,
            None => self.next_segment(segment.base(), scanned.next),
        }
    }

    /// The segment that begins at `next`. One further on counts if all in between lies below the log's start or the
    /// checkpoint: there an earlier recovery went on, since more was known to be durable than was found. If the
    /// manifest was lost any counts, for what lies in between may have been compacted away.
    fn next_segment(&self, base: i64, next: i64) -> After {
        let known = self.known_end();
        let mut behind = self.listing.logs.range(next.max(base + 1)..).map(|(base, _)| *base);
        match behind.next() {
            Some(found) if found == next || found <= known => After::Segment(found),
            Some(found) if self.manifest_lost => {
                if !self.spec.settings.compact {
                    tracing::warn!(
                        dir = %self.dir().display(), from = next, to = found,
                        "offsets are missing between two segments, and the manifest that could tell why is lost: \
                         compacted away once, or lost with the end of a file"
                    );
                }
                After::Segment(found)
            }
            _ => After::End,
        }
    }

    /// The first segment behind `base` that begins with a valid batch.
    fn valid_segment_behind(&mut self, base: i64) -> Option<i64> {
        let behind: Vec<_> = self.listing.logs.range(base + 1..).map(|(base, log)| (*base, *log)).collect();
        behind.into_iter().find_map(|(base, log)| {
            let file = File::open(segment_file_in(self.dir(), base, FileKind::Log)).ok()?;
            let rules = Rules { base, next: base, exact: false, limit: i64::MAX, reach: 0 };
            let scanned = scan(&file, 0, log.len, rules, &mut self.buffer, &mut |_| {}).ok()?;
            (scanned.batches > 0).then_some(base)
        })
    }

    /// Puts segments aside whose offsets the segment at `base` already holds.
    fn drop_covered(&mut self, base: i64) -> io::Result<()> {
        let covered: Vec<i64> = self
            .listing
            .logs
            .range(base + 1..)
            .map(|(base, _)| *base)
            .take_while(|base| *base < self.end)
            .collect();
        covered.into_iter().try_for_each(|base| self.put_aside(base))
    }

    /// The log ends in the segment at `base`: what lies behind it does not count.
    fn set_rest_aside(&mut self, base: i64) -> io::Result<()> {
        let rest: Vec<i64> = self.listing.logs.range(base + 1..).map(|(base, _)| *base).collect();
        rest.into_iter().try_for_each(|base| self.put_aside(base))
    }

    fn put_aside(&mut self, base: i64) -> io::Result<()> {
        let log = self.listing.logs.remove(&base);
        let path = segment_file_in(self.dir(), base, FileKind::Log);
        if log.is_some_and(|log| log.len == 0) {
            fs::remove_file(&path)?;
        } else {
            self.report.set_aside.push(set_aside(&path)?);
        }
        self.listing.unlink_segment(self.dir(), base);
        Ok(())
    }
}

/// Drops clean cached pages from `position` on: after a failed write-back they lie. Dirty ones, as after kill -9, are
/// true and stay.
fn forget_cached(file: &File, position: u64) -> io::Result<()> {
    let from = position / FOLIO_BYTES * FOLIO_BYTES;
    match rustix::fs::fadvise(file, from, None::<NonZeroU64>, Advice::DontNeed) {
        // A file system that knows no such advice has no such pages.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The largest piece of a file that the kernel caches as one, in bytes.
const FOLIO_BYTES: u64 = 2 << 20;
