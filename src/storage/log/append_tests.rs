//! When segments roll, what a roll leaves on disk, and appends that fail.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::storage::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::storage::layout::FileKind;
use crate::storage::testing::*;
use crate::types::offset::saturate_i64;

fn placed(writer: &LogWriter, bytes: &Bytes) -> BatchHeader {
    BatchHeader { base_offset: writer.end(), ..BatchHeader::parse(bytes).unwrap() }
}

#[test]
fn s91_a_segment_rolls_before_it_would_pass_segment_bytes() {
    let bytes = plain(0, 1, 500);
    let len = saturate_i64(bytes.len());
    let rig = Rig::new(TopicSettings {
        segment_bytes: i32::try_from(3 * len).unwrap(),
        ..TopicSettings::default()
    });
    let mut writer = rig.open().writer;
    assert!(!writer.should_roll(0, &placed(&writer, &bytes), NOW), "there is no segment yet");
    append(&mut writer, &[bytes.clone(), bytes.clone()]);
    assert!(!writer.should_roll(0, &placed(&writer, &bytes), NOW), "the third fits exactly");
    assert!(writer.should_roll(1, &placed(&writer, &bytes), NOW), "not behind one more byte");
    // A batch that fits into no segment gets one for itself.
    let huge = plain(0, 1, 5_000);
    assert!(writer.should_roll(0, &placed(&writer, &huge), NOW));
    writer.roll(None, NOW).unwrap();
    assert!(!writer.should_roll(0, &placed(&writer, &huge), NOW), "an empty segment never rolls");
}

#[test]
fn s91_a_segment_rolls_by_the_time_of_its_data() {
    let rig = Rig::new(TopicSettings { segment_ms: 1_000, ..TopicSettings::default() });
    let opened = rig.open();
    let mut writer = opened.writer;
    append(&mut writer, &[batch_of(&[5_000, 6_000], 1, 0), batch_of(&[100], 1, 0)]);
    let at = |writer: &LogWriter, timestamp: i64, now: i64| {
        writer.should_roll(0, &placed(writer, &batch_of(&[timestamp], 1, 0)), now)
    };
    // It counts from the largest timestamp of the first batch; the wall clock does not matter.
    assert!(!at(&writer, 7_000, NOW + 1_000_000));
    assert!(at(&writer, 7_001, NOW));
    assert!(!at(&writer, 50, NOW));
    // The same after a restart, when the first batch has to be read.
    drop(writer);
    let writer = rig.open().writer;
    assert!(!at(&writer, 7_000, NOW) && at(&writer, 7_001, NOW));
}

#[test]
fn s91_a_compacted_log_rolls_in_time_for_its_compaction_lag() {
    let compact = TopicSettings { compact: true, max_compaction_lag_ms: 500, ..TopicSettings::default() };
    for (settings, rolls) in [(compact.clone(), true), (TopicSettings { compact: false, ..compact }, false)] {
        let rig = Rig::new(settings);
        let mut writer = rig.open().writer;
        append(&mut writer, &[batch_of(&[5_000], 1, 0)]);
        assert_eq!(writer.should_roll(0, &placed(&writer, &batch_of(&[5_501], 1, 0)), NOW), rolls);
    }
}

#[test]
fn s91_without_timestamps_the_wall_clock_decides() {
    let rig = Rig::new(TopicSettings { segment_ms: 1_000, ..TopicSettings::default() });
    let mut writer = rig.open().writer;
    append(&mut writer, &[batch_of(&[-1], 1, 0)]);
    let next = placed(&writer, &batch_of(&[-1], 1, 0));
    assert!(!writer.should_roll(0, &next, NOW + 1_000));
    assert!(writer.should_roll(0, &next, NOW + 1_001));
}

