//! Indexes are hints: whatever a crash left of those that no recovery makes again, answers are the same.

use std::fs::File;

use super::*;
use crate::storage::index::{Entry as _, OffsetEntry, TimeEntry, floor};
use crate::storage::pread::Wait;

/// What may stand in an index file after a crash, from what stood in it; `None` if the file is gone.
type Left = fn(&[u8], usize) -> Option<Vec<u8>>;

/// Whole entries of `width` bytes, each changed.
fn each(bytes: &[u8], width: usize, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(width).for_each(change);
    bytes
}

/// Adds to the last four bytes of an entry: an offset entry's position, a time entry's offset.
fn add(entry: &mut [u8], more: u32) {
    let at = entry.len() - 4;
    let value = u32::from_be_bytes(entry[at..].try_into().unwrap());
    entry[at..].copy_from_slice(&value.wrapping_add(more).to_be_bytes());
}

const LEFT: [(&str, Left); 9] = [
    ("gone", |_, _| None),
    ("empty", |_, _| Some(Vec::new())),
    ("cut in the middle of an entry", |bytes, width| Some(bytes[..bytes.len() - width / 2].to_vec())),
    ("zeros", |bytes, _| Some(vec![0; bytes.len()])),
    ("ones", |bytes, _| Some(vec![0xff; bytes.len()])),
    ("noise", |bytes, _| {
        let noise = (1..=bytes.len()).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[5]);
        Some(noise.collect())
    }),
    ("backwards", |bytes, width| Some(bytes.rchunks_exact(width).flatten().copied().collect())),
    ("too long", |bytes, width| {
        let mut longer = bytes.to_vec();
        for more in 1..60 {
            let mut entry = bytes[bytes.len() - width..].to_vec();
            let at = width / 2 - 4;
            let value = u32::from_be_bytes(entry[at..at + 4].try_into().unwrap());
            entry[at..at + 4].copy_from_slice(&(value + more).to_be_bytes());
            add(&mut entry, 50 * more);
            longer.extend(entry);
        }
        Some(longer)
    }),
    ("leading elsewhere", |bytes, width| Some(each(bytes, width, |entry| add(entry, 1)))),
];

/// A log of 20 batches with an index entry for most, all below the checkpoint.
fn indexed(clean: bool) -> Rig {
    let (mut rig, mut opened) = log_of(20, Some(20));
    opened.writer.close().unwrap();
    checkpoint(&mut rig, &opened, None);
    rig.clean = clean;
    rig
}

fn spoil(rig: &Rig, kinds: &[FileKind], left: Left) {
    for kind in kinds {
        let width = if *kind == FileKind::Index { OffsetEntry::BYTES } else { TimeEntry::BYTES };
        for name in rig.names().iter().filter(|name| name.ends_with(kind.extension())) {
            let path = rig.dir.join(name);
            let bytes = fs::read(&path).unwrap();
            match left(&bytes, width).filter(|_| !bytes.is_empty()) {
                Some(left) => fs::write(path, left).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
    }
}

/// Every question about offsets and times has its right answer.
fn answers(opened: &Opened, what: &str) {
    let reader = &opened.reader;
    for offset in 0..40 {
        let read = reader.read_blocking(offset, None, 1, 40, true).unwrap();
        assert_eq!(read.next.offset(), offset - offset % 2 + 2, "{what}: a read at {offset}");
        let found = reader.offset_for_time(NOW + offset, 40).unwrap().unwrap();
        assert_eq!(found.offset, offset, "{what}: the time of {offset}");
    }
    assert_eq!(reader.offset_for_time(NOW + 40, 40).unwrap(), None, "{what}");
    assert_eq!(reader.max_timestamp(40).unwrap().unwrap().offset, 39, "{what}");
}

#[test]
fn whatever_a_crash_leaves_of_an_index_answers_stay_right() {
    for clean in [false, true] {
        let rig = indexed(clean);
        for (what, left) in LEFT {
            let kinds = [FileKind::Index, FileKind::TimeIndex];
            for kinds in [&kinds[..1], &kinds[1..], &kinds] {
                let image = rig.image();
                spoil(&image, kinds, left);
                let what = format!("{kinds:?} {what}, clean: {clean}");
                let opened = image.open();
                assert_eq!((opened.report.damage.len(), opened.reader.end()), (0, 40), "{what}");
                answers(&opened, &what);
                goes_on(&image, opened);
            }
        }
    }
}

/// Negative control: the files as they were left do mislead whoever believes them.
#[test]
fn who_believed_a_spoiled_index_would_look_in_the_wrong_place() {
    let rig = indexed(false);
    let base = rig.row.as_ref().unwrap().segments[1].base;
    let ends = ends_in(&rig, base);
    let believed = |image: &Rig, offset: i64| {
        let index = File::open(image.path(base, FileKind::Index)).unwrap();
        let below = |entry: &OffsetEntry| base + i64::from(entry.relative) <= offset;
        floor(&index, Wait::MayBlock, below).unwrap().map_or(0, |entry| u64::from(entry.position))
    };
    let promised = |image: &Rig, time: i64| {
        let times = File::open(image.path(base, FileKind::TimeIndex)).unwrap();
        let below = |entry: &TimeEntry| entry.timestamp <= time;
        floor(&times, Wait::MayBlock, below).unwrap().map_or(base, |entry| base + i64::from(entry.relative))
    };
    let is_wrong = |image: &Rig| {
        let offsets = base..base + 10;
        let place = offsets.clone().any(|offset| !ends.contains(&believed(image, offset)));
        (place, offsets.into_iter().any(|offset| promised(image, NOW + offset) > offset))
    };
    assert_eq!(is_wrong(&rig), (false, false));
    let image = rig.image();
    let (_, elsewhere) = LEFT[8];
    spoil(&image, &[FileKind::Index, FileKind::TimeIndex], elsewhere);
    assert_eq!(is_wrong(&image), (true, true));
}
