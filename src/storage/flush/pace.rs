//! Whether the disk is so slow at this moment that a write into the page cache may stand still for long.
//!
//! Such a write waits for the disk although nobody asked it to: in the file system's journal while a commit is under
//! way, or because too much is dirty. Nothing says so beforehand; a sync that takes long, and a write that has stood
//! still, are what comes before the next.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A sync that takes this long is a slow disk's.
pub(super) const SLOW_SYNC: Duration = Duration::from_millis(500);
/// A write into the page cache that takes this long waited for the disk.
pub(super) const STALL: Duration = Duration::from_millis(100);
/// How long a disk counts as slow after it last was.
pub(super) const LINGERS: Duration = Duration::from_secs(10);

/// What is known of the disk's pace. Times are [`crate::types::Clock::monotonic`]; all queries are atomic loads.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the sync that runs began, in microseconds from one on; 0: none runs.
    syncing_since: AtomicU64,
    /// Until when the disk counts as slow, in microseconds.
    slow_until: AtomicU64,
}

impl Pace {
    pub(super) fn sync_begins(&self, now: Duration) {
        self.syncing_since.store(micros(now).max(1), Ordering::Relaxed);
    }

    pub(super) fn sync_ends(&self, now: Duration) {
        if self.is_syncing_for(SLOW_SYNC, now) {
            self.note_slow(now);
        }
        self.syncing_since.store(0, Ordering::Relaxed);
    }

    /// Takes note of how long a write into the page cache took.
    pub(super) fn wrote(&self, took: Duration, now: Duration) {
        if took >= STALL {
            self.note_slow(now);
        }
    }

    /// Whether the next write may stand still.
    pub(super) fn is_slow(&self, now: Duration) -> bool {
        micros(now) < self.slow_until.load(Ordering::Relaxed) || self.is_syncing_for(SLOW_SYNC, now)
    }

    fn is_syncing_for(&self, time: Duration, now: Duration) -> bool {
        let since = self.syncing_since.load(Ordering::Relaxed);
        since != 0 && micros(now).saturating_sub(since) >= micros(time)
    }

    fn note_slow(&self, now: Duration) {
        self.slow_until.fetch_max(micros(now + LINGERS), Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(100);

    #[test]
    fn a_disk_is_slow_while_a_sync_takes_long_and_for_a_while_after() {
        let pace = Pace::default();
        assert!(!pace.is_slow(AT));
        pace.sync_begins(AT);
        assert!(!pace.is_slow(AT + SLOW_SYNC / 2));
        assert!(pace.is_slow(AT + SLOW_SYNC));
        pace.sync_ends(AT + SLOW_SYNC);
        assert!(pace.is_slow(AT + SLOW_SYNC + LINGERS / 2));
        assert!(!pace.is_slow(AT + SLOW_SYNC + LINGERS));
        pace.sync_begins(AT + 2 * LINGERS);
        pace.sync_ends(AT + 2 * LINGERS + SLOW_SYNC / 2);
        assert!(!pace.is_slow(AT + 3 * LINGERS), "a sync in good time says nothing");
    }

    #[test]
    fn a_write_that_stood_still_says_so_too() {
        let pace = Pace::default();
        pace.wrote(STALL / 2, AT);
        assert!(!pace.is_slow(AT));
        pace.wrote(STALL, AT);
        assert!(pace.is_slow(AT + LINGERS / 2) && !pace.is_slow(AT + LINGERS));
    }
}
