//! librdkafka, unmodified, against the built binary: what a client in C, Python, Go or Rust does all day.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has the system's clock"
)]

mod clients;
mod groups;
mod produce_consume;
mod restarts;
mod retention;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod transactions;
