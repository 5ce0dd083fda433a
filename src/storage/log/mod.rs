//! One partition's log: segments on disk behind a writer, readers, and the state that they share.
//!
//! [`open`] gives a [`LogWriter`] (one owner, under the partition's append lock), a [`LogReader`] (cloned freely) and
//! the shared [`Log`], which syncs, checkpoints and drops what is old. Readers, the committer and retention take only
//! the log's small lock (segment list, ends), which is never held across I/O; the writer takes it to publish.

mod error;
mod slice;

pub use error::{AppendError, OpenError, ReadError};
pub use slice::{LogSlice, Place, ReadBatches};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::topic::TopicSettings;
use crate::record::batch::{BatchHeader, BatchView};
use crate::storage::flush::CheckpointNote;
use crate::storage::health::DirHealth;
use crate::storage::manifest::PartitionRow;
use crate::storage::segment::FileCache;
use crate::types::{Clock, Timestamp, TopicPartition};

/// Everything needed to open a partition's log.
#[derive(Debug, Clone)]
pub struct OpenSpec {
    /// The partition's directory; it need not exist.
    pub dir: Arc<Path>,
    /// Which partition.
    pub id: TopicPartition,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's settings.
    pub settings: Arc<TopicSettings>,
    /// The manifest's row, if it has one.
    pub row: Option<Arc<PartitionRow>>,
    /// Whether the broker stopped cleanly, so that the row tells everything.
    pub clean: bool,
    /// The first readable offset that something besides the row vouches for (`log-start-offset-checkpoint`); else 0.
    pub log_start: i64,
    /// Sync what recovery kept before anything of it is shown (`batch` and `always`).
    pub sync_on_open: bool,
    /// The process's bound on open files and maps.
    pub files: Arc<FileCache>,
    /// Whether the data directory may be written.
    pub health: Arc<DirHealth>,
    /// For durations in the report.
    pub clock: Clock,
}

/// An open log.
#[derive(Debug)]
pub struct Opened {
    /// Appends; one owner.
    pub writer: LogWriter,
    /// Reads.
    pub reader: LogReader,
    /// Syncs, checkpoints, retention.
    pub log: Arc<Log>,
    /// What opening found.
    pub report: RecoveryReport,
}

/// What recovery hands to whoever rebuilds producer state from the log.
#[derive(Debug)]
pub enum Replay<'a> {
    /// The newest producer file at or below the checkpoint. Answer `false` if its bytes are not sound: an older one
    /// follows, or none, and the batches then begin where that one ends.
    Snapshot {
        /// The first offset that the file does not cover.
        offset: i64,
        /// Whether it is Kafka's `.snapshot` (one batch for each producer) and not our own `.producers` (five).
        kafka: bool,
        /// The file's bytes.
        bytes: &'a [u8],
    },
    /// A batch behind it, in order. The answer does not matter.
    Batch {
        /// Its header.
        header: &'a BatchHeader,
        /// The whole batch if it is a control batch, whose record says how a transaction ended.
        control: Option<&'a [u8]>,
    },
}

/// What opening a log did.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Whether the manifest's row was believed as it stood, without a scan.
    pub clean: bool,
    /// Bytes read and validated.
    pub scanned_bytes: u64,
    /// Valid batches among them.
    pub batches: u64,
    /// Bytes cut off behind the last valid batch.
    pub truncated_bytes: u64,
    /// Why the scan ended before the files did.
    pub cut: Option<String>,
    /// Files put aside because they lie behind the end of the log.
    pub set_aside: Vec<PathBuf>,
    /// What should be there and is not, or is not right. Kept on disk, never served, never cut.
    pub damage: Vec<Damage>,
    /// How long it took.
    pub took: Duration,
}

/// A stretch of a log that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub file: PathBuf,
    /// The byte from which it is bad.
    pub position: u64,
    /// In which way.
    pub why: &'static str,
}

/// Opens a log: after a clean stop by its row, otherwise as architecture 2.2 says. Blocks.
///
/// A partition that has neither a row nor files opens empty, and no file is made before the first append.
///
/// # Errors
/// [`OpenError`]; the files are as they were.
pub fn open(spec: OpenSpec, replay: &mut dyn FnMut(Replay<'_>) -> bool) -> Result<Opened, OpenError> {
    let _ = (spec, replay);
    todo!()
}

/// One batch to append, with the place it was given.
#[derive(Debug, Clone, Copy)]
pub struct AppendBatch<'a> {
    /// The whole batch; its first 16 bytes need not be stamped, they are written as `base_offset` and `leader_epoch` say.
    pub bytes: &'a Bytes,
    /// Its header; `base_offset` and `partition_leader_epoch` in it are not looked at.
    pub header: &'a BatchHeader,
    /// The offset of its first record.
    pub base_offset: i64,
    /// The leader epoch it is written under; never below that of the batch before.
    pub leader_epoch: i32,
}

