//! Names of partition directories and segment files, written and parsed.

use std::path::{Path, PathBuf};

use super::FILE_NAME_BYTES_MAX;
use crate::types::TopicId;

/// The directory of a live partition, e.g. `orders-3`.
pub fn partition_dir(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The name a deleted partition's directory gets until it is unlinked: `<topic>-<n>.<id>-delete`.
///
/// `unique` keeps two deletions of the same name apart; the topic's id does. A long topic name is cut so that the whole
/// stays a legal file name, as Kafka does.
pub fn deleted_dir(topic: &str, partition: i32, unique: TopicId) -> String {
    capped_dir(topic, partition, unique, DELETE)
}

/// The name of a directory that belongs to nobody known: `<topic>-<n>.<id>-stray`.
pub fn stray_dir(topic: &str, partition: i32, unique: TopicId) -> String {
    capped_dir(topic, partition, unique, STRAY)
}

fn capped_dir(topic: &str, partition: i32, unique: TopicId, suffix: &str) -> String {
    let id = u128::from_be_bytes(*unique.as_bytes());
    let tail = format!("-{partition}.{id:032x}{suffix}");
    let mut room = FILE_NAME_BYTES_MAX.saturating_sub(tail.len()).min(topic.len());
    while !topic.is_char_boundary(room) {
        room -= 1;
    }
    let (head, _) = topic.split_at(room);
    format!("{head}{tail}")
}

/// A directory name of Kafka's, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirName<'a> {
    /// The topic's name; of a deleted or stray directory perhaps cut short.
    pub topic: &'a str,
    /// The partition's index.
    pub partition: i32,
    /// What stands in the directory.
    pub kind: DirKind,
}

/// What a partition directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirKind {
    /// A partition.
    Live,
    /// Deleted, still to be unlinked.
    Deleted,
    /// Set aside because nobody knows it.
    Stray,
    /// Kafka's copy of a partition that moves between disks; never ours.
    Future,
}

/// Takes a directory name apart; `None` if it is not a partition's.
pub fn parse_dir(name: &str) -> Option<DirName<'_>> {
    let suffixed = [(DELETE, DirKind::Deleted), (STRAY, DirKind::Stray), (FUTURE, DirKind::Future)];
    for (suffix, kind) in suffixed {
        if let Some(rest) = name.strip_suffix(suffix) {
            // A live partition's name ends in digits, so a suffixed name is never one.
            let (rest, unique) = rest.rsplit_once('.')?;
            if unique.is_empty() {
                return None;
            }
            let (topic, partition) = split_partition(rest)?;
            return Some(DirName { topic, partition, kind });
        }
    }
    let (topic, partition) = split_partition(name)?;
    Some(DirName { topic, partition, kind: DirKind::Live })
}

fn split_partition(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    let canonical = partition == "0" || !partition.starts_with('0');
    if topic.is_empty() || !digits || !canonical {
        return None;
    }
    Some((topic, partition.parse().ok()?))
}

/// The files that go by an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// Record batches; the offset is the base offset.
    Log,
    /// Offset index.
    Index,
    /// Time index.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Kafka's producer snapshot; the offset is the first one that it does not cover.
    Snapshot,
    /// Our producer file with five batches for each producer; the offset as for [`FileKind::Snapshot`].
    Producers,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Log, Self::Index, Self::TimeIndex, Self::TxnIndex, Self::Snapshot, Self::Producers];

    /// The file name's extension, with its dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
            Self::Producers => ".producers",
        }
    }
}

/// What a suffix after the extension says of a file (Kafka's rules for what a crash leaves behind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    /// In use.
    Live,
    /// `.deleted`: out of use, to be unlinked after a grace period.
    Deleted,
    /// `.cleaned`: compaction's output, unfinished; dropped.
    Cleaned,
    /// `.swap`: compaction's output, complete; its swap is finished.
    Swap,
    /// `.tmp`: half-written replacement; dropped.
    Temp,
}

impl FileState {
    /// The suffix.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
            Self::Temp => super::TEMP_SUFFIX,
        }
    }
}

/// A segment file's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentFileName {
    /// The offset in the name.
    pub offset: i64,
    /// The extension.
    pub kind: FileKind,
    /// The suffix.
    pub state: FileState,
}

impl SegmentFileName {
    /// The same file in another state.
    #[must_use]
    pub fn with_state(self, state: FileState) -> Self {
        Self { state, ..self }
    }

    /// The path of the file in a partition's directory.
    pub fn path_in(&self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }
}

/// `<offset, 20 digits><extension><suffix>`.
impl std::fmt::Display for SegmentFileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:020}{}{}", self.offset, self.kind.extension(), self.state.suffix())
    }
}

