//! The produce-time checks, held against what Apache Kafka 4.3.1 answered and stored ([`kafka`]), rule by rule, and
//! against random batches.

#[path = "kafka/mod.rs"]
mod kafka;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::batch::{Attributes, BatchView, HEADER_LEN, edited, seal};
use crate::record::build::{BatchBuilder, NewRecord};

const NOW: i64 = 1_800_000_000_000;
const CODECS: [Codec; 5] = Codec::ALL;

fn batch(codec: Codec, records: &[(i64, Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(Compression { codec, level: 3 });
    for &(timestamp, key) in records {
        builder.push(&NewRecord { timestamp, key, value: Some(b"value"), headers: &[] });
    }
    builder.build().unwrap().to_vec()
}

fn good(codec: Codec) -> Vec<u8> {
    batch(codec, &[(NOW - 2, Some(b"a")), (NOW - 1, None), (NOW, Some(b""))])
}

fn try_check(settings: &TopicSettings, bytes: Vec<u8>) -> Result<CheckedBatch, Refusal> {
    check(Some(bytes.into()), &CheckRules::new(settings, "orders", 3, 8), NOW)
}

fn code(settings: &TopicSettings, bytes: Vec<u8>) -> ErrorCode {
    try_check(settings, bytes).map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
}

/// Key, value and time of each record, and that the deltas count up.
type Content = Vec<(Option<Vec<u8>>, Option<Vec<u8>>, i64)>;

fn content(bytes: &[u8]) -> Content {
    let batch = BatchView::parse(bytes).unwrap();
    assert!(batch.crc_ok());
    let records = batch.records(256 << 20).unwrap();
    let records = records.iter().enumerate().map(|(n, record)| {
        let record = record.unwrap();
        assert_eq!(usize::try_from(record.offset_delta), Ok(n));
        (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), record.timestamp)
    });
    records.collect()
}

#[test]
fn s35_a_partition_holds_exactly_one_batch_of_magic_2() {
    let settings = TopicSettings::default();
    let rules = CheckRules::new(&settings, "orders", 0, 8);
    assert_eq!(
        check(None, &rules, NOW).unwrap_err().code,
        ErrorCode::InvalidRecord,
        "Kafka never answers this"
    );
    let good = good(Codec::None);
    assert_eq!(code(&settings, good.clone()), ErrorCode::None);
    assert_eq!(code(&settings, vec![]), ErrorCode::InvalidRecord);
    assert_eq!(code(&settings, [&good[..], &good].concat()), ErrorCode::InvalidRecord);
    for magic in [0, 1] {
        let mut old = good.clone();
        old[16] = magic;
        assert_eq!(code(&settings, old), ErrorCode::InvalidRecord, "s43: nothing is converted");
    }
}

#[test]
fn s35_zstd_is_refused_below_produce_version_7() {
    let settings = TopicSettings::default();
    let outcome = |version| {
        let rules = CheckRules::new(&settings, "orders", 0, version);
        check(Some(good(Codec::Zstd).into()), &rules, NOW).map_err(|refusal| refusal.code)
    };
    assert_eq!(outcome(6).unwrap_err(), ErrorCode::UnsupportedCompressionType);
    assert!(outcome(7).is_ok());
}

#[test]
fn s36_a_flipped_bit_is_a_corrupt_message() {
    let settings = TopicSettings::default();
    let good = good(Codec::None);
    for at in 21..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert_eq!(code(&settings, bytes), ErrorCode::CorruptMessage, "byte {at}");
    }
}

#[test]
fn s37_the_limit_counts_the_header_and_holds_after_recompression() {
    let value = [7; 500];
    let mut builder = BatchBuilder::new().compression(Compression { codec: Codec::Gzip, level: 6 });
    builder.push(&NewRecord { timestamp: NOW, key: None, value: Some(&value), headers: &[] });
    let small = builder.build().unwrap().to_vec();
    let size = i32::try_from(small.len()).unwrap();
    let mut settings = TopicSettings { max_message_bytes: size, ..TopicSettings::default() };
    assert_eq!(code(&settings, small.clone()), ErrorCode::None);
    settings.max_message_bytes = size - 1;
    assert_eq!(code(&settings, small.clone()), ErrorCode::MessageTooLarge);

    settings.compression = Some(Compression { codec: Codec::None, level: 0 });
    settings.max_message_bytes = 500;
    assert_eq!(code(&settings, small.clone()), ErrorCode::MessageTooLarge, "500 bytes and more, unpacked");
    settings.max_message_bytes = 600;
    assert_eq!(code(&settings, small.clone()), ErrorCode::None);
    settings.segment_bytes = 500;
    assert_eq!(code(&settings, small), ErrorCode::RecordListTooLarge);
}

