//! Reading: batches below the watermark, offsets by time, epochs. Never takes the writer's lock.

use super::Partition;
use crate::storage::log::{LogReader, Place, ReadBatches, ReadError, TimedOffset};
use crate::storage::txn_index::AbortedTransaction;
use crate::types::offset::{NO_EPOCH, NO_OFFSET};
use crate::types::time::NO_TIMESTAMP;
use crate::types::{ErrorCode, Timestamp};

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset (S19, S20).
    ReadCommitted,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// The first offset wanted; the first batch may begin below it.
    pub from: i64,
    /// Where the last read ended, if the reader goes on from there.
    pub hint: Option<Place>,
    /// The most bytes to answer.
    pub max_bytes: usize,
    /// Answer the first batch even if it is larger (S16).
    pub at_least_one: bool,
    /// Which records are wanted.
    pub isolation: Isolation,
}

/// What was read, and the partition's offsets when the read began.
#[derive(Debug)]
pub struct PartitionRead {
    /// The batches.
    pub batches: ReadBatches,
    /// The high watermark.
    pub high_watermark: i64,
    /// The last stable offset.
    pub last_stable_offset: i64,
    /// The first offset that may be read.
    pub log_start: i64,
    /// The aborted transactions that have something among the batches, by rising markers; only for `read_committed`
    /// (S21).
    pub aborted: Vec<AbortedTransaction>,
}

/// The answer to a ListOffsets question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAt {
    /// The offset, or -1.
    pub offset: i64,
    /// Its timestamp, or -1.
    pub timestamp: Timestamp,
    /// Its leader epoch, or -1.
    pub leader_epoch: i32,
}

impl OffsetAt {
    /// Nothing found.
    pub const NONE: Self = Self { offset: NO_OFFSET, timestamp: NO_TIMESTAMP, leader_epoch: NO_EPOCH };
}

impl From<Option<TimedOffset>> for OffsetAt {
    fn from(found: Option<TimedOffset>) -> Self {
        found.map_or(Self::NONE, |at| Self {
            offset: at.offset,
            timestamp: at.timestamp,
            leader_epoch: at.leader_epoch,
        })
    }
}

impl Partition {
    /// Compares the epoch that a client believes in with ours (S27); -1 skips the comparison.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH` or `UNKNOWN_LEADER_EPOCH`.
    pub fn check_epoch(&self, current_leader_epoch: i32) -> Result<(), ErrorCode> {
        match current_leader_epoch {
            NO_EPOCH => Ok(()),
            epoch if epoch < self.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
            epoch if epoch > self.leader_epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Where records end for this isolation.
    pub fn visible_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark(),
            Isolation::ReadCommitted => self.last_stable_offset(),
        }
    }

    /// Reads without waiting for the disk.
    ///
    /// # Errors
    /// [`ReadError::NotResident`]: call [`Partition::read_blocking`] on a thread that may wait.
    pub fn read(&self, request: &ReadRequest) -> Result<PartitionRead, ReadError> {
        self.read_below_watermark(request, false)
    }

