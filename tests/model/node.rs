//! What is tested: one partition with all that is below it (log, manifest, committer, checkpointer, the cleaner's
//! functions), on a disk that forgets, by a clock that the test moves. Nothing happens by itself: the threads there are
//! do what the test asks for and end, so that a seed is a story.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use streamd::config::{Fsync, TopicSettings};
use streamd::partition::table::PartitionTable;
use streamd::partition::{Environment, OpenPartition, Partition, Recovered, Whose};
use streamd::storage::compaction::plan::{Situation, Work, dirty_from, plan};
use streamd::storage::compaction::{CleanPoints, Cleaned, Cleaning, MapLimits, Pace, clean};
use streamd::storage::files::FileCache;
use streamd::storage::flush::{
    CheckpointLimits, CheckpointTarget as _, Checkpointer, Committer, CommitterSpec, WholeSync,
};
use streamd::storage::health::DirHealth;
use streamd::storage::layout::{MANIFEST, partition_dir};
use streamd::storage::log::{self, Damage, OpenSpec, Replayed};
use streamd::storage::manifest::{Manifest, Verdict};
use streamd::storage::repair;
use streamd::storage::retention;
use streamd::types::{Clock, TopicId, TopicPartition};
use tempfile::TempDir;

use crate::disk::{Disk, Image};

pub(crate) const TOPIC: &str = "t";
const ID: TopicPartition = TopicPartition { topic: TopicId::from_bytes([7; 16]), partition: 0 };
/// Keys that one cleaning takes in, at the most: few, so that some cleanings stop at a full map.
const MAP_SLOTS: f64 = 1_024.0;

/// What stays the same through all lives of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) topic: TopicSettings,
    pub(crate) fsync: Fsync,
}

/// One life of it.
pub(crate) struct Node {
    pub(crate) setting: Setting,
    pub(crate) clock: Clock,
    pub(crate) disk: Arc<Disk>,
    pub(crate) partition: Arc<Partition>,
    points: CleanPoints,
    table: PartitionTable,
    checkpointer_clock: Clock,
    /// Whether it was opened by the manifest's word alone.
    pub(crate) was_clean: bool,
    /// Files that left the log and still stand there.
    pub(crate) doomed: Vec<PathBuf>,
    temp: TempDir,
}

impl Node {
    /// Starts on what a crash has left.
    pub(crate) fn boot(setting: &Setting, clock: &Clock, epoch: i32, image: &Image, full: bool) -> Self {
        let temp = tempfile::Builder::new().prefix("model-").tempdir().expect("a temp dir");
        let disk = Disk::with(temp.path(), image);
        disk.set_full(full);
        Self::start(setting, clock, epoch, temp, disk)
    }

    fn start(setting: &Setting, clock: &Clock, epoch: i32, temp: TempDir, disk: Arc<Disk>) -> Self {
        let root = fs::canonicalize(temp.path()).expect("the root");
        let health = DirHealth::new();
        health.room().set_read_only(disk.is_full());
        let (manifest, state) = Manifest::open(&root, Arc::clone(&health)).expect("the manifest opens");
        let was_clean = matches!(state.verdict, Verdict::Clean);
        let files = FileCache::new(64, 8);
        let has_row = state.rows.contains_key(&ID);
        // Its deadlines never come: it syncs when it is asked to.
        let checkpointer_clock = Clock::manual(0);
        let committer = Committer::start(CommitterSpec {
            clock: checkpointer_clock.clone(),
            health: Arc::clone(&health),
            dir: Arc::new(File::open(&root).expect("the root")),
            whole: WholeSync::Never,
            files: Arc::clone(&files),
            unsynced_limit_bytes: 1 << 40,
        })
        .expect("a thread");
        // What rolls ask of it comes to nothing: checkpoints are made when the story says so.
        let checkpointer = Checkpointer::start(
            checkpointer_clock.clone(),
            CheckpointLimits::default(),
            Arc::clone(&committer),
            Arc::clone(&manifest),
        )
        .expect("a thread");
        checkpointer.stop();
        manifest.started(clock.now_ms()).expect("the manifest takes a word");
        let found =
            if root.join(partition_dir(TOPIC, 0)).is_dir() { vec![partition_dir(TOPIC, 0)] } else { vec![] };
        let table = PartitionTable::new(Environment {
            root: root.clone(),
            clock: clock.clone(),
            fsync: setting.fsync,
            committer,
            checkpointer,
            files,
            health,
            manifest,
            schedule: Arc::default(),
            clean: was_clean,
            settled: false.into(),
            found: found.into_iter().collect::<HashSet<_>>(),
            recovered: Recovered::default(),
            rows: Mutex::new(state.rows.into_iter().collect::<HashMap<_, _>>()),
        });
        let wanted = OpenPartition {
            id: ID,
            topic: TOPIC.into(),
            settings: Arc::new(setting.topic.clone()),
            leader_epoch: epoch,
            kept_bytes: 0,
        };
        let open = || table.get_or_open(&wanted, &|_| Whose::Living);
        let partition = match open() {
            // A directory of which only names were left has to be written to before it is anybody's.
            Err(_) if disk.is_full() && !has_row => {
                disk.set_full(false);
                table.environment().health.room().set_read_only(false);
                open()
            }
            opened => opened,
        };
        let partition = partition.expect("the partition opens");
        let points = CleanPoints::open(&root, |name| (name == TOPIC).then_some(ID.topic));
        let setting = setting.clone();
        let clock = clock.clone();
        Self {
            setting,
            clock,
            disk,
            partition,
            points,
            table,
            checkpointer_clock,
            was_clean,
            doomed: Vec::new(),
            temp,
        }
    }

