//! What writer, readers, committer and upkeep of a log share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex, RwLock};

use super::damage::Watch;
use super::error::is_device_fault;
use super::{AppendError, Place};
use crate::storage::epochs::Epochs;
use crate::storage::files::FileCache;
use crate::storage::flush::{CheckpointMark, SyncMark, SyncNote, SyncTarget};
use crate::storage::health::DirHealth;
use crate::storage::layout::LEADER_EPOCHS;
use crate::storage::manifest::PartitionRow;
use crate::storage::room::is_no_space;
use crate::storage::segment::Segment;
use crate::types::TopicPartition;

/// What writer, readers and upkeep share: the segment list, the ends, and what is dirty.
///
/// It is the committer's [`SyncTarget`]; its checkpoints are made by whoever holds the producer state, see
/// [`Log::prepare_checkpoint`].
pub struct Log {
    pub(in crate::storage) id: TopicPartition,
    pub(in crate::storage) topic: Arc<str>,
    pub(in crate::storage) dir: Arc<Path>,
    pub(in crate::storage) files: Arc<FileCache>,
    pub(in crate::storage) health: Arc<DirHealth>,
    /// `segment.bytes`: how far a read map reaches.
    pub(in crate::storage) segment_bytes: AtomicUsize,
    pub(in crate::storage) state: Mutex<State>,
    /// Told when `preparing` or a turn ends.
    pub(super) prepared: Condvar,
    pub(in crate::storage) side: Mutex<SideFiles>,
    pub(super) tell: OnceLock<Box<dyn Fn(i64) + Send + Sync>>,
    /// Whether the log was given up, so that what its paths name may be another topic's. Upkeep holds it while it works
    /// by path; the writer, which is closed first, need not.
    given_up: RwLock<bool>,
    failed: OnceLock<Arc<io::Error>>,
    sync_mark: SyncMark,
    checkpoint_mark: CheckpointMark,
    pub(super) watch: Watch,
}

/// What the small lock guards. It is never held across I/O.
#[derive(Debug)]
pub(in crate::storage) struct State {
    /// By rising base; the writer grows the last one only.
    pub(in crate::storage) segments: Vec<Arc<Segment>>,
    /// The first offset that may be read.
    pub(in crate::storage) start: i64,
    /// The next offset, and where its batch will begin.
    pub(in crate::storage) end: Place,
    /// Up to where a power cut loses nothing.
    pub(in crate::storage) durable: Place,
    /// The last ends of the log, and the last durable ones: where reads are likely to begin and end.
    pub(in crate::storage) ends: Recent<8>,
    pub(in crate::storage) durables: Recent<4>,
    pub(in crate::storage) dirty: Dirty,
    /// The last row that was put.
    pub(in crate::storage) row: Option<Arc<PartitionRow>>,
    /// Whether the manifest was lost: until the first checkpoint nothing vouches for the files.
    pub(in crate::storage) manifest_lost: bool,
    /// Whether the last segment does not reach `end`: what was durable there is gone.
    pub(in crate::storage) has_hole: bool,
    /// Whether a checkpoint was prepared whose row is not durable yet.
    pub(super) preparing: bool,
    /// Removals that are not over, and whether a compacted segment is being swapped in: never both.
    pub(super) removals: u32,
    pub(super) is_swapping: bool,
    pub(in crate::storage) next_serial: u32,
}

/// The small files beside the segments. Its lock may be held while they are written, so no reader of records takes it.
#[derive(Debug, Default)]
pub(in crate::storage) struct SideFiles {
    pub(in crate::storage) epochs: Epochs,
    /// Whether the epochs' file is behind.
    pub(in crate::storage) epochs_unwritten: bool,
    /// Written since a checkpoint noted them: the epochs' file, producer files.
    pub(in crate::storage) unsynced: Vec<PathBuf>,
    /// Noted by a checkpoint that is under way.
    pub(super) noted: Vec<PathBuf>,
    /// The offsets of the `.producers` files there are.
    pub(in crate::storage) producers: Vec<i64>,
}

/// What a sync has to make durable.
#[derive(Debug, Default)]
pub(in crate::storage) struct Dirty {
    /// Segments with unsynced bytes, oldest first.
    pub(in crate::storage) segments: Vec<Arc<Segment>>,
    /// Whether the active segment is the last of them.
    pub(in crate::storage) active: bool,
    /// Directories with new entries, and small files in them.
    pub(in crate::storage) paths: Vec<Arc<Path>>,
    noted: Option<Noted>,
}

/// What the committer is syncing now.
#[derive(Debug)]
struct Noted {
    end: Place,
    segments: Vec<(Arc<Segment>, u64)>,
}

