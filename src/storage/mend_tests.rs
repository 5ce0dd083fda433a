//! Every bit of what stands outside a batch's checksum flips, wherever the batch is and whoever finds it: no record is
//! lost, nobody is shown anything else than was written, and the file is what it was.

use std::fs;

use super::*;
use crate::config::topic::TopicSettings;
use crate::storage::layout::FileKind;
use crate::storage::log::Opened;
use crate::storage::repair::verify;
use crate::storage::testing::*;

/// Two sealed segments and the last one, of four batches each with two records.
const BASES: [i64; 3] = [0, 8, 16];
const LAST: u64 = 4;

/// The epoch of a batch: it rises within a segment, between two, and for one batch alone.
fn epoch_of(nth: i64) -> i32 {
    match nth {
        0..3 => 4,
        3..8 => 6,
        8 => 7,
        _ => 9,
    }
}

/// The log, its whole content, and the size of a batch. All of it is below the checkpoint, or nothing.
fn log_of(checkpointed: bool) -> (Rig, Vec<(i64, Vec<u8>)>, u64) {
    let mut rig = Rig::new(TopicSettings { index_interval_bytes: 300, ..TopicSettings::default() });
    let mut opened = rig.open();
    for nth in 0..12 {
        if BASES[1..].contains(&(2 * nth)) {
            opened.writer.roll(None, NOW).unwrap();
        }
        append_at(&mut opened.writer, &[plain(2 * nth, 2, 200)], epoch_of(nth), NOW).unwrap();
    }
    if checkpointed {
        checkpoint(&mut rig, &opened, None).unwrap();
    }
    let whole = read_all(&opened.reader);
    let size = whole[0].1.len() as u64;
    drop(opened);
    (rig, whole, size)
}

fn flip(rig: &Rig, base: i64, at: u64, bit: u32) {
    let byte = rig.log_bytes(base)[usize::try_from(at).unwrap()];
    rig.damage(&rig.path(base, FileKind::Log), at, &[byte ^ (1 << bit)]);
}

/// The log holds this; if it does not, offsets and epochs tell.
fn same(opened: &Opened, whole: &[(i64, Vec<u8>)], what: &str) {
    let now = read_all(&opened.reader);
    let brief: Vec<_> = now.iter().map(|(base, bytes)| (*base, bytes[15])).collect();
    assert!(now == whole, "{what}: {brief:?}");
}

