//! The committer: one thread that runs sync rounds over everything dirty.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::pace::Pace;
use super::queue::{Batch, Queue};
use super::syncer::{SyncFault, SyncSet, Syncer};
use super::{SyncTarget, Unsynced, When, WholeSync};
use crate::storage::files::FileCache;
use crate::storage::health::DirHealth;
use crate::types::Clock;

/// What a committer needs.
#[derive(Debug)]
pub struct CommitterSpec {
    /// Deadlines run on its monotonic side.
    pub clock: Clock,
    /// Failed by the first failed sync.
    pub health: Arc<DirHealth>,
    /// The data directory, opened before anything in it was written.
    pub dir: Arc<File>,
    /// When a sync of the whole file system may stand for many files (see `dir::Capabilities`).
    pub whole: WholeSync,
    /// The bound on open files: past it what is dirty is synced early.
    pub files: Arc<FileCache>,
    /// Appended bytes that may be unsynced before Produce has to wait ([`super::unsynced_limit_bytes`]).
    pub unsynced_limit_bytes: u64,
}

/// The group sync of a data directory. Shared by all logs; all methods but [`Committer::sync`] and
/// [`Committer::stop`] return at once.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the committer's thread.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn start(spec: CommitterSpec) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            clock: spec.clock,
            health: spec.health,
            files: spec.files,
            unsynced: Unsynced::new(spec.unsynced_limit_bytes),
            pace: Pace::default(),
            syncer: Syncer::new(spec.dir, spec.whole),
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            ended: Condvar::new(),
        });
        shared.state.lock().queue.gathering = 1;
        let runner = shared.clone();
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || runner.run())?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Tells of an append: `target` holds `bytes` more that are not on disk. Call it after the append is visible to
    /// [`SyncTarget::note`]. Takes no lock if the target is queued at least as urgently.
    pub fn mark_dirty<T: SyncTarget + 'static>(&self, target: &Arc<T>, bytes: u64, when: When) {
        let shared = &*self.shared;
        let mark = target.mark();
        let held = mark.add_unsynced(bytes);
        let starts_write_back = shared.unsynced.add(bytes);
        // A background target is due at once when it alone holds a slice's worth: that bounds recovery.
        let hurries = matches!(when, When::Within(_)) && held >= HURRY_BYTES && held - bytes < HURRY_BYTES;
        if mark.level() >= when.level() && !starts_write_back && !hurries {
            return;
        }
        let target: Arc<dyn SyncTarget> = target.clone();
        shared.enqueue(&target, when, hurries);
    }

    /// Asks for a round: somebody waits for what `target` has appended.
    pub fn request<T: SyncTarget + 'static>(&self, target: &Arc<T>) {
        self.mark_dirty(target, 0, When::Now);
    }

    /// Blocks until a round that started after this call has synced all of the targets.
    ///
    /// # Errors
    /// The error that failed the directory, or that the committer has stopped.
    pub fn sync(&self, targets: &[Arc<dyn SyncTarget>]) -> Result<(), Arc<io::Error>> {
        self.shared.sync(targets)
    }

    /// Blocks while `files` (the whole bound, or the part for the broker's own topics) has no descriptor for one more file
    /// to write to, but not for ever: then the write is refused if there still is none. What is dirty is synced
    /// meanwhile, so that its files can be closed.
    pub fn relieve(&self, files: &FileCache) {
        self.shared.relieve(files);
    }

    /// Brings to disk whatever was written to the file system before, by whomever. Whether it is there now, on a kernel
    /// that tells of failures ([`crate::storage::dir::Capabilities::syncfs_tells`]). Blocks for as long as that takes.
    pub fn sync_file_system(&self) -> bool {
        self.shared.syncer.sync_all()
    }

    /// The count of bytes that are not on disk, with its marks.
    pub fn unsynced(&self) -> &Unsynced {
        &self.shared.unsynced
    }

    /// Does `write`, which writes into the page cache, and takes note of it if it stands still. It is told whether it
    /// belongs on a thread that may wait: the disk is behind or slow, or a write stands still already, and too few of
    /// the workers, whose number is asked for where it matters, would be left.
    pub fn watch<T>(&self, workers: impl FnOnce() -> usize, write: impl FnOnce(bool) -> T) -> T {
        let Shared { clock, pace, unsynced, .. } = &*self.shared;
        let began = clock.monotonic();
        let may_stall = unsynced.is_past_half() || pace.is_slow(began);
        let on_worker = pace.write_begins(began, may_stall, workers);
        let elsewhere = on_worker.is_none().then(|| unsynced.write_elsewhere());
        let written = write(elsewhere.is_some());
        drop((on_worker, elsewhere));
        let now = clock.monotonic();
        pace.wrote(now.saturating_sub(began), now);
        written
    }

    /// Whether the directory has failed.
    pub fn health(&self) -> &Arc<DirHealth> {
        &self.shared.health
    }

    /// Syncs everything that is dirty and ends the thread. What is appended afterwards is never synced.
    pub fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A committer that panicked has failed the directory already.
            let _ = thread.join();
        }
        self.shared.syncer.stop();
    }

    /// How many rounds have synced something.
    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.shared.state.lock().syncs
    }

    pub(super) fn syncer(&self) -> &Syncer {
        &self.shared.syncer
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("unsynced", &self.shared.unsynced).finish_non_exhaustive()
    }
}

