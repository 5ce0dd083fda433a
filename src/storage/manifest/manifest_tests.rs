//! The manifest on a real directory: what is put is found again, whatever ends the process.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::testing::{id, plain_row};
use super::*;
use crate::storage::layout::{MANIFEST, MANIFEST_DAMAGED, PARTITION_METADATA, encode_partition_metadata};

fn open(dir: &Path) -> (Arc<Manifest>, ManifestState) {
    Manifest::open(dir, DirHealth::new()).unwrap()
}

#[test]
fn a_new_directory_has_none_and_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, state) = open(dir.path());
    assert_eq!((state.verdict, state.rows.len()), (Verdict::Missing, 0));
    manifest.started(1).unwrap();
    drop(manifest);
    assert_eq!(open(dir.path()).1.verdict, Verdict::Unclean, "it never stopped");
}

#[test]
fn what_was_put_is_found_after_a_stop_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    manifest.started(1).unwrap();
    for n in 0..100 {
        manifest.put(plain_row(1, n, 10));
    }
    manifest.put(plain_row(1, 7, 20));
    manifest.remove(id(1, 8));
    manifest.stopped(2).unwrap();
    drop(manifest);

    let (manifest, state) = open(dir.path());
    assert_eq!((state.verdict, state.torn_bytes), (Verdict::Clean, 0));
    assert_eq!(state.rows.len(), 99);
    assert_eq!(state.rows[&id(1, 7)], plain_row(1, 7, 20), "the later row counts");
    manifest.started(3).unwrap();
    assert_eq!(open(dir.path()).1.verdict, Verdict::Unclean);
}

#[test]
fn a_row_is_on_disk_when_sync_returns() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    manifest.put(plain_row(1, 0, 10));
    manifest.sync().unwrap();
    // The image of a crash at this moment.
    let image = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join(MANIFEST), image.path().join(MANIFEST)).unwrap();
    assert_eq!(open(image.path()).1.rows[&id(1, 0)].checkpoint.offset, 10);
    manifest.sync().unwrap();
}

#[test]
fn it_is_written_anew_when_it_outgrows_itself_and_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    for round in 0..150_i64 {
        for n in 0..2000 {
            manifest.put(plain_row(1, n, round));
        }
    }
    manifest.stopped(1).unwrap();
    drop(manifest);
    let found = fs::metadata(dir.path().join(MANIFEST)).unwrap();
    assert!(found.len() < 1_200_000, "{} bytes for 300,000 rows put", found.len());
    let (_, state) = open(dir.path());
    assert_eq!(state.verdict, Verdict::Clean);
    assert!(!dir.path().join(format!("{MANIFEST}.tmp")).exists());
    assert!(state.rows.len() == 2000 && state.rows.values().all(|row| row.checkpoint.offset == 149));
}

#[test]
fn space_is_reserved_before_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    manifest.started(1).unwrap();
    let found = fs::metadata(dir.path().join(MANIFEST)).unwrap();
    assert!(found.len() < 200, "the length stays true");
    assert!(found.blocks() * 512 >= 2 << 20, "{} blocks", found.blocks());
    drop(manifest);
    let (_manifest, _) = open(dir.path());
    assert!(
        fs::metadata(dir.path().join(MANIFEST)).unwrap().blocks() * 512 >= 2 << 20,
        "also after a restart"
    );
}

#[test]
fn what_a_crash_left_of_a_rewrite_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    manifest.put(plain_row(1, 0, 10));
    manifest.stopped(1).unwrap();
    drop(manifest);
    let temp = dir.path().join(format!("{MANIFEST}.tmp"));
    fs::write(&temp, b"half a manifest").unwrap();
    let (_manifest, state) = open(dir.path());
    assert_eq!((state.verdict, state.rows.len()), (Verdict::Clean, 1), "the old file counts");
    assert!(!temp.exists());
}

