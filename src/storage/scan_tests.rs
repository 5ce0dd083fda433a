//! Where a scan ends, for every way in which bytes can be wrong.

use std::os::unix::fs::FileExt as _;

use proptest::prelude::*;

use super::*;
use crate::record::batch::{seal, stamp};
use crate::storage::testing::{batch_of, plain};

const RULES: Rules = Rules { base: 0, next: 0, exact: true, limit: i64::MAX, reach: 0 };

/// Three batches of 2, 3 and 1 records; the middle one is larger than the scan's window.
fn three() -> Vec<Vec<u8>> {
    let mut batches = vec![plain(0, 2, 50).to_vec(), plain(2, 3, 500_000).to_vec(), plain(5, 1, 70).to_vec()];
    for (batch, base) in batches.iter_mut().zip([0, 2, 5]) {
        stamp(batch, base, 1);
    }
    batches
}

fn scan_bytes(bytes: &[u8], rules: Rules) -> (Scanned, Vec<(u64, i64)>) {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    let mut found = Vec::new();
    let len = bytes.len() as u64;
    let scanned = scan(&file, 0, len, rules, &mut Vec::new(), &mut |batch| {
        found.push((batch.position, batch.header.base_offset));
    });
    (scanned.unwrap(), found)
}

#[test]
fn valid_batches_are_read_to_the_end_even_if_larger_than_the_window() {
    let bytes = three().concat();
    assert!(bytes.len() > WINDOW);
    let (scanned, found) = scan_bytes(&bytes, RULES);
    assert_eq!((scanned.end, scanned.next, scanned.stop), (bytes.len() as u64, 6, None));
    assert_eq!(found.iter().map(|(_, base)| *base).collect::<Vec<_>>(), [0, 2, 5]);
}

#[test]
fn the_bytes_of_a_control_batch_are_shown_even_at_the_end_of_a_window() {
    use crate::record::build::{BatchBuilder, NewRecord};
    let mut first = batch_of(&[1], WINDOW - 500, 0).to_vec();
    stamp(&mut first, 0, 0);
    let mut builder = BatchBuilder::new().control(true).producer(9, 0, -1);
    builder.push(&NewRecord { key: Some(&[0, 0, 0, 1]), value: Some(&[7; 600]), ..NewRecord::default() });
    let mut marker = builder.build().unwrap().to_vec();
    stamp(&mut marker, 1, 0);
    let bytes = [first, marker.clone()].concat();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let mut controls = Vec::new();
    scan(&file, 0, bytes.len() as u64, RULES, &mut Vec::new(), &mut |found| {
        controls.push(found.control.map(<[u8]>::to_vec));
    })
    .unwrap();
    assert_eq!(controls, [None, Some(marker)]);
}

#[test]
fn a_file_that_ends_inside_a_batch_is_valid_up_to_the_batch() {
    let batches = three();
    let bytes = batches.concat();
    let ends = [0, batches[0].len(), batches[0].len() + batches[1].len(), bytes.len()];
    for cut in [1, 60, 61, ends[1] - 1, ends[1], ends[1] + 61, ends[2] - 1, ends[2] + 30, ends[3] - 1] {
        let (scanned, _) = scan_bytes(&bytes[..cut], RULES);
        let expected = ends.iter().copied().rfind(|end| *end <= cut).unwrap();
        assert_eq!(scanned.end, expected as u64, "cut at {cut}");
        assert_eq!(scanned.stop.is_none(), expected == cut);
    }
}

#[test]
fn zeros_behind_the_log_are_no_batches() {
    let mut bytes = three()[0].clone();
    let end = bytes.len() as u64;
    bytes.resize(100_000, 0);
    let (scanned, _) = scan_bytes(&bytes, RULES);
    assert_eq!((scanned.end, scanned.next), (end, 2));
    assert!(scanned.stop.is_some());
}

#[test]
fn offsets_follow_exactly_or_rise_as_the_rules_say() {
    let mut batches = [plain(0, 2, 50).to_vec(), plain(2, 1, 50).to_vec()];
    stamp(&mut batches[0], 0, 1);
    let first = batches[0].len() as u64;
    let mut ends = |base: i64, epoch: i32, rules: Rules| {
        stamp(&mut batches[1], base, epoch);
        scan_bytes(&batches.concat(), rules).0.end == first
    };
    let risen = Rules { exact: false, ..RULES };
    assert!(!ends(2, 1, RULES));
    assert!(ends(3, 1, RULES), "a gap");
    assert!(!ends(3, 1, risen), "compaction leaves gaps");
    assert!(ends(1, 1, risen), "an offset twice");
    assert!(!ends(2, 0, RULES), "an epoch that falls does not say whose is wrong");
    assert!(!ends(2, 9, RULES));
    assert!(ends(i64::from(i32::MAX) + 1, 1, risen), "too far from the segment's base");
}

#[test]
fn a_batch_with_impossible_counts_is_none_even_if_its_crc_is_right() {
    let mut batch = plain(0, 1, 50).to_vec();
    stamp(&mut batch, 0, 0);
    batch[23..27].copy_from_slice(&(-5_i32).to_be_bytes());
    seal(&mut batch);
    assert_eq!(scan_bytes(&batch, RULES).0.batches, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_flipped_bit_ends_the_log_before_its_batch(at in 0..400_usize, bit in 0..8_u8) {
        let mut batches = [plain(0, 1, 50).to_vec(), plain(1, 2, 50).to_vec(), plain(3, 1, 50).to_vec()];
        for (batch, base) in batches.iter_mut().zip([0, 1, 3]) {
            stamp(batch, base, 1);
        }
        let mut bytes = batches.concat();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let (scanned, _) = scan_bytes(&bytes, RULES);
        let ends = [0, batches[0].len(), batches[0].len() + batches[1].len()];
        let start = ends.iter().copied().rfind(|end| *end <= at).unwrap();
        // The leader epoch stands outside the CRC: one that rises cannot be told from a true one.
        let in_epoch = (12..16).contains(&(at - start));
        prop_assert!(in_epoch || scanned.end == start as u64, "{:?}", scanned);
        prop_assert!(scanned.end == start as u64 || scanned.batches >= 1);
    }

    #[test]
    fn random_bytes_never_panic_and_never_pass(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
        prop_assert_eq!(scan_bytes(&bytes, RULES).0.batches, 0);
    }
}
