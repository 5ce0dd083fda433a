//! Whether the disk is so slow at this moment that a write into the page cache may stand still for long.
//!
//! Such a write waits for the disk although nobody asked it to: in the file system's journal while a commit is under
//! way, or because too much is dirty. Nothing says so beforehand; a sync that takes long, and a write that has stood
//! still or does so now, are what comes before the next.
//!
//! A worker whose write stands still serves nobody, and to have another thread serve its connections meanwhile costs
//! more than the write does when it does not. So a write is made where it came up as long as workers enough are left
//! that are not in one, and only then on a thread that may wait.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A sync that takes this long is a slow disk's.
pub(super) const SLOW_SYNC: Duration = Duration::from_millis(500);
/// A write into the page cache that takes this long waited for the disk.
pub(super) const STALL: Duration = Duration::from_millis(100);
/// How long a disk counts as slow after it last was.
pub(super) const LINGERS: Duration = Duration::from_secs(10);
/// Where some worker has been in a write all this time, one of them may be in the same.
pub(super) const LONG: Duration = Duration::from_millis(2);

/// What is known of the disk's pace. Times are [`crate::types::Clock::monotonic`]; all queries are atomic loads.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the sync that runs began, in microseconds from one on; 0: none runs.
    syncing_since: AtomicU64,
    /// Until when the disk counts as slow, in microseconds.
    slow_until: AtomicU64,
    /// Workers that are in a write.
    writing: AtomicUsize,
    /// Since when some worker has been in one, in microseconds; of old if none is.
    writing_since: AtomicU64,
}

/// A worker's write; over when this is dropped.
#[derive(Debug)]
pub(super) struct WorkersWrite<'a>(&'a Pace);

impl Drop for WorkersWrite<'_> {
    fn drop(&mut self) {
        self.0.writing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    /// Begins a write on one of so many workers; `None` if it belongs on a thread that may wait. `may_stall`: the disk is
    /// slow, or much is unsynced.
    ///
    /// Half of the workers write then, or one of two. Otherwise only the last one does not, when others have been in
    /// writes for [`LONG`]: what stands still for the first time has at most taken those that began with it.
    pub(super) fn write_begins(
        &self,
        now: Duration,
        may_stall: bool,
        workers: impl FnOnce() -> usize,
    ) -> Option<WorkersWrite<'_>> {
        let others = self.writing.fetch_add(1, Ordering::Relaxed);
        let write = WorkersWrite(self);
        let belongs_elsewhere = match others {
            0 => {
                self.writing_since.store(micros(now), Ordering::Relaxed);
                may_stall && workers() < 2
            }
            _ if may_stall => others >= workers() / 2,
            _ => {
                let since = self.writing_since.load(Ordering::Relaxed);
                micros(now).saturating_sub(since) >= micros(LONG) && others + 1 >= workers()
            }
        };
        (!belongs_elsewhere).then_some(write)
    }

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
    fn on_a_slow_disk_half_of_the_workers_write_and_the_rest_have_it_done() {
        let pace = Pace::default();
        let write = |workers| pace.write_begins(AT, true, move || workers);
        assert!(write(1).is_none(), "it is the only one");
        for workers in [2, 3, 8] {
            let writes: Vec<_> = (0..workers / 2).map(|_| write(workers).expect("one of half")).collect();
            assert!(write(workers).is_none() && write(workers).is_none());
            drop(writes);
        }
        assert!(write(2).is_some());
    }

    #[test]
    fn the_last_worker_does_not_write_while_another_has_been_at_it_for_long() {
        let pace = Pace::default();
        let write = |at| pace.write_begins(at, false, || 2);
        let alone = pace.write_begins(AT, false, || 1).expect("the disk is quick");
        drop(alone);
        let first = write(AT).expect("nobody else writes");
        assert!(write(AT + LONG / 2).is_some(), "it has hardly begun");
        assert!(write(AT + LONG).is_none());
        drop(first);
        let second = write(AT + 2 * LONG).expect("nobody else writes");
        assert!(write(AT + 2 * LONG).is_some(), "the first one is over");
        drop(second);
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