#[test]
fn s38_each_record_must_lie_in_the_window_and_no_time_is_exempt() {
    let settings = TopicSettings {
        timestamp_before_max_ms: 1000,
        timestamp_after_max_ms: 500,
        ..TopicSettings::default()
    };
    for codec in CODECS {
        let at = |time| code(&settings, batch(codec, &[(NOW, None), (time, None)]));
        for time in [-1, NOW - 1000, NOW, NOW + 500] {
            assert_eq!(at(time), ErrorCode::None, "{codec}, {time}");
        }
        for time in [-2, 0, NOW - 1001, NOW + 501, i64::MIN, i64::MAX] {
            assert_eq!(at(time), ErrorCode::InvalidTimestamp, "{codec}, {time}");
        }
    }
}

#[test]
fn s38_the_largest_timestamp_is_the_records_own() {
    let settings = TopicSettings::default();
    for codec in CODECS {
        let lying = edited(&good(codec), |header| header.max_timestamp = NOW - 5000);
        let checked = try_check(&settings, lying).unwrap();
        assert_eq!(checked.header.max_timestamp, NOW);
        assert_eq!(checked.bytes, good(codec), "and nothing else has changed");
    }
}

#[test]
fn s39_log_append_time_sets_bit_time_and_crc_and_leaves_the_deltas() {
    let settings = TopicSettings { log_append_time: true, ..TopicSettings::default() };
    for codec in CODECS {
        let sent = good(codec);
        let checked = try_check(&settings, sent.clone()).unwrap();
        assert_eq!(checked.log_append_time, NOW);
        assert!(checked.header.attributes.is_log_append_time());
        assert_eq!(checked.header.max_timestamp, NOW);
        assert!(BatchView::parse(&checked.bytes).unwrap().crc_ok());
        assert_eq!(checked.bytes[HEADER_LEN..], sent[HEADER_LEN..]);
        assert!(content(&checked.bytes).iter().all(|(_, _, timestamp)| *timestamp == NOW));

        let claimed =
            edited(&sent, |header| header.attributes = header.attributes.with_log_append_time(true));
        assert_eq!(
            code(&settings, claimed),
            ErrorCode::InvalidTimestamp,
            "clients may not say so themselves"
        );
    }
    let create_time = try_check(&TopicSettings::default(), good(Codec::None)).unwrap();
    assert_eq!(create_time.log_append_time, -1);
}

#[test]
fn s40_records_without_key_are_named_one_by_one() {
    let settings = TopicSettings { compact: true, ..TopicSettings::default() };
    for codec in CODECS {
        let refusal = try_check(&settings, good(codec)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord);
        let text = "Compacted topic cannot accept message without key in topic partition orders-3";
        assert_eq!(refusal.record_errors, [(1, Some(text.to_owned()))]);
        assert_eq!(
            refusal.message.unwrap(),
            format!(
                "One or more records have been rejected due to 1 record errors in total, and only showing the first \
                 three errors at most: [RecordError(batchIndex=1, message='{text}')]"
            )
        );
    }
}

#[test]
fn s40_a_refusal_names_a_bounded_number_of_records() {
    let settings = TopicSettings { compact: true, ..TopicSettings::default() };
    let keyless = vec![(NOW, None); RECORD_ERRORS_MAX + 500];
    let refusal = try_check(&settings, batch(Codec::Zstd, &keyless)).unwrap_err();
    assert_eq!(refusal.record_errors.len(), RECORD_ERRORS_MAX);
    assert!(refusal.message.unwrap().contains(&format!("due to {} record errors", keyless.len())));
}

#[test]
fn s41_a_topics_codec_replaces_the_producers() {
    for wanted in CODECS {
        let compression = Some(Compression { codec: wanted, level: 3 });
        let settings = TopicSettings { compression, ..TopicSettings::default() };
        for sent in CODECS {
            let bytes = edited(&good(sent), |header| {
                (header.producer_id, header.producer_epoch, header.base_sequence) = (5, 6, 7);
                header.attributes = header.attributes.with_transactional(true);
            });
            let checked = try_check(&settings, bytes.clone()).unwrap();
            assert_eq!(checked.header.attributes.codec(), Some(wanted));
            assert_eq!(content(&checked.bytes), content(&bytes));
            let BatchHeader { producer_id, producer_epoch, base_sequence, .. } = checked.header;
            assert_eq!((producer_id, producer_epoch, base_sequence), (5, 6, 7));
            assert!(checked.header.attributes.is_transactional());
            if sent == wanted {
                assert_eq!(checked.bytes, bytes);
            }
        }
    }
}

