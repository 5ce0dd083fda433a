//! APIs about topics: what there is, making, growing and deleting them.

pub mod create;
pub mod delete;
pub mod describe_partitions;
pub mod metadata;
pub mod partitions;
