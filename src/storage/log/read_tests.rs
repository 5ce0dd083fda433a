//! What reads answer, and how little they look at to do so.

use super::*;
use crate::storage::layout::FileKind;
use crate::storage::testing::*;

/// A log of one-record batches of `sizes` value bytes, in segments of `segment_bytes`.
fn log_of(sizes: &[usize], segment_bytes: i32) -> (Rig, Opened) {
    let rig =
        Rig::new(TopicSettings { segment_bytes, index_interval_bytes: 512, ..TopicSettings::default() });
    let mut opened = rig.open();
    for (n, size) in (0..).zip(sizes) {
        append_rolling(&mut opened.writer, plain(n, 1, *size));
    }
    (rig, opened)
}

fn bytes_of(read: &ReadBatches) -> Vec<u8> {
    let mut all = Vec::new();
    for slice in &read.slices {
        let mut bytes = vec![0; slice.len()];
        assert_eq!(slice.read_into(0, &mut bytes).unwrap(), slice.len());
        let mut resident = vec![0; slice.len()];
        assert_eq!(slice.try_read_resident(0, &mut resident).unwrap(), slice.len(), "just written");
        assert_eq!(bytes, resident);
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all.len(), read.bytes);
    all
}

fn offsets_of(read: &ReadBatches) -> Vec<i64> {
    let bytes = bytes_of(read);
    let (mut at, mut offsets) = (0, Vec::new());
    while at < bytes.len() {
        let header = BatchHeader::parse(&bytes[at..]).unwrap();
        offsets.push(header.base_offset);
        at += header.total_len();
    }
    assert_eq!(at, bytes.len(), "whole batches only");
    offsets
}

#[test]
fn s16_the_first_batch_comes_whole_however_large_and_others_only_if_they_fit() {
    let (_rig, opened) = log_of(&[5_000, 100, 100, 100], 1 << 20);
    let reader = &opened.reader;
    assert_eq!(offsets_of(&reader.read(0, None, 1, 4, true).unwrap()), [0]);
    assert!(reader.read(0, None, 1, 4, false).unwrap().slices.is_empty());
    let small = reader.read(1, None, usize::MAX, 2, true).unwrap().bytes;
    assert_eq!(offsets_of(&reader.read(1, None, 2 * small, 4, true).unwrap()), [1, 2]);
    assert_eq!(offsets_of(&reader.read(1, None, 2 * small - 1, 4, true).unwrap()), [1]);
    assert_eq!(offsets_of(&reader.read(0, None, usize::MAX, 4, true).unwrap()), [0, 1, 2, 3]);
}

#[test]
fn s17_a_read_begins_with_the_batch_that_holds_the_offset() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 5, 10), plain(5, 5, 10)]);
    assert_eq!(offsets_of(&opened.reader.read(4, None, 1, 10, true).unwrap()), [0]);
    assert_eq!(offsets_of(&opened.reader.read(5, None, 1, 10, true).unwrap()), [5]);
    assert_eq!(offsets_of(&opened.reader.read(9, None, 1 << 20, 10, true).unwrap()), [5]);
    // The upper bound lies inside the second batch: it is left out whole.
    let read = opened.reader.read(0, None, 1 << 20, 7, true).unwrap();
    assert_eq!((offsets_of(&read), read.next.offset()), (vec![0], 5));
}

#[test]
fn the_log_ends_where_it_ends() {
    let (_rig, opened) = log_of(&[100, 100], 1 << 20);
    let read = opened.reader.read(2, None, 100, i64::MAX, true).unwrap();
    assert!(read.slices.is_empty() && read.next.offset() == 2);
    for offset in [-1, 3] {
        let error = opened.reader.read(offset, None, 100, 2, true).unwrap_err();
        assert!(matches!(error, ReadError::OutOfRange { start: 0, end: 2, .. }), "{error}");
    }
    let _ = opened.log.advance_start(1);
    assert!(matches!(opened.reader.read(0, None, 100, 2, true), Err(ReadError::OutOfRange { start: 1, .. })));
}

#[test]
fn reading_on_by_hints_sees_every_batch_once_whatever_the_limits() {
    let sizes: Vec<usize> = (0..300).map(|n| [50, 700, 3_000][n % 3]).collect();
    let (_rig, opened) = log_of(&sizes, 40_000);
    assert!(opened.reader.segments().len() > 5);
    for max_bytes in [1, 1_000, 10_000, 100_000, usize::MAX] {
        for with_hints in [true, false] {
            let (mut from, mut hint, mut seen) = (0, None, Vec::new());
            while from < 300 {
                let read = opened.reader.read_blocking(from, hint, max_bytes, 300, true).unwrap();
                seen.extend(offsets_of(&read));
                from = read.next.offset();
                hint = with_hints.then_some(read.next);
            }
            assert_eq!(seen, (0..300).collect::<Vec<_>>(), "{max_bytes} {with_hints}");
        }
    }
}

