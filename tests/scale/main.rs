//! Size: many partitions and many gigabytes under the built binary, through stops and kills, with what each phase costs.
//!
//! By default small enough for every run. For figures, build it with optimisation and say how large:
//!
//! ```text
//! SCALE_PARTITIONS=50000 SCALE_GB=10 cargo test --release --test scale -- --nocapture --test-threads 1
//! ```
//!
//! `SCALE_BROKER` names another binary to measure, `SCALE_DIR` where the data lies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and has the system's clock"
)]

mod partitions;
mod recovery;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Broker;

/// A broker in a directory of the test's choice.
fn broker(config: &str) -> Broker {
    let other = std::env::var("SCALE_BROKER").ok();
    launched(config, &other.map(|broker| format!("exec {broker} \"$@\"")).unwrap_or_default())
}

/// A broker that may have so many files open.
fn broker_with_files(config: &str, files_max: usize) -> Broker {
    launched(config, &format!("ulimit -n {files_max} && exec \"$0\" \"$@\""))
}

/// A broker that a shell's line starts, if there is one.
fn launched(config: &str, line: &str) -> Broker {
    let dir = std::env::var_os("SCALE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = TempDir::new_in(dir).expect("a directory for the data");
    let shell = ["/bin/sh", "-c", line].map(str::to_owned);
    Broker::over(dir, config, if line.is_empty() { &[] } else { &shell })
}

/// A size from the environment.
fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Does `work` and says how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let outcome = work();
    let took = began.elapsed();
    eprintln!("{what:<60} {:>9.3} s", took.as_secs_f64());
    (outcome, took)
}
