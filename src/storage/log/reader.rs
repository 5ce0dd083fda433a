//! The log for readers.

use std::io::ErrorKind;
use std::sync::Arc;

use super::read::{Request, read};
use super::{Log, LogSlice, Place, ReadBatches, ReadError};
use crate::record::batch::BatchView;
use crate::storage::layout::{FileKind, segment_file_in};
use crate::storage::pread::Wait;
use crate::storage::segment::Segment;
use crate::storage::txn_index::AbortedTransaction;
use crate::types::Timestamp;

/// The log for readers.
#[derive(Debug, Clone)]
pub struct LogReader {
    log: Arc<Log>,
}

impl LogReader {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { log }
    }

    /// The first offset that may be read.
    pub fn start(&self) -> i64 {
        self.log.state.lock().start
    }

    /// The next offset to be appended.
    pub fn end(&self) -> i64 {
        self.log.state.lock().end.offset
    }

    /// Up to where a power cut loses nothing.
    pub fn durable(&self) -> i64 {
        self.log.state.lock().durable.offset
    }

    /// The whole batches from the one that holds `from` up to `upper` (batches that reach past it are left out), at
    /// most `max_bytes` of them; with `at_least_one` the first even if it is larger (S16, S17). Never waits for the
    /// disk, and checks nothing: what was not read since the log was opened is left to [`LogReader::read_blocking`].
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
        read(&self.log, Request { from, hint, max_bytes, upper, at_least_one, wait: Wait::Never })
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
        read(&self.log, Request { from, hint, max_bytes, upper, at_least_one, wait: Wait::MayBlock })
    }

    /// The aborted transactions that have something in `from..upper`, by rising markers (S21). With `wait` off it never
    /// waits for the disk.
    ///
    /// # Errors
    /// As [`LogReader::read`]; damage of a `.txnindex` is [`ReadError::Io`].
    pub fn aborted(
        &self,
        from: i64,
        upper: i64,
        may_wait: bool,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let wait = if may_wait { Wait::MayBlock } else { Wait::Never };
        for _ in 0..ABORTED_RETRIES {
            match self.try_aborted(from, upper, wait) {
                // Retention or compaction took the file away: look again.
                Err(ReadError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
                found => return found,
            }
        }
        self.try_aborted(from, upper, wait)
    }

    fn try_aborted(&self, from: i64, upper: i64, wait: Wait) -> Result<Vec<AbortedTransaction>, ReadError> {
        let segments: Vec<Arc<Segment>> = {
            let state = self.log.state.lock();
            let behind = state.segments.iter().skip(state.segment_at(from));
            behind.filter(|segment| !segment.aborted().is_known_empty()).cloned().collect()
        };
        let mut found = Vec::new();
        for segment in segments {
            let done = segment.aborted_in((from, upper), &self.log.files, wait, &mut found);
            let done = done.map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => ReadError::NotResident,
                _ => ReadError::Io { file: segment.path(FileKind::TxnIndex), error },
            })?;
            if done {
                break;
            }
        }
        Ok(found)
    }

    /// Shows every batch from the one that holds `from` up to `upper` to `each`, in order, until it answers `false`.
    /// Frames and CRCs are checked. Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn for_each_batch(
        &self,
        from: i64,
        upper: i64,
        each: &mut dyn FnMut(&BatchView<'_>) -> bool,
    ) -> Result<(), ReadError> {
        let (mut from, mut hint, mut buffer) = (from, None, Vec::new());
        loop {
            let wait = Wait::MayBlock;
            let request = Request { from, hint, max_bytes: SCAN_BYTES, upper, at_least_one: true, wait };
            let read = read(&self.log, request)?;
            for slice in &read.slices {
                if !self.show(slice, &mut buffer, each)? {
                    return Ok(());
                }
            }
            if read.next.offset <= from {
                return Ok(());
            }
            from = read.next.offset;
            hint = Some(read.next);
            if from >= upper.min(self.end()) {
                return Ok(());
            }
        }
    }

    /// Shows the batches of one slice; `false` if `each` wants no more.
    fn show(
        &self,
        slice: &LogSlice,
        buffer: &mut Vec<u8>,
        each: &mut dyn FnMut(&BatchView<'_>) -> bool,
    ) -> Result<bool, ReadError> {
        let file = || segment_file_in(&self.log.dir, slice.file.base(), FileKind::Log);
        buffer.resize(slice.len(), 0);
        slice.read_into(0, buffer).map_err(|error| ReadError::Io { file: file(), error })?;
        let mut at = 0;
        while let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) {
            let batch =
                BatchView::parse(rest).map_err(|_| self.met_in(slice, at, "no batch where one has to be"))?;
            if !batch.crc_ok() {
                return Err(self.met_in(slice, at, "the CRC of the batch does not match"));
            }
            if !each(&batch) {
                return Ok(false);
            }
            at += batch.bytes().len();
        }
        Ok(true)
    }

    /// Bytes of a slice are not what was written.
    fn met_in(&self, slice: &LogSlice, at: usize, why: &'static str) -> ReadError {
        let base = slice.file.base();
        let segment = self.log.state.lock().segments.iter().find(|segment| segment.base() == base).cloned();
        match segment {
            Some(segment) => {
                self.log.meet_damage(&segment, slice.file.log(), slice.position + at as u64, why)
            }
            None => ReadError::Io {
                file: segment_file_in(&self.log.dir, base, FileKind::Log),
                error: std::io::Error::new(ErrorKind::InvalidData, why),
            },
        }
    }

    /// The largest epoch at or below `epoch`, and where it ends (S87); `None` if the log knows none. An epoch under
    /// which nothing was appended yet is not known here.
    pub fn epoch_end(&self, epoch: i32) -> Option<(i32, i64)> {
        let end = self.end();
        self.log.side.lock().epochs.end_of(epoch, end)
    }

    /// The epoch of the batch at `offset`, if the log knows it.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.log.side.lock().epochs.at(offset)
    }

    /// The epoch of the last batch, if there is one.
    pub fn last_epoch(&self) -> Option<i32> {
        self.log.side.lock().epochs.last()
    }

    /// The segments, oldest first; the last one is active. Empty before the first append.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.log.state.lock();
        let segments = state.segments.iter().enumerate();
        segments
            .map(|(nth, segment)| {
                let facts = segment.facts();
                SegmentInfo {
                    base: segment.base(),
                    next: state.next_of(nth),
                    bytes: segment.len(),
                    max_timestamp: facts.max_timestamp,
                    appended_at: facts.appended_at,
                }
            })
            .collect()
    }

    /// The smallest time of a first record among the sealed segments that hold offsets from `from` on
    /// (`max.compaction.lag.ms` counts from it). May wait for the disk.
    pub fn oldest_first_record(&self, from: i64) -> Option<Timestamp> {
        let sealed = {
            let state = self.log.state.lock();
            let count = state.segments.len().saturating_sub(1);
            let first = (0..count).find(|nth| state.next_of(*nth) > from).unwrap_or(count);
            state.segments.get(first..count).unwrap_or_default().to_vec()
        };
        let time =
            |segment: &Arc<Segment>| segment.first_timestamp(&self.log.files).filter(|time| *time >= 0);
        sealed.iter().filter_map(time).min()
    }

    /// Whether a segment of this number is in the log: it changes when the segment is replaced or opened anew.
    pub fn has_segment(&self, serial: u32) -> bool {
        self.log.state.lock().segments.iter().any(|segment| segment.serial() == serial)
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.log.state.lock().segments.iter().map(|segment| segment.len()).sum()
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }
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

/// Times that a look for aborted transactions begins again because a segment was taken away.
const ABORTED_RETRIES: usize = 3;
/// Bytes that a scan reads at once, if batches are not larger.
const SCAN_BYTES: usize = 1 << 20;
