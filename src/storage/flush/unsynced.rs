//! The broker's own count of bytes that are appended but not on disk yet, with two marks.
//!
//! The kernel throttles writers when too many pages are dirty, and a throttled worker stalls every connection it serves.
//! So write-back is started at a quarter of the limit, appends go to threads that may stall at half of it, and at all of
//! it Produce has to wait. It has to wait, too, while as many of those threads stall as writes may take.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The limit for a machine, or a cgroup, with this much memory: a tenth of it, at most 1 GiB.
pub fn unsynced_limit_bytes(memory_bytes: u64) -> u64 {
    (memory_bytes / 10).clamp(LIMIT_BYTES_MIN, LIMIT_BYTES_MAX)
}

/// Writes on threads that may wait, at which Produce has to wait for one to end: half of the threads that there are of
/// that kind (the program sets 512). The rest are for reads of what is not in memory, which take up to 64, for the logs of
/// the coordinators, which have at most a hundred partitions, and for the workers' own loops, which run on such threads
/// as well once their first ones stall: without one more, nothing at all goes on.
pub(super) const WRITES_ELSEWHERE_MAX: usize = 256;

/// Unsynced bytes of all logs of a data directory. Queries are one or two atomic loads.
#[derive(Debug)]
pub struct Unsynced {
    bytes: AtomicU64,
    limit_bytes: u64,
    /// Writes that are under way on threads that may wait.
    elsewhere: AtomicUsize,
    /// Set when the directory has failed: nothing is synced any more, so nothing may wait for it.
    released: AtomicBool,
    /// Connections that wait for room.
    waiting: Mutex<Waiting>,
}

/// Who waits, each in a place of its own, so that coming and going cost the same however many there are.
#[derive(Debug, Default)]
struct Waiting {
    places: Vec<Option<Waker>>,
    /// Places that are empty.
    free: Vec<usize>,
    /// How often all were woken, which empties the places.
    woken: u64,
}

/// A wait for room. Gives up its place when it is dropped.
#[derive(Debug)]
pub struct Room<'a> {
    unsynced: &'a Unsynced,
    /// Where it waits, and how often all had been woken before it came there.
    place: Option<(usize, u64)>,
}

impl Unsynced {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            limit_bytes: limit_bytes.max(1),
            elsewhere: AtomicUsize::new(0),
            released: AtomicBool::new(false),
            waiting: Mutex::default(),
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
        let takes_no_more = self.bytes() >= self.limit_bytes
            || self.elsewhere.load(Ordering::Relaxed) >= WRITES_ELSEWHERE_MAX;
        takes_no_more && !self.released.load(Ordering::Relaxed)
    }

    /// A write begins on a thread that may wait; it is over when what is returned is dropped.
    ///
    /// Those that do not come from Produce do not ask whether there is [room](Self::room), and each worker may begin one
    /// more than there is, so more than the bound may be under way, by a few.
    pub(super) fn write_elsewhere(&self) -> WriteElsewhere<'_> {
        self.elsewhere.fetch_add(1, Ordering::Relaxed);
        WriteElsewhere(self)
    }

    /// Whether appends belong on threads that may stall: half of the limit is reached.
    pub fn is_past_half(&self) -> bool {
        self.bytes() >= self.limit_bytes / 2
    }

    /// Waits until there is room.
    pub fn room(&self) -> Room<'_> {
        Room { unsynced: self, place: None }
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
        let mut waiting = self.waiting.lock();
        // Asked under the lock: of two who each take away one reason to wait, the second sees what the first did.
        if self.is_full() {
            return;
        }
        waiting.free.clear();
        waiting.woken += 1;
        let places = std::mem::take(&mut waiting.places);
        drop(waiting);
        places.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A write on a thread that may wait.
#[derive(Debug)]
pub(super) struct WriteElsewhere<'a>(&'a Unsynced);

impl Drop for WriteElsewhere<'_> {
    fn drop(&mut self) {
        if self.0.elsewhere.fetch_sub(1, Ordering::Relaxed) == WRITES_ELSEWHERE_MAX {
            self.0.wake();
        }
    }
}

