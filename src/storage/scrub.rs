//! Looking through segments that nobody reads: does the disk still hold what was written?
//!
//! Every batch is read and checked, at the pace of whoever runs it (`broker/scrub`), over a descriptor of its own. What
//! was not in the page cache before is not left there: a scrub is no reason to forget what consumers want. It only
//! looks: what is to be done about a finding is the log's to say ([`super::log::Log::examine`]).

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Advice;

use super::checkpoint::read_epochs;
use super::compaction::Pace;
use super::compaction::batches::{BatchFault, Batches};
use super::compaction::visit::{Visit, forget};
use super::epochs::Epochs;
use super::layout::{FileKind, LEADER_EPOCHS, segment_file_in};
use super::log::Damage;
use super::manifest::PartitionRow;
use super::mend::differs;
use super::pread::{Wait, read_some};
use super::quarantine;
use crate::types::Clock;

/// A part of a log: what one segment holds, less what is known to be damaged.
#[derive(Debug, Clone)]
pub struct Part {
    /// The segment's base offset.
    pub base: i64,
    /// The first offset behind it.
    pub next: i64,
    pub(super) path: PathBuf,
    pub(super) epochs: Arc<Epochs>,
    pub(super) sound: Vec<Range<u64>>,
}

impl Part {
    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes to look through.
    pub fn bytes(&self) -> u64 {
        self.sound.iter().map(|range| range.end - range.start).sum()
    }
}

/// What a row vouches for, segment by segment: a partition need not be open to be looked through.
pub fn parts_of_row(dir: &Path, row: &PartitionRow) -> Vec<Part> {
    let known = quarantine::load(dir);
    let epochs = read_epochs(&dir.join(LEADER_EPOCHS)).ok().flatten().unwrap_or_default();
    let epochs = Arc::new(Epochs::new(epochs));
    let ends = row.segments.iter().skip(1).map(|segment| segment.base).chain([row.checkpoint.offset]);
    let parts = row.segments.iter().zip(ends).map(|(segment, next)| {
        let (mut sound, mut from) = (Vec::new(), 0);
        for bad in known.get(&segment.base).into_iter().flatten() {
            sound.push(from..bad.from.min(segment.bytes));
            from = bad.to;
        }
        sound.push(from..segment.bytes);
        sound.retain(|range| range.start < range.end);
        let path = segment_file_in(dir, segment.base, FileKind::Log);
        Part { base: segment.base, next, path, epochs: Arc::clone(&epochs), sound }
    });
    parts.collect()
}

/// What is written down of a partition's damage, whether it is open or not.
pub fn known_damage(dir: &Path) -> Vec<Damage> {
    let known = quarantine::load(dir);
    let all = known.iter().flat_map(|(base, bads)| bads.iter().map(move |bad| (*base, bad)));
    all.map(|(base, bad)| Damage::in_file(segment_file_in(dir, base, FileKind::Log), bad)).collect()
}

/// What came of looking through a part.
#[derive(Debug)]
pub enum Finding {
    /// All of it is as it was written.
    Sound,
    /// Something is not.
    Suspicious,
    /// The file is not there (any more).
    Gone,
    /// The disk does not give it.
    Unreadable(io::Error),
    /// The broker stops.
    Stopping,
}

/// How a scrub reads.
#[derive(Debug)]
pub struct Scrubber<'a> {
    clock: &'a Clock,
    pace: &'a Pace,
    buffer: Vec<u8>,
}

impl<'a> Scrubber<'a> {
    /// One that goes at this pace.
    pub fn new(clock: &'a Clock, pace: &'a Pace) -> Self {
        Self { clock, pace, buffer: Vec::new() }
    }

    /// Looks through a part. `is_read` tells whether somebody reads of it just then: he may have found in memory what was
    /// brought there, and would wait for the disk when he sends it. Blocks, mostly to wait.
    pub fn look(&mut self, part: &Part, is_read: &dyn Fn() -> bool) -> Finding {
        // Opening a file has its price, too.
        if self.pace.spend(PART_BYTES).is_err() {
            return Finding::Stopping;
        }
        match self.look_in(part, is_read) {
            Ok(finding) => finding,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::Gone,
            Err(error) => Finding::Unreadable(error),
        }
    }

    fn look_in(&mut self, part: &Part, is_read: &dyn Fn() -> bool) -> io::Result<Finding> {
        let file = File::open(&part.path)?;
        let len = file.metadata()?.len();
        // Nothing is read ahead of the pace.
        let _ = rustix::fs::fadvise(&file, 0, None::<NonZeroU64>, Advice::Random);
        for sound in &part.sound {
            if sound.end > len {
                return Ok(Finding::Suspicious);
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            let span = (part.base, part.next);
            let mut batches = Batches::new(Visit::plain(&file), sound.end, span, &mut buffer, PIECE_BYTES)
                .starting_at(sound.start);
            let found = self.walk(&file, &mut batches, &part.epochs, is_read);
            self.buffer = buffer;
            // One large batch is no reason to hold its room for ever.
            self.buffer.shrink_to(PIECE_BYTES);
            match found? {
                Finding::Sound => {}
                other => return Ok(other),
            }
        }
        Ok(Finding::Sound)
    }

    fn walk(
        &self,
        file: &File,
        batches: &mut Batches<'_>,
        epochs: &Epochs,
        is_read: &dyn Fn() -> bool,
    ) -> io::Result<Finding> {
        let mut fits = true;
        // Where the stretch begins that was brought into memory and is there yet, since somebody read.
        let mut kept = None;
        loop {
            let (from, began) = (batches.position(), self.clock.monotonic());
            let is_warm = is_in_memory(file, from);
            let mut read = 0;
            let ended = loop {
                match batches.next() {
                    Ok(Some(found)) => {
                        read = found.end() - from;
                        fits &= differs(epochs, found.batch.header()).is_none();
                    }
                    Ok(None) => break Some(if fits { Finding::Sound } else { Finding::Suspicious }),
                    Err(BatchFault::Bad(..)) => break Some(Finding::Suspicious),
                    Err(BatchFault::Io(error)) => return Err(error),
                }
                if read >= PIECE_BYTES as u64 {
                    break None;
                }
            };
            if is_warm {
                kept = None;
            } else if is_read() {
                kept.get_or_insert(from);
            } else {
                forget(file, kept.take().unwrap_or(from), from + read);
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
            let took = self.clock.monotonic().saturating_sub(began);
            if self.rest(read, took).is_err() {
                return Ok(Finding::Stopping);
            }
        }
    }

    /// Keeps to the pace, and to a tenth of the time whatever that is: where the disk has much to do, reads take longer,
    /// and pauses with them.
    fn rest(&self, bytes: u64, took: Duration) -> Result<(), super::compaction::Stopping> {
        self.pace.spend(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        self.pace.sleep(took.saturating_mul(PAUSES).min(PAUSE_MAX), self.pace.news())
    }
}

/// Whether some of the next piece is in the page cache: then somebody wants it.
fn is_in_memory(file: &File, from: u64) -> bool {
    (0..PROBES).any(|nth| {
        let at = from + nth * (PIECE_BYTES as u64 / PROBES);
        read_some(file, at, &mut [0], Wait::Never).is_ok_and(|read| read > 0)
    })
}

/// What is read between two pauses.
const PIECE_BYTES: usize = 512 << 10;
/// What a part costs by itself.
const PART_BYTES: usize = 32 << 10;
/// Pauses for each time that was spent reading.
const PAUSES: u32 = 9;
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Pages of a piece that are looked for in the page cache.
const PROBES: u64 = 4;

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
