//! The log for a scrub: what there is to look through, and what is done about a finding.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::{Log, ReadError};
use crate::storage::layout::FileKind;
use crate::storage::pread::Wait;
use crate::storage::scan::{Rules, scan};
use crate::storage::scrub::Part;
use crate::storage::segment::Segment;

impl Log {
    /// Every segment, less what is known to be damaged.
    pub fn parts(&self) -> Vec<Part> {
        let epochs = Arc::new(self.epochs());
        let state = self.state.lock();
        let parts = state.segments.iter().enumerate().map(|(nth, segment)| Part {
            base: segment.base(),
            next: state.next_of(nth),
            path: segment.path(FileKind::Log),
            epochs: Arc::clone(&epochs),
            sound: segment.sound_parts(state.size_of(nth)),
        });
        parts.collect()
    }

    /// Whether somebody reads of the segment with this base just now, or sends what he read.
    pub fn is_read(&self, base: i64) -> bool {
        self.listed(base).is_some_and(|listed| listed.segment.is_read(0))
    }

    /// A scrub found all of this sound: readers need not check it again.
    pub fn trust(&self, part: &Part) {
        // If another segment bears the name by now, it was made of checked batches.
        if let Some(Listed { segment, .. }) = self.listed(part.base) {
            part.sound.iter().for_each(|sound| segment.doubt().lift(sound));
        }
    }

    /// Reads a segment whole with its checksums, and quarantines what is damaged; returns how many stretches that is.
    /// What of batches can be put right is. Blocks.
    ///
    /// # Errors
    /// The file system; what cannot be read now is not damaged.
    pub fn examine(&self, base: i64) -> Result<usize, ReadError> {
        let Some(listed) = self.listed(base) else { return Ok(0) };
        let segment = &listed.segment;
        let file = match segment.open(&self.files, Wait::MayBlock) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.miss_file(segment, listed.next) {
                    ReadError::Damaged { .. } => Ok(1),
                    error => Err(error),
                };
            }
            Err(error) => return Err(ReadError::io(segment, error)),
        };
        let mut damaged = 0;
        for _ in 0..STRETCHES_MAX {
            let first = listed.first_damage(file.log()).map_err(|error| ReadError::io(segment, error))?;
            let Some((position, why)) = first else {
                self.right_epochs(segment);
                return Ok(damaged);
            };
            let met = self.meet_damage(segment, file.log(), position, why);
            if self.listed(base).is_none_or(|now| now.segment.serial() != segment.serial()) {
                // Retention or compaction was faster.
                return Ok(damaged);
            }
            match met {
                ReadError::Damaged { .. } => damaged += 1,
                ReadError::Mended { .. } => {}
                other => return Err(other),
            }
        }
        Ok(damaged)
    }

    fn listed(&self, base: i64) -> Option<Listed> {
        let state = self.state.lock();
        let nth = state.segments.iter().position(|segment| segment.base() == base)?;
        let segment = state.segments.get(nth)?.clone();
        Some(Listed { segment, next: state.next_of(nth), size: state.size_of(nth) })
    }
}

/// A segment of the log.
struct Listed {
    segment: Arc<Segment>,
    /// The offset behind it.
    next: i64,
    /// Its published bytes.
    size: u64,
}

impl Listed {
    /// Where batches that are not whole begin, besides what is known. What is before it is doubted no more.
    fn first_damage(&self, file: &File) -> io::Result<Option<(u64, &'static str)>> {
        let base = self.segment.base();
        let bads = self.segment.all_bad();
        for part in self.segment.sound_parts(self.size) {
            let next = bads.iter().find(|bad| bad.to == part.start).map_or(base, |bad| bad.next);
            let rules = Rules { base, next, exact: false, limit: self.next, reach: 0 };
            let scanned = scan(file, part.start, part.end, rules, &mut Vec::new(), &mut |_| {})?;
            self.segment.doubt().lift(&(part.start..scanned.end));
            if scanned.end < part.end {
                return Ok(Some((scanned.end, scanned.stop.unwrap_or("the file is shorter than it was"))));
            }
        }
        Ok(None)
    }
}

/// Damaged stretches that are looked for in one segment at a time; the next round finds more.
const STRETCHES_MAX: usize = 1000;
