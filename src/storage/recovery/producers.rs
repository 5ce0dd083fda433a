//! Producer state: the newest sound producer file at or below the checkpoint, then the headers of the batches behind it.
//!
//! What the files say is the partition's business; here they are names, offsets and bytes. Batches past the checkpoint
//! are replayed by the scan.

use std::fs;

use super::Recovery;
use super::listing::Listing;
use crate::record::batch::BatchHeader;
use crate::storage::layout::{FileKind, segment_file_in};
use crate::storage::log::{OpenError, Replay, Replayed};
use crate::storage::pread::{Wait, read_full};
use crate::storage::segment_file::SegmentFile;
use crate::storage::walk::Step;

impl Recovery<'_> {
    /// Hands the producer file over, and the batches between it and the checkpoint.
    pub(super) fn load_producers(
        &mut self,
        replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
    ) -> Result<(), OpenError> {
        let checkpoint = self.checkpoint.offset;
        self.replay_from = checkpoint;
        if self.row.as_ref().is_some_and(|row| !row.producers) {
            return Ok(());
        }
        if self.report.clean {
            self.listing = Listing::of_producers(self.dir()).map_err(|error| self.fault(error))?;
        }
        self.replay_from = self.load_file(checkpoint, replay).unwrap_or(0);
        if self.replay_from < checkpoint {
            self.replay_headers(replay).map_err(|error| self.fault(error))?;
        }
        Ok(())
    }

    /// Shows producer files until one is found sound; its offset.
    fn load_file(&self, checkpoint: i64, replay: &mut dyn FnMut(Replay<'_>) -> Replayed) -> Option<i64> {
        // Ours first: it knows five batches of each producer, Kafka's only the last.
        let kinds =
            [(FileKind::Producers, &self.listing.producers), (FileKind::Snapshot, &self.listing.snapshots)];
        for (kind, offsets) in kinds {
            let mut offsets: Vec<i64> =
                offsets.iter().copied().filter(|offset| *offset <= checkpoint).collect();
            offsets.sort_unstable();
            for offset in offsets.into_iter().rev() {
                let path = segment_file_in(self.dir(), offset, kind);
                let small = fs::metadata(&path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
                let Some(bytes) = small.then(|| fs::read(&path).ok()).flatten() else {
                    tracing::warn!(file = %path.display(), "cannot read a producer file: trying an older one");
                    continue;
                };
                let kafka = kind == FileKind::Snapshot;
                if replay(Replay::Snapshot { offset, kafka, bytes: &bytes }) != Replayed::Damaged {
                    return Some(offset);
                }
                tracing::warn!(file = %path.display(), "a producer file is damaged: trying an older one");
            }
        }
        None
    }

    /// Replays the batches from the producer file to the checkpoint, by their headers.
    fn replay_headers(&mut self, replay: &mut dyn FnMut(Replay<'_>) -> Replayed) -> std::io::Result<()> {
        let from = self.replay_from;
        self.walk_below_checkpoint(from, &mut |file, step| {
            if step.header.last_offset() >= from {
                let control = control_batch(file, step);
                // What was aborted below the checkpoint is in the segments' files, which were checked.
                let _ = replay(Replay::Batch { header: &step.header, control: control.as_deref() });
            }
        })
    }
}

/// The whole batch, if it is a control batch.
pub(super) fn control_batch(file: &SegmentFile, step: &Step) -> Option<Vec<u8>> {
    let header: &BatchHeader = &step.header;
    if !header.attributes.is_control() || header.total_len() > CONTROL_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; header.total_len()];
    read_full(file.log(), step.position, &mut bytes, Wait::MayBlock).ok()?;
    Some(bytes)
}

/// The largest producer file that is read, in bytes (46 bytes a producer in Kafka's, five batches each in ours).
const FILE_BYTES_MAX: u64 = 512 << 20;
/// The largest control batch; they hold one record of a few bytes.
const CONTROL_BYTES_MAX: usize = 64 << 10;
