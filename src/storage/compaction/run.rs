//! One cleaning of one log, from its first byte read to its last segment swapped in. Blocks.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::batches::{BatchFault, Batches, Found};
use super::hash::Secret;
use super::merge::{ActiveProducers, Fate, Rules, Standing, records_bytes_max, unreadable};
use super::offset_map::OffsetMap;
use super::output::{Output, POSITION_MAX, unlink_leftovers};
use super::pace::Pace;
use super::plan::{Input, Work, groups};
use super::transactions::Transactions;
use super::visit::Visit;
use crate::config::topic::TopicSettings;
use crate::record::batch::{Attributes, BatchError, BatchHeader, BatchView, HEADER_LEN};
use crate::record::empty;
use crate::storage::layout::FileKind;
use crate::storage::log::{Log, ReadError, Replacement, SwapFault};
use crate::storage::manifest::Manifest;
use crate::storage::pread::Wait;
use crate::storage::room::{Pressure, is_no_space};
use crate::storage::segment::{Segment, last_append};
use crate::storage::txn_index::AbortedTransaction;
use crate::types::Timestamp;
use crate::types::offset::{NO_PRODUCER_ID, NO_SEQUENCE, non_negative, saturate_i32};
use crate::types::time::NO_TIMESTAMP;

/// A cleaning to be done.
#[derive(Debug)]
pub struct Cleaning<'a> {
    /// The log.
    pub log: &'a Arc<Log>,
    /// Its topic's settings.
    pub settings: &'a TopicSettings,
    /// Which part of it.
    pub work: Work,
    /// The producers whose last batches must stay.
    pub producers: &'a ActiveProducers,
    /// The aborted transactions of the log.
    pub aborted: &'a [AbortedTransaction],
    /// The manifest, for the rows of what was swapped in.
    pub manifest: &'a Manifest,
    /// Whether it is the broker's own log, which grows though there is no room for clients: then no bound but the disk's
    /// keeps it from being made smaller.
    pub is_own: bool,
    /// How fast it may go, and whether it is to stop.
    pub pace: &'a Pace,
    /// The key map's bounds.
    pub map: MapLimits,
    /// Bytes to read at once.
    pub read_bytes: usize,
    /// The broker's clock.
    pub now: Timestamp,
}

/// Bounds of the key map.
#[derive(Debug, Clone, Copy)]
pub struct MapLimits {
    /// `log.cleaner.dedupe.buffer.size`, one cleaner's share of it.
    pub bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load: f64,
    /// Random.
    pub secret: Secret,
}

/// What a cleaning came to. What was done before a fault was done.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Where the dirty part begins now, if the cleaning went to its end: at the end of the work, or where the key map was
    /// full.
    pub clean_to: Option<i64>,
    /// Segments of the cleaned part, before and after.
    pub segments: (usize, usize),
    /// Bytes of it, before and after.
    pub bytes: (u64, u64),
    /// Records in it, before and after.
    pub records: (u64, u64),
    /// Keys in the dirty part, as far as the map holds them.
    pub keys: usize,
    /// Files that left the log, to be unlinked when readers have had their time.
    pub removed: Vec<PathBuf>,
    /// Why it ended early.
    pub fault: Option<CleanFault>,
}

/// Why a cleaning ended before its end. The log is as good as before.
#[derive(Debug, thiserror::Error)]
pub enum CleanFault {
    /// Bytes are not what was written. Nothing is dropped on their account; they are for `repair`.
    #[error("{} is damaged at byte {position}: {why}", file.display())]
    Damaged {
        /// The segment's file.
        file: PathBuf,
        /// Its number among all that the log has had.
        serial: u32,
        /// Where.
        position: u64,
        /// In which way.
        why: &'static str,
    },
    /// The file system refused.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Some of it found no room on the disk; the rest was cleaned.
    #[error("no room for a compacted segment of {bytes} bytes")]
    NoRoom {
        /// What the largest segment that found none would have needed.
        bytes: u64,
    },
    /// The cleaners are to stop.
    #[error("the broker stops")]
    Stopping,
    /// Retention, DeleteRecords or a deletion was faster.
    #[error("the log changed meanwhile")]
    Overtaken,
}