    fn environment(&self) -> &Environment {
        self.table.environment()
    }

    /// Whether readers see no more than what is durable.
    pub(crate) fn waits_for_disk(&self) -> bool {
        self.setting.fsync == Fsync::Batch
    }

    /// Bytes that recovery had to read.
    pub(crate) fn scanned_bytes(&self) -> u64 {
        self.environment().recovered.totals().scanned_bytes
    }

    pub(crate) fn dir(&self) -> PathBuf {
        fs::canonicalize(self.temp.path()).expect("the root").join(partition_dir(TOPIC, 0))
    }

    pub(crate) fn sync(&self) {
        self.environment().committer.sync(&[self.partition.sync_target()]).expect("a sync works");
    }

    pub(crate) fn checkpoint(&self) {
        let Environment { committer, manifest, .. } = self.environment();
        let checkpointer = Checkpointer::start(
            self.checkpointer_clock.clone(),
            CheckpointLimits::default(),
            Arc::clone(committer),
            Arc::clone(manifest),
        )
        .expect("a thread");
        checkpointer.request(&self.partition);
        checkpointer.stop();
    }

    /// The disk is full from now on, or has space again.
    pub(crate) fn set_full(&self, full: bool) {
        self.disk.set_full(full);
        self.environment().health.room().set_read_only(full);
    }

    /// Moves the log's start as DeleteRecords does.
    pub(crate) fn delete_records(&mut self, below: i64) -> io::Result<()> {
        let manifest = Arc::clone(&self.environment().manifest);
        let files = self.partition.drop_segments_below(below, &manifest)?;
        self.doomed.extend(files);
        Ok(())
    }

    /// Does what retention does when it looks at a partition. The new start, if anything goes.
    pub(crate) fn retain(&mut self) -> Option<i64> {
        let now = self.clock.now_ms();
        if !self.disk.is_full() {
            self.partition.roll_if_idle(now).expect("a segment begins");
        }
        let reader = self.partition.reader();
        let bound = self.partition.high_watermark().min(reader.durable());
        let start = self.partition.log_start();
        let plan = retention::plan(&reader.segments(), &self.setting.topic, start, now, bound);
        let keep_from = plan.drop_before?;
        if plan.roll && self.partition.roll_segment().is_err() {
            assert!(self.disk.is_full(), "a segment begins");
            return None;
        }
        self.delete_records(keep_from.max(start)).expect("a start moves, on a full disk, too");
        Some(keep_from)
    }

    /// What the cleaner would take on.
    pub(crate) fn work(&self) -> Option<Work> {
        let reader = self.partition.reader();
        let segments = reader.segments();
        let situation = Situation {
            segments: &segments,
            dirty_from: dirty_from(self.points.get(ID), reader.start(), reader.end()),
            bound: self.partition.compaction_bound(),
            oldest_dirty: None,
            replayed: false,
            pressure: self.partition.room().pressure(),
            now: self.clock.now_ms(),
        };
        plan(&situation, &self.setting.topic).work
    }

