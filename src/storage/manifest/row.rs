//! What the manifest says of one partition.

use std::sync::Arc;

use crate::storage::txn_index::AbortedSum;
use crate::types::{Timestamp, TopicPartition};

/// One partition's row. Rows are absolute: a later one replaces an earlier one, and losing the latest is only older news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRow {
    /// Which partition.
    pub id: TopicPartition,
    /// The topic's name, for the directory's name; shared by the rows of a topic.
    pub topic: Arc<str>,
    /// The first offset that may be read.
    pub log_start: i64,
    /// Up to where every file of the partition is right.
    pub checkpoint: Checkpoint,
    /// The segments at the time of the checkpoint, by rising base offset; the last one was active. None: the manifest
    /// was lost, and recovery must allow for anything that an earlier row may have known.
    pub segments: Vec<SegmentRow>,
    /// Whether a producer file stands at the checkpoint's offset. Without one there was no producer to remember.
    pub producers: bool,
}

impl PartitionRow {
    /// Bytes of its `.log` files, as far as the checkpoint knew them.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// The promise of a row: all bytes below this place, and every file that describes them, are on disk and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The next offset after the last batch that is vouched for.
    pub offset: i64,
    /// The base offset of the segment that `position` lies in.
    pub segment: i64,
    /// The byte in that segment's `.log` at which recovery begins to scan.
    pub position: u64,
    /// The largest record timestamp of that segment below `position`; -1 for none.
    pub max_timestamp: Timestamp,
}

impl Checkpoint {
    /// Nothing is vouched for: recovery reads the whole log.
    pub const NONE: Self = Self { offset: 0, segment: 0, position: 0, max_timestamp: -1 };

    /// Whether this is [`Checkpoint::NONE`].
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// One segment, as the row's checkpoint knew it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRow {
    /// Its base offset, which is its name.
    pub base: i64,
    /// Length of its `.log` in bytes; of the active segment, the part below the checkpoint.
    pub bytes: u64,
    /// The largest record timestamp in it; -1 for none.
    pub max_timestamp: Timestamp,
    /// The broker's clock at the last append; -1 if unknown. Retention by time takes the smaller of the two.
    pub appended_at: Timestamp,
    /// What its `.txnindex` holds; of the active segment, of the part below the checkpoint. `None` if nothing was aborted
    /// in it, or nothing is known of that.
    pub aborted: Option<AbortedSum>,
}
