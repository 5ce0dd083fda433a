//! Opening a partition: its log from disk, its producers from snapshot and replay.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::append::Writer;
use super::compaction::Decided;
use super::durability::SyncSide;
use super::producers::{Change, Producers};
use super::schedule::Schedule;
use super::transactions::Transactions;
use super::{Partition, Visible};
use crate::config::{Fsync, TopicSettings};
use crate::storage::files::FileCache;
use crate::storage::flush::{Checkpointer, Committer};
use crate::storage::health::DirHealth;
use crate::storage::layout;
use crate::storage::log::{
    self, OpenError, OpenSpec, Opened, RecoveryReport, Replay, Replayed, kept_until_repair,
};
use crate::storage::manifest::{Manifest, PartitionRow};
use crate::storage::room::is_no_space;
use crate::types::{Clock, TopicId, TopicPartition};

/// What all partitions of a data directory share.
#[derive(Debug)]
pub struct Environment {
    /// The data directory.
    pub root: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// When appends are durable.
    pub fsync: Fsync,
    /// Syncs logs.
    pub committer: Arc<Committer>,
    /// Checkpoints logs.
    pub checkpointer: Arc<Checkpointer>,
    /// Bounds open files and maps.
    pub files: Arc<FileCache>,
    /// Whether the directory may be written.
    pub health: Arc<DirHealth>,
    /// Rows of the partitions.
    pub manifest: Arc<Manifest>,
    /// When partitions are to be looked at.
    pub schedule: Arc<Schedule>,
    /// Whether the last stop was clean, so that the rows tell everything.
    pub clean: bool,
    /// Partition directories that stood there after an unclean stop.
    pub found: HashSet<String>,
    /// Set once what an earlier process left is on disk, so that partitions need not see to it one by one.
    pub settled: AtomicBool,
    /// What opening has found so far.
    pub recovered: Recovered,
    /// The manifest's rows that nobody has opened yet.
    pub rows: Mutex<HashMap<TopicPartition, Arc<PartitionRow>>>,
}

/// What opening logs has found, over all partitions.
#[derive(Debug, Default)]
pub struct Recovered(Mutex<RecoveryReport>);

impl Recovered {
    fn add(&self, report: &RecoveryReport) {
        let mut totals = self.0.lock();
        totals.scanned_bytes += report.scanned_bytes;
        totals.batches += report.batches;
        totals.truncated_bytes += report.truncated_bytes;
        totals.damage.extend(report.damage.iter().cloned());
    }

    /// The sums so far.
    pub fn totals(&self) -> RecoveryReport {
        self.0.lock().clone()
    }
}

/// Which partition to open, and what is known of its topic.
#[derive(Debug, Clone)]
pub struct OpenPartition {
    /// Which one.
    pub id: TopicPartition,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's settings.
    pub settings: Arc<TopicSettings>,
    /// The leader epoch of this start.
    pub leader_epoch: i32,
    /// Space that stays reserved behind its end, in bytes: see [`OpenSpec::kept_bytes`].
    pub kept_bytes: u64,
}

/// What the catalog knows of a topic id that a directory names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// It is a topic's.
    Living,
    /// The topic was deleted; its files may go.
    Removed,
    /// Nobody knows it.
    Unknown,
}

/// A partition cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenFault {
    /// There is no such partition.
    #[error("there is no such partition")]
    Unknown,
    /// The broker stops.
    #[error("the broker stops")]
    Stopping,
    /// Its log cannot be opened.
    #[error("{0}")]
    Storage(Arc<OpenError>),
}

