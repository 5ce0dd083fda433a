//! The built binary under pressure: what one client, or the disk, asks too much of must not be paid for by the others.
//!
//! The bounds are far above what is measured, for machines are noisy; docs/performance.md has the figures. With
//! `--nocapture` each test says what it found. To find more, build it with optimisation, one test at a time:
//!
//! ```text
//! cargo test --release --test pressure -- --nocapture --test-threads 1
//! ```
//!
//! `PRESSURE_BROKER` names another binary to measure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and runs by the real clock"
)]

mod backfill;
mod bystanders;
mod cgroup;
mod connections;
mod full_rate;
mod greedy;
#[allow(dead_code, reason = "the tests of faults use more of it")]
#[path = "../faults/injector.rs"]
mod injector;
mod latencies;
mod members;
mod mentions;
mod slow_disk;
mod stalled_writers;
#[path = "../support/mod.rs"]
mod support;
mod throttled_disk;
mod unread;
mod writers;

use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;

use crate::support::Broker;

/// A broker with these settings.
fn broker(config: &str) -> Broker {
    broker_in(TempDir::new().expect("a directory for the data"), config, "")
}

/// The same with so many workers. Who holds up the only one holds up everybody, and no other helps out.
fn broker_of(workers: usize, config: &str) -> Broker {
    let dir = TempDir::new().expect("a directory for the data");
    broker_in(dir, config, &format!("export TOKIO_WORKER_THREADS={workers}; "))
}

/// The same in this directory; its shell does `first` before.
fn broker_in(dir: TempDir, config: &str, first: &str) -> Broker {
    let line = match std::env::var("PRESSURE_BROKER") {
        Ok(other) => format!("{first}exec {other} \"$@\""),
        Err(_) => format!("{first}exec \"$0\" \"$@\""),
    };
    Broker::over(dir, config, &["/bin/sh", "-c", &line].map(str::to_owned))
}

/// Tests that measure time go one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock()
}
