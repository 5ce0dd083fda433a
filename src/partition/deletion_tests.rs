//! A topic that is deleted and made again under those who still hold the old one: the new one's files are its own.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;

use super::ack::NotAppended;
use super::testing::*;
use super::{Isolation, OpenFault, Partition, ReadRequest, Whose, set_deleted_aside};
use crate::config::TopicSettings;
use crate::storage::flush::CheckpointTarget as _;
use crate::storage::layout::{deleted_dir, read_partition_metadata, stray_dir};
use crate::storage::log::ReadError;
use crate::types::TopicId;

const OLD: TopicId = id(1);
const NEW: TopicId = id(2);

/// The catalog before the topic was deleted and made again.
fn before(asked: TopicId) -> Whose {
    if asked == OLD { Whose::Living } else { Whose::Unknown }
}

/// And afterwards.
fn after(asked: TopicId) -> Whose {
    match asked {
        OLD => Whose::Removed,
        NEW => Whose::Living,
        _ => Whose::Unknown,
    }
}

fn aside() -> String {
    deleted_dir("t", 0, OLD)
}

fn rig() -> Rig {
    Rig::new(TopicSettings { segment_bytes: 400, ..TopicSettings::default() })
}

/// An old topic with two segments, a producer, a checkpoint, and bytes behind it.
fn old_topic(rig: &Rig) -> Arc<Partition> {
    let old = rig.try_open("t", OLD, &before).unwrap();
    for sequence in 0..5 {
        produce(&old, record_of(7, sequence, &[b'o'; 100])).unwrap();
    }
    let note = old.prepare().unwrap().unwrap();
    old.checkpointed(&note.row);
    produce(&old, record_of(7, 5, &[b'o'; 10])).unwrap();
    old
}

/// The new topic, with segments and files of the same names as the old one's.
fn new_topic(rig: &Rig) -> Arc<Partition> {
    let new = rig.try_open("t", NEW, &after).unwrap();
    for sequence in 0..6 {
        produce(&new, record_of(8, sequence, &[b'n'; 100])).unwrap();
    }
    let note = new.prepare().unwrap().unwrap();
    new.checkpointed(&note.row);
    new
}

/// Everything that somebody may do with a partition that he found before it was deleted.
fn use_all_of(rig: &Rig, old: &Arc<Partition>) {
    assert_eq!(produce(old, record(b"late")), Err(NotAppended::Gone));
    assert_eq!(produce(old, record(&[b'l'; 300])), Err(NotAppended::Gone));
    old.append_own(&[headed(record(b"late"))]).unwrap_err();
    old.roll_segment().unwrap_err();
    old.reserve(1 << 20).unwrap_err();
    old.set_settings(Arc::new(TopicSettings { segment_bytes: 100, ..rig.settings.clone() }));
    old.expire_producers(i64::MAX);
    assert!(old.prepare().unwrap().is_none());
    assert_eq!(old.drop_segments_below(4, rig.manifest()).unwrap(), Vec::<std::path::PathBuf>::new());
    old.finish().unwrap();
    for from in 0..6 {
        let request = ReadRequest {
            from,
            hint: None,
            max_bytes: 1 << 20,
            at_least_one: true,
            isolation: Isolation::ReadUncommitted,
        };
        assert!(matches!(old.read(&request), Err(ReadError::Gone)));
        assert!(matches!(old.read_blocking(&request), Err(ReadError::Gone)));
    }
    assert!(matches!(old.offset_for_time(NOW, Isolation::ReadUncommitted), Err(ReadError::Gone)));
    assert!(matches!(old.max_timestamp(Isolation::ReadUncommitted), Err(ReadError::Gone)));
}

#[test]
fn nobody_who_holds_a_deleted_topic_touches_the_files_of_the_next_one() {
    let rig = rig();
    let old = old_topic(&rig);
    // A checkpoint and a removal of segments that are under way when the topic is deleted.
    let note = old.prepare().unwrap().unwrap();
    let removal = old.log().advance_start(3);
    assert!(removal.bytes() > 0, "a segment is to go");
    rig.table.delete(old.id());
    set_deleted_aside(rig.root(), "t", 0, OLD).unwrap();
    let new = new_topic(&rig);
    let (files, gone) = (files_in(&rig.dir("t")), files_in(&rig.root().join(aside())));
    assert!(files.keys().any(|name| gone.contains_key(name)), "names must meet, or nothing is tried");

    old.checkpointed(&note.row);
    assert_eq!(removal.rename(), Vec::<std::path::PathBuf>::new());
    use_all_of(&rig, &old);
    assert_eq!(files_in(&rig.dir("t")), files);
    assert_eq!(files_in(&rig.root().join(aside())), gone);
    assert_eq!(rig.dirs(), [partition(), aside()]);
    assert_eq!(values(&new).len(), 6);
    assert!(values(&new).iter().all(|(_, value)| value[0] == b'n'));
}

/// The files under `root` that this process has open.
fn open_files(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    links.filter(|path| path.starts_with(root) && path.to_string_lossy().contains("/t-0")).collect()
}

