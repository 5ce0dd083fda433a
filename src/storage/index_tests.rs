//! Index entries in RAM and in files, against a plain list.

use proptest::prelude::*;

use super::*;

fn entry(n: u32) -> OffsetEntry {
    OffsetEntry { relative: 10 * n + 9, position: 4_200 * n }
}

fn file_of<E: Entry>(entries: &[E]) -> File {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut bytes));
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file
}

#[test]
fn entries_lie_in_the_file_as_kafka_has_them() {
    let mut bytes = Vec::new();
    OffsetEntry { relative: 0x0102_0304, position: 0x0506_0708 }.encode(&mut bytes);
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    bytes.clear();
    TimeEntry { timestamp: 0x0102_0304_0506_0708, relative: 9 }.encode(&mut bytes);
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9]);
    assert_eq!(TimeEntry::decode(&bytes), TimeEntry { timestamp: 0x0102_0304_0506_0708, relative: 9 });
}

proptest! {
    #[test]
    fn bisecting_a_file_finds_what_a_scan_finds(count in 0..3_000_u32, wanted in 0..32_000_u32) {
        let entries: Vec<OffsetEntry> = (1..=count).map(entry).collect();
        let expected = entries.iter().copied().rfind(|entry| entry.relative <= wanted);
        let file = file_of(&entries);
        for wait in [Wait::Never, Wait::MayBlock] {
            prop_assert_eq!(floor::<OffsetEntry>(&file, wait, |entry| entry.relative <= wanted).unwrap(), expected);
        }
        let times: Vec<TimeEntry> = entries.iter().map(|e| TimeEntry { timestamp: i64::from(e.relative), relative: e.position }).collect();
        let found = floor::<TimeEntry>(&file_of(&times), Wait::MayBlock, |entry| entry.timestamp <= i64::from(wanted)).unwrap();
        prop_assert_eq!(found.map(|found| found.timestamp), expected.map(|found| i64::from(found.relative)));
    }

    #[test]
    fn entries_are_kafkas_wherever_flushes_and_restarts_fall(
        batches in prop::collection::vec((1..2_000_u64, 0..50_i64), 1..200),
        flush_every in 1..40_u32,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = IndexTail::new();
        let (mut offsets, mut times) = (Vec::new(), Vec::<TimeEntry>::new());
        let (mut position, mut since, mut max) = (0_u32, 0, None::<TimeEntry>);
        for (n, (len, timestamp)) in (0..).zip(&batches) {
            let batch = OffsetEntry { relative: n, position };
            if max.is_none_or(|max| *timestamp > max.timestamp) {
                max = Some(TimeEntry { timestamp: *timestamp, relative: n });
            }
            // Kafka's LogSegment.append.
            if since > 1_000 {
                offsets.push(batch);
                times.extend(max.filter(|max| times.last().is_none_or(|last| max.timestamp > last.timestamp)));
                since = 0;
            }
            since += len;
            tail.note(batch, *len, max, 1_000);
            position += u32::try_from(*len).unwrap();
            if n % flush_every == 0 {
                let pending = tail.pending();
                pending.write(dir.path(), 0).unwrap();
                tail.written(&pending, true);
            }
        }
        let pending = tail.pending();
        pending.write(dir.path(), 0).unwrap();
        tail.written(&pending, true);
        prop_assert!(!tail.has_pending());
        let read = |kind| std::fs::read(segment_file_in(dir.path(), 0, kind)).unwrap();
        let found: Vec<OffsetEntry> = read(FileKind::Index).chunks(8).map(OffsetEntry::decode).collect();
        prop_assert_eq!(&found, &offsets);
        let found: Vec<TimeEntry> = read(FileKind::TimeIndex).chunks(12).map(TimeEntry::decode).collect();
        prop_assert_eq!(&found, &times);
        let mut reopened = IndexTail::unloaded();
        reopened.load(dir.path(), 0, 0).unwrap();
        prop_assert_eq!(reopened.last_time, times.last().copied());
        prop_assert_eq!(reopened.offsets_written as usize, offsets.len());
    }
}

#[test]
fn cutting_keeps_what_lies_below_and_drops_a_zero_tail() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<OffsetEntry> = (1..=1_000).map(entry).collect();
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut bytes));
    bytes.resize(bytes.len() + 8_000, 0);
    std::fs::write(segment_file_in(dir.path(), 0, FileKind::Index), &bytes).unwrap();
    let mut times = Vec::new();
    for n in 1..=700 {
        TimeEntry { timestamp: i64::from(n), relative: 10 * n + 9 }.encode(&mut times);
    }
    times.resize(times.len() + 12 * 400, 0);
    std::fs::write(segment_file_in(dir.path(), 0, FileKind::TimeIndex), &times).unwrap();
    let tail = IndexTail::cut(dir.path(), 0, 4_200 * 500, 5_005).unwrap();
    assert_eq!((tail.offsets_written, tail.times_written), (499, 499));
    assert_eq!(tail.last_time(), Some(TimeEntry { timestamp: 499, relative: 4_999 }));
    assert_eq!(std::fs::metadata(segment_file_in(dir.path(), 0, FileKind::Index)).unwrap().len(), 499 * 8);
    assert_eq!(
        std::fs::metadata(segment_file_in(dir.path(), 0, FileKind::TimeIndex)).unwrap().len(),
        499 * 12
    );
    let tail = IndexTail::cut(dir.path(), 0, 0, 0).unwrap();
    assert_eq!((tail.offsets_written, tail.last_time()), (0, None));
}

#[test]
fn an_index_is_full_where_kafkas_is() {
    let mut tail = IndexTail::new();
    let mut max = TimeEntry { timestamp: 0, relative: 0 };
    let mut note = |tail: &mut IndexTail, n: u32| {
        max = TimeEntry { timestamp: i64::from(n), relative: n };
        tail.note(OffsetEntry { relative: n, position: n }, 10, Some(max), 0);
    };
    // 120 bytes hold 15 offset entries and 10 time entries, one of which is kept for the seal.
    note(&mut tail, 1);
    for n in 2..=9 {
        note(&mut tail, n);
        assert!(!tail.is_full(120), "{n}");
    }
    note(&mut tail, 10);
    assert!(tail.is_full(120));
}
