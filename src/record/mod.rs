//! The v2 record batch: view, check, iterate, build. Pure: bytes in, verdicts out.
//!
//! A batch is 61 bytes of header and then its records, compressed as one block or not. It travels from the producer's
//! request to the disk and from there to the consumer's answer as it is; this module is what may look into it. Nothing
//! here does I/O, reads a clock or keeps state (but for the decompressors' scratch memory, one per thread), and whatever
//! the bytes say, memory follows the bytes that are there.

pub mod batch;
pub mod build;
pub mod check;
mod compress;
pub mod control;
mod format;
pub mod iter;
mod retain;
mod times;

pub use batch::{Attributes, BatchError, BatchHeader, BatchView, HEADER_LEN, seal, stamp};
pub use build::{BatchBuilder, NewRecord};
pub use iter::{HeaderView, Headers, RecordIter, RecordView, Records};
pub use retain::{empty, retain};
