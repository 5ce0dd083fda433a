//! Whether the data directory may still be written: one fault that every writer of the directory shares.
//!
//! A failed sync is final (the kernel may drop the pages that it could not write, and a second sync then succeeds
//! without them), so whoever meets one says so here; everybody who writes asks here first.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::room::Room;

/// The directory's state, shared by the logs, the committer, the checkpointer and the manifest.
#[derive(Debug, Default)]
pub struct DirHealth {
    failed: AtomicBool,
    lost: AtomicBool,
    error: OnceLock<Arc<io::Error>>,
    room: Room,
}

impl DirHealth {
    /// A directory that nothing has happened to yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether a sync has failed: no more writes, and what was durable is all that may be served. One atomic load.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The first error that failed the directory.
    pub fn error(&self) -> Option<&Arc<io::Error>> {
        self.error.get()
    }

    /// How much may still be written.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Fails the directory for good, and returns the error that counts: the first.
    pub fn fail(&self, error: io::Error) -> Arc<io::Error> {
        let (first, is_first) = self.put(error);
        if is_first {
            tracing::error!(
                "a sync failed: {first}. What was not on disk before may be lost, so nothing more is acknowledged or \
                 written until the broker is restarted; what was on disk is served. Look for the disk's errors (dmesg) \
                 and free or replace it, then restart: the logs are read back as after a crash"
            );
        }
        first
    }

    /// Fails the directory for good since it is not there any more: what is written goes into files that have no name,
    /// and paths may lead into somebody else's.
    pub fn lose(&self, why: &str) -> Arc<io::Error> {
        if !self.lost.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "the data directory is lost while the broker runs: {why}. Nothing more is acknowledged; stopping"
            );
        }
        self.put(io::Error::new(io::ErrorKind::NotFound, why)).0
    }

    /// Whether the directory is gone or another: then nothing may be done by path either.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    fn put(&self, error: io::Error) -> (Arc<io::Error>, bool) {
        let mut is_first = false;
        let first = self.error.get_or_init(|| {
            is_first = true;
            Arc::new(error)
        });
        self.failed.store(true, Ordering::Release);
        (first.clone(), is_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_one_that_counts() {
        let health = DirHealth::new();
        assert!(!health.is_failed());
        health.fail(io::Error::other("first"));
        let told = health.fail(io::Error::other("second"));
        assert!(health.is_failed());
        assert_eq!(told.to_string(), "first");
        assert!(!health.is_lost());
    }

    #[test]
    fn a_lost_directory_has_failed() {
        let health = DirHealth::new();
        health.lose("it is gone");
        assert!(health.is_failed() && health.is_lost());
        assert_eq!(health.fail(io::Error::other("later")).to_string(), "it is gone");
    }
}
