//! What is built is read back as it was meant, with every codec.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::batch::BatchView;

/// A record of owned parts.
#[derive(Debug, Clone)]
struct Made {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = |most| option::of(vec(any::<u8>(), 0..most));
    let timestamp = prop_oneof![Just(-1), 1_700_000_000_000..1_800_000_000_000_i64, any::<i64>()];
    (timestamp, bytes(40), bytes(400), vec((vec(any::<u8>(), 0..9), bytes(9)), 0..4))
        .prop_map(|(timestamp, key, value, headers)| Made { timestamp, key, value, headers })
}

fn build(builder: BatchBuilder, records: &[Made]) -> Bytes {
    let mut builder = builder;
    for made in records {
        let headers: Vec<HeaderView<'_>> =
            made.headers.iter().map(|(key, value)| HeaderView { key, value: value.as_deref() }).collect();
        builder.push(&NewRecord {
            timestamp: made.timestamp,
            key: made.key.as_deref(),
            value: made.value.as_deref(),
            headers: &headers,
        });
    }
    builder.build().unwrap()
}

fn read(bytes: &[u8]) -> Vec<(i64, Made)> {
    let batch = BatchView::parse(bytes).unwrap();
    let records = batch.records(64 << 20).unwrap();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    records
        .iter()
        .map(|record| {
            let record = record.unwrap();
            let headers = record.headers.map(|header| (header.key.to_vec(), owned(header.value))).collect();
            let made = Made {
                timestamp: record.timestamp,
                key: owned(record.key),
                value: owned(record.value),
                headers,
            };
            (record.offset, made)
        })
        .collect()
}

/// Equality by text: two records are the same when they look the same.
fn shown(records: impl IntoIterator<Item = Made>) -> Vec<String> {
    records.into_iter().map(|record| format!("{record:?}")).collect()
}

proptest! {
    #[test]
    fn records_survive_every_codec(
        records in vec(made(), 1..40),
        codec in proptest::sample::select(&Codec::ALL[..]),
        base_offset in 0..i64::MAX / 2,
        producer in option::of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX)),
        (transactional, epoch) in (any::<bool>(), -1..1000),
    ) {
        let (id, producer_epoch, sequence) = producer.unwrap_or((-1, -1, -1));
        let builder = BatchBuilder::new()
            .compression(Compression { codec, level: 3 })
            .base_offset(base_offset)
            .leader_epoch(epoch)
            .producer(id, producer_epoch, sequence)
            .transactional(transactional);
        let bytes = build(builder, &records);
        let batch = BatchView::parse(&bytes).unwrap();
        let header = batch.header();
        let count = i32::try_from(records.len()).unwrap();
        prop_assert!(batch.crc_ok());
        prop_assert_eq!(bytes.len(), header.total_len());
        prop_assert_eq!(header.attributes, Attributes::default().with_codec(codec).with_transactional(transactional));
        prop_assert_eq!((header.base_offset, header.partition_leader_epoch), (base_offset, epoch));
        prop_assert_eq!((header.records_count, header.last_offset_delta), (count, count - 1));
        prop_assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence),
            (id, producer_epoch, sequence)
        );
        prop_assert_eq!(header.base_timestamp, records[0].timestamp);
        let latest = records.iter().map(|record| record.timestamp).max().unwrap();
        prop_assert_eq!(header.max_timestamp, latest.max(-1));

        let read = read(&bytes);
        let offsets: Vec<i64> = read.iter().map(|(offset, _)| *offset).collect();
        prop_assert_eq!(offsets, (base_offset..base_offset + i64::from(count)).collect::<Vec<_>>());
        prop_assert_eq!(shown(read.into_iter().map(|(_, record)| record)), shown(records));
    }
}

#[test]
fn records_larger_than_every_window_and_block_survive() {
    let values = [vec![7; 3 << 20], (0..300_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect()];
    for codec in Codec::ALL {
        let records =
            values.clone().map(|value| Made { timestamp: 5, key: None, value: Some(value), headers: vec![] });
        let bytes = build(BatchBuilder::new().compression(Compression { codec, level: 1 }), &records);
        assert_eq!(shown(read(&bytes).into_iter().map(|(_, record)| record)), shown(records), "{codec}");
    }
}

#[test]
fn s39_under_log_append_time_every_record_has_the_batchs_time() {
    let mut builder = BatchBuilder::new().log_append_time(9000);
    builder.push(&NewRecord { timestamp: 5, ..NewRecord::default() });
    builder.push(&NewRecord { timestamp: 10_000, ..NewRecord::default() });
    let bytes = builder.build().unwrap();
    assert_eq!(BatchView::parse(&bytes).unwrap().header().max_timestamp, 9000);
    assert!(read(&bytes).iter().all(|(_, record)| record.timestamp == 9000));
}

#[test]
fn levels_change_the_size() {
    let text: Vec<u8> = (0..60_000_u32).flat_map(|n| format!("{} ", n * n % 1000).into_bytes()).collect();
    let size = |codec, level| {
        let mut builder = BatchBuilder::new().compression(Compression { codec, level });
        builder.push(&NewRecord { value: Some(&text), ..NewRecord::default() });
        builder.build().unwrap().len()
    };
    assert!(size(Codec::Gzip, 9) < size(Codec::Gzip, 1));
    assert_eq!(size(Codec::Gzip, -1), size(Codec::Gzip, 6), "-1 is the library's own default");
    assert!(size(Codec::Zstd, 19) < size(Codec::Zstd, -7));
}

#[test]
fn a_batch_without_records_is_not_built() {
    assert!(BatchBuilder::new().build().is_err());
}

#[test]
fn the_uncompressed_length_is_told_before_the_batch_is_built() {
    let mut builder = BatchBuilder::new();
    assert_eq!(builder.uncompressed_len(), HEADER_LEN);
    builder.push(&NewRecord { key: Some(b"key"), value: Some(&[0; 100]), ..NewRecord::default() });
    let told = builder.uncompressed_len();
    assert_eq!(builder.build().unwrap().len(), told);
}
