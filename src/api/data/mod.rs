//! APIs of the data plane: records in, records out, and where they are.

pub mod delete_records;
pub mod describe_producers;
pub mod fetch;
pub mod fetch_request;
pub(crate) mod fetch_session;
pub mod leader_epoch;
pub mod list_offsets;
pub mod mentions;
pub(crate) mod places;
pub mod produce;
pub(crate) mod produce_transaction;
