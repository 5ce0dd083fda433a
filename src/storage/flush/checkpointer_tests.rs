//! The checkpointer against fake partitions: when it comes, and that no row says more than is on disk.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};

use super::*;
use crate::storage::files::FileCache;
use crate::storage::flush::{CheckpointMark, CommitterSpec, SyncMark, SyncNote, SyncTarget, When, WholeSync};
use crate::storage::health::DirHealth;
use crate::storage::manifest::{Checkpoint, ManifestState, PartitionRow};
use crate::types::{TopicId, TopicPartition};

/// A partition: its log is a counter, its side file a real one.
struct Fake {
    id: TopicPartition,
    sync_mark: SyncMark,
    mark: CheckpointMark,
    end: AtomicI64,
    durable: AtomicI64,
    checkpoint: AtomicI64,
    prepared: AtomicUsize,
    /// The next preparations fail for want of space.
    full: AtomicBool,
    gone: AtomicBool,
    side: Mutex<Arc<Path>>,
    log: Arc<File>,
    this: std::sync::Weak<Self>,
}

impl Fake {
    fn new(n: i32) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            id: TopicPartition { topic: TopicId::from_bytes([7; 16]), partition: n },
            sync_mark: SyncMark::default(),
            mark: CheckpointMark::default(),
            end: AtomicI64::new(0),
            durable: AtomicI64::new(0),
            checkpoint: AtomicI64::new(0),
            prepared: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            side: Mutex::new(std::env::temp_dir().into()),
            log: Arc::new(tempfile::tempfile().unwrap()),
            this: this.clone(),
        })
    }

    fn append(self: &Arc<Self>, rig: &Rig, bytes: u64) {
        self.end.fetch_add(1, Ordering::SeqCst);
        rig.committer.mark_dirty(self, bytes, When::Someday);
        rig.checkpointer.appended(self, bytes);
    }

    fn checkpoint(&self) -> i64 {
        self.checkpoint.load(Ordering::SeqCst)
    }
}

impl SyncTarget for Fake {
    fn mark(&self) -> &SyncMark {
        &self.sync_mark
    }
    fn note(&self) -> Option<SyncNote> {
        Some(SyncNote { files: vec![self.log.clone()], paths: vec![], end: self.end.load(Ordering::SeqCst) })
    }
    fn synced(&self, end: i64) {
        self.durable.store(end, Ordering::SeqCst);
    }
    fn failed(&self, _: &Arc<io::Error>) {}
}

impl CheckpointTarget for Fake {
    fn checkpoint_mark(&self) -> &CheckpointMark {
        &self.mark
    }
    fn prepare(&self) -> io::Result<Option<CheckpointNote>> {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let offset = self.end.load(Ordering::SeqCst);
        if offset == self.checkpoint() {
            return Ok(None);
        }
        let row = PartitionRow {
            id: self.id,
            topic: "t".into(),
            log_start: 0,
            checkpoint: Checkpoint { offset, segment: 0, position: 0, max_timestamp: -1 },
            segments: vec![],
            producers: false,
        };
        Ok(Some(CheckpointNote { paths: vec![self.side.lock().clone()], row: Arc::new(row) }))
    }
    fn durable(&self) -> i64 {
        self.durable.load(Ordering::SeqCst)
    }
    fn sync_target(&self) -> Arc<dyn SyncTarget> {
        self.this.upgrade().unwrap()
    }
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
    fn checkpointed(&self, row: &Arc<PartitionRow>) {
        assert!(row.checkpoint.offset <= self.durable(), "the row says more than is on disk");
        self.checkpoint.store(row.checkpoint.offset, Ordering::SeqCst);
    }
}

struct Rig {
    checkpointer: Arc<Checkpointer>,
    committer: Arc<Committer>,
    health: Arc<DirHealth>,
    clock: Clock,
    dir: tempfile::TempDir,
}

const LIMITS: CheckpointLimits = CheckpointLimits {
    partition_bytes: 100,
    total_bytes: 1000,
    age: Duration::from_millis(200),
    pause: Duration::ZERO,
    retry: Duration::from_millis(100),
};

