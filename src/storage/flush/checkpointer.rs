//! Checkpoints in the background: they bound what a crash makes recovery read, and nobody waits for them.
//!
//! A round prepares a few partitions (they write out their index tails, producers and epochs), syncs those files, has
//! the committer sync the logs, then puts the rows and waits until the manifest has them. So a row is put only after
//! every file that it speaks for is on disk.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::syncer::{SyncFault, SyncSet};
use super::{CheckpointNote, CheckpointTarget, Committer};
use crate::storage::manifest::Manifest;
use crate::storage::room::is_no_space;
use crate::types::Clock;

/// When a checkpoint is due.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointLimits {
    /// Bytes of one partition behind its checkpoint.
    pub partition_bytes: u64,
    /// Bytes of all partitions behind theirs.
    pub total_bytes: u64,
    /// Age of the oldest byte behind a checkpoint.
    pub age: Duration,
    /// The least time between two rounds: it bounds what checkpoints cost a broker that is busy.
    pub pause: Duration,
    /// After a failure that may pass (a full disk), the time until the next try.
    pub retry: Duration,
}

impl Default for CheckpointLimits {
    /// A crash then leaves half a gigabyte to read, or a minute.
    fn default() -> Self {
        Self {
            partition_bytes: 64 << 20,
            total_bytes: 512 << 20,
            age: Duration::from_secs(60),
            pause: Duration::from_millis(250),
            retry: Duration::from_secs(5),
        }
    }
}

/// The checkpointer of a data directory; shared by all partitions.
pub struct Checkpointer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, if it gives no thread.
    pub fn start(
        clock: Clock,
        limits: CheckpointLimits,
        committer: Arc<Committer>,
        manifest: Arc<Manifest>,
    ) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            clock,
            limits,
            committer,
            manifest,
            behind_bytes: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            work: Condvar::new(),
        });
        let runner = shared.clone();
        let thread = std::thread::Builder::new().name("checkpointer".into()).spawn(move || runner.run())?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Tells of an append. Takes no lock but for the first after a checkpoint, and when a limit is reached.
    pub fn appended<T: CheckpointTarget + 'static>(&self, target: &Arc<T>, bytes: u64) {
        let shared = &*self.shared;
        let mark = target.checkpoint_mark();
        let behind = mark.behind_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = shared.behind_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let crossed = |now: u64, limit: u64| now >= limit && now - bytes < limit;
        let wakes =
            crossed(behind, shared.limits.partition_bytes) || crossed(total, shared.limits.total_bytes);
        let is_new = !mark.queued.swap(true, Ordering::AcqRel);
        if is_new || wakes {
            shared.enqueue(target.clone(), false, wakes);
        }
    }

    /// Asks for a checkpoint soon: the partition rolled.
    pub fn request<T: CheckpointTarget + 'static>(&self, target: &Arc<T>) {
        target.checkpoint_mark().queued.store(true, Ordering::Release);
        self.shared.enqueue(target.clone(), true, true);
    }

    /// Takes a partition out of the queue: its topic is deleted.
    pub fn forget<T: CheckpointTarget + 'static>(&self, target: &Arc<T>) {
        let shared = &*self.shared;
        let target: Arc<dyn CheckpointTarget> = target.clone();
        let queued = shared.state.lock().behind.remove(&address(&target));
        if queued.is_some() {
            let mark = target.checkpoint_mark();
            mark.queued.store(false, Ordering::Release);
            shared.behind_bytes.fetch_sub(mark.behind_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Bytes behind checkpoints: what recovery would read after a crash now.
    pub fn behind_bytes(&self) -> u64 {
        self.shared.behind_bytes.load(Ordering::Relaxed)
    }

    /// Checkpoints everything that is behind, and ends the thread. Call it after the last append.
    pub fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // If it panicked, checkpoints stayed behind and the next start reads more. No reason to fail the stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpointer").field("behind_bytes", &self.behind_bytes()).finish_non_exhaustive()
    }
}

struct Shared {
    clock: Clock,
    limits: CheckpointLimits,
    committer: Arc<Committer>,
    manifest: Arc<Manifest>,
    behind_bytes: AtomicU64,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// By the target's address.
    behind: HashMap<usize, Behind>,
    /// No round before this.
    not_before: Duration,
    /// When the thread looks again by itself; zero while it is awake.
    sleeps_until: Duration,
    stopping: bool,
    stopped: bool,
}

