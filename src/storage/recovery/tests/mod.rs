//! Crash images: what a kill or a power cut may leave of a log, and what recovery makes of it (architecture 2.2).
//! Where a rule could be broken unnoticed, a negative control breaks it.

use std::fs;

use super::*;
use crate::config::topic::TopicSettings;
use crate::record::batch::{BatchHeader, seal, stamp};
use crate::storage::layout::segment_file;
use crate::storage::log::{Opened, ReadError};
use crate::storage::testing::*;

mod damage;
mod emptied;
mod hints;
mod no_row;
mod opening;
mod side_files;
mod tail;
mod vouched;

/// Batches of two records each, `batches` of them, in segments of about five; the last three segments are past the
/// checkpoint if there is one.
fn log_of(batches: i64, checkpoint_at: Option<i64>) -> (Rig, Opened) {
    let mut rig = Rig::new(TopicSettings {
        segment_bytes: 1_500,
        index_interval_bytes: 300,
        ..TopicSettings::default()
    });
    let mut opened = rig.open();
    for n in 0..batches {
        append_rolling(&mut opened.writer, plain(2 * n, 2, 100));
        if checkpoint_at == Some(n + 1) {
            checkpoint(&mut rig, &opened, None).unwrap();
        }
    }
    (rig, opened)
}

/// Where each batch ends in the file of the segment at `base`, beginning with 0.
fn ends_in(rig: &Rig, base: i64) -> Vec<u64> {
    let bytes = rig.log_bytes(base);
    let mut ends = vec![0];
    while let Some(rest) = bytes.get(size(*ends.last().unwrap())..).filter(|rest| !rest.is_empty()) {
        ends.push(ends.last().unwrap() + BatchHeader::parse(rest).unwrap().total_len() as u64);
    }
    ends
}

fn size(n: impl TryInto<usize, Error: std::fmt::Debug>) -> usize {
    n.try_into().unwrap()
}

fn bases(opened: &Opened) -> Vec<i64> {
    opened.reader.segments().iter().map(|segment| segment.base).collect()
}

/// The log still takes appends, gives them the next offsets, and a second recovery finds them.
fn goes_on(rig: &Rig, mut opened: Opened) {
    let end = opened.reader.end();
    append(&mut opened.writer, &[plain(end, 3, 50)]);
    assert_eq!(
        opened.reader.read_blocking(end, None, 1 << 20, end + 3, true).unwrap().next.offset(),
        end + 3
    );
    drop(opened);
    assert_eq!(rig.open().reader.end(), end + 3);
}

/// Rewrites the segment at `base` with each batch's offset passed through `place`.
fn replace_offsets(rig: &Rig, base: i64, place: impl Fn(i64) -> Option<i64>) {
    let bytes = rig.log_bytes(base);
    let mut out = Vec::new();
    for pair in ends_in(rig, base).windows(2) {
        let mut batch = bytes[size(pair[0])..size(pair[1])].to_vec();
        let header = BatchHeader::parse(&batch).unwrap();
        if let Some(offset) = place(header.base_offset) {
            stamp(&mut batch, offset, header.partition_leader_epoch);
            out.extend_from_slice(&batch);
        }
    }
    fs::write(rig.path(base, FileKind::Log), out).unwrap();
}

fn row_at_start(rig: &Rig) -> Arc<PartitionRow> {
    // A partition that was never checkpointed: its first row comes with a deletion.
    let mut image = rig.image();
    image.row = None;
    image.open().log.advance_start(1).row().unwrap().unwrap()
}