#[test]
fn s41_offsets_that_do_not_count_up_are_counted_anew() {
    let settings = TopicSettings::default();
    for codec in CODECS {
        // Two batches of one record each have the deltas 0 and 0: their records in one batch.
        let records: Vec<Vec<u8>> = [(NOW, Some(&b"a"[..])), (NOW, Some(b"b"))]
            .iter()
            .map(|record| batch(Codec::None, &[*record])[HEADER_LEN..].to_vec())
            .collect();
        let bytes = with_records(codec, &records.concat(), 2);
        let checked = try_check(&settings, bytes).unwrap();
        let keys: Vec<_> = content(&checked.bytes).into_iter().map(|(key, _, _)| key.unwrap()).collect();
        assert_eq!(keys, [b"a", b"b"]);
        assert_eq!(checked.header.attributes.codec(), Some(codec));
    }
}

#[test]
fn s42_what_does_not_decompress_or_hold_its_records_is_refused() {
    let settings = TopicSettings::default();
    let one = batch(Codec::None, &[(NOW, None)])[HEADER_LEN..].to_vec();
    for codec in CODECS {
        assert_eq!(code(&settings, with_records(codec, &one, 1)), ErrorCode::None);
        assert_eq!(code(&settings, with_records(codec, &one, 2)), ErrorCode::InvalidRecord);
        assert_eq!(code(&settings, with_records(codec, &one[..4], 1)), ErrorCode::InvalidRecord);
        assert_eq!(
            code(&settings, with_records(codec, &[&one[..], &[0]].concat(), 1)),
            ErrorCode::InvalidRecord
        );
        let garbage = edited(&with_records(Codec::None, &[0x55; 40], 1), |header| {
            header.attributes = Attributes::default().with_codec(codec);
        });
        assert_eq!(code(&settings, garbage), ErrorCode::InvalidRecord);
    }
}

#[test]
fn s42_a_bomb_is_too_large_and_stops_at_the_bound() {
    let settings = TopicSettings { max_message_bytes: 100_000, ..TopicSettings::default() };
    let rules = CheckRules::new(&settings, "orders", 0, 8);
    let fits = rules.inflated_max_bytes() - 100;
    for (len, expected) in [(fits, ErrorCode::None), (fits + 200, ErrorCode::MessageTooLarge)] {
        let zeros = vec![0; len];
        let mut builder = BatchBuilder::new().compression(Compression { codec: Codec::Zstd, level: 3 });
        builder.push(&NewRecord { timestamp: NOW, key: None, value: Some(&zeros), headers: &[] });
        let bytes = builder.build().unwrap().to_vec();
        assert_eq!(code(&settings, bytes), expected, "{len} bytes of zeros");
    }
}

#[test]
fn who_has_little_time_refuses_what_takes_long_to_decompress_and_nothing_else() {
    let settings = TopicSettings::default();
    let rules = CheckRules::new(&settings, "orders", 0, 8);
    for codec in CODECS {
        for len in [100, 1 << 20] {
            let zeros = vec![0; len];
            let mut builder = BatchBuilder::new().compression(Compression { codec, level: 3 });
            builder.push(&NewRecord {
                timestamp: NOW,
                key: None,
                value: Some(&zeros[..len - 90]),
                headers: &[],
            });
            let bytes = builder.build().unwrap();
            let brief = check(Some(bytes.clone()), &rules.inflating_at_most(1000), NOW);
            let in_time = codec == Codec::None || len == 100;
            assert_eq!(brief.is_ok(), in_time, "{codec}: {len}");
            assert!(brief.is_ok_and(|_| true) || check(Some(bytes), &rules, NOW).is_ok(), "{codec}: {len}");
        }
    }
}

