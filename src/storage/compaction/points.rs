//! Up to where each log was cleaned: Kafka's `cleaner-offset-checkpoint`, so that a start does not clean everything again.
//!
//! The file goes by topic names, and a name may come to mean another topic. An offset that is another topic's would
//! have records taken for cleaned that never were, and tombstones dropped while what they delete is still there. So what
//! is read is believed only for topics whose name no other topic had meanwhile, and a deleted topic's lines go before
//! its removal is done.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::checkpoint::{PartitionOffset, encode_offsets, read_offsets, replace};
use crate::storage::layout::CLEANER_OFFSETS;
use crate::types::{TopicId, TopicPartition};

/// The first offset of each log that no cleaning has covered.
#[derive(Debug)]
pub struct CleanPoints {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Deleted while this ran: a cleaning that ends late adds no line of theirs.
    forgotten: HashSet<TopicId>,
    points: BTreeMap<TopicPartition, (Arc<str>, i64)>,
    /// What the file says, as far as it is known.
    written: String,
}

impl CleanPoints {
    /// Reads the file in the data directory. `topic` tells which topic a name means, if it cannot have meant another.
    pub fn open(root: &Path, topic: impl Fn(&str) -> Option<TopicId>) -> Self {
        let path = root.join(CLEANER_OFFSETS);
        let rows = read_offsets(&path).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "compacted logs are cleaned from their start");
            None
        });
        let rows = rows.unwrap_or_default();
        let written = encode_offsets(&rows);
        let points = rows.into_iter().filter_map(|row| {
            let id = TopicPartition { topic: topic(&row.topic)?, partition: row.partition };
            Some((id, (Arc::from(row.topic), row.offset)))
        });
        let points = points.collect();
        Self { path, state: Mutex::new(State { points, written, ..State::default() }) }
    }

    /// Up to where this log was cleaned.
    pub fn get(&self, id: TopicPartition) -> Option<i64> {
        self.state.lock().points.get(&id).map(|(_, offset)| *offset)
    }

    /// A log turned out to end before the offset up to which it was cleaned: it has lost its end, or is another. What it
    /// grows to from there was never cleaned, so it counts as cleaned up to `offset` from now on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_back(&self, id: TopicPartition, offset: i64) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.points.get_mut(&id) {
            Some((_, at)) if *at > offset => *at = offset,
            _ => return Ok(()),
        }
        self.write(&mut state)
    }

    /// A log was cleaned up to `offset`. Durable when this returns.
    ///
    /// # Errors
    /// What the file system says; after a restart more is cleaned than need be.
    pub fn set(&self, id: TopicPartition, topic: &Arc<str>, offset: i64) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.forgotten.contains(&id.topic) {
            return Ok(());
        }
        state.points.insert(id, (topic.clone(), offset));
        self.write(&mut state)
    }

    /// Forgets a deleted topic. Durable when this returns.
    ///
    /// # Errors
    /// What the file system says; the topic's removal must then not be called done.
    pub fn forget(&self, topic: TopicId) -> io::Result<()> {
        let mut state = self.state.lock();
        state.forgotten.insert(topic);
        state.points.retain(|id, _| id.topic != topic);
        self.write(&mut state)
    }

    /// Lines that were not believed go with the first write.
    fn write(&self, state: &mut State) -> io::Result<()> {
        let rows: Vec<PartitionOffset> = state
            .points
            .iter()
            .map(|(id, (topic, offset))| PartitionOffset {
                topic: topic.to_string(),
                partition: id.partition,
                offset: *offset,
            })
            .collect();
        let text = encode_offsets(&rows);
        if text == state.written || (rows.is_empty() && !self.path.exists()) {
            return Ok(());
        }
        // Whatever comes of it, what the file says is not known before it is written.
        state.written.clear();
        replace(&self.path, text.as_bytes())?;
        state.written = text;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(topic: u8, partition: i32) -> TopicPartition {
        TopicPartition { topic: TopicId::from_bytes([topic; 16]), partition }
    }

    fn named(name: &str) -> Option<TopicId> {
        (name == "a").then(|| TopicId::from_bytes([1; 16]))
    }

    #[test]
    fn the_file_is_kafkas_and_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let points = CleanPoints::open(dir.path(), named);
        assert_eq!(points.get(id(1, 0)), None);
        points.set(id(1, 0), &"a".into(), 42).unwrap();
        points.set(id(1, 1), &"a".into(), 7).unwrap();
        points.set(id(2, 0), &"b".into(), 9).unwrap();
        let text = fs::read_to_string(dir.path().join("cleaner-offset-checkpoint")).unwrap();
        assert_eq!(text, "0\n3\na 0 42\na 1 7\nb 0 9\n");

        let again = CleanPoints::open(dir.path(), named);
        assert_eq!((again.get(id(1, 0)), again.get(id(1, 1))), (Some(42), Some(7)));
        assert_eq!(again.get(id(2, 0)), None, "nobody knows the topic");
    }

    #[test]
    fn a_log_that_lost_its_end_is_set_back_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let points = CleanPoints::open(dir.path(), named);
        points.set_back(id(1, 0), 7).unwrap();
        assert_eq!(points.get(id(1, 0)), None);
        points.set(id(1, 0), &"a".into(), 42).unwrap();
        points.set_back(id(1, 0), 7).unwrap();
        assert_eq!(CleanPoints::open(dir.path(), named).get(id(1, 0)), Some(7));
        points.set_back(id(1, 0), 8).unwrap();
        assert_eq!(points.get(id(1, 0)), Some(7), "only back");
    }

    #[test]
    fn a_deleted_topic_leaves_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let points = CleanPoints::open(dir.path(), named);
        points.set(id(1, 0), &"a".into(), 42).unwrap();
        points.forget(id(1, 0).topic).unwrap();
        assert_eq!(CleanPoints::open(dir.path(), named).get(id(1, 0)), None);
        points.set(id(1, 0), &"a".into(), 42).unwrap();
        assert_eq!(CleanPoints::open(dir.path(), named).get(id(1, 0)), None, "a cleaning ended late");
        // One that was not believed when it was read goes as well.
        points.set(id(2, 0), &"b".into(), 9).unwrap();
        CleanPoints::open(dir.path(), |_| None).forget(TopicId::from_bytes([9; 16])).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("cleaner-offset-checkpoint")).unwrap(), "0\n0\n");
    }

    #[test]
    fn a_file_that_cannot_be_read_costs_a_cleaning() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cleaner-offset-checkpoint"), "0\n9\na 0 42\n").unwrap();
        assert_eq!(CleanPoints::open(dir.path(), named).get(id(1, 0)), None);
    }
}
