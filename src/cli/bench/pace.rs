//! Whose turn it is: at once while there is no rate, else when the schedule says. A thread of its own keeps the time,
//! since a timer of the runtime is as coarse as a millisecond.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Semaphore;

use super::histogram::Histogram;
use super::meter::Window;
use super::schedule::Schedule;
use crate::types::Clock;

/// How long the thread sleeps at most before it looks whether the run is over.
const NAP_MAX: Duration = Duration::from_millis(50);
/// How late the system may wake the thread, in nanoseconds.
const SLACK_NS: NonZero<u64> = NonZero::<u64>::MIN;

/// A run while it goes on: its time, and whose turn it is.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    start: Duration,
    from: Duration,
    /// In nanoseconds.
    until: AtomicU64,
    schedule: Option<Schedule>,
    over: AtomicBool,
    /// Slots that are due and not taken.
    due: Semaphore,
    /// The next slot to be taken.
    next: AtomicU64,
}

/// How a schedule was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// How far apart its slots are.
    pub(super) step: Duration,
    /// How long the next slot had been waiting to be sent when the time was over.
    pub(super) behind: Duration,
    /// How long each slot of the window that was never sent had been waiting by then.
    pub(super) unsent: Histogram,
}

impl Pace {
    /// Begins now: a warm-up, then the time that is measured.
    pub(super) fn start(
        clock: &Clock,
        (warm_up, measured): (Duration, Duration),
        schedule: Option<Schedule>,
    ) -> anyhow::Result<Arc<Self>> {
        let start = clock.monotonic();
        let from = start + warm_up;
        let pace = Arc::new(Self {
            clock: clock.clone(),
            start,
            from,
            until: AtomicU64::new(nanos(from + measured)),
            schedule,
            over: AtomicBool::new(false),
            due: Semaphore::new(0),
            next: AtomicU64::new(0),
        });
        if let Some(schedule) = schedule {
            let pace = Arc::clone(&pace);
            thread::Builder::new()
                .name("streamd-pace".to_owned())
                .spawn(move || pace.keep(schedule))
                .context("cannot start the thread that keeps the time")?;
        }
        Ok(pace)
    }

    /// The time, as all of a run has it.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The part that is measured: as planned, until it is known to be over earlier.
    pub(super) fn window(&self) -> Window {
        Window { from: self.from, until: Duration::from_nanos(self.until.load(Ordering::Relaxed)) }
    }

    /// Whether somebody keeps a schedule.
    pub(super) fn is_scheduled(&self) -> bool {
        self.schedule.is_some()
    }

    /// Nobody has another turn, and nothing is measured any more.
    pub(super) fn end(&self) {
        self.until.fetch_min(nanos(self.now()), Ordering::Relaxed);
        self.over.store(true, Ordering::Relaxed);
        self.due.close();
    }

    /// Waits for a turn; tells when it was due, which is now without a schedule. `None`: it is over.
    pub(super) async fn turn(&self) -> Option<Duration> {
        let Some(schedule) = self.schedule else {
            return (!self.over.load(Ordering::Relaxed)).then(|| self.now());
        };
        self.due.acquire().await.ok()?.forget();
        let slot = self.next.fetch_add(1, Ordering::Relaxed);
        Some(self.start + schedule.due(slot))
    }

    /// How the schedule was kept up to the end of the run.
    pub(super) fn kept(&self) -> Option<Kept> {
        let schedule = self.schedule?;
        let window = self.window();
        let until = window.until;
        let (next, due) =
            (self.next.load(Ordering::Relaxed), schedule.due_by(until.saturating_sub(self.start)));
        let at = |slot| self.start + schedule.due(slot);
        let mut unsent = Histogram::default();
        for due in (next..due).map(at).filter(|due| window.has(*due)) {
            unsent.record(until.saturating_sub(due), 1);
        }
        let behind = if next < due { until.saturating_sub(at(next)) } else { Duration::ZERO };
        Some(Kept { step: schedule.due(1), behind, unsent })
    }

    fn keep(&self, schedule: Schedule) {
        let _only_less_exact = rustix::thread::set_current_timer_slack(Some(SLACK_NS));
        let mut given = 0;
        while !self.over.load(Ordering::Relaxed) {
            let elapsed = self.now().saturating_sub(self.start);
            let due = schedule.due_by(elapsed);
            self.due.add_permits(usize::try_from(due - given).unwrap_or(0));
            given = due;
            thread::sleep(schedule.due(given).saturating_sub(elapsed).min(NAP_MAX));
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Rate;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn turns_come_when_they_are_due_however_late_they_are_taken() {
        let clock = Clock::manual(0);
        let rate = Rate::Records(10).schedule(1, 1);
        let pace = Pace::start(&clock, (Duration::ZERO, SECOND), Some(rate)).unwrap();
        clock.advance(Duration::from_millis(350));
        for slot in 0..4 {
            assert_eq!(pace.turn().await, Some(Duration::from_millis(slot * 100)));
        }
        clock.advance(Duration::from_millis(650));
        pace.turn().await.unwrap();
        pace.end();
        assert_eq!(pace.turn().await, None);
        let kept = pace.kept().unwrap();
        assert_eq!(kept.step, Duration::from_millis(100));
        assert_eq!(kept.behind, Duration::from_millis(500), "the slot at 500 ms is the next");
        assert_eq!(kept.unsent.count(), 5, "those at 500 to 900 ms");
    }

    #[tokio::test]
    async fn without_a_rate_it_is_always_the_next_ones_turn() {
        let clock = Clock::manual(0);
        let pace = Pace::start(&clock, (SECOND, SECOND), None).unwrap();
        assert_eq!(pace.turn().await, Some(Duration::ZERO));
        assert_eq!(pace.turn().await, Some(Duration::ZERO));
        pace.end();
        assert_eq!((pace.turn().await, pace.kept()), (None, None));
    }
}
