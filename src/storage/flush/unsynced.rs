//! The broker's own count of bytes that are appended but not on disk yet, with two marks.
//!
//! The kernel throttles writers when too many pages are dirty, and a throttled worker stalls every connection it serves.
//! So write-back is started at a quarter of the limit, appends go to threads that may stall at half of it, and at all of
//! it Produce has to wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The limit for a machine, or a cgroup, with this much memory: a tenth of it, at most 1 GiB.
pub fn unsynced_limit_bytes(memory_bytes: u64) -> u64 {
    (memory_bytes / 10).clamp(LIMIT_BYTES_MIN, LIMIT_BYTES_MAX)
}

/// Unsynced bytes of all logs of a data directory. Queries are one or two atomic loads.
#[derive(Debug)]
pub struct Unsynced {
    bytes: AtomicU64,
    limit_bytes: u64,
    /// Set when the directory has failed: nothing is synced any more, so nothing may wait for it.
    released: AtomicBool,
    /// Connections that wait for room; at most one entry each.
    waiting: Mutex<Vec<Waker>>,
}

impl Unsynced {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            limit_bytes: limit_bytes.max(1),
            released: AtomicBool::new(false),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Appended bytes that no finished sync covers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The mark at which Produce has to wait.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Whether Produce should wait.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.limit_bytes && !self.released.load(Ordering::Relaxed)
    }

    /// Whether appends belong on threads that may stall: half of the limit is reached.
    pub fn is_past_half(&self) -> bool {
        self.bytes() >= self.limit_bytes / 2
    }

    /// Ready when there is room; otherwise wakes the task once there is.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        // Looked at again under the lock, which whoever makes room takes after it made it.
        if !self.is_full() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether write-back should run.
    pub(super) fn wants_write_back(&self) -> bool {
        self.bytes() >= self.limit_bytes / 4
    }

    /// Counts appended bytes; whether they crossed the write-back mark.
    pub(super) fn add(&self, bytes: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mark = self.limit_bytes / 4;
        before < mark && before.saturating_add(bytes) >= mark
    }

    /// Takes synced bytes off, and wakes who waited if there is room now.
    pub(super) fn sub(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake();
    }

    /// Lets everybody go on: the directory failed, so appends are refused before they add anything.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        if self.is_full() {
            return;
        }
        let woken = std::mem::take(&mut *self.waiting.lock());
        for waker in woken {
            waker.wake();
        }
    }
}

const LIMIT_BYTES_MAX: u64 = 1 << 30;
const LIMIT_BYTES_MIN: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_limit_is_a_tenth_of_memory_within_reason() {
        assert_eq!(unsynced_limit_bytes(64 << 30), 1 << 30);
        assert_eq!(unsynced_limit_bytes(2_000_000_000), 200_000_000);
        assert_eq!(unsynced_limit_bytes(0), 16 << 20);
    }

    #[test]
    fn marks_stand_at_a_quarter_a_half_and_the_whole() {
        let unsynced = Unsynced::new(100);
        assert!(!unsynced.add(24) && !unsynced.wants_write_back());
        assert!(unsynced.add(1), "the crossing is told once");
        assert!(!unsynced.add(1) && unsynced.wants_write_back() && !unsynced.is_past_half());
        unsynced.add(24);
        assert!(unsynced.is_past_half() && !unsynced.is_full());
        unsynced.add(50);
        assert!(unsynced.is_full());
    }

    #[test]
    fn who_waits_for_room_is_woken_once_there_is_some() {
        let unsynced = Unsynced::new(100);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(unsynced.poll_room(&mut cx).is_ready());
        unsynced.add(150);
        assert!(unsynced.poll_room(&mut cx).is_pending());
        assert!(unsynced.poll_room(&mut cx).is_pending(), "polled twice, registered once");
        unsynced.sub(50);
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "100 of 100 is still full");
        unsynced.sub(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(unsynced.poll_room(&mut cx).is_ready());
    }

    #[test]
    fn a_failed_directory_holds_nobody_back() {
        let unsynced = Unsynced::new(100);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        unsynced.add(150);
        assert!(unsynced.poll_room(&mut Context::from_waker(&waker)).is_pending());
        unsynced.release();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(!unsynced.is_full());
    }
}