impl Rig {
    fn new(limits: CheckpointLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, health) = (Clock::manual(1000), DirHealth::new());
        let spec = CommitterSpec {
            clock: clock.clone(),
            health: health.clone(),
            dir: Arc::new(File::open(dir.path()).unwrap()),
            whole: WholeSync::Never,
            files: FileCache::new(64, 0),
            unsynced_limit_bytes: 1 << 30,
        };
        let committer = Committer::start(spec).unwrap();
        let (manifest, _) = Manifest::open(dir.path(), health.clone()).unwrap();
        let checkpointer = Checkpointer::start(clock.clone(), limits, committer.clone(), manifest).unwrap();
        Self { checkpointer, committer, health, clock, dir }
    }

    /// What a crash now would leave in the manifest.
    fn image(&self) -> ManifestState {
        let image = tempfile::tempdir().unwrap();
        let name = crate::storage::layout::MANIFEST;
        std::fs::copy(self.dir.path().join(name), image.path().join(name)).unwrap();
        Manifest::open(image.path(), DirHealth::new()).unwrap().1
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("not within a minute: {what}");
}

/// Long enough for a checkpoint that should not come.
fn a_while() {
    std::thread::sleep(Duration::from_millis(40));
}

#[test]
fn a_partition_is_checkpointed_when_it_is_far_enough_behind() {
    let rig = Rig::new(LIMITS);
    let (far, near) = (Fake::new(0), Fake::new(1));
    near.append(&rig, 99);
    far.append(&rig, 60);
    a_while();
    assert_eq!((far.checkpoint(), near.checkpoint()), (0, 0));
    far.append(&rig, 40);
    eventually("checkpointed", || far.checkpoint() == 2);
    assert_eq!(rig.image().rows[&far.id].checkpoint.offset, 2, "and the manifest has it");
    assert_eq!((near.checkpoint(), rig.checkpointer.behind_bytes()), (0, 99));
}

#[test]
fn a_roll_is_followed_by_a_checkpoint() {
    let rig = Rig::new(LIMITS);
    let rolled = Fake::new(0);
    rolled.append(&rig, 1);
    rig.checkpointer.request(&rolled);
    eventually("checkpointed", || rolled.checkpoint() == 1);
}

#[test]
fn the_oldest_byte_behind_takes_the_half_as_old_along() {
    let rig = Rig::new(LIMITS);
    let fakes: Vec<_> = (0..3).map(Fake::new).collect();
    fakes[0].append(&rig, 1);
    rig.clock.advance(Duration::from_millis(90));
    fakes[1].append(&rig, 1);
    rig.clock.advance(Duration::from_millis(100));
    fakes[2].append(&rig, 1);
    a_while();
    assert!(fakes.iter().all(|fake| fake.checkpoint() == 0), "190 ms old at most");
    rig.clock.advance(Duration::from_millis(10));
    eventually("the old ones", || fakes[0].checkpoint() == 1 && fakes[1].checkpoint() == 1);
    assert_eq!(fakes[2].checkpoint(), 0);
}

#[test]
fn the_total_is_bounded_by_those_furthest_behind() {
    let rig = Rig::new(CheckpointLimits { partition_bytes: u64::MAX, ..LIMITS });
    let fakes: Vec<_> = (0..10).map(Fake::new).collect();
    for (n, fake) in (1_u64..).zip(&fakes) {
        fake.append(&rig, n * 20);
    }
    // 20 + 40 + ... + 200 = 1100: over the limit. Half of it goes: 200 + 180 + 160 + 140.
    eventually("the total fell", || rig.checkpointer.behind_bytes() <= 500);
    a_while();
    let done: Vec<_> = fakes.iter().map(|fake| fake.checkpoint()).collect();
    assert_eq!(done[..3], [0, 0, 0], "the small ones wait");
    // The round may begin when the bytes of the last append are counted and its partition is not queued yet.
    assert_eq!(done[7..9], [1, 1]);
    assert!(done[5..].iter().sum::<i64>() >= 3, "{done:?}");
}