/// A partition with bytes behind its checkpoint.
struct Behind {
    target: Arc<dyn CheckpointTarget>,
    /// When the first of them was appended.
    since: Duration,
    /// A checkpoint was asked for.
    requested: bool,
    /// The last try failed: not again before.
    retry_at: Duration,
}

impl Behind {
    fn bytes(&self) -> u64 {
        self.target.checkpoint_mark().behind_bytes()
    }
}

impl Shared {
    fn enqueue(&self, target: Arc<dyn CheckpointTarget>, requested: bool, at_once: bool) {
        let now = self.clock.monotonic();
        let due = if at_once { now } else { now + self.limits.age };
        let mut state = self.state.lock();
        if state.stopped {
            return;
        }
        let entry = state.behind.entry(address(&target));
        let fresh = Behind { target, since: now, requested: false, retry_at: Duration::ZERO };
        entry.or_insert(fresh).requested |= requested;
        if due < state.sleeps_until {
            self.work.notify_one();
        }
    }

    fn run(&self) {
        while let Some(targets) = self.next() {
            for chunk in targets.chunks(CHUNK_TARGETS_MAX) {
                self.round(chunk);
            }
        }
    }

    /// Waits for a round to be due and takes its targets; `None` when nothing is behind and the thread is to end.
    fn next(&self) -> Option<Vec<Arc<dyn CheckpointTarget>>> {
        let mut state = self.state.lock();
        loop {
            let now = self.clock.monotonic();
            if state.stopping {
                let all: Vec<_> = state.behind.drain().map(|(_, behind)| behind.target).collect();
                if all.is_empty() || self.committer.health().is_failed() {
                    state.stopped = true;
                    return None;
                }
                return Some(all);
            }
            if now >= state.not_before {
                let total = self.behind_bytes.load(Ordering::Relaxed);
                let targets = take_due(&mut state.behind, &self.limits, total, now);
                if !targets.is_empty() {
                    state.not_before = now + self.limits.pause;
                    return Some(targets);
                }
            }
            let due = self.next_due(&state, now);
            state.sleeps_until = due.unwrap_or(Duration::MAX);
            match due {
                Some(due) => {
                    self.work.wait_for(&mut state, due.saturating_sub(now).max(WAIT_MIN));
                }
                None => self.work.wait(&mut state),
            }
            state.sleeps_until = Duration::ZERO;
        }
    }

    /// When to look again.
    fn next_due(&self, state: &State, now: Duration) -> Option<Duration> {
        let total = self.behind_bytes.load(Ordering::Relaxed);
        let due_of = |behind: &Behind| {
            let presses = behind.requested
                || behind.bytes() >= self.limits.partition_bytes
                || total >= self.limits.total_bytes;
            let due = if presses { now } else { behind.since + self.limits.age };
            due.max(behind.retry_at)
        };
        state.behind.values().map(due_of).min().map(|due| due.max(state.not_before))
    }

    /// Checkpoints these targets. Whatever stays behind is queued again.
    fn round(&self, targets: &[Arc<dyn CheckpointTarget>]) {
        if self.committer.health().is_failed() {
            return;
        }
        let mut set = SyncSet::default();
        let mut prepared = Vec::with_capacity(targets.len());
        for target in targets {
            let mark = target.checkpoint_mark();
            // From here on an append queues the partition anew.
            mark.queued.store(false, Ordering::Release);
            let bytes = mark.behind_bytes.swap(0, Ordering::Relaxed);
            match target.prepare() {
                Ok(Some(CheckpointNote { paths, row })) => {
                    set.add(Vec::new(), paths);
                    prepared.push(Prepared { target, row, bytes });
                }
                Ok(None) => drop(self.behind_bytes.fetch_sub(bytes, Ordering::Relaxed)),
                Err(error) => {
                    if is_no_space(&error) {
                        // The disk's keeper speaks for all.
                        self.committer.health().room().found_full();
                        tracing::debug!(%error, "a checkpoint finds no space");
                    } else {
                        tracing::warn!(%error, "a checkpoint cannot be made yet; recovery after a crash would take longer");
                    }
                    self.put_back(target, bytes);
                }
            }
        }
        match self.sync(set, &prepared) {
            Ok(true) => self.put(prepared),
            Ok(false) => prepared.into_iter().for_each(|Prepared { target, bytes, .. }| {
                self.put_back(target, bytes);
            }),
            // The directory has failed, and everybody else is told by the committer.
            Err(error) => tracing::error!(%error, "checkpoints end here"),
        }
    }

