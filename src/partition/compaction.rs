//! What compaction asks of a partition: how far it may go, and whose batches it must keep.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::Partition;
use crate::storage::compaction::ActiveProducers;

/// Up to where all is decided by markers that a checkpoint vouches for. A marker that a power cut may still take decides
/// nothing for good: what compaction drops on its account would be missing afterwards.
#[derive(Debug)]
pub(super) struct Decided {
    upto: AtomicI64,
    /// The offset of a checkpoint that is being made, and up to where all below it is decided.
    prepared: Mutex<Option<(i64, i64)>>,
}

impl Decided {
    /// As a start finds it.
    pub(super) fn upto(offset: i64) -> Self {
        Self { upto: AtomicI64::new(offset), prepared: Mutex::default() }
    }

    /// A checkpoint at `offset` is being made; of what lies below it all is decided below `upto`.
    pub(super) fn prepare(&self, offset: i64, upto: i64) {
        *self.prepared.lock() = Some((offset, upto));
    }

    /// A checkpoint at `offset` is made.
    pub(super) fn checkpointed(&self, offset: i64) {
        let mut prepared = self.prepared.lock();
        if let Some((_, upto)) = prepared.take_if(|(at, _)| *at == offset) {
            self.upto.store(upto, Ordering::Release);
        }
    }
}

impl Partition {
    /// Up to where compaction may go: what is decided, durable, and below the checkpoint's segment.
    pub fn compaction_bound(&self) -> i64 {
        let decided = self.decided.upto.load(Ordering::Acquire).min(self.reader.durable());
        self.log.checkpoint_segment().map_or(i64::MIN, |checkpoint| checkpoint.min(decided))
    }

    /// The producers that may go on writing, and what each wrote last.
    pub fn active_producers(&self) -> ActiveProducers {
        self.with_writer(|writer| writer.producers.lasts())
    }
}
