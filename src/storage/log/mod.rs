//! One partition's log: segments on disk behind a writer, readers, and the state that they share.
//!
//! [`open`] gives a [`LogWriter`] (one owner, under the partition's append lock), a [`LogReader`] (cloned freely) and
//! the shared [`Log`], which syncs, checkpoints and drops what is old. Readers, the committer and retention take only
//! the log's small lock (segment list, ends), which is never held across I/O; the writer takes it to publish.

mod active;
mod damage;
mod error;
mod examine;
mod gather;
mod mend;
mod read;
mod reader;
mod roll;
mod slice;
mod state;
mod swap;
mod times;
mod upkeep;
mod writer;

pub use error::{AppendError, OpenError, ReadError, kept_until_repair, repair_command};
pub use reader::{LogReader, SegmentInfo};
pub use slice::{LogSlice, Place, ReadBatches};
pub use state::Log;
pub use times::TimedOffset;
pub use upkeep::Removal;
pub use writer::LogWriter;

pub(in crate::storage) use swap::{Replacement, SwapFault};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::files::FileCache;
use super::health::DirHealth;
use super::layout::FileKind;
use super::manifest::PartitionRow;
use super::recovery::{Recovered, recover};
use super::segment::Segment;
use super::txn_index::{AbortedSum, AbortedTransaction};
use crate::config::topic::TopicSettings;
use crate::record::batch::BatchHeader;
use crate::types::offset::non_negative;
use crate::types::{Clock, Timestamp, TopicPartition};
use active::Active;
use damage::Watch;
use state::{Dirty, Recent, SideFiles, State};

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
    /// What an earlier process left is on disk: of what recovery keeps, only what it changed needs a sync.
    pub settled: bool,
    /// Bytes that stay reserved behind the log's end, also while it is closed: for logs of the broker's own, which must
    /// be written on a full disk. 0 for others.
    pub kept_bytes: u64,
    /// The process's bound on open files and maps.
    pub files: Arc<FileCache>,
    /// Whether the data directory may be written.
    pub health: Arc<DirHealth>,
    /// The partition's leader epoch now: no batch was written under a higher one.
    pub leader_epoch: i32,
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
    /// Nobody is known: what was shown before was only to make a `.txnindex` again, or will be.
    Afresh,
    /// The newest producer file at or below the checkpoint. Answer [`Replayed::Damaged`] if its bytes are not sound: an
    /// older one follows, or none, and the batches then begin where that one ends.
    Snapshot {
        /// The first offset that the file does not cover.
        offset: i64,
        /// Whether it is Kafka's `.snapshot` (one batch for each producer) and not our own `.producers` (five).
        kafka: bool,
        /// The file's bytes.
        bytes: &'a [u8],
    },
    /// A batch behind it, in order. Answer [`Replayed::Aborted`] for a marker that aborted a transaction: where the
    /// log is read anew, so is its `.txnindex`.
    Batch {
        /// Its header.
        header: &'a BatchHeader,
        /// The whole batch if it is a control batch, whose record says how a transaction ended.
        control: Option<&'a [u8]>,
    },
}

/// What was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It was taken.
    Sound,
    /// A producer file that does not read back.
    Damaged,
    /// A batch that aborted this transaction.
    Aborted(AbortedTransaction),
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
    /// Files that keep what lies behind the end of the log.
    pub set_aside: Vec<PathBuf>,
    /// What should be there and is not, or is not right. Kept on disk, never served, never cut.
    pub damage: Vec<Damage>,
    /// What of it was not known before.
    pub new_damage: Vec<Damage>,
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
    /// The byte from which the file is good again; `None` if it is not.
    pub end: Option<u64>,
    /// The first offset that is lost with it.
    pub first: i64,
    /// The first offset behind it.
    pub next: i64,
    /// In which way.
    pub why: &'static str,
}

