//! The group machine under test: one file per part of the protocol, and a model run.

mod admin;
mod driver;
mod joining;
mod model;
mod offsets;
mod statics;
mod syncing;
mod transactions;
mod txn_model;
