//! Lets the workers of a run work until its time is over or the user ends it, and shows how far it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::interrupt::Interrupt;
use super::super::output::note;
use super::meter::{Meter, Tally, Window, sum};
use super::pace::{Kept, Pace};
use super::{cpu, text};
use crate::client::Error;

/// How often the progress is shown.
const TICK: Duration = Duration::from_secs(1);

/// What a worker does.
pub(super) type Workers = JoinSet<Result<(), Error>>;

/// Who watches a run.
#[derive(Debug)]
pub(super) struct Watch {
    /// Whether the user has ended it.
    interrupted: watch::Receiver<bool>,
    /// Whether a line a second is wanted.
    lines: bool,
}

/// How a run went.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) tally: Tally,
    /// What was measured: less than planned if the user has ended it.
    pub(super) window: Window,
    pub(super) interrupted: bool,
    /// What ended it before its time.
    pub(super) failed: Option<Error>,
    /// What the process used of the processors meanwhile.
    pub(super) cpu: Option<Duration>,
    pub(super) kept: Option<Kept>,
}

impl Watch {
    /// Hears the user from now on. The second signal ends the process, whatever it waits for.
    pub(super) fn new(mut interrupt: Interrupt, lines: bool) -> Self {
        let (tell, interrupted) = watch::channel(false);
        tokio::spawn(async move {
            interrupt.asked().await;
            let _nobody_waits = tell.send(true);
            interrupt.second_one_ends_it();
        });
        Self { interrupted, lines }
    }

    /// Waits for the user to end the run. May be dropped while it waits.
    pub(super) async fn interrupted(&mut self) {
        if self.interrupted.wait_for(|interrupted| *interrupted).await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether the user has ended it.
    pub(super) fn was_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// A remark for people who look on.
    pub(super) fn say(&self, text: &str) {
        if self.lines {
            note(text);
        }
    }

    /// Drives a run to its end. What is under way then is waited for, unless an error has ended it.
    ///
    /// # Errors
    /// What ended it before anything was measured.
    pub(super) async fn drive(
        &mut self,
        pace: &Arc<Pace>,
        meters: &[Meter],
        mut workers: Workers,
    ) -> Result<Driven, Error> {
        let plan = pace.window();
        let mut progress = Progress { lines: self.lines, tick: plan.from, last: Tally::default() };
        let mut used_before = None;
        let mut failed = None;
        loop {
            let now = pace.now();
            if now >= plan.from && used_before.is_none() {
                used_before = Some(cpu::used());
            }
            if now >= plan.until || self.was_interrupted() {
                break;
            }
            progress.show(now, plan, meters);
            tokio::select! {
                () = sleep(progress.tick.min(plan.until).saturating_sub(now)) => {}
                () = self.interrupted() => {}
                Some(done) = workers.join_next() => failed = failure(done),
            }
            if failed.is_some() {
                break;
            }
        }
        pace.end();
        let window = pace.window();
        let used = used_before.flatten().zip(cpu::used());
        while failed.is_none()
            && let Some(done) = workers.join_next().await
        {
            failed = failure(done);
        }
        // Nobody counts from here on.
        workers.shutdown().await;
        let cpu = used.map(|(before, after)| after.saturating_sub(before));
        let driven = self.driven(pace, meters, window, cpu);
        match failed {
            Some(error) if driven.tally.times.count() == 0 => Err(error),
            failed => Ok(Driven { failed, ..driven }),
        }
    }

    fn driven(&self, pace: &Pace, meters: &[Meter], window: Window, cpu: Option<Duration>) -> Driven {
        let mut tally = sum(meters);
        let kept = pace.kept();
        // What was due and never sent has waited at least until the end.
        if let Some(kept) = &kept {
            tally.times.merge(&kept.unsent);
        }
        Driven { tally, window, interrupted: self.was_interrupted(), failed: None, cpu, kept }
    }
}

/// A line a second.
struct Progress {
    lines: bool,
    /// When the next line is due.
    tick: Duration,
    /// What the last one had counted.
    last: Tally,
}

impl Progress {
    fn show(&mut self, now: Duration, plan: Window, meters: &[Meter]) {
        if now < self.tick {
            return;
        }
        let first = self.tick == plan.from;
        self.tick += TICK;
        if !self.lines || first {
            return;
        }
        let tally = sum(meters);
        let second = now.saturating_sub(plan.from).as_secs();
        let (records, bytes) = (tally.records - self.last.records, tally.bytes - self.last.bytes);
        let p99 = tally.times.quantile(99_000).map_or_else(|| "-".to_owned(), text::time);
        note(&format!(
            "{second:>4} s  {:>11}/s  {:>11} records/s  p99 so far {p99}",
            text::bytes(bytes),
            text::count(records)
        ));
        self.last = tally;
    }
}

/// What a worker that ended has to complain of.
pub(super) fn failure(done: Result<Result<(), Error>, tokio::task::JoinError>) -> Option<Error> {
    match done {
        Ok(done) => done.err(),
        Err(stopped) if stopped.is_cancelled() => None,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
