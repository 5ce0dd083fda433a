//! Simulations: state machines and their driver under random commands, with logs that fail, lag and lose power. A run
//! is a seed; `SIM_SEED=n cargo test --test sim` repeats one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a test may fail loudly, and draws small numbers"
)]

mod callers;
mod catalog;
mod driver;
mod faulty_log;
mod ledger;
mod seeds;
mod task;
mod transactions;
