//! Kafka's bytes: made by the classes of Kafka 4.3.1 for these values, in every version it has.

use proptest::prelude::*;

use super::*;

const KEY: &str = "0001000367727000066f726465727300000007";
const LEGACY_KEY: &str = "0000000367727000066f726465727300000007";
const KEY_OF_GROUP: &str = "00020003677270";
const KEY_OF_ANOTHER_KIND: &str = "00030003677270";

const OFFSET_V0: &str = "0000000000000000002a00046e6f746500000000000003e8";
const OFFSET_V1: &str = "0001000000000000002a00046e6f746500000000000003e80000000000002328";
const OFFSET_V2: &str = "0002000000000000002a00046e6f746500000000000003e8";
const OFFSET_V3: &str = "0003000000000000002a0000000500046e6f746500000000000003e8";
const OFFSET_V4: &str =
    "0004000000000000002a00000005056e6f746500000000000003e80100100102030405060708090a0b0c0d0e0f10";
const OFFSET_V4_BARE: &str = "0004000000000000002affffffff0100000000000003e800";

const GROUP_V0: &str = "00000008636f6e73756d657200000003000572616e676500036d2d310000000200036d2d31000163000a2f313237\
2e302e302e310000afc80000000301020300000002040500036d2d32000163000a2f3132372e302e302e31000027100000000000000000";
const GROUP_V1: &str = "00010008636f6e73756d657200000003000572616e676500036d2d310000000200036d2d31000163000a2f313237\
2e302e302e31000493e00000afc80000000301020300000002040500036d2d32000163000a2f3132372e302e302e310000ea60000027100000000\
000000000";
const GROUP_V2: &str = "00020008636f6e73756d657200000003000572616e676500036d2d3100000000000003090000000200036d2d3100\
0163000a2f3132372e302e302e31000493e00000afc80000000301020300000002040500036d2d32000163000a2f3132372e302e302e310000ea\
60000027100000000000000000";
const GROUP_V3: &str = "00030008636f6e73756d657200000003000572616e676500036d2d3100000000000003090000000200036d2d3100\
03692d31000163000a2f3132372e302e302e31000493e00000afc80000000301020300000002040500036d2d32ffff000163000a2f3132372e30\
2e302e310000ea60000027100000000000000000";
const GROUP_V4: &str = "000409636f6e73756d6572000000030672616e6765046d2d31000000000000030903046d2d3104692d3102630b2f\
3132372e302e302e31000493e00000afc80401020303040500046d2d320002630b2f3132372e302e302e310000ea600000271001010000";
const GROUP_V3_EMPTY: &str = "00030008636f6e73756d657200000004ffffffff000000000000037800000000";

const ID: TopicId = TopicId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

