//! Kafka's bytes, and what is made of bytes that are not.

use proptest::prelude::*;

use super::super::transaction::Outcome;
use super::*;

fn bytes(hex: &str) -> Bytes {
    let hex: String = hex.split_whitespace().collect();
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn open() -> Transaction {
    Transaction {
        producer: Producer { id: 42, epoch: 3 },
        previous_id: 42,
        next_id: NO_PRODUCER_ID,
        last_epoch: NO_EPOCH,
        timeout_ms: 60_000,
        status: Status::Ongoing,
        partitions: Partitions::from([("orders".into(), BTreeSet::from([0, 7]))]),
        updated_at: 2_000,
        started_at: 1_000,
        version: 2,
    }
}

fn record(transaction: Transaction) -> Record {
    Record { transactional_id: "tx".into(), value: Some(Arc::new(transaction)) }
}

const KEY_OF_TX: &str = "0000 0002 7478";
/// Version 1: id, epoch, time-out, state, partitions, updated, started, then the tags 0 (previous id) and 2 (version).
const OPEN: &str = "0001 000000000000002a 0003 0000ea60 01 02 07 6f7264657273 03 00000000 00000007 00 \
                    00000000000007d0 00000000000003e8 02 00 08 000000000000002a 02 02 0002";
/// Version 0: classic strings and arrays, no tags.
const OPEN_V0: &str = "0000 000000000000002a 0003 0000ea60 01 00000001 0006 6f7264657273 00000002 00000000 00000007 \
                       00000000000007d0 00000000000003e8";
const EMPTY: &str =
    "0001 000000000000002a 0000 0000ea60 00 00 00000000000007d0 ffffffffffffffff 01 00 08 000000000000002a";

#[test]
fn records_have_kafkas_bytes() {
    let logged = encode(&record(open()));
    assert_eq!(logged, LogRecord { key: Some(bytes(KEY_OF_TX)), value: Some(bytes(OPEN)) });
    let empty = Transaction::first(42, 60_000, 2_000);
    assert_eq!(encode(&record(empty)).value, Some(bytes(EMPTY)));
    let gone = Record { transactional_id: "tx".into(), value: None };
    assert_eq!(encode(&gone), LogRecord { key: Some(bytes(KEY_OF_TX)), value: None });
}

#[test]
fn the_first_version_is_read() {
    let logged = LogRecord { key: Some(bytes(KEY_OF_TX)), value: Some(bytes(OPEN_V0)) };
    let expected = Transaction { previous_id: NO_PRODUCER_ID, version: 0, ..open() };
    assert_eq!(decode(&logged), Ok(Decoded::Own(record(expected))));
}

#[test]
fn what_is_not_ours_is_left_out_and_what_is_newer_is_refused() {
    let log =
        |key: &str, value: &str| decode(&LogRecord { key: Some(bytes(key)), value: Some(bytes(value)) });
    assert!(matches!(log("0001 0002 7478", OPEN), Ok(Decoded::NotOurs(_))), "another kind of key");
    assert!(matches!(log(KEY_OF_TX, &OPEN[..40]), Ok(Decoded::NotOurs(_))), "cut");
    assert!(matches!(
        log(KEY_OF_TX, &OPEN.replacen("0000ea60 01", "0000ea60 09", 1)),
        Ok(Decoded::NotOurs(_))
    ));
    assert!(log(KEY_OF_TX, &OPEN.replacen("0001", "0002", 1)).is_err(), "a version to come");
    assert!(matches!(decode(&LogRecord { key: None, value: None }), Ok(Decoded::NotOurs(_))));
    let dead = log(KEY_OF_TX, &EMPTY.replacen("0000ea60 00", "0000ea60 06", 1));
    let gone = Record { transactional_id: "tx".into(), value: None };
    assert_eq!(dead, Ok(Decoded::Own(gone)));
}

proptest! {
    #[test]
    fn every_state_survives_the_log(
        id in any::<i64>(), epoch in any::<i16>(), others in any::<(i64, i64, i16, i16)>(),
        times in any::<(i64, i64, i32)>(),
        status in 0..6_i8,
        topics in prop::collection::btree_map("[a-z]{1,9}", prop::collection::btree_set(any::<i32>(), 0..5), 0..5),
    ) {
        let status = Status::from_number(status).unwrap();
        prop_assert_eq!(Status::from_name(status.name()), Some(status));
        let topics = topics.into_iter().map(|(topic, ids)| (Arc::from(topic), ids)).collect();
        let transaction = Transaction {
            producer: Producer { id, epoch },
            previous_id: others.0,
            next_id: others.1,
            last_epoch: others.2,
            version: others.3,
            updated_at: times.0,
            started_at: times.1,
            timeout_ms: times.2,
            status,
            partitions: if status == Status::Empty { Partitions::new() } else { topics },
        };
        let record = record(transaction);
        prop_assert_eq!(decode(&encode(&record)), Ok(Decoded::Own(record)));
    }

    #[test]
    fn no_bytes_are_too_odd(key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&LogRecord { key: Some(key.into()), value: Some(value.into()) });
    }
}

#[test]
fn names_and_numbers_are_kafkas() {
    assert_eq!(Status::Prepare(Outcome::Abort).name(), "PrepareAbort");
    assert_eq!(Status::Prepare(Outcome::Abort).number(), 3);
    assert_eq!(Status::from_name("Dead"), None);
}
