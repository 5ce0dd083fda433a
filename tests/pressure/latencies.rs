//! How long many things took.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Durations, sorted when they are asked for.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Does it over and over, with this pause between, until it is over. What is begun is ended.
    pub(crate) fn of(over: &AtomicBool, pause: Duration, mut work: impl FnMut()) -> Self {
        let mut all = Self::default();
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            work();
            all.0.push(began.elapsed());
            thread::sleep(pause);
        }
        all
    }

    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn together(all: impl Iterator<Item = Self>) -> Self {
        Self(all.flat_map(|one| one.0).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// So much of all took no longer than this.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[allow(clippy::cast_possible_truncation, reason = "a place among them")]
        let place = (sorted.len() as f64 * share) as usize;
        *sorted.get(place).or_else(|| sorted.last()).expect("something was measured")
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

/// Measures on a thread of its own while this one works.
pub(crate) fn meanwhile<T: Send>(measure: impl FnOnce(&AtomicBool) -> T + Send, work: impl FnOnce()) -> T {
    /// Also when the work panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let measuring = scope.spawn(|| measure(&over));
        let until = Over(&over);
        work();
        drop(until);
        measuring.join().expect("what is measured goes well")
    })
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.quantile(share).as_secs_f64() * 1000.0;
        let (p50, p99, max) = (ms(0.5), ms(0.99), ms(1.0));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms of {}", self.count())
    }
}