fn bytes(hex: &str) -> Bytes {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// The record in a plain batch.
fn decode(record: &LogRecord) -> Result<Decoded<Record>, CorruptRecord> {
    super::decode(record, &BatchKind::Plain)
}

fn logged(key: &str, value: Option<&str>) -> LogRecord {
    LogRecord { key: Some(bytes(key)), value: value.map(bytes) }
}

fn offset(leader_epoch: i32, expires_at: Option<i64>, topic_id: TopicId) -> Record {
    let value = CommittedOffset {
        offset: 42,
        leader_epoch,
        metadata: Some("note".into()),
        committed_at: 1000,
        expires_at,
        topic_id,
    };
    Record::Offset { group: "grp".into(), topic: "orders".into(), partition: 7, value: Some(value) }
}

fn group(state_since: Option<i64>, instance: Option<&str>, rebalance_timeouts_ms: [i32; 2]) -> Record {
    let member =
        |id: &str, instance_id: Option<&str>, rebalance, session, subscription, assignment| MemberMetadata {
            member_id: id.into(),
            instance_id: instance_id.map(Arc::from),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: rebalance,
            session_timeout_ms: session,
            subscription: Bytes::from_static(subscription),
            assignment: Bytes::from_static(assignment),
        };
    let [first, second] = rebalance_timeouts_ms;
    let value = GroupMetadata {
        protocol_type: Some("consumer".into()),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        state_since,
        members: vec![
            member("m-1", instance, first, 45_000, b"\x01\x02\x03", b"\x04\x05"),
            member("m-2", None, second, 10_000, b"", b""),
        ],
    };
    Record::Group { group: "grp".into(), value: Some(Arc::new(value)) }
}

#[test]
fn every_version_of_an_offset_that_kafka_wrote_is_read() {
    let none = TopicId::ZERO;
    for (value, expected) in [
        (OFFSET_V0, offset(-1, None, none)),
        (OFFSET_V1, offset(-1, Some(9000), none)),
        (OFFSET_V2, offset(-1, None, none)),
        (OFFSET_V3, offset(5, None, none)),
        (OFFSET_V4, offset(5, None, ID)),
    ] {
        assert_eq!(decode(&logged(KEY, Some(value))), Ok(Decoded::Own(expected.clone())), "{value}");
        assert_eq!(decode(&logged(LEGACY_KEY, Some(value))), Ok(Decoded::Own(expected)), "{value}");
    }
}

#[test]
fn every_version_of_a_group_that_kafka_wrote_is_read() {
    for (value, expected) in [
        (GROUP_V0, group(None, None, [45_000, 10_000])),
        (GROUP_V1, group(None, None, [300_000, 60_000])),
        (GROUP_V2, group(Some(777), None, [300_000, 60_000])),
        (GROUP_V3, group(Some(777), Some("i-1"), [300_000, 60_000])),
        (GROUP_V4, group(Some(777), Some("i-1"), [300_000, 60_000])),
    ] {
        assert_eq!(decode(&logged(KEY_OF_GROUP, Some(value))), Ok(Decoded::Own(expected)), "{value}");
    }
}

#[test]
fn what_we_write_is_what_kafka_writes() {
    assert_eq!(encode(&offset(5, None, ID)), logged(KEY, Some(OFFSET_V4)));
    assert_eq!(
        encode(&group(Some(777), Some("i-1"), [300_000, 60_000])),
        logged(KEY_OF_GROUP, Some(GROUP_V3))
    );

    let bare = CommittedOffset {
        offset: 42,
        leader_epoch: -1,
        metadata: None,
        committed_at: 1000,
        expires_at: None,
        topic_id: TopicId::ZERO,
    };
    let bare =
        Record::Offset { group: "grp".into(), topic: "orders".into(), partition: 7, value: Some(bare) };
    assert_eq!(encode(&bare), logged(KEY, Some(OFFSET_V4_BARE)));

    let empty = GroupMetadata {
        protocol_type: Some("consumer".into()),
        generation: 4,
        protocol: None,
        leader: None,
        state_since: Some(888),
        members: Vec::new(),
    };
    let empty = Record::Group { group: "grp".into(), value: Some(Arc::new(empty)) };
    assert_eq!(encode(&empty), logged(KEY_OF_GROUP, Some(GROUP_V3_EMPTY)));
}

#[test]
fn tombstones_have_the_key_alone() {
    let offset = Record::Offset { group: "grp".into(), topic: "orders".into(), partition: 7, value: None };
    let group = Record::Group { group: "grp".into(), value: None };
    assert_eq!(encode(&offset), logged(KEY, None));
    assert_eq!(encode(&group), logged(KEY_OF_GROUP, None));
    assert_eq!(decode(&logged(KEY, None)), Ok(Decoded::Own(offset)));
    assert_eq!(decode(&logged(KEY_OF_GROUP, None)), Ok(Decoded::Own(group)));
}

#[test]
fn an_expiry_of_its_own_does_not_cost_an_offset_its_topic_id() {
    let record = offset(-1, Some(9000), ID);
    let logged = encode(&record);
    assert_eq!(
        logged.value.as_ref().map(|value| value[..2].to_vec()),
        Some(vec![0, 4]),
        "a version that Kafka reads"
    );
    assert_eq!(decode(&logged), Ok(Decoded::Own(record)));
}

#[test]
fn records_of_other_kinds_are_left_out() {
    let why = not_ours(&logged(KEY_OF_ANOTHER_KIND, Some("0000000000")));
    assert!(why.contains("type 3"), "{why}");
    not_ours(&LogRecord { key: None, value: Some(Bytes::from_static(b"x")) });
}

/// Why a record is none of ours.
fn not_ours(record: &LogRecord) -> String {
    match decode(record) {
        Ok(Decoded::NotOurs(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_only_a_client_can_have_written_is_left_out_and_shown() {
    let why = not_ours(&logged(KEY, Some(&OFFSET_V4[..40])));
    assert!(why.contains("orders"), "{why}");
    not_ours(&logged(KEY_OF_GROUP, Some(&GROUP_V3[..100])));
    not_ours(&logged("000100", Some(OFFSET_V4)));
    not_ours(&logged("00", None));
    not_ours(&logged(KEY, Some("ffff000000000000002a")));
}

#[test]
fn a_value_of_a_newer_version_is_an_error_that_shows_the_key() {
    let newer = logged(KEY, Some("0005000000000000002a"));
    let error = decode(&newer).unwrap_err().to_string();
    assert!(error.contains("orders"), "{error}");
}

fn any_text() -> impl Strategy<Value = Arc<str>> {
    "[a-zé]{0,6}".prop_map(Arc::from)
}

fn any_offset() -> impl Strategy<Value = CommittedOffset> {
    let expiry = prop::option::of(0..i64::MAX);
    let metadata = prop::option::of("[a-zé]{1,6}".prop_map(Arc::from));
    (any::<i64>(), any::<i32>(), metadata, any::<i64>(), expiry, any::<[u8; 16]>()).prop_map(
        |(offset, leader_epoch, metadata, committed_at, expires_at, id)| CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            committed_at,
            expires_at,
            topic_id: TopicId::from_bytes(id),
        },
    )
}

proptest! {
    #[test]
    fn an_offset_survives_the_log(
        group in any_text(),
        topic in any_text(),
        partition in any::<i32>(),
        value in prop::option::of(any_offset()),
    ) {
        let record = Record::Offset { group, topic, partition, value };
        prop_assert_eq!(decode(&encode(&record)), Ok(Decoded::Own(record)));
    }

    #[test]
    fn no_bytes_are_a_panic(key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&LogRecord { key: Some(key.into()), value: Some(value.clone().into()) });
        for known in [KEY, KEY_OF_GROUP] {
            let _ = decode(&LogRecord { key: Some(bytes(known)), value: Some(value.clone().into()) });
        }
    }
}

#[test]
fn s60_an_offset_in_a_transactions_batch_is_pending_and_has_the_same_bytes() {
    let batch = BatchKind::Transactional { producer_id: 4_000, producer_epoch: 3 };
    let plain = offset(5, None, TopicId::ZERO);
    let Record::Offset { group, topic, partition, value: Some(value) } = plain.clone() else { panic!() };
    let pending = PendingOffset { producer_id: 4_000, producer_epoch: 3, value };
    let pending = Record::PendingOffset { group, topic, partition, pending };
    assert_eq!(encode(&pending), encode(&plain));
    assert_eq!(super::decode(&encode(&pending), &batch), Ok(Decoded::Own(pending)));
    let tombstone = logged(KEY, None);
    assert_eq!(
        super::decode(&tombstone, &batch),
        decode(&tombstone),
        "a tombstone counts at once, as in Kafka"
    );
}