/// Cleans a part of a log.
pub fn clean(cleaning: &Cleaning<'_>) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let mut run = Run { cleaning, buffer: Vec::new(), cleaned: &mut cleaned };
    match run.clean() {
        Ok(end) => cleaned.clean_to = Some(end),
        // Its files were closed under the cleaner.
        Err(_) if cleaning.log.is_given_up() => cleaned.fault = Some(CleanFault::Overtaken),
        Err(fault) => cleaned.fault = Some(fault),
    }
    cleaned
}

struct Run<'a> {
    cleaning: &'a Cleaning<'a>,
    buffer: Vec<u8>,
    cleaned: &'a mut Cleaned,
}

/// A sealed segment and the first offset behind it.
type Sealed = (Arc<Segment>, i64);

impl Run<'_> {
    fn clean(&mut self) -> Result<i64, CleanFault> {
        let log = self.cleaning.log;
        if log
            .by_path(|| unlink_leftovers(&log.dir))
            .transpose()
            .map_err(|error| self.dir_fault(error))?
            .is_none()
        {
            return Err(CleanFault::Overtaken);
        }
        let sealed = self.sealed();
        if let Some((segment, bad)) = sealed.iter().find_map(|(s, _)| s.bad().map(|bad| (s, bad))) {
            return Err(damaged(segment, bad.from, bad.why));
        }
        let (map, end) = self.note_keys(&sealed)?;
        self.cleaned.keys = map.len();
        let rules = Rules {
            map: &map,
            end,
            now: self.cleaning.now,
            delete_retention_ms: self.cleaning.settings.delete_retention_ms,
            compression: self.cleaning.settings.compression,
            producers: self.cleaning.producers,
            records_bytes_max: records_bytes_max(self.cleaning.settings),
        };
        let mut transactions = Transactions::new(self.cleaning.aborted);
        let inputs: Vec<Sealed> = sealed.into_iter().filter(|(segment, _)| segment.base() < end).collect();
        let sizes: Vec<Input> = inputs.iter().map(input).collect();
        let bytes_max = log.health.room().compacted_segment_bytes_max();
        let mut lacking = None;
        for group in groups(&sizes, self.cleaning.settings, bytes_max) {
            // Where one finds no room another may, and makes some.
            let group = inputs.get(group).unwrap_or_default();
            lacking = lacking.max(self.clean_group(group, &rules, &mut transactions)?);
        }
        lacking.map_or(Ok(end), |bytes| Err(CleanFault::NoRoom { bytes }))
    }

    /// The segments below the end of the work.
    fn sealed(&self) -> Vec<Sealed> {
        let state = self.cleaning.log.state.lock();
        let all = state.segments.iter().enumerate();
        all.map(|(nth, segment)| (segment.clone(), state.next_of(nth)))
            // An active segment that is still empty ends where it begins: at the end of the work, perhaps.
            .take_while(|(segment, next)| {
                segment.base() < self.cleaning.work.end && *next <= self.cleaning.work.end
            })
            .collect()
    }

    /// Notes the last offset of each key from the first dirty offset on. Returns the offset up to which the map goes.
    fn note_keys(&mut self, sealed: &[Sealed]) -> Result<(OffsetMap, i64), CleanFault> {
        let Work { dirty_from, end, .. } = self.cleaning.work;
        let MapLimits { bytes, load, secret } = self.cleaning.map;
        let offsets = u64::try_from(end.saturating_sub(dirty_from)).unwrap_or(0);
        let mut map = OffsetMap::new(bytes, load, offsets, secret);
        let mut transactions = Transactions::new(self.cleaning.aborted);
        let bytes_max = records_bytes_max(self.cleaning.settings);
        for sealed in sealed.iter().filter(|(_, next)| *next > dirty_from) {
            let full_at = self.each_batch(sealed, |run, found| {
                run.go_on(found.batch.bytes().len())?;
                let full_at = note_batch(&found.batch, dirty_from, bytes_max, &mut map, &mut transactions);
                full_at.map_err(|error| damaged(&sealed.0, found.position, unreadable(&error)))
            })?;
            if let Some(full_at) = full_at {
                return Ok((map, full_at));
            }
        }
        Ok((map, end))
    }

    /// Writes one segment in place of a group of neighbours. A segment of which nothing goes stays as it is. If there is
    /// no room for it, answers how many bytes it would have.
    fn clean_group(
        &mut self,
        group: &[Sealed],
        rules: &Rules<'_>,
        transactions: &mut Transactions,
    ) -> Result<Option<u64>, CleanFault> {
        let Some((first, (last, next))) = group.first().zip(group.last()) else { return Ok(None) };
        let before: u64 = group.iter().map(|(segment, _)| segment.len()).sum();
        let closing = group.iter().rposition(|(segment, _)| segment.len() > 0);
        let mut target = match group {
            [_] => Target::AsItIs,
            _ => Target::of(self.create(first.0.base()))?,
        };
        let (mut tail, mut rest, mut stays) = (None, before, 0);
        for (nth, sealed) in group.iter().enumerate() {
            self.each_batch(sealed, |run, found| {
                let header = *found.batch.header();
                let standing = Standing {
                    frame_stays: Some(nth) == closing && found.end() == sealed.0.len(),
                    is_tight: is_tight(stays + rest, &header),
                };
                let judged = rules
                    .judge(&found.batch, standing, transactions)
                    .map_err(|error| damaged(&sealed.0, found.position, unreadable(&error)))?;
                run.cleaned.records.0 += judged.before as u64;
                run.cleaned.records.1 += judged.after as u64;
                tail = Some(header);
                if matches!(target, Target::AsItIs) && judged.fate != Fate::Stays {
                    target = Target::of(run.copy_front(sealed, found.position))?;
                }
                let len = found.batch.bytes().len();
                if let Target::Output(out) = &mut target {
                    out.comes_from(found.is_cold, len);
                }
                rest = rest.saturating_sub(len as u64);
                let bytes = match &judged.fate {
                    Fate::Goes => return run.go_on(len).map(|()| None::<()>),
                    Fate::Stays => found.batch.bytes(),
                    Fate::Becomes(bytes) => bytes,
                };
                stays += bytes.len() as u64;
                let written = target.write(bytes).map_err(|error| fault(&sealed.0, error))?;
                run.go_on(len + written).map(|()| None)
            })?;
        }
        if let Some(tail) = tail.filter(|tail| tail.next_offset() < *next) {
            target.write(&closing_batch(&tail, *next)).map_err(|error| fault(last, error))?;
        }
        let after = match target {
            Target::AsItIs => Some(before),
            Target::NoRoom => None,
            Target::Output(mut out) => {
                out.aborted = self.has_aborted(group)?.then(|| transactions.take_left());
                self.swap_in(group, *out)?
            }
        };
        // A segment that stays has its own.
        let _ = transactions.take_left();
        self.cleaned.segments.0 += group.len();
        self.cleaned.segments.1 += if after.is_some() { 1 } else { group.len() };
        self.cleaned.bytes.0 += before;
        self.cleaned.bytes.1 += after.unwrap_or(before);
        Ok(if after.is_none() { Some(stays) } else { None })
    }

    /// Whether one of the segments has a `.txnindex`. Then the new one gets one, be it empty, so that no crash can leave
    /// the old one beside the new segment.
    fn has_aborted(&self, group: &[Sealed]) -> Result<bool, CleanFault> {
        for (segment, _) in group {
            if segment.aborted().sum().is_some() {
                return Ok(true);
            }
            match segment.path(FileKind::TxnIndex).try_exists() {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(error) => return Err(fault(segment, error)),
            }
        }
        Ok(false)
    }

    fn create(&self, base: i64) -> Result<Output, CleanFault> {
        let interval = non_negative(self.cleaning.settings.index_interval_bytes) as u64;
        let log = self.cleaning.log;
        match Output::create(log, base, interval, self.cleaning.now, self.cleaning.is_own) {
            Ok(Some(out)) => Ok(out),
            Ok(None) => Err(CleanFault::Overtaken),
            Err(error) => Err(self.dir_fault(error)),
        }
    }

    /// An output with what of the segment lies before `position`, all of which stays.
    fn copy_front(&self, (segment, next): &Sealed, position: u64) -> Result<Output, CleanFault> {
        let mut out = self.create(segment.base())?;
        let file =
            segment.open(&self.cleaning.log.files, Wait::MayBlock).map_err(|error| fault(segment, error))?;
        let mut buffer = Vec::new();
        let span = (segment.base(), *next);
        // Whoever shows the batches that do not stay has the file as well.
        let is_read = || segment.is_read(2);
        let visit = Visit::new(file.log(), &segment.path(FileKind::Log), &is_read);
        let mut front = Batches::new(visit, position, span, &mut buffer, self.cleaning.read_bytes);
        while let Some(found) = front.next().map_err(|bad| batch_fault(segment, bad))? {
            let bytes = found.batch.bytes();
            out.comes_from(found.is_cold, bytes.len());
            out.write(found.batch.header(), bytes).map_err(|error| fault(segment, error))?;
            self.go_on(bytes.len())?;
        }
        Ok(out)
    }

    /// Puts a complete output in place of its inputs; its size in bytes. `None` if the disk was full at the last moment.
    fn swap_in(&mut self, group: &[Sealed], out: Output) -> Result<Option<u64>, CleanFault> {
        let inputs: Vec<Arc<Segment>> = group.iter().map(|(segment, _)| segment.clone()).collect();
        let appended_at = last_append(inputs.iter().map(|segment| segment.facts().appended_at));
        let bytes = out.len();
        let finished = match out.finish(appended_at) {
            Ok(finished) => finished,
            Err(error) if is_no_space(&error) => return Ok(None),
            Err(error) => return Err(self.dir_fault(error)),
        };
        let log = self.cleaning.log;
        match log.replace(Replacement { inputs, finished }, self.cleaning.manifest) {
            Ok(removed) => self.let_go(removed),
            Err(SwapFault::Overtaken) => return Err(CleanFault::Overtaken),
            Err(SwapFault::Io(error)) if is_no_space(&error) && !log.is_failed() => return Ok(None),
            Err(SwapFault::Io(error)) => return Err(self.dir_fault(error)),
        }
        Ok(Some(bytes))
    }

    /// What left the log goes when readers have had their time; at once if room is needed: the next segment may need it.
    fn let_go(&mut self, removed: Vec<PathBuf>) {
        let room = self.cleaning.log.health.room();
        if room.pressure() == Pressure::None {
            self.cleaned.removed.extend(removed);
            return;
        }
        for file in removed {
            if let Err(error) = room.unlink(&file) {
                tracing::warn!(file = %file.display(), %error, "cannot unlink what was compacted: it is tried again");
                self.cleaned.removed.push(file);
            }
        }
    }

    /// Shows every batch of a segment to `each` until it answers something.
    fn each_batch<T>(
        &mut self,
        (segment, next): &Sealed,
        mut each: impl FnMut(&mut Self, &Found<'_>) -> Result<Option<T>, CleanFault>,
    ) -> Result<Option<T>, CleanFault> {
        let files = &self.cleaning.log.files;
        let file = segment.open(files, Wait::MayBlock).map_err(|error| fault(segment, error))?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let span = (segment.base(), *next);
        let is_read = || segment.is_read(1);
        let visit = Visit::new(file.log(), &segment.path(FileKind::Log), &is_read);
        let mut batches = Batches::new(visit, segment.len(), span, &mut buffer, self.cleaning.read_bytes);
        let outcome = loop {
            match batches.next() {
                Ok(Some(found)) => match each(self, &found) {
                    Ok(None) => {}
                    outcome => break outcome,
                },
                Ok(None) => break Ok(None),
                Err(bad) => {
                    if let BatchFault::Bad(position, why) = bad {
                        // Readers are refused it from now on, and `repair` knows of it.
                        let met = self.cleaning.log.meet_damage(segment, file.log(), position, why);
                        if matches!(met, ReadError::Mended { .. }) {
                            // What was read of it may not be what it is now: from the start again.
                            break Err(CleanFault::Overtaken);
                        }
                    }
                    break Err(batch_fault(segment, bad));
                }
            }
        };
        self.buffer = buffer;
        outcome
    }

    fn dir_fault(&self, error: io::Error) -> CleanFault {
        CleanFault::Io { file: self.cleaning.log.dir.to_path_buf(), error }
    }

    /// Accounts for bytes that were read or written, and looks whether the cleaning is still wanted.
    fn go_on(&self, bytes: usize) -> Result<(), CleanFault> {
        if self.cleaning.log.is_given_up() {
            return Err(CleanFault::Overtaken);
        }
        self.cleaning.pace.spend(bytes).map_err(|_| CleanFault::Stopping)
    }
}