    /// Cleans that, with a map for so many keys.
    pub(crate) fn clean(&mut self, work: Work, keys: u32) -> Cleaned {
        let mut cleaned = clean(&Cleaning {
            log: self.partition.log(),
            settings: &self.setting.topic,
            work,
            producers: &self.partition.active_producers(),
            aborted: &self.partition.reader().aborted(0, i64::MAX, true).expect("the index can be read"),
            manifest: &self.environment().manifest,
            is_own: false,
            pace: &Pace::new(self.clock.clone(), 0.0),
            map: MapLimits { bytes: 0, load: f64::from(keys) / MAP_SLOTS + 0.000_1, secret: [5, 6] },
            read_bytes: 1 << 10,
            now: self.clock.now_ms(),
        });
        if let (Some(clean_to), None) = (cleaned.clean_to, &cleaned.fault) {
            let remembered = self.points.set(ID, self.partition.topic(), clean_to);
            assert!(remembered.is_ok() || self.disk.is_full(), "{remembered:?}");
        }
        self.doomed.append(&mut cleaned.removed);
        cleaned
    }

    /// Unlinks what left the log.
    pub(crate) fn unlink(&mut self) {
        for path in std::mem::take(&mut self.doomed) {
            // A later file of the same name may have taken its place.
            let _ = fs::remove_file(path);
        }
    }

    /// Stops in order.
    fn stop(self) -> (TempDir, Arc<Disk>) {
        let Self { table, partition, temp, disk, checkpointer_clock, clock, .. } = self;
        table.close_all().expect("the log closes");
        let Environment { committer, manifest, .. } = table.environment();
        let checkpointer = Checkpointer::start(
            checkpointer_clock,
            CheckpointLimits::default(),
            Arc::clone(committer),
            Arc::clone(manifest),
        )
        .expect("a thread");
        checkpointer.request(&partition);
        checkpointer.stop();
        committer.stop();
        if table.not_checkpointed() == 0 {
            manifest.stopped(clock.now_ms()).expect("the manifest takes the last word");
        }
        (temp, disk)
    }

    /// Stops in order, does something to the files, and starts again.
    pub(crate) fn restart(self, epoch: i32, meanwhile: impl FnOnce(&std::path::Path, &Disk)) -> Self {
        let (setting, clock) = (self.setting.clone(), self.clock.clone());
        let (temp, disk) = self.stop();
        meanwhile(temp.path(), &disk);
        Self::start(&setting, &clock, epoch, temp, disk)
    }

    /// Gives damage up while the broker is stopped, as `streamd repair` does. What was found.
    pub(crate) fn repair(setting: &Setting, clock: &Clock, root: &std::path::Path) -> Vec<Damage> {
        let health = DirHealth::new();
        let (manifest, state) = Manifest::open(root, Arc::clone(&health)).expect("the manifest opens");
        let opened = log::open(
            OpenSpec {
                dir: root.join(partition_dir(TOPIC, 0)).into(),
                id: ID,
                topic: TOPIC.into(),
                settings: Arc::new(setting.topic.clone()),
                row: state.rows.get(&ID).cloned(),
                clean: false,
                log_start: 0,
                sync_on_open: true,
                settled: false,
                kept_bytes: 0,
                files: FileCache::new(16, 0),
                health,
                leader_epoch: i32::MAX,
                clock: clock.clone(),
            },
            &mut |_| Replayed::Sound,
        )
        .expect("the log opens");
        let damage = repair::verify(&opened).expect("it can be read");
        let log = Arc::clone(&opened.log);
        drop(opened);
        repair::give_up(&log, &manifest).expect("damage can be given up");
        damage
    }
}

/// Time passes.
pub(crate) fn wait(clock: &Clock, ms: u64) {
    clock.advance(Duration::from_millis(ms));
}

/// Loses the manifest.
pub(crate) fn lose_manifest(root: &std::path::Path) {
    fs::remove_file(root.join(MANIFEST)).expect("there is a manifest");
}
