//! What a sync covers and what it publishes; checkpoints and removals in their order.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::storage::flush::{SyncNote, SyncTarget as _};
use crate::storage::layout::{FileKind, LEADER_EPOCHS, PARTITION_METADATA};
use crate::storage::testing::*;

/// The names of the files in a note, by their inodes.
/// The names of the files in the partition's directory that are among these paths.
fn paths_of(rig: &Rig, paths: &[Arc<Path>]) -> Vec<String> {
    let within = paths.iter().filter(|path| path.parent() == Some(&*rig.dir));
    let mut names: Vec<_> =
        within.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

fn names_of(rig: &Rig, files: &[Arc<fs::File>]) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut names = Vec::new();
    for file in files {
        let inode = file.metadata().unwrap().ino();
        let mut entries = fs::read_dir(&rig.dir).unwrap().map(|entry| entry.unwrap());
        let entry = entries.find(|entry| entry.metadata().unwrap().ino() == inode).unwrap();
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    names
}

fn sorted(note: &SyncNote) -> Vec<&Path> {
    let mut paths: Vec<&Path> = note.paths.iter().map(|path| &**path).collect();
    paths.sort();
    paths
}

const LOG_0: &str = "00000000000000000000.log";
const LOG_1: &str = "00000000000000000001.log";

#[test]
fn a_first_append_is_durable_with_its_metadata_and_both_directories() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 10)]);
    let note = opened.log.note().unwrap();
    assert_eq!(names_of(&rig, &note.files), [LOG_0]);
    let parent = rig.dir.parent().unwrap();
    let mut expected = [parent, &rig.dir, &rig.dir.join(LEADER_EPOCHS), &rig.dir.join(PARTITION_METADATA)];
    expected.sort();
    assert_eq!(sorted(&note), expected);
    assert_eq!(note.end, 1);
    opened.log.synced(1);
    // From then on it is the file alone.
    append(&mut opened.writer, &[plain(1, 1, 10)]);
    let note = opened.log.note().unwrap();
    assert_eq!((names_of(&rig, &note.files), note.paths.len()), (vec![LOG_0.to_owned()], 0));
    opened.log.synced(2);
    assert!(opened.log.note().is_none(), "nothing is dirty");
}

#[test]
fn after_a_roll_both_files_and_the_directory_are_dirty() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 10)]);
    sync(&opened);
    append_at(&mut opened.writer, &[], 0, NOW).unwrap();
    assert!(opened.log.note().is_none());
    opened.writer.roll(None, NOW).unwrap();
    let note = opened.log.note().unwrap();
    assert_eq!(names_of(&rig, &note.files), [LOG_1], "the old file has been synced");
    assert_eq!(note.paths, std::slice::from_ref(&rig.dir));
    opened.log.synced(note.end);
    append(&mut opened.writer, &[plain(1, 1, 10)]);
    opened.writer.roll(None, NOW).unwrap();
    append_at(&mut opened.writer, &[plain(2, 1, 10)], 5, NOW).unwrap();
    let note = opened.log.note().unwrap();
    assert_eq!(names_of(&rig, &note.files), [LOG_1, "00000000000000000002.log"]);
    assert_eq!(sorted(&note), [&rig.dir, &*rig.dir.join(LEADER_EPOCHS)]);
}

#[test]
fn what_is_published_is_the_end_that_was_noted() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    let told = Arc::new(AtomicI64::new(0));
    let listener = told.clone();
    opened.log.on_durable(Box::new(move |end| listener.store(end, Ordering::SeqCst)));
    append(&mut opened.writer, &[plain(0, 2, 10)]);
    let note = opened.log.note().unwrap();
    // These bytes may or may not be in what the disk got.
    append(&mut opened.writer, &[plain(2, 2, 10)]);
    assert_eq!(
        (opened.reader.durable(), told.load(Ordering::SeqCst)),
        (0, 0),
        "not before the sync has ended"
    );
    opened.log.synced(note.end);
    assert_eq!((opened.reader.durable(), told.load(Ordering::SeqCst), opened.reader.end()), (2, 2, 4));
    // The negative control is the crash image in which they are not: what was published stands.
    let image = rig.image();
    image.cut(0, u64::try_from(read_all(&opened.reader)[0].1.len()).unwrap() + 10);
    assert_eq!(image.open().reader.end(), 2);
    assert_eq!(sync(&opened), Some(4));
    assert_eq!(told.load(Ordering::SeqCst), 4);
}

