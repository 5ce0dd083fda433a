//! The Kafka APIs: one table, one file per API.
//!
//! [`table`] lists every API that is served; ApiVersions, header forms, dispatch, the compatibility page and the tests
//! of every decoder derive from it. A file of a family holds one API: its request, its decoder and its handler. A
//! handler translates: versions and wire structs stay here, the broker's parts see their own commands.

mod context;
mod dispatch;
pub mod errors;
pub(crate) mod operations;
pub mod table;

pub mod admin;
pub mod data;
pub mod group;
pub mod session;
pub mod topic;
pub mod txn;

pub(crate) use context::{AnswerRoom, Call, Responder, Started, Who, done, waits, waits_while_open};
pub use context::{Api, Session};
pub use dispatch::KafkaService;

/// A slice of a log file in an answer.
pub type Slice = crate::storage::log::LogSlice;
/// An answer.
pub type Reply = crate::wire::encode::Reply<Slice>;
/// How a request ends.
pub type Outcome = crate::wire::service::Outcome<Slice>;