struct Shared {
    clock: Clock,
    health: Arc<DirHealth>,
    files: Arc<FileCache>,
    unsynced: Unsynced,
    pace: Pace,
    syncer: Syncer,
    state: Mutex<State>,
    /// The thread waits here for a round to be due.
    work: Condvar,
    /// [`Committer::sync`] waits here for rounds to end.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// The last urgent round that has ended.
    ended: u64,
    /// Whether the thread waits; only then it has to be notified.
    idle: bool,
    stopping: bool,
    /// The thread is gone: nothing is synced any more.
    stopped: bool,
    #[cfg(test)]
    syncs: u64,
}

impl Shared {
    fn enqueue(&self, target: &Arc<dyn SyncTarget>, when: When, hurries: bool) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if state.stopped {
            return;
        }
        // In a failed directory the thread fails whatever is queued: here the caller may hold its log's locks.
        let mut look = state.queue.push(target.clone(), when, now) | self.health.is_failed();
        if hurries {
            look |= state.queue.hurry(target, now);
        }
        if self.wants_write_back() && !state.queue.write_back {
            state.queue.write_back = true;
            look = true;
        }
        if look && state.idle {
            self.work.notify_one();
        }
    }

    /// Whether what nobody waits for is to be synced all the same: it holds too many bytes, or too many files open.
    fn wants_write_back(&self) -> bool {
        self.unsynced.wants_write_back() || self.files.is_over()
    }

    fn relieve(&self, files: &FileCache) {
        files.close_idle();
        for _ in 0..RELIEF_TRIES_MAX {
            let mut state = self.state.lock();
            if !files.is_short() || state.stopped || self.health.is_failed() {
                return;
            }
            state.queue.write_back = true;
            self.work.notify_one();
            self.ended.wait_for(&mut state, RELIEF_PAUSE);
            drop(state);
            files.close_idle();
        }
        tracing::warn!(
            ?files,
            "no file can be closed for another that is to be opened: raise the limit of open files"
        );
    }

    fn sync(&self, targets: &[Arc<dyn SyncTarget>]) -> Result<(), Arc<io::Error>> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let round = state.queue.gathering;
        if !targets.is_empty() && !state.stopped {
            for target in targets {
                state.queue.push(target.clone(), When::Now, now);
            }
            self.work.notify_one();
            while state.ended < round && !state.stopped {
                self.ended.wait(&mut state);
            }
        }
        if let Some(error) = self.health.error() {
            return Err(error.clone());
        }
        if state.stopped {
            return Err(Arc::new(io::Error::other("the committer has stopped")));
        }
        Ok(())
    }

    fn run(&self) {
        let mut guard = LastWords { shared: self, in_flight: Vec::new() };
        while let Some(batch) = self.next() {
            guard.in_flight = batch.targets;
            self.round(&guard.in_flight);
            let mut state = self.state.lock();
            state.ended = batch.number.unwrap_or(state.ended);
            drop(state);
            self.ended.notify_all();
        }
        guard.in_flight.clear();
    }

    /// Waits for the next round; `None` when all is synced and the committer is to stop.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.stopping || self.health.is_failed() {
                if !state.queue.is_empty() {
                    return Some(state.queue.take_all());
                }
                if state.stopping {
                    return None;
                }
            }
            let now = self.clock.monotonic();
            state.queue.write_back = self.wants_write_back();
            if let Some(batch) = state.queue.take(now) {
                return Some(batch);
            }
            state.idle = true;
            match state.queue.next_due() {
                Some(due) => {
                    self.work.wait_for(&mut state, due.saturating_sub(now));
                }
                None => self.work.wait(&mut state),
            }
            state.idle = false;
        }
    }

    /// Notes, syncs, publishes.
    fn round(&self, targets: &[Arc<dyn SyncTarget>]) {
        let mut set = SyncSet::default();
        let mut ends = Vec::with_capacity(targets.len());
        if !self.health.is_failed() {
            for target in targets {
                // Taken before the note, so that bytes behind the note are still counted.
                set.bytes += target.mark().take_unsynced();
                if let Some(note) = target.note() {
                    set.add(note.files, note.paths);
                    ends.push((target, note.end));
                }
            }
        }
        let bytes = set.bytes;
        #[cfg(test)]
        if !ends.is_empty() {
            self.state.lock().syncs += 1;
        }
        self.pace.sync_begins(self.clock.monotonic());
        let synced = self.sync_set(set);
        self.pace.sync_ends(self.clock.monotonic());
        if let Err(error) = synced {
            self.health.fail(error);
        } else if self.syncer.is_removed() {
            self.health.lose("it was removed");
        }
        // Asked again after the sync: whatever failed in between, here or elsewhere, publishes nothing.
        if let Some(error) = self.health.error() {
            self.fail(targets, error);
        } else {
            for (target, end) in ends {
                target.synced(end);
            }
        }
        self.unsynced.sub(bytes);
    }

    /// Syncs a set, however long it takes to get the descriptors for it: those who wait for it go on waiting.
    ///
    /// # Errors
    /// A sync failed; or the broker stops and there is still no descriptor.
    fn sync_set(&self, set: SyncSet) -> io::Result<()> {
        let mut result = self.syncer.sync(set, self.unsynced.bytes());
        let mut tries = 0;
        while let Err(SyncFault::Short { left, error }) = result {
            if tries % TRIES_A_REPORT == 0 {
                tracing::warn!(%error, "what was written cannot be opened to be synced; acknowledgements wait for it");
            }
            tries += 1;
            let state = self.state.lock();
            if self.health.is_failed() || (state.stopping && tries > STOP_TRIES_MAX) {
                return Err(error);
            }
            drop(state);
            // Nobody tells when the system has descriptors again.
            std::thread::sleep(SHORTAGE_PAUSE);
            result = self.syncer.sync(left, 0);
        }
        match result {
            Err(SyncFault::Failed(error) | SyncFault::Short { error, .. }) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    fn fail(&self, targets: &[Arc<dyn SyncTarget>], error: &Arc<io::Error>) {
        for target in targets {
            target.failed(error);
        }
        self.unsynced.release();
    }
}

/// Sees to it that nobody waits for a committer that is gone, even if it panicked.
struct LastWords<'a> {
    shared: &'a Shared,
    /// The targets of the round that runs.
    in_flight: Vec<Arc<dyn SyncTarget>>,
}

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        if std::thread::panicking() {
            shared.health.fail(io::Error::other("the committer died of a bug; see its panic message"));
        }
        let mut state = shared.state.lock();
        state.stopped = true;
        self.in_flight.extend(state.queue.take_all().targets);
        drop(state);
        shared.ended.notify_all();
        if let Some(error) = shared.health.error() {
            shared.fail(&self.in_flight, error);
        }
    }
}

/// The time until what could not be opened is tried again.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);
/// A shortage is reported about every five seconds.
const TRIES_A_REPORT: u32 = 250;
/// How often a committer that is to stop tries; about five seconds.
const STOP_TRIES_MAX: u32 = 250;
/// How often an append that waits for a descriptor looks again; about five seconds.
const RELIEF_TRIES_MAX: u32 = 250;
/// Files also get free without a sync, when their readers are done.
const RELIEF_PAUSE: Duration = Duration::from_millis(20);
/// A background target that holds this much is synced without waiting for its deadline.
const HURRY_BYTES: u64 = 32 << 20;

#[cfg(test)]
#[path = "committer_tests.rs"]
mod tests;
