//! Idempotent producers: S47 to S49, and their snapshots.

use proptest::prelude::*;

use super::*;
use crate::record::batch::Attributes;
use crate::types::ErrorCode;

const PID: i64 = 7;

fn header(epoch: i16, base_sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 49,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: records - 1,
        base_timestamp: 5,
        max_timestamp: 5,
        producer_id: PID,
        producer_epoch: epoch,
        base_sequence,
        records_count: records,
    }
}

fn check(producers: &Producers, header: &BatchHeader) -> Verdict {
    producers.check(header, &Word::default())
}

/// Appends a batch that must be accepted.
fn append(producers: &mut Producers, header: &BatchHeader, base_offset: i64) {
    assert_eq!(check(producers, header), Verdict::Append);
    let _ = producers.stage(header, None, base_offset);
    producers.commit();
}

#[test]
fn s47_any_of_the_last_five_batches_is_recognised_with_its_offsets() {
    let mut producers = Producers::default();
    for n in 0..6 {
        append(&mut producers, &header(0, n * 2, 2), i64::from(n) * 10);
    }
    for n in 1..6 {
        let Verdict::Duplicate(seen) = check(&producers, &header(0, n * 2, 2)) else {
            panic!("batch {n} forgotten")
        };
        assert_eq!((seen.first_offset(), seen.last_offset), (i64::from(n) * 10, i64::from(n) * 10 + 1));
    }
    let oldest = check(&producers, &header(0, 0, 2));
    assert_eq!(oldest, Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber), "the sixth last is forgotten");
}

#[test]
fn s48_a_gap_is_out_of_order_and_the_first_batch_may_begin_anywhere() {
    let mut producers = Producers::default();
    append(&mut producers, &header(0, 40, 2), 0);
    assert_eq!(check(&producers, &header(0, 43, 1)), Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber));
    append(&mut producers, &header(0, 42, 1), 2);
}

#[test]
fn s48_sequences_wrap_to_zero() {
    let mut producers = Producers::default();
    append(&mut producers, &header(0, i32::MAX - 1, 2), 0);
    append(&mut producers, &header(0, 0, 3), 2);
    let mut across = Producers::default();
    append(&mut across, &header(0, i32::MAX, 2), 0);
    assert!(
        matches!(check(&across, &header(0, i32::MAX, 2)), Verdict::Duplicate(_)),
        "a batch across the wrap"
    );
    append(&mut across, &header(0, 1, 1), 2);
}

#[test]
fn s48_s49_epochs_rise_from_sequence_zero_and_never_fall() {
    let mut producers = Producers::default();
    append(&mut producers, &header(3, 0, 1), 0);
    assert_eq!(check(&producers, &header(2, 1, 1)), Verdict::Refuse(ErrorCode::InvalidProducerEpoch));
    assert_eq!(check(&producers, &header(4, 1, 1)), Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber));
    append(&mut producers, &header(4, 0, 1), 1);
    assert_eq!(check(&producers, &header(4, 2, 1)), Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn a_write_that_fails_leaves_no_trace() {
    let mut producers = Producers::default();
    append(&mut producers, &header(0, 0, 1), 0);
    let before = producers.get(PID).cloned();
    for n in 1..9 {
        assert_eq!(
            check(&producers, &header(0, n, 1)),
            Verdict::Append,
            "staged batches count for those behind them"
        );
        let _ = producers.stage(&header(0, n, 1), None, i64::from(n));
    }
    let _ = producers.stage(&header(1, 0, 1), None, 9);
    producers.roll_back();
    assert_eq!(producers.get(PID).cloned(), before);
}

#[test]
fn batches_without_a_producer_are_not_remembered() {
    let mut producers = Producers::default();
    let plain = BatchHeader { producer_id: NO_PRODUCER_ID, ..header(-1, -1, 1) };
    append(&mut producers, &plain, 0);
    append(&mut producers, &plain, 1);
    assert!(producers.is_empty());
}

#[test]
fn s49_producers_expire_by_their_last_write() {
    let mut producers = Producers::default();
    append(&mut producers, &header(0, 0, 1), 0);
    assert_eq!(producers.expire(5), 0);
    assert_eq!(producers.expire(6), 1);
    assert!(producers.is_empty());
}

#[test]
fn kafkas_snapshot_has_kafkas_bytes() {
    let mut producers = Producers::default();
    append(&mut producers, &header(2, 0, 3), 100);
    let bytes = producers.to_kafka_snapshot();
    assert_eq!(bytes.len(), 2 + 4 + 4 + 46);
    assert_eq!(bytes[..2], [0, 1], "version 1");
    assert_eq!(bytes[6..10], [0, 0, 0, 1], "one producer");
    assert_eq!(bytes[10..18], PID.to_be_bytes());
    assert_eq!(bytes[18..20], [0, 2], "epoch");
    assert_eq!(bytes[20..24], [0, 0, 0, 2], "last sequence");
    assert_eq!(bytes[24..32], 102_i64.to_be_bytes(), "last offset");
    assert_eq!(bytes[32..36], [0, 0, 0, 2], "offset delta");
    assert_eq!(bytes[44..48], [0xff; 4], "no coordinator");
    assert_eq!(bytes[48..], [0xff; 8], "no transaction");
}

/// Some history: each step writes the next batch of one of three producers, sometimes with a new epoch.
fn history() -> impl Strategy<Value = Producers> {
    proptest::collection::vec((0_i64..3, 1_i32..5, proptest::bool::weighted(0.1)), 0..40).prop_map(|steps| {
        let mut producers = Producers::default();
        let mut next = [(0_i16, 0_i32); 3];
        let mut offset = 0;
        for (id, records, new_epoch) in steps {
            let slot = usize::try_from(id).unwrap();
            if new_epoch {
                next[slot] = (next[slot].0 + 1, 0);
            }
            let (epoch, sequence) = next[slot];
            let batch = BatchHeader { producer_id: id, ..header(epoch, sequence, records) };
            append(&mut producers, &batch, offset);
            next[slot].1 += records;
            offset += i64::from(records);
        }
        producers
    })
}

proptest! {
    #[test]
    fn the_window_snapshot_keeps_everything(producers in history()) {
        let back = Producers::from_snapshot(&producers.to_window_snapshot()).unwrap();
        prop_assert_eq!(back.entries, producers.entries);
    }

    #[test]
    fn kafkas_snapshot_keeps_the_last_batch(producers in history()) {
        let back = Producers::from_snapshot(&producers.to_kafka_snapshot()).unwrap();
        prop_assert_eq!(back.entries.len(), producers.entries.len());
        for (id, entry) in &producers.entries {
            prop_assert_eq!(back.entries[id].epoch, entry.epoch);
            prop_assert_eq!(back.entries[id].batches.last(), entry.batches.last());
        }
    }

    #[test]
    fn damage_is_noticed(producers in history(), flip in any::<proptest::sample::Index>(), window in any::<bool>()) {
        let mut bytes = if window { producers.to_window_snapshot() } else { producers.to_kafka_snapshot() };
        let at = flip.index(bytes.len());
        bytes[at] ^= 0x10;
        prop_assert!(Producers::from_snapshot(&bytes).is_err());
        prop_assert!(Producers::from_snapshot(&bytes[..at]).is_err(), "cut short");
    }
}
