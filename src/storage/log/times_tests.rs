//! Lookups by time against a search through everything.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::topic::TopicSettings;
use crate::record::build::{BatchBuilder, NewRecord};
use crate::storage::testing::*;

fn log_append_time(records: usize, now: i64) -> Bytes {
    let mut builder = BatchBuilder::new().log_append_time(now);
    for _ in 0..records {
        builder.push(&NewRecord { timestamp: 5, value: Some(b"v"), ..NewRecord::default() });
    }
    builder.build().unwrap()
}

fn compressed(timestamps: &[i64]) -> Bytes {
    use crate::config::topic::Compression;
    use crate::types::Codec;
    let mut builder = BatchBuilder::new().compression(Compression { codec: Codec::Lz4, level: 1 });
    for timestamp in timestamps {
        builder.push(&NewRecord { timestamp: *timestamp, value: Some(&[9; 300]), ..NewRecord::default() });
    }
    builder.build().unwrap()
}

/// `(offset, timestamp)` of every record.
fn records_of(reader: &LogReader) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    for (_, bytes) in read_all(reader) {
        let batch = BatchView::parse(&bytes).unwrap();
        for record in &batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            all.push((record.offset, record.timestamp));
        }
    }
    all
}

fn check(reader: &LogReader, targets: impl IntoIterator<Item = i64>, upper: i64) {
    let start = reader.start();
    let all: Vec<_> =
        records_of(reader).into_iter().filter(|(offset, _)| (start..upper).contains(offset)).collect();
    for target in targets {
        let expected = all.iter().copied().find(|(_, timestamp)| *timestamp >= target);
        let found =
            reader.offset_for_time(target, upper).unwrap().map(|found| (found.offset, found.timestamp));
        assert_eq!(found, expected, "target {target} below {upper}");
    }
}

fn check_max(reader: &LogReader, upper: i64) {
    let max =
        records_of(reader).into_iter().filter(|(offset, _)| *offset < upper).map(|(_, time)| time).max();
    let expected = max.and_then(|max| records_of(reader).into_iter().find(|(_, time)| *time == max));
    let found = reader.max_timestamp(upper).unwrap().map(|found| (found.offset, found.timestamp));
    assert_eq!(found, expected, "below {upper}");
}

#[test]
fn s86_the_first_record_in_offset_order_that_is_late_enough_wins() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[batch_of(&[100, 90, 300, 50], 10, 0), compressed(&[200, 400, 10])]);
    append(&mut opened.writer, &[log_append_time(3, 350)]);
    append_at(&mut opened.writer, &[batch_of(&[1_000], 1, 1)], 8, NOW).unwrap();
    let reader = &opened.reader;
    check(reader, [0, 90, 91, 100, 101, 300, 301, 351, 400, 401, 1_000, 1_001], 11);
    let found = reader.offset_for_time(301, 11).unwrap().unwrap();
    assert_eq!(found, TimedOffset { offset: 5, timestamp: 400, leader_epoch: 0 });
    assert_eq!(reader.offset_for_time(500, 11).unwrap().unwrap().leader_epoch, 8);
    assert_eq!(reader.offset_for_time(500, 10).unwrap(), None, "at the bound it is not visible");
    for upper in [0, 4, 7, 10, 11] {
        check_max(reader, upper);
    }
}

#[test]
fn s39_under_log_append_time_all_records_have_the_batchs_time() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[log_append_time(3, 100), log_append_time(2, 200)]);
    assert_eq!(opened.reader.offset_for_time(100, 5).unwrap().unwrap().offset, 0);
    assert_eq!(opened.reader.offset_for_time(101, 5).unwrap().unwrap().offset, 3);
    assert_eq!(opened.reader.max_timestamp(5).unwrap().unwrap().offset, 3);
}

#[test]
fn s88_records_below_the_log_start_are_not_found() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[batch_of(&[100, 200, 300], 10, 0)]);
    let _ = opened.log.advance_start(2);
    assert_eq!(opened.reader.offset_for_time(0, 3).unwrap().unwrap().offset, 2);
}

#[test]
fn an_empty_log_has_no_times() {
    let opened = Rig::new(TopicSettings::default()).open();
    assert_eq!(opened.reader.offset_for_time(0, 0).unwrap(), None);
    assert_eq!(opened.reader.max_timestamp(0).unwrap(), None);
}

#[test]
fn a_time_index_that_lies_costs_a_walk_and_no_wrong_answer() {
    let mut rig = Rig::new(TopicSettings { index_interval_bytes: 200, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..100 {
        append(&mut opened.writer, &[batch_of(&[1_000 + n * 10], 200, 0)]);
    }
    opened.writer.roll(None, NOW).unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    let times = rig.path(0, FileKind::TimeIndex);
    for nth in 0..std::fs::metadata(&times).unwrap().len() / 12 {
        // Each entry promises its time later in the log than it is.
        rig.damage(&times, nth * 12 + 8, &u32::try_from(nth + 60).unwrap().to_be_bytes());
    }
    check(&opened.reader, (990..2_000).step_by(7), 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn s86_lookups_by_time_are_exact_to_the_record(
        batches in prop::collection::vec((prop::collection::vec(0..1_000_i64, 1..5), 0..4_u8), 1..80),
        targets in prop::collection::vec(0..1_010_i64, 1..20),
        uppers in prop::collection::vec(0..100_usize, 1..4),
        restart: bool,
    ) {
        let mut rig = Rig::new(TopicSettings { segment_bytes: 1_500, index_interval_bytes: 150, ..TopicSettings::default() });
        let mut opened = rig.open();
        let mut ends = vec![0];
        for (timestamps, kind) in &batches {
            let batch = match kind {
                0 => log_append_time(timestamps.len(), timestamps[0]),
                1 => compressed(timestamps),
                _ => batch_of(timestamps, 20, 0),
            };
            append_rolling(&mut opened.writer, batch);
            ends.push(opened.writer.end());
        }
        if restart {
            checkpoint(&mut rig, &opened, None);
            drop(opened);
            opened = rig.open();
        }
        for upper in uppers {
            let upper = ends[upper % ends.len()];
            check(&opened.reader, targets.iter().copied(), upper);
            check_max(&opened.reader, upper);
        }
    }
}
