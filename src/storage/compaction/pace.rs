//! How fast the cleaners may go, all together, and the word that they are to stop.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::types::Clock;

/// The cleaners' common bound on bytes read and written (`log.cleaner.io.max.bytes.per.second`). Waiting ends at once
/// when they are told to stop.
#[derive(Debug)]
pub struct Pace {
    clock: Clock,
    /// `None`: as fast as it goes.
    bytes_per_second: Option<f64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When what was spent so far is paid off.
    paid_at: Duration,
    stopping: bool,
    /// Counts what may be news to those who sleep.
    news: u64,
}

/// The cleaners are to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping;

impl Pace {
    /// A bound; without one if the rate is not positive or beyond what any disk does.
    pub fn new(clock: Clock, bytes_per_second: f64) -> Self {
        let rate = Some(bytes_per_second).filter(|rate| *rate > 0.0 && *rate < UNBOUNDED);
        Self { clock, bytes_per_second: rate, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Accounts for `bytes` and waits until they are paid off, but for what a short burst may owe.
    ///
    /// # Errors
    /// The cleaners are to stop.
    pub fn spend(&self, bytes: usize) -> Result<(), Stopping> {
        let mut state = self.state.lock();
        if let Some(rate) = self.bytes_per_second {
            let now = self.clock.monotonic();
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let cost = Duration::from_secs_f64((bytes as f64 / rate).min(COST_MAX.as_secs_f64()));
            state.paid_at = state.paid_at.max(now) + cost;
            let until = state.paid_at;
            let mut owed = until.saturating_sub(now);
            while owed > BURST && !state.stopping {
                self.changed.wait_for(&mut state, owed);
                owed = until.saturating_sub(self.clock.monotonic());
            }
        }
        if state.stopping { Err(Stopping) } else { Ok(()) }
    }

    /// What has been news so far; to be given to [`Pace::sleep`].
    pub fn news(&self) -> u64 {
        self.state.lock().news
    }

    /// Waits for `at_most`, or until there is other news than `seen`.
    ///
    /// # Errors
    /// The cleaners are to stop.
    pub fn sleep(&self, at_most: Duration, seen: u64) -> Result<(), Stopping> {
        let mut state = self.state.lock();
        if !state.stopping && state.news == seen {
            self.changed.wait_for(&mut state, at_most);
        }
        if state.stopping { Err(Stopping) } else { Ok(()) }
    }

    /// There may be something to do: ends every sleep.
    pub fn wake(&self) {
        self.state.lock().news += 1;
        self.changed.notify_all();
    }

    /// Ends everything.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Whether the cleaners are to stop.
    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }
}

/// Rates from here on are no bound; Kafka's default is the largest number there is.
const UNBOUNDED: f64 = 1e15;
/// What may be owed before anybody waits: sleeps shorter than this cost more than they help.
const BURST: Duration = Duration::from_millis(40);
/// The longest that one account may hold the cleaners up.
const COST_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_over_all_who_spend() {
        let clock = Clock::system();
        let pace = Pace::new(clock.clone(), 1_000_000.0);
        let began = clock.monotonic();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..10).for_each(|_| pace.spend(10_000).unwrap()));
            }
        });
        let took = clock.monotonic() - began;
        assert!(took >= Duration::from_millis(150), "{took:?} for a fifth of a second's bytes");
    }

    #[test]
    fn without_a_bound_nobody_waits() {
        for rate in [f64::MAX, f64::INFINITY, 0.0, f64::NAN] {
            let clock = Clock::manual(0);
            // A manual clock stands still: to wait would be for ever.
            Pace::new(clock, rate).spend(usize::MAX).unwrap();
        }
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let pace = Pace::new(Clock::system(), 1.0);
        std::thread::scope(|threads| {
            let spending = threads.spawn(|| pace.spend(1 << 30));
            let sleeping = threads.spawn(|| pace.sleep(Duration::from_secs(600), 0));
            std::thread::sleep(Duration::from_millis(20));
            pace.stop();
            assert_eq!(spending.join().unwrap(), Err(Stopping));
            assert_eq!(sleeping.join().unwrap(), Err(Stopping));
        });
        assert!(pace.is_stopping());
    }

    #[test]
    fn news_that_came_before_a_sleep_end_it_too() {
        let pace = Pace::new(Clock::system(), 0.0);
        let seen = pace.news();
        pace.wake();
        pace.sleep(Duration::from_secs(600), seen).unwrap();
    }
}
