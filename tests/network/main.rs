//! The built binary as the network meets it: bytes that are no requests, clients that misbehave, and the limits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and runs by the real clock"
)]

mod backlog;
mod checkpoints;
mod crowd;
mod frames;
mod limits;
mod markers;
mod memory;
mod order;
#[path = "../crash/random.rs"]
mod random;
mod records;
mod recreate;
mod refusals;
mod rules;
mod stop;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod transactions;
mod words;
