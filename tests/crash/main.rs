//! Brokers that are killed, stopped and started again: what was acknowledged stays, in order, once.
//!
//! `cargo test --test crash` runs a short form. `CRASH_ROUNDS=200 cargo test --test crash rounds -- --nocapture` runs
//! as many rounds of kill -9 as asked; `CRASH_SEED` repeats a run's choices (not its timing). `churn` does the same amid
//! compaction, retention and rolls at full rate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and runs by the real clock"
)]

mod churn;
mod control;
mod files;
mod history;
mod image;
mod load;
mod proxy;
mod random;
mod remade;
mod rig;
mod stops;
#[path = "../support/mod.rs"]
mod support;
mod trims;

/// Kills the broker again and again at random moments under load, with acks=all and `fsync = "batch"`.
#[test]
fn rounds_of_kill_9_lose_nothing_that_was_acknowledged() {
    let (seed, rounds) = asked(15);
    let mut rig = rig::Rig::new(seed);
    for _ in 0..rounds {
        rig.round();
    }
    rig.finish();
}

/// The seed and the number of rounds: as the environment says, else by the clock and `rounds`.
fn asked(rounds: u64) -> (u64, u64) {
    let from_env = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = from_env("CRASH_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    });
    let rounds = from_env("CRASH_ROUNDS").unwrap_or(rounds);
    eprintln!("CRASH_SEED={seed} CRASH_ROUNDS={rounds}");
    (seed, rounds)
}
