//! Compaction: of each key the last record stays (S92 to S94, KIP-534; architecture 2.2 for the order of writes).
//!
//! A cleaning reads the part of a log that no cleaning has covered and notes the last offset of each key
//! (`offset_map`); then it copies the log from its start, neighbouring segments into one ([`plan`] groups them), and
//! leaves out what the map knows a later record of (`merge`). Each new segment is complete and on disk before
//! [`super::log`] swaps it in. Every byte is verified on the way; a bad one ends the cleaning, and nothing is dropped.
//!
//! Kafka's guarantees hold: offsets, order, times, epochs and producers' sequences stay; a reader that keeps up with
//! `delete.retention.ms` sees every deletion.

pub(in crate::storage) mod batches;
mod hash;
mod merge;
mod offset_map;
mod output;
mod pace;
pub mod plan;
mod points;
mod run;
mod transactions;
pub(in crate::storage) mod visit;

pub use hash::Secret;
pub use merge::{ActiveProducers, LastOfProducer};
pub use offset_map::OffsetMap;
pub use pace::{Pace, Stopping};
pub use points::CleanPoints;
pub use run::{CleanFault, Cleaned, Cleaning, MapLimits, clean};

pub(in crate::storage) use output::{Finished, OUTPUT_KINDS, discard, unlink_outputs};

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
pub(in crate::storage) mod testing;
#[cfg(test)]
mod transaction_model_tests;
