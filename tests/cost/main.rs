//! What one request costs, counted and compared with the table of docs/performance.md: a change that adds a system call
//! or an allocation to a hot path has to say so there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and runs by the real clock"
)]

mod allocations;
mod calls;
mod requests;
#[path = "../support/mod.rs"]
mod support;
mod table;

/// Requests of each kind that are counted; the median is what one costs.
const ROUNDS: usize = 31;
/// Requests before those: partitions are opened, buffers grow.
const WARM_UP: usize = 10;
