//! The partition as the committer and the checkpointer see it: its log, and the producer state that goes with it.

use std::io;
use std::sync::{Arc, Weak};

use super::Partition;
use crate::storage::flush::{
    CheckpointMark, CheckpointNote, CheckpointTarget, SyncMark, SyncNote, SyncTarget, When,
};
use crate::storage::log::Log;
use crate::storage::manifest::PartitionRow;

/// What the committer syncs: the log, whose partition then hears of it.
#[derive(Debug)]
pub(super) struct SyncSide {
    pub(super) log: Arc<Log>,
    pub(super) partition: Weak<Partition>,
}

impl Partition {
    /// Tells the committer and the checkpointer of appended bytes.
    pub(super) fn ask_for_sync(self: &Arc<Self>, bytes: u64, when: When) {
        self.committer.mark_dirty(&self.sync, bytes, when);
        if bytes > 0 {
            self.checkpointer.appended(self, bytes);
        }
    }
}

impl Partition {
    /// Asks for what is dirty to be synced with the next round.
    pub fn request_sync(self: &Arc<Self>) {
        if self.reader.durable() < self.reader.end() {
            self.ask_for_sync(0, When::Soon);
        }
    }
}

impl SyncTarget for SyncSide {
    fn mark(&self) -> &SyncMark {
        self.log.mark()
    }

    fn note(&self) -> Option<SyncNote> {
        self.log.note()
    }

    fn synced(&self, end: i64) {
        self.log.synced(end);
        if let Some(partition) = self.partition.upgrade() {
            partition.durable(end);
        }
    }

    fn failed(&self, error: &Arc<io::Error>) {
        self.log.failed(error);
        if let Some(partition) = self.partition.upgrade() {
            partition.fail();
        }
    }
}

impl CheckpointTarget for Partition {
    fn checkpoint_mark(&self) -> &CheckpointMark {
        self.log.checkpoint_mark()
    }

    fn prepare(&self) -> io::Result<Option<CheckpointNote>> {
        if self.is_deleted() {
            return Ok(None);
        }
        let (mark, producers, undecided) = self.with_writer(|writer| {
            let producers = (!writer.producers.is_empty()).then(|| writer.producers.to_window_snapshot());
            (writer.log.mark(), producers, writer.producers.first_open().unwrap_or(i64::MAX))
        });
        let note = self.log.prepare_checkpoint(&mark, producers.as_deref(), producers.is_some())?;
        if let Some(note) = &note {
            self.decided.prepare(note.row.checkpoint.offset, undecided);
        }
        Ok(note)
    }

    fn durable(&self) -> i64 {
        self.reader.durable()
    }

    fn sync_target(&self) -> Arc<dyn SyncTarget> {
        Arc::clone(&self.sync) as Arc<dyn SyncTarget>
    }

    fn is_gone(&self) -> bool {
        self.is_deleted()
    }

    fn checkpointed(&self, row: &Arc<PartitionRow>) {
        self.log.checkpointed(row);
        self.decided.checkpointed(row.checkpoint.offset);
    }
}
