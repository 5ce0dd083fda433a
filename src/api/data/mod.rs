//! APIs of the data plane: records in, records out, and where they are.

pub mod fetch;
pub mod leader_epoch;
pub mod list_offsets;
pub mod produce;
