//! streamd: a Kafka broker in one binary.
//!
//! The layers, lowest first; a module uses only modules of the lines above its own, and `tests/tidy` holds it to that:
//!
//! ```text
//! 0  types
//! 1  config      telemetry
//! 2  record      wire
//! 3  storage
//! 5  partition
//! 6  coord
//! 7  catalog
//! 8  groups      txn
//! 9  broker
//! 10 api         client
//! 11 net
//! 12 cli
//! ```

pub mod api;
pub mod broker;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod config;
pub mod coord;
pub mod groups;
pub mod net;
pub mod partition;
pub mod record;
pub mod storage;
pub mod telemetry;
pub mod txn;
pub mod types;
pub mod wire;