#[test]
fn a_place_that_no_longer_fits_is_looked_up_anew() {
    let (_rig, opened) = log_of(&[500; 20], 4_000);
    let good = opened.reader.read(0, None, 1, 20, true).unwrap().next;
    for bad in [
        Place { serial: good.serial + 1, position: 7, ..good },
        Place { segment: 99, position: 7, ..good },
        Place { offset: 2, ..good },
        Place { position: u64::MAX, ..good },
        Place::nowhere(1),
    ] {
        let read = opened.reader.read_blocking(1, Some(bad), 1, 20, true).unwrap();
        assert_eq!(offsets_of(&read), [1], "{bad:?}");
    }
}

#[test]
fn a_tail_read_looks_at_no_file() {
    let (rig, mut opened) = log_of(&[1_000; 50], 1 << 20);
    let tail = opened.reader.read(50, None, 1 << 20, 50, true).unwrap().next;
    append(&mut opened.writer, &[plain(50, 1, 100), plain(51, 1, 100)]);
    // The proof: the file says something else now, and the answer does not depend on it.
    let position = tail.position();
    rig.damage(&rig.path(0, FileKind::Log), position, &[0xff; 20]);
    let read = opened.reader.read(50, Some(tail), 1 << 20, 52, true).unwrap();
    assert_eq!((read.slices.len(), read.slices[0].position(), read.next.offset()), (1, position, 52));
    // Without the hint, and with a bound in between, it does.
    assert!(opened.reader.read(51, None, 1, 51, true).unwrap().slices.is_empty());
    assert!(matches!(opened.reader.read(51, None, 1, 52, true), Err(ReadError::NotResident)));
    assert!(matches!(opened.reader.read_blocking(50, None, 1, 52, true), Err(ReadError::Damaged { .. })));
    assert_eq!(opened.reader.read_blocking(51, None, 1, 52, true).unwrap().next.offset(), 52);
}

#[test]
fn the_warm_tail_shows_through_the_map_and_only_below_what_is_committed() {
    let (_rig, mut opened) = log_of(&[1_000; 3], 1 << 20);
    let read = opened.reader.read(0, None, 1 << 20, 3, true).unwrap();
    assert_eq!(read.slices[0].mapped().unwrap(), bytes_of(&read));
    append(&mut opened.writer, &[plain(3, 1, 1_000)]);
    let more = opened.reader.read(3, Some(read.next), 1 << 20, 4, true).unwrap();
    assert_eq!(more.slices[0].mapped().unwrap(), bytes_of(&more), "no new map is needed");
    opened.writer.roll(None, NOW).unwrap();
    let sealed = opened.reader.read(0, None, 1 << 20, 4, true).unwrap();
    assert!(sealed.slices[0].mapped().is_none(), "a sealed segment has no map");
    assert!(more.slices[0].mapped().is_some(), "who holds a slice keeps its map");
}

#[test]
fn of_the_segment_that_is_written_only_the_end_is_taken_to_be_in_memory() {
    let (_rig, opened) = log_of(&[1_000_000; 12], 1 << 30);
    let slice = |from| {
        let read = opened.reader.read(from, None, 1, 12, true).unwrap();
        let slice = read.slices[0].clone();
        assert!(slice.mapped().is_some_and(|bytes| bytes == bytes_of(&read)));
        slice
    };
    assert_eq!([0, 3, 4, 11].map(|from| slice(from).is_tail()), [false, false, true, true]);
    let mut left = slice(0);
    left.leave_map();
    assert!(left.mapped().is_none() && slice(0).mapped().is_some());
}

#[test]
fn maps_are_bounded_and_the_ones_in_use_stay() {
    let files = FileCache::new(100, 2);
    let mut logs = Vec::new();
    for _ in 0..5 {
        let mut rig = Rig::new(TopicSettings::default());
        rig.files = files.clone();
        let mut opened = rig.open();
        append(&mut opened.writer, &[plain(0, 1, 100)]);
        logs.push((rig, opened));
    }
    let maps_after = |use_first: bool| -> Vec<bool> {
        let mapped = |(_, opened): &(Rig, Opened)| {
            let segment = opened.log.state.lock().segments[0].clone();
            segment.open(&files, crate::storage::pread::Wait::Never).unwrap().has_map()
        };
        for (_, opened) in &logs {
            let read = opened.reader.read(0, None, 100, 1, true).unwrap();
            assert!(read.slices[0].mapped().is_some(), "who reads gets one");
            if use_first {
                assert!(logs[0].1.reader.read(0, None, 100, 1, true).is_ok());
            }
        }
        logs.iter().map(mapped).collect()
    };
    assert_eq!(maps_after(false).iter().filter(|is| **is).count(), 2);
    let kept = maps_after(true);
    assert!(kept[0] && kept.iter().filter(|is| **is).count() == 2, "{kept:?}");
}

