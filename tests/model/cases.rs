//! Single cases: what stories have found, and that the disk forgets what it should.

use std::fs::{self, File};

use streamd::config::{Fsync, TopicSettings};
use streamd::record::batch::BatchHeader;
use streamd::record::{BatchBuilder, NewRecord};
use streamd::types::Clock;

use crate::disk::{Crash, Disk, Image};
use crate::node::{Node, Setting};
use crate::random::Random;

fn append(node: &Node, value: &[u8]) {
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord { timestamp: 1, value: Some(value), ..NewRecord::default() });
    let bytes = builder.build().expect("a batch");
    let header = BatchHeader::parse(&bytes).expect("a batch");
    node.partition.append_own(&[(bytes, header)]).expect("it is appended");
}

/// The first power cut leaves the first segment's name and nothing of the partition's own file, the second comes before
/// a checkpoint: the directory must still be known for the topic's.
#[test]
fn a_log_that_was_found_empty_and_nameless_keeps_what_was_synced() {
    let setting = Setting { topic: TopicSettings::default(), fsync: Fsync::Batch };
    let clock = Clock::manual(1);
    let image = Image::from([("t-0/00000000000000000000.log".to_owned(), Vec::new())]);
    let node = Node::boot(&setting, &clock, 0, &image, false);
    append(&node, b"a");
    node.sync();
    let image = node.disk.moment().image(Crash::Nothing, &mut Random::new(1));
    let node = Node::boot(&setting, &clock, 1, &image, false);
    assert_eq!(node.partition.reader().end(), 1);
}

/// A stop in order on a full disk: the last checkpoint finds no room, and nobody may take the one before it for the end.
#[test]
fn a_stop_without_a_last_checkpoint_is_not_taken_for_a_good_one() {
    let setting = Setting { topic: TopicSettings::default(), fsync: Fsync::Never };
    let clock = Clock::manual(1);
    let mut node = Node::boot(&setting, &clock, 0, &Image::new(), false);
    append(&node, b"a");
    node.sync();
    node.checkpoint();
    append(&node, b"b");
    append(&node, b"c");
    node.delete_records(3).expect("a start moves");
    // What was not synced is lost, and the log goes on behind its start, in another segment.
    let image = node.disk.moment().image(Crash::Nothing, &mut Random::new(1));
    let node = Node::boot(&setting, &clock, 1, &image, false);
    assert_eq!(node.partition.reader().end(), 3);
    append(&node, b"d");
    node.set_full(true);
    let node = node.restart(2, |_, _| {});
    assert_eq!((node.partition.log_start(), node.partition.reader().end()), (3, 4));
}

/// Negative control: a disk that keeps what nobody synced would let everything pass.
#[test]
fn the_disk_keeps_what_was_synced_and_nothing_else() {
    let temp = tempfile::tempdir().expect("a temp dir");
    let disk = Disk::with(temp.path(), &Image::from([("old".to_owned(), b"old".to_vec())]));
    let left = |crash| disk.moment().image(crash, &mut Random::new(3));
    let whole = |names: &[(&str, &str)]| -> Image {
        names.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.as_bytes().to_vec())).collect()
    };
    fs::write(temp.path().join("new"), "new").expect("a file");
    fs::rename(temp.path().join("old"), temp.path().join("older")).expect("a rename");
    assert_eq!(left(Crash::Nothing), whole(&[("old", "old")]));
    assert_eq!(left(Crash::Kill), whole(&[("older", "old"), ("new", "new")]));
    File::open(temp.path()).and_then(|dir| dir.sync_all()).expect("a sync");
    assert_eq!(
        left(Crash::Nothing),
        whole(&[("older", "old"), ("new", "")]),
        "a name is not what it stands for"
    );
    File::open(temp.path().join("new")).and_then(|file| file.sync_data()).expect("a sync");
    assert_eq!(left(Crash::Nothing), whole(&[("older", "old"), ("new", "new")]));
    let seen: Vec<Image> = (0..200)
        .map(|seed| {
            fs::write(temp.path().join("new"), "news of today").expect("a file");
            disk.moment().image(Crash::Anything, &mut Random::new(seed))
        })
        .collect();
    for some in ["new", "news", "news of today", "new\0\0"] {
        assert!(seen.contains(&whole(&[("older", "old"), ("new", some)])), "{some:?} was never left");
    }
}
