//! Ends of batches by their checksums, whatever the records hold, and whole batches among other bytes.

use std::io::{Seek as _, Write as _};

use super::*;
use crate::record::batch::{seal, stamp};
use crate::storage::testing::plain;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A batch of two records at `first` whose value is `value`.
fn batch(first: i64, value: &[u8]) -> Vec<u8> {
    let mut builder = crate::record::build::BatchBuilder::new();
    for _ in 0..2 {
        builder.push(&crate::record::build::NewRecord { value: Some(value), ..Default::default() });
    }
    let mut bytes = builder.build().unwrap().to_vec();
    stamp(&mut bytes, first, 3);
    bytes
}

#[test]
fn a_length_is_found_though_the_records_are_full_of_the_next_offset() {
    // Longer than what is read at once, so that it stands at every place of a piece, and across two.
    for shift in 0..9 {
        let mut value = vec![7; shift];
        value.extend(12_i64.to_be_bytes().repeat(40_000));
        let whole = [batch(10, &value), batch(12, b"x")].concat();
        let end = batch(10, &value).len() as u64;
        for bit in [0, 8, 16, 21, 30] {
            let mut bytes = whole.clone();
            bytes[11 - bit / 8] ^= 1 << (bit % 8);
            let file = file_of(&bytes);
            let found = batch_by_checksum(&file, 0..bytes.len() as u64, 10, "test").unwrap().unwrap();
            assert_eq!((found.from, found.to, found.first, found.next), (0, end, 10, 12), "{shift}, {bit}");
        }
    }
}

#[test]
fn a_batch_that_is_torn_or_that_has_another_offset_is_never_proven() {
    let whole = batch(10, &[9; 300]);
    let mut wrong = whole.clone();
    wrong[10] ^= 1;
    for len in 0..wrong.len() {
        let file = file_of(&wrong[..len]);
        assert_eq!(batch_by_checksum(&file, 0..len as u64, 10, "test").unwrap(), None, "{len}");
    }
    let file = file_of(&wrong);
    assert!(batch_by_checksum(&file, 0..wrong.len() as u64, 10, "test").unwrap().is_some());
    assert_eq!(batch_by_checksum(&file, 0..wrong.len() as u64, 11, "test").unwrap(), None);
}

#[test]
fn a_whole_batch_is_found_among_other_bytes_if_its_offset_fits() {
    let mut bytes = vec![0xa5; PIECE_BYTES - 30];
    let at = bytes.len() as u64;
    bytes.extend(batch(12, b"value"));
    let file = file_of(&bytes);
    let find = |to: u64, offsets| whole_batch_in(&file, 0..to, offsets).unwrap();
    let len = bytes.len() as u64;
    assert_eq!(find(len, 10..20), Some((at, 12)));
    assert_eq!(find(len, 13..20), None);
    assert_eq!(find(len - 1, 10..20), None);
    let mut bad = bytes.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(whole_batch_in(&file_of(&bad), 0..len, 10..20).unwrap(), None);
}

#[test]
fn a_batch_at_the_front_counts_whatever_its_offset() {
    let bytes = batch(3, b"value");
    let found = whole_batch_in(&file_of(&bytes), 0..bytes.len() as u64, 10..20).unwrap();
    assert_eq!(found, Some((0, 3)));
}

#[test]
fn bytes_that_look_like_very_many_batches_are_taken_for_one_and_holes_cost_nothing() {
    let mut forged = plain(0, 1, 10).to_vec();
    stamp(&mut forged, 12, 3);
    forged[8..12].copy_from_slice(&(60_i32 << 20).to_be_bytes());
    seal(&mut forged);
    let mut bytes = vec![0];
    for _ in 0..8 {
        bytes.extend_from_slice(&forged);
    }
    let file = file_of(&bytes);
    file.set_len(64 << 20).unwrap();
    assert!(whole_batch_in(&file, 0..64 << 20, 10..20).unwrap().is_some());
    let empty = file_of(&[0; 100]);
    empty.set_len(1 << 40).unwrap();
    assert_eq!(whole_batch_in(&empty, 0..1 << 40, 10..20).unwrap(), None);
}