/// Who comes first, reading from an offset.
type Finder = (&'static str, fn(&Opened, i64));
const FINDERS: [Finder; 4] = [
    ("a fetch of each offset", |opened, _| {
        for offset in 0..24 {
            let read = opened.reader.read_blocking(offset, None, 1, 24, true).unwrap();
            let mut front = vec![0; 61];
            read.slices[0].read_into(0, &mut front).unwrap();
            let header = BatchHeader::parse(&front).unwrap();
            assert!((header.base_offset..header.next_offset()).contains(&offset), "{offset}: {header:?}");
        }
    }),
    ("a reader of all", |opened, _| assert_eq!(read_all(&opened.reader).len(), 12)),
    ("a fetch from the batch on", |opened, offset| {
        let mut next = offset;
        while next < 24 {
            let read = opened.reader.read_blocking(next, None, 1 << 20, 24, true).unwrap();
            assert!(read.next.offset() > next);
            next = read.next.offset();
        }
    }),
    ("a verification", |opened, _| assert_eq!(verify(opened).unwrap(), [])),
];

fn each_flip(rig: &Rig, bytes: std::ops::Range<u64>, size: u64, mut check: impl FnMut(i64, u64, &str)) {
    for base in BASES {
        for nth in 0..LAST {
            for byte in bytes.clone() {
                for bit in 0..8 {
                    flip(rig, base, nth * size + byte, bit);
                    check(base, nth, &format!("segment {base}, batch {nth}, byte {byte}, bit {bit}"));
                }
            }
        }
    }
}

#[test]
fn a_bit_that_flips_outside_a_checksum_costs_nothing_whoever_finds_it() {
    let (rig, whole, size) = log_of(true);
    let files: Vec<_> = BASES.iter().map(|base| rig.log_bytes(*base)).collect();
    let mut turn = 0;
    each_flip(&rig, 0..17, size, |base, nth, what| {
        let (who, find) = FINDERS[turn % FINDERS.len()];
        turn += 1;
        let opened = rig.open();
        find(&opened, base + 2 * i64::try_from(nth).unwrap());
        // A fetch finds what it reads; the scrub comes round.
        verify(&opened).unwrap();
        assert_eq!(opened.log.damage(), [], "{what}, {who}");
        same(&opened, &whole, &format!("{what}, {who}"));
        let now: Vec<_> = BASES.iter().map(|base| rig.log_bytes(*base)).collect();
        assert!(now == files, "{what}, {who}: the file is not what it was");
    });
    assert!(!rig.path(0, FileKind::Log).with_file_name("damaged-ranges").exists());
}

#[test]
fn a_log_that_is_recovered_goes_on_behind_a_batch_whose_front_flipped() {
    let (rig, whole, size) = log_of(false);
    let files: Vec<_> = BASES.iter().map(|base| rig.log_bytes(*base)).collect();
    let restore = || {
        for (base, bytes) in BASES.iter().zip(&files) {
            fs::write(rig.path(*base, FileKind::Log), bytes).unwrap();
        }
    };
    each_flip(&rig, 12..16, size, |_, _, what| {
        let opened = rig.open();
        assert_eq!(opened.reader.end(), 24, "{what}: {:?}", opened.report);
        drop(opened);
        restore();
    });
    // The length and the format's number, also of the last batch of a segment: its checksum says where it ends.
    let check = |what: &str| {
        let opened = rig.open();
        same(&opened, &whole, what);
        assert_eq!(opened.report.set_aside, [] as [std::path::PathBuf; 0], "{what}");
        let now: Vec<_> = BASES.iter().map(|base| rig.log_bytes(*base)).collect();
        assert!(now == files, "{what}: the file is not what it was");
    };
    each_flip(&rig, 8..12, size, |_, _, what| check(what));
    each_flip(&rig, 16..17, size, |_, _, what| check(what));
    // Of the last batch of a segment nobody says which offset it had.
    each_flip(&rig, 0..8, size, |_, nth, what| {
        let opened = rig.open();
        if nth + 1 < LAST {
            same(&opened, &whole, what);
        }
        drop(opened);
        restore();
        rig.names().iter().filter(|name| name.contains("aside") || name.contains("cut")).for_each(|name| {
            fs::remove_file(rig.dir.join(name)).unwrap();
        });
    });
}

#[test]
fn an_epoch_above_all_that_there_were_is_not_believed_of_the_last_batch_either() {
    let (mut rig, whole, size) = log_of(false);
    rig.leader_epoch = 9;
    flip(&rig, 16, 3 * size + 12, 6);
    let opened = rig.open();
    assert_eq!(opened.reader.last_epoch(), Some(9));
    same(&opened, &whole, "the last batch");
}

#[test]
fn records_that_are_damaged_too_and_offsets_that_do_not_fit_are_not_made_up() {
    let (rig, _, size) = log_of(true);
    flip(&rig, 8, size + 3, 2);
    flip(&rig, 8, size + 90, 2);
    let opened = rig.open();
    let damage = verify(&opened).unwrap();
    assert_eq!(damage.iter().map(|damage| (damage.first, damage.next)).collect::<Vec<_>>(), [(10, 12)]);
}

#[test]
fn a_history_that_is_not_what_it_was_changes_no_batch() {
    let (rig, whole, _) = log_of(true);
    let path = rig.dir.join("leader-epoch-checkpoint");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\n6 6\n"), "{text}");
    for wrong in ["\n5 6\n", "\n6 2\n"] {
        fs::write(&path, text.replace("\n6 6\n", wrong)).unwrap();
        let opened = rig.open();
        assert_eq!(verify(&opened).unwrap(), []);
        same(&opened, &whole, wrong);
    }
}

#[test]
fn a_length_or_a_format_that_flips_beside_compacted_offsets_costs_nothing() {
    let (mut rig, _, size) = log_of(false);
    // The second batch of the segment is gone: a gap behind the first one, before the next.
    let cut = usize::try_from(size).unwrap();
    let bytes = rig.log_bytes(8);
    fs::write(rig.path(8, FileKind::Log), [&bytes[..cut], &bytes[2 * cut..]].concat()).unwrap();
    rig.lose_manifest();
    let opened = rig.open();
    let whole = read_all(&opened.reader);
    assert_eq!(whole.len(), 11);
    checkpoint(&mut rig, &opened, None).unwrap();
    drop(opened);
    let file = rig.log_bytes(8);
    for nth in 0..3 {
        for byte in [8, 9, 10, 11, 16] {
            for bit in 0..8 {
                let what = format!("batch {nth}, byte {byte}, bit {bit}");
                flip(&rig, 8, nth * size + byte, bit);
                let opened = rig.open();
                assert_eq!(verify(&opened).unwrap(), [], "{what}");
                same(&opened, &whole, &what);
                assert!(rig.log_bytes(8) == file, "{what}: the file is not what it was");
            }
        }
    }
    // Negative control: with the records damaged too nothing is made up.
    flip(&rig, 8, size + 16, 0);
    flip(&rig, 8, size + 90, 0);
    let damage = verify(&rig.open()).unwrap();
    assert_eq!(damage.iter().map(|damage| (damage.first, damage.next)).collect::<Vec<_>>(), [(10, 14)]);
}