#[test]
fn a_deleted_topic_gives_its_space_back_whoever_still_knows_it() {
    let rig = rig();
    let old = old_topic(&rig);
    let whole = ReadRequest {
        from: 0,
        hint: None,
        max_bytes: 1 << 20,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
    };
    let being_sent = old.read_blocking(&whole).unwrap();
    assert!(open_files(rig.root()).len() > 1, "{:?}", open_files(rig.root()));
    rig.table.delete(old.id());
    set_deleted_aside(rig.root(), "t", 0, OLD).unwrap();
    fs::remove_dir_all(rig.root().join(aside())).unwrap();
    let mut bytes = [0; 100];
    for slice in &being_sent.batches.slices {
        slice.read_into(0, &mut bytes).unwrap();
    }
    drop(being_sent);
    for _ in 0..1000 {
        // A round that runs lets go of what it has noted.
        if open_files(rig.root()).is_empty() && Arc::strong_count(&old) == 1 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("{:?} stay open, {} hold the partition", open_files(rig.root()), Arc::strong_count(&old));
}

fn partition() -> String {
    "t-0".to_owned()
}

#[test]
fn a_request_that_still_knows_the_old_topic_leaves_the_new_ones_directory_alone() {
    let rig = rig();
    rig.table.delete(old_topic(&rig).id());
    set_deleted_aside(rig.root(), "t", 0, OLD).unwrap();
    let new = new_topic(&rig);
    let files = files_in(&rig.dir("t"));
    assert!(matches!(rig.try_open("t", OLD, &after), Err(OpenFault::Unknown)));
    assert_eq!(files_in(&rig.dir("t")), files);
    assert_eq!(rig.dirs(), [partition(), aside()]);
    assert_eq!(offset(produce(&new, record_of(8, 6, b"goes on"))), 6);
    // The same before the new topic has a single file.
    let rig = self::rig();
    let new = rig.try_open("t", NEW, &after).unwrap();
    assert!(matches!(rig.try_open("t", OLD, &after), Err(OpenFault::Unknown)));
    assert!(rig.table.get(old_id()).is_none());
    assert_eq!(offset(produce(&new, record(b"first"))), 0);
    assert_eq!(read_partition_metadata(&rig.dir("t")).unwrap(), Some(NEW));
}

fn old_id() -> crate::types::TopicPartition {
    crate::types::TopicPartition { topic: OLD, partition: 0 }
}

#[test]
fn a_living_topics_directory_is_never_set_aside() {
    // By the table a directory is another living topic's only if its metadata was changed by hand; all the same.
    let rig = rig();
    let new = new_topic(&rig);
    let environment = rig.table.environment();
    let opened = environment.open(&rig.wanted("t", OLD), &after);
    assert!(matches!(opened, Err(OpenFault::Unknown)));
    assert_eq!(rig.dirs(), [partition()]);
    assert_eq!(values(&new).len(), 6);
}

#[test]
fn a_topic_that_is_deleted_while_it_is_opened_is_shown_to_nobody() {
    let rig = rig();
    rig.table.delete(old_topic(&rig).id());
    // It lives when the opening begins, and does not when it has come to its end.
    let asked = Cell::new(0);
    let deleted_meanwhile = |topic| {
        asked.set(asked.get() + 1);
        if asked.get() == 1 { before(topic) } else { after(topic) }
    };
    assert!(matches!(rig.try_open("t", OLD, &deleted_meanwhile), Err(OpenFault::Unknown)));
    assert!(asked.get() > 1);
    assert!(rig.table.get(old_id()).is_none());
    new_topic(&rig);
    assert_eq!(rig.dirs(), [partition(), aside()]);
}

#[test]
fn a_new_topic_does_not_wait_for_the_old_ones_deletion_to_be_carried_out() {
    // One change of the catalog may hold both, so the new topic can be seen before the old one's partitions are closed.
    let rig = rig();
    let old = old_topic(&rig);
    let new = new_topic(&rig);
    let files = files_in(&rig.dir("t"));
    use_all_of(&rig, &old);
    // Now it is carried out.
    rig.table.delete(old.id());
    assert_eq!(files_in(&rig.dir("t")), files);
    assert!(rig.table.get(new.id()).is_some());
    assert_eq!(offset(produce(&new, record_of(8, 6, b"goes on"))), 6);
    assert_eq!(rig.dirs(), [partition(), aside()]);
}

#[test]
fn what_a_deletion_left_half_done_is_in_nobodys_way() {
    let rig = rig();
    rig.table.delete(old_topic(&rig).id());
    let half = rig.root().join(aside());
    fs::create_dir(&half).unwrap();
    fs::write(half.join("00000000000000000000.log"), b"left over").unwrap();
    let new = new_topic(&rig);
    assert_eq!(rig.dirs(), [partition(), aside()]);
    assert_eq!(read_partition_metadata(&half).unwrap(), Some(OLD), "the whole of it was set aside");
    assert_eq!(values(&new).len(), 6);
}

#[test]
fn strays_are_all_kept() {
    let rig = rig();
    let strangers = |asked: TopicId| if asked == NEW { Whose::Living } else { Whose::Unknown };
    for _ in 0..3 {
        let old = rig.try_open("t", OLD, &before).unwrap();
        produce(&old, record(b"keep me")).unwrap();
        rig.table.delete(old.id());
        rig.table.delete(rig.try_open("t", NEW, &strangers).unwrap().id());
    }
    let dirs = rig.dirs();
    assert_eq!(dirs.len(), 3, "{dirs:?}");
    assert!(dirs.contains(&stray_dir("t", 0, OLD)));
    for dir in dirs {
        assert!(files_in(&rig.root().join(&dir)).contains_key("00000000000000000000.log"), "{dir}");
    }
}
