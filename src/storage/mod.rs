//! Segment logs on disk: append, read, roll, recover, retain; the manifest and the group sync.

pub mod checkpoint;
pub mod dir;
mod epochs;
pub mod files;
pub mod flush;
pub mod health;
mod index;
pub mod layout;
pub mod log;
pub mod manifest;
mod mmap;
mod pread;
mod put;
mod recovery;
pub mod retention;
mod segment;
#[cfg(test)]
mod testing;
mod walk;