impl Environment {
    /// Opens a partition. Blocks. The caller has the turn at the directory. `whose` tells what is known of a topic id: a
    /// living topic's directory is left alone, what is left of a deleted one is set aside for unlinking, a stranger's
    /// for good.
    pub(super) fn open(
        &self,
        wanted: &OpenPartition,
        whose: &dyn Fn(TopicId) -> Whose,
    ) -> Result<Arc<Partition>, OpenFault> {
        let row = self.rows.lock().get(&wanted.id).cloned();
        let vouched = row.as_ref().map_or(i64::MIN, |row| row.checkpoint.offset);
        let is_own = OWN_TOPICS.contains(&&*wanted.topic);
        let files = if is_own { self.files.own() } else { Arc::clone(&self.files) };
        self.committer.relieve(&files);
        let dir: Arc<Path> = self.root.join(layout::partition_dir(&wanted.topic, wanted.id.partition)).into();
        let spec = OpenSpec {
            dir: Arc::clone(&dir),
            id: wanted.id,
            topic: Arc::clone(&wanted.topic),
            settings: Arc::clone(&wanted.settings),
            row,
            clean: self.clean,
            log_start: 0,
            sync_on_open: matches!(self.fsync, Fsync::Always | Fsync::Batch),
            settled: self.settled.load(Ordering::Acquire),
            kept_bytes: wanted.kept_bytes,
            files,
            health: Arc::clone(&self.health),
            leader_epoch: wanted.leader_epoch,
            clock: self.clock.clone(),
        };
        let mut replayed = Replaying::behind(vouched);
        let opened = match log::open(spec.clone(), &mut |event| replayed.replay(event)) {
            // The topic asked for was deleted meanwhile, and another of its name lives there.
            Err(OpenError::Stray { found: Some(found), .. }) if whose(found) == Whose::Living => {
                return Err(OpenFault::Unknown);
            }
            Err(OpenError::Stray { found, .. }) => self
                .set_aside(&dir, wanted, found, whose)
                .map_err(|error| OpenError::Io { path: dir.to_path_buf(), error })
                .and_then(|()| {
                    replayed = Replaying::behind(vouched);
                    log::open(spec, &mut |event| replayed.replay(event))
                }),
            other => other,
        };
        let opened = opened.map_err(|error| OpenFault::Storage(Arc::new(error)))?;
        self.rows.lock().remove(&wanted.id);
        self.recovered.add(&opened.report);
        report(wanted, &opened);
        let scanned_bytes = opened.report.scanned_bytes;
        let partition = self.assemble(wanted, opened, replayed);
        partition.schedule_look();
        if scanned_bytes > 0 {
            // What was read once need not be read again after the next crash.
            self.checkpointer.appended(&partition, scanned_bytes);
            // In `interval` and `never` what recovery kept may still be in the page cache alone.
            partition.request_sync();
        }
        Ok(partition)
    }

    fn assemble(&self, wanted: &OpenPartition, opened: Opened, replayed: Replaying) -> Arc<Partition> {
        let end = opened.reader.end();
        let Replaying { producers, is_decided, .. } = replayed;
        let transactions = Transactions::recovered(&producers, self.clock.monotonic());
        let decided = if is_decided { transactions.first_unstable() } else { i64::MIN };
        Arc::new_cyclic(|partition| Partition {
            id: wanted.id,
            topic: Arc::clone(&wanted.topic),
            leader_epoch: wanted.leader_epoch,
            clock: self.clock.clone(),
            fsync: self.fsync,
            settings: ArcSwap::new(Arc::clone(&wanted.settings)),
            committer: Arc::clone(&self.committer),
            checkpointer: Arc::clone(&self.checkpointer),
            schedule: Arc::clone(&self.schedule),
            queue: Mutex::new(Vec::new()),
            writer: Mutex::new(Writer {
                log: opened.writer,
                producers,
                unflushed_records: 0,
                room_bytes: u64::MAX,
            }),
            reader: opened.reader,
            sync: Arc::new(SyncSide { log: Arc::clone(&opened.log), partition: partition.clone() }),
            log: opened.log,
            high_watermark: AtomicI64::new(end),
            first_unstable: AtomicI64::new(transactions.first_unstable()),
            transactions: Mutex::new(transactions),
            decided: Decided::upto(decided),
            visible: Mutex::new(Visible { high_watermark: end, ..Visible::default() }),
            closed: OnceLock::new(),
        })
    }

    /// Renames a directory that is not this topic's: to be unlinked if its topic was deleted, else kept as a stray.
    fn set_aside(
        &self,
        dir: &Path,
        wanted: &OpenPartition,
        found: Option<TopicId>,
        whose: &dyn Fn(TopicId) -> Whose,
    ) -> std::io::Result<()> {
        let (name, partition) = (&*wanted.topic, wanted.id.partition);
        let aside = match found {
            Some(id) if whose(id) == Whose::Removed => {
                return set_deleted_aside(&self.root, name, partition, id);
            }
            _ => self.free_stray_dir(name, partition, found.unwrap_or(TopicId::ZERO)),
        };
        tracing::warn!(directory = %dir.display(), renamed_to = %aside, "a directory of another topic was set aside");
        std::fs::rename(dir, self.root.join(aside))
    }

