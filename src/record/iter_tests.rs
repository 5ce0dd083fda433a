//! What iteration yields of whole, empty and damaged batches.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression as CrateCompression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::topic::Compression;
use crate::record::batch::{Attributes, HEADER_LEN, edited};
use crate::record::build::{BatchBuilder, NewRecord};

fn batch(codec: Codec, records: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(100).compression(Compression { codec, level: 3 });
    for n in 0..records {
        let headers = [HeaderView { key: b"h", value: None }, HeaderView { key: b"h", value: Some(b"2") }];
        builder.push(&NewRecord {
            timestamp: 1000 + i64::from(n),
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &headers,
        });
    }
    builder.build().unwrap().to_vec()
}

fn items(bytes: &[u8]) -> Vec<Result<i64, BatchError>> {
    let batch = BatchView::parse(bytes).unwrap();
    let records = batch.records(1 << 20).unwrap();
    records.iter().map(|record| record.map(|record| record.offset)).collect()
}

#[test]
fn headers_keep_their_order_and_their_repeats() {
    let bytes = batch(Codec::None, 1);
    let batch = BatchView::parse(&bytes).unwrap();
    let records = batch.records(0).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    assert_eq!(record.headers.len(), 2);
    assert_eq!(
        record.headers.collect::<Vec<_>>(),
        [HeaderView { key: b"h", value: None }, HeaderView { key: b"h", value: Some(b"2") }]
    );
}

#[test]
fn an_uncompressed_batch_is_borrowed_whatever_the_bound() {
    let bytes = batch(Codec::None, 2);
    let batch = BatchView::parse(&bytes).unwrap();
    let records = batch.records(0).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    assert!(bytes.as_ptr_range().contains(&record.key.unwrap().as_ptr()));
}

#[test]
fn the_bound_holds_for_what_is_decompressed() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = batch(codec, 100);
        let batch = BatchView::parse(&bytes).unwrap();
        let size = batch.records(1 << 20).unwrap().bytes.len();
        assert!(batch.records(size).is_ok(), "{codec}");
        let error = batch.records(size - 1).unwrap_err();
        assert_eq!(error, BatchError::Bomb { max_bytes: size - 1 }, "{codec}");
    }
}

#[test]
fn fewer_or_more_bytes_than_the_count_says_are_an_error_at_the_end() {
    for codec in Codec::ALL {
        let bytes = batch(codec, 3);
        assert_eq!(items(&bytes), [Ok(100), Ok(101), Ok(102)]);
        let more = edited(&bytes, |header| header.records_count = 4);
        assert_eq!(items(&more), [Ok(100), Ok(101), Ok(102), Err(BatchError::Record("it ends early"))]);
        let fewer = edited(&bytes, |header| header.records_count = 2);
        assert_eq!(items(&fewer), [Ok(100), Ok(101), Err(BatchError::Surplus)]);
        let negative = edited(&bytes, |header| header.records_count = -1);
        assert_eq!(items(&negative), [Err(BatchError::Count(-1))]);
    }
}

#[test]
fn s93_an_emptied_batch_has_no_records_and_is_not_decompressed() {
    let mut bytes = edited(&batch(Codec::Gzip, 3), |header| {
        header.records_count = 0;
        header.batch_length = 49;
    });
    bytes.truncate(HEADER_LEN);
    assert_eq!(items(&bytes), []);
}

#[test]
fn a_codec_that_does_not_exist_is_an_error() {
    let bytes = edited(&batch(Codec::None, 1), |header| header.attributes = Attributes(6));
    let error = BatchView::parse(&bytes).unwrap().records(100).unwrap_err();
    assert_eq!(error, BatchError::Codec(Attributes(6)));
}

#[test]
fn times_count_from_the_base_or_are_the_batchs() {
    let times = |bytes: &[u8]| {
        let batch = BatchView::parse(bytes).unwrap();
        let records = batch.records(1 << 20).unwrap();
        records.iter().map(|record| record.unwrap().timestamp).collect::<Vec<_>>()
    };
    let bytes = batch(Codec::Lz4, 3);
    assert_eq!(times(&bytes), [1000, 1001, 1002]);
    let horizon = edited(&bytes, |header| {
        header.attributes = header.attributes.with_delete_horizon(true);
        header.base_timestamp = 5;
    });
    assert_eq!(times(&horizon), [5, 6, 7], "deltas count from the horizon where there is one");
    let appended = edited(&bytes, |header| header.attributes = header.attributes.with_log_append_time(true));
    assert_eq!(times(&appended), [1002, 1002, 1002]);
}

/// The crate's record codec is held against ours where it is right (reference: duplicate header keys, log append time
/// and records without sequence are where it is not).
#[test]
fn the_protocol_crate_reads_ours_and_we_read_its() {
    let records: Vec<Record> = (0..5)
        .map(|n| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: 9,
            producer_epoch: 1,
            timestamp_type: TimestampType::Creation,
            offset: 100 + n,
            sequence: i32::try_from(n).unwrap() + 7,
            timestamp: 1000 + n,
            key: Some(Bytes::from_static(b"key")),
            value: (n != 2).then_some(Bytes::from_static(b"value")),
            headers: [("h".to_owned().into(), Some(Bytes::from_static(b"1")))].into_iter().collect(),
        })
        .collect();
    let mut theirs = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: CrateCompression::None };
    RecordBatchEncoder::encode(&mut theirs, &records, &options).unwrap();

    let mut builder = BatchBuilder::new().base_offset(100).leader_epoch(3).producer(9, 1, 7);
    for record in &records {
        builder.push(&NewRecord {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &[HeaderView { key: b"h", value: Some(b"1") }],
        });
    }
    let ours = builder.build().unwrap();
    assert_eq!(ours, theirs.freeze());
    assert_eq!(RecordBatchDecoder::decode(&mut ours.clone()).unwrap().records, records);
}

/// Everything a reader may do with bytes from a disk.
fn read_all(bytes: &[u8]) {
    let Ok(batch) = BatchView::parse(bytes) else {
        return;
    };
    let _ = batch.crc_ok();
    let _ = crate::record::control::read_marker(&batch);
    let Ok(records) = batch.records(1 << 20) else {
        return;
    };
    let mut seen = BTreeMap::new();
    let mut iter = records.iter();
    while let Some(record) = iter.next() {
        match record {
            Ok(record) => {
                assert_eq!(record.headers.len(), record.headers.count(), "parsed once, headers do not fail");
                *seen.entry("good").or_insert(0) += 1;
            }
            Err(_) => assert!(iter.next().is_none(), "an error is the last item"),
        }
    }
    let good = seen.get("good").copied().unwrap_or(0);
    assert!(good <= batch.header().records_count.max(0));
}

proptest! {
    #[test]
    fn damaged_batches_never_panic(
        codec in proptest::sample::select(&Codec::ALL[..]),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = batch(codec, 6);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes);
        if bytes.len() >= HEADER_LEN {
            // The same with a frame that is sound, so that the records are reached.
            let length = i32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            read_all(&bytes);
        }
    }

    #[test]
    fn any_payload_never_panics(
        codec in proptest::sample::select(&Codec::ALL[..]),
        payload in vec(any::<u8>(), 0..300),
        count in 0..50,
    ) {
        let mut bytes = edited(&batch(Codec::None, 1), |header| {
            header.attributes = header.attributes.with_codec(codec);
            header.records_count = count;
        });
        bytes.truncate(HEADER_LEN);
        bytes.extend_from_slice(&payload);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        read_all(&bytes);
    }
}
