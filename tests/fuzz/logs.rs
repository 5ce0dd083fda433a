//! Fuzzing what lies below the protocol: produced batches, and the recovery of a segment file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use streamd::config::TopicSettings;
use streamd::config::topic::Compression;
use streamd::record::batch::{BatchView, stamp};
use streamd::record::build::{BatchBuilder, NewRecord};
use streamd::record::check::{CheckRules, check};
use streamd::storage::files::FileCache;
use streamd::storage::health::DirHealth;
use streamd::storage::layout;
use streamd::storage::log::{self, OpenSpec, Replayed};
use streamd::types::{Clock, Codec, TopicId, TopicPartition};

const ID: TopicPartition = TopicPartition { topic: TopicId::from_bytes([7; 16]), partition: 0 };
const NOW: i64 = 1_700_000_000_000;

/// What a Produce request holds for one partition. The first byte chooses the topic's settings. What is accepted must be
/// a whole, sound batch that every consumer can read.
pub(crate) fn batches(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let settings = TopicSettings {
        compact: choice & 1 != 0,
        log_append_time: choice & 2 != 0,
        compression: (choice & 4 != 0).then_some(Compression { codec: Codec::Lz4, level: 1 }),
        ..TopicSettings::default()
    };
    let rules = CheckRules::new(&settings, "t", 0, 9);
    let Ok(checked) = check(Some(Bytes::copy_from_slice(bytes)), &rules, NOW) else { return };
    let view = BatchView::parse(&checked.bytes).expect("an accepted batch is whole");
    assert!(view.crc_ok(), "an accepted batch has a right checksum");
    assert_eq!(*view.header(), checked.header);
    let records = view.records(rules.inflated_max_bytes()).expect("an accepted batch inflates");
    let mut count = 0;
    for record in &records {
        let record = record.expect("an accepted batch reads to its last record");
        assert_eq!(record.offset_delta, count, "offsets count up");
        assert!(!settings.compact || record.key.is_some(), "a compacted topic has keys");
        count += 1;
    }
    assert_eq!(count, checked.header.records_count);
}

/// A segment file with these bytes, as a crash may leave it. Recovery keeps a readable prefix, and a second recovery
/// keeps the same.
pub(crate) fn recovery(input: &[u8]) {
    let root = tempfile::tempdir().expect("a temp dir");
    let dir = root.path().join("t-0");
    fs::create_dir(&dir).expect("the partition's directory");
    fs::write(dir.join(layout::PARTITION_METADATA), layout::encode_partition_metadata(ID.topic))
        .expect("its metadata");
    fs::write(dir.join("00000000000000000000.log"), input).expect("its log");
    let first = recover(&dir);
    assert_eq!(recover(&dir), first, "a second recovery finds what the first one left");
}

/// Opens the log after an unclean stop and reads all of it; returns where it begins and ends.
fn recover(dir: &Path) -> (i64, i64) {
    let spec = OpenSpec {
        dir: dir.into(),
        id: ID,
        topic: "t".into(),
        settings: Arc::default(),
        row: None,
        clean: false,
        log_start: 0,
        sync_on_open: false,
        settled: false,
        kept_bytes: 0,
        files: FileCache::new(16, 0),
        health: DirHealth::new(),
        leader_epoch: i32::MAX,
        clock: Clock::manual(NOW),
    };
    let opened = log::open(spec, &mut |_| Replayed::Sound).expect("a damaged log opens");
    let (start, end) = (opened.reader.start(), opened.reader.end());
    let mut next = start;
    let damaged = !opened.report.damage.is_empty();
    let read = opened.reader.for_each_batch(start, end, &mut |batch| {
        assert!(batch.crc_ok(), "a torn batch was kept");
        assert!(batch.header().base_offset >= next, "offsets fell");
        next = batch.header().next_offset();
        true
    });
    assert!(damaged || (read.is_ok() && next == end), "{read:?}: {next} is not the end {end}");
    (start, end)
}

/// Batches of every codec, each behind a byte that chooses settings.
pub(crate) fn batch_seeds() -> Vec<(String, Vec<u8>)> {
    Codec::ALL.iter().map(|&codec| (codec.name().to_owned(), [&[0][..], &batch(codec, 3)].concat())).collect()
}

/// Logs that are whole, cut, followed by zeros, or broken in the middle.
pub(crate) fn log_seeds() -> Vec<(String, Vec<u8>)> {
    let mut whole = Vec::new();
    for n in 0..4 {
        let mut bytes = batch(if n % 2 == 0 { Codec::None } else { Codec::Snappy }, 3);
        stamp(&mut bytes, n * 3, 0);
        whole.extend(bytes);
    }
    let cut = whole[..whole.len() - 20].to_vec();
    let zeros = [&whole[..], &[0; 100]].concat();
    let mut broken = whole.clone();
    broken[150] ^= 1;
    [("whole", whole), ("cut", cut), ("zeros", zeros), ("broken", broken), ("empty", Vec::new())]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into()
}

fn batch(codec: Codec, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(Compression { codec, level: 1 });
    for n in 0..records {
        let value = [b'v'; 40];
        let value = Some(&value[..10 + n]);
        builder.push(&NewRecord { timestamp: NOW, key: Some(b"k"), value, headers: &[] });
    }
    builder.build().expect("a small batch").to_vec()
}
