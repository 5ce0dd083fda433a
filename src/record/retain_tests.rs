//! What is left of a batch, record by record and byte by byte.

use proptest::prelude::*;

use super::*;
use crate::record::{BatchBuilder, BatchView, HeaderView, NewRecord};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn compression(codec: Codec) -> Compression {
    Compression { codec, level: if codec == Codec::Zstd { 3 } else { -1 } }
}

/// A batch of records whose times are these, keys their numbers, every third without a value.
fn batch(times: &[Timestamp], codec: Codec, log_append_time: Option<Timestamp>) -> Vec<u8> {
    let mut builder = BatchBuilder::new()
        .base_offset(1_000)
        .leader_epoch(4)
        .producer(77, 2, 5)
        .transactional(true)
        .compression(compression(codec));
    if let Some(now) = log_append_time {
        builder = builder.log_append_time(now);
    }
    for (n, timestamp) in times.iter().enumerate() {
        let key = n.to_string();
        let value = (n % 3 != 0).then_some([n.to_le_bytes()[0]; 20]);
        builder.push(&NewRecord {
            timestamp: *timestamp,
            key: Some(key.as_bytes()),
            value: value.as_ref().map(|value| &value[..]),
            headers: &[HeaderView { key: b"h", value: Some(b"x") }, HeaderView { key: b"h", value: None }],
        });
    }
    builder.build().unwrap().to_vec()
}

type Seen = (i64, Timestamp, Option<Vec<u8>>, Option<Vec<u8>>, usize);

fn seen(bytes: &[u8]) -> Vec<Seen> {
    let batch = BatchView::parse(bytes).unwrap();
    assert!(batch.crc_ok());
    assert_eq!(batch.bytes().len(), bytes.len());
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let records = batch.records(1 << 20).unwrap();
    let each = records.iter().map(|record| record.unwrap());
    each.map(|r| (r.offset, r.timestamp, own(r.key), own(r.value), r.headers.count())).collect()
}

proptest! {
    #[test]
    fn s93_what_stays_is_what_it_was(
        times in prop::collection::vec(prop_oneof![Just(-1), 0..2_000_000_000_000_i64, Just(i64::MAX)], 1..20),
        luck in prop::collection::vec(any::<bool>(), 20),
        codec in 0..5_usize, horizon in prop::option::of(0..3_000_000_000_000_i64),
        log_append_time in prop::option::of(0..2_000_000_000_000_i64),
    ) {
        let codec = CODECS[codec];
        let before = batch(&times, codec, log_append_time);
        let mut kept = luck[..times.len()].to_vec();
        kept[times.len() - 1] |= !kept.iter().any(|keep| *keep);
        let view = BatchView::parse(&before).unwrap();
        let records = view.records(1 << 20).unwrap();
        let after = retain(&records, &kept, horizon, compression(codec)).unwrap();

        let wanted: Vec<Seen> =
            seen(&before).into_iter().zip(&kept).filter(|(_, keep)| **keep).map(|(record, _)| record).collect();
        let newest = wanted.iter().map(|record| record.1).max().unwrap();
        prop_assert_eq!(seen(&after), wanted);

        let (old, new) = (view.header(), *BatchView::parse(&after).unwrap().header());
        let framed = BatchHeader {
            batch_length: new.batch_length,
            crc: new.crc,
            records_count: new.records_count,
            base_timestamp: horizon.unwrap_or(old.base_timestamp),
            max_timestamp: newest.max(-1),
            attributes: old.attributes.with_delete_horizon(horizon.is_some()),
            ..*old
        };
        prop_assert_eq!(new, framed);
    }
}

#[test]
fn s93_an_emptied_batch_keeps_its_frame() {
    for codec in CODECS {
        let before = batch(&[5, 9, 7], codec, None);
        let old = *BatchView::parse(&before).unwrap().header();
        let horizon = BatchHeader { attributes: old.attributes.with_delete_horizon(true), ..old };
        for header in [old, horizon] {
            let after = empty(&header);
            assert_eq!(seen(&after), []);
            let new = *BatchView::parse(&after).unwrap().header();
            assert_eq!(after.len(), HEADER_LEN);
            assert_eq!((new.base_offset, new.last_offset(), new.last_sequence()), (1_000, 1_002, 7));
            assert_eq!((new.producer_id, new.producer_epoch, new.partition_leader_epoch), (77, 2, 4));
            assert_eq!((new.max_timestamp, new.newest_record()), (9, -1));
            assert!(new.attributes.is_transactional() && !new.attributes.has_delete_horizon());
            assert_eq!(new.attributes.codec(), Some(Codec::None));
        }
    }
}

#[test]
fn a_record_that_does_not_parse_is_an_error() {
    let mut bytes = batch(&[1, 2], Codec::None, None);
    let at = bytes.len() - 1;
    bytes.truncate(at);
    let length = i32::try_from(bytes.len() - LENGTH_OVERHEAD).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let view = BatchView::parse(&bytes).unwrap();
    let records = view.records(1 << 20).unwrap();
    assert!(retain(&records, &[true, true], None, compression(Codec::None)).is_err());
    assert!(retain(&records, &[true], None, compression(Codec::None)).is_ok(), "the first is whole");
}