    /// Puts everything on disk that the rows speak for. `false` if there are no descriptors for it now.
    fn sync(&self, set: SyncSet, prepared: &[Prepared<'_>]) -> Result<bool, Arc<io::Error>> {
        match self.committer.syncer().sync(set, 0) {
            Ok(()) => {}
            Err(SyncFault::Failed(error)) => return Err(self.committer.health().fail(error)),
            Err(SyncFault::Short { error, .. }) => {
                tracing::warn!(%error, "checkpoints cannot be synced yet; recovery after a crash would take longer");
                return Ok(false);
            }
        }
        let is_behind = |prepared: &&Prepared<'_>| prepared.target.durable() < prepared.row.checkpoint.offset;
        let logs: Vec<_> = prepared.iter().filter(is_behind).map(|p| p.target.sync_target()).collect();
        self.committer.sync(&logs).map(|()| true)
    }

    fn put(&self, prepared: Vec<Prepared<'_>>) {
        let (ready, early): (Vec<_>, Vec<_>) =
            prepared.into_iter().partition(|p| p.target.durable() >= p.row.checkpoint.offset);
        // Not to be expected after a sync; a row that speaks of more than is durable must never be put.
        for Prepared { target, bytes, .. } in early {
            self.put_back(target, bytes);
        }
        for Prepared { target, row, .. } in &ready {
            self.manifest.put(row.clone());
            // Asked behind the put: whoever deletes it later removes the row himself.
            if target.is_gone() {
                self.manifest.remove(row.id);
            }
        }
        let durable = if ready.is_empty() { Ok(()) } else { self.manifest.sync() };
        for Prepared { target, row, bytes } in ready {
            if durable.is_ok() {
                self.behind_bytes.fetch_sub(bytes, Ordering::Relaxed);
                target.checkpointed(&row);
            } else {
                self.put_back(target, bytes);
            }
        }
    }

    fn put_back(&self, target: &Arc<dyn CheckpointTarget>, bytes: u64) {
        let mark = target.checkpoint_mark();
        mark.queued.store(true, Ordering::Release);
        mark.behind_bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if state.stopping {
            // Once is enough: the next start reads what this one could not checkpoint.
            return;
        }
        let fresh = Behind { target: target.clone(), since: now, requested: false, retry_at: Duration::ZERO };
        state.behind.entry(address(target)).or_insert(fresh).retry_at = now + self.limits.retry;
    }
}

/// A partition whose files are written and wait to be synced.
struct Prepared<'a> {
    target: &'a Arc<dyn CheckpointTarget>,
    row: Arc<crate::storage::manifest::PartitionRow>,
    bytes: u64,
}

/// Takes the targets of a round: those over a limit; all that are half as old as the limit once one reaches it; and if
/// the total is too much, those that are furthest behind until half of it is done.
fn take_due(
    behind: &mut HashMap<usize, Behind>,
    limits: &CheckpointLimits,
    total: u64,
    now: Duration,
) -> Vec<Arc<dyn CheckpointTarget>> {
    let ready = |entry: &Behind| entry.retry_at <= now;
    let oldest = behind.values().filter(|entry| ready(entry)).map(|entry| entry.since).min();
    let round_of_old = oldest.is_some_and(|since| since + limits.age <= now);
    let mut excess = if total >= limits.total_bytes { total - limits.total_bytes / 2 } else { 0 };

    // The counts go on moving, so they are read once.
    let counted = |(key, entry): (&usize, &Behind)| {
        let old = round_of_old && entry.since + limits.age / 2 <= now;
        (entry.bytes(), *key, old || entry.requested)
    };
    let mut counts: Vec<_> = behind.iter().filter(|(_, entry)| ready(entry)).map(counted).collect();
    counts.sort_unstable_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
    let mut due = Vec::new();
    for (bytes, key, wanted) in counts {
        if excess > 0 || wanted || bytes >= limits.partition_bytes {
            excess = excess.saturating_sub(bytes);
            due.extend(behind.remove(&key).map(|entry| entry.target));
        }
    }
    due
}

fn address(target: &Arc<dyn CheckpointTarget>) -> usize {
    Arc::as_ptr(target).addr()
}

/// Partitions that are prepared before one sync covers them: it bounds how long their removals wait.
const CHUNK_TARGETS_MAX: usize = 1024;
const WAIT_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
#[path = "checkpointer_tests.rs"]
mod tests;
