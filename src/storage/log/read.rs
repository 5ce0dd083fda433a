//! How a read finds its bytes: which segment, from which batch, up to which batch, with as few looks at the disk as the
//! hints allow.
//!
//! A tail fetch knows its first place from its hint and its last from the watermark, so it costs one look under the
//! small lock and no I/O. Otherwise the index gives a place nearby and a walk over batch headers the exact one.

use std::io;
use std::sync::Arc;

use super::state::State;
use super::{Log, LogSlice, Place, ReadBatches, ReadError};
use crate::record::batch::BatchHeader;
use crate::storage::files::is_shortage;
use crate::storage::layout::FileKind;
use crate::storage::mend::differs;
use crate::storage::pread::Wait;
use crate::storage::quarantine::Bad;
use crate::storage::scan::{Rules, scan};
use crate::storage::segment::{At, Segment};
use crate::storage::segment_file::SegmentFile;
use crate::storage::walk::{Step, Walk, WalkFault};
use crate::types::offset::saturate_u32;

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) from: i64,
    pub(super) hint: Option<Place>,
    pub(super) max_bytes: usize,
    pub(super) upper: i64,
    pub(super) at_least_one: bool,
    pub(super) wait: Wait,
}

/// What the small lock tells about the segment in which a read goes on.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) segment: Arc<Segment>,
    /// Where `from`'s batch begins, if that is known.
    start: Option<u64>,
    /// Published bytes of the segment.
    pub(super) size: u64,
    /// Where the upper bound lies in the segment, if that is known.
    stop: Option<u64>,
    /// The first offset behind the segment.
    pub(super) next: i64,
    is_active: bool,
}

impl Stretch {
    fn of(state: &State, from: i64, upper: i64, hint: Option<Place>) -> Option<Self> {
        let nth = state.segment_at(from);
        let segment = state.segments.get(nth)?.clone();
        let is_active = nth + 1 == state.segments.len();
        let (size, next) = (state.size_of(nth), state.next_of(nth));
        let here = |place: &Place| {
            place.segment == segment.base() && place.serial == segment.serial() && place.position <= size
        };
        let start = if from == segment.base() {
            Some(0)
        } else {
            let hint = hint.filter(|hint| hint.offset == from && here(hint));
            hint.or_else(|| state.place_of(from).filter(here)).map(|place| place.position)
        };
        let stop = if upper >= next {
            Some(size)
        } else {
            state.place_of(upper).filter(here).map(|place| place.position)
        };
        Some(Self { segment, start, size, stop, next, is_active })
    }

    /// The place `position` of this segment as one that begins with `offset`.
    fn place(&self, offset: i64, position: u64) -> Place {
        Place { offset, segment: self.segment.base(), position, serial: self.segment.serial() }
    }
}

/// Where a part of a segment ends, and the offset behind it.
#[derive(Debug, Clone, Copy)]
struct Stop {
    position: u64,
    offset: i64,
    /// Whether the whole segment lies before it, so that the next one goes on.
    is_end: bool,
}