#[test]
fn s91_jitter_brings_rolls_forward_and_not_all_at_once() {
    let mut rolls_at = Vec::new();
    for base in [0_i64, 1, 2, 3] {
        let rig = Rig::new(TopicSettings {
            segment_ms: 100_000,
            segment_jitter_ms: 50_000,
            ..TopicSettings::default()
        });
        let mut writer = rig.open().writer;
        for n in 0..=base {
            writer.roll(None, NOW).unwrap();
            append(&mut writer, &[batch_of(&[n], 1, 0)]);
        }
        let waits = |ms: i64| !writer.should_roll(0, &placed(&writer, &batch_of(&[base + ms], 1, 0)), NOW);
        assert!(waits(50_000) && !waits(100_001));
        rolls_at.push((50_000..=100_001).find(|ms| !waits(*ms)).unwrap());
    }
    rolls_at.dedup();
    assert!(rolls_at.len() > 1, "{rolls_at:?}");
}

#[test]
fn s91_a_segment_rolls_when_an_index_is_full_or_offsets_pass_32_bits() {
    let rig = Rig::new(TopicSettings {
        segment_index_bytes: 120,
        index_interval_bytes: 0,
        ..TopicSettings::default()
    });
    let mut opened = rig.open();
    let mut rolled_after = 0;
    for n in 0..30 {
        let bytes = plain(n, 1, 10);
        if opened.writer.should_roll(0, &placed(&opened.writer, &bytes), NOW) {
            rolled_after = n;
            break;
        }
        append(&mut opened.writer, &[bytes]);
    }
    assert_eq!(rolled_after, 10, "nine time entries, and one kept for the seal");
    let far = BatchHeader { last_offset_delta: i32::MAX, ..placed(&opened.writer, &plain(0, 1, 1)) };
    assert!(opened.writer.should_roll(0, &far, NOW));
    let bytes = plain(0, 1, 1);
    let batch = AppendBatch { bytes: &bytes, header: &far, base_offset: far.base_offset, leader_epoch: 0 };
    assert!(matches!(opened.writer.append(&[batch], NOW), Err(AppendError::SegmentFull { .. })));
}

#[test]
fn a_sealed_segment_is_what_kafka_expects() {
    let rig = Rig::new(TopicSettings { index_interval_bytes: 400, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..20 {
        // Times jump back and forth.
        append(&mut opened.writer, &[batch_of(&[1_000 + (n * 7) % 20, 3], 100, 0)]);
    }
    let len = opened.reader.size_bytes();
    opened.writer.roll(Some(b"producers"), NOW).unwrap();
    let metadata = fs::metadata(rig.path(0, FileKind::Log)).unwrap();
    assert_eq!(metadata.len(), len);
    assert!(metadata.blocks() * 512 < len + 8_192, "the reserve is gone");
    assert_eq!(fs::read(rig.path(40, FileKind::Snapshot)).unwrap(), b"producers");
    let headers: Vec<_> = read_all(&opened.reader)
        .into_iter()
        .scan(0, |at, (_, bytes)| {
            let header = BatchHeader::parse(&bytes).unwrap();
            let position = *at;
            *at += bytes.len();
            Some((position, header))
        })
        .collect();
    // As kafka-dump-log checks them: each entry's position leads to the batch with its offset.
    let index = fs::read(rig.path(0, FileKind::Index)).unwrap();
    assert!(index.len() >= 8 * 5 && index.len().is_multiple_of(8));
    for entry in index.chunks(8).map(OffsetEntry::decode) {
        let (_, header) = headers.iter().find(|(position, _)| *position == entry.position as usize).unwrap();
        assert_eq!(header.last_offset(), i64::from(entry.relative));
    }
    let times = fs::read(rig.path(0, FileKind::TimeIndex)).unwrap();
    let times: Vec<_> = times.chunks(12).map(TimeEntry::decode).collect();
    assert!(times.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp), "strictly rising: {times:?}");
    for entry in &times {
        let (_, header) =
            headers.iter().find(|(_, header)| header.last_offset() == i64::from(entry.relative)).unwrap();
        assert_eq!(header.max_timestamp, entry.timestamp);
    }
    assert_eq!(times.last().unwrap().timestamp, 1_019, "the largest of all, though it is not the last");
}

#[test]
fn batches_that_do_not_follow_are_refused() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 3, 1)]);
    let bytes = plain(0, 2, 1);
    let header = BatchHeader::parse(&bytes).unwrap();
    let at = |base_offset| AppendBatch { bytes: &bytes, header: &header, base_offset, leader_epoch: 0 };
    for batches in [&[at(2)][..], &[at(4)], &[at(3), at(3)], &[at(3), at(6)]] {
        let error = opened.writer.append(batches, NOW).unwrap_err();
        assert!(matches!(error, AppendError::NotNext { .. }), "{error}");
    }
    opened.writer.append(&[at(3), at(5)], NOW).unwrap();
    assert_eq!(read_all(&opened.reader).len(), 3);
}

