//! Segment logs on disk: append, read, roll, recover, retain; the manifest and the group sync.
//!
//! What this layer promises: an append is all there or not at all; what was called durable is found again after any
//! crash, at the same offsets; what is damaged is reported and never served as if it were not; files are Kafka's own
//! format, byte for byte where Kafka has one. It knows batches by their headers and producer state as bytes.
//!
//! - [`log`] is one partition's log, over `segment`, `index` and `epochs`; `recovery` opens it, [`retention`] plans what
//!   goes, [`compaction`] leaves of each key the last record.
//! - [`flush`] makes appends durable and checkpoints logs; [`manifest`] remembers the checkpoints.
//! - [`dir`] owns the data directory, [`layout`] its names, [`health`] whether it may be written, [`room`] how much.
//! - What is damaged is kept in `quarantine` until [`repair`] gives it up.

pub mod checkpoint;
pub mod compaction;
pub mod dir;
mod doubt;
mod epochs;
pub mod files;
pub mod flush;
pub mod health;
mod index;
pub mod inspect;
pub mod layout;
pub mod log;
pub mod manifest;
mod mend;
mod mmap;
mod pread;
mod proof;
mod put;
mod quarantine;
mod recovery;
pub mod repair;
pub mod retention;
pub mod room;
mod scan;
pub mod scrub;
mod segment;
mod segment_file;
mod suspects;
#[cfg(test)]
mod testing;
pub mod text_file;
pub mod txn_index;
mod walk;
