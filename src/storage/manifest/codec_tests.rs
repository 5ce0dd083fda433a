//! Frames and records survive, and nothing else passes for them.

use proptest::prelude::*;

use super::super::testing::{any_row, id};
use super::*;

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        6 => any_row().prop_map(Record::Row),
        2 => (0..4_u8, 0..6_i32).prop_map(|(topic, partition)| Record::Remove(id(topic, partition))),
        1 => any::<i64>().prop_map(Record::Started),
        1 => any::<i64>().prop_map(Record::Stopped),
    ]
}

fn encode(records: &[Record], synced: u64) -> Vec<u8> {
    let mut encoder = Encoder::new(synced);
    records.iter().for_each(|record| encoder.push(record));
    encoder.finish()
}

fn decode(mut bytes: &[u8]) -> Vec<Record> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let frame = frame(bytes).expect("a whole frame");
        records(frame.payload, |_, name| name.into(), |record| all.push(record)).unwrap();
        bytes = &bytes[frame.bytes..];
    }
    all
}

proptest! {
    #[test]
    fn records_survive(records in prop::collection::vec(any_record(), 0..40), synced: u64) {
        let bytes = encode(&records, synced);
        prop_assert_eq!(decode(&bytes), records);
        if let Some(frame) = frame(&bytes) {
            prop_assert_eq!(frame.synced, synced);
        }
    }

    #[test]
    fn a_flipped_bit_is_never_read_past(records in prop::collection::vec(any_record(), 1..10), at: usize, bit in 0..8_u8) {
        let mut bytes = encode(&records, 0);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(frame(&bytes).is_none());
    }

    #[test]
    fn no_payload_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = records(&bytes, |_, name| name.into(), |_| {});
        let _ = frame(&bytes);
        let _ = next_frame(&bytes);
        let _ = Header::decode(&bytes);
    }

    /// Bytes that begin like a record reach deeper than arbitrary ones.
    #[test]
    fn no_half_right_payload_makes_it_panic(
        record in any_record(), cut: usize, junk in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let bytes = encode(&[record], 0);
        let mut payload = bytes[FRAME_HEAD_LEN..].to_vec();
        payload.truncate(cut % (payload.len() + 1));
        payload.extend(junk);
        let _ = records(&payload, |_, name| name.into(), |_| {});
    }

    #[test]
    fn a_header_survives_and_a_flipped_bit_does_not(snapshot_bytes: u64, rows: u32, at in 0..HEADER_LEN, bit in 0..8_u8) {
        let header = Header { snapshot_bytes, rows };
        let mut bytes = header.encode();
        prop_assert_eq!(Header::decode(&bytes), Ok(header));
        bytes[at] ^= 1 << bit;
        prop_assert!(Header::decode(&bytes).is_err());
    }
}

#[test]
fn a_count_of_segments_reserves_nothing() {
    let mut payload = vec![KIND_TOPIC];
    payload.extend([7; 16]);
    payload.extend([1, b't', KIND_ROW]);
    payload.extend([0; 7]);
    put_u64(&mut payload, u64::MAX);
    assert!(records(&payload, |_, name| name.into(), |_| {}).is_err());
}

#[test]
fn long_runs_of_rows_are_cut_into_frames_that_stand_alone() {
    let rows: Vec<_> = (0..5000).map(|n| Record::Row(super::super::testing::plain_row(1, n, 500))).collect();
    let bytes = encode(&rows, 0);
    assert!(bytes.len() < 5000 * 24, "{} bytes for 5000 rows of one topic", bytes.len());
    let first = frame(&bytes).unwrap();
    assert!(first.bytes < 2 * FRAME_BYTES_AIM && first.bytes < bytes.len());
    let (distance, second) = next_frame(&bytes).unwrap();
    assert_eq!(distance, first.bytes);
    let mut topics = Vec::new();
    records(
        second.payload,
        |_, name| name.into(),
        |record| {
            let Record::Row(row) = record else { panic!("only rows were put") };
            topics.push(row.topic.clone());
        },
    )
    .unwrap();
    assert!(topics.iter().all(|topic| &**topic == "topic-1"));
}
