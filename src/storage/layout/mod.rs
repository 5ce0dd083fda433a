//! Names in the data directory: Kafka's own, byte for byte where Kafka has one.
//!
//! ```text
//! data_dir/
//!   .lock                      who holds the directory
//!   meta.properties            cluster, node and directory id, format
//!   streamd.manifest           what is on disk (ours)
//!   <topic>-<n>/               one partition
//!     partition.metadata       the topic's id
//!     leader-epoch-checkpoint
//!     damaged-ranges           what of it is never served, if anything is (ours)
//!     import-not-finished      marks what an import left that was cut short; removed (ours)
//!     <base, 20 digits>.log .index .timeindex .txnindex .snapshot .producers
//!   <topic>-<n>.<id>-delete/   a deleted partition on its way out
//!   <topic>-<n>.<id>-stray/    a directory that nobody knows; never served, never unlinked
//! ```

mod meta_properties;
mod names;
mod partition_metadata;

pub use meta_properties::{MetaProperties, WrittenBy};
pub use names::{
    DirKind, DirName, FileKind, FileState, SegmentFileName, deleted_dir, parse_dir, parse_file,
    partition_dir, segment_file, segment_file_in, stray_dir,
};
pub use partition_metadata::{encode_partition_metadata, read_partition_metadata};

/// The lock file, by Kafka's name.
pub const LOCK_FILE: &str = ".lock";
/// Identity of the directory (Kafka's `MetaProperties`).
pub const META_PROPERTIES: &str = "meta.properties";
/// The manifest.
pub const MANIFEST: &str = "streamd.manifest";
/// A manifest that could not be read, set aside.
pub const MANIFEST_DAMAGED: &str = "streamd.manifest.damaged";
/// A partition's topic id (Kafka's `PartitionMetadataFile`).
pub const PARTITION_METADATA: &str = "partition.metadata";
/// A partition's leader epochs and where each began.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// The damaged stretches of a partition (ours).
pub const QUARANTINE: &str = "damaged-ranges";
/// Marks a partition's directory as one that an import has not finished (ours).
pub const IMPORTING: &str = "import-not-finished";
/// Kafka's text checkpoints at the root, written at a clean stop for Kafka's own tools.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The first readable offsets, in Kafka's text form.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// The high watermarks, in Kafka's text form.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Up to where compacted logs were cleaned, in Kafka's text form.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
/// Suffix of a file that is being written, to be renamed over the one it replaces.
pub const TEMP_SUFFIX: &str = ".tmp";
/// The longest file name, in bytes (ext4, XFS, and what Kafka assumes).
pub const FILE_NAME_BYTES_MAX: usize = 255;