/// Notes the keys of a batch. Answers the offset of the first record that found no room.
fn note_batch(
    batch: &BatchView<'_>,
    from: i64,
    records_bytes_max: usize,
    map: &mut OffsetMap,
    transactions: &mut Transactions,
) -> Result<Option<i64>, BatchError> {
    let header = batch.header();
    if header.attributes.is_control() {
        transactions.marker(batch)?;
        return Ok(None);
    }
    if transactions.data(header) {
        return Ok(None);
    }
    let records = batch.records(records_bytes_max)?;
    for record in &records {
        let record = record?;
        if let Some(key) = record.key.filter(|_| record.offset >= from)
            && !map.put(key, record.offset)
        {
            return Ok(Some(record.offset));
        }
    }
    Ok(None)
}

/// Whether a batch may not grow: with all that may follow it, what is written comes to so many bytes.
fn is_tight(bytes: u64, header: &BatchHeader) -> bool {
    let growth = non_negative(header.records_count) as u64 * HORIZON_BYTES_MAX;
    // The header is for a batch that may close the segment.
    bytes + growth + HEADER_LEN as u64 > POSITION_MAX
}

/// An empty batch for offsets at the end of a segment that have none, so that the new segment, too, says by itself how
/// far it reaches.
fn closing_batch(tail: &BatchHeader, next: i64) -> Vec<u8> {
    let base_offset = tail.next_offset();
    empty(&BatchHeader {
        base_offset,
        last_offset_delta: saturate_i32(next - base_offset - 1),
        attributes: Attributes::default(),
        max_timestamp: NO_TIMESTAMP,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        base_sequence: NO_SEQUENCE,
        ..*tail
    })
}

