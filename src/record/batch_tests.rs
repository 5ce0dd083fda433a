//! The header's layout, the CRC against a bit-by-bit reference, and stamping.

use proptest::prelude::*;

use super::*;

/// The batch `bytes` with another header and the CRC that belongs to it.
pub(in crate::record) fn edited(bytes: &[u8], edit: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(bytes).unwrap();
    edit(&mut header);
    let mut bytes = bytes.to_vec();
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    seal(&mut bytes);
    bytes
}

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) in its definition's own shape.
fn crc32c_bit_by_bit(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn header() -> BatchHeader {
    BatchHeader {
        base_offset: 7,
        batch_length: 49,
        partition_leader_epoch: 3,
        magic: MAGIC,
        crc: 0xdead_beef,
        attributes: Attributes(0x11),
        last_offset_delta: 4,
        base_timestamp: 1000,
        max_timestamp: 2000,
        producer_id: 42,
        producer_epoch: 5,
        base_sequence: 6,
        records_count: 5,
    }
}

#[test]
fn the_fields_stand_where_kafka_puts_them() {
    let mut expected = Vec::new();
    expected.extend(7_i64.to_be_bytes());
    expected.extend(49_i32.to_be_bytes());
    expected.extend(3_i32.to_be_bytes());
    expected.push(2);
    expected.extend(0xdead_beef_u32.to_be_bytes());
    expected.extend(0x11_i16.to_be_bytes());
    expected.extend(4_i32.to_be_bytes());
    expected.extend(1000_i64.to_be_bytes());
    expected.extend(2000_i64.to_be_bytes());
    expected.extend(42_i64.to_be_bytes());
    expected.extend(5_i16.to_be_bytes());
    expected.extend(6_i32.to_be_bytes());
    expected.extend(5_i32.to_be_bytes());
    assert_eq!(header().encode().as_slice(), expected);
    assert_eq!(BatchHeader::parse(&expected), Ok(header()));
}

#[test]
fn the_ends_of_a_batch_follow_from_its_header() {
    let header = header();
    assert_eq!(header.total_len(), HEADER_LEN);
    assert_eq!(header.last_offset(), 11);
    assert_eq!(header.next_offset(), 12);
    assert_eq!(header.last_sequence(), 10);
    assert_eq!(
        BatchHeader { base_sequence: i32::MAX - 1, ..header }.last_sequence(),
        2,
        "sequences wrap to 0"
    );
    assert_eq!(BatchHeader { base_sequence: -1, ..header }.last_sequence(), -1);
    assert_eq!(
        BatchHeader { base_offset: i64::MAX, ..header }.next_offset(),
        i64::MAX,
        "damaged, but no overflow"
    );
}

#[test]
fn a_header_that_cannot_be_is_refused() {
    let good = header().encode();
    assert_eq!(BatchHeader::parse(&good[..60]), Err(BatchError::Truncated { need: 61, have: 60 }));
    let old = BatchHeader { magic: 1, ..header() }.encode();
    assert_eq!(BatchHeader::parse(&old), Err(BatchError::Magic(1)));
    for length in [48, 0, -1, i32::MIN] {
        let short = BatchHeader { batch_length: length, ..header() }.encode();
        assert_eq!(BatchHeader::parse(&short), Err(BatchError::Length(length)));
    }
    let long = BatchHeader { batch_length: i32::MAX, ..header() }.encode();
    assert_eq!(
        BatchView::parse(&long).map(|view| view.bytes().len()),
        Err(BatchError::Truncated { need: HEADER_LEN - 49 + 0x7fff_ffff, have: 61 })
    );
}

#[test]
fn a_view_ends_where_its_batch_does() {
    let mut bytes = BatchHeader { batch_length: 52, ..header() }.encode().to_vec();
    bytes.extend_from_slice(b"abcNEXT");
    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!(view.bytes().len(), 64);
    assert_eq!(view.payload(), b"abc");
}

#[test]
fn attribute_bits_are_kafkas() {
    let plain = Attributes::default();
    assert_eq!(plain.with_codec(Codec::Zstd), Attributes(4));
    assert_eq!(plain.with_log_append_time(true), Attributes(0x08));
    assert_eq!(plain.with_transactional(true), Attributes(0x10));
    assert_eq!(plain.with_control(true), Attributes(0x20));
    assert_eq!(plain.with_delete_horizon(true), Attributes(0x40));
    let all = Attributes(0x7f);
    assert_eq!(all.codec(), None, "7 is no codec");
    assert_eq!(all.with_codec(Codec::Gzip).codec(), Some(Codec::Gzip));
    assert!(
        all.is_log_append_time() && all.is_transactional() && all.is_control() && all.has_delete_horizon()
    );
    assert_eq!(all.with_log_append_time(false), Attributes(0x77));
}

#[test]
fn crc32c_agrees_with_its_definition_at_many_lengths_and_offsets() {
    assert_eq!(crc32c_bit_by_bit(b"123456789"), 0xe306_9283, "the check value of RFC 3720");
    let bytes: Vec<u8> = (0..40_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    // The crate switches kernels with the length and the alignment: lengths around every power of two, all offsets.
    let lengths =
        (0..200).chain([255, 256, 257, 1023, 1024, 1025, 4095, 4096, 8191, 8192, 12_289, 32_768, 39_000]);
    for length in lengths {
        for offset in [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 21] {
            let slice = &bytes[offset..offset + length];
            assert_eq!(crc32c::crc32c(slice), crc32c_bit_by_bit(slice), "length {length} at {offset}");
        }
    }
}

proptest! {
    #[test]
    fn stamping_keeps_the_crc(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        offset in any::<i64>(),
        epoch in any::<i32>(),
    ) {
        let length = 49 + i32::try_from(payload.len()).unwrap();
        let mut bytes = BatchHeader { batch_length: length, ..header() }.encode().to_vec();
        bytes.extend_from_slice(&payload);
        prop_assert!(!BatchView::parse(&bytes).unwrap().crc_ok());
        seal(&mut bytes);
        let before = *BatchView::parse(&bytes).unwrap().header();
        prop_assert_eq!(before.crc, crc32c_bit_by_bit(&bytes[21..]));
        stamp(&mut bytes[..STAMP_LEN], offset, epoch);
        let view = BatchView::parse(&bytes).unwrap();
        prop_assert!(view.crc_ok());
        prop_assert_eq!(
            *view.header(),
            BatchHeader { base_offset: offset, partition_leader_epoch: epoch, ..before }
        );
    }

    #[test]
    fn any_flipped_bit_behind_the_crc_is_seen(payload in proptest::collection::vec(any::<u8>(), 0..64), bit in any::<prop::sample::Index>()) {
        let length = 49 + i32::try_from(payload.len()).unwrap();
        let mut bytes = BatchHeader { batch_length: length, ..header() }.encode().to_vec();
        bytes.extend_from_slice(&payload);
        seal(&mut bytes);
        let bit = bit.index((bytes.len() - CRC_FROM) * 8);
        bytes[CRC_FROM + bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!BatchView::parse(&bytes).unwrap().crc_ok());
    }
}