#[test]
fn space_is_reserved_ahead_and_grows_with_the_segment() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    let blocks = || fs::metadata(rig.path(0, FileKind::Log)).unwrap().blocks() * 512;
    append(&mut opened.writer, &[plain(0, 1, 10)]);
    assert!((64 << 10..100 << 10).contains(&blocks()), "{}", blocks());
    for n in 1..=4 {
        append(&mut opened.writer, &[plain(n, 1, 100_000)]);
    }
    assert!((500 << 10..1_200 << 10).contains(&blocks()), "{}", blocks());
    assert_eq!(
        fs::metadata(rig.path(0, FileKind::Log)).unwrap().len(),
        opened.reader.size_bytes(),
        "the length stays true"
    );
    opened.writer.reserve(3 << 20, NOW).unwrap();
    assert!(blocks() >= 3 << 20);
    opened.writer.close().unwrap();
    assert!(blocks() < 420 << 10, "{}", blocks());
    assert!(matches!(opened.writer.reserve(1, NOW), Err(AppendError::Closed { .. })));
}

#[test]
fn what_a_log_of_the_brokers_own_keeps_reserved_outlives_stops_and_crashes() {
    const KEPT: u64 = 128 << 10;
    let mut rig = Rig::new(TopicSettings::default());
    rig.kept_bytes = KEPT;
    let blocks = |rig: &Rig| fs::metadata(rig.path(0, FileKind::Log)).unwrap().blocks() * 512;
    let mut end = 0;
    for clean in [true, false, true] {
        let mut opened = rig.open();
        assert_eq!(opened.reader.end(), end);
        for _ in 0..20 {
            append(&mut opened.writer, &[plain(end, 1, 10_000)]);
            end += 1;
        }
        let held = blocks(&rig) - rig.log_bytes(0).len() as u64;
        assert!((KEPT / 2..=2 * KEPT).contains(&held), "{held}: always some, never much");
        if clean {
            opened.writer.close().unwrap();
        }
        drop(opened);
        assert!(blocks(&rig) - rig.log_bytes(0).len() as u64 >= KEPT / 2, "clean: {clean}");
    }
    // The negative control: other logs give it back.
    rig.kept_bytes = 0;
    rig.open();
    assert!(blocks(&rig) - (rig.log_bytes(0).len() as u64) < 8192);
}

#[test]
fn what_is_kept_reserved_is_there_when_nothing_else_is_free() {
    let Some((dir, _disk)) = small_disk(1 << 20) else {
        eprintln!("skipped: this test mounts a file system, and may not");
        return;
    };
    for clean in [true, false] {
        let mut rig = Rig::new(TopicSettings::default());
        rig.kept_bytes = 128 << 10;
        rig.dir = dir.path().join(format!("own-{clean}")).into();
        let mut opened = rig.open();
        append(&mut opened.writer, &[plain(0, 1, 100)]);
        if clean {
            opened.writer.close().unwrap();
        }
        drop(opened);
        let filler = dir.path().join("filler");
        let _full = fs::write(&filler, vec![1; 1 << 20]).unwrap_err();
        let mut opened = rig.open();
        for offset in 1..60 {
            append(&mut opened.writer, &[plain(offset, 1, 1_000)]);
        }
        assert_eq!(read_all(&opened.reader).len(), 60, "clean: {clean}");
        let more = append_at(&mut opened.writer, &[plain(60, 1, 300_000)], 0, NOW);
        assert!(matches!(more, Err(AppendError::Full { .. })), "the disk is full after all");
        fs::remove_file(filler).unwrap();
    }
}

#[test]
fn a_reservation_makes_the_first_file_and_an_empty_log_of_it() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    opened.writer.reserve(100_000, NOW).unwrap();
    assert_eq!((opened.reader.end(), opened.reader.size_bytes()), (0, 0));
    drop(opened);
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 10)]);
    assert_eq!(read_all(&opened.reader).len(), 1);
}