/// The name of a live segment file, e.g. `00000000000000000042.log`.
pub fn segment_file(offset: i64, kind: FileKind) -> String {
    SegmentFileName { offset, kind, state: FileState::Live }.to_string()
}

/// The path of a live segment file in a partition's directory.
pub fn segment_file_in(dir: &Path, offset: i64, kind: FileKind) -> PathBuf {
    dir.join(segment_file(offset, kind))
}

/// Takes a segment file's name apart; `None` if it is none.
pub fn parse_file(name: &str) -> Option<SegmentFileName> {
    let (digits, rest) = name.split_at_checked(OFFSET_DIGITS)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let offset = digits.parse().ok()?;
    for kind in FileKind::ALL {
        let Some(suffix) = rest.strip_prefix(kind.extension()) else { continue };
        let state = STATES.into_iter().find(|state| state.suffix() == suffix);
        if let Some(state) = state {
            return Some(SegmentFileName { offset, kind, state });
        }
    }
    None
}

const STATES: [FileState; 5] =
    [FileState::Live, FileState::Deleted, FileState::Cleaned, FileState::Swap, FileState::Temp];
const OFFSET_DIGITS: usize = 20;
const DELETE: &str = "-delete";
const STRAY: &str = "-stray";
const FUTURE: &str = "-future";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(partition_dir("orders", 3), "orders-3");
        assert_eq!(segment_file(42, FileKind::TimeIndex), "00000000000000000042.timeindex");
        assert_eq!(segment_file(i64::MAX, FileKind::Log), "09223372036854775807.log");
        let id = TopicId::from_bytes([0xab; 16]);
        assert_eq!(deleted_dir("orders", 3, id), "orders-3.abababababababababababababababab-delete");
        assert_eq!(stray_dir("a.b-c", 0, id), "a.b-c-0.abababababababababababababababab-stray");
    }

    #[test]
    fn a_long_topic_is_cut_so_that_the_name_stays_legal() {
        let topic = "t".repeat(249);
        for name in [deleted_dir(&topic, 1_000, TopicId::ZERO), stray_dir(&topic, i32::MAX, TopicId::ZERO)] {
            assert_eq!(name.len(), FILE_NAME_BYTES_MAX);
            let parsed = parse_dir(&name).unwrap();
            assert!(topic.starts_with(parsed.topic) && parsed.topic.len() > 190);
        }
        assert_eq!(parse_dir(&deleted_dir(&topic, 1_000, TopicId::ZERO)).unwrap().partition, 1_000);
    }

    #[test]
    fn strangers_are_not_taken_for_partitions() {
        for name in
            ["lost+found", "orders", "orders-", "-3", "orders-x", "orders-03", "orders-99999999999", ".lock"]
        {
            assert_eq!(parse_dir(name), None, "{name}");
        }
        assert_eq!(parse_dir("orders-3.-delete"), None, "an id must stand before the suffix");
        // A topic may itself be called "x-delete": its partition's name ends in digits.
        let own = parse_dir("x-delete-0").unwrap();
        assert_eq!((own.topic, own.kind), ("x-delete", DirKind::Live));
    }

    #[test]
    fn strangers_are_not_taken_for_segments() {
        for name in
            ["42.log", "00000000000000000042", "00000000000000000042.logx", "0000000000000000004x.log"]
        {
            assert_eq!(parse_file(name), None, "{name}");
        }
        assert_eq!(parse_file("99999999999999999999.log"), None, "past the largest offset");
        assert_eq!(parse_file("0000000000000000004é.log"), None, "a boundary inside a character");
    }

    proptest! {
        #[test]
        fn every_name_is_parsed_back(
            topic in "[a-zA-Z0-9._-]{1,249}", partition in 0..i32::MAX, id: [u8; 16],
            offset in 0..i64::MAX, kind in 0..6_usize, state in 0..5_usize,
        ) {
            let live = partition_dir(&topic, partition);
            prop_assert_eq!(parse_dir(&live), Some(DirName { topic: &topic, partition, kind: DirKind::Live }));
            let deleted = deleted_dir(&topic, partition, TopicId::from_bytes(id));
            let parsed = parse_dir(&deleted).unwrap();
            prop_assert!(topic.starts_with(parsed.topic));
            prop_assert_eq!((parsed.partition, parsed.kind), (partition, DirKind::Deleted));
            let file = SegmentFileName { offset, kind: FileKind::ALL[kind], state: STATES[state] };
            prop_assert_eq!(parse_file(&file.to_string()), Some(file));
        }
    }
}
