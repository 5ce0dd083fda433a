//! The manifest: what is on disk and how far it is known to be right, so that a start need not read the tree.
//!
//! It is a help, not the truth (architecture 2.2): a row that is older than the files costs a longer recovery, and a
//! missing or damaged manifest makes every partition open with checkpoint 0, by the code that runs after any crash.

mod row;

pub use row::{Checkpoint, PartitionRow, SegmentRow};