#[test]
fn a_torn_tail_is_cut_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    manifest.put(plain_row(1, 0, 10));
    manifest.sync().unwrap();
    drop(manifest);
    let path = dir.path().join(MANIFEST);
    let whole = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&[0xa5; 40], whole).unwrap();

    let (manifest, state) = open(dir.path());
    assert_eq!((state.verdict, state.torn_bytes, state.rows.len()), (Verdict::Unclean, 40, 1));
    manifest.stopped(1).unwrap();
    drop(manifest);
    assert_eq!(open(dir.path()).1.verdict, Verdict::Clean, "nothing of the torn tail is left");
}

#[test]
fn a_damaged_manifest_is_told_kept_aside_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    for n in 0..10 {
        manifest.put(plain_row(1, n, 10));
    }
    manifest.stopped(1).unwrap();
    drop(manifest);
    let path = dir.path().join(MANIFEST);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();

    let (manifest, state) = open(dir.path());
    assert!(matches!(state.verdict, Verdict::Damaged(_)), "{:?}", state.verdict);
    assert_eq!(fs::read(dir.path().join(MANIFEST_DAMAGED)).unwrap(), bytes);
    drop(manifest);
    assert_eq!(open(dir.path()).1.verdict, Verdict::Unclean, "the new one is whole");
}

#[test]
fn a_new_manifest_has_a_row_for_what_is_found_and_no_row_means_that_there_never_was_one() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, topic: u8| {
        let partition = dir.path().join(name);
        fs::create_dir(&partition).unwrap();
        let text = encode_partition_metadata(id(topic, 0).topic);
        fs::write(partition.join(PARTITION_METADATA), text).unwrap();
    };
    make("topic-1-0", 1);
    make("topic-1-7", 1);
    fs::create_dir(dir.path().join("nobody-0")).unwrap();
    make("gone-0.0123456789abcdef-delete", 3);
    let found = |rows: &HashMap<TopicPartition, Arc<PartitionRow>>| {
        let mut ids: Vec<_> = rows.values().filter(|row| row.segments.is_empty()).map(|row| row.id).collect();
        ids.sort_unstable();
        ids
    };
    let (manifest, state) = open(dir.path());
    assert_eq!((state.verdict, found(&state.rows)), (Verdict::Missing, vec![id(1, 0), id(1, 7)]));
    assert_eq!(&*state.rows[&id(1, 7)].topic, "topic-1");
    // They are in the file before anything else is; a directory that is made later gets none by itself.
    drop(manifest);
    make("topic-2-0", 2);
    let (manifest, state) = open(dir.path());
    assert_eq!((state.verdict, found(&state.rows)), (Verdict::Unclean, vec![id(1, 0), id(1, 7)]));
    // A damaged one loses the segments of those that it still knows, and the rest is found.
    manifest.put(plain_row(1, 0, 10));
    manifest.stopped(1).unwrap();
    drop(manifest);
    fs::write(dir.path().join(MANIFEST), b"hello").unwrap();
    let (_manifest, state) = open(dir.path());
    assert_eq!(found(&state.rows), [id(1, 0), id(1, 7), id(2, 0)]);
}

#[test]
fn a_manifest_that_cannot_be_read_is_damage_and_no_reason_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(MANIFEST), b"hello").unwrap();
    let (manifest, state) = open(dir.path());
    assert!(matches!(state.verdict, Verdict::Damaged(_)));
    manifest.started(1).unwrap();
}

#[test]
fn nothing_is_written_once_the_directory_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let health = DirHealth::new();
    let (manifest, _) = Manifest::open(dir.path(), health.clone()).unwrap();
    manifest.started(1).unwrap();
    let before = fs::read(dir.path().join(MANIFEST)).unwrap();
    health.fail(io::Error::other("elsewhere"));
    manifest.put(plain_row(1, 0, 10));
    assert!(manifest.sync().is_err());
    assert!(manifest.stopped(2).is_err(), "a failed directory never looks cleanly stopped");
    for n in 0..10_000 {
        manifest.put(plain_row(1, n, 10));
    }
    drop(manifest);
    assert_eq!(fs::read(dir.path().join(MANIFEST)).unwrap(), before);
}