#[test]
fn a_descriptor_with_unsynced_bytes_stays_open() {
    let mut rig = Rig::new(TopicSettings::default());
    rig.files = FileCache::new(0, 0);
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 10)]);
    let segment = opened.log.state.lock().segments[0].clone();
    let file = Arc::as_ptr(&segment.open(&rig.files, crate::storage::pread::Wait::Never).unwrap());
    assert!(!segment.try_close() && !segment.try_close());
    let note = opened.log.note().unwrap();
    assert!(!segment.try_close(), "the sync is not over");
    append(&mut opened.writer, &[plain(1, 1, 10)]);
    opened.log.synced(note.end);
    assert!(!segment.try_close() && !segment.try_close(), "bytes came during the sync");
    assert_eq!(file, Arc::as_ptr(&segment.open(&rig.files, crate::storage::pread::Wait::Never).unwrap()));
    sync(&opened);
    assert!(!segment.is_open(), "the bound is 0, and nothing holds it any more");
}

#[test]
fn a_segment_that_was_begun_and_not_written_to_is_closed_after_a_sync_as_any_other() {
    let mut rig = Rig::new(TopicSettings::default());
    rig.files = FileCache::new(0, 0);
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 10)]);
    // Retention does so when all that a log holds is due.
    opened.writer.roll(None, NOW).unwrap();
    assert_eq!(rig.files.open_files(), 2, "whether they are on disk is not known");
    sync(&opened);
    assert_eq!(rig.files.open_files(), 0);
}

#[test]
fn past_the_limit_no_file_is_opened_until_others_are_synced_and_no_log_is_out_of_service() {
    let limited = FileCache::limited(4, 2, 0);
    let log_over = |files: Arc<FileCache>| {
        let mut rig = Rig::new(TopicSettings::default());
        rig.files = files;
        let opened = rig.open();
        (rig, opened)
    };
    let mut logs: Vec<_> = (0..5).map(|_| log_over(limited.clone())).collect();
    for (_, opened) in &mut logs[..4] {
        append(&mut opened.writer, &[plain(0, 1, 10)]);
    }
    assert!(
        limited.is_short() && limited.is_over() && logs[4].1.log.lacks_file() && !logs[0].1.log.lacks_file()
    );
    let refused = append_at(&mut logs[4].1.writer, &[plain(0, 1, 10)], 0, NOW).unwrap_err();
    assert!(refused.is_shortage(), "{refused}");
    append(&mut logs[0].1.writer, &[plain(1, 1, 10)]);
    // The broker's own go by a bound of their own.
    let (_own, mut own) = log_over(limited.own());
    append(&mut own.writer, &[plain(0, 1, 10)]);
    sync(&logs[0].1);
    append(&mut logs[4].1.writer, &[plain(0, 1, 10)]);
    assert!(limited.open_files() <= 4, "{limited:?}");
    assert!(logs[0].1.reader.read_blocking(0, None, 1, 1, true).unwrap_err().is_shortage());
    assert_eq!(logs.iter().filter_map(|(_, opened)| sync(opened)).sum::<i64>(), 4);
    assert!(
        logs.iter().all(|(_, opened)| !read_all(&opened.reader).is_empty()),
        "readers share what is left"
    );
}

#[test]
fn after_a_failed_sync_the_log_takes_no_appends_and_serves_what_was_durable() {
    let rig = Rig::new(TopicSettings::default());
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 2, 10)]);
    sync(&opened);
    append(&mut opened.writer, &[plain(2, 2, 10)]);
    let _note = opened.log.note().unwrap();
    opened.log.failed(&Arc::new(std::io::Error::other("the disk is gone")));
    for result in [
        append_at(&mut opened.writer, &[plain(4, 1, 10)], 0, NOW),
        opened.writer.roll(None, NOW),
        opened.writer.reserve(10, NOW),
    ] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
    let read = opened.reader.read(0, None, 1 << 20, 4, true).unwrap();
    assert_eq!(read.next.offset(), 2);
    // Another log of the directory learns of it as well.
    let mut other = Rig::new(TopicSettings::default());
    other.health = rig.health.clone();
    let mut other = other.open();
    append(&mut other.writer, &[plain(0, 1, 10)]);
    rig.health.fail(std::io::Error::other("a sync failed"));
    assert!(append_at(&mut other.writer, &[plain(1, 1, 10)], 0, NOW).is_err());
}

