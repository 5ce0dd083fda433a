//! Checkpoints of a log, and the removal of what is old.
//!
//! Both end in a manifest row, and the order matters: a row is put after the files that it speaks for are synced, and
//! files go only after the row without them is durable. So segments are dropped only below the last checkpoint, and a
//! removal's row waits until no older row is on its way.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::swap::Turn;
use super::{Log, LogMark};
use crate::storage::flush::CheckpointNote;
use crate::storage::layout::{FileKind, FileState, PARTITION_METADATA, SegmentFileName, segment_file_in};
use crate::storage::manifest::{Checkpoint, PartitionRow, SegmentRow};
use crate::storage::put::put;
use crate::storage::segment::Segment;

impl Log {
    /// Writes out what describes the log up to `mark` (index tails, epochs, and `producers` as `<offset>.producers` if
    /// given), and says what to sync and which row may then be put. `has_producers` says whether recovery must look
    /// for a producer file: the newest one, and the log behind it is replayed, so give `producers` whenever they
    /// changed. `None` if the last checkpoint already was there, or if the log was given up. Blocks.
    ///
    /// # Errors
    /// What the file system says; the checkpoint stays behind and recovery takes longer.
    pub fn prepare_checkpoint(
        &self,
        mark: &LogMark,
        producers: Option<&[u8]>,
        has_producers: bool,
    ) -> io::Result<Option<CheckpointNote>> {
        let (segments, before) = {
            let mut state = self.state.lock();
            let up_to = state.segments.partition_point(|segment| segment.base() <= mark.place.segment);
            let segments = state.segments[..up_to].to_vec();
            let row = state.row.clone();
            let start = state.start;
            let is_there = |row: &Arc<PartitionRow>| {
                row.log_start == start
                    && row.checkpoint.offset == mark.place.offset
                    && row.checkpoint.segment == mark.place.segment
            };
            if segments.is_empty()
                || state.has_hole
                || (producers.is_none() && row.as_ref().is_some_and(is_there))
            {
                return Ok(None);
            }
            state.preparing = true;
            (segments, row)
        };
        let mut paths = vec![self.dir.clone()];
        let written = self.by_path(|| {
            self.write_indexes(&segments, before.as_ref(), &mut paths)?;
            self.write_side_files(mark, producers, &mut paths)
        });
        match written {
            Some(Ok(())) => {}
            given_up_or_failed => {
                self.end_preparing();
                return given_up_or_failed.unwrap_or(Ok(())).map(|()| None);
            }
        }
        if before.is_none() {
            // The first row: the directory's own entry, which no sync has covered yet if nothing was appended.
            paths.extend(self.dir.parent().map(Arc::from));
        }
        let row = Arc::new(self.row_at(mark, &segments, has_producers));
        Ok(Some(CheckpointNote { paths, row }))
    }

    /// Completes the index files from the last checkpoint on.
    fn write_indexes(
        &self,
        segments: &[Arc<Segment>],
        before: Option<&Arc<PartitionRow>>,
        paths: &mut Vec<Arc<Path>>,
    ) -> io::Result<()> {
        let from = before.map_or(i64::MIN, |row| row.checkpoint.segment);
        for segment in segments.iter().filter(|segment| segment.base() >= from) {
            if segment.facts().index.has_pending() {
                segment.flush_index(true)?;
            }
            if segment.facts().index.note_unsynced() {
                let kinds = [FileKind::Index, FileKind::TimeIndex];
                paths.extend(kinds.map(|kind| segment.path(kind).into()));
            }
            segment.flush_aborted()?;
            if segment.aborted().note_unsynced() {
                paths.push(segment.path(FileKind::TxnIndex).into());
            }
        }
        Ok(())
    }

    fn write_side_files(
        &self,
        mark: &LogMark,
        producers: Option<&[u8]>,
        paths: &mut Vec<Arc<Path>>,
    ) -> io::Result<()> {
        let mut side = self.side.lock();
        self.write_epochs(&mut side)?;
        if !side.noted.contains(&self.dir.join(PARTITION_METADATA)) && self.state.lock().row.is_none() {
            side.unsynced.push(self.dir.join(PARTITION_METADATA));
        }
        if let Some(bytes) = producers {
            let offset = mark.place.offset;
            let path = segment_file_in(&self.dir, offset, FileKind::Producers);
            put(&path, bytes)?;
            side.unsynced.push(path);
            if !side.producers.contains(&offset) {
                side.producers.push(offset);
            }
        }
        let unsynced = std::mem::take(&mut side.unsynced);
        side.noted.extend(unsynced);
        paths.extend(side.noted.iter().map(|path| Arc::from(&**path)));
        Ok(())
    }

