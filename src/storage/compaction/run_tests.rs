//! Cleanings of whole logs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::testing::*;
use super::*;
use crate::config::topic::TopicSettings;
use crate::record::batch::{BatchHeader, BatchView};
use crate::storage::compaction::visit::forget;
use crate::storage::files::FileCache;
use crate::storage::layout::FileKind;
use crate::storage::mmap;
use crate::types::Clock;

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    let mut log = Log::new(eager(1 << 20));
    log.append(&["a=1", "b=1"]);
    log.append(&["a=2", "c=1"]);
    log.roll();
    log.append(&["c=2", "a=3"]);
    log.roll();
    log.append(&["a=4"]);
    let cleaned = log.clean().unwrap();
    assert_eq!(log.shown(), ["1 b=1", "4 c=2", "5 a=3", "6 a=4"], "the active segment is not cleaned");
    assert_eq!((cleaned.records, cleaned.keys, cleaned.clean_to), ((6, 3), 3, Some(6)));
    assert_eq!((cleaned.segments, log.spans()), ((2, 1), vec![(0, 6), (6, 7)]), "small neighbours are one");
    assert!(log.clean().is_none(), "there is nothing more to do");
    log.roll();
    log.clean().unwrap();
    assert_eq!(log.shown(), ["1 b=1", "4 c=2", "6 a=4"], "what was clean is cleaned by what is dirty");
    assert_eq!(log.reader().end(), 7);
}

#[test]
fn s94_a_deleted_key_is_gone_when_its_tombstones_time_is_up() {
    let mut log = Log::new(TopicSettings { delete_retention_ms: 1_000, ..eager(1 << 20) });
    log.append(&["a=1", "b=1"]);
    log.append(&["a"]);
    log.roll();
    log.clean().unwrap();
    assert_eq!(log.shown(), ["1 b=1", "2 a"], "who reads on sees the deletion");
    for (wait, left) in [(999, vec!["1 b=1", "2 a", "3 c=1"]), (1, vec!["1 b=1", "3 c=1", "4 c=1"])] {
        log.now += wait;
        log.append(&["c=1"]);
        log.roll();
        log.clean().unwrap();
        let left: Vec<_> = left.into_iter().filter(|shown| wait != 1 || *shown != "3 c=1").collect();
        assert_eq!(log.shown(), left);
    }
    assert_eq!(log.reader().end(), 5);
}

#[test]
fn s93_the_last_offset_of_a_cleaned_part_stays_known() {
    let mut log = Log::new(eager(1 << 20));
    log.append(&["a=1"]);
    log.append(&["x"]);
    log.append(&["y=1"]);
    log.roll();
    log.append(&["y=2"]);
    log.roll();
    log.clean().unwrap();
    log.now += 10 * log.rig.settings.delete_retention_ms;
    log.append(&["a=2", "y=3"]);
    log.roll();
    log.clean().unwrap();
    assert_eq!(log.shown(), ["4 a=2", "5 y=3"]);
    // A reader in the hole gets on, and each segment says how far it reaches.
    let read = log.reader().read_blocking(2, None, 1 << 20, 6, true).unwrap();
    assert_eq!(read.next.offset(), 6);
    log.rig.lose_manifest();
    log.reopen(false);
    assert_eq!((log.shown(), log.reader().end()), (vec!["4 a=2".to_owned(), "5 y=3".to_owned()], 6));
}

#[test]
fn a_lost_manifest_does_not_make_gaps_an_end() {
    let mut log = Log::new(eager(1 << 20));
    log.append(&["a=1", "b=1"]);
    log.append(&["a=2"]);
    log.append(&["b=2"]);
    log.roll();
    log.append(&["a=3"]);
    log.roll();
    log.clean().unwrap();
    log.append(&["c=1"]);
    let left = ["3 b=2", "4 a=3", "5 c=1"];
    assert_eq!(log.shown(), left);
    log.rig.lose_manifest();
    log.reopen(false);
    // Deletions may come before the next checkpoint, and their row must not vouch for what nobody knows.
    let removal = log.opened.log.advance_start(1);
    log.rig.row = removal.row().unwrap();
    drop(removal.rename());
    log.reopen(false);
    assert_eq!((log.shown(), log.reader().start()), (left.map(str::to_owned).to_vec(), 1));
}

