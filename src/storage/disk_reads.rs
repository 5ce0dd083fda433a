//! That readers of a segment wait for the disk, told to those who go through it in the background.
//!
//! A scrub or a cleaning lets go of what it alone has brought into memory. What a reader waits for at the same time comes
//! to both at once, and has to stay until it is sent: nothing else keeps it between the look whether it is in memory and
//! the call that sends it (`net/write_queue`), which would wait for the disk a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The reads from the disk on behalf of a segment's readers.
#[derive(Debug, Default)]
pub struct DiskReads {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl DiskReads {
    /// A read that may wait for the disk.
    pub(super) fn count<T>(&self, read: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let outcome = read();
        self.ended.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    /// Begins to look for them.
    pub(super) fn watch(self: &Arc<Self>) -> Watch {
        Watch { ended: self.ended.load(Ordering::SeqCst), reads: Arc::clone(self) }
    }
}

/// Whether a segment's readers wait for the disk, from some time on.
#[derive(Debug, Default)]
pub(super) struct Watch {
    reads: Arc<DiskReads>,
    ended: u64,
}

impl Watch {
    /// Whether one did since the watch began, or does now.
    pub(super) fn has_seen(&self) -> bool {
        // Nothing ends that has not begun.
        self.reads.begun.load(Ordering::SeqCst) != self.ended
    }
}
