//! Puts a set of files and directories on disk: fdatasync for a few, by a small pool; one syncfs for many.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::storage::files::is_shortage;

/// When one sync of the whole file system may stand for many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeSync {
    /// Its failures are not told to us.
    Never,
    /// Others write to it, too: when they have little to be written.
    Shared,
    /// It is the data directory's own.
    Own,
}

/// What is to be on disk, each file and path once.
#[derive(Debug, Default)]
pub(super) struct SyncSet {
    files: Vec<Arc<File>>,
    paths: Vec<Arc<Path>>,
    /// Bytes that the set is known to hold unsynced.
    pub(super) bytes: u64,
}

impl SyncSet {
    pub(super) fn add(&mut self, files: Vec<Arc<File>>, paths: Vec<Arc<Path>>) {
        self.files.extend(files);
        self.paths.extend(paths);
    }

    fn jobs(mut self) -> Vec<Job> {
        self.files.sort_by_key(|file| file.as_raw_fd());
        self.files.dedup_by_key(|file| file.as_raw_fd());
        self.paths.sort_unstable();
        self.paths.dedup();
        let files = self.files.into_iter().map(Job::File);
        files.chain(self.paths.into_iter().map(Job::Path)).collect()
    }
}

/// Why a set is not on disk.
#[derive(Debug)]
pub(super) enum SyncFault {
    /// The system has no descriptor or no memory left to open these with. No sync was tried, so nothing is lost: they are
    /// to be synced later, and all else of the set is on disk.
    Short {
        /// What is left to do.
        left: SyncSet,
        /// What the system said.
        error: io::Error,
    },
    /// A sync failed. Final: what it left behind is unknown, and a second one proves nothing.
    Failed(io::Error),
}

/// One thing to sync.
#[derive(Debug)]
enum Job {
    File(Arc<File>),
    Path(Arc<Path>),
}

/// What became of it, if it is not on disk.
enum JobFault {
    Short(Arc<Path>, io::Error),
    Failed(io::Error),
}

impl Job {
    fn run(&self, spare: &Spare) -> Result<(), JobFault> {
        match self {
            Self::File(file) => {
                file.sync_data().map_err(|error| JobFault::Failed(named(&path_of(file), &error)))
            }
            Self::Path(path) => match spare.with_open(path, |file| file.sync_all()) {
                Ok(synced) => synced.map_err(|error| JobFault::Failed(named(path, &error))),
                // The topic was deleted meanwhile and its directory renamed: nobody is promised what is in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) if is_shortage(&error) => Err(JobFault::Short(path.clone(), error)),
                Err(error) => Err(JobFault::Failed(error)),
            },
        }
    }
}

/// A descriptor that is held back for the time when there are no others: what is synced through its path then goes
/// through this one, one after the other.
#[derive(Debug)]
struct Spare {
    fs: Arc<File>,
    held: Mutex<Option<File>>,
}

impl Spare {
    fn new(fs: Arc<File>) -> Self {
        let held = fs.try_clone().ok();
        Self { fs, held: Mutex::new(held) }
    }

    /// # Errors
    /// The file cannot be opened.
    fn with_open<T>(&self, path: &Path, work: impl FnOnce(&File) -> T) -> io::Result<T> {
        match File::open(path) {
            Err(error) if is_shortage(&error) => {}
            opened => return opened.map(|file| work(&file)),
        }
        let mut held = self.held.lock();
        *held = None;
        let done = File::open(path).map(|file| work(&file));
        *held = self.fs.try_clone().ok();
        done
    }
}

/// What the whole system has to write to its disks.
fn dirty_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Dirty:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

/// The path of an open file, for people: the kernel's, or the descriptor's number.
fn path_of(file: &File) -> PathBuf {
    let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    fs::read_link(&link).unwrap_or(link)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Syncs sets; shared by the committer and the checkpointer, which never sync the same file.
#[derive(Debug)]
pub(super) struct Syncer {
    /// The data directory, opened before anything was written: syncfs reports errors only since its descriptor was made.
    fs: Arc<File>,
    whole: WholeSync,
    syncfs: AtomicBool,
    spare: Arc<Spare>,
    pool: Pool,
}

impl Syncer {
    /// A syncer for the file system that `fs` is on.
    pub(super) fn new(fs: Arc<File>, whole: WholeSync) -> Self {
        let spare = Arc::new(Spare::new(fs.clone()));
        let syncfs = AtomicBool::new(whole != WholeSync::Never);
        Self { fs, whole, syncfs, spare, pool: Pool::default() }
    }

    /// Returns when all of the set is on disk. `unsynced_bytes` is what the whole broker holds unsynced: syncfs writes
    /// all of it, so it pays only for a set that holds most of it, or takes so many calls that the rest weighs less.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn sync(&self, set: SyncSet, unsynced_bytes: u64) -> Result<(), SyncFault> {
        let own_bytes = set.bytes.saturating_mul(2);
        let jobs = set.jobs();
        let worth = own_bytes.saturating_add(jobs.len() as u64 * CALL_BYTES);
        let pays = unsynced_bytes <= worth
            && match self.whole {
                WholeSync::Never => false,
                WholeSync::Own => jobs.len() > FEW,
                WholeSync::Shared => {
                    jobs.len() > FEW_IF_SHARED && dirty_bytes().is_some_and(|all| all <= worth)
                }
            };
        if pays && self.syncfs.load(Ordering::Relaxed) {
            match rustix::fs::syncfs(&*self.fs) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // It may be anybody's file. Ours report their own failures, each to the descriptor that wrote.
                    tracing::warn!(%error, "syncfs failed; syncing each file to see whether it was ours");
                    self.syncfs.store(false, Ordering::Relaxed);
                }
            }
        }
        self.pool.run(jobs, &self.spare)
    }

    /// Brings all of the file system to disk, what others wrote included. Whether it did.
    pub(super) fn sync_all(&self) -> bool {
        rustix::fs::syncfs(&*self.fs).inspect_err(|error| tracing::warn!(%error, "syncfs failed")).is_ok()
    }

    /// Whether the data directory was removed: syncs succeed on files without a name, and nobody will find them.
    pub(super) fn is_removed(&self) -> bool {
        rustix::fs::fstat(&*self.fs).is_ok_and(|found| found.st_nlink == 0)
    }

    /// Gives the descriptor away that is kept for a shortage.
    #[cfg(test)]
    pub(super) fn drop_spare(&self) {
        *self.spare.held.lock() = None;
    }

    /// Ends the pool's threads.
    pub(super) fn stop(&self) {
        self.pool.stop();
    }
}

