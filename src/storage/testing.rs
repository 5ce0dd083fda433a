//! What the engine's tests share: a partition in a temporary directory, batches to append to it, and looks at what is
//! on disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::files::FileCache;
use super::flush::{CheckpointNote, SyncTarget as _};
use super::health::DirHealth;
use super::layout::{FileKind, segment_file_in};
use super::log::Replayed as Taken;
use super::log::{AppendBatch, AppendError, LogReader, LogWriter, OpenError, OpenSpec, Opened, Replay, open};
use super::manifest::{Checkpoint, PartitionRow};
use crate::config::topic::TopicSettings;
use crate::record::batch::{BatchHeader, BatchView};
use crate::record::build::{BatchBuilder, NewRecord};
use crate::types::{Clock, Timestamp, TopicId, TopicPartition};

/// A partition's directory and everything needed to open it again and again.
pub(in crate::storage) struct Rig {
    _temp: TempDir,
    pub(in crate::storage) dir: Arc<Path>,
    pub(in crate::storage) settings: TopicSettings,
    pub(in crate::storage) files: Arc<FileCache>,
    pub(in crate::storage) health: Arc<DirHealth>,
    pub(in crate::storage) row: Option<Arc<PartitionRow>>,
    pub(in crate::storage) clean: bool,
    pub(in crate::storage) log_start: i64,
    pub(in crate::storage) sync_on_open: bool,
    pub(in crate::storage) settled: bool,
    pub(in crate::storage) kept_bytes: u64,
    pub(in crate::storage) leader_epoch: i32,
}

impl Rig {
    pub(in crate::storage) fn new(settings: TopicSettings) -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self {
            dir: temp.path().join("orders-3").into(),
            _temp: temp,
            settings,
            files: FileCache::new(64, 8),
            health: DirHealth::new(),
            row: None,
            clean: false,
            log_start: 0,
            sync_on_open: true,
            settled: false,
            kept_bytes: 0,
            leader_epoch: i32::MAX,
        }
    }

    /// Another rig over a copy of this one's files, for what a crash would leave.
    pub(in crate::storage) fn image(&self) -> Self {
        let image = Self {
            row: self.row.clone(),
            clean: self.clean,
            log_start: self.log_start,
            sync_on_open: self.sync_on_open,
            ..Self::new(self.settings.clone())
        };
        if self.dir.is_dir() {
            fs::create_dir(&image.dir).unwrap();
            for (name, bytes) in self.files_on_disk() {
                fs::write(image.dir.join(name), bytes).unwrap();
            }
        }
        image
    }

    /// Leaves of the manifest what a lost one leaves: a row that speaks of no file.
    pub(in crate::storage) fn lose_manifest(&mut self) {
        self.row = Some(Arc::new(PartitionRow {
            id: Self::id(),
            topic: "orders".into(),
            log_start: 0,
            checkpoint: Checkpoint::NONE,
            segments: Vec::new(),
            producers: false,
        }));
    }

    pub(in crate::storage) fn id() -> TopicPartition {
        TopicPartition { topic: TopicId::from_bytes([7; 16]), partition: 3 }
    }

    pub(in crate::storage) fn spec(&self) -> OpenSpec {
        OpenSpec {
            dir: self.dir.clone(),
            id: Self::id(),
            topic: "orders".into(),
            settings: Arc::new(self.settings.clone()),
            row: self.row.clone(),
            clean: self.clean,
            log_start: self.log_start,
            sync_on_open: self.sync_on_open,
            settled: self.settled,
            kept_bytes: self.kept_bytes,
            files: self.files.clone(),
            health: self.health.clone(),
            leader_epoch: self.leader_epoch,
            clock: Clock::manual(NOW),
        }
    }

    pub(in crate::storage) fn open(&self) -> Opened {
        self.try_open().unwrap()
    }

    pub(in crate::storage) fn try_open(&self) -> Result<Opened, OpenError> {
        open(self.spec(), &mut |_| Taken::Sound)
    }

    /// Opens, and tells what was replayed: producer files as `(offset, kafka)`, batches as their base offsets.
    pub(in crate::storage) fn open_replaying(&self, sound: impl Fn(i64) -> bool) -> (Opened, SeenReplay) {
        let mut replayed = SeenReplay::default();
        let opened = open(self.spec(), &mut |replay| match replay {
            Replay::Afresh => Taken::Sound,
            Replay::Snapshot { offset, kafka, .. } => {
                replayed.snapshots.push((offset, kafka));
                if sound(offset) { Taken::Sound } else { Taken::Damaged }
            }
            Replay::Batch { header, control } => {
                replayed.batches.push(header.base_offset);
                replayed.controls += usize::from(control.is_some());
                Taken::Sound
            }
        });
        (opened.unwrap(), replayed)
    }

    pub(in crate::storage) fn path(&self, base: i64, kind: FileKind) -> PathBuf {
        segment_file_in(&self.dir, base, kind)
    }

    pub(in crate::storage) fn log_bytes(&self, base: i64) -> Vec<u8> {
        fs::read(self.path(base, FileKind::Log)).unwrap()
    }

    /// Changes bytes of a file in place.
    pub(in crate::storage) fn damage(&self, path: &Path, at: u64, bytes: &[u8]) {
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
    }

    /// Flips one bit of a `.log`.
    pub(in crate::storage) fn flip(&self, base: i64, at: u64) {
        let byte = self.log_bytes(base)[usize::try_from(at).unwrap()];
        self.damage(&self.path(base, FileKind::Log), at, &[byte ^ 0x10]);
    }

    pub(in crate::storage) fn cut(&self, base: i64, len: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.path(base, FileKind::Log)).unwrap();
        file.set_len(len).unwrap();
    }

    pub(in crate::storage) fn files_on_disk(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap());
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
    }

    pub(in crate::storage) fn names(&self) -> Vec<String> {
        self.files_on_disk().into_keys().collect()
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct SeenReplay {
    pub(in crate::storage) snapshots: Vec<(i64, bool)>,
    pub(in crate::storage) batches: Vec<i64>,
    pub(in crate::storage) controls: usize,
}

/// A batch of records with these timestamps and `value_bytes` of value each; every byte depends on `seed`.
pub(in crate::storage) fn batch_of(timestamps: &[Timestamp], value_bytes: usize, seed: u8) -> Bytes {
    let value: Vec<u8> = (0..value_bytes).map(|n| u8::try_from(n % 251).unwrap() ^ seed).collect();
    let mut builder = BatchBuilder::new();
    for timestamp in timestamps {
        builder.push(&NewRecord { timestamp: *timestamp, value: Some(&value), ..NewRecord::default() });
    }
    builder.build().unwrap()
}

/// One batch of `records` records whose time is their offset's.
pub(in crate::storage) fn plain(first: i64, records: i64, value_bytes: usize) -> Bytes {
    let timestamps: Vec<i64> = (first..first + records).map(|offset| NOW + offset).collect();
    batch_of(&timestamps, value_bytes, u8::try_from(first % 256).unwrap())
}

/// Appends batches at the log's end, under `epoch`, with one write.
pub(in crate::storage) fn append_at(
    writer: &mut LogWriter,
    batches: &[Bytes],
    epoch: i32,
    now: Timestamp,
) -> Result<(), AppendError> {
    let headers: Vec<BatchHeader> = batches.iter().map(|bytes| BatchHeader::parse(bytes).unwrap()).collect();
    let mut next = writer.end();
    let batches: Vec<AppendBatch<'_>> = batches
        .iter()
        .zip(&headers)
        .map(|(bytes, header)| {
            let base_offset = next;
            next += i64::from(header.last_offset_delta) + 1;
            AppendBatch { bytes, header, base_offset, leader_epoch: epoch }
        })
        .collect();
    writer.append(&batches, now)
}

pub(in crate::storage) fn append(writer: &mut LogWriter, batches: &[Bytes]) {
    append_at(writer, batches, 0, NOW).unwrap();
}

/// Appends one batch after a roll if one is due, as the partition does.
pub(in crate::storage) fn append_rolling(writer: &mut LogWriter, bytes: Bytes) {
    let header = BatchHeader::parse(&bytes).unwrap();
    let header = BatchHeader { base_offset: writer.end(), ..header };
    if writer.should_roll(0, &header, NOW) {
        writer.roll(None, NOW).unwrap();
    }
    append(writer, &[bytes]);
}

/// `(base offset, bytes)` of every batch that a read of everything shows.
pub(in crate::storage) fn read_all(reader: &LogReader) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    reader
        .for_each_batch(reader.start(), i64::MAX, &mut |batch: &BatchView<'_>| {
            found.push((batch.header().base_offset, batch.bytes().to_vec()));
            true
        })
        .unwrap();
    found
}

