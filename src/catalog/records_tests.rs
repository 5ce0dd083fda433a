//! Our records against the bytes that Kafka 4.3.1's own `MetadataRecordSerde` writes, and against damage.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const ID: TopicId =
    TopicId::from_bytes([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10]);

fn from_hex(hex: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn decode(value: impl Into<Bytes>) -> Result<Option<Record>, CorruptRecord> {
    Record::decode(&LogRecord { key: None, value: Some(value.into()) })
}

fn config(value: Option<&str>) -> Record {
    Record::TopicConfig {
        topic: "orders".into(),
        name: "retention.ms".into(),
        value: value.map(str::to_owned),
    }
}

fn partition() -> Record {
    Record::Partition { topic: ID, partition: 3, node: 1 }
}

#[test]
fn the_bytes_are_those_of_kafkas_serializer() {
    let feature = Record::FeatureLevel { name: "metadata.version".into(), level: 30 };
    for (record, hex) in [
        (
            Record::Topic { name: "orders".into(), id: ID },
            "010200076f72646572730102030405064708890a0b0c0d0e0f1000",
        ),
        (
            partition(),
            "010300000000030102030405064708890a0b0c0d0e0f1002000000010200000001010100000001000000000000000000",
        ),
        (config(Some("1000")), "01040002076f72646572730d726574656e74696f6e2e6d73053130303000"),
        (config(None), "01040002076f72646572730d726574656e74696f6e2e6d730000"),
        (Record::RemoveTopic { id: ID }, "0109000102030405064708890a0b0c0d0e0f1000"),
        (feature, "010c00116d657461646174612e76657273696f6e001e00"),
        (Record::ProducerIds { node: 1, next: 2000 }, "010f0000000001ffffffffffffffff00000000000007d000"),
    ] {
        assert_eq!(record.encode(), LogRecord { key: None, value: Some(from_hex(hex)) }, "{record:?}");
        assert_eq!(decode(from_hex(hex)), Ok(Some(record)));
    }
}

#[test]
fn newer_partition_records_are_read() {
    let v1 = "010301000000030102030405064708890a0b0c0d0e0f10020000000102000000010101000000010000000000000000020102030405064708890a0b0c0d0e0f1000";
    let v2 = "010302000000030102030405064708890a0b0c0d0e0f10020000000102000000010101000000010000000000000000020102030405064708890a0b0c0d0e0f100200010101050200000001";
    for hex in [v1, v2] {
        assert_eq!(decode(from_hex(hex)), Ok(Some(partition())));
    }
}

#[test]
fn what_says_nothing_is_skipped_and_what_is_unknown_is_not() {
    assert_eq!(decode(from_hex("01140000")), Ok(None), "NoOpRecord");
    let broker_config = "010400040231116c6f672e726574656e74696f6e2e6d73053130303000";
    let transaction = "0117000100020278";
    let newer = "010201076f72646572730102030405064708890a0b0c0d0e0f1000";
    for hex in [broker_config, transaction, newer] {
        let CorruptRecord(why) = decode(from_hex(hex)).unwrap_err();
        assert!(why.contains("which this version of streamd does not know"), "{why}");
    }
    assert!(Record::decode(&LogRecord { key: None, value: None }).is_err());
}

fn any_record() -> impl Strategy<Value = Record> {
    let id = any::<[u8; 16]>().prop_map(TopicId::from_bytes);
    let name = "[a-z._-]{0,20}".prop_map(Arc::<str>::from);
    prop_oneof![
        (name.clone(), id.clone()).prop_map(|(name, id)| Record::Topic { name, id }),
        (id.clone(), 0..i32::MAX, any::<i32>()).prop_map(|(topic, partition, node)| Record::Partition {
            topic,
            partition,
            node
        }),
        (name.clone(), ".{0,20}", proptest::option::of(".{0,20}"))
            .prop_map(|(topic, name, value)| Record::TopicConfig { topic, name, value }),
        (".{0,20}", any::<i16>()).prop_map(|(name, level)| Record::FeatureLevel { name, level }),
        (any::<i32>(), any::<i64>()).prop_map(|(node, next)| Record::ProducerIds { node, next }),
        any::<i32>().prop_map(|epoch| Record::Start { epoch }),
        (id.clone(), any::<i32>()).prop_map(|(topic, base)| Record::TopicEpochBase { topic, base }),
        (id.clone(), name, any::<i32>()).prop_map(|(id, name, partitions)| Record::PendingRemoval {
            id,
            name,
            partitions
        }),
        id.clone().prop_map(|id| Record::RemoveTopic { id }),
        id.prop_map(|id| Record::FilesRemoved { id }),
        any::<u64>().prop_map(|count| Record::Changes { count }),
    ]
}

proptest! {
    #[test]
    fn every_record_comes_back(record in any_record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(Some(record)));
    }

    #[test]
    fn a_record_cut_short_is_an_error_and_a_flipped_bit_never_panics(
        record in any_record(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let mut bytes = record.encode().value.unwrap().to_vec();
        let at = at.index(bytes.len());
        prop_assert!(decode(bytes[..at].to_vec()).is_err());
        bytes[at] ^= 1 << bit;
        let _ = decode(bytes);
    }
}