#[test]
fn a_batch_that_is_right_is_not_copied() {
    let settings = TopicSettings::default();
    let rules = CheckRules::new(&settings, "orders", 0, 8);
    for codec in CODECS {
        let sent = Bytes::from(good(codec));
        let checked = check(Some(sent.clone()), &rules, NOW).unwrap();
        assert_eq!(checked.bytes.as_ptr(), sent.as_ptr(), "{codec}");
        assert_eq!(checked.bytes.len(), sent.len());
    }
}

/// A batch of `count` records whose bytes are `records`.
fn with_records(codec: Codec, records: &[u8], count: i32) -> Vec<u8> {
    let mut body =
        crate::record::compress::Deflate::new(Compression { codec, level: 3 }, vec![0; HEADER_LEN]).unwrap();
    body.write(records).unwrap();
    let mut bytes = body.finish().unwrap();
    let header = BatchHeader {
        batch_length: i32::try_from(bytes.len() - 12).unwrap(),
        attributes: Attributes::default().with_codec(codec),
        records_count: count,
        last_offset_delta: count - 1,
        ..BatchHeader::parse(&batch(Codec::None, &[(NOW, None)])).unwrap()
    };
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    seal(&mut bytes);
    bytes
}

fn topic() -> impl Strategy<Value = TopicSettings> {
    let compression = option::of(proptest::sample::select(&CODECS[..]));
    (any::<bool>(), any::<bool>(), compression).prop_map(|(compact, log_append_time, codec)| TopicSettings {
        compact,
        log_append_time,
        compression: codec.map(|codec| Compression { codec, level: 1 }),
        ..TopicSettings::default()
    })
}

/// What every accepted batch is, however it was sent.
fn assert_sound(settings: &TopicSettings, checked: &CheckedBatch) {
    let header = BatchHeader::parse(&checked.bytes).unwrap();
    assert_eq!(header, checked.header);
    assert_eq!(header.total_len(), checked.bytes.len());
    assert_eq!(header.attributes.is_log_append_time(), settings.log_append_time);
    assert!(!header.attributes.is_control());
    let content = content(&checked.bytes);
    assert_eq!(i32::try_from(content.len()), Ok(header.records_count));
    assert_eq!(header.last_offset_delta, header.records_count - 1);
    let latest = content.iter().map(|(_, _, timestamp)| *timestamp).max().unwrap();
    assert_eq!(header.max_timestamp, latest.max(-1));
    assert!(!settings.compact || content.iter().all(|(key, _, _)| key.is_some()));
}

proptest! {
    #[test]
    fn accepted_batches_are_sound_and_hold_what_was_sent(
        settings in topic(),
        codec in proptest::sample::select(&CODECS[..]),
        records in vec((NOW - 10_000..NOW, option::weighted(0.97, vec(any::<u8>(), 0..30)), vec(any::<u8>(), 0..3000)), 1..60),
    ) {
        let mut builder = BatchBuilder::new().compression(Compression { codec, level: 1 });
        for (timestamp, key, value) in &records {
            builder.push(&NewRecord { timestamp: *timestamp, key: key.as_deref(), value: Some(value), headers: &[] });
        }
        let keyless = records.iter().any(|(_, key, _)| key.is_none());
        match try_check(&settings, builder.build().unwrap().to_vec()) {
            Ok(checked) => {
                prop_assert!(!(settings.compact && keyless));
                assert_sound(&settings, &checked);
                let kept: Vec<_> = content(&checked.bytes).into_iter().map(|(key, value, _)| (key, value)).collect();
                let sent: Vec<_> = records.into_iter().map(|(_, key, value)| (key, Some(value))).collect();
                prop_assert_eq!(kept, sent);
            }
            Err(refusal) => prop_assert!(settings.compact && keyless, "{:?}", refusal),
        }
    }

    /// The CRC is made right again, so that every layer behind it is reached.
    #[test]
    fn damaged_batches_are_refused_or_still_sound(
        settings in topic(),
        codec in proptest::sample::select(&CODECS[..]),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in option::weighted(0.3, any::<prop::sample::Index>()),
        spare_the_header in any::<bool>(),
    ) {
        let mut bytes = good(codec);
        let from = if spare_the_header { HEADER_LEN } else { 8 };
        for (at, byte) in edits {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if bytes.len() >= HEADER_LEN {
            let length = i32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            seal(&mut bytes);
        }
        if let Ok(checked) = try_check(&settings, bytes) {
            assert_sound(&settings, &checked);
        }
    }

    #[test]
    fn any_bytes_are_answered(settings in topic(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = try_check(&settings, bytes);
    }
}
