//! The v2 record batch: view, check, iterate, build. Pure: bytes in, verdicts out.

pub mod batch;

pub use batch::{Attributes, BatchError, BatchHeader, BatchView, HEADER_LEN, seal, stamp};