/// A few batch boundaries. A read whose bounds are among them needs no index and no walk.
#[derive(Debug)]
pub(in crate::storage) struct Recent<const N: usize> {
    places: [Place; N],
    next: usize,
}

impl<const N: usize> Recent<N> {
    pub(in crate::storage) fn new(end: Place) -> Self {
        Self { places: [end; N], next: 0 }
    }

    fn push(&mut self, place: Place) {
        self.places[self.next % N] = place;
        self.next = (self.next + 1) % N;
    }

    pub(in crate::storage) fn find(&self, offset: i64) -> Option<Place> {
        self.places.iter().find(|place| place.offset == offset).copied()
    }
}

impl Dirty {
    /// The next sync has to cover these, too.
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = Arc<Path>>) {
        for path in paths {
            if !self.paths.contains(&path) {
                self.paths.push(path);
            }
        }
    }
}

impl State {
    /// A number for a new segment.
    pub(in crate::storage) fn take_serial(&mut self) -> u32 {
        self.next_serial += 1;
        self.next_serial
    }

    /// The place of `offset` if it is one of those that are known.
    pub(in crate::storage) fn place_of(&self, offset: i64) -> Option<Place> {
        if offset == self.end.offset {
            Some(self.end)
        } else if offset == self.durable.offset {
            Some(self.durable)
        } else {
            self.durables.find(offset).or_else(|| self.ends.find(offset))
        }
    }

    /// The segment that holds `offset`, as a position in the list; offsets below the first belong to the first.
    pub(in crate::storage) fn segment_at(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base() <= offset).saturating_sub(1)
    }

    /// The first offset behind the `nth` segment.
    pub(in crate::storage) fn next_of(&self, nth: usize) -> i64 {
        self.segments.get(nth + 1).map_or(self.end.offset, |next| next.base())
    }

    /// Published bytes of the `nth` segment.
    pub(in crate::storage) fn size_of(&self, nth: usize) -> u64 {
        let is_active = nth + 1 == self.segments.len();
        if is_active { self.end.position } else { self.segments.get(nth).map_or(0, |segment| segment.len()) }
    }

    pub(super) fn publish(&mut self, end: Place, active: &Arc<Segment>) {
        self.ends.push(self.end);
        self.end = end;
        if !self.dirty.active {
            self.dirty.active = true;
            self.dirty.segments.push(active.clone());
        }
    }
}

