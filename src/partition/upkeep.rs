//! What housekeeping does to a partition: it moves the log's start, begins segments by time, and asks when to come again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Partition;
use super::append::Writer;
use crate::config::TopicSettings;
use crate::storage::log::{AppendError, Removal};
use crate::storage::manifest::Manifest;
use crate::storage::retention::{self, Outlook};
use crate::types::Timestamp;

/// A log whose start has moved, and whose row says so to the manifest's writer. Files may go when the manifest is synced.
#[derive(Debug)]
#[must_use = "files of dropped segments stay until they are renamed"]
pub struct Trimmed {
    partition: Arc<Partition>,
    removal: Removal,
}

impl Trimmed {
    /// Renames the dropped segments' files and returns what to unlink after `file.delete.delay.ms`. The manifest must
    /// have been synced since.
    pub fn finish(self) -> Vec<PathBuf> {
        if self.partition.is_deleted() { Vec::new() } else { self.removal.rename() }
    }

    /// Whose log it is.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }
}

impl Partition {
    /// Moves the first readable offset up to `offset`, for every reader at once, and puts the row that says so into the
    /// manifest: it holds when the manifest is synced. Segments wholly below it leave the log as far as a checkpoint
    /// covers them. `None` if nothing changed. Blocks for a checkpoint that is under way.
    ///
    /// # Errors
    /// The data directory has failed.
    pub fn trim(self: &Arc<Self>, offset: i64, manifest: &Manifest) -> io::Result<Option<Trimmed>> {
        let removal = self.log.advance_start(offset);
        if removal.is_empty() {
            return Ok(None);
        }
        self.log_start_moved();
        if let Some(row) = removal.row()? {
            manifest.put(row);
            if self.is_deleted() {
                // The row came after the deletion's word, or may have.
                manifest.remove(self.id);
                return Ok(None);
            }
        }
        Ok(Some(Trimmed { partition: Arc::clone(self), removal }))
    }

    /// [`Partition::trim`] for one partition alone: the row is durable before files go.
    ///
    /// # Errors
    /// As [`Partition::trim`], or the manifest cannot be synced.
    pub fn drop_segments_below(
        self: &Arc<Self>,
        offset: i64,
        manifest: &Manifest,
    ) -> io::Result<Vec<PathBuf>> {
        let Some(trimmed) = self.trim(offset, manifest)? else { return Ok(Vec::new()) };
        manifest.sync().map_err(io::Error::other)?;
        Ok(trimmed.finish())
    }

    /// Begins a new segment if the active one has been waiting for records for `segment.ms`. Whether it did.
    ///
    /// # Errors
    /// The new segment cannot be made.
    pub fn roll_if_idle(self: &Arc<Self>, now: Timestamp) -> Result<bool, AppendError> {
        self.with_writer(|writer| {
            let is_due = writer.log.idle_roll_at().is_some_and(|at| at <= now);
            if is_due {
                self.roll(writer, now)?;
            }
            Ok(is_due)
        })
    }

    /// When the log is to be looked at next, as it stands; `None` for not before something is appended. Without
    /// `by_time` nothing falls due by its age.
    pub fn next_look(&self, by_time: bool) -> Option<Timestamp> {
        self.with_writer(|writer| self.look_ahead(writer, by_time))
    }

    /// Tells housekeeping when to look, as the log stands now.
    pub fn schedule_look(&self) {
        self.with_writer(|writer| self.reschedule(writer));
    }

    /// Tells housekeeping when to look.
    pub(super) fn reschedule(&self, writer: &mut Writer) {
        if let Some(at) = self.look_ahead(writer, true) {
            self.schedule.at_latest(self.id, at);
        }
    }

    fn look_ahead(&self, writer: &mut Writer, by_time: bool) -> Option<Timestamp> {
        let settings = self.settings();
        let Outlook { due, room_bytes } = if by_time {
            retention::outlook(&self.reader.segments(), &settings, self.reader.start())
        } else {
            let timeless = TopicSettings { retention_ms: -1, ..TopicSettings::clone(&settings) };
            retention::outlook(&self.reader.segments(), &timeless, self.reader.start())
        };
        writer.room_bytes = room_bytes;
        let roll = writer.log.idle_roll_at().filter(|_| by_time);
        [due, roll].into_iter().flatten().min()
    }

    /// Takes note of an append: the first one of a segment, and one that uses up the room below `retention.bytes`, change
    /// what falls due.
    pub(super) fn note_growth(&self, writer: &mut Writer, bytes: u64) {
        let had_room = writer.room_bytes > 0;
        writer.room_bytes = writer.room_bytes.saturating_sub(bytes);
        let is_used_up = had_room && writer.room_bytes == 0;
        if is_used_up || writer.log.active_bytes() == bytes {
            self.reschedule(writer);
        }
    }
}