    fn row_at(&self, mark: &LogMark, segments: &[Arc<Segment>], producers: bool) -> PartitionRow {
        let place = mark.place;
        let segments = segments
            .iter()
            .map(|segment| {
                let is_last = segment.base() == place.segment;
                let facts = segment.facts();
                SegmentRow {
                    base: segment.base(),
                    bytes: if is_last { place.position } else { segment.len() },
                    max_timestamp: if is_last { mark.max_timestamp } else { facts.max_timestamp },
                    appended_at: if is_last { mark.appended_at } else { facts.appended_at },
                    aborted: if is_last { mark.aborted } else { segment.aborted().sum() },
                }
            })
            .collect();
        PartitionRow {
            id: self.id,
            topic: self.topic.clone(),
            log_start: self.state.lock().start,
            checkpoint: Checkpoint {
                offset: place.offset,
                segment: place.segment,
                position: place.position,
                max_timestamp: mark.max_timestamp,
            },
            segments,
            producers,
        }
    }

    /// The base of the segment that the last checkpoint lies in: no segment below it changes any more.
    pub fn checkpoint_segment(&self) -> Option<i64> {
        self.state.lock().row.as_ref().map(|row| row.checkpoint.segment)
    }

    /// Whether the last checkpoint vouches for everything up to the log's end.
    pub fn is_checkpointed(&self) -> bool {
        let state = self.state.lock();
        let end = state.end.offset;
        state.row.as_ref().map_or(end == state.start, |row| row.checkpoint.offset == end)
    }

    /// The row is durable in the manifest: its checkpoint is the log's from here on, and older producer files go.
    pub fn checkpointed(&self, row: &Arc<PartitionRow>) {
        {
            let mut state = self.state.lock();
            let start = state.start;
            let is_older =
                state.row.as_ref().is_some_and(|old| old.checkpoint.offset > row.checkpoint.offset);
            if !is_older {
                let mut row = PartitionRow::clone(row);
                // What a removal dropped meanwhile is in the removal's row, which follows this one.
                let first = state.segments.first().map_or(i64::MAX, |segment| segment.base());
                row.segments.retain(|segment| segment.base >= first);
                row.log_start = row.log_start.max(start);
                state.row = Some(Arc::new(row));
            }
            for segment in &state.segments {
                segment.facts().index.noted_synced();
                segment.aborted().noted_synced();
            }
        }
        self.by_path(|| self.prune_producers(row));
        self.end_preparing();
    }

    /// Removes the producer files that no recovery will ask for.
    fn prune_producers(&self, row: &PartitionRow) {
        let mut side = self.side.lock();
        side.noted.clear();
        let newest = side.producers.iter().copied().filter(|at| *at <= row.checkpoint.offset).max();
        let keep_from = if row.producers { newest.unwrap_or(0) } else { row.checkpoint.offset };
        side.producers.retain(|&offset| {
            let stays = offset >= keep_from && (row.producers || offset > row.checkpoint.offset);
            if !stays {
                // What stays behind is found and passed over at the next recovery.
                let _ = fs::remove_file(segment_file_in(&self.dir, offset, FileKind::Producers));
            }
            stays
        });
    }

    fn end_preparing(&self) {
        self.state.lock().preparing = false;
        self.prepared.notify_all();
    }

    /// Moves the first readable offset up to `offset` (never back, never past the log's end), for DeleteRecords and for
    /// retention's plan alike. Segments wholly below it and below the last checkpoint leave the log. See [`Removal`] for what
    /// then has to be done; until it is dropped, no compacted segment is swapped in, and this waits for one that is.
    pub fn advance_start(self: &Arc<Self>, offset: i64) -> Removal {
        let turn = self.turn_to_remove();
        let (segments, start, moved) = {
            let mut state = self.state.lock();
            let start = offset.min(state.end.offset).max(state.start);
            let moved = start > state.start;
            state.start = start;
            let checkpoint = state.row.as_ref().map_or(i64::MIN, |row| row.checkpoint.segment);
            let mut count = 0;
            while count + 1 < state.segments.len()
                && state.next_of(count) <= start
                && state.next_of(count) <= checkpoint
            {
                count += 1;
            }
            (state.segments.drain(..count).collect::<Vec<_>>(), start, moved)
        };
        if moved {
            let mut side = self.side.lock();
            side.epochs_unwritten |= side.epochs.truncate_start(start);
        }
        Removal { log: self.clone(), changed: moved || !segments.is_empty(), segments, _turn: turn }
    }

