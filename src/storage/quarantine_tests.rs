//! Where damage begins and where sound batches go on, for every way in which bytes can be wrong.

use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;

use super::*;
use crate::record::batch::stamp;
use crate::storage::testing::{batch_of, plain};

const WHY: &str = "met";

/// Batches of two records each, stamped; and where each begins, the end included.
fn log_of(batches: i64, value_bytes: usize) -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut starts) = (Vec::new(), vec![0]);
    for n in 0..batches {
        let mut batch = plain(2 * n, 2, value_bytes).to_vec();
        stamp(&mut batch, 2 * n, 0);
        bytes.extend_from_slice(&batch);
        starts.push(bytes.len() as u64);
    }
    (bytes, starts)
}

fn entry(nth: usize, starts: &[u64]) -> OffsetEntry {
    OffsetEntry {
        relative: u32::try_from(2 * nth + 1).unwrap(),
        position: u32::try_from(starts[nth]).unwrap(),
    }
}

fn located(bytes: &[u8], entries: &[OffsetEntry], to: (u64, i64), met: u64) -> Option<Bad> {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    locate(&file, entries, Span { base: 0, from: (0, 0), to }, met, WHY).unwrap()
}

fn lost(bad: Option<Bad>) -> (u64, u64, i64, i64) {
    let bad = bad.unwrap();
    (bad.from, bad.to, bad.first, bad.next)
}

#[test]
fn a_damaged_batch_is_lost_alone() {
    let (whole, starts) = log_of(10, 100);
    let end = (starts[10], 20);
    assert_eq!(located(&whole, &[], end, starts[4]), None, "nothing is wrong");
    // A record, the CRC, the magic, the length made larger and smaller: met where a walk or a checksum says.
    for (at, value, met) in [(80, 0xff, 4), (17, 0, 4), (16, 7, 4), (11, 0xff, 5), (10, 0x7f, 10), (11, 1, 4)]
    {
        let mut bytes = whole.clone();
        let at = usize::try_from(starts[4]).unwrap() + at;
        assert_ne!(bytes[at], value);
        bytes[at] = value;
        for entries in [vec![], vec![entry(2, &starts), entry(7, &starts)], vec![entry(4, &starts)]] {
            let bad = located(&bytes, &entries, end, starts[met]);
            assert_eq!(lost(bad), (starts[4], starts[5], 8, 10), "byte {at} {entries:?}");
        }
    }
}

#[test]
fn zeros_over_some_batches_lose_those() {
    let (mut bytes, starts) = log_of(10, 100);
    let (from, to) = (usize::try_from(starts[3]).unwrap() + 30, usize::try_from(starts[5]).unwrap() + 14);
    bytes[from..to].fill(0);
    let bad = located(&bytes, &[entry(1, &starts), entry(8, &starts)], (starts[10], 20), starts[3]);
    assert_eq!(lost(bad), (starts[3], starts[6], 6, 12));
}

#[test]
fn batches_between_two_damages_count_only_if_something_vouches_for_where_they_begin() {
    let (whole, starts) = log_of(10, 100);
    let end = (starts[10], 20);
    let damaged = |at: u64, value: u8| {
        let mut bytes = whole.clone();
        bytes[usize::try_from(starts[2] + at).unwrap()] = value;
        bytes[usize::try_from(starts[7]).unwrap() + 90] ^= 1;
        bytes
    };
    // The damaged batch's own length leads to the next one.
    for at in [16, 90] {
        assert_eq!(lost(located(&damaged(at, 9), &[], end, starts[2])), (starts[2], starts[3], 4, 6));
    }
    // It does not: then the index has to, and a wrong one costs nothing.
    let bytes = damaged(11, 1);
    assert_eq!(lost(located(&bytes, &[entry(5, &starts)], end, starts[2])), (starts[2], starts[3], 4, 6));
    let wrong = OffsetEntry { relative: 9, position: u32::try_from(starts[4]).unwrap() + 11 };
    for entries in [&[][..], &[wrong]] {
        assert_eq!(lost(located(&bytes, entries, end, starts[2])), (starts[2], starts[8], 4, 16));
    }
}

