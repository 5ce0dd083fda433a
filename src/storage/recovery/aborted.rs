//! The aborted transactions below the checkpoint. Nothing in a `.txnindex` shows that it has lost entries, and a reader of
//! committed records would be given what was aborted; so each file is held against the manifest's sum of it, and one that
//! differs is made anew from the log.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::Recovery;
use super::producers::control_batch;
use crate::storage::layout::{FileKind, segment_file_in};
use crate::storage::log::{Replay, Replayed};
use crate::storage::manifest::SegmentRow;
use crate::storage::txn_index::{self, AbortedTransaction};

impl Recovery<'_> {
    /// Sees whether the files are what the row says, and has the log tell again what the others held.
    pub(super) fn check_aborted(&mut self, replay: &mut dyn FnMut(Replay<'_>) -> Replayed) -> io::Result<()> {
        let Some(row) = self.row.clone() else { return Ok(()) };
        let mut wrong = BTreeMap::new();
        for listed in row.segments.iter().filter(|listed| listed.base <= self.checkpoint.segment) {
            let Some(sum) = listed.aborted else { continue };
            let path = segment_file_in(self.dir(), listed.base, FileKind::TxnIndex);
            if !txn_index::has(&path, sum) {
                wrong.insert(listed.base, Vec::new());
            } else if let Some(segment) = self.segments.iter().find(|segment| segment.base() == listed.base) {
                segment.aborted().knows(sum);
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            topic = %self.spec.topic, partition = self.spec.id.partition, files = wrong.len(),
            first_file = %segment_file_in(self.dir(), *wrong.keys().next().unwrap_or(&0), FileKind::TxnIndex).display(),
            "the list of aborted transactions is not what was written: it is made anew from the log"
        );
        self.collect_aborted(&row.segments, &mut wrong, replay)?;
        for (base, entries) in wrong {
            let path = segment_file_in(self.dir(), base, FileKind::TxnIndex);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            match self.segments.iter().find(|segment| segment.base() == base) {
                Some(segment) => {
                    segment.aborted().was_remade(entries);
                    if let Err(error) = segment.flush_aborted() {
                        tracing::warn!(file = %path.display(), %error, "the list stays in memory, and the next start makes it again");
                    }
                }
                // It comes to the list when it is read forward.
                None => drop(self.remade_aborted.insert(base, entries)),
            }
        }
        Ok(())
    }

    /// Walks over all that the checkpoint vouches for, as if for the producers, and takes what was aborted in these
    /// segments. From the log's start on: where compaction has been, an older producer file may know of transactions
    /// whose markers are gone.
    fn collect_aborted(
        &mut self,
        listed: &[SegmentRow],
        wanted: &mut BTreeMap<i64, Vec<AbortedTransaction>>,
        replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
    ) -> io::Result<()> {
        let _ = replay(Replay::Afresh);
        self.walk_below_checkpoint(i64::MIN, &mut |file, step| {
            let control = control_batch(file, step);
            let event = Replay::Batch { header: &step.header, control: control.as_deref() };
            if let Replayed::Aborted(transaction) = replay(event) {
                let behind = listed.partition_point(|segment| segment.base <= transaction.last_offset);
                let at = behind.checked_sub(1).and_then(|nth| listed.get(nth));
                if let Some(entries) = at.and_then(|segment| wanted.get_mut(&segment.base)) {
                    entries.push(transaction);
                }
            }
        })?;
        let _ = replay(Replay::Afresh);
        Ok(())
    }
}
