//! Puts a set of files and directories on disk: fdatasync for a few, by a small pool; one syncfs for many.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

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

/// One thing to sync.
#[derive(Debug)]
enum Job {
    File(Arc<File>),
    Path(Arc<Path>),
}

impl Job {
    fn run(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Path(path) => match File::open(path) {
                Ok(file) => file.sync_all(),
                // The topic was deleted meanwhile and its directory renamed: nobody is promised what is in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

/// Syncs sets; shared by the committer and the checkpointer, which never sync the same file.
#[derive(Debug)]
pub(super) struct Syncer {
    /// The data directory, opened before anything was written: syncfs reports errors only since its descriptor was made.
    fs: Arc<File>,
    syncfs: AtomicBool,
    pool: Pool,
}

impl Syncer {
    /// `syncfs` says whether the directory has a file system of its own, on a kernel whose syncfs reports errors.
    pub(super) fn new(fs: Arc<File>, syncfs: bool) -> Self {
        Self { fs, syncfs: AtomicBool::new(syncfs), pool: Pool::default() }
    }

    /// Returns when all of the set is on disk. `unsynced_bytes` is what the whole broker holds unsynced: syncfs writes
    /// all of it, so it pays only for a set that holds most of it.
    ///
    /// # Errors
    /// The first failure. It is final: what a failed sync left behind is unknown, and a second one proves nothing.
    pub(super) fn sync(&self, set: SyncSet, unsynced_bytes: u64) -> io::Result<()> {
        let holds_most = set.bytes.saturating_mul(2) >= unsynced_bytes;
        let jobs = set.jobs();
        if jobs.len() > FEW && holds_most && self.syncfs.load(Ordering::Relaxed) {
            match rustix::fs::syncfs(&*self.fs) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // It may be anybody's file. Ours report their own failures, each to the descriptor that wrote.
                    tracing::warn!(%error, "syncfs failed; syncing each file to see whether it was ours");
                    self.syncfs.store(false, Ordering::Relaxed);
                }
            }
        }
        self.pool.run(jobs)
    }

    /// Whether the data directory was removed: syncs succeed on files without a name, and nobody will find them.
    pub(super) fn is_removed(&self) -> bool {
        rustix::fs::fstat(&*self.fs).is_ok_and(|found| found.st_nlink == 0)
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
    fn run(&self, jobs: Vec<Job>) -> io::Result<()> {
        let helpers = jobs.len().saturating_sub(1).min(POOL_THREADS_MAX);
        let run = Arc::new(Run::new(jobs));
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
    next: AtomicUsize,
    state: Mutex<RunState>,
    done: Condvar,
}

#[derive(Debug)]
struct RunState {
    unfinished: usize,
    error: Option<io::Error>,
}

impl Run {
    fn new(jobs: Vec<Job>) -> Self {
        let state = Mutex::new(RunState { unfinished: jobs.len(), error: None });
        Self { jobs, next: AtomicUsize::new(0), state, done: Condvar::new() }
    }

    fn work(&self) {
        while let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let result = job.run();
            let mut state = self.state.lock();
            state.unfinished -= 1;
            if let Err(error) = result {
                state.error.get_or_insert(error);
            }
            if state.unfinished == 0 {
                self.done.notify_all();
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        while state.unfinished > 0 {
            self.done.wait(&mut state);
        }
        state.error.take().map_or(Ok(()), Err)
    }
}

/// Up to this many files, syncing each beats syncing the file system (measured: reference/storage.md 3.5).
const FEW: usize = 7;
/// Threads beside the caller. Eight in all is where more bring nothing.
const POOL_THREADS_MAX: usize = 7;
const STACK_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file_in(dir: &Path, name: &str) -> Arc<File> {
        let mut file = File::create(dir.join(name)).unwrap();
        file.write_all(b"bytes").unwrap();
        Arc::new(file)
    }

    fn syncer(dir: &Path, syncfs: bool) -> Syncer {
        Syncer::new(Arc::new(File::open(dir).unwrap()), syncfs)
    }

    fn set_of(dir: &Path, files: usize, bad: bool) -> SyncSet {
        let mut set = SyncSet::default();
        for n in 0..files {
            set.add(vec![file_in(dir, &n.to_string())], vec![dir.into()]);
        }
        if bad {
            // A device that cannot be synced stands for a disk that fails.
            set.add(vec![Arc::new(File::open("/dev/null").unwrap())], vec![]);
        }
        set
    }

    #[test]
    fn one_and_many_files_are_synced_either_way() {
        let dir = tempfile::tempdir().unwrap();
        for syncfs in [false, true] {
            let syncer = syncer(dir.path(), syncfs);
            for files in [0, 1, 2, 40] {
                syncer.sync(set_of(dir.path(), files, false), 0).unwrap();
            }
            syncer.stop();
        }
    }

    #[test]
    fn one_failing_file_among_many_fails_the_set() {
        let dir = tempfile::tempdir().unwrap();
        let syncer = syncer(dir.path(), false);
        for files in [0, 1, 30] {
            assert!(syncer.sync(set_of(dir.path(), files, true), 0).is_err(), "{files} good files beside it");
        }
        syncer.sync(set_of(dir.path(), 30, false), 0).unwrap();
    }

    #[test]
    fn files_and_directories_are_synced_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(dir.path(), "a");
        let mut set = SyncSet::default();
        set.add(vec![file.clone(), file.clone()], vec![dir.path().into(), dir.path().into()]);
        assert_eq!(set.jobs().len(), 2);
    }

    #[test]
    fn a_directory_that_is_gone_needs_no_sync() {
        let dir = tempfile::tempdir().unwrap();
        let mut set = SyncSet::default();
        set.add(vec![], vec![dir.path().join("gone").into()]);
        syncer(dir.path(), false).sync(set, 0).unwrap();
    }

    #[test]
    fn when_syncfs_fails_each_file_decides() {
        let dir = tempfile::tempdir().unwrap();
        // A descriptor opened with O_PATH cannot be synced: syncfs fails, the files do not.
        let flags = rustix::fs::OFlags::PATH;
        let fd = rustix::fs::open(dir.path(), flags, rustix::fs::Mode::empty()).unwrap();
        let syncer = Syncer::new(Arc::new(File::from(fd)), true);
        syncer.sync(set_of(dir.path(), 30, false), 0).unwrap();
        assert!(syncer.sync(set_of(dir.path(), 30, true), 0).is_err());
    }
}
