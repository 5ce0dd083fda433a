//! The manifest: what is on disk and how far it is known to be right, so that a start need not read the tree.
//!
//! It is a help, not the truth (architecture 2.2): a row that is older than the files costs a longer recovery, and a
//! missing or damaged manifest makes every partition open with checkpoint 0, by the code that runs after any crash.
//!
//! One file, [`crate::storage::layout::MANIFEST`]: a snapshot of all rows and the rows that were put since, each absolute
//! and under a checksum (`codec`). One thread writes it (`writer`), into space that was reserved before, so that
//! starting, deleting and retention work on a full disk. Past half of that space it is written anew.
//!
//! Order is the callers' business: a checkpoint row is put after every file that it speaks for is on disk; files are
//! unlinked after the row without them is durable ([`Manifest::sync`]).

mod codec;
mod file;
mod load;
mod row;
#[cfg(test)]
mod testing;
mod writer;

pub use row::{Checkpoint, PartitionRow, SegmentRow};

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::health::DirHealth;
use crate::types::{Timestamp, TopicPartition};
use codec::Record;
use writer::{Shared, Writer};

/// How far the manifest that was found can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The broker stopped in order: the rows tell everything.
    Clean,
    /// It did not: the rows are right as far as they go, and the logs go on behind their checkpoints.
    Unclean,
    /// There was none. In a directory that is not new, that is worth a report.
    Missing,
    /// Bytes that were on disk are gone or wrong, in this way. Rows keep only their log start.
    Damaged(String),
}

/// What the manifest said when it was opened.
#[derive(Debug)]
pub struct ManifestState {
    /// The rows.
    pub rows: HashMap<TopicPartition, Arc<PartitionRow>>,
    /// How far to believe them.
    pub verdict: Verdict,
    /// Bytes that a crash cut short, dropped. No cause for worry.
    pub torn_bytes: u64,
}

/// Reads a manifest as it lies, and changes nothing.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> io::Result<ManifestState> {
    let loaded = file::peek(path)?;
    Ok(ManifestState { rows: loaded.rows, verdict: loaded.verdict, torn_bytes: loaded.torn_bytes })
}

/// The manifest of a data directory, open for writing. Safe to share; methods may block for the disk.
#[derive(Debug)]
pub struct Manifest {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Manifest {
    /// Reads the manifest in the data directory, or begins one, and starts its thread. A damaged one is kept beside the
    /// new one as [`crate::storage::layout::MANIFEST_DAMAGED`]. A new one has a row for each partition that is found:
    /// without segments, if nobody knows better. So a partition that has no row never had one.
    ///
    /// # Errors
    /// A new file could not be written, or no thread started. That the old one could not be read is no error: see
    /// [`Verdict`].
    pub fn open(dir: &Path, health: Arc<DirHealth>) -> io::Result<(Arc<Self>, ManifestState)> {
        let (file, loaded) = file::open(dir)?;
        let state = ManifestState {
            rows: loaded.rows.clone(),
            verdict: loaded.verdict,
            torn_bytes: loaded.torn_bytes,
        };
        let shared = Arc::new(Shared::new(health));
        let writer = Writer::new(shared.clone(), dir, loaded.rows, file);
        let thread = std::thread::Builder::new().name("manifest".into()).spawn(move || writer.run())?;
        Ok((Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }), state))
    }

    /// Puts a row in place of the partition's last one. Returns when it is queued; waits only while the queue is full.
    pub fn put(&self, row: Arc<PartitionRow>) {
        self.shared.push(Record::Row(row));
    }

    /// Forgets a partition.
    pub fn remove(&self, id: TopicPartition) {
        self.shared.push(Record::Remove(id));
    }

    /// Blocks until everything put before is on disk.
    ///
    /// # Errors
    /// `StorageFull`: there is no space; the rows are kept and written once there is. Others have failed the directory.
    pub fn sync(&self) -> Result<(), Arc<io::Error>> {
        self.shared.sync()
    }

    /// Says durably that the broker runs: from here on a crash is an unclean stop.
    ///
    /// # Errors
    /// As [`Manifest::sync`].
    pub fn started(&self, now: Timestamp) -> Result<(), Arc<io::Error>> {
        self.shared.push(Record::Started(now));
        self.shared.sync()
    }

    /// Says durably that the broker stopped in order: every row is put, and every log ends at its checkpoint. Refused
    /// if the directory has failed.
    ///
    /// # Errors
    /// As [`Manifest::sync`].
    pub fn stopped(&self, now: Timestamp) -> Result<(), Arc<io::Error>> {
        // The rows first: then this record proves that they were on disk, and what is wrong with them later is damage.
        self.shared.sync()?;
        self.shared.push(Record::Stopped(now));
        self.shared.sync()
    }
}

/// Ends the thread once it has written what is queued.
impl Drop for Manifest {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A thread that panicked has failed the directory already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