    /// The last row with the present segments and log start.
    fn present_row(&self) -> Option<Arc<PartitionRow>> {
        let mut state = self.state.lock();
        let first = state.segments.first()?;
        let base = first.base();
        if state.row.is_none() && state.manifest_lost {
            // Until a checkpoint vouches for the files, the row goes on saying that nobody knows: a row with files would
            // have the next recovery take compaction's gaps for the end of the log.
            return Some(Arc::new(PartitionRow {
                id: self.id,
                topic: self.topic.clone(),
                log_start: state.start,
                checkpoint: Checkpoint::NONE,
                segments: Vec::new(),
                producers: false,
            }));
        }
        let mut row = match &state.row {
            Some(row) => PartitionRow::clone(row),
            // No checkpoint yet: nothing is vouched for but the log start.
            None => PartitionRow {
                id: self.id,
                topic: self.topic.clone(),
                log_start: state.start,
                checkpoint: Checkpoint { offset: base, segment: base, position: 0, max_timestamp: -1 },
                segments: vec![SegmentRow {
                    base,
                    bytes: 0,
                    max_timestamp: -1,
                    appended_at: -1,
                    aborted: None,
                }],
                producers: base > 0,
            },
        };
        row.log_start = state.start;
        row.segments.retain(|segment| segment.base >= base);
        let row = Arc::new(row);
        state.row = Some(row.clone());
        Some(row)
    }
}

/// A new log start, and segments that left the log. To be carried out in this order: put [`Removal::row`] into the
/// manifest, wait until it is durable, then [`Removal::rename`] (a row that lists a file which is gone reads as damage).
#[derive(Debug)]
#[must_use = "files of dropped segments stay until they are renamed"]
pub struct Removal {
    log: Arc<Log>,
    segments: Vec<Arc<Segment>>,
    changed: bool,
    /// No compaction changes the segments or their files meanwhile.
    _turn: Turn,
}

impl Removal {
    /// Whether anything changed; otherwise there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.changed
    }

    /// Bytes of the dropped segments' `.log` files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    /// The row without the dropped segments; `None` if the log has no files. Waits for a checkpoint that is under way,
    /// whose row must come first.
    ///
    /// # Errors
    /// The checkpoint does not end: the data directory has failed.
    pub fn row(&self) -> io::Result<Option<Arc<PartitionRow>>> {
        let mut state = self.log.state.lock();
        while state.preparing {
            if self.log.prepared.wait_for(&mut state, CHECKPOINT_WAIT).timed_out() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a checkpoint does not end"));
            }
        }
        let is_first = state.row.is_none() && !state.segments.is_empty();
        drop(state);
        if is_first {
            // A row says that there are files: so their directory must not vanish.
            for dir in [Some(&*self.log.dir), self.log.dir.parent()].into_iter().flatten() {
                File::open(dir)?.sync_all()?;
            }
        }
        Ok(self.log.present_row())
    }

    /// Renames the files to `.deleted` (or unlinks them where the disk is full) and returns what to unlink after
    /// `file.delete.delay.ms`. Does nothing if the log was given up: its files go with their directory.
    pub fn rename(self) -> Vec<PathBuf> {
        self.log.by_path(|| self.rename_files()).unwrap_or_default()
    }

    fn rename_files(&self) -> Vec<PathBuf> {
        let mut renamed = Vec::new();
        for segment in &self.segments {
            for kind in SEGMENT_KINDS {
                let from = SegmentFileName { offset: segment.base(), kind, state: FileState::Live };
                let to = from.with_state(FileState::Deleted).path_in(&self.log.dir);
                let from = from.path_in(&self.log.dir);
                match fs::rename(&from, &to) {
                    Ok(()) => renamed.push(to),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        tracing::warn!(file = %from.display(), %error, "cannot rename a dropped file: unlinking it");
                        if let Err(error) = fs::remove_file(&from) {
                            tracing::warn!(file = %from.display(), %error, "cannot unlink a dropped file");
                        }
                    }
                }
            }
        }
        renamed
    }
}

/// The files that go with a segment. Producer files go by checkpoints: the newest may be older than the log's start.
pub(super) const SEGMENT_KINDS: [FileKind; 5] =
    [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex, FileKind::Snapshot];
/// How long a removal waits for a checkpoint that is under way.
pub(super) const CHECKPOINT_WAIT: Duration = Duration::from_secs(30);