#[test]
fn a_value_that_looks_like_a_batch_is_not_taken_for_one() {
    let mut inner = batch_of(&[1], 50, 3).to_vec();
    stamp(&mut inner, 5, 0);
    let mut outer = {
        let mut builder = crate::record::build::BatchBuilder::new();
        for value in [inner.as_slice(), b"end"] {
            builder.push(&crate::record::build::NewRecord { value: Some(value), ..Default::default() });
        }
        builder.build().unwrap().to_vec()
    };
    stamp(&mut outer, 4, 0);
    let (before, after) = (log_of(2, 50).0, plain(6, 2, 50));
    let mut after = after.to_vec();
    stamp(&mut after, 6, 0);
    let damaged = before.len();
    let resume = (damaged + outer.len()) as u64;
    outer[16] = 9;
    let bytes = [before, outer, after].concat();
    let met = damaged as u64;
    let bad = located(&bytes, &[], (bytes.len() as u64, 8), met);
    assert_eq!(lost(bad), (met, resume, 4, 6));
    // Negative control: by its header and its checksum alone it is a batch.
    let at = bytes.windows(inner.len()).position(|window| window == inner).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let rules = Rules { base: 0, next: 4, exact: false, limit: 8, reach: 0 };
    let scanned =
        scan(&file, at as u64, (at + inner.len()) as u64, rules, &mut Vec::new(), &mut |_| {}).unwrap();
    assert_eq!(scanned.batches, 1);
}

#[test]
fn a_file_that_lost_its_end_is_lost_from_there_on() {
    let (bytes, starts) = log_of(10, 100);
    let cut = usize::try_from(starts[6]).unwrap() + 10;
    let bad = located(&bytes[..cut], &[], (starts[10], 20), starts[6]);
    assert_eq!(lost(bad), (starts[6], u64::MAX, 12, 20));
}

#[test]
fn stretches_that_touch_are_one() {
    let bad = |from, to, first, next| Bad { from, to, first, next, why: WHY };
    let mut all = Vec::new();
    for one in
        [bad(300, 400, 30, 40), bad(100, 200, 10, 20), bad(200, 300, 20, 30), bad(900, u64::MAX, 90, 99)]
    {
        add(&mut all, one);
    }
    assert_eq!(all, [bad(100, 400, 10, 40), bad(900, u64::MAX, 90, 99)]);
    add(&mut all, bad(150, 160, 12, 13));
    assert_eq!(all.len(), 2);
}

#[test]
fn the_list_survives_its_file_and_a_bad_file_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let why = "it was found damaged before";
    let all = Quarantine::from([
        (
            0,
            vec![
                Bad { from: 10, to: 90, first: 2, next: 5, why },
                Bad { from: 200, to: 300, first: 9, next: 11, why },
            ],
        ),
        (70, vec![Bad { from: 0, to: u64::MAX, first: 70, next: 99, why }]),
    ]);
    assert_eq!(load(dir.path()), Quarantine::new());
    save(dir.path(), &all).unwrap();
    assert_eq!(load(dir.path()), all);
    let path = dir.path().join(QUARANTINE);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().nth(2).unwrap(), format!("0 10 90 2 5 {why}"));
    for text in ["", "0\n2\n0 1 2 3 4 x\n", "0\n1\n0 9 2 3 4 x\n", "0\n1\n0 1 2 3\n", "7\n0\n"] {
        fs::write(&path, text).unwrap();
        assert_eq!(load(dir.path()), Quarantine::new(), "{text:?}");
    }
    save(dir.path(), &Quarantine::new()).unwrap();
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever was changed, taking the damage out one by one leaves whole batches only, and none that was not there.
    #[test]
    fn what_is_left_is_whole(
        changes in prop::collection::vec((0..6_000_usize, any::<u8>(), 1..200_usize), 1..6), indexed in any::<bool>(),
    ) {
        let (whole, starts) = log_of(20, 100);
        let mut bytes = whole.clone();
        for (at, value, len) in changes {
            let at = at % bytes.len();
            let end = (at + len).min(bytes.len());
            bytes[at..end].fill(value);
        }
        let entries: Vec<_> = if indexed { (0..20).step_by(5).map(|n| entry(n, &starts)).collect() } else { vec![] };
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let end = (bytes.len() as u64, 40);
        let mut from = (0, 0);
        let mut left = Vec::new();
        for _ in 0..20 {
            let rules = Rules { base: 0, next: from.1, exact: false, limit: end.1, reach: 0 };
            let scanned = scan(&file, from.0, end.0, rules, &mut Vec::new(), &mut |found| {
                left.push((found.position, found.header.base_offset));
            }).unwrap();
            if scanned.end == end.0 { break }
            let bad = locate(&file, &entries, Span { base: 0, from, to: end }, scanned.end, WHY).unwrap().unwrap();
            prop_assert!(bad.from >= from.0 && bad.to > bad.from && bad.first <= bad.next, "{:?}", bad);
            // Found again from an earlier boundary, it may begin before what was read meanwhile.
            left.retain(|(position, _)| *position < bad.from);
            from = (bad.to, bad.next);
            if bad.to >= end.0 { break }
        }
        for (position, offset) in left {
            let nth = usize::try_from(offset / 2).unwrap();
            prop_assert_eq!(position, starts[nth], "only what was written at its place");
        }
    }
}