#[test]
fn a_full_map_cleans_as_far_as_it_goes() {
    let mut log = Log::new(eager(1 << 20));
    // Ten keys fit.
    log.map.load = 0.01;
    log.map.bytes = 0;
    for round in 0..2 {
        for key in 0..25 {
            log.append(&[format!("k{key:02}={round}").as_str()]);
        }
    }
    log.roll();
    let mut ends = Vec::new();
    while let Some(cleaned) = log.clean() {
        assert!(cleaned.keys <= 10);
        ends.extend(cleaned.clean_to);
    }
    assert_eq!(ends, [10, 20, 30, 40, 50]);
    let all: Vec<String> = (0..25).map(|key| format!("{} k{key:02}=1", 25 + key)).collect();
    assert_eq!(log.shown(), all);
}

#[test]
fn a_segment_of_which_nothing_goes_is_left_alone() {
    let mut log = Log::new(eager(150));
    for key in ["a=1", "b=1", "c=1", "d=1"] {
        log.append(&[key]);
        log.roll();
    }
    log.clean().unwrap();
    let inode = |log: &Log, base| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(log.rig.path(base, FileKind::Log)).unwrap().ino()
    };
    let before: Vec<u64> = log.spans().iter().map(|(base, _)| inode(&log, *base)).collect();
    log.append(&["b=2"]);
    log.roll();
    let cleaned = log.clean().unwrap();
    assert_eq!(log.shown(), ["0 a=1", "2 c=1", "3 d=1", "4 b=2"]);
    let after: Vec<u64> = log.spans().iter().map(|(base, _)| inode(&log, *base)).collect();
    let same = before.iter().filter(|inode| after.contains(inode)).count();
    assert!(same + 2 >= before.len(), "{before:?} {after:?} {cleaned:?}");
    assert!(!log.rig.names().iter().any(|name| name.ends_with(".cleaned") || name.ends_with(".swap")));
}

#[test]
fn indexes_and_times_of_a_cleaned_segment_are_whole() {
    let mut log = Log::new(eager(1 << 20));
    for n in 0..200 {
        log.now += 10;
        log.append(&[format!("k{}={n}", n % 70).as_str(), format!("u{n}=1").as_str()]);
    }
    log.roll();
    log.clean().unwrap();
    log.append(&["end=1"]);
    let index = fs::read(log.rig.path(0, FileKind::Index)).unwrap();
    let bytes = log.rig.log_bytes(0);
    assert!(index.len() > 20 * 8, "one entry for every 200 bytes");
    for entry in index.chunks(8) {
        let relative = i64::from(u32::from_be_bytes(entry[..4].try_into().unwrap()));
        let position = usize::try_from(u32::from_be_bytes(entry[4..].try_into().unwrap())).unwrap();
        assert_eq!(BatchHeader::parse(&bytes[position..]).unwrap().last_offset(), relative);
    }
    let all = records(log.reader());
    let check = |reader: &crate::storage::log::LogReader| {
        for record in &all {
            let found = reader.offset_for_time(record.timestamp, i64::MAX).unwrap().unwrap();
            let first = all.iter().find(|other| other.timestamp >= record.timestamp).unwrap();
            assert_eq!((found.offset, found.timestamp), (first.offset, first.timestamp));
        }
        let newest = all.iter().max_by_key(|record| (record.timestamp, -record.offset)).unwrap();
        assert_eq!(reader.max_timestamp(i64::MAX).unwrap().unwrap().offset, newest.offset);
        // Every offset leads to the first record at or behind it.
        for offset in 0..reader.end() {
            let read = reader.read_blocking(offset, None, 1, i64::MAX, true).unwrap();
            let mut bytes = vec![0; read.slices[0].len()];
            read.slices[0].read_into(0, &mut bytes).unwrap();
            let header = *BatchView::parse(&bytes).unwrap().header();
            assert!(header.last_offset() >= offset, "{offset}: {header:?}");
            assert!(
                !all.iter().any(|record| (offset..header.base_offset).contains(&record.offset)),
                "{offset} was passed over"
            );
        }
    };
    check(log.reader());
    log.reopen(true);
    check(log.reader());
    log.reopen(false);
    check(log.reader());
    log.rig.lose_manifest();
    log.reopen(false);
    check(log.reader());
}