/// Opens a log: after a clean stop by its row, otherwise as architecture 2.2 says. Blocks.
///
/// A partition that has neither a row nor files opens empty, and no file is made before the first append.
///
/// # Errors
/// [`OpenError`]; the files are as they were.
pub fn open(spec: OpenSpec, replay: &mut dyn FnMut(Replay<'_>) -> Replayed) -> Result<Opened, OpenError> {
    let recovered = recover(&spec, replay)?;
    let report = recovered.report.clone();
    // Thousands of logs may have nothing to tell but that they were read.
    if report.truncated_bytes > 0 || !report.damage.is_empty() {
        tracing::info!(
            dir = %spec.dir.display(), scanned_bytes = report.scanned_bytes, batches = report.batches,
            truncated_bytes = report.truncated_bytes, cut = report.cut.as_deref().unwrap_or("nothing"),
            set_aside = report.set_aside.len(), damaged = report.damage.len(), took = ?report.took,
            "recovered a log"
        );
    }
    if !report.set_aside.is_empty() {
        let kept_in: Vec<_> = report.set_aside.iter().map(|path| path.display()).collect();
        tracing::warn!(
            topic = %spec.topic, partition = spec.id.partition, end = recovered.end,
            cut = report.cut.as_deref(), ?kept_in,
            "the log ends before its files do: what is behind its end is kept in files beside it, and never served"
        );
    }
    assemble(spec, recovered, report)
}

fn assemble(spec: OpenSpec, recovered: Recovered, report: RecoveryReport) -> Result<Opened, OpenError> {
    let last = recovered.segments.last().cloned();
    let end = end_behind(last.as_deref(), recovered.end);
    let durable = if recovered.durable == end.offset { end } else { Place::nowhere(recovered.durable) };
    let mut dirty = Dirty::default();
    if recovered.dirs_unsynced {
        dirty.add([Some(spec.dir.clone()), spec.dir.parent().map(Arc::from)].into_iter().flatten());
    }
    for segment in recovered.unsynced {
        // Whether they are on disk is not known: the next sync sees to it, and needs the descriptor.
        let opened = segment.begin_write(&spec.files);
        opened.map_err(|error| OpenError::Io { path: segment.path(FileKind::Log), error })?;
        segment.end_write();
        dirty.active |=
            recovered.last_is_active && last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &segment));
        dirty.segments.push(segment);
    }
    let side = SideFiles {
        epochs: recovered.epochs,
        epochs_unwritten: recovered.epochs_unwritten,
        producers: recovered.producers,
        ..SideFiles::default()
    };
    let (last_epoch, misfits) = (side.epochs.last(), recovered.misfits);
    let state = State {
        segments: recovered.segments,
        start: recovered.start,
        end,
        durable,
        ends: Recent::new(end),
        durables: Recent::new(durable),
        dirty,
        row: recovered.row,
        manifest_lost: recovered.manifest_lost,
        has_hole: !recovered.last_is_active && last.is_some(),
        preparing: false,
        removals: 0,
        is_swapping: false,
        next_serial: recovered.next_serial,
    };
    let segment_bytes = non_negative(spec.settings.segment_bytes);
    let log = Log::new(
        spec.id,
        spec.topic,
        spec.dir,
        spec.files,
        spec.health,
        segment_bytes,
        state,
        side,
        Watch::new(spec.clock.clone()),
    );
    log.damage_was_told();
    misfits.iter().for_each(|segment| log.right_epochs(segment));
    let active = last.filter(|_| recovered.last_is_active).map(Active::found);
    let mut writer =
        LogWriter::new(log.clone(), spec.settings, recovered.end, last_epoch, active, spec.kept_bytes);
    writer.take_up(spec.clock.now_ms());
    Ok(Opened { writer, reader: LogReader::new(log.clone()), log, report })
}

/// The place of the log's next offset: behind the last segment, if there is one.
fn end_behind(last: Option<&Segment>, offset: i64) -> Place {
    Place {
        offset,
        segment: last.map_or(-1, Segment::base),
        position: last.map_or(0, Segment::len),
        serial: last.map_or(0, Segment::serial),
    }
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
    /// The aborted transactions of the segment it lies in.
    aborted: Option<AbortedSum>,
}

impl LogMark {
    /// The log's end when the mark was taken.
    pub fn offset(&self) -> i64 {
        self.place.offset
    }
}

#[cfg(test)]
mod append_tests;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod sync_tests;
