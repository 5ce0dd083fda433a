//! Request decoders against the protocol crate, and against bytes that mean harm.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod fields;
mod handlers;
mod hostile;
mod memory;
mod newest;
mod responses;
mod shape;
