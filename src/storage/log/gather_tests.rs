//! What is in the file after one gathered write.

use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::record::batch::{Attributes, BatchHeader, HEADER_LEN};

/// Writes batches of these sizes and returns the file's bytes beside the expected ones.
fn write_and_read(sizes: &[usize], position: u64) -> (Vec<u8>, Vec<u8>) {
    let header = BatchHeader::parse(&empty_header()).unwrap();
    let bodies: Vec<Bytes> =
        sizes.iter().zip((1_u8..=255).cycle()).map(|(len, n)| Bytes::from(vec![n; *len])).collect();
    let mut expected = Vec::new();
    let batches: Vec<AppendBatch<'_>> = bodies
        .iter()
        .zip(100_i64..)
        .map(|(bytes, base_offset)| AppendBatch { bytes, header: &header, base_offset, leader_epoch: 7 })
        .collect();
    for batch in &batches {
        let mut bytes = batch.bytes.to_vec();
        stamp(&mut bytes, batch.base_offset, batch.leader_epoch);
        expected.extend_from_slice(&bytes);
    }
    let file = tempfile::tempfile().unwrap();
    write_batches(&file, position, &batches).unwrap();
    let mut found = vec![0; expected.len()];
    file.read_exact_at(&mut found, position).unwrap();
    assert_eq!(file.metadata().unwrap().len(), position + expected.len() as u64, "nothing more is written");
    (found, expected)
}

fn empty_header() -> [u8; HEADER_LEN] {
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 49,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: 0,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: 0,
    };
    header.encode()
}

#[test]
fn more_slices_than_the_kernel_takes_at_once_are_all_written() {
    let sizes: Vec<usize> = (0..1_100).map(|n| if n % 3 == 0 { 100 } else { 4_100 }).collect();
    let (found, expected) = write_and_read(&sizes, 10);
    assert!(found == expected);
}

proptest! {
    #[test]
    fn batches_of_any_size_lie_in_the_file_stamped_and_in_order(
        sizes in prop::collection::vec(prop_oneof![61..200_usize, 4_000..4_200_usize, 20_000..70_000_usize], 1..40),
        position in 0..5_000_u64,
    ) {
        let (found, expected) = write_and_read(&sizes, position);
        prop_assert!(found == expected);
    }
}