#[test]
fn a_checkpoint_lists_every_file_it_speaks_for_until_its_row_is_durable() {
    let mut rig = Rig::new(TopicSettings { index_interval_bytes: 50, ..TopicSettings::default() });
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 1, 100), plain(1, 1, 100)]);
    opened.writer.roll(Some(b"snapshot"), NOW).unwrap();
    append(&mut opened.writer, &[plain(2, 1, 100), plain(3, 1, 100)]);
    let mark = opened.writer.mark();
    let expected = [
        "00000000000000000000.index",
        "00000000000000000000.timeindex",
        "00000000000000000002.index",
        "00000000000000000002.snapshot",
        "00000000000000000002.timeindex",
        "00000000000000000004.producers",
        "leader-epoch-checkpoint",
        PARTITION_METADATA,
    ];
    for _ in 0..2 {
        // A checkpoint whose row never came is made again, whole.
        let note = opened.log.prepare_checkpoint(&mark, Some(b"ours"), true).unwrap().unwrap();
        assert_eq!(paths_of(&rig, &note.paths), expected);
        assert!(note.paths.contains(&rig.dir));
        assert_eq!(
            (note.row.checkpoint.offset, note.row.checkpoint.segment, note.row.producers),
            (4, 2, true)
        );
        assert_eq!(note.row.segments.len(), 2);
    }
    checkpoint(&mut rig, &opened, Some(b"ours")).unwrap();
    append(&mut opened.writer, &[plain(4, 1, 100)]);
    let note = checkpoint(&mut rig, &opened, None).unwrap();
    assert_eq!(paths_of(&rig, &note.paths), ["00000000000000000002.index", "00000000000000000002.timeindex"]);
    assert!(checkpoint(&mut rig, &opened, None).is_none(), "nothing is behind");
}

#[test]
fn a_checkpoint_speaks_of_its_mark_and_not_of_what_came_after() {
    let mut rig = Rig::new(TopicSettings { segment_bytes: 1_000, ..TopicSettings::default() });
    let mut opened = rig.open();
    append(&mut opened.writer, &[plain(0, 2, 100)]);
    let mark = opened.writer.mark();
    let position = opened.reader.size_bytes();
    for n in 2..10 {
        append_rolling(&mut opened.writer, plain(n, 1, 300));
    }
    let row = opened.log.prepare_checkpoint(&mark, None, false).unwrap().unwrap().row;
    assert_eq!(
        (row.checkpoint.offset, row.checkpoint.position, row.checkpoint.max_timestamp),
        (2, position, NOW + 1)
    );
    assert_eq!((row.segments.len(), row.segments[0].bytes), (1, position));
    rig.row = Some(row);
    let image = rig.image();
    assert_eq!(image.open().reader.end(), 10);
}