/// A place up to which a checkpoint can be made; see [`LogWriter::mark`].
#[derive(Debug, Clone, Copy)]
pub struct LogMark {
    place: Place,
    max_timestamp: Timestamp,
    appended_at: Timestamp,
}

impl LogMark {
    /// The log's end when the mark was taken.
    pub fn offset(&self) -> i64 {
        self.place.offset
    }
}

/// The one that appends. Its owner holds the partition's append lock.
#[derive(Debug)]
pub struct LogWriter {}

impl LogWriter {
    /// The next offset.
    pub fn end(&self) -> i64 {
        todo!()
    }

    /// Whether a new segment must be begun before the batch `next` (with its assigned base offset) is appended behind
    /// `pending_bytes` that are to be appended before it (S91).
    pub fn should_roll(&self, pending_bytes: usize, next: &BatchHeader, now: Timestamp) -> bool {
        let _ = (pending_bytes, next, now);
        todo!()
    }

    /// Seals the active segment and begins the next. `producers` is the content of Kafka's `.snapshot` at this offset;
    /// `None` if there are no producers. Nothing happens while the active segment is empty.
    ///
    /// # Errors
    /// The new file could not be made; the active segment goes on.
    pub fn roll(&mut self, producers: Option<&[u8]>, now: Timestamp) -> Result<(), AppendError> {
        let _ = (producers, now);
        todo!()
    }

    /// Appends `batches`, which follow on [`LogWriter::end`] without gaps, with one write, and publishes the new end.
    ///
    /// # Errors
    /// Nothing was appended: the file is cut back to where it ended.
    pub fn append(&mut self, batches: &[AppendBatch<'_>], now: Timestamp) -> Result<(), AppendError> {
        let _ = (batches, now);
        todo!()
    }

    /// Makes sure that the next `bytes` find space in the active segment, whatever happens to the disk.
    ///
    /// # Errors
    /// There is not that much space.
    pub fn reserve(&mut self, bytes: u64, now: Timestamp) -> Result<(), AppendError> {
        let _ = (bytes, now);
        todo!()
    }

    /// Takes other settings from here on.
    pub fn set_settings(&mut self, settings: Arc<TopicSettings>) {
        let _ = settings;
    }

    /// The present end as a place for a checkpoint: taken together with the producer state that belongs to it.
    pub fn mark(&self) -> LogMark {
        todo!()
    }

    /// Ends writing: frees reserved space and completes the index files. Appends are refused from here on; a last sync
    /// and checkpoint may follow.
    ///
    /// # Errors
    /// What the file system says; the log recovers as after a crash.
    pub fn close(&mut self) -> Result<(), AppendError> {
        todo!()
    }
}

/// The log for readers.
#[derive(Debug, Clone)]
pub struct LogReader {}

impl LogReader {
    /// The first offset that may be read.
    pub fn start(&self) -> i64 {
        todo!()
    }

    /// The next offset to be appended.
    pub fn end(&self) -> i64 {
        todo!()
    }

    /// Up to where a power cut loses nothing.
    pub fn durable(&self) -> i64 {
        todo!()
    }

    /// The whole batches from the one that holds `from` up to `upper` (batches that reach past it are left out), at
    /// most `max_bytes` of them; with `at_least_one` the first even if it is larger (S16, S17). Never waits for the
    /// disk.
    ///
    /// # Errors
    /// [`ReadError::NotResident`]: go to a blocking thread and [`LogReader::read_blocking`]. Others are final.
    pub fn read(
        &self,
        from: i64,
        hint: Option<Place>,
        max_bytes: usize,
        upper: i64,
        at_least_one: bool,
    ) -> Result<ReadBatches, ReadError> {
        let _ = (from, hint, max_bytes, upper, at_least_one);
        todo!()
    }

    /// [`LogReader::read`] for a thread that may wait for the disk.
    ///
    /// # Errors
    /// [`ReadError`], never [`ReadError::NotResident`].
    pub fn read_blocking(
        &self,
        from: i64,
        hint: Option<Place>,
        max_bytes: usize,
        upper: i64,
        at_least_one: bool,
    ) -> Result<ReadBatches, ReadError> {
        let _ = (from, hint, max_bytes, upper, at_least_one);
        todo!()
    }

