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
    /// How long they took.
    pub(super) times: Histogram,
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
    /// Counts something that is over. The throughput is what ended in the window. What a schedule has sent is measured
    /// by when it was due, so that what comes late is not left out.
    pub(super) fn done(&self, window: Window, done: Done) {
        let mut tally = self.0.lock();
        tally.all_records += done.records;
        tally.all_requests += 1;
        if window.has(done.now) {
            tally.requests += 1;
            tally.records += done.records;
            tally.bytes += done.bytes;
        }
        if window.has(if done.scheduled { done.due } else { done.now }) {
            tally.times.record(done.now.saturating_sub(done.due), 1);
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
    fn what_was_due_in_the_window_and_came_late_is_measured() {
        let (due, late) = (Duration::from_millis(1_500), Duration::from_millis(2_500));
        let tally = after(Done { due, scheduled: true, now: late, records: 1, bytes: 10 });
        assert_eq!((tally.records, tally.times.max()), (0, Some(Duration::from_secs(1))));
        let tally = after(Done { due, scheduled: false, now: late, records: 1, bytes: 10 });
        assert_eq!(tally.times.count(), 0, "without a schedule the end counts");
    }
}