/// Threads that wait in fdatasync. Made when first needed; the caller of [`Pool::run`] works along.
#[derive(Debug, Default)]
struct Pool {
    shared: Arc<PoolShared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct PoolShared {
    state: Mutex<PoolState>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    /// A run stands here once for each thread that may help; at most [`POOL_THREADS_MAX`] times.
    runs: VecDeque<Arc<Run>>,
    stopping: bool,
}

impl Pool {
    fn run(&self, jobs: Vec<Job>, spare: &Arc<Spare>) -> Result<(), SyncFault> {
        let helpers = jobs.len().saturating_sub(1).min(POOL_THREADS_MAX);
        let run = Arc::new(Run::new(jobs, spare.clone()));
        if helpers > 0 {
            self.hire(helpers);
            let mut state = self.shared.state.lock();
            state.runs.extend(std::iter::repeat_n(&run, helpers).cloned());
            drop(state);
            self.shared.work.notify_all();
        }
        run.work();
        run.wait()
    }

    /// Sees to it that this many threads exist. If one cannot be made, those there are do the work.
    fn hire(&self, wanted: usize) {
        let mut threads = self.threads.lock();
        while threads.len() < wanted {
            let shared = self.shared.clone();
            let name = format!("fsync-{}", threads.len());
            let spawned =
                std::thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || shared.serve());
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, "cannot start another sync thread");
                    return;
                }
            }
        }
    }

    fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_all();
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked has nothing to say here: its run waits for no one after a stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl PoolShared {
    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(run) = state.runs.pop_front() {
                drop(state);
                run.work();
                drop(run);
                state = self.state.lock();
            } else if state.stopping {
                return;
            } else {
                self.work.wait(&mut state);
            }
        }
    }
}

/// One set being synced by several threads: each claims the next job until none is left.
#[derive(Debug)]
struct Run {
    jobs: Vec<Job>,
    spare: Arc<Spare>,
    next: AtomicUsize,
    state: Mutex<RunState>,
    done: Condvar,
}

#[derive(Debug)]
struct RunState {
    unfinished: usize,
    /// What could not be opened, and why the last of it could not.
    left: Vec<Arc<Path>>,
    shortage: Option<io::Error>,
    failure: Option<io::Error>,
}

impl Run {
    fn new(jobs: Vec<Job>, spare: Arc<Spare>) -> Self {
        let state = RunState { unfinished: jobs.len(), left: Vec::new(), shortage: None, failure: None };
        Self { jobs, spare, next: AtomicUsize::new(0), state: Mutex::new(state), done: Condvar::new() }
    }

    fn work(&self) {
        while let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let result = job.run(&self.spare);
            let mut state = self.state.lock();
            state.unfinished -= 1;
            match result {
                Ok(()) => {}
                Err(JobFault::Failed(error)) => {
                    state.failure.get_or_insert(error);
                }
                Err(JobFault::Short(path, error)) => {
                    state.left.push(path);
                    state.shortage = Some(error);
                }
            }
            if state.unfinished == 0 {
                self.done.notify_all();
            }
        }
    }

    fn wait(&self) -> Result<(), SyncFault> {
        let mut state = self.state.lock();
        while state.unfinished > 0 {
            self.done.wait(&mut state);
        }
        if let Some(error) = state.failure.take() {
            return Err(SyncFault::Failed(error));
        }
        let Some(error) = state.shortage.take() else { return Ok(()) };
        let left = SyncSet { paths: std::mem::take(&mut state.left), ..SyncSet::default() };
        Err(SyncFault::Short { left, error })
    }
}

/// Up to this many files, syncing each beats syncing the file system (measured: docs/decisions/group-sync.md).
const FEW: usize = 7;
/// The same where others write as well, which is asked of the system.
const FEW_IF_SHARED: usize = 64;
/// What a disk writes in the time that one more fsync takes, about.
const CALL_BYTES: u64 = 64 << 10;
/// Threads beside the caller. Eight in all is where more bring nothing.
const POOL_THREADS_MAX: usize = 7;
const STACK_BYTES: usize = 128 * 1024;

#[cfg(test)]
#[path = "syncer_tests.rs"]
mod tests;