    /// Shows every batch from the one that holds `from` up to `upper` to `each`, in order, until it answers `false`.
    /// Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn for_each_batch(
        &self,
        from: i64,
        upper: i64,
        each: &mut dyn FnMut(&BatchView<'_>) -> bool,
    ) -> Result<(), ReadError> {
        let _ = (from, upper, each);
        todo!()
    }

    /// The first record at or above the log's start and below `upper` whose timestamp is at least `target` (S86).
    /// Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn offset_for_time(&self, target: Timestamp, upper: i64) -> Result<Option<TimedOffset>, ReadError> {
        let _ = (target, upper);
        todo!()
    }

    /// The first record below `upper` that has the largest timestamp (S85, `-3`). Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn max_timestamp(&self, upper: i64) -> Result<Option<TimedOffset>, ReadError> {
        let _ = upper;
        todo!()
    }

    /// The largest epoch at or below `epoch`, and where it ends (S87); `None` if the log knows none.
    pub fn epoch_end(&self, epoch: i32) -> Option<(i32, i64)> {
        let _ = epoch;
        todo!()
    }

    /// The epoch of the batch at `offset`, if the log knows it.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let _ = offset;
        todo!()
    }

    /// The epoch of the last batch, if there is one.
    pub fn last_epoch(&self) -> Option<i32> {
        todo!()
    }

    /// The segments, oldest first; the last one is active. Empty before the first append.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        todo!()
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }
}

/// A record's offset, time and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp; of a log-append-time batch, the batch's.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
}

/// One segment, for retention and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its base offset.
    pub base: i64,
    /// The first offset behind it.
    pub next: i64,
    /// Bytes of its `.log`.
    pub bytes: u64,
    /// The largest record timestamp in it; -1 for none.
    pub max_timestamp: Timestamp,
    /// The broker's clock at its last append; -1 if unknown.
    pub appended_at: Timestamp,
}

/// What writer, readers and upkeep share: the segment list, the ends, and what is dirty.
///
/// It is the committer's [`crate::storage::flush::SyncTarget`]; its checkpoints are made by whoever holds the producer
/// state, see [`Log::prepare_checkpoint`].
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Sets who is told when the durable offset moves (once; later calls do nothing). Called from the committer's
    /// thread: it must not block, and should hold no strong reference to the log.
    pub fn on_durable(&self, tell: Box<dyn Fn(i64) + Send + Sync>) {
        let _ = tell;
    }

    /// Writes out what describes the log up to `mark` (index tails, epochs, and `producers` as `<offset>.producers` if
    /// given), and says what to sync and which row may then be put. `has_producers` says whether recovery must look
    /// for a producer file. `None` if the last checkpoint already was there. Blocks.
    ///
    /// # Errors
    /// What the file system says; the checkpoint stays behind and recovery takes longer.
    pub fn prepare_checkpoint(
        &self,
        mark: &LogMark,
        producers: Option<&[u8]>,
        has_producers: bool,
    ) -> std::io::Result<Option<CheckpointNote>> {
        let _ = (mark, producers, has_producers);
        todo!()
    }

    /// The row's checkpoint is the log's from here on; older producer files may go.
    pub fn checkpointed(&self, row: &PartitionRow) {
        let _ = row;
    }

    /// Moves the first readable offset up to `offset` (never back, never past the durable end). Segments wholly below
    /// it leave the log. The files go when the row is durable: see [`Removal`].
    pub fn advance_start(&self, offset: i64) -> Removal {
        let _ = offset;
        todo!()
    }

    /// Drops the sealed segments below `base` (retention's plan), and moves the first readable offset to `base`.
    pub fn drop_before(&self, base: i64) -> Removal {
        let _ = base;
        todo!()
    }
}

/// Segments that left the log, and the row that says so.
#[derive(Debug)]
#[must_use = "files of dropped segments stay until they are renamed"]
pub struct Removal {
    /// The row without them. Put it and wait for it before [`Removal::rename`]: a row that lists a file which is gone
    /// reads as damage. `None` if the log has no files.
    pub row: Option<Arc<PartitionRow>>,
}

impl Removal {
    /// Renames the files to `.deleted` (or unlinks them where the disk is full) and returns what to unlink after
    /// `file.delete.delay.ms`.
    pub fn rename(self) -> Vec<PathBuf> {
        todo!()
    }
}