/// What a group becomes.
enum Target {
    /// Nothing has gone of it yet.
    AsItIs,
    Output(Box<Output>),
    /// What it would be finds no room. It is read to its end all the same: what follows depends on it, and how much
    /// room it takes is worth knowing.
    NoRoom,
}

impl Target {
    /// An output, if there is room to begin one.
    fn of(output: Result<Output, CleanFault>) -> Result<Self, CleanFault> {
        match output {
            Ok(output) => Ok(Self::Output(Box::new(output))),
            Err(CleanFault::Io { error, .. }) if is_no_space(&error) => Ok(Self::NoRoom),
            Err(fault) => Err(fault),
        }
    }

    /// Writes a batch, if there is where to. How many bytes that took.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Output(out) = self else { return Ok(0) };
        let header = BatchHeader::parse(bytes).map_err(io::Error::other)?;
        match out.write(&header, bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) if is_no_space(&error) => {
                *self = Self::NoRoom;
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

fn input((segment, next): &Sealed) -> Input {
    let len = |kind| fs::metadata(segment.path(kind)).map_or(0, |file| file.len());
    Input {
        base: segment.base(),
        next: *next,
        bytes: segment.len(),
        index_bytes: [len(FileKind::Index), len(FileKind::TimeIndex)],
    }
}

fn damaged(segment: &Segment, position: u64, why: &'static str) -> CleanFault {
    CleanFault::Damaged { file: segment.path(FileKind::Log), serial: segment.serial(), position, why }
}

fn fault(segment: &Segment, error: io::Error) -> CleanFault {
    match error.kind() {
        // Retention was faster.
        io::ErrorKind::NotFound => CleanFault::Overtaken,
        _ => CleanFault::Io { file: segment.path(FileKind::Log), error },
    }
}

fn batch_fault(segment: &Segment, bad: BatchFault) -> CleanFault {
    match bad {
        BatchFault::Io(error) => fault(segment, error),
        BatchFault::Bad(position, why) => damaged(segment, position, why),
    }
}

/// What a delete horizon may add to a record, in bytes: its time and its length in longer varints.
const HORIZON_BYTES_MAX: u64 = 12;
