//! What a set's sync answers: each file once, one failure for all, and what is left when nothing can be opened.

use super::*;
use crate::storage::testing::{all_descriptors, is_short_of_descriptors};
use std::io::Write as _;

fn file_in(dir: &Path, name: &str) -> Arc<File> {
    let mut file = File::create(dir.join(name)).unwrap();
    file.write_all(b"bytes").unwrap();
    Arc::new(file)
}

fn syncer(dir: &Path, whole: WholeSync) -> Syncer {
    Syncer::new(Arc::new(File::open(dir).unwrap()), whole)
}

fn set_of(dir: &Path, files: usize, bad: bool) -> SyncSet {
    let mut set = SyncSet::default();
    for n in 0..files {
        set.add(vec![file_in(dir, &n.to_string())], vec![dir.into()]);
    }
    if bad {
        // A device that cannot be synced stands for a disk that fails.
        set.add(vec![Arc::new(File::open("/dev/null").unwrap())], vec![]);
    }
    set
}

#[test]
fn one_and_many_files_are_synced_either_way() {
    let dir = tempfile::tempdir().unwrap();
    for whole in [WholeSync::Never, WholeSync::Shared, WholeSync::Own] {
        let syncer = syncer(dir.path(), whole);
        for files in [0, 1, 2, 40] {
            syncer.sync(set_of(dir.path(), files, false), 0).unwrap();
        }
        syncer.stop();
    }
}

#[test]
fn one_failing_file_among_many_fails_the_set() {
    let dir = tempfile::tempdir().unwrap();
    let syncer = syncer(dir.path(), WholeSync::Never);
    for files in [0, 1, 30] {
        assert!(syncer.sync(set_of(dir.path(), files, true), 0).is_err(), "{files} good files beside it");
    }
    syncer.sync(set_of(dir.path(), 30, false), 0).unwrap();
}

#[test]
fn files_and_directories_are_synced_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(dir.path(), "a");
    let mut set = SyncSet::default();
    set.add(vec![file.clone(), file.clone()], vec![dir.path().into(), dir.path().into()]);
    assert_eq!(set.jobs().len(), 2);
}

#[test]
fn a_directory_that_is_gone_needs_no_sync() {
    let dir = tempfile::tempdir().unwrap();
    let mut set = SyncSet::default();
    set.add(vec![], vec![dir.path().join("gone").into()]);
    syncer(dir.path(), WholeSync::Never).sync(set, 0).unwrap();
}

#[test]
fn when_syncfs_fails_each_file_decides() {
    let dir = tempfile::tempdir().unwrap();
    // A descriptor opened with O_PATH cannot be synced: syncfs fails, the files do not.
    let flags = rustix::fs::OFlags::PATH;
    let fd = rustix::fs::open(dir.path(), flags, rustix::fs::Mode::empty()).unwrap();
    let syncer = Syncer::new(Arc::new(File::from(fd)), WholeSync::Own);
    syncer.sync(set_of(dir.path(), 30, false), 0).unwrap();
    assert!(syncer.sync(set_of(dir.path(), 30, true), 0).is_err());
}

#[test]
fn one_call_stands_for_many_where_the_rest_of_what_is_unsynced_weighs_little() {
    let dir = tempfile::tempdir().unwrap();
    let syncer = syncer(dir.path(), WholeSync::Own);
    // The file that fails by itself shows which way was taken.
    let by_itself = |unsynced_bytes| syncer.sync(set_of(dir.path(), 30, true), unsynced_bytes).is_err();
    assert!(!by_itself(1 << 20), "a megabyte beside it is less than thirty calls");
    assert!(by_itself(1 << 30), "a gigabyte of others' is not for this set to wait for");
    let mut large = set_of(dir.path(), 30, true);
    large.bytes = 600 << 20;
    assert!(syncer.sync(large, 1 << 30).is_ok(), "most of it is the set's own");
}

#[test]
fn without_descriptors_paths_are_synced_through_the_one_that_is_kept_for_it() {
    if !is_short_of_descriptors(
        module_path!(),
        "without_descriptors_paths_are_synced_through_the_one_that_is_kept_for_it",
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let syncer = syncer(dir.path(), WholeSync::Never);
    let set = set_of(dir.path(), 9, false);
    let _all = all_descriptors();
    syncer.sync(set, 0).unwrap();
    let mut again = SyncSet::default();
    again.add(vec![], vec![dir.path().into()]);
    syncer.sync(again, 0).unwrap();
}

#[test]
fn what_cannot_be_opened_is_left_to_do_and_nothing_has_failed() {
    if !is_short_of_descriptors(module_path!(), "what_cannot_be_opened_is_left_to_do_and_nothing_has_failed")
    {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let syncer = syncer(dir.path(), WholeSync::Never);
    let set = set_of(dir.path(), 3, false);
    let bad = set_of(dir.path(), 3, true);
    syncer.drop_spare();
    let all = all_descriptors();
    let Err(SyncFault::Short { left, .. }) = syncer.sync(set, 0) else {
        panic!("a directory cannot be opened")
    };
    assert_eq!((left.files.len(), left.paths.len()), (0, 1), "the files are on disk, the directory is not");
    assert!(matches!(syncer.sync(bad, 0), Err(SyncFault::Failed(_))), "a sync that failed counts for more");
    drop(all);
    syncer.sync(left, 0).unwrap();
}

#[test]
fn on_a_shared_file_system_one_call_stands_for_very_many_only() {
    let dir = tempfile::tempdir().unwrap();
    let syncer = syncer(dir.path(), WholeSync::Shared);
    // The file that fails by itself shows which way was taken.
    assert!(syncer.sync(set_of(dir.path(), 30, true), 0).is_err());
    // More than any machine has to write.
    let mut large = set_of(dir.path(), 100, true);
    large.bytes = u64::MAX / 4;
    assert!(syncer.sync(large, 0).is_ok());
    assert!(dirty_bytes().is_some());
}
