//! Offsets that open transactions will commit (S60). They are hard state: the records are in the log, in transactional
//! batches, and a marker in the log turns them into commits or drops them.
//!
//! What counts for a partition is what is last in the log, whenever its transaction ends: a commit behind a pending
//! offset overtakes it. That is kept as a mark on the pending offset and not as an offset in the log, so that a log that
//! was compacted in between gives the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::hard::CommittedOffset;

/// An offset's place: group, topic, partition.
pub(super) type OffsetKey = (Arc<str>, Arc<str>, i32);

/// An offset that a transaction will commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingOffset {
    /// Whose transaction it is.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// What will be committed.
    pub value: CommittedOffset,
}

/// What is pending for one partition: at most one offset of each producer, in the order of the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PendingOffsets {
    offsets: Vec<PendingOffset>,
    /// So many from the front are overtaken by a commit that is later in the log.
    overtaken: usize,
}

impl PendingOffsets {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PendingOffset> {
        self.offsets.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Adds one, in place of what the same producer had.
    pub(super) fn add(&mut self, pending: PendingOffset) {
        if let Some(at) = self.place(pending.producer_id) {
            self.remove(at);
        }
        self.offsets.push(pending);
    }

    /// A commit follows all of these in the log.
    pub(super) fn overtake_all(&mut self) {
        self.overtaken = self.offsets.len();
    }

    /// The producer's transaction has ended. What that commits, unless a commit overtook it.
    pub(super) fn end(&mut self, producer_id: i64, commit: bool) -> Option<CommittedOffset> {
        let at = self.place(producer_id)?;
        let counts = commit && at >= self.overtaken;
        let pending = self.remove(at);
        if counts {
            self.overtaken = at;
        }
        counts.then_some(pending.value)
    }

    fn place(&self, producer_id: i64) -> Option<usize> {
        self.offsets.iter().position(|pending| pending.producer_id == producer_id)
    }

    fn remove(&mut self, at: usize) -> PendingOffset {
        if at < self.overtaken {
            self.overtaken -= 1;
        }
        self.offsets.remove(at)
    }
}

/// A transaction that has offsets in this shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OpenTransaction {
    /// The epoch of the last offsets that it brought.
    pub(super) producer_epoch: i16,
    /// Where it has pending offsets. Deletions may have left none; it is open until its marker comes.
    pub(super) offsets: BTreeSet<OffsetKey>,
}

impl OpenTransaction {
    pub(super) fn add(&mut self, producer_epoch: i16, key: OffsetKey) {
        self.producer_epoch = producer_epoch;
        self.offsets.insert(key);
    }

    /// Its pending offset at this place is gone.
    pub(super) fn forget(&mut self, group: &str, topic: &str, partition: i32) {
        self.offsets.remove(&(Arc::from(group), Arc::from(topic), partition));
    }
}
