//! Swapping a compacted segment in for those it was made of (architecture 2.2), and taking turns with whatever else
//! changes the segment list from outside.
//!
//! The directory explains itself at every step: a set of `.swap` files is complete if no `.cleaned` of it is left, and
//! covers the live files whose offsets it holds. Readers of the old segments keep their descriptors, which are pinned
//! while names change; a [`super::Place`] in an old segment no longer fits and is looked up by its offset.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Log;
use super::state::State;
use super::upkeep::{CHECKPOINT_WAIT, SEGMENT_KINDS};
use crate::storage::compaction::{Finished, OUTPUT_KINDS, discard, unlink_outputs};
use crate::storage::layout::{FileKind, FileState, SegmentFileName};
use crate::storage::manifest::{Manifest, PartitionRow, SegmentRow};
use crate::storage::segment::Segment;

/// A new segment and the neighbours it takes the place of. Its files stand there as `.cleaned`, on disk.
#[derive(Debug)]
pub(in crate::storage) struct Replacement {
    pub(in crate::storage) inputs: Vec<Arc<Segment>>,
    pub(in crate::storage) finished: Finished,
}

/// A replacement did not happen.
#[derive(Debug)]
pub(in crate::storage) enum SwapFault {
    /// The inputs are no longer what the log holds.
    Overtaken,
    /// The file system.
    Io(io::Error),
}

impl From<io::Error> for SwapFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The right to change which segments there are: any number of removals have it together, or one swap alone. Else
/// retention could rename what a compaction has just put under an old name.
#[derive(Debug)]
pub(super) enum Turn {
    Removal(Arc<Log>),
    Swap(Arc<Log>),
}

impl Drop for Turn {
    fn drop(&mut self) {
        match self {
            Self::Removal(log) => log.end_removal(),
            Self::Swap(log) => {
                log.state.lock().is_swapping = false;
                log.prepared.notify_all();
            }
        }
    }
}

impl Log {
    /// Waits for a swap that is under way, and lets none begin.
    pub(super) fn turn_to_remove(self: &Arc<Self>) -> Turn {
        self.begin_removal();
        Turn::Removal(self.clone())
    }

    /// Does `work` while no compacted segment is swapped in.
    pub(super) fn unless_swapping<T>(&self, work: impl FnOnce() -> T) -> T {
        self.begin_removal();
        let done = work();
        self.end_removal();
        done
    }

    fn begin_removal(&self) {
        let mut state = self.state.lock();
        while state.is_swapping {
            self.prepared.wait(&mut state);
        }
        state.removals += 1;
    }

    fn end_removal(&self) {
        self.state.lock().removals -= 1;
        self.prepared.notify_all();
    }

    /// Waits for removals and for another swap, and lets none begin.
    fn turn_to_swap(self: &Arc<Self>) -> Turn {
        let mut state = self.state.lock();
        while state.is_swapping || state.removals > 0 {
            self.prepared.wait(&mut state);
        }
        state.is_swapping = true;
        Turn::Swap(self.clone())
    }

