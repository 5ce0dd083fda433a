//! librdkafka, unmodified, against the built binary: what a client in C, Python, Go or Rust does all day.

mod clients;
mod groups;
mod produce_consume;
mod restarts;
mod retention;
#[path = "../support/mod.rs"]
mod support;
mod topics;