#[test]
fn without_maps_and_descriptors_to_spare_reads_still_work() {
    let mut rig = Rig::new(TopicSettings { segment_bytes: 3_000, ..TopicSettings::default() });
    rig.files = FileCache::new(2, 0);
    let mut opened = rig.open();
    for n in 0..60 {
        append_rolling(&mut opened.writer, plain(n, 1, 500));
    }
    assert!(rig.files.is_over(), "descriptors with unsynced bytes stay");
    sync(&opened);
    for _ in 0..2 {
        assert_eq!(read_all(&opened.reader).len(), 60);
    }
    assert!(rig.files.open_files() <= 4, "{:?}", rig.files);
    let read = opened.reader.read_blocking(59, None, 1 << 20, 60, true).unwrap();
    assert!(read.slices[0].mapped().is_none());
    let again = opened.reader.read(0, None, 1, 60, true);
    assert!(matches!(again, Err(ReadError::NotResident)), "opening a file may wait for the disk");
}

#[test]
fn an_index_that_lies_costs_a_walk_and_no_wrong_answer() {
    let sizes = [300; 200];
    let (rig, opened) = log_of(&sizes, 1 << 20);
    drop(opened.writer);
    opened.log.prepare_checkpoint(&mark_of(&opened.log), None, false).unwrap();
    let index = rig.path(0, FileKind::Index);
    let len = std::fs::metadata(&index).unwrap().len();
    assert!(len > 400, "{len}");
    for nth in 0..len / 8 {
        // Each entry leads into the middle of a batch.
        rig.damage(&index, nth * 8 + 4, &u32::try_from(nth * 700 + 13).unwrap().to_be_bytes());
    }
    for from in [0, 1, 57, 199] {
        let read = opened.reader.read_blocking(from, None, 100_000, 200, true).unwrap();
        assert_eq!(offsets_of(&read)[0], from);
        assert!(read.bytes > 0);
    }
    std::fs::remove_file(index).unwrap();
    assert_eq!(offsets_of(&opened.reader.read_blocking(150, None, 1, 200, true).unwrap()), [150]);
}

fn mark_of(log: &Log) -> LogMark {
    let state = log.state.lock();
    let max_timestamp = state.segments.last().unwrap().facts().max_timestamp;
    LogMark { place: state.end, max_timestamp, appended_at: NOW, aborted: None }
}

#[test]
fn a_slice_outlives_its_segment() {
    let (mut rig, mut opened) = log_of(&[500; 20], 3_000);
    checkpoint(&mut rig, &opened, None).unwrap();
    let read = opened.reader.read_blocking(0, None, 1_000, 20, true).unwrap();
    let before = bytes_of(&read);
    let removal = opened.log.advance_start(15);
    assert!(removal.row().unwrap().is_some());
    for path in removal.rename() {
        std::fs::remove_file(path).unwrap();
    }
    assert!(!rig.path(0, FileKind::Log).exists());
    append(&mut opened.writer, &[plain(20, 1, 10)]);
    assert_eq!(bytes_of(&read), before);
    assert!(matches!(opened.reader.read(0, None, 1, 20, true), Err(ReadError::OutOfRange { start: 15, .. })));
}

#[test]
fn readers_beside_the_writer_see_whole_batches_in_order_and_nothing_twice() {
    let mut rig = Rig::new(TopicSettings {
        segment_bytes: 100_000,
        index_interval_bytes: 1_000,
        ..TopicSettings::default()
    });
    rig.files = FileCache::new(3, 2);
    let mut opened = rig.open();
    let total = 3_000;
    let done = std::sync::atomic::AtomicBool::new(false);
    let log = opened.log.clone();
    std::thread::scope(|scope| {
        for reader_no in 0..3_i64 {
            let reader = opened.reader.clone();
            scope.spawn(move || {
                let (mut from, mut hint, mut seen) = (0, None, 0);
                while from < total {
                    let upper = reader.end();
                    // One reader by hints, one without, one from a random place.
                    let place = if reader_no == 0 { hint } else { None };
                    let read = match reader.read(from, place, 9_000, upper, true) {
                        Err(ReadError::NotResident) => reader.read_blocking(from, place, 9_000, upper, true),
                        other => other,
                    }
                    .unwrap();
                    let offsets = offsets_of(&read);
                    assert!(
                        offsets.iter().copied().eq(from..from + offsets.len() as i64),
                        "{offsets:?} from {from}"
                    );
                    if reader_no == 2 && from % 7 == 0 {
                        assert_eq!(
                            offsets_of(&reader.read_blocking(from / 2, None, 1, upper, true).unwrap())
                                .first()
                                .copied(),
                            (upper > 0).then_some(from / 2)
                        );
                    }
                    seen += offsets.len();
                    from = read.next.offset();
                    hint = Some(read.next);
                }
                assert_eq!(seen, 3_000);
            });
        }
        let done = &done;
        scope.spawn(move || {
            // A committer, so that descriptors may be closed.
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                use crate::storage::flush::SyncTarget as _;
                if let Some(note) = log.note() {
                    log.synced(note.end);
                }
                std::thread::yield_now();
            }
        });
        for n in 0..total {
            append_rolling(&mut opened.writer, plain(n, 1, 20 + usize::try_from(n % 900).unwrap()));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
