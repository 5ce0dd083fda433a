//! A small Kafka client for the command line and the tests: any broker from Kafka 2.1 on, not just ours.
//!
//! [`Client`] keeps one connection per broker and purpose and agrees with each broker on the version of every API. On
//! it stand the [`producer`], the [`consumer`] with its optional [`membership`] of a group, and the questions of
//! administration ([`topics`], [`alter`], [`groups`], [`offsets`], [`sizes`],
//! [`transactions`], [`open_transactions`]); [`load`] and [`load_txn`] send single requests for whoever measures. What brokers answer is
//! decoded by the protocol crate: they are brokers that the user chose. Frames are bounded all the same, and memory
//! follows the bytes received.

mod address;
pub mod alter;
mod assignor;
mod batching;
mod cluster;
mod connection;
pub mod consumer;
mod coordinator;
mod error;
mod fetched;
pub mod groups;
mod heartbeat;
mod link;
pub mod load;
pub mod load_txn;
pub mod membership;
mod metadata;
pub mod offsets;
pub mod open_transactions;
mod partitioner;
pub mod producer;
mod retry;
pub mod sizes;
pub mod topics;
pub mod transactions;
mod versions;

pub use address::{Address, AddressError};
pub use cluster::{Client, Options};
pub use error::{Error, Refusal, Trouble};
pub use fetched::FetchedPartition;
pub use metadata::{Metadata, Partition, Topic, Wanted};
pub use versions::{Ceilings, KAFKA_2_1};
