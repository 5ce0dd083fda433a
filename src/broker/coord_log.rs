//! A partition as a coordinator's log.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::coord::log::Wake;
use crate::coord::{CoordLog, CorruptRecord, LogFault};
use crate::partition::Partition;
use crate::record::batch::{BatchHeader, BatchView};
use crate::storage::log::{AppendError, ReadError};
use crate::storage::manifest::Manifest;

/// The partition that holds one coordinator's records.
pub(super) struct PartitionLog {
    pub(super) partition: Arc<Partition>,
    pub(super) manifest: Arc<Manifest>,
}

/// Its name, as log lines show it.
impl fmt::Debug for PartitionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition.topic(), self.partition.id().partition)
    }
}

impl CoordLog for PartitionLog {
    fn append(&self, batches: Vec<Bytes>) -> Result<i64, LogFault> {
        let headed: Result<Vec<_>, _> = batches
            .into_iter()
            .map(|batch| BatchHeader::parse(&batch).map(|header| (batch, header)))
            .collect();
        let headed = headed.map_err(|error| fault(io::Error::other(error)))?;
        self.partition.append_own(&headed).map_err(append_fault)
    }

    fn durable_end(&self) -> Result<i64, LogFault> {
        if self.partition.has_failed() {
            return Err(fault(io::Error::other("a sync failed; what was not durable may be lost")));
        }
        Ok(self.partition.reader().durable())
    }

    fn when_durable(&self, end: i64, wake: Wake) {
        self.partition.when_durable(end, wake);
    }

    fn replay(
        &self,
        f: &mut dyn FnMut(&BatchView<'_>) -> Result<(), CorruptRecord>,
    ) -> Result<i64, LogFault> {
        let reader = self.partition.reader();
        let end = reader.end();
        let mut refused = None;
        reader
            .for_each_batch(reader.start(), end, &mut |batch| match f(batch) {
                Ok(()) => true,
                Err(cause) => {
                    refused = Some(LogFault::Corrupt { offset: batch.header().base_offset, cause });
                    false
                }
            })
            .map_err(|error| read_fault(reader.start(), error))?;
        refused.map_or(Ok(end), Err)
    }

    fn reserve(&self, bytes: u64) -> Result<(), LogFault> {
        self.partition.reserve(bytes).map_err(append_fault)
    }

    fn is_empty(&self) -> bool {
        self.partition.reader().end() == 0
    }

    fn size(&self) -> u64 {
        self.partition.reader().size_bytes()
    }

    fn roll(&self) -> Result<(), LogFault> {
        self.partition.roll_segment().map_err(append_fault)
    }

    fn drop_below(&self, offset: i64) -> Result<(), LogFault> {
        let files = self.partition.drop_segments_below(offset, &self.manifest).map_err(fault)?;
        // Nobody but the shard reads them.
        let room = self.partition.room();
        files.iter().try_for_each(|file| room.unlink(file)).map_err(fault)
    }
}

fn fault(error: io::Error) -> LogFault {
    LogFault::Io(Arc::new(error))
}

fn append_fault(error: AppendError) -> LogFault {
    match error {
        AppendError::Full { .. } => {
            LogFault::NoRoom(Arc::new(io::Error::new(io::ErrorKind::StorageFull, error)))
        }
        other => fault(io::Error::other(other)),
    }
}

/// Damage in a coordinator's own log stops it: guessing would show others a state that never was.
fn read_fault(offset: i64, error: ReadError) -> LogFault {
    match error {
        ReadError::Damaged { .. } => LogFault::Corrupt { offset, cause: CorruptRecord(error.to_string()) },
        other => fault(io::Error::other(other)),
    }
}
