//! The vocabulary every layer shares: identifiers, offsets, time and Kafka's error codes.
//!
//! Rule: values only. Nothing here does I/O or knows tokio, except [`time`], the one place that reads the clock.

pub mod codec;
pub mod deadlines;
pub mod error_code;
pub mod ids;
pub mod offset;
pub mod shell;
pub mod time;
pub mod topic_name;

pub use codec::Codec;
pub use error_code::ErrorCode;
pub use ids::{TopicId, TopicPartition};
pub use time::{Clock, Timestamp};