    /// Puts the new segment in place of its inputs: on disk, in the log, in the manifest. Returns the files that are to
    /// be unlinked when readers have had their time.
    ///
    /// # Errors
    /// [`SwapFault`]. Nothing has changed, or the data directory has failed.
    pub(in crate::storage) fn replace(
        self: &Arc<Self>,
        replacement: Replacement,
        manifest: &Manifest,
    ) -> Result<Vec<PathBuf>, SwapFault> {
        let Replacement { inputs, finished } = replacement;
        let base = finished.base;
        let _turn = self.turn_to_swap();
        let is_damaged = || inputs.iter().any(|segment| segment.bad().is_some());
        if self.is_failed() || is_damaged() || self.state.lock().position_of(&inputs).is_none() {
            discard(self, base, FileState::Cleaned);
            return Err(SwapFault::Overtaken);
        }
        let pinned = Pinned::new(self, &inputs).inspect_err(|_| discard(self, base, FileState::Cleaned))?;
        let bases: Vec<i64> = inputs.iter().map(|segment| segment.base()).collect();
        let removed = match self.by_path(|| self.swap_files(&bases, finished.has_aborted)) {
            Some(Ok(removed)) => removed,
            Some(Err(fault)) if self.is_failed() => {
                // Some names are gone: what is open must stay so for readers of what was durable.
                pinned.for_good();
                return Err(fault);
            }
            fault => {
                discard(self, base, FileState::Cleaned);
                return fault.unwrap_or(Err(SwapFault::Overtaken));
            }
        };
        let row = SegmentRow {
            base,
            bytes: finished.bytes,
            max_timestamp: finished.facts.max_timestamp,
            appended_at: finished.facts.appended_at,
            aborted: Some(finished.aborted).filter(|sum| sum.entries > 0),
        };
        {
            let mut state = self.state.lock();
            // Nobody else had a turn.
            let Some(at) = state.position_of(&inputs) else { return Err(SwapFault::Overtaken) };
            let serial = state.take_serial();
            let segment = Segment::new(base, serial, self.dir.clone(), finished.bytes, finished.facts);
            segment.aborted().knows(finished.aborted);
            state.segments.splice(at..at + inputs.len(), [segment]);
        }
        pinned.replaced();
        if is_damaged() {
            // Met just now, in what was read well before: it went with the old files, and the list must not blame the new.
            self.write_down_damage();
        }
        let row = self.row_with(&bases, row)?;
        manifest.put(row);
        if self.is_given_up() {
            // The row came after the removal's word, or may have.
            manifest.remove(self.id);
            return Ok(Vec::new());
        }
        if let Err(error) = manifest.sync() {
            // The directory tells the same: what the manifest still lists is covered by the new segment.
            tracing::warn!(dir = %self.dir.display(), %error, "the manifest does not know of a compacted segment yet");
        }
        Ok(removed)
    }

    /// Changes the names; called by path. A failure before the first old file is touched is undone; one after that fails the directory,
    /// and the next start finishes the swap.
    fn swap_files(&self, bases: &[i64], has_aborted: bool) -> Result<Vec<PathBuf>, SwapFault> {
        let Some(base) = bases.first().copied() else { return Err(SwapFault::Overtaken) };
        let mut removed = Vec::new();
        for step in steps(bases, has_aborted) {
            match step.perform(&self.dir) {
                Ok(()) => removed.extend(step.removed(&self.dir)),
                Err(error) if matches!(step, Step::Complete(_)) => {
                    unlink_outputs(&self.dir, base, FileState::Swap);
                    return Err(error.into());
                }
                Err(error) => {
                    let error = self.health.fail(error);
                    return Err(io::Error::new(error.kind(), error).into());
                }
            }
        }
        Ok(removed)
    }

    /// The last row, with the new segment's in place of its inputs'. Waits for a checkpoint that is under way: its row
    /// has the old segments, and must come first.
    fn row_with(&self, bases: &[i64], row: SegmentRow) -> io::Result<Arc<PartitionRow>> {
        let mut state = self.state.lock();
        while state.preparing {
            self.prepared.wait_for(&mut state, CHECKPOINT_WAIT);
            if self.is_failed() {
                return Err(io::Error::other("the log takes no more writes"));
            }
        }
        let Some(mut last) = state.row.as_deref().cloned() else {
            return Err(io::Error::other("a log without a checkpoint was compacted"));
        };
        last.segments.retain(|segment| !bases.contains(&segment.base));
        let at = last.segments.partition_point(|segment| segment.base < row.base);
        last.segments.insert(at, row);
        last.log_start = state.start;
        let row = Arc::new(last);
        state.row = Some(row.clone());
        Ok(row)
    }
}

