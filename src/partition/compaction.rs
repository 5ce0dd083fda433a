//! What compaction asks of a partition: how far it may go, and whose batches it must keep.

use super::Partition;
use crate::storage::compaction::ActiveProducers;

impl Partition {
    /// Up to where compaction may go: what is decided, durable, and below the checkpoint's segment.
    pub fn compaction_bound(&self) -> i64 {
        let decided = self.last_stable_offset().min(self.reader.durable());
        self.log.checkpoint_segment().map_or(i64::MIN, |checkpoint| checkpoint.min(decided))
    }

    /// The producers that may go on writing, and what each wrote last.
    pub fn active_producers(&self) -> ActiveProducers {
        self.with_writer(|writer| writer.producers.lasts())
    }
}
