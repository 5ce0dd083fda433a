//! The Kafka APIs: one table, one file per API.

pub mod admin;
pub mod data;
pub mod group;
pub mod session;
pub mod topic;
pub mod txn;