#[test]
fn rows_outlast_a_full_disk_and_are_written_once_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Arc::new(Shared::new(DirHealth::new()));
    let writer = Writer::new(shared.clone(), dir.path(), HashMap::new(), Some(file::ManifestFile::full()));
    let temp = dir.path().join(format!("{MANIFEST}.tmp"));
    // No new file can be made either.
    fs::create_dir(&temp).unwrap();
    // Judged when its thread has ended: a panic before would wait for that for ever.
    let (full, still_full, image, stopped) = std::thread::scope(|scope| {
        scope.spawn(|| writer.run());
        shared.push(Record::Started(1));
        shared.push(Record::Row(plain_row(1, 0, 10)));
        let full = shared.sync();
        shared.push(Record::Row(plain_row(1, 1, 10)));
        let still_full = shared.sync();
        fs::remove_dir(&temp).unwrap();
        let written = shared.sync();
        let image = fs::read(dir.path().join(MANIFEST));
        shared.push(Record::Stopped(2));
        let stopped = shared.sync();
        shared.stop();
        (full, still_full, written.map(|()| image), stopped)
    });
    assert!(full.is_err(), "there is no space");
    assert!(still_full.is_err(), "still nothing");
    let image = load::load(&image.unwrap().unwrap());
    assert_eq!((image.rows.len(), image.verdict), (2, Verdict::Unclean));
    stopped.unwrap();
    assert_eq!(open(dir.path()).1.verdict, Verdict::Clean);
}

#[test]
fn it_grows_on_while_it_cannot_be_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let temp = dir.path().join(format!("{MANIFEST}.tmp"));
    let (manifest, _) = open(dir.path());
    fs::create_dir(&temp).unwrap();
    let put = |offset| (0..2000).for_each(|n| manifest.put(plain_row(1, n, offset)));
    (0..100).for_each(put);
    manifest.sync().unwrap();
    assert!(fs::metadata(dir.path().join(MANIFEST)).unwrap().len() > 2_000_000);
    fs::remove_dir(&temp).unwrap();
    (100..200).for_each(put);
    manifest.stopped(1).unwrap();
    assert!(
        fs::metadata(dir.path().join(MANIFEST)).unwrap().len() < 1_500_000,
        "written anew once it could be"
    );
    let (_, state) = open(dir.path());
    assert!(state.rows.values().all(|row| row.checkpoint.offset == 199));
}

#[test]
fn many_threads_put_and_sync_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (manifest, _) = open(dir.path());
    std::thread::scope(|scope| {
        for topic in 0..4_u8 {
            let manifest = &manifest;
            scope.spawn(move || {
                for n in 0..500 {
                    manifest.put(plain_row(topic, n, 1));
                    if n % 100 == 0 {
                        manifest.sync().unwrap();
                    }
                }
                manifest.sync().unwrap();
            });
        }
    });
    drop(manifest);
    assert_eq!(open(dir.path()).1.rows.len(), 2000);
}

/// Nanoseconds that this thread has had a processor: unlike the time that passes, other tests do not change it.
fn busy_ns() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// The budget is 2 ms in a release build (reference/storage.md 6.6); an unoptimised one gets fifty times that.
#[test]
fn ten_thousand_rows_are_read_in_no_time() {
    let rows: Vec<_> = (0..10_000).map(|n| plain_row((n % 200) as u8, n / 200, 1 << 40)).collect();
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_unstable_by_key(|row| row.id);
    let bytes = load::snapshot(sorted.into_iter());
    assert!(bytes.len() < 500_000, "{} bytes", bytes.len());
    let begun = busy_ns();
    for _ in 0..20 {
        assert_eq!(load::load(&bytes).rows.len(), 10_000);
    }
    let each_us = (busy_ns() - begun) / 20 / 1000;
    println!("10,000 rows in {each_us} us");
    assert!(each_us < 100_000, "{each_us} us");
}
