//! Segment logs on disk: append, read, roll, recover, retain; the manifest and the group sync.

pub mod checkpoint;
pub mod dir;
pub mod flush;
pub mod health;
pub mod layout;
pub mod log;
pub mod manifest;
mod mmap;
pub mod segment;
