//! What can go wrong with a log. Faults only; `api/errors.rs` maps them to Kafka's codes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Damage;
use crate::storage::files::is_shortage;
use crate::types::TopicId;

/// An append, a roll or a reservation did not happen. Nothing of it is visible, and the file ends where it ended before.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No space (ENOSPC, EDQUOT). The log takes appends again when there is space.
    #[error("no space left for {bytes} more bytes in {}: free space or lower the retention", dir.display())]
    Full {
        /// The partition's directory.
        dir: PathBuf,
        /// Bytes that were to be written or reserved.
        bytes: u64,
    },
    /// The file system refused.
    #[error("cannot write in {}: {error}", dir.display())]
    Io {
        /// The partition's directory.
        dir: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The log takes no more writes until it is opened again: a sync failed, or a failed write could not be undone.
    #[error("{} takes no more writes until restart: {why}", dir.display())]
    OutOfService {
        /// The partition's directory.
        dir: PathBuf,
        /// The first failure.
        why: Arc<io::Error>,
    },
    /// The log was closed in order, or given up because its topic is deleted.
    #[error("{} was closed", dir.display())]
    Closed {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// The segment's offsets or positions would pass 32 bits: a mistake of the caller, who should have rolled.
    #[error("the active segment in {} cannot hold these batches: roll first", dir.display())]
    SegmentFull {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// The batches do not follow on the log's end: a mistake of the caller.
    #[error("the batch at offset {given} does not follow on the log's end {end}")]
    NotNext {
        /// The offset the batch was given.
        given: i64,
        /// The log's end.
        end: i64,
    },
}

/// Whether the disk itself has failed: what was refused once may be half there, and nothing says that the next write
/// fares better. Too many open files or a missing right may pass.
pub(super) fn is_device_fault(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_device = [Errno::IO, Errno::ROFS, Errno::NODEV, Errno::NXIO, Errno::STALE];
    error.raw_os_error().is_some_and(|code| of_device.iter().any(|errno| errno.raw_os_error() == code))
}

/// A read did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log's start or past its end.
    #[error("offset {offset} is not in the log, which holds {start} to {end}")]
    OutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The log's start.
        start: i64,
        /// The log's end.
        end: i64,
    },
    /// Finding the place needs the disk: call the blocking form from a thread that may wait.
    #[error("the bytes are not in memory")]
    NotResident,
    /// The bytes on disk are not what was written. The range stays in place, and is never served.
    #[error(
        "{name}: offsets {} to {} are damaged ({}, byte {}: {}). {}",
        damage.first, damage.next - 1, damage.file.display(), damage.position, damage.why,
        damage.file.parent().map(kept_until_repair).unwrap_or_default()
    )]
    Damaged {
        /// The partition, as its directory is named.
        name: String,
        /// Where and how far.
        damage: Damage,
    },
    /// What was in the way outside a batch's checksum was put right: the same read goes well now.
    #[error("the front of a batch in {} was put right; read again", file.display())]
    Mended {
        /// The file.
        file: PathBuf,
    },
    /// The partition's topic is deleted. Its files are gone, or are another topic's.
    #[error("the topic is deleted")]
    Gone,
    /// The file system refused.
    #[error("cannot read {}: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Its offsets, and in which way.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next - self.first {
            0 => write!(f, "no offsets ({})", self.why),
            1 => write!(f, "offset {} ({})", self.first, self.why),
            _ => write!(f, "offsets {} to {} ({})", self.first, self.next - 1, self.why),
        }
    }
}

/// What becomes of damage in a partition's directory, with the command that gives it up as it can be typed.
pub fn kept_until_repair(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let data = dir.parent().map_or_else(|| dir.to_owned(), Path::to_owned);
    let command = repair_command(&name, &data);
    format!("It is kept, and not served until it is given up, with the broker stopped: {command}")
}

/// The command that gives up what is damaged in a partition, as it can be typed.
pub fn repair_command(partition: &str, data_dir: &Path) -> String {
    let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let path = data_dir.display().to_string();
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c));
    let path = if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) };
    format!("streamd repair {partition} --yes --data-dir {path}")
}

/// A log could not be opened; its partition stays offline.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The manifest says that the partition has files, and its directory is gone: damage, never an empty log.
    #[error("{} is missing although the manifest knows its files: restore it, or delete the topic", dir.display())]
    FilesGone {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// The directory belongs to another topic, or to nobody known. The caller sets it aside (2.2) and opens again.
    #[error("{} belongs to {}, not to {wanted}", dir.display(), found.map_or_else(|| "nobody known".to_owned(), |id| id.to_string()))]
    Stray {
        /// The partition's directory.
        dir: PathBuf,
        /// The topic named in its `partition.metadata`, if that can be read.
        found: Option<TopicId>,
        /// The topic that was asked for.
        wanted: TopicId,
    },
    /// A later release wrote a file of the partition's: nothing was touched.
    #[error("{} was written by a later release. Nothing was changed: start that one, or a later one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot open {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl AppendError {
    /// Whether there was no descriptor for a file: another time there may be.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_shortage(error))
    }
}

impl OpenError {
    /// Whether there was no descriptor for a file: another time there may be.
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::Io { error, .. } if is_shortage(error))
    }
}