/// Makes every write to the active segment fail: its descriptor only reads.
fn break_writes(rig: &Rig, opened: &Opened) {
    let segment = opened.log.state.lock().segments.last().unwrap().clone();
    assert!(segment.try_close() || segment.try_close(), "synced and unused");
    segment.begin_with(fs::File::open(rig.path(segment.base(), FileKind::Log)).unwrap(), &rig.files);
}

#[test]
fn a_write_that_cannot_be_undone_takes_the_log_out_of_service_and_durable_records_stay_readable() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 2, 10)]);
    sync(&opened);
    append(&mut opened.writer, &[plain(2, 2, 10)]);
    let unsynced_end = opened.reader.end();
    let segment = opened.log.state.lock().segments.last().unwrap().clone();
    let (_, writes) = segment.unsynced().unwrap();
    segment.mark_synced(writes);
    break_writes(&rig, &opened);
    let before = rig.log_bytes(0);
    let error = append_at(&mut opened.writer, &[plain(4, 1, 10)], 0, NOW).unwrap_err();
    assert!(matches!(error, AppendError::OutOfService { .. }), "{error}");
    assert_eq!((opened.reader.end(), rig.log_bytes(0)), (unsynced_end, before), "nothing was published");
    let error = append_at(&mut opened.writer, &[plain(4, 1, 10)], 0, NOW).unwrap_err();
    assert!(matches!(error, AppendError::OutOfService { .. }), "{error}");
    let read = opened.reader.read_blocking(0, None, 1 << 20, unsynced_end, true).unwrap();
    assert_eq!(read.next.offset(), 2, "up to what is durable, and no further");
}

/// A file system of `bytes`, or `None` where the test may not mount one.
fn small_disk(bytes: u64) -> Option<(tempfile::TempDir, SmallDisk)> {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])
        .arg(dir.path())
        .stderr(std::process::Stdio::null())
        .status();
    let disk = SmallDisk(dir.path().to_path_buf());
    mounted.is_ok_and(|status| status.success()).then_some((dir, disk))
}

struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_space_and_loses_nothing() {
    let Some((dir, _disk)) = small_disk(1 << 20) else {
        eprintln!("skipped: this test mounts a file system, and may not");
        return;
    };
    let mut rig = Rig::new(TopicSettings { segment_bytes: 200_000, ..TopicSettings::default() });
    rig.dir = dir.path().join("orders-3").into();
    let mut opened = rig.open();
    let filler = dir.path().join("filler");
    fs::write(&filler, vec![1; 300_000]).unwrap();
    let mut appended = 0;
    let error = loop {
        let bytes = plain(appended, 1, 30_000);
        if opened.writer.should_roll(0, &placed(&opened.writer, &bytes), NOW)
            && let Err(error) = opened.writer.roll(None, NOW)
        {
            break error;
        }
        match append_at(&mut opened.writer, &[bytes], 0, NOW) {
            Ok(()) => appended += 1,
            Err(error) => break error,
        }
        assert!(appended < 40, "the disk is not that large");
    };
    assert!(matches!(error, AppendError::Full { .. }), "{error}");
    assert!(appended >= 15, "reserving ahead takes no more than there is: {appended}");
    assert_eq!(opened.reader.end(), appended);
    assert_eq!(read_all(&opened.reader).len(), usize::try_from(appended).unwrap());
    assert!(opened.log.failure().is_none());
    // A crash with the disk as full as it is: everything is found, index or not.
    drop(opened);
    let mut opened = rig.open();
    let last = opened.reader.segments().last().unwrap().base;
    assert_eq!((opened.reader.end(), read_all(&opened.reader).len() as i64), (appended, appended));
    // The negative control: a batch that did not reach the disk is missed.
    let image = rig.image();
    let path = image.path(last, FileKind::Log);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(image.open().reader.end(), appended - 1);
    fs::remove_file(filler).unwrap();
    append_at(&mut opened.writer, &[plain(appended, 1, 30_000)], 0, NOW).unwrap();
    drop(opened);
    assert_eq!(rig.open().reader.end(), appended + 1);
}
