//! Crash images of a partition with an idempotent producer: whatever is left of the producer files, a batch that was
//! acknowledged is recognised when it is sent again, and none that was lost is taken for one that is there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use super::Partition;
use super::ack::NotAppended;
use super::producers::{Producers, Verdict, Word};
use super::testing::*;
use crate::config::TopicSettings;
use crate::record::batch::BatchHeader;
use crate::storage::flush::CheckpointTarget as _;
use crate::storage::layout::{FileKind, segment_file};
use crate::storage::manifest::PartitionRow;
use crate::types::{ErrorCode, TopicId};

const TOPIC: TopicId = id(1);
const PRODUCER: i64 = 7;

type Files = BTreeMap<String, Vec<u8>>;

/// What a crash finds: the files, the durable row, and producer files of other moments.
struct Crash {
    files: Files,
    row: Arc<PartitionRow>,
    /// Of the checkpoint before the last.
    older: Vec<u8>,
    /// Of a checkpoint whose row was not durable, at the end of the log.
    newer: Vec<u8>,
}

/// What is left of our file at the checkpoint, of our older one, and whether Kafka's snapshot is there.
type Case<'a> = (&'a str, Option<&'a [u8]>, Option<&'a [u8]>, bool);

const CHECKPOINT: i64 = 9;
const END: i64 = 12;

fn file_at(offset: i64) -> String {
    segment_file(offset, FileKind::Producers)
}

fn batch(sequence: i64) -> bytes::Bytes {
    record_of(PRODUCER, i32::try_from(sequence).unwrap(), b"value")
}

/// Twelve batches, each with its offset for a sequence: a checkpoint at 5, a roll at 7, a checkpoint at 9, and one at 12
/// that wrote its files and no row.
fn crash() -> Crash {
    let rig = Rig::new(TopicSettings::default());
    // A roll asks it for a checkpoint of its own, which may come at any moment.
    rig.table.environment().checkpointer.stop();
    let partition = rig.open("t", TOPIC);
    let produce = |range: std::ops::Range<i64>| {
        range.for_each(|sequence| assert_eq!(offset(produce(&partition, batch(sequence))), sequence));
    };
    let checkpoint = || {
        let note = partition.prepare().unwrap().unwrap();
        partition.checkpointed(&note.row);
        note.row
    };
    let dir = rig.dir("t");
    produce(0..5);
    checkpoint();
    let older = fs::read(dir.join(file_at(5))).unwrap();
    produce(5..7);
    partition.roll_segment().unwrap();
    produce(7..CHECKPOINT);
    let row = checkpoint();
    produce(CHECKPOINT..END);
    let files = files_in(&dir);
    drop(partition.prepare().unwrap().unwrap());
    let newer = fs::read(dir.join(file_at(END))).unwrap();
    assert!(row.producers && files.contains_key(&file_at(CHECKPOINT)));
    assert!(files.contains_key(&segment_file(7, FileKind::Snapshot)));
    Crash { files, row, older, newer }
}

fn open(files: &Files, row: Option<Arc<PartitionRow>>) -> (Rig, Arc<Partition>) {
    let rig = Rig::new(TopicSettings::default());
    fs::create_dir(rig.dir("t")).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(rig.dir("t").join(name), bytes).unwrap());
    if let Some(row) = row {
        rig.table.environment().rows.lock().insert(row.id, row);
    }
    let partition = rig.open("t", TOPIC);
    (rig, partition)
}

/// Sends again what a producer may send again when all up to `end` is there, and goes on. Says what is wrong.
fn faults(partition: &Arc<Partition>, end: i64) -> Vec<String> {
    let mut faults = Vec::new();
    let gap = produce(partition, batch(end + 1));
    if gap != Err(NotAppended::Refused(ErrorCode::OutOfOrderSequenceNumber)) {
        faults.push(format!("a gap behind {end}: {gap:?}"));
    }
    for sequence in (end - 5..end).chain([end, end + 1]) {
        match produce(partition, batch(sequence)) {
            Ok(appended) if appended.base_offset == sequence => {}
            other => faults.push(format!("{sequence}: {other:?}")),
        }
    }
    let held: Vec<i64> = values(partition).into_iter().map(|(offset, _)| offset).collect();
    if held != (0..end + 2).collect::<Vec<_>>() {
        faults.push(format!("the log holds {held:?}"));
    }
    faults
}

#[test]
fn s47_s49_acknowledged_batches_are_recognised_whatever_a_crash_leaves_of_the_producer_files() {
    let crash = crash();
    let newest = crash.files[&file_at(CHECKPOINT)].clone();
    let half = newest[..newest.len() / 2].to_vec();
    let mut flipped = newest.clone();
    flipped[20] ^= 4;
    let snapshot = segment_file(7, FileKind::Snapshot);
    let cases: [Case<'_>; 9] = [
        ("all that there was", Some(&newest), None, true),
        ("missing, an older one is there", None, Some(&crash.older), true),
        ("garbage, an older one is there", Some(&[0xa5; 300]), Some(&crash.older), false),
        ("empty", Some(&[]), None, true),
        ("cut short", Some(&half), None, true),
        ("a flipped bit", Some(&flipped), None, false),
        ("missing", None, None, true),
        ("missing, the snapshot too", None, None, false),
        ("both are damaged", Some(&half), Some(&flipped), false),
    ];
    for (what, newest, older, has_snapshot) in cases {
        for manifest_lost in [false, true] {
            let mut files = crash.files.clone();
            files.retain(|name, _| *name != file_at(CHECKPOINT) && (has_snapshot || *name != snapshot));
            files.extend(newest.map(|bytes| (file_at(CHECKPOINT), bytes.to_vec())));
            files.extend(older.map(|bytes| (file_at(5), bytes.to_vec())));
            let row = (!manifest_lost).then(|| Arc::clone(&crash.row));
            let (_rig, partition) = open(&files, row);
            assert_eq!(faults(&partition, END), [""; 0], "{what}, manifest lost: {manifest_lost}");
        }
    }
    // Negative control: a row that says there was no producer, when there was one, makes acknowledged batches strangers.
    let row = PartitionRow { producers: false, ..PartitionRow::clone(&crash.row) };
    let (_rig, partition) = open(&crash.files, Some(Arc::new(row)));
    assert_ne!(faults(&partition, END), [""; 0]);
}

#[test]
fn a_producer_file_past_the_checkpoint_speaks_of_batches_that_may_be_lost() {
    let crash = crash();
    let log = segment_file(7, FileKind::Log);
    let lost = {
        // The power cut took the last batch; the file that knows it had reached the disk.
        let mut files = crash.files.clone();
        let bytes = files.get_mut(&log).unwrap();
        let len = BatchHeader::parse(bytes).unwrap().total_len();
        bytes.truncate(bytes.len() - len);
        files.insert(file_at(END), crash.newer.clone());
        files
    };
    let (_rig, partition) = open(&lost, Some(Arc::clone(&crash.row)));
    assert_eq!(partition.high_watermark(), END - 1);
    assert_eq!(faults(&partition, END - 1), [""; 0]);
    // Negative control: whoever believes it acknowledges a batch that is not there.
    let believed = Producers::from_snapshot(&crash.newer).unwrap();
    let last = BatchHeader::parse(&batch(END - 1)).unwrap();
    assert!(
        matches!(believed.check(&last, &Word::default()), Verdict::Duplicate(seen) if seen.last_offset == END - 1)
    );
}
