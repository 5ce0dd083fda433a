//! Transactions under faults: clients of both protocols and librdkafka write, copy and fence each other while the broker
//! is killed, paused and restarted; then what they did and saw is held against the rules of exactly-once.
//!
//! `cargo test --test history` runs a short form. `HISTORY_SECONDS=3600 cargo test --test history faults -- --nocapture`
//! runs for as long as asked; `HISTORY_SEED` repeats a run's choices (not its timing).
//! `HISTORY_BROKER=host:port cargo test --test history elsewhere -- --ignored` runs the load, without faults, against
//! another broker with topics of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and runs by the real clock"
)]

mod client;
mod control;
mod endings;
mod faults;
#[path = "../crash/image.rs"]
mod image;
mod librdkafka;
mod load;
mod operators;
mod proxy;
#[path = "../crash/random.rs"]
mod random;
mod record;
mod rig;
mod rules;
mod rules_tests;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::time::Duration;

use crate::rig::{CONFIG, Who};
use crate::rules::Violation;
use crate::support::Broker;

/// How long the short form runs under faults.
const SECONDS: u64 = 12;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn seed() -> u64 {
    let seed = from_env("HISTORY_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    });
    eprintln!("HISTORY_SEED={seed}");
    seed
}

#[test]
fn transactions_are_exactly_once_under_faults() {
    let seed = seed();
    let time = Duration::from_secs(from_env("HISTORY_SECONDS").unwrap_or(SECONDS));
    let mut broker = Broker::with(CONFIG);
    let address = broker.address().to_owned();
    rig::make_topics(&address);
    let history = rig::run(&address, seed, Who::All, |history| {
        faults::plague(&mut broker, &address, seed, time, history);
    });
    rig::judge(&address, &history, |_| true);
}

#[test]
#[ignore = "needs a running broker at HISTORY_BROKER=host:port"]
fn elsewhere() {
    let address = std::env::var("HISTORY_BROKER").expect("HISTORY_BROKER=host:port");
    rig::make_topics(&address);
    // Others say that topics are made before they serve them.
    std::thread::sleep(Duration::from_secs(2));
    let time = Duration::from_secs(from_env("HISTORY_SECONDS").unwrap_or(SECONDS));
    let history = rig::run(&address, seed(), Who::All, |history| rig::rest(history, time));
    // Others answer before the end of a transaction is visible.
    rig::judge(&address, &history, |found| !matches!(found, Violation::StaleOffset { .. }));
}
