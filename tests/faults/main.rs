//! Faults under the built binary: disks that are full or fail, and a process that stands still. What was acknowledged
//! is there afterwards, once; what could not be written was never acknowledged; and the broker goes on when the fault
//! is over.
//!
//! Most of it needs a small file system of its own, which only root can mount: without that a test says so and ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, reports to people and has the system's clock"
)]

#[allow(dead_code, reason = "the tests with librdkafka use more of it")]
#[path = "../librdkafka/clients.rs"]
mod clients;
mod compacted;
mod descriptors;
mod failing;
mod frozen;
mod full;
mod injector;
mod limits;
mod promises;
mod scene;
#[path = "../support/mod.rs"]
mod support;