impl Log {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts that opening a log has gathered, each of its own type"
    )]
    pub(in crate::storage) fn new(
        id: TopicPartition,
        topic: Arc<str>,
        dir: Arc<Path>,
        files: Arc<FileCache>,
        health: Arc<DirHealth>,
        segment_bytes: usize,
        state: State,
        side: SideFiles,
        watch: Watch,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            topic,
            dir,
            files,
            health,
            segment_bytes: AtomicUsize::new(segment_bytes),
            state: Mutex::new(state),
            prepared: Condvar::new(),
            side: Mutex::new(side),
            tell: OnceLock::new(),
            given_up: RwLock::new(false),
            failed: OnceLock::new(),
            sync_mark: SyncMark::default(),
            checkpoint_mark: CheckpointMark::default(),
            watch,
        })
    }

    /// Which partition's log it is.
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    /// The partition's directory. It exists from the first append on.
    pub fn dir(&self) -> &Arc<Path> {
        &self.dir
    }

    /// Sets who is told when the durable offset moves (once; later calls do nothing). Called from the committer's
    /// thread: it must not block, and should hold no strong reference to the log.
    pub fn on_durable(&self, tell: Box<dyn Fn(i64) + Send + Sync>) {
        let _ = self.tell.set(tell);
    }

    /// The log's place in the checkpointer's queue.
    pub fn checkpoint_mark(&self) -> &CheckpointMark {
        &self.checkpoint_mark
    }

    /// The first failure, if the log takes no more writes.
    pub fn failure(&self) -> Option<Arc<io::Error>> {
        self.failed.get().or_else(|| self.health.error()).cloned()
    }

    /// The bound on its open files.
    pub fn files(&self) -> &FileCache {
        &self.files
    }

    /// Whether the next append has to open a file while as many stand open as may.
    pub fn lacks_file(&self) -> bool {
        self.files.is_short() && !self.state.lock().segments.last().is_some_and(|segment| segment.is_open())
    }

    /// Does `work`, which goes by the log's paths, unless they are the log's no more: then `None`.
    pub(in crate::storage) fn by_path<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let given_up = self.given_up.read();
        (!*given_up).then(work)
    }

    /// Whether the topic was deleted: what the log's paths name may be another's.
    pub(in crate::storage) fn is_given_up(&self) -> bool {
        *self.given_up.read()
    }

    /// Waits for those who work by path, and lets nobody begin. Closes the files, whoever still holds the log: it is
    /// their removal that gives the space back.
    pub(super) fn give_up(&self) {
        *self.given_up.write() = true;
        let (segments, dirty) = {
            let mut state = self.state.lock();
            state.dirty.active = false;
            (state.segments.clone(), std::mem::take(&mut state.dirty.segments))
        };
        segments.iter().chain(&dirty).for_each(|segment| segment.give_up());
        self.state.lock().dirty.paths.clear();
    }

    /// Takes the log out of service: no more writes, and reads only of what is durable.
    pub(super) fn fail(&self, error: Arc<io::Error>) {
        let _ = self.failed.set(error);
    }

    /// What the writer is told when the file system refused: space may come back, and a disk that fails does not.
    pub(super) fn refuse(&self, error: io::Error, bytes: u64) -> AppendError {
        let dir = self.dir.to_path_buf();
        if is_no_space(&error) {
            self.health.room().found_full();
            AppendError::Full { dir, bytes }
        } else if is_device_fault(&error) {
            self.end_service(error, "a write failed")
        } else {
            AppendError::Io { dir, error }
        }
    }

    /// Takes the log out of service and says so, once.
    pub(super) fn end_service(&self, error: io::Error, what: &str) -> AppendError {
        let why = Arc::new(error);
        if self.failed.set(why.clone()).is_ok() && !self.health.is_failed() {
            tracing::error!(
                dir = %self.dir.display(),
                "{what}: {why}. The partition takes no more records until the broker is restarted, and goes on serving \
                 what is in its log; other partitions go on. Look for the disk's errors (dmesg), replace it or make it \
                 writable, then restart"
            );
        }
        AppendError::OutOfService { dir: self.dir.to_path_buf(), why }
    }

    pub(in crate::storage) fn is_failed(&self) -> bool {
        self.failed.get().is_some() || self.health.is_failed()
    }

    pub(super) fn check_in_service(&self) -> Result<(), AppendError> {
        match self.failure() {
            Some(why) if self.is_failed() => {
                Err(AppendError::OutOfService { dir: self.dir.to_path_buf(), why })
            }
            _ => Ok(()),
        }
    }

    /// Puts the epochs' file in place; the next sync and the next checkpoint cover it.
    pub(super) fn write_epochs(&self, side: &mut SideFiles) -> io::Result<()> {
        if !side.epochs_unwritten {
            return Ok(());
        }
        side.epochs.write(&self.dir)?;
        side.epochs_unwritten = false;
        let path = self.dir.join(LEADER_EPOCHS);
        if !side.unsynced.contains(&path) {
            side.unsynced.push(path.clone());
        }
        self.state.lock().dirty.add([path.into(), self.dir.clone()]);
        Ok(())
    }

    pub(super) fn map_bytes(&self) -> usize {
        self.segment_bytes.load(Ordering::Relaxed)
    }
}

impl SyncTarget for Log {
    fn mark(&self) -> &SyncMark {
        &self.sync_mark
    }

    fn note(&self) -> Option<SyncNote> {
        let mut state = self.state.lock();
        let end = state.end;
        let dirty = &mut state.dirty;
        if dirty.segments.is_empty() && dirty.paths.is_empty() {
            return None;
        }
        let mut files = Vec::with_capacity(dirty.segments.len());
        let mut noted = Vec::with_capacity(dirty.segments.len());
        for segment in dirty.segments.drain(..) {
            if let Some((file, writes)) = segment.unsynced() {
                files.push(file);
                noted.push((segment, writes));
            }
        }
        dirty.active = false;
        dirty.noted = Some(Noted { end, segments: noted });
        Some(SyncNote { files, paths: std::mem::take(&mut dirty.paths), end: end.offset })
    }

    fn synced(&self, end: i64) {
        let moved = {
            let mut state = self.state.lock();
            let Some(noted) = state.dirty.noted.take() else { return };
            for (segment, writes) in noted.segments {
                segment.mark_synced(writes);
            }
            debug_assert_eq!(noted.end.offset, end, "a note is answered before the next is taken");
            let moved = noted.end.offset > state.durable.offset;
            if moved {
                let before = std::mem::replace(&mut state.durable, noted.end);
                state.durables.push(before);
            }
            moved
        };
        self.files.trim();
        if let Some(tell) = self.tell.get().filter(|_| moved) {
            tell(end);
        }
    }

    fn failed(&self, error: &Arc<io::Error>) {
        // Who failed first has said so; this is told to every log of the directory.
        tracing::debug!(dir = %self.dir.display(), %error, "the log is out of service until restart");
        self.fail(error.clone());
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.dir).finish_non_exhaustive()
    }
}
