//! What the partition layer's tests share: a table of partitions in a temporary directory, with a committer and a
//! checkpointer that work, and batches to append.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::ack::{Ack, AckSlot, AppendResult, AppendTicket};
use super::table::PartitionTable;
use super::{Environment, OpenFault, OpenPartition, Partition, Recovered, Whose};
use crate::config::{Fsync, TopicSettings};
use crate::record::batch::{BatchHeader, BatchView};
use crate::record::build::{BatchBuilder, NewRecord};
use crate::record::check::CheckedBatch;
use crate::storage::files::FileCache;
use crate::storage::flush::{
    CheckpointLimits, Checkpointer, Committer, CommitterSpec, SyncMark, SyncNote, SyncTarget, WholeSync,
};
use crate::storage::health::DirHealth;
use crate::storage::layout::partition_dir;
use crate::storage::manifest::Manifest;
use crate::types::{Clock, TopicId, TopicPartition};

pub(super) const NOW: i64 = 1_700_000_000_000;

pub(super) struct Rig {
    pub(super) table: PartitionTable,
    pub(super) settings: TopicSettings,
    temp: TempDir,
}

impl Rig {
    pub(super) fn new(settings: TopicSettings) -> Self {
        Self::with(settings, FileCache::new(64, 8), Fsync::Batch)
    }

    pub(super) fn with(settings: TopicSettings, files: Arc<FileCache>, fsync: Fsync) -> Self {
        Self::after(false, settings, files, fsync)
    }

    /// One whose partitions open as after a clean stop, or as after any other.
    pub(super) fn after(clean: bool, settings: TopicSettings, files: Arc<FileCache>, fsync: Fsync) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_path_buf();
        let (clock, health) = (Clock::manual(NOW), DirHealth::new());
        let committer = Committer::start(CommitterSpec {
            clock: clock.clone(),
            health: Arc::clone(&health),
            dir: Arc::new(File::open(&root).unwrap()),
            whole: WholeSync::Never,
            files: Arc::clone(&files),
            unsynced_limit_bytes: 1 << 30,
        })
        .unwrap();
        let (manifest, _) = Manifest::open(&root, Arc::clone(&health)).unwrap();
        let checkpointer = Checkpointer::start(
            clock.clone(),
            CheckpointLimits::default(),
            Arc::clone(&committer),
            Arc::clone(&manifest),
        )
        .unwrap();
        let environment = Environment {
            root,
            clock,
            fsync,
            committer,
            checkpointer,
            files,
            health,
            manifest,
            schedule: Arc::default(),
            clean,
            settled: std::sync::atomic::AtomicBool::new(false),
            found: HashSet::new(),
            recovered: Recovered::default(),
            rows: Mutex::new(HashMap::new()),
        };
        Self { table: PartitionTable::new(environment), settings, temp }
    }

    pub(super) fn root(&self) -> &Path {
        self.temp.path()
    }

    pub(super) fn committer(&self) -> &Arc<Committer> {
        &self.table.environment().committer
    }

    pub(super) fn manifest(&self) -> &Arc<Manifest> {
        &self.table.environment().manifest
    }

    /// The directory of a topic's partition 0.
    pub(super) fn dir(&self, topic: &str) -> PathBuf {
        self.root().join(partition_dir(topic, 0))
    }

    /// The directories there are.
    pub(super) fn dirs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap());
        let dirs = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = dirs.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(super) fn wanted(&self, topic: &str, id: TopicId) -> OpenPartition {
        OpenPartition {
            id: TopicPartition { topic: id, partition: 0 },
            topic: topic.into(),
            settings: Arc::new(self.settings.clone()),
            leader_epoch: 0,
            kept_bytes: 0,
        }
    }

    pub(super) fn try_open(
        &self,
        topic: &str,
        id: TopicId,
        whose: &dyn Fn(TopicId) -> Whose,
    ) -> Result<Arc<Partition>, OpenFault> {
        self.table.get_or_open(&self.wanted(topic, id), whose)
    }

    /// Opens partition 0 of a topic that lives.
    pub(super) fn open(&self, topic: &str, id: TopicId) -> Arc<Partition> {
        self.try_open(topic, id, &|asked| if asked == id { Whose::Living } else { Whose::Removed }).unwrap()
    }
}