#[test]
fn segments_go_only_below_the_checkpoint_and_after_their_row() {
    let mut rig = Rig::new(TopicSettings { segment_bytes: 1_000, ..TopicSettings::default() });
    let mut opened = rig.open();
    let fill = |opened: &mut Opened, to: i64| {
        for n in opened.writer.end()..to {
            append_rolling(&mut opened.writer, plain(n, 1, 300));
        }
    };
    fill(&mut opened, 10);
    let removal = opened.log.advance_start(7);
    assert_eq!((opened.reader.start(), removal.bytes()), (7, 0), "no checkpoint: nothing may go");
    let row = removal.row().unwrap().unwrap();
    assert_eq!((row.log_start, row.checkpoint.position, row.segments[0].base), (7, 0, 0));
    drop(removal.rename());
    rig.row = Some(row);
    assert_eq!(rig.image().open().reader.start(), 7, "a log start survives a crash");
    checkpoint(&mut rig, &opened, None).unwrap();
    fill(&mut opened, 20);
    let bases: Vec<i64> = opened.reader.segments().iter().map(|segment| segment.base).collect();
    let checkpointed = rig.row.as_ref().unwrap().checkpoint.segment;
    let removal = opened.log.advance_start(20);
    assert_eq!(opened.reader.segments()[0].base, checkpointed, "not past the checkpoint");
    assert!(removal.bytes() > 0 && !removal.is_empty());
    let row = removal.row().unwrap().unwrap();
    assert_eq!((row.log_start, row.segments[0].base), (20, checkpointed));
    let renamed = removal.rename();
    assert!(renamed.iter().all(|path| path.to_str().unwrap().ends_with(".deleted") && path.exists()));
    assert!(!rig.path(0, FileKind::Log).exists());
    rig.row = Some(row);
    // The next checkpoint lets the rest go, but for the one that carries the next offset.
    opened.writer.roll(None, NOW).unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    let removal = opened.log.advance_start(20);
    rig.row = removal.row().unwrap();
    drop(removal.rename());
    assert_eq!(opened.reader.segments().len(), 1);
    assert!(bases.len() > 3);
    let image = rig.image();
    let mut reopened = image.open();
    assert_eq!((reopened.reader.start(), reopened.reader.end()), (20, 20));
    append(&mut reopened.writer, &[plain(20, 1, 10)]);
    assert_eq!(read_all(&reopened.reader)[0].0, 20);
    assert!(opened.log.advance_start(20).is_empty(), "there is nothing more to do");
}

#[test]
fn a_removals_row_waits_for_a_checkpoint_that_is_under_way() {
    let mut rig = Rig::new(TopicSettings { segment_bytes: 1_000, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..10 {
        append_rolling(&mut opened.writer, plain(n, 1, 300));
    }
    checkpoint(&mut rig, &opened, None).unwrap();
    append(&mut opened.writer, &[plain(10, 1, 10)]);
    let note = opened.log.prepare_checkpoint(&opened.writer.mark(), None, false).unwrap().unwrap();
    let removal = opened.log.advance_start(8);
    let log = opened.log.clone();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| removal.row().unwrap().unwrap());
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished(), "its row would be overtaken by one that lists the dropped files");
        sync(&opened);
        log.checkpointed(&note.row);
        let row = waiting.join().unwrap();
        assert_eq!((row.log_start, row.checkpoint.offset), (8, 11));
        assert!(row.segments[0].base > 0);
    });
}

#[test]
fn retention_is_carried_out_as_planned() {
    use crate::storage::retention::plan;
    let mut rig =
        Rig::new(TopicSettings { segment_bytes: 1_000, retention_ms: 5, ..TopicSettings::default() });
    let mut opened = rig.open();
    for n in 0..12 {
        if n % 3 == 0 {
            opened.writer.roll(None, NOW + n).unwrap();
        }
        append_at(&mut opened.writer, &[plain(n, 1, 300)], 0, NOW + n).unwrap();
    }
    checkpoint(&mut rig, &opened, None).unwrap();
    let settings = rig.settings.clone();
    let at = |opened: &Opened, now: i64| {
        plan(&opened.reader.segments(), &settings, opened.reader.start(), now, opened.reader.durable())
    };
    assert_eq!(at(&opened, NOW + 7).drop_before, None);
    let some = at(&opened, NOW + 13);
    assert_eq!((some.drop_before, some.roll), (Some(6), false));
    let removal = opened.log.advance_start(some.drop_before.unwrap());
    assert!(removal.bytes() > 0);
    let _ = removal.row().unwrap();
    drop(removal.rename());
    assert_eq!(opened.reader.start(), some.drop_before.unwrap());
    // Everything is too old: the active segment is rolled, and goes in the next round.
    let all = at(&opened, NOW + 1_000);
    assert!(all.roll);
    opened.writer.roll(None, NOW).unwrap();
    checkpoint(&mut rig, &opened, None).unwrap();
    let rest = at(&opened, NOW + 1_000);
    assert_eq!((rest.drop_before, rest.roll), (Some(12), false));
    let removal = opened.log.advance_start(12);
    rig.row = removal.row().unwrap();
    drop(removal.rename());
    let names: Vec<String> = rig.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(names, ["00000000000000000012.log"]);
    drop(opened);
    assert_eq!(rig.open().reader.end(), 12);
}