impl State {
    /// Where these segments stand in the list, if they do, one after the other, all below the checkpoint.
    fn position_of(&self, inputs: &[Arc<Segment>]) -> Option<usize> {
        let first = inputs.first()?;
        let at = self.segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
        let there = self.segments.get(at..at + inputs.len())?;
        let checkpoint = self.row.as_ref()?.checkpoint.segment;
        let same = there.iter().zip(inputs).all(|(a, b)| Arc::ptr_eq(a, b));
        (same && there.last()?.base() < checkpoint).then_some(at)
    }
}

/// Old segments whose descriptors stay open while their names go.
struct Pinned<'a> {
    segments: &'a [Arc<Segment>],
    /// Whether their names are others' now.
    replaced: bool,
}

impl<'a> Pinned<'a> {
    fn new(log: &Log, segments: &'a [Arc<Segment>]) -> io::Result<Self> {
        segments.iter().for_each(|segment| segment.pin());
        // From here on the pins are given back whatever happens.
        let pinned = Self { segments, replaced: false };
        segments.iter().try_for_each(|segment| segment.open_for_good(&log.files))?;
        Ok(pinned)
    }

    fn replaced(mut self) {
        self.replaced = true;
    }

    /// Never closes them again.
    fn for_good(mut self) {
        self.segments = &[];
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        self.segments.iter().for_each(|segment| segment.unpin(self.replaced));
    }
}

/// One step of a swap. Those between two syncs of the directory may reach the disk in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// `.cleaned` becomes `.swap`. The `.log` is the last: without it the set is not complete.
    Complete(SegmentFileName),
    /// The complete set is on disk: it will take the place of the old files, come what may.
    Decide,
    /// An old file becomes `.deleted`.
    Remove(SegmentFileName),
    /// `.swap` gets its final name. The `.log` is the first: from then on there is nothing to be covered.
    Place(SegmentFileName),
    /// The new names are on disk.
    Settle,
}

/// How the output at the first of `bases` takes the place of the segments at `bases`. `has_aborted` says whether it has a
/// `.txnindex`.
pub(super) fn steps(bases: &[i64], has_aborted: bool) -> Vec<Step> {
    let file = |offset, kind| SegmentFileName { offset, kind, state: FileState::Live };
    let Some(base) = bases.first().copied() else { return Vec::new() };
    let kinds = OUTPUT_KINDS.into_iter().filter(|kind| has_aborted || *kind != FileKind::TxnIndex);
    let outputs = kinds.map(|kind| file(base, kind));
    let mut steps: Vec<Step> = outputs.clone().map(Step::Complete).collect();
    steps.push(Step::Decide);
    for offset in bases {
        for kind in SEGMENT_KINDS {
            // The producers at the first offset are the new segment's, too.
            if kind != FileKind::Snapshot || *offset != base {
                steps.push(Step::Remove(file(*offset, kind)));
            }
        }
    }
    steps.extend(outputs.rev().map(Step::Place));
    steps.push(Step::Settle);
    steps
}

impl Step {
    pub(super) fn perform(self, dir: &Path) -> io::Result<()> {
        let path = |name: SegmentFileName, state| name.with_state(state).path_in(dir);
        match self {
            Self::Complete(name) => fs::rename(path(name, FileState::Cleaned), path(name, FileState::Swap)),
            Self::Place(name) => fs::rename(path(name, FileState::Swap), path(name, FileState::Live)),
            Self::Remove(name) => {
                let from = path(name, FileState::Live);
                match fs::rename(&from, path(name, FileState::Deleted)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    // A full disk may have no room for another name.
                    Err(_) => fs::remove_file(&from),
                    Ok(()) => Ok(()),
                }
            }
            Self::Decide | Self::Settle => File::open(dir)?.sync_all(),
        }
    }

    /// The file that is to be unlinked later on account of this step.
    fn removed(self, dir: &Path) -> Option<PathBuf> {
        let Self::Remove(name) = self else { return None };
        let path = name.with_state(FileState::Deleted).path_in(dir);
        path.exists().then_some(path)
    }
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