pub(super) fn read(log: &Log, request: Request) -> Result<ReadBatches, ReadError> {
    let upper = log.readable_end(&request)?;
    let mut out = ReadBatches::none(request.from);
    let mut from = request.from;
    let mut hint = request.hint;
    let (mut gone, mut met) = (0, 0);
    while from < upper && out.slices.len() < SLICES_MAX {
        let stretch = Stretch::of(&log.state.lock(), from, upper, hint);
        let Some(stretch) = stretch else { break };
        let stop = match read_stretch(log, &stretch, from, upper, &request, &mut out) {
            Ok(Some(stop)) => stop,
            Ok(None) => break,
            // Retention was faster than we: look again.
            Err(ReadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound && gone < RETRIES => {
                gone += 1;
                log.readable_end(&Request { from, ..request })?;
                continue;
            }
            Err(ReadError::Io { error, .. })
                if error.kind() == io::ErrorKind::NotFound && out.slices.is_empty() =>
            {
                return Err(log.miss_file(&stretch.segment, stretch.next));
            }
            // It was in the way and is not any more.
            Err(ReadError::Mended { .. }) if met < DAMAGES_MET => {
                met += 1;
                continue;
            }
            // Found on the way to an offset that is not in it.
            Err(ReadError::Damaged { damage, .. })
                if !(damage.first..damage.next).contains(&from) && met < DAMAGES_MET =>
            {
                met += 1;
                continue;
            }
            // What was read before the fault is good.
            Err(_) if !out.slices.is_empty() => break,
            Err(error) => return Err(error),
        };
        out.next = stretch.place(stop.offset, stop.position);
        let more = stop.is_end && !stretch.is_active && out.bytes < request.max_bytes;
        if !more {
            break;
        }
        from = stretch.next;
        hint = None;
        out.next.offset = from;
    }
    if out.slices.is_empty()
        && out.next.segment < 0
        && let Some(place) = log.state.lock().place_of(from)
    {
        out.next = place;
    }
    Ok(out)
}

/// Reads on in one segment. `None`: nothing (more) fits.
fn read_stretch(
    log: &Log,
    stretch: &Stretch,
    from: i64,
    upper: i64,
    request: &Request,
    out: &mut ReadBatches,
) -> Result<Option<Stop>, ReadError> {
    let segment = &stretch.segment;
    let wait = request.wait;
    if let Some(bad) = segment.bad().filter(Bad::is_all) {
        return Err(log.damaged(segment, &bad));
    }
    let at = stretch.start.map_or(At::Offset(from), At::Position);
    let around = segment.around(at, stretch.size).map_err(|bad| log.damaged(segment, &bad))?;
    let file = segment.open(&log.files, wait).map_err(|error| ReadError::io(segment, error))?;
    let finder = Finder { log, segment, file: &file, size: around.limit, wait };
    let start = match (stretch.start, around.behind) {
        (Some(start), _) => Some(start),
        (None, None) => finder.start_of(from, around.floor)?,
        // Not found before the damaged stretch is in it.
        (None, Some(bad)) => {
            Some(finder.start_of(from, around.floor)?.ok_or_else(|| log.damaged(segment, &bad))?)
        }
    };
    let Some(start) = start.filter(|start| *start < stretch.size) else {
        // Offsets at the segment's end that hold no batch: the next segment goes on.
        return Ok(Some(Stop { position: stretch.size, offset: stretch.next, is_end: true }));
    };
    // What lies behind a damaged stretch is not what follows on.
    let is_cut = around.behind.is_some();
    let room = request.max_bytes.saturating_sub(out.bytes);
    let known = stretch.stop.filter(|stop| !is_cut && *stop > start);
    let mut stop = match known {
        Some(stop) if stop - start <= room as u64 => {
            let offset = if stop == stretch.size { stretch.next.min(upper) } else { upper };
            Stop { position: stop, offset, is_end: false }
        }
        _ => {
            let first = request.at_least_one && out.slices.is_empty();
            finder.stop_behind(start, from, upper, room as u64, first)?
        }
    };
    stop.is_end = stop.position == stretch.size && !is_cut;
    if stop.position == start {
        if segment.doubt().covers(&(start..start + 1)) {
            finder.check_reach(start, stretch.next)?;
        }
        if out.slices.is_empty() {
            out.next = stretch.place(from, start);
        }
        return Ok(None);
    }
    stop = finder.short_of_suspects(start, stop, from, upper)?;
    if segment.doubt().covers(&(start..stop.position)) {
        stop = finder.check((start, from), stop, (around.limit, stretch.next))?;
    }
    let len = saturate_u32(stop.position - start);
    let map = if stretch.is_active { file.map(log.map_bytes(), &log.files) } else { None };
    let is_tail = stretch.is_active && start + TAIL_BYTES >= stretch.size;
    out.bytes += len as usize;
    out.slices.push(LogSlice { file, map, is_tail, position: start, len });
    Ok(Some(stop))
}

/// Looks for batches in one segment.
#[derive(Clone, Copy)]
pub(super) struct Finder<'a> {
    pub(super) log: &'a Log,
    pub(super) segment: &'a Arc<Segment>,
    pub(super) file: &'a Arc<SegmentFile>,
    /// Bytes of the file that may be looked at; a batch ends there.
    pub(super) size: u64,
    pub(super) wait: Wait,
}