    /// Reads, waiting for the disk if it must.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_blocking(&self, request: &ReadRequest) -> Result<PartitionRead, ReadError> {
        self.read_below_watermark(request, true)
    }

    /// An answer without records, for a reader to whom no more can be given now.
    pub fn read_nothing(&self, from: i64) -> PartitionRead {
        PartitionRead {
            batches: ReadBatches::none(from),
            high_watermark: self.high_watermark(),
            last_stable_offset: self.last_stable_offset(),
            log_start: self.log_start(),
            aborted: Vec::new(),
        }
    }

    /// The watermarks of the answer are those that the read went by. Newer ones would tell a reader who has come to the
    /// end that there is more, and those who wait for them to move that they have seen it.
    fn read_below_watermark(
        &self,
        request: &ReadRequest,
        may_wait: bool,
    ) -> Result<PartitionRead, ReadError> {
        let high_watermark = self.high_watermark();
        // It may have moved since, and the answer is to be of one moment.
        let last_stable_offset = self.last_stable_offset().min(high_watermark);
        let upper = match request.isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
        };
        let ReadRequest { from, hint, max_bytes, at_least_one, isolation } = *request;
        let read = if may_wait { LogReader::read_blocking } else { LogReader::read };
        let batches = read(&self.reader, from, hint, max_bytes, upper, at_least_one);
        let batches = self.unless_gone(batches)?;
        let aborted = if isolation == Isolation::ReadCommitted && batches.bytes > 0 {
            self.unless_gone(self.reader.aborted(from, batches.next.offset(), may_wait))?
        } else {
            Vec::new()
        };
        let log_start = self.log_start();
        Ok(PartitionRead { batches, high_watermark, last_stable_offset, log_start, aborted })
    }

    /// Asked behind a read: once the topic is deleted its files are gone, and those that stand under their names may be
    /// another topic's. What was read before that is this topic's.
    fn unless_gone<T>(&self, read: Result<T, ReadError>) -> Result<T, ReadError> {
        if self.is_deleted() { Err(ReadError::Gone) } else { read }
    }

    /// The log start as ListOffsets -2 answers it.
    pub fn earliest(&self) -> OffsetAt {
        let offset = self.log_start();
        let known = self.reader.epoch_at(offset).or_else(|| self.reader.last_epoch());
        let leader_epoch = known.unwrap_or(self.leader_epoch);
        OffsetAt { offset, timestamp: NO_TIMESTAMP, leader_epoch }
    }

    /// The end of what may be read, as ListOffsets -1 answers it.
    pub fn latest(&self, isolation: Isolation) -> OffsetAt {
        let leader_epoch = self.reader.last_epoch().unwrap_or(self.leader_epoch);
        OffsetAt { offset: self.visible_end(isolation), timestamp: NO_TIMESTAMP, leader_epoch }
    }

    /// The first visible record at or after a time (S86). Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn offset_for_time(&self, target: Timestamp, isolation: Isolation) -> Result<OffsetAt, ReadError> {
        let found = self.reader.offset_for_time(target, self.visible_end(isolation));
        self.unless_gone(found).map(OffsetAt::from)
    }

    /// The record with the largest timestamp (ListOffsets -3), if the reader may see that one. Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn max_timestamp(&self, isolation: Isolation) -> Result<OffsetAt, ReadError> {
        // In this order: what is decided meanwhile is not looked for.
        let end = self.visible_end(isolation);
        let found = self.reader.max_timestamp(self.high_watermark().max(end));
        let found = self.unless_gone(found)?;
        Ok(found.filter(|at| at.offset < end).into())
    }

    /// The largest epoch at or below `epoch` and its end offset (S87); -1, -1 when there is none.
    pub fn end_of_epoch(&self, epoch: i32) -> (i32, i64) {
        if epoch == self.leader_epoch {
            return (epoch, self.high_watermark());
        }
        self.reader.epoch_end(epoch).unwrap_or((NO_EPOCH, NO_OFFSET))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::super::testing::*;
    use super::*;
    use crate::config::{Fsync, TopicSettings};
    use crate::storage::files::FileCache;

    #[test]
    fn a_read_tells_no_watermark_that_it_did_not_go_by() {
        let rig = Rig::with(TopicSettings::default(), FileCache::new(64, 8), Fsync::Never);
        let partition = rig.open("t", id(1));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    produce(&partition, record(b"a")).unwrap();
                }
                over.store(true, Ordering::SeqCst);
            });
            let (mut from, mut hint) = (0, None);
            loop {
                let is_last = over.load(Ordering::SeqCst);
                let isolation = Isolation::ReadUncommitted;
                let request = ReadRequest { from, hint, max_bytes: 1 << 20, at_least_one: true, isolation };
                let read = partition.read_blocking(&request).unwrap();
                from = read.batches.next.offset();
                assert_eq!(from, read.high_watermark, "it read all that it says is there");
                hint = Some(read.batches.next);
                if is_last {
                    break;
                }
            }
            assert_eq!(from, 10_000);
        });
    }
}