#[test]
fn rounds_keep_their_distance() {
    let rig = Rig::new(CheckpointLimits { pause: Duration::from_millis(100), ..LIMITS });
    let fake = Fake::new(0);
    fake.append(&rig, 200);
    eventually("the first", || fake.checkpoint() == 1);
    fake.append(&rig, 200);
    a_while();
    assert_eq!(fake.checkpoint(), 1);
    rig.clock.advance(Duration::from_millis(100));
    eventually("the second", || fake.checkpoint() == 2);
}

#[test]
fn want_of_space_leaves_the_checkpoint_behind_until_it_passes() {
    let rig = Rig::new(LIMITS);
    let fake = Fake::new(0);
    fake.full.store(true, Ordering::SeqCst);
    fake.append(&rig, 200);
    eventually("tried", || fake.prepared.load(Ordering::SeqCst) == 1);
    eventually("counted again", || rig.checkpointer.behind_bytes() == 200 && fake.mark.behind_bytes() == 200);
    fake.append(&rig, 1);
    a_while();
    assert_eq!(fake.prepared.load(Ordering::SeqCst), 1, "not tried without end");
    assert!(!rig.health.is_failed());
    fake.full.store(false, Ordering::SeqCst);
    rig.clock.advance(LIMITS.retry);
    eventually("made up for", || fake.checkpoint() == 2);
    assert_eq!(rig.checkpointer.behind_bytes(), 0);
}

#[test]
fn a_failed_sync_puts_no_row_and_fails_the_directory() {
    let rig = Rig::new(LIMITS);
    let (bad, good) = (Fake::new(0), Fake::new(1));
    *bad.side.lock() = Path::new("/dev/null").into();
    good.append(&rig, 1);
    rig.checkpointer.request(&good);
    eventually("checkpointed", || good.checkpoint() == 1);
    bad.append(&rig, 200);
    eventually("failed", || rig.health.is_failed());
    good.append(&rig, 200);
    rig.checkpointer.stop();
    assert_eq!((bad.checkpoint(), good.checkpoint()), (0, 1));
    assert_eq!(rig.image().rows.len(), 1);
}

#[test]
fn appends_during_checkpoints_are_never_forgotten() {
    let rig = Rig::new(LIMITS);
    let fakes: Vec<_> = (0..4).map(Fake::new).collect();
    std::thread::scope(|scope| {
        for fake in &fakes {
            let rig = &rig;
            scope.spawn(move || (0..2000).for_each(|_| fake.append(rig, 30)));
        }
    });
    rig.checkpointer.stop();
    // That no row said more than was durable is checked in Fake::checkpointed.
    assert!(fakes.iter().all(|fake| fake.checkpoint() == 2000));
    assert_eq!(rig.checkpointer.behind_bytes(), 0);
    assert!(rig.image().rows.values().all(|row| row.checkpoint.offset == 2000));
}

#[test]
fn a_stop_checkpoints_all_that_is_behind_and_is_quick_with_nothing_to_do() {
    let rig = Rig::new(LIMITS);
    let fakes: Vec<_> = (0..200).map(Fake::new).collect();
    fakes.iter().for_each(|fake| fake.append(&rig, 1));
    rig.checkpointer.stop();
    assert!(fakes.iter().all(|fake| fake.checkpoint() == 1));
    assert_eq!(rig.image().rows.len(), 200);

    let quickest = (0..5).map(|_| {
        let idle = Rig::new(LIMITS);
        let clock = Clock::system();
        idle.checkpointer.stop();
        clock.monotonic()
    });
    assert!(quickest.min().unwrap() < Duration::from_millis(20));
}

#[test]
fn no_row_of_a_deleted_topic_stays_behind() {
    let rig = Rig::new(LIMITS);
    let (gone, other) = (Fake::new(0), Fake::new(1));
    gone.gone.store(true, Ordering::SeqCst);
    gone.append(&rig, 100);
    other.append(&rig, 100);
    eventually("checkpointed", || gone.checkpoint() == 1 && other.checkpoint() == 1);
    let rows = rig.image().rows;
    assert!(!rows.contains_key(&gone.id) && rows.contains_key(&other.id));
}