impl Finder<'_> {
    /// Where the batch begins that holds `offset`, or the first one behind it; `None` at the segment's end. It lies at
    /// or behind `floor`.
    fn start_of(&self, offset: i64, floor: u64) -> Result<Option<u64>, ReadError> {
        let relative = self.segment.relative(offset);
        let near = self.near(|entry| entry <= relative)?.max(floor);
        let mut walked = 0;
        let step = self.first(near, |header| {
            walked += 1;
            header.last_offset() >= offset
        })?;
        let position = step.map(|step| step.position);
        if walked > WALK_BATCHES && position.unwrap_or(self.size) - near > WALK_BYTES {
            self.miss_index()?;
        }
        Ok(position)
    }

    /// The position of a batch whose last offset, relative to the base, satisfies `below` (which holds for all before
    /// it): the last one that the index knows, else the segment's first.
    pub(super) fn near(&self, below: impl Fn(u32) -> bool + Copy) -> Result<u64, ReadError> {
        let entry = self
            .segment
            .floor(self.file, &self.log.files, self.wait, |entry| below(entry.relative))
            .map_err(|error| self.io(error))?;
        match entry {
            Some(entry) if self.lands(u64::from(entry.position), entry.relative)? => {
                Ok(u64::from(entry.position))
            }
            Some(_) => self.miss_index().map(|()| 0),
            None => Ok(0),
        }
    }

    /// The index led nowhere, or not near enough. It is made anew once, by whoever may wait for the disk.
    pub(super) fn miss_index(&self) -> Result<(), ReadError> {
        if self.segment.can_reindex() {
            if self.wait == Wait::Never {
                return Err(ReadError::NotResident);
            }
            self.log.reindex(self.segment);
        }
        Ok(())
    }

    /// Whether a batch with this last offset begins at `position`: indexes are hints.
    fn lands(&self, position: u64, relative: u32) -> Result<bool, ReadError> {
        if position >= self.size {
            return Ok(false);
        }
        match Walk::new(self.file.log(), position, self.size, self.wait).next() {
            Ok(Some(step)) => Ok(self.segment.relative(step.header.last_offset()) == relative),
            Ok(None) | Err(WalkFault::Bad(..)) => Ok(false),
            Err(WalkFault::Io(error)) => Err(self.io(error)),
        }
    }

    /// The first batch from `position` on for which `wanted` holds.
    pub(super) fn first(
        &self,
        position: u64,
        mut wanted: impl FnMut(&BatchHeader) -> bool,
    ) -> Result<Option<Step>, ReadError> {
        let mut walk = Walk::new(self.file.log(), position, self.size, self.wait);
        while let Some(step) = walk.next().map_err(|fault| self.fault(fault))? {
            if wanted(&step.header) {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    /// How far whole batches from `start` (which holds `from`) reach within `room` bytes and below `upper`.
    fn stop_behind(
        &self,
        start: u64,
        from: i64,
        upper: i64,
        room: u64,
        first: bool,
    ) -> Result<Stop, ReadError> {
        let mut stop = Stop { position: start, offset: from, is_end: false };
        let hop = if room > HOP_BYTES { self.hop(start, upper, room)? } else { None };
        let mut walk = Walk::new(self.file.log(), hop.unwrap_or(start), self.size, self.wait);
        while let Some(step) = walk.next().map_err(|fault| self.fault(fault))? {
            if stop.position != step.position {
                // The index led here: all before this batch fits.
                stop = Stop { position: step.position, offset: step.header.base_offset, is_end: false };
            }
            let fits = step.end() - start <= room || (first && step.position == start);
            if step.header.next_offset() > upper || !fits {
                break;
            }
            stop = Stop { position: step.end(), offset: step.header.next_offset(), is_end: false };
        }
        Ok(stop)
    }

    /// The last batch that the index knows to begin within `room` bytes of `start` and to end below `upper`.
    fn hop(&self, start: u64, upper: i64, room: u64) -> Result<Option<u64>, ReadError> {
        let (limit, relative) = (start.saturating_add(room).min(self.size), self.segment.relative(upper));
        let entry = self
            .segment
            .floor(self.file, &self.log.files, self.wait, |entry| {
                u64::from(entry.position) <= limit && entry.relative < relative
            })
            .map_err(|error| self.io(error))?;
        match entry {
            Some(entry) if u64::from(entry.position) > start => {
                let position = u64::from(entry.position);
                Ok(self.lands(position, entry.relative)?.then_some(position))
            }
            _ => Ok(None),
        }
    }

    /// `stop`, or as far as can be read if something before it could not be read when it was last sent.
    fn short_of_suspects(&self, start: u64, stop: Stop, from: i64, upper: i64) -> Result<Stop, ReadError> {
        let tried = self.file.suspects().try_read(self.file.log(), start..stop.position, self.wait);
        let (readable, Some(error)) = tried.map_err(|error| self.io(error))? else { return Ok(stop) };
        let stop = self.stop_behind(start, from, upper, readable - start, false)?;
        if stop.position == start { Err(self.io(error)) } else { Ok(stop) }
    }

    /// Checks the batches from `start`, where `from` is, to `stop`: they are read for the first time since the log was
    /// opened. Returns how far they are sound; what follows is never served from then on. `limit` is where batches end,
    /// and the offset behind them.
    fn check(&self, (start, from): (u64, i64), stop: Stop, limit: (u64, i64)) -> Result<Stop, ReadError> {
        if self.wait == Wait::Never {
            return Err(ReadError::NotResident);
        }
        let (base, file) = (self.segment.base(), self.file.log());
        let rules = Rules { base, next: base, exact: false, limit: limit.1, reach: limit.0 };
        let mut sound = Stop { position: start, offset: base, is_end: false };
        let epochs = self.log.epochs();
        let (mut is_astray, mut is_misfit) = (false, false);
        let scanned = scan(file, start, stop.position, rules, &mut Vec::new(), &mut |found| {
            let (position, offset) =
                (found.position + found.header.total_len() as u64, found.header.next_offset());
            is_astray |= offset <= from;
            is_misfit |= differs(&epochs, &found.header).is_some();
            sound = Stop { position, offset, is_end: false };
        });
        if is_astray {
            // Its offset is lower than those of the batches before: they tell what it was.
            let why = "the batch's offset is not the one that was written";
            return Err(self.log.meet_damage(self.segment, file, start, why));
        }
        self.segment.doubt().lift(&(start..sound.position));
        if is_misfit && self.segment.take_epochs_look() {
            self.log.right_epochs(self.segment);
        }
        if sound.position == stop.position {
            return Ok(stop);
        }
        let fault = match scanned {
            Ok(scanned) => {
                let why = scanned.stop.unwrap_or("the batch is not whole");
                self.log.meet_damage(self.segment, file, scanned.end, why)
            }
            // No damage: the disk may give it next time.
            Err(error) => self.io(error),
        };
        if sound.position == start { Err(fault) } else { Ok(sound) }
    }

    /// Checks that the batch at `start`, which nobody was shown since the log was opened, does not reach past its segment.
    fn check_reach(&self, start: u64, next: i64) -> Result<(), ReadError> {
        let step = Walk::new(self.file.log(), start, self.size, self.wait).next();
        match step.map_err(|fault| self.fault(fault))? {
            Some(step) if step.header.next_offset() > next => {
                let why = "the batch's offsets reach into what follows";
                Err(self.fault(WalkFault::Bad(start, why)))
            }
            _ => Ok(()),
        }
    }

    /// What a walk that broke off means. Whoever may wait for the disk finds out how far the damage goes.
    pub(super) fn fault(&self, fault: WalkFault) -> ReadError {
        match fault {
            WalkFault::Io(error) => self.io(error),
            WalkFault::Bad(..) if self.wait == Wait::Never => ReadError::NotResident,
            WalkFault::Bad(position, why) => {
                self.log.meet_damage(self.segment, self.file.log(), position, why)
            }
        }
    }

    pub(super) fn io(&self, error: io::Error) -> ReadError {
        ReadError::io(self.segment, error)
    }
}

impl Log {
    /// The bound of a read: never past the end, and once the log has failed never past what is durable.
    fn readable_end(&self, request: &Request) -> Result<i64, ReadError> {
        let failed = self.is_failed();
        let state = self.state.lock();
        let (offset, start, end) = (request.from, state.start, state.end.offset);
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        Ok(request.upper.min(if failed { state.durable.offset } else { end }))
    }
}

impl ReadError {
    pub(super) fn io(segment: &Segment, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::NotResident;
        }
        Self::Io { file: segment.path(FileKind::Log), error }
    }

    /// Whether there was no descriptor for a file: another time there may be.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_shortage(error))
    }
}

/// A walk of more batches and bytes than these shows that the index lacks entries.
const WALK_BATCHES: usize = 16;
const WALK_BYTES: u64 = 128 << 10;
/// Slices that one read answers with, however small the segments are.
const SLICES_MAX: usize = 64;
/// Damaged stretches that one read passes on its way.
const DAMAGES_MET: usize = 16;
/// Times that a read begins again because retention or compaction took the segment away.
const RETRIES: usize = 3;
/// A read of more than this looks into the index for its end instead of walking there, in bytes.
const HOP_BYTES: u64 = 64 << 10;
/// What was appended last is in memory: nobody has to look, in bytes.
const TAIL_BYTES: u64 = 8 << 20;
