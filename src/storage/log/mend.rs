//! The fronts of batches put right in an open log, and by whom they are found: whoever reads for the first time, the
//! scrub, a compaction, a repair.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, ReadError};
use crate::record::batch::{BatchHeader, HEADER_LEN};
use crate::storage::epochs::Epochs;
use crate::storage::layout::FileKind;
use crate::storage::mend::{self, Misfits, Patch};
use crate::storage::pread::{Wait, read_full};
use crate::storage::quarantine::Bad;
use crate::storage::scan::{Rules, scan};
use crate::storage::segment::Segment;
use crate::storage::walk::Walk;

impl Log {
    /// Batches whose front was put right since the log was opened.
    pub fn mended(&self) -> u64 {
        self.watch.mended.load(Ordering::Relaxed)
    }

    /// The epochs as they are now.
    pub(in crate::storage) fn epochs(&self) -> Epochs {
        self.side.lock().epochs.clone()
    }

    /// Looks again at what is known to be damaged: what was restored meanwhile, and what can be put right, is served
    /// again. Blocks.
    ///
    /// # Errors
    /// The file system.
    pub fn look_again(&self) -> Result<(), ReadError> {
        let segments = self.state.lock().segments.clone();
        let mut is_news = false;
        for segment in segments.iter().filter(|segment| segment.bad().is_some()) {
            let file = match segment.open(&self.files, Wait::MayBlock) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(ReadError::io(segment, error)),
            };
            for bad in segment.all_bad() {
                let is_whole = is_whole(file.log(), segment, &bad).map_err(|e| ReadError::io(segment, e))?;
                if is_whole || self.mend(segment, file.log(), &bad) {
                    segment.remove_bad(&bad);
                    is_news = true;
                }
            }
        }
        if is_news {
            self.write_down_damage();
        }
        Ok(())
    }

    /// Puts the front of a damaged batch right if it is known. Whether that is done.
    pub(super) fn mend(&self, segment: &Arc<Segment>, file: &File, bad: &Bad) -> bool {
        let epoch = self.side.lock().epochs.at(bad.first);
        let Ok(Some(patch)) = mend::front_of(file, bad, epoch) else { return false };
        let is_done = self.patch(segment, &[patch]);
        if is_done {
            tracing::warn!(
                topic = %self.topic, partition = self.id.partition, first_offset = bad.first, next_offset = bad.next,
                file = %segment.path(FileKind::Log).display(), position = bad.from,
                "the front of a batch, outside its checksum, was not what was written ({}). It was put right, and no \
                 record is lost",
                bad.why
            );
        }
        is_done
    }

    /// Looks through the headers of a segment for batches that bear another leader epoch than the log's history and
    /// the batches beside them say, and puts those right. Blocks. What cannot be read is somebody else's to find.
    pub(in crate::storage) fn right_epochs(&self, segment: &Arc<Segment>) {
        let epochs = self.epochs();
        let Ok(wrong) = self.misfits(segment, &epochs) else { return };
        let patches: Vec<Patch> = wrong.iter().map(|(at, epoch)| Patch::epoch(*at, *epoch)).collect();
        if let Some((position, epoch)) = wrong.first()
            && self.patch(segment, &patches)
        {
            tracing::warn!(
                topic = %self.topic, partition = self.id.partition, batches = wrong.len(),
                file = %segment.path(FileKind::Log).display(), position, epoch,
                "batches bore another leader epoch than they were written with, which is outside their checksum. It was \
                 put right, and no record is lost"
            );
        }
    }

    fn misfits(&self, segment: &Arc<Segment>, epochs: &Epochs) -> io::Result<Vec<(u64, i32)>> {
        let (size, behind) = {
            let state = self.state.lock();
            let nth = state.segments.iter().position(|known| known.serial() == segment.serial());
            let Some(nth) = nth else { return Ok(Vec::new()) };
            (state.size_of(nth), state.segments.get(nth + 1).cloned())
        };
        let file = segment.open(&self.files, Wait::MayBlock)?;
        let mut misfits = Misfits::new(epochs);
        let mut at = 0;
        for part in segment.sound_parts(size) {
            let mut walk = Walk::new(file.log(), part.start, part.end, Wait::MayBlock);
            while let Ok(Some(step)) = walk.next() {
                misfits.note(step.position, &step.header);
                at = step.end();
            }
        }
        // The last batch has its neighbour in the next segment.
        if at == size
            && let Some(behind) = behind.filter(|behind| behind.len() >= HEADER_LEN as u64)
        {
            let mut head = [0; HEADER_LEN];
            let file = behind.open(&self.files, Wait::MayBlock)?;
            read_full(file.log(), 0, &mut head, Wait::MayBlock)?;
            if let Ok(header) = BatchHeader::parse(&head) {
                misfits.note(size, &header);
            }
        }
        Ok(misfits.end().into_iter().filter(|(position, _)| *position < size).collect())
    }

    /// Writes into a segment's file, unless that is not to be had any more. Whether it was done.
    fn patch(&self, segment: &Arc<Segment>, patches: &[Patch]) -> bool {
        let is_listed = || self.state.lock().segments.iter().any(|known| known.serial() == segment.serial());
        let write = || match is_listed() && !self.is_failed() {
            true => self.by_path(|| mend::put(&segment.path(FileKind::Log), patches)),
            false => None,
        };
        match self.unless_swapping(write) {
            Some(Ok(())) => {
                self.watch.mended.fetch_add(patches.len() as u64, Ordering::Relaxed);
                true
            }
            Some(Err(error)) => {
                let file = segment.path(FileKind::Log);
                tracing::warn!(file = %file.display(), %error, "cannot put right what a batch says of itself");
                false
            }
            None => false,
        }
    }
}

/// Whether a stretch that is known to be damaged holds nothing but whole batches, to its end.
fn is_whole(file: &File, segment: &Segment, bad: &Bad) -> io::Result<bool> {
    let to = bad.to.min(segment.len());
    let rules = Rules { base: segment.base(), next: bad.first, exact: false, limit: bad.next, reach: 0 };
    let scanned = scan(file, bad.from, to, rules, &mut Vec::new(), &mut |_| {})?;
    let is_open_ended = bad.to == u64::MAX;
    Ok(bad.from < to && scanned.end == to && (!is_open_ended || scanned.next == bad.next))
}
