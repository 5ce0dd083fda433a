//! The command line's verbs, as people and scripts run them, against the built binary. With `STREAMD_TEST_BROKERS` set
//! to the address of another broker, Apache Kafka for example, the same tests run against that one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has the system's clock"
)]

mod bench;
mod clock;
mod consume;
mod damage;
mod dump;
mod exactly_once;
mod extremes;
mod failures;
mod groups;
mod held_back;
mod hung;
mod import;
mod kafka_data;
mod old_versions;
mod produce;
mod rot;
mod scene;
mod serve;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod transactions;
mod txn_log;