impl Future for Room<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let unsynced = self.unsynced;
        if !unsynced.is_full() {
            return Poll::Ready(());
        }
        let mut waiting = unsynced.waiting.lock();
        // Looked at again under the lock, which whoever makes room takes after it made it.
        if !unsynced.is_full() {
            return Poll::Ready(());
        }
        let place = waiting.take_place(self.place);
        self.place = Some((place, waiting.woken));
        if let Some(slot) = waiting.places.get_mut(place) {
            match slot {
                Some(waker) => waker.clone_from(context.waker()),
                None => *slot = Some(context.waker().clone()),
            }
        }
        Poll::Pending
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.unsynced.waiting.lock().leave(self.place);
        }
    }
}

impl Waiting {
    /// The place that was taken before, unless all were woken since; then another.
    fn take_place(&mut self, before: Option<(usize, u64)>) -> usize {
        match before {
            Some((place, woken)) if woken == self.woken => place,
            _ => self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            }),
        }
    }

    fn leave(&mut self, place: Option<(usize, u64)>) {
        if let Some((place, woken)) = place
            && woken == self.woken
            && let Some(slot) = self.places.get_mut(place)
        {
            *slot = None;
            self.free.push(place);
        }
    }
}

const LIMIT_BYTES_MAX: u64 = 1 << 30;
const LIMIT_BYTES_MIN: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
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
        assert!(pin!(unsynced.room()).poll(&mut cx).is_ready());
        unsynced.add(150);
        let mut room = pin!(unsynced.room());
        assert!(room.as_mut().poll(&mut cx).is_pending());
        assert!(room.as_mut().poll(&mut cx).is_pending(), "polled twice, registered once");
        unsynced.sub(50);
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "100 of 100 is still full");
        unsynced.sub(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        // Room that another took meanwhile is waited for again.
        unsynced.add(150);
        assert!(room.as_mut().poll(&mut cx).is_pending());
        unsynced.sub(150);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert!(room.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn who_no_longer_waits_for_room_is_not_woken_and_leaves_its_place_to_another() {
        let unsynced = Unsynced::new(100);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        unsynced.add(100);
        let mut stays = pin!(unsynced.room());
        assert!(stays.as_mut().poll(&mut cx).is_pending());
        for _ in 0..100 {
            assert!(pin!(unsynced.room()).poll(&mut cx).is_pending());
        }
        assert_eq!(unsynced.waiting.lock().places.len(), 2);
        // One that leaves after all were woken takes nobody's place.
        let mut late = Box::pin(unsynced.room());
        assert!(late.as_mut().poll(&mut cx).is_pending());
        unsynced.sub(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        unsynced.add(1);
        let mut others = [(); 3].map(|()| Box::pin(unsynced.room()));
        assert!(others.iter_mut().all(|other| other.as_mut().poll(&mut cx).is_pending()));
        drop(late);
        unsynced.sub(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn thousands_who_wait_for_room_cost_no_more_each_than_one() {
        const WAIT: usize = 10_000;
        let unsynced = Unsynced::new(100);
        unsynced.add(100);
        let counts: Vec<_> = (0..WAIT).map(|_| Arc::new(Count::default())).collect();
        let wakers: Vec<_> = counts.iter().map(|count| Waker::from(count.clone())).collect();
        let mut rooms: Vec<_> = (0..WAIT).map(|_| Box::pin(unsynced.room())).collect();
        let clock = crate::types::Clock::system();
        let began = clock.monotonic();
        for _ in 0..50 {
            for (room, waker) in rooms.iter_mut().zip(&wakers) {
                assert!(room.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            }
        }
        // Half a million polls; to look through all who wait at each takes half a minute.
        let took = clock.monotonic().saturating_sub(began);
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
        unsynced.sub(1);
        assert!(counts.iter().all(|count| count.0.load(Ordering::SeqCst) == 1));
    }

    #[test]
    fn as_many_writes_that_may_stall_as_may_be_hold_produce_back_until_one_ends() {
        let unsynced = Unsynced::new(100);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut writes: Vec<_> = (1..WRITES_ELSEWHERE_MAX).map(|_| unsynced.write_elsewhere()).collect();
        assert!(!unsynced.is_full());
        writes.push(unsynced.write_elsewhere());
        writes.push(unsynced.write_elsewhere());
        let mut room = pin!(unsynced.room());
        assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        unsynced.add(100);
        writes.pop();
        writes.pop();
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "too much is unsynced, too");
        unsynced.sub(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn a_failed_directory_holds_nobody_back() {
        let unsynced = Unsynced::new(100);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        unsynced.add(150);
        let mut room = pin!(unsynced.room());
        assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        unsynced.release();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(!unsynced.is_full());
    }
}
