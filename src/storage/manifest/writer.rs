//! The manifest's thread: takes what was put, in order, and writes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::codec::Record;
use super::file::{ManifestFile, WriteFault, write_new};
use super::load::Rows;
use crate::storage::health::DirHealth;

/// What the thread shares with those who put.
#[derive(Debug)]
pub(super) struct Shared {
    health: Arc<DirHealth>,
    queue: Mutex<Queue>,
    /// The thread waits here for work.
    work: Condvar,
    /// Those who put wait here for room, those who sync for their turn.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// At most [`QUEUE_RECORDS_MAX`].
    records: Vec<Record>,
    /// Records that were ever put.
    put: u64,
    /// Of those, how many are on disk.
    synced: u64,
    /// Up to which record the last attempt to sync failed, and why.
    failed: Option<(u64, Arc<io::Error>)>,
    sync_wanted: bool,
    stopping: bool,
    /// The thread is gone.
    stopped: bool,
}

impl Shared {
    pub(super) fn new(health: Arc<DirHealth>) -> Self {
        Self { health, queue: Mutex::default(), work: Condvar::new(), progress: Condvar::new() }
    }

    pub(super) fn push(&self, record: Record) {
        let mut queue = self.queue.lock();
        while queue.records.len() >= QUEUE_RECORDS_MAX && !queue.stopped {
            self.progress.wait(&mut queue);
        }
        queue.put += 1;
        queue.records.push(record);
        self.work.notify_one();
    }

    pub(super) fn sync(&self) -> Result<(), Arc<io::Error>> {
        let mut queue = self.queue.lock();
        let wanted = queue.put;
        if queue.synced < wanted {
            queue.failed = None;
            queue.sync_wanted = true;
            self.work.notify_one();
        }
        while queue.synced < wanted {
            if let Some(error) = self.health.error() {
                return Err(error.clone());
            }
            if let Some((failed, error)) = &queue.failed
                && *failed >= wanted
            {
                return Err(error.clone());
            }
            if queue.stopped {
                return Err(Arc::new(io::Error::other("the manifest is closed")));
            }
            self.progress.wait(&mut queue);
        }
        Ok(())
    }

    pub(super) fn stop(&self) {
        self.queue.lock().stopping = true;
        self.work.notify_one();
    }
}

/// The thread's side.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    /// Every row as it was last put: what a new file is written from.
    rows: Rows,
    /// `None` while not even one could be written for want of space.
    file: Option<ManifestFile>,
    /// Records were put that the file has not got: only a new file makes it right again.
    incomplete: bool,
}

/// What the thread found in the queue.
struct Work {
    records: Vec<Record>,
    /// How many had been put by then.
    put: u64,
    sync: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, dir: &Path, rows: Rows, file: Option<ManifestFile>) -> Self {
        let incomplete = file.is_none();
        Self { shared, dir: dir.to_owned(), rows, file, incomplete }
    }

    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _last_words = LastWords(&shared);
        while let Some(work) = self.next() {
            let result = if self.shared.health.is_failed() {
                Ok(false)
            } else {
                self.write(&work.records).and_then(|()| self.sync(work.sync))
            };
            let mut queue = self.shared.queue.lock();
            match result {
                Ok(true) => queue.synced = work.put,
                Ok(false) => {}
                Err(WriteFault::Later(error)) => {
                    tracing::warn!(%error, "the manifest cannot be written; its rows stay behind");
                    queue.failed = Some((work.put, Arc::new(error)));
                }
                Err(WriteFault::Final(error)) => {
                    self.shared.health.fail(error);
                }
            }
            drop(queue);
            self.shared.progress.notify_all();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.shared.queue.lock();
        loop {
            if !queue.records.is_empty() || queue.sync_wanted {
                let sync = std::mem::take(&mut queue.sync_wanted);
                let records = std::mem::take(&mut queue.records);
                self.shared.progress.notify_all();
                return Some(Work { records, put: queue.put, sync });
            }
            if queue.stopping {
                return None;
            }
            self.shared.work.wait(&mut queue);
        }
    }

    fn write(&mut self, records: &[Record]) -> Result<(), WriteFault> {
        for record in records {
            match record {
                Record::Row(row) => drop(self.rows.insert(row.id, row.clone())),
                Record::Remove(id) => drop(self.rows.remove(id)),
                Record::Started(_) | Record::Stopped(_) => {}
            }
        }
        if self.incomplete {
            // Whatever was missed is in the rows. A file that does not end with `Stopped` says that the broker runs.
            self.rewrite()?;
            return match records.last() {
                Some(stopped @ Record::Stopped(_)) => self.append(std::slice::from_ref(stopped)),
                _ => Ok(()),
            };
        }
        self.append(records)?;
        if self.file.as_ref().is_some_and(ManifestFile::is_outgrown) && !ends_stopped(records) {
            match self.rewrite() {
                Ok(()) => {}
                Err(WriteFault::Later(error)) => {
                    tracing::warn!(%error, "the manifest cannot be written anew; it grows on");
                    if let Some(file) = &mut self.file {
                        file.postpone();
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> Result<(), WriteFault> {
        let Some(file) = self.file.as_mut().filter(|_| !records.is_empty()) else { return Ok(()) };
        let written = file.append(records);
        self.incomplete |= written.is_err();
        written
    }

    fn rewrite(&mut self) -> Result<(), WriteFault> {
        self.file = Some(write_new(&self.dir, &self.rows)?);
        self.incomplete = false;
        Ok(())
    }

    /// Syncs if somebody wants it; whether everything written is on disk now.
    fn sync(&mut self, wanted: bool) -> Result<bool, WriteFault> {
        if let Some(file) = self.file.as_mut().filter(|_| wanted) {
            file.sync()?;
        }
        Ok(wanted)
    }
}

/// A new file written behind `Stopped` would have to say it again; the next start can do that instead.
fn ends_stopped(records: &[Record]) -> bool {
    matches!(records.last(), Some(Record::Stopped(_)))
}

/// Lets nobody wait for a thread that is gone.
struct LastWords<'a>(&'a Shared);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .health
                .fail(io::Error::other("the manifest's thread died of a bug; see its panic message"));
        }
        self.0.queue.lock().stopped = true;
        self.0.progress.notify_all();
    }
}

/// Rows that may wait to be written.
const QUEUE_RECORDS_MAX: usize = 4096;
