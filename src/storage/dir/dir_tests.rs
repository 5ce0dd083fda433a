//! Opening a data directory: what a first start makes, and every reason to refuse, in its words.

use std::path::PathBuf;

use super::*;
use crate::storage::layout::{DirKind, LOCK_FILE, META_PROPERTIES, WrittenBy};

const NOW: Timestamp = 1_795_252_440_000;

fn spec(path: &Path) -> DirSpec<'_> {
    DirSpec { path, node_id: 1, cluster_id: None, random: [[1; 16], [2; 16]], now: NOW }
}

fn refusal(spec: &DirSpec<'_>) -> String {
    DataDir::open(spec).unwrap_err().to_string()
}

fn temp() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("streamd-data");
    (temp, path)
}

fn write_meta(path: &Path, streamd: Option<WrittenBy>) {
    fs::create_dir_all(path).unwrap();
    let meta = MetaProperties { cluster_id: "xyz".into(), node_id: 1, directory_id: None, streamd };
    fs::write(path.join(META_PROPERTIES), meta.encode()).unwrap();
}

fn add_partition(path: &Path, name: &str) {
    fs::create_dir_all(path.join(name)).unwrap();
    fs::write(path.join(name).join("00000000000000000000.log"), b"").unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_first_start_makes_the_directory_and_its_ids_and_a_second_finds_them() {
    let (_temp, path) = temp();
    let dir = DataDir::open(&spec(&path)).unwrap();
    assert!(dir.is_new());
    let cluster = dir.cluster_id().to_owned();
    assert_eq!(cluster.len(), 22);
    let directory = dir.directory_id();
    assert!(dir.space().unwrap().free_bytes <= dir.space().unwrap().total_bytes);
    drop(dir);

    let again = DataDir::open(&DirSpec { random: [[8; 16], [9; 16]], ..spec(&path) }).unwrap();
    assert!(!again.is_new());
    assert_eq!((again.cluster_id(), again.directory_id()), (cluster.as_str(), directory));
    assert_eq!(names(&path), [LOCK_FILE, META_PROPERTIES], "and nothing else is left lying about");
}

#[test]
fn ids_never_begin_with_a_dash() {
    let (_temp, path) = temp();
    let dir = DataDir::open(&DirSpec { random: [[0xf8; 16], [0xfb; 16]], ..spec(&path) }).unwrap();
    assert!(!dir.cluster_id().starts_with('-') && !dir.directory_id().to_string().starts_with('-'));
}

#[test]
fn a_wanted_cluster_id_is_taken_once_and_held_to() {
    let (_temp, path) = temp();
    let wants = |id| DirSpec { cluster_id: Some(id), ..spec(&path) };
    assert_eq!(DataDir::open(&wants("xyz")).unwrap().cluster_id(), "xyz");
    assert_eq!(DataDir::open(&spec(&path)).unwrap().cluster_id(), "xyz");
    assert_eq!(
        refusal(&wants("abc")),
        "CLUSTER_ID=abc but this data belongs to xyz. Unset it, or start with an empty data_dir."
    );
    assert!(refusal(&wants("a b")).contains("cannot be a cluster id"));
}

#[test]
fn another_node_is_refused() {
    let (_temp, path) = temp();
    DataDir::open(&spec(&path)).unwrap();
    assert_eq!(
        refusal(&DirSpec { node_id: 2, ..spec(&path) }),
        "node_id = 2 but this data belongs to node 1. Set node_id = 1, or start with an empty data_dir."
    );
}

#[test]
fn a_directory_in_use_is_refused_with_who_and_since_when() {
    let (_temp, path) = temp();
    let held = DataDir::open(&spec(&path)).unwrap();
    let text = refusal(&spec(&path));
    let pid = std::process::id();
    let full = fs::canonicalize(&path).unwrap();
    let expected = format!("data_dir {} is locked by streamd pid {pid} since ", full.display());
    assert!(text.starts_with(&expected), "{text}");
    assert!(
        text.ends_with(":14. Stop that one, or keep this one's data elsewhere: --data-dir DIR."),
        "{text}"
    );
    drop(held);
    DataDir::open(&spec(&path)).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (_temp, path) = temp();
    write_meta(&path, Some(WrittenBy { format: 7, version: "0.9".into() }));
    let before = fs::read(path.join(META_PROPERTIES)).unwrap();
    assert_eq!(
        refusal(&spec(&path)),
        format!(
            "data_dir {} was written by a later streamd, 0.9 (format 7); this is {} (up to 1). Nothing was changed: start \
             that release, or a later one.",
            path.display(),
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(fs::read(path.join(META_PROPERTIES)).unwrap(), before);
    assert_eq!(names(&path), [META_PROPERTIES], "not even a lock file");
}

#[test]
fn an_older_release_of_the_same_format_is_taken_over() {
    let (_temp, path) = temp();
    write_meta(&path, Some(WrittenBy { format: 1, version: "0.0.1".into() }));
    assert_eq!(DataDir::open(&spec(&path)).unwrap().cluster_id(), "xyz");
    let by = MetaProperties::read(&path).unwrap().unwrap().streamd.unwrap();
    assert_eq!(by.version, env!("CARGO_PKG_VERSION"), "so that a refusal can say who wrote last");
}

#[test]
fn kafkas_own_directory_is_recognised_and_left_alone() {
    let (_temp, path) = temp();
    write_meta(&path, None);
    for name in ["orders-0", "orders-1", "clicks-0", "gone-0.00000000000000000000000000000001-delete"] {
        add_partition(&path, name);
    }
    let before = names(&path);
    assert_eq!(
        refusal(&spec(&path)),
        format!(
            "found Apache Kafka segments (meta.properties, 2 topics). Nothing was changed. Choose another data_dir, and \
             bring them over: streamd import kafka {}",
            path.display()
        )
    );
    assert_eq!(names(&path), before);
    // Ours, with an end that is lost, is not to be imported.
    fs::write(path.join("streamd.manifest"), "").unwrap();
    let text = refusal(&spec(&path));
    assert!(text.contains("streamd.manifest is beside it") && !text.contains("import"), "{text}");
}

#[test]
fn partitions_without_an_identity_are_refused() {
    let (_temp, path) = temp();
    add_partition(&path, "orders-0");
    let text = refusal(&spec(&path));
    assert!(text.ends_with("holds 1 topic but no meta.properties, so nothing says whose it is. Put the file back, or start with an empty data_dir."), "{text}");
    // What only looks like a partition's name is no reason.
    let (_temp, path) = temp();
    fs::create_dir_all(path.join("backup-1")).unwrap();
    DataDir::open(&spec(&path)).unwrap();
}

#[test]
fn a_damaged_identity_is_refused() {
    let (_temp, path) = temp();
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(META_PROPERTIES), "version=1\nnode.id=1\n").unwrap();
    let text = refusal(&spec(&path));
    assert!(text.contains("meta.properties is damaged: cluster.id is missing."), "{text}");
}

#[test]
fn a_file_in_the_way_is_refused() {
    let (_temp, path) = temp();
    fs::write(&path, b"").unwrap();
    assert_eq!(
        refusal(&spec(&path)),
        format!("data_dir {} is not a directory. Remove it, or choose another data_dir.", path.display())
    );
}

#[test]
fn one_that_cannot_be_written_is_refused_with_owner_mode_and_uid() {
    let refusal = |owner: &str, ours, volume| {
        let path = PathBuf::from("/var/lib/streamd");
        let owner = owner.to_owned();
        DirError::NotWritable { path, owner, mode: 0o555, uid: 10_001, ours, volume }.to_string()
    };
    let head = "data_dir /var/lib/streamd is owned by root (0555) and I run as uid 10001. Run: chown 10001";
    assert_eq!(refusal("root", false, false), format!("{head} /var/lib/streamd"));
    assert_eq!(
        refusal("root", false, true),
        format!("{head} on the host's path of /var/lib/streamd, or add user: \"0\".")
    );
    let mine = refusal("streamd", true, false);
    assert!(mine.contains("owned by streamd (0555)") && mine.ends_with("Run: chmod u+rwx /var/lib/streamd"));

    let (_temp, path) = temp();
    fs::create_dir_all(&path).unwrap();
    let fault = refused(&path.join("a/b"), "make", io::ErrorKind::PermissionDenied.into());
    let DirError::NotWritable { path: told, uid, ours, .. } = fault else { panic!("{fault}") };
    assert_eq!(told, path, "the directory that exists is the one that refuses");
    assert!(ours);
    assert!(!is_mounted(&fs::metadata("/").unwrap()) && is_mounted(&fs::metadata("/proc").unwrap()));
    assert_eq!(uid, rustix::process::geteuid().as_raw());
    assert_eq!(owner_name(0), "root");
    assert_eq!(owner_name(4_000_000_000), "uid 4000000000");
}

#[test]
fn retired_directories_leave_the_name_free_and_are_found_again() {
    let (_temp, path) = temp();
    let dir = DataDir::open(&spec(&path)).unwrap();
    let id = TopicId::from_bytes([3; 16]);
    assert_eq!(dir.retire_deleted("orders", 0, id).unwrap(), None, "nothing there, nothing done");
    add_partition(&path, "orders-0");
    let to = dir.retire_deleted("orders", 0, id).unwrap().unwrap();
    assert!(to.ends_with("orders-0.03030303030303030303030303030303-delete"));
    // A stray without an id of its own finds a free name each time.
    for _ in 0..3 {
        add_partition(&path, "orders-0");
        dir.retire_stray("orders", 0, TopicId::ZERO).unwrap().unwrap();
    }
    let found = dir.partition_dirs().unwrap();
    assert_eq!(found.iter().filter(|dir| dir.kind == DirKind::Stray).count(), 3);
    assert!(found.iter().all(|dir| (dir.topic.as_str(), dir.partition) == ("orders", 0)));
    remove_partition_dir(&to).unwrap();
    remove_partition_dir(&to).unwrap();
    assert_eq!(dir.partition_dirs().unwrap().len(), 3);
}

#[test]
fn a_directory_in_its_place_is_told_from_one_that_is_gone_or_another() {
    let (temp, path) = temp();
    let dir = DataDir::open(&spec(&path)).unwrap();
    assert_eq!(dir.check_place(), Ok(()));
    // Put back by an editor or from a copy: other inode, same directory.
    let meta = fs::read(path.join(META_PROPERTIES)).unwrap();
    fs::remove_file(path.join(META_PROPERTIES)).unwrap();
    assert!(dir.check_place().unwrap_err().contains("meta.properties is gone"));
    fs::write(path.join(META_PROPERTIES), &meta).unwrap();
    assert_eq!(dir.check_place(), Ok(()));
    write_meta(&path, Some(WrittenBy { format: 1, version: "1".into() }));
    assert!(dir.check_place().unwrap_err().contains("another data directory"));
    fs::write(path.join(META_PROPERTIES), &meta).unwrap();

    fs::remove_file(path.join(LOCK_FILE)).unwrap();
    assert!(dir.check_place().unwrap_err().contains("lock file is gone"));
    fs::write(path.join(LOCK_FILE), b"").unwrap();
    assert!(dir.check_place().unwrap_err().contains("lock file is another"));

    fs::rename(&path, temp.path().join("aside")).unwrap();
    assert_eq!(dir.check_place().unwrap_err(), "there is no directory any more");
    fs::create_dir(&path).unwrap();
    assert_eq!(dir.check_place().unwrap_err(), "another directory is in its place");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, b"").unwrap();
    assert_eq!(dir.check_place().unwrap_err(), "another directory is in its place");
}