/// Syncs as the committer does, and says what was synced.
pub(in crate::storage) fn sync(opened: &Opened) -> Option<i64> {
    let note = opened.log.note()?;
    for file in &note.files {
        file.sync_data().unwrap();
    }
    for path in &note.paths {
        fs::File::open(path).unwrap().sync_all().unwrap();
    }
    opened.log.synced(note.end);
    Some(note.end)
}

/// Makes a checkpoint at the log's end as the checkpointer does, and puts its row into the rig.
pub(in crate::storage) fn checkpoint(
    rig: &mut Rig,
    opened: &Opened,
    producers: Option<&[u8]>,
) -> Option<CheckpointNote> {
    let mark = opened.writer.mark();
    let has_producers = producers.is_some() || rig.row.as_ref().is_some_and(|row| row.producers);
    let note = opened.log.prepare_checkpoint(&mark, producers, has_producers).unwrap()?;
    sync(opened);
    assert!(opened.reader.durable() >= note.row.checkpoint.offset);
    opened.log.checkpointed(&note.row);
    rig.row = Some(note.row.clone());
    Some(note)
}

/// The broker's clock in these tests.
pub(in crate::storage) const NOW: Timestamp = 1_700_000_000_000;

/// Runs the named test in a process of its own that may open few files. `true`: this is that process.
pub(in crate::storage) fn is_short_of_descriptors(module: &str, test: &str) -> bool {
    const SHORT: &str = "STREAMD_TEST_SHORT_OF_DESCRIPTORS";
    if std::env::var_os(SHORT).is_some() {
        return true;
    }
    let path = format!("{}::{test}", module.split_once("::").unwrap().1);
    let mut child = std::process::Command::new("sh");
    child.args(["-c", "ulimit -n 64; exec \"$0\" --exact \"$1\""]);
    let done = child.arg(std::env::current_exe().unwrap()).arg(&path).env(SHORT, "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{path}: {said}");
    false
}

/// All descriptors that the system gives.
pub(in crate::storage) fn all_descriptors() -> Vec<fs::File> {
    std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect()
}
