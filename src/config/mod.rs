//! Settings: as written, as meant, and the table of keys both come from.

pub mod topic;

pub use topic::TopicSettings;
