//! What a crash can leave in a partition's directory, and what is made of it.

use super::*;
use crate::record::batch::stamp;
use crate::storage::testing::plain;

/// Makes files with these names; `.log` files hold one batch of ten records at their offset.
fn dir_with(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let file = parse_file(name);
        let bytes = match file {
            Some(SegmentFileName { offset, kind: FileKind::Log, .. }) => {
                let mut batch = plain(offset, 10, 5).to_vec();
                stamp(&mut batch, offset, 0);
                batch
            }
            _ => name.as_bytes().to_vec(),
        };
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const A: &str = "00000000000000000000";
const B: &str = "00000000000000000010";
const C: &str = "00000000000000000020";

fn name(base: &str, rest: &str) -> String {
    format!("{base}{rest}")
}

#[test]
fn unfinished_dropped_and_orphaned_files_go() {
    let names = [
        name(A, ".log"),
        name(A, ".index"),
        name(B, ".log.cleaned"),
        name(B, ".index.cleaned"),
        name(C, ".log.deleted"),
        name(C, ".timeindex"),
        name(C, ".snapshot"),
        name(A, ".producers"),
        name(B, ".producers.tmp"),
        "leader-epoch-checkpoint.tmp".into(),
        "partition.metadata".into(),
        "notes".into(),
    ];
    let dir = dir_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let listing = Listing::read(dir.path()).unwrap();
    assert!(listing.changed);
    assert_eq!(listing.logs.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!((listing.snapshots, listing.producers), (vec![20], vec![0]));
    let left = [name(A, ".index"), name(A, ".log"), name(A, ".producers"), name(C, ".snapshot")];
    assert_eq!(names_in(dir.path()), [&left[..], &["notes".into(), "partition.metadata".into()]].concat());
}

#[test]
fn a_directory_that_is_right_is_left_alone() {
    let names = [name(A, ".log"), name(A, ".index"), name(A, ".timeindex"), name(B, ".log")];
    let dir = dir_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let listing = Listing::read(dir.path()).unwrap();
    assert!(!listing.changed);
    assert_eq!(listing.logs.len(), 2);
    assert_eq!(names_in(dir.path()).len(), 4);
}

#[test]
fn a_complete_swap_is_finished_and_what_it_covers_goes() {
    let dir = dir_with(&[]);
    // Compaction merged 0 and 10 into one segment that begins at 0 and holds 0..20.
    let mut merged = plain(0, 20, 5).to_vec();
    stamp(&mut merged, 0, 0);
    fs::write(dir.path().join(name(A, ".log.swap")), &merged).unwrap();
    fs::write(dir.path().join(name(A, ".index.swap")), b"new").unwrap();
    for (base, rest) in [(A, ".log"), (A, ".index"), (B, ".log"), (B, ".index"), (C, ".log"), (C, ".index")] {
        fs::write(dir.path().join(name(base, rest)), b"old").unwrap();
    }
    // Every crash on the way: the originals go one by one, then the new names come.
    let listing = Listing::read(dir.path()).unwrap();
    assert!(listing.changed);
    assert_eq!(listing.logs.keys().copied().collect::<Vec<_>>(), [0, 20]);
    assert_eq!(fs::read(dir.path().join(name(A, ".log"))).unwrap(), merged);
    assert_eq!(fs::read(dir.path().join(name(A, ".index"))).unwrap(), b"new");
    assert_eq!(names_in(dir.path()).len(), 4);
    assert!(!Listing::read(dir.path()).unwrap().changed, "once is enough");
}

#[test]
fn a_swap_whose_set_is_unfinished_goes_instead() {
    let names = [name(A, ".log"), name(B, ".log"), name(B, ".log.swap"), name(A, ".log.cleaned")];
    let dir = dir_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let listing = Listing::read(dir.path()).unwrap();
    assert_eq!(listing.logs.len(), 2);
    assert_eq!(names_in(dir.path()), [name(A, ".log"), name(B, ".log")]);
    // Negative control: without the unfinished file the same swap is finished.
    let names = [name(A, ".log"), name(B, ".log"), name(B, ".log.swap")];
    let dir = dir_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    fs::write(dir.path().join(name(B, ".log")), b"old").unwrap();
    Listing::read(dir.path()).unwrap();
    assert_ne!(fs::read(dir.path().join(name(B, ".log"))).unwrap(), b"old");
}

#[test]
fn a_swap_that_is_not_sound_replaces_nothing_that_is_there_and_is_kept() {
    let mut sound = Vec::new();
    for offset in [10, 15] {
        let mut batch = plain(offset, 5, 20).to_vec();
        stamp(&mut batch, offset, 0);
        sound.extend(batch);
    }
    let half = sound.len() / 2;
    let mut rotten = sound.clone();
    rotten[half + 90] ^= 1;
    let mut strange = sound.clone();
    stamp(&mut strange, 3, 0);
    let garbage = vec![0xa5; sound.len()];
    let cases: [(&str, &[u8]); 6] = [
        ("garbage", &garbage),
        ("empty", &[]),
        ("cut", &sound[..half + 20]),
        ("cut between two batches", &sound[..half]),
        ("rotten", &rotten),
        ("offsets of another segment", &strange),
    ];
    let dir_of = |swap: &[u8]| {
        let dir = dir_with(&[&name(A, ".log"), &name(C, ".log")]);
        fs::write(dir.path().join(name(B, ".log")), &sound).unwrap();
        fs::write(dir.path().join(name(B, ".log.swap")), swap).unwrap();
        fs::write(dir.path().join(name(B, ".index.swap")), b"new").unwrap();
        dir
    };
    for (what, swap) in cases {
        let dir = dir_of(swap);
        let listing = Listing::read(dir.path()).unwrap();
        assert!(listing.changed && listing.swapped.is_empty(), "{what}");
        assert_eq!(listing.logs.keys().copied().collect::<Vec<_>>(), [0, 10, 20], "{what}");
        assert!(fs::read(dir.path().join(name(B, ".log"))).unwrap() == sound, "{what}");
        assert!(fs::read(dir.path().join(name(B, ".log.swap.aside"))).unwrap() == swap, "{what}");
        assert_eq!(names_in(dir.path()).len(), 4, "{what}");
        assert!(!Listing::read(dir.path()).unwrap().changed, "{what}: once is enough");
        // Where the segment is gone it is all there is, and recovery tells what of it is damaged.
        let dir = dir_of(swap);
        fs::remove_file(dir.path().join(name(B, ".log"))).unwrap();
        assert_eq!(Listing::read(dir.path()).unwrap().swapped.len(), 2, "{what}");
    }
    // Negative control: a sound one does replace it.
    let dir = dir_of(&sound);
    assert_eq!(Listing::read(dir.path()).unwrap().swapped.len(), 2);
    assert_eq!(names_in(dir.path()).len(), 4);
}