    /// A name that no other stray has: strays are kept, and one may have been set aside before.
    fn free_stray_dir(&self, name: &str, partition: i32, id: TopicId) -> String {
        let id = u128::from_be_bytes(*id.as_bytes());
        let mut names = (0..STRAYS_MAX).map(|more| {
            layout::stray_dir(name, partition, TopicId::from_bytes(id.wrapping_add(more).to_be_bytes()))
        });
        let first = layout::stray_dir(name, partition, TopicId::from_bytes(id.to_be_bytes()));
        names.find(|name| !self.root.join(name).exists()).unwrap_or(first)
    }
}

/// The broker itself depends on these: their files have a bound of their own.
const OWN_TOPICS: [&str; 3] = ["__cluster_metadata", "__consumer_offsets", "__transaction_state"];
/// Strays of one partition's name that are kept apart.
const STRAYS_MAX: u128 = 1000;

/// Renames the directory of a deleted topic's partition, from which its files are unlinked. The caller has the turn at
/// the directory and knows that it is this topic's.
///
/// # Errors
/// What the file system says; the directory stands as it was.
pub fn set_deleted_aside(root: &Path, topic: &str, partition: i32, id: TopicId) -> std::io::Result<()> {
    let dir = root.join(layout::partition_dir(topic, partition));
    let aside = root.join(layout::deleted_dir(topic, partition, id));
    match std::fs::rename(&dir, &aside) {
        // Half of it was set aside before, and the unlinking did not come to its end.
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            std::fs::remove_dir_all(&aside)?;
            std::fs::rename(&dir, &aside)
        }
        // A full disk that has no space for the name, either: the files are what holds the space (2.2).
        Err(error) if is_no_space(&error) => remove_in_place(&dir),
        other => other,
    }
}

/// Unlinks a directory's files where it stands. What says whose it is goes last, so that what a crash leaves of it is
/// still known to be the deleted topic's.
fn remove_in_place(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() != layout::PARTITION_METADATA {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_dir_all(dir)
}

/// What recovery finds out of a log's producers.
struct Replaying {
    producers: Producers,
    /// The checkpoint's offset.
    vouched: i64,
    /// Whether everything that has ended below the end has done so below the checkpoint, and is on disk for sure.
    is_decided: bool,
}

impl Replaying {
    fn behind(vouched: i64) -> Self {
        Self { producers: Producers::default(), vouched, is_decided: true }
    }

    /// Feeds producers. A snapshot that does not read back is refused, and an older one is tried.
    fn replay(&mut self, event: Replay<'_>) -> Replayed {
        match event {
            Replay::Afresh => {
                self.producers = Producers::default();
                Replayed::Sound
            }
            Replay::Snapshot { bytes, offset, .. } => match Producers::from_snapshot(bytes) {
                Ok(state) => {
                    self.producers = state;
                    Replayed::Sound
                }
                Err(error) => {
                    tracing::warn!(%error, offset, "producer snapshot ignored");
                    Replayed::Damaged
                }
            },
            Replay::Batch { header, control } => {
                self.is_decided &= control.is_none() || header.base_offset < self.vouched;
                match self.producers.replay(header, control) {
                    Some(Change::Ended { aborted: Some(transaction), .. }) => Replayed::Aborted(transaction),
                    _ => Replayed::Sound,
                }
            }
        }
    }
}

fn report(wanted: &OpenPartition, opened: &Opened) {
    let report = &opened.report;
    let (topic, partition) = (&*wanted.topic, wanted.id.partition);
    // What was known before is told once for all partitions, at the start.
    for damage in &report.new_damage {
        tracing::error!(
            topic,
            partition,
            first_offset = damage.first,
            next_offset = damage.next,
            file = %damage.file.display(),
            position = damage.position,
            "damage was found: {}. {}",
            damage.why,
            damage.file.parent().map(kept_until_repair).unwrap_or_default()
        );
    }
    if report.scanned_bytes > 0 || report.truncated_bytes > 0 {
        tracing::debug!(
            topic,
            partition,
            scanned_bytes = report.scanned_bytes,
            batches = report.batches,
            truncated_bytes = report.truncated_bytes,
            cut = report.cut.as_deref(),
            took = ?report.took,
            "log recovered"
        );
    }
}
