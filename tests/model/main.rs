//! The storage engine against a simple model: one partition with its log, manifest, checkpoints and cleaner, through
//! random appends, rolls, compactions, retention, deleted records, restarts, kills, power cuts in the middle of anything,
//! lost manifests, damage and its repair, full disks, and transactions; everything is read after each step.
//!
//! `cargo test --test model` tells as many stories as it can in a quarter of a minute, the same ones each time.
//! `STREAMD_MODEL_SECONDS=3600 cargo test --test model` goes on for an hour with others; `STREAMD_MODEL_SEED=n` tells one
//! story again, whose seed a failure has printed, and `STREAMD_MODEL_STEPS` sets how long a story is. Files that are
//! synced together are synced by several threads, in no set order, so a power cut among them is not the same twice.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and has the system's clock"
)]

mod cases;
mod disk;
mod look;
mod model;
mod node;
mod random;
mod story;
mod system;
mod transactions;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use story::{Done, Story};

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Stories in which everything has happened once, however slow the machine is.
const STORIES_MIN: u64 = 20;
/// Stories of a run that was not asked for more.
const STORIES_MAX: u64 = 60;

/// Tells stories until the time is up.
fn tell(test: &str, new: impl Fn(u64) -> Story) -> Done {
    let steps = asked("STREAMD_MODEL_STEPS").unwrap_or(120);
    let seconds = asked("STREAMD_MODEL_SECONDS");
    let one = asked("STREAMD_MODEL_SEED");
    // Without a word these are the same stories each time; a long run tells others.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let any = seconds.map_or(1, |_| u64::try_from(now % 1_000_000_000).expect("small") * 1_000);
    let first = one.unwrap_or(any);
    let enough = Duration::from_secs(seconds.unwrap_or(15));
    let (began, mut all, mut stories, mut taken) = (Instant::now(), Done::new(), 0, 0);
    for seed in first.. {
        let mut story = new(seed);
        let told = catch_unwind(AssertUnwindSafe(|| (0..steps).for_each(|_| story.step())));
        if let Err(panic) = told {
            eprintln!(
                "{}\n\nAgain: STREAMD_MODEL_SEED={seed} STREAMD_MODEL_STEPS={steps} cargo test --test model {test}",
                story.trace()
            );
            resume_unwind(panic);
        }
        for (what, count) in &story.done {
            *all.entry(what).or_default() += count;
        }
        (stories, taken) = (stories + 1, taken + steps);
        let is_told = began.elapsed() >= enough && stories >= STORIES_MIN;
        let is_short = seconds.is_none() && stories >= STORIES_MAX;
        if one.is_some() || is_told || is_short {
            break;
        }
    }
    eprintln!("{test}: {stories} stories of {steps} steps from seed {first} on: {all:?}");
    all
}

/// A test that tries nothing finds nothing.
fn check(done: &Done, compact: bool, delete: bool) {
    if asked("STREAMD_MODEL_SEED").is_some() {
        return;
    }
    let always = [
        "batches",
        "batches sent again",
        "deletions",
        "kills",
        "power cuts",
        "cut in the middle",
        "damages",
        "repairs",
        "manifests lost",
    ];
    let of_policy = [("cleanings", compact), ("retentions", delete)];
    let wanted = of_policy.into_iter().filter(|(_, wanted)| *wanted).map(|(what, _)| what);
    for what in always.into_iter().chain(wanted) {
        assert!(done.contains_key(what), "there were no {what}");
    }
}

#[test]
fn a_log_that_is_retained_keeps_its_word() {
    check(&tell("retained", |seed| Story::new(seed, false, true)), false, true);
}

#[test]
fn a_log_that_is_compacted_keeps_its_word() {
    check(&tell("compacted", |seed| Story::new(seed, true, false)), true, false);
}

#[test]
fn a_log_that_is_compacted_and_retained_keeps_its_word() {
    check(&tell("compacted_and", |seed| Story::new(seed, true, true)), true, true);
}

#[test]
fn a_log_with_transactions_keeps_its_word() {
    let done = tell("transactions", |seed| Story::new(seed, seed % 3 > 0, seed % 3 < 2).with_transactions());
    check(&done, true, true);
    for what in ["commits", "aborts"] {
        assert!(asked("STREAMD_MODEL_SEED").is_some() || done.contains_key(what), "there were no {what}");
    }
}
