//! Making appends durable: the group sync that all partitions share, and checkpoints behind it.
//!
//! A log tells the [`Committer`] what it appended and how soon that must be durable ([`When`]). One thread runs rounds: it asks each target what is dirty ([`SyncTarget::note`]), syncs it
//! all, and publishes the ends that were noted *before* the sync. While a round runs the next one gathers; there is no
//! linger timer. `.log` files, and what a first ack needs, are synced here and nowhere else: two threads that sync one
//! descriptor could take each other's error.
//!
//! At a stop, in this order: logs closed, [`Checkpointer::stop`] (it needs the committer), [`Committer::stop`], then the
//! manifest's `stopped`.

mod checkpointer;
mod committer;
mod pace;
mod policy;
mod queue;
mod syncer;
mod unsynced;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

pub use checkpointer::{CheckpointLimits, Checkpointer};
pub use committer::{Committer, CommitterSpec};
pub use policy::FlushPolicy;
pub use syncer::WholeSync;
pub use unsynced::{Unsynced, unsynced_limit_bytes};

use super::manifest::PartitionRow;

/// Something whose bytes the committer makes durable: one partition's log.
///
/// The committer calls from its own thread, never with a lock held, and never notes a target again before the round of
/// its last note has ended. Implementations must not block.
pub trait SyncTarget: Send + Sync {
    /// The target's place in the committer's queue.
    fn mark(&self) -> &SyncMark;

    /// Everything that is dirty now and the end it reaches; `None` if nothing is. What is handed over counts as clean.
    fn note(&self) -> Option<SyncNote>;

    /// All that a note listed is on disk: `end` is durable.
    fn synced(&self, end: i64);

    /// A sync failed, here or elsewhere in the directory. Final: nothing of this target becomes durable any more.
    /// May be told more than once.
    fn failed(&self, error: &Arc<io::Error>);
}

/// What must be on disk before `end` may be called durable.
#[derive(Debug, Clone)]
pub struct SyncNote {
    /// Dirty files, through the descriptors that wrote them: only those are sure to learn of a failed write-back.
    pub files: Vec<Arc<File>>,
    /// What is synced through a descriptor of its own: directories with new entries (after a roll the partition's, after
    /// a first append the data directory too) and the small files that were put there. Thousands of partitions that
    /// are written to for the first time need no descriptor for these meanwhile.
    pub paths: Vec<Arc<Path>>,
    /// The end of the log that the files hold.
    pub end: i64,
}

/// A log's place in the committer's queue, kept in the log so that an append which is queued already takes no lock.
#[derive(Debug, Default)]
pub struct SyncMark {
    /// The urgency the target is queued with; 0 is "not queued".
    level: AtomicU8,
    /// Bytes appended since the last note.
    unsynced_bytes: AtomicU64,
}

impl SyncMark {
    /// Bytes appended since the last note.
    pub fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes.load(Ordering::Relaxed)
    }

    fn level(&self) -> u8 {
        self.level.load(Ordering::SeqCst)
    }

    fn set_level(&self, level: u8) {
        self.level.store(level, Ordering::SeqCst);
    }

    /// Counts appended bytes; what there are now.
    fn add_unsynced(&self, bytes: u64) -> u64 {
        self.unsynced_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    fn take_unsynced(&self) -> u64 {
        self.unsynced_bytes.swap(0, Ordering::Relaxed)
    }
}

/// How soon an append is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Only at a roll, at a stop, and when the broker holds too many unsynced bytes (`fsync = "never"`).
    Someday,
    /// In the background, at most this long after the target became dirty (`fsync = "interval"`, `flush.ms`).
    Within(Duration),
    /// With the next round, which starts in 10 ms at the latest (`batch` with acks=1: the high watermark waits).
    Soon,
    /// In the next round: somebody waits (`batch` with acks=all, `always`, `flush.messages`, a roll).
    Now,
}

impl When {
    /// Urgency as [`SyncMark`] keeps it; 0 is "not queued".
    fn level(self) -> u8 {
        match self {
            Self::Someday => 1,
            Self::Within(_) => 2,
            Self::Soon => 3,
            Self::Now => 4,
        }
    }
}

/// A partition that can be checkpointed: its files made right up to a place, which a manifest row then vouches for.
pub trait CheckpointTarget: Send + Sync {
    /// The target's place in the checkpointer's queue.
    fn checkpoint_mark(&self) -> &CheckpointMark;

    /// Writes out what describes the log up to its present end (index tails, producer file, epochs; it may block) and
    /// says what has to be on disk before the row may be put. `None`: nothing is behind.
    ///
    /// The `.log` files are not listed: the committer syncs those ([`CheckpointTarget::sync_target`]), and the row
    /// waits until [`CheckpointTarget::durable`] has reached its offset.
    ///
    /// # Errors
    /// What the file system said. The checkpoint stays behind, and is tried again later.
    fn prepare(&self) -> io::Result<Option<CheckpointNote>>;

    /// The durable end of the log.
    fn durable(&self) -> i64;

    /// The log, for the committer.
    fn sync_target(&self) -> Arc<dyn SyncTarget>;

    /// Whether its topic was deleted: then no row of it may stay in the manifest.
    fn is_gone(&self) -> bool;

    /// The row is durable in the manifest: its checkpoint is the log's checkpoint now.
    fn checkpointed(&self, row: &Arc<PartitionRow>);
}

/// What a checkpoint needs on disk, and the row that may be put then.
#[derive(Debug, Clone)]
pub struct CheckpointNote {
    /// Files other than `.log` that changed since the last checkpoint (indexes, producers, epochs), and directories with
    /// new or renamed entries. They are opened one by one, if at all: a round of many partitions needs no descriptors for
    /// them.
    pub paths: Vec<Arc<Path>>,
    /// The row.
    pub row: Arc<PartitionRow>,
}

/// A log's place in the checkpointer's queue, kept in the log so that most appends take no lock.
#[derive(Debug, Default)]
pub struct CheckpointMark {
    /// Whether the target is queued.
    queued: AtomicBool,
    /// Bytes appended since the last checkpoint was prepared.
    behind_bytes: AtomicU64,
}

impl CheckpointMark {
    /// Bytes appended since the last checkpoint was prepared: what recovery would have to read.
    pub fn behind_bytes(&self) -> u64 {
        self.behind_bytes.load(Ordering::Relaxed)
    }

    /// Whether the checkpointer will come to the target.
    pub fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }
}