#[test]
fn a_bad_batch_ends_the_cleaning_and_nothing_is_dropped() {
    let mut log = Log::new(eager(200));
    for n in 0..12 {
        log.append(&[format!("a={n}").as_str()]);
    }
    log.roll();
    let before = log.rig.names();
    let bases: Vec<i64> = log.spans().iter().map(|(base, _)| *base).collect();
    let bad = bases[2];
    log.rig.flip(bad, 65);
    for _ in 0..2 {
        let cleaned = log.try_clean(&Pace::new(Clock::manual(0), f64::MAX)).unwrap();
        match cleaned.fault {
            Some(CleanFault::Damaged { file, position, .. }) => {
                assert_eq!((file, position), (log.rig.path(bad, FileKind::Log), 0));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((cleaned.clean_to, cleaned.removed), (None, vec![]));
        let mut names = log.rig.names();
        names.retain(|name| name != "damaged-ranges");
        assert_eq!(names, before);
    }
    // Readers are refused the batch, and `repair` knows of it.
    let damage = log.opened.log.damage();
    assert_eq!(damage.iter().map(|damage| (damage.first, damage.next)).collect::<Vec<_>>(), [(bad, bad + 1)]);
    assert!(log.reader().read_blocking(bad, None, 1 << 20, i64::MAX, true).is_err());
    assert!(log.reader().read_blocking(bad + 1, None, 1 << 20, i64::MAX, true).is_ok());
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let mut log = Log::new(eager(1 << 20));
    (0..50).for_each(|n| log.append(&[format!("a={n}").as_str()]));
    log.roll();
    log.append(&["a=last"]);
    log.roll();
    let before = log.rig.names();
    let pace = Pace::new(Clock::system(), 4_000.0);
    let cleaned = std::thread::scope(|threads| {
        let cleaning = threads.spawn(|| log.try_clean(&pace));
        // The throttle has it wait within the second pass.
        while !log.rig.names().iter().any(|name| name.ends_with(".cleaned")) && !cleaning.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        pace.stop();
        cleaning.join().unwrap().unwrap()
    });
    assert!(matches!(cleaned.fault, Some(CleanFault::Stopping)), "{cleaned:?}");
    assert_eq!(log.rig.names(), before);
    assert_eq!(log.clean().unwrap().records, (51, 1));
}

#[test]
fn what_the_disk_keeps_for_other_needs_is_not_taken() {
    use crate::config::{Amount, DiskLimits};
    use crate::storage::room::{Measured, outlook};

    let mut log = Log::new(eager(1 << 20));
    (0..50).for_each(|n| log.append(&[format!("a={n}").as_str()]));
    log.roll();
    log.append(&["a=last"]);
    log.roll();
    let before = log.rig.names();
    let free = |log: &Log, free| {
        let limits = DiskLimits { reserve: Amount::Bytes(1_000_000), limit_bytes: None };
        let measured = Measured { free, total: 1 << 30, held: 0 };
        log.rig.health.room().set(&outlook(&limits, &measured, None));
    };
    free(&log, 250_000);
    let cleaned = log.try_clean(&Pace::new(Clock::manual(0), f64::MAX)).unwrap();
    assert!(matches!(cleaned.fault, Some(CleanFault::NoRoom { bytes: 1.. })), "{cleaned:?}");
    assert_eq!(cleaned.clean_to, None);
    assert_eq!(log.rig.names(), before);
    // Clients are refused long before: compaction may make the room that they wait for.
    free(&log, 300_000);
    assert_eq!(log.clean().unwrap().records, (51, 1));
}

#[test]
fn what_an_earlier_cleaning_could_not_unlink_does_not_undo_a_later_swap() {
    let mut log = Log::new(eager(1 << 20));
    log.append(&["a=1"]);
    log.roll();
    log.append(&["a=2"]);
    log.roll();
    // At the next start it would tell that the swap of a set behind it was cut short.
    let left = log.rig.path(0, FileKind::Log).with_extension("index.cleaned");
    fs::write(&left, b"left").unwrap();
    let other = log.rig.path(7, FileKind::Log).with_extension("log.cleaned");
    fs::write(&other, b"left").unwrap();
    log.clean().unwrap();
    assert!(!left.exists() && !other.exists());
    fs::create_dir(&left).unwrap();
    log.append(&["a=3"]);
    log.roll();
    let cleaned = log.try_clean(&Pace::new(Clock::manual(0), f64::MAX)).unwrap();
    assert!(matches!(cleaned.fault, Some(CleanFault::Io { .. })), "{cleaned:?}");
    assert_eq!(log.shown(), ["1 a=2", "2 a=3"]);
}

#[test]
fn an_active_segment_that_begins_to_grow_is_not_cleaned() {
    let mut log = Log::new(eager(1 << 20));
    (0..30).for_each(|n| log.append(&[format!("a={n}").as_str()]));
    log.roll();
    let pace = Pace::new(Clock::system(), 20_000.0);
    let work = log.work().unwrap();
    let (opened, settings, producers) = (&mut log.opened, &log.rig.settings, &log.producers);
    let cleaning = Cleaning {
        log: &opened.log.clone(),
        settings,
        work,
        producers,
        aborted: &[],
        manifest: &log.manifest,
        is_own: false,
        pace: &pace,
        map: log.map,
        read_bytes: 1 << 10,
        now: log.now,
    };
    let cleaned = std::thread::scope(|threads| {
        let cleaning = threads.spawn(|| clean(&cleaning));
        std::thread::sleep(Duration::from_millis(20));
        let batch = keyed(&[(b"a".to_vec(), None)], crate::types::Codec::None, log.now, None);
        crate::storage::testing::append(&mut opened.writer, &[batch]);
        cleaning.join().unwrap()
    });
    assert!(cleaned.fault.is_none(), "{cleaned:?}");
    assert_eq!(log.shown(), ["29 a=29", "30 a"]);
}

#[test]
fn retention_may_be_faster_and_wins() {
    let mut log = Log::new(eager(200));
    (0..12).for_each(|n| log.append(&[format!("k{}={n}", n % 3).as_str()]));
    log.roll();
    let spans = log.spans();
    let work = log.work().unwrap();
    let removal = log.opened.log.advance_start(spans[1].0);
    log.rig.row = removal.row().unwrap();
    drop(removal.rename());
    // The work was planned before.
    let pace = Pace::new(Clock::manual(0), f64::MAX);
    let cleaned = clean(&Cleaning {
        log: &log.opened.log,
        settings: &log.rig.settings,
        work,
        producers: &log.producers,
        aborted: &[],
        manifest: &log.manifest,
        is_own: false,
        pace: &pace,
        map: log.map,
        read_bytes: 1 << 10,
        now: log.now,
    });
    assert!(cleaned.fault.is_none(), "what is left is cleaned: {cleaned:?}");
    let last: Vec<String> = (9..12).map(|n| format!("{n} k{}={n}", n % 3)).collect();
    assert_eq!(log.shown(), last);
}

#[test]
fn a_log_that_was_given_up_is_touched_no_more() {
    let mut log = Log::new(eager(1 << 20));
    (0..12).for_each(|n| log.append(&[format!("k{}={n}", n % 3).as_str()]));
    log.roll();
    log.append(&["k=1"]);
    log.roll();
    let before = log.rig.names();
    log.opened.writer.give_up();
    let cleaned = log.try_clean(&Pace::new(Clock::manual(0), f64::MAX)).unwrap();
    assert!(matches!(cleaned.fault, Some(CleanFault::Overtaken)), "{cleaned:?}");
    assert_eq!(log.rig.names(), before);
}

#[test]
fn a_reader_in_the_middle_never_errs_and_misses_no_key() {
    let mut log = Log::new(eager(2_000));
    // Hardly a file stays open by itself.
    log.rig.files = FileCache::new(2, 0);
    log.opened = log.rig.open();
    for n in 0..600 {
        log.append(&[format!("k{:02}={n:040}", n % 40).as_str()]);
    }
    log.roll();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, done) = (log.reader().clone(), done.clone());
            std::thread::spawn(move || {
                let mut rounds = 0;
                while !done.load(Ordering::Relaxed) || rounds < 3 {
                    let mut keys: Vec<_> = records(&reader).into_iter().filter_map(|r| r.key).collect();
                    keys.sort();
                    keys.dedup();
                    assert_eq!(keys.len(), 40);
                    assert!(reader.offset_for_time(0, i64::MAX).unwrap().is_some());
                    // A slice that was read before stays what it was.
                    let read = reader.read_blocking(0, None, 10_000, i64::MAX, true).unwrap();
                    std::thread::sleep(Duration::from_millis(2));
                    for slice in &read.slices {
                        let mut bytes = vec![0; slice.len()];
                        slice.read_into(0, &mut bytes).unwrap();
                        let mut rest = &bytes[..];
                        while !rest.is_empty() {
                            let batch = BatchView::parse(rest).unwrap();
                            assert!(batch.crc_ok());
                            rest = &rest[batch.bytes().len()..];
                        }
                    }
                    rounds += 1;
                }
            })
        })
        .collect();
    for round in 0..25 {
        for n in 0..20 {
            log.append(&[format!("k{:02}={round:040}", (round * 7 + n) % 40).as_str()]);
        }
        log.roll();
        log.clean();
    }
    done.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn what_finds_no_room_is_skipped_and_the_rest_makes_some() {
    use crate::config::{Amount, DiskLimits};
    use crate::storage::room::{Measured, Pressure, outlook};

    // Two segments of which much stays, and between them one of which nothing does.
    let mut log = Log::new(eager(1 << 20));
    let fill = |log: &mut Log, range: std::ops::Range<u32>, key: fn(u32) -> String| {
        let value = "x".repeat(2_000);
        range.for_each(|n| log.append(&[format!("{}={value}", key(n)).as_str()]));
        log.roll();
    };
    fill(&mut log, 0..400, |n| format!("a{n}"));
    fill(&mut log, 0..300, |_| "b".to_owned());
    fill(&mut log, 0..200, |n| format!("c{n}"));
    log.append(&["a0=new", "b=new", "c0=new"]);
    log.roll();
    let room = log.rig.health.room();
    room.set_pressure(Pressure::Short);
    // Room for some hundred kilobytes, of which the first segment needs eight.
    let limits = DiskLimits { reserve: Amount::Bytes(0), limit_bytes: Some(9_600_000) };
    room.set(&outlook(&limits, &Measured { free: 1 << 30, total: 1 << 30, held: 8_800_000 }, None));
    let cleaned = log.try_clean(&Pace::new(Clock::manual(0), f64::MAX)).unwrap();
    assert!(matches!(cleaned.fault, Some(CleanFault::NoRoom { bytes: 700_000..900_000 })), "{cleaned:?}");
    assert_eq!(cleaned.clean_to, None, "it is not clean yet");
    assert!(cleaned.bytes.1 + 500_000 < cleaned.bytes.0, "{cleaned:?}");
    assert!(cleaned.removed.is_empty(), "what went is unlinked: the next may need its room");
    // That made enough of it for the first one.
    let cleaned = log.clean().unwrap();
    assert_eq!(cleaned.records.1, 399 + 199 + 3);
}

#[test]
fn what_is_copied_from_disk_is_not_left_in_memory() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 40;
    let left = || {
        let mut log = Log::new(eager(64 << 20));
        let value = "v".repeat(PIECE);
        for key in 0..PIECES {
            log.append(&[&format!("{key}={value}")]);
        }
        // The last of those goes, and all before it are copied.
        log.append(&[&format!("{}=", PIECES - 1)]);
        log.roll();
        let before = fs::File::open(log.rig.path(0, FileKind::Log)).unwrap();
        before.sync_all().unwrap();
        forget(&before, 0, before.metadata().unwrap().len());
        if mmap::is_resident(&before, 0, 1) {
            // A file system that has nothing but memory, or a system that is busy with it.
            return None;
        }
        assert_eq!(log.clean().unwrap().records, (PIECES as u64 + 1, PIECES as u64));
        let is_left = |piece: &usize| mmap::is_resident(&before, (piece * PIECE) as u64, 1);
        Some((0..PIECES - 2).filter(is_left).count())
    };
    let left: Vec<_> = (0..10).filter_map(|_| left()).collect();
    assert!(left.is_empty() || left.iter().any(|pieces| *pieces <= 2), "{left:?} pieces");
}