pub(super) const fn id(n: u8) -> TopicId {
    TopicId::from_bytes([n; 16])
}

/// Every file in a directory.
pub(super) fn files_in(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// The same while the checkpointer works there, which removes files that nobody will ask for.
pub(super) fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named.filter_map(|(name, path)| Some((name, fs::read(path).ok()?))).collect()
}

/// A batch of one record.
pub(super) fn record(value: &[u8]) -> Bytes {
    build(BatchBuilder::new(), value)
}

/// A batch of one record of an idempotent producer.
pub(super) fn record_of(producer: i64, sequence: i32, value: &[u8]) -> Bytes {
    build(BatchBuilder::new().producer(producer, 0, sequence), value)
}

fn build(mut builder: BatchBuilder, value: &[u8]) -> Bytes {
    builder.push(&NewRecord { timestamp: NOW, value: Some(value), ..NewRecord::default() });
    builder.build().unwrap()
}

pub(super) fn headed(bytes: Bytes) -> (Bytes, BatchHeader) {
    let header = BatchHeader::parse(&bytes).unwrap();
    (bytes, header)
}

/// Puts a batch in the queue, and asks for `acks=all`.
pub(super) fn enqueue(partition: &Partition, bytes: Bytes) -> Arc<AppendTicket> {
    let ticket = AppendTicket::new(1);
    let (bytes, header) = headed(bytes);
    let ack = Ack::All(AckSlot { ticket: Arc::clone(&ticket), slot: 0 });
    partition.enqueue(CheckedBatch { bytes, header, log_append_time: -1 }, ack);
    ticket
}

/// Produces a batch with `acks=all`, and waits for the answer.
pub(super) fn produce(partition: &Arc<Partition>, bytes: Bytes) -> AppendResult {
    let ticket = enqueue(partition, bytes);
    partition.drain();
    answer(&ticket)
}

/// The answer, once it is there.
pub(super) fn answer(ticket: &AppendTicket) -> AppendResult {
    for _ in 0..5000 {
        if let Some(result) = ticket.result(0) {
            return result;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("a batch is not answered");
}

/// The offset that a batch was given.
pub(super) fn offset(result: AppendResult) -> i64 {
    result.unwrap().base_offset
}

/// `(offset, value)` of every record in the log.
pub(super) fn values(partition: &Partition) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    let reader = partition.reader();
    let each = &mut |batch: &BatchView<'_>| {
        for record in &batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            found.push((record.offset, record.value.unwrap_or_default().to_vec()));
        }
        true
    };
    reader.for_each_batch(reader.start(), reader.end(), each).unwrap();
    found
}

/// Something to sync that keeps the committer's round waiting for as long as the test likes.
pub(super) struct Stall {
    mark: SyncMark,
    entered: Mutex<Option<Sender<()>>>,
    release: Mutex<Option<Receiver<()>>>,
}

impl Stall {
    /// A committer that stands still until the sender is used or dropped.
    pub(super) fn begin(committer: &Committer) -> Sender<()> {
        let ((entered, has_entered), (release, released)) = (channel(), channel());
        let stall = Arc::new(Self {
            mark: SyncMark::default(),
            entered: Mutex::new(Some(entered)),
            release: Mutex::new(Some(released)),
        });
        committer.request(&stall);
        has_entered.recv().unwrap();
        release
    }
}

impl SyncTarget for Stall {
    fn mark(&self) -> &SyncMark {
        &self.mark
    }

    fn note(&self) -> Option<SyncNote> {
        self.entered.lock().take().unwrap().send(()).unwrap();
        let _ = self.release.lock().take().unwrap().recv();
        None
    }

    fn synced(&self, _: i64) {}

    fn failed(&self, _: &Arc<io::Error>) {}
}
