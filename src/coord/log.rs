//! What a shard asks of its log. Two implementations: the partition that holds an internal topic's records, adapted by
//! the broker, and the tests' log that fails on demand.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::CorruptRecord;
use crate::record::{BatchError, BatchView};

/// Called when a log has become durable up to an asked-for end, or never will be.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Why a log could not do what it was asked. Clones share the cause.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogFault {
    /// No space can be reserved on the disk, or its limit is reached. Nothing was written.
    #[error("no room in the log: {0}")]
    NoRoom(Arc<io::Error>),
    /// A read, write or sync failed. What was being appended may or may not be in the log.
    #[error("the log failed: {0}")]
    Io(Arc<io::Error>),
    /// The log holds something that its shard cannot understand, or its bytes are damaged.
    #[error("the log is damaged at offset {offset}: {cause}")]
    Corrupt {
        /// The first offset of the batch at fault.
        offset: i64,
        /// What is wrong with it.
        cause: CorruptRecord,
    },
    /// The log is closed: the broker is stopping or the topic is gone.
    #[error("the log is closed")]
    Closed,
}

/// An append-only log of record batches that one shard writes.
///
/// Only the shard appends, one call at a time. All calls may block for as long as the disk does; [`CoordLog::replay`]
/// is called on a thread that may.
pub trait CoordLog: Send + Sync + fmt::Debug {
    /// Appends whole v2 batches, in order and in one write, and returns the offset after the last.
    ///
    /// # Errors
    /// A fault leaves open whether the batches are in the log; the shard loads again to find out.
    fn append(&self, batches: Vec<Bytes>) -> Result<i64, LogFault>;

    /// The offset below which everything is as durable as this log promises.
    ///
    /// # Errors
    /// A sync has failed: what was appended and is not durable may never be.
    fn durable_end(&self) -> Result<i64, LogFault>;

    /// Sees to it that the log becomes durable up to `end`, and calls `wake` once when it is or when that has failed,
    /// from any thread and perhaps before this returns.
    fn when_durable(&self, end: i64, wake: Wake);

    /// Hands every batch of the log to `f`, from its start to its end, high watermark or not, and returns the offset
    /// after the last.
    ///
    /// # Errors
    /// The log cannot be read, or `f` refused a batch ([`LogFault::Corrupt`]).
    fn replay(&self, f: &mut dyn FnMut(&BatchView<'_>) -> Result<(), CorruptRecord>)
    -> Result<i64, LogFault>;

    /// Makes sure that at least `bytes` more can be appended without asking the disk for space. Cheap when they can.
    ///
    /// # Errors
    /// [`LogFault::NoRoom`], or the log is out of service.
    fn reserve(&self, bytes: u64) -> Result<(), LogFault>;

    /// Whether nothing was ever appended, so that there is nothing to load. Must not touch the disk.
    fn is_empty(&self) -> bool;

    /// Bytes from the log's start to its end.
    fn size(&self) -> u64;

    /// Begins a new file, so that [`CoordLog::drop_below`] can later drop all that was written so far.
    ///
    /// # Errors
    /// The file could not be made; the log goes on with the present one.
    fn roll(&self) -> Result<(), LogFault>;

    /// Drops what lies below `offset`, whole files at a time; the log may keep some of it.
    ///
    /// # Errors
    /// Files could not be dropped; the log is whole all the same.
    fn drop_below(&self, offset: i64) -> Result<(), LogFault>;
}

/// What a machine decided cannot be written: it is larger than the format allows.
impl From<BatchError> for LogFault {
    fn from(error: BatchError) -> Self {
        Self::Io(Arc::new(io::Error::other(error)))
    }
}
