//! What is counted: everything for the check at the end, and what falls into the measured time for the result.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::histogram::Histogram;

/// The measured part of a run, on the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Duration,
    pub(super) until: Duration,
}

impl Window {
    /// Whether a time is in it.
    pub(super) fn has(self, time: Duration) -> bool {
        self.from <= time && time < self.until
    }

    /// Whether what went on between these times was under way in it.
    fn meets(self, began: Duration, ended: Duration) -> bool {
        self.from < self.until && began < self.until && self.from <= ended
    }

    /// How long it is.
    pub(super) fn len(self) -> Duration {
        self.until.saturating_sub(self.from)
    }
}

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Requests, or whatever is measured as one, that ended within the window.
    pub(super) requests: u64,
    /// Their records.
    pub(super) records: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Records of the whole run, warm-up included.
    pub(super) all_records: u64,
    /// Requests of the whole run.
    pub(super) all_requests: u64,
    /// How long those took that were measured.
    pub(super) times: Histogram,
    /// Those of them that ended after the window.
    pub(super) late: u64,
}

/// Something that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// When it was due; without a schedule, when it began.
    pub(super) due: Duration,
    /// Whether a schedule said so.
    pub(super) scheduled: bool,
    /// When it ended.
    pub(super) now: Duration,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// Where the workers of one connection count.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Mutex<Tally>>);

impl Meter {
    /// Counts something that is over. The throughput is what ended in the window. The time of whatever was under way in
    /// it is measured, and of what a schedule has sent, whatever was due in it: what comes late is not left out.
    pub(super) fn done(&self, window: Window, done: Done) {
        let mut tally = self.0.lock();
        tally.all_records += done.records;
        tally.all_requests += 1;
        if window.has(done.now) {
            tally.requests += 1;
            tally.records += done.records;
            tally.bytes += done.bytes;
        }
        let measured = if done.scheduled { window.has(done.due) } else { window.meets(done.due, done.now) };
        if measured {
            tally.times.record(done.now.saturating_sub(done.due), 1);
            tally.late += u64::from(done.now >= window.until);
        }
    }
}

/// The sum of several.
pub(super) fn sum(meters: &[Meter]) -> Tally {
    let mut sum = Tally::default();
    for meter in meters {
        let tally = meter.0.lock();
        sum.requests += tally.requests;
        sum.records += tally.records;
        sum.bytes += tally.bytes;
        sum.all_records += tally.all_records;
        sum.all_requests += tally.all_requests;
        sum.times.merge(&tally.times);
        sum.late += tally.late;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: Duration::from_secs(1), until: Duration::from_secs(2) };

    fn after(done: Done) -> Tally {
        let meter = Meter::default();
        meter.done(WINDOW, done);
        sum(&[meter])
    }

    #[test]
    fn warm_up_counts_for_the_check_alone() {
        let early = Duration::from_millis(999);
        let tally = after(Done { due: Duration::ZERO, scheduled: false, now: early, records: 3, bytes: 30 });
        assert_eq!((tally.all_records, tally.records, tally.times.count()), (3, 0, 0));
    }

    #[test]
    fn what_began_in_the_window_and_ended_late_is_measured_and_is_no_throughput() {
        let (due, now) = (Duration::from_millis(1_500), Duration::from_millis(2_500));
        for scheduled in [true, false] {
            let tally = after(Done { due, scheduled, now, records: 1, bytes: 10 });
            assert_eq!((tally.records, tally.requests, tally.late), (0, 0, 1), "scheduled: {scheduled}");
            assert_eq!(tally.times.max(), Some(Duration::from_secs(1)), "scheduled: {scheduled}");
        }
    }

    #[test]
    fn what_was_under_way_through_the_whole_window_is_measured_without_a_schedule() {
        let (due, now) = (Duration::from_millis(500), Duration::from_millis(2_500));
        let tally = after(Done { due, scheduled: false, now, records: 1, bytes: 10 });
        assert_eq!((tally.requests, tally.times.max(), tally.late), (0, Some(Duration::from_secs(2)), 1));
    }

    #[test]
    fn nothing_is_measured_in_a_run_that_was_ended_in_its_warm_up() {
        let meter = Meter::default();
        let (until, now) = (Duration::from_millis(500), Duration::from_millis(1_500));
        let done = Done { due: Duration::ZERO, scheduled: false, now, records: 1, bytes: 10 };
        meter.done(Window { until, ..WINDOW }, done);
        assert_eq!(sum(&[meter]).times.count(), 0);
    }

    #[test]
    fn what_began_in_the_warm_up_is_measured_without_a_schedule_if_it_ends_in_the_window() {
        let (due, now) = (Duration::from_millis(500), Duration::from_millis(1_500));
        let count = |scheduled| {
            let tally = after(Done { due, scheduled, now, records: 1, bytes: 10 });
            (tally.requests, tally.times.count(), tally.late)
        };
        assert_eq!((count(true), count(false)), ((1, 0, 0), (1, 1, 0)));
    }

    #[test]
    fn what_began_after_the_window_is_not_measured() {
        let (due, now) = (Duration::from_millis(2_000), Duration::from_millis(2_500));
        let tally = after(Done { due, scheduled: false, now, records: 1, bytes: 10 });
        assert_eq!((tally.all_requests, tally.times.count(), tally.late), (1, 0, 0));
    }
}
