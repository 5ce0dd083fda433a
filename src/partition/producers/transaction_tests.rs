//! Transactional batches and markers: S48, S49, S54, S57.

use super::*;
use crate::record::batch::{Attributes, BatchHeader};
use crate::record::control::{Marker, build_marker};
use crate::types::ErrorCode;

const PID: i64 = 7;
const GIVEN: Word = Word { is_given: true, lowest_sequence: None, is_v2: false };
const GIVEN_V2: Word = Word { is_v2: true, ..GIVEN };
const NONE: Word = Word { is_given: false, lowest_sequence: None, is_v2: false };

fn header(epoch: i16, base_sequence: i32, transactional: bool) -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        batch_length: 49,
        partition_leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: Attributes::default().with_transactional(transactional),
        last_offset_delta: 0,
        base_timestamp: 5,
        max_timestamp: 5,
        producer_id: PID,
        producer_epoch: epoch,
        base_sequence,
        records_count: 1,
    }
}

fn marker(epoch: i16, coordinator_epoch: i32, v2: bool) -> TransactionMarker {
    let producer_epoch = epoch;
    TransactionMarker {
        producer_id: PID,
        producer_epoch,
        coordinator_epoch,
        commit: false,
        v2,
        is_own: false,
    }
}

fn write(producers: &mut Producers, header: &BatchHeader, offset: i64) -> Option<Change> {
    let change = producers.stage(header, None, offset);
    producers.commit();
    change
}

fn end(producers: &mut Producers, marker: &TransactionMarker, offset: i64) -> Option<Change> {
    let kind = if marker.commit { ControlType::Commit } else { ControlType::Abort };
    let record = Marker { kind, coordinator_epoch: marker.coordinator_epoch };
    let bytes = build_marker(record, marker.producer_id, marker.producer_epoch, 9).unwrap();
    let change = producers.stage(&BatchHeader::parse(&bytes).unwrap(), Some(&bytes), offset);
    producers.commit();
    change
}

fn refused(verdict: Verdict) -> ErrorCode {
    match verdict {
        Verdict::Refuse(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn s54_a_first_batch_needs_the_coordinators_word_and_those_behind_it_do_not() {
    let mut producers = Producers::default();
    let first = header(0, 0, true);
    assert_eq!(refused(producers.check(&first, &NONE)), ErrorCode::InvalidTxnState);
    assert_eq!(producers.check(&first, &GIVEN), Verdict::Append);
    let began = Change::Began { producer_id: PID, epoch: 0, first_offset: 10, is_new: true };
    assert_eq!(write(&mut producers, &first, 10), Some(began));
    assert_eq!(producers.check(&header(0, 1, true), &NONE), Verdict::Append);
    assert_eq!(write(&mut producers, &header(0, 1, true), 11), None);
    assert!(matches!(producers.check(&first, &NONE), Verdict::Duplicate(_)), "sent again");
    assert_eq!(producers.first_open(), Some(10));
    end(&mut producers, &marker(0, 1, false), 12);
    assert_eq!(producers.first_open(), None);
    assert_eq!(refused(producers.check(&header(0, 2, true), &NONE)), ErrorCode::InvalidTxnState);
    assert!(matches!(producers.check(&first, &NONE), Verdict::Duplicate(_)), "sent again, and ended since");
}

#[test]
fn s54_outside_its_open_transaction_a_producer_writes_nothing() {
    let mut producers = Producers::default();
    write(&mut producers, &header(0, 0, true), 0);
    assert_eq!(refused(producers.check(&header(0, 1, false), &NONE)), ErrorCode::InvalidTxnState);
    assert_eq!(refused(producers.check(&header(0, 5, false), &NONE)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(refused(producers.check(&header(1, 0, false), &NONE)), ErrorCode::InvalidTxnState);
    end(&mut producers, &marker(0, 0, false), 1);
    assert_eq!(producers.check(&header(0, 1, false), &NONE), Verdict::Append);
}

#[test]
fn s54_none_goes_before_one_with_a_lower_sequence_that_waits() {
    let producers = Producers::default();
    let word = Word { lowest_sequence: Some(3), ..GIVEN };
    assert_eq!(refused(producers.check(&header(0, 4, true), &word)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(producers.check(&header(0, 3, true), &word), Verdict::Append);
}

#[test]
fn s48_a_v2_producer_that_is_not_known_begins_at_zero() {
    let producers = Producers::default();
    let (ahead, first) = (header(0, 4, true), header(0, 0, true));
    assert_eq!(refused(producers.check(&ahead, &GIVEN_V2)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(producers.check(&first, &GIVEN_V2), Verdict::Append);
    assert_eq!(producers.check(&ahead, &GIVEN), Verdict::Append, "others may have been forgotten");
}

#[test]
fn s48_after_a_marker_v1_sequences_go_on_and_v2_sequences_begin_again() {
    let mut v1 = Producers::default();
    write(&mut v1, &header(0, 0, true), 0);
    end(&mut v1, &marker(0, 0, false), 1);
    assert_eq!(v1.check(&header(0, 1, true), &GIVEN), Verdict::Append);
    assert_eq!(refused(v1.check(&header(0, 2, true), &GIVEN)), ErrorCode::OutOfOrderSequenceNumber);

    let mut v2 = Producers::default();
    write(&mut v2, &header(0, 0, true), 0);
    end(&mut v2, &marker(1, 0, true), 1);
    assert_eq!(refused(v2.check(&header(1, 1, true), &GIVEN_V2)), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(v2.check(&header(1, 0, true), &GIVEN_V2), Verdict::Append);
}

#[test]
fn s49_s57_a_marker_with_a_higher_epoch_fences_who_wrote_before() {
    let mut producers = Producers::default();
    write(&mut producers, &header(3, 0, true), 0);
    end(&mut producers, &marker(4, 0, false), 1);
    assert_eq!(refused(producers.check(&header(3, 1, true), &GIVEN)), ErrorCode::InvalidProducerEpoch);
    assert_eq!(refused(producers.check(&header(3, 1, false), &NONE)), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn s57_v1_markers_carry_the_transactions_epoch_or_a_higher_one() {
    let mut producers = Producers::default();
    assert_eq!(producers.check_marker(&marker(0, 0, false)), Ok(()), "nobody is known");
    write(&mut producers, &header(3, 0, true), 0);
    assert_eq!(producers.check_marker(&marker(3, 0, false)), Ok(()));
    assert_eq!(producers.check_marker(&marker(2, 0, false)), Err(ErrorCode::InvalidProducerEpoch));
    end(&mut producers, &marker(3, 0, false), 1);
    assert_eq!(producers.check_marker(&marker(3, 0, false)), Ok(()), "repeated");
}

#[test]
fn s57_v2_markers_are_above_the_transactions_epoch_unless_they_repeat_one() {
    let mut producers = Producers::default();
    write(&mut producers, &header(3, 0, true), 0);
    assert_eq!(producers.check_marker(&marker(3, 0, true)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(producers.check_marker(&marker(4, 0, true)), Ok(()));
    end(&mut producers, &marker(4, 0, true), 1);
    assert_eq!(producers.check_marker(&marker(4, 0, true)), Ok(()), "repeated (KAFKA-19999)");
    assert_eq!(producers.check_marker(&marker(3, 0, true)), Err(ErrorCode::InvalidProducerEpoch));
    write(&mut producers, &header(4, 0, true), 2);
    assert_eq!(
        producers.check_marker(&marker(4, 0, true)),
        Err(ErrorCode::InvalidProducerEpoch),
        "late: the next transaction is open"
    );
}

#[test]
fn s57_a_coordinator_that_has_a_successor_ends_nothing() {
    let mut producers = Producers::default();
    write(&mut producers, &header(0, 0, true), 0);
    end(&mut producers, &marker(0, 5, false), 1);
    let late = producers.check_marker(&marker(0, 4, false));
    assert_eq!(late, Err(ErrorCode::TransactionCoordinatorFenced));
    assert_eq!(producers.check_marker(&marker(0, 5, false)), Ok(()));
    let own = TransactionMarker { is_own: true, ..marker(0, 4, false) };
    assert_eq!(producers.check_marker(&own), Ok(()), "our own coordinator has none");
    let late = TransactionMarker { producer_epoch: -1, ..own };
    assert_eq!(producers.check_marker(&late), Err(ErrorCode::InvalidProducerEpoch));
}

#[test]
fn an_abort_tells_what_readers_must_not_see() {
    let mut producers = Producers::default();
    let other = BatchHeader { producer_id: 8, ..header(0, 0, true) };
    write(&mut producers, &header(0, 0, true), 10);
    write(&mut producers, &other, 11);
    let Some(Change::Ended { aborted: Some(aborted), .. }) = end(&mut producers, &marker(0, 0, false), 12)
    else {
        panic!("not aborted")
    };
    assert_eq!((aborted.producer_id, aborted.first_offset, aborted.last_offset), (PID, 10, 12));
    assert_eq!(aborted.last_stable_offset, 11, "the other one is open");
    let Some(Change::Ended { aborted, first_offset, .. }) = end(&mut producers, &marker(0, 0, false), 13)
    else {
        panic!("no change")
    };
    assert_eq!((aborted, first_offset), (None, None), "nothing was open");
}

#[test]
fn what_was_staged_for_a_write_that_failed_leaves_no_transaction_and_ends_none() {
    let mut producers = Producers::default();
    write(&mut producers, &header(0, 0, true), 0);
    let before = (producers.get(PID).cloned(), producers.first_open());
    let bytes = build_marker(Marker { kind: ControlType::Commit, coordinator_epoch: 1 }, PID, 1, 0).unwrap();
    producers.stage(&BatchHeader::parse(&bytes).unwrap(), Some(&bytes), 1);
    producers.stage(&header(1, 0, true), None, 2);
    producers.stage(&BatchHeader { producer_id: 8, ..header(0, 0, true) }, None, 3);
    assert_eq!(producers.first_open(), Some(2));
    producers.roll_back();
    assert_eq!((producers.get(PID).cloned(), producers.first_open()), before);
    assert_eq!(producers.open().count(), 1);
}

#[test]
fn snapshots_keep_transactions_and_who_is_known_by_a_marker_alone() {
    let mut producers = Producers::default();
    write(&mut producers, &header(0, 0, true), 4);
    let lone = TransactionMarker { producer_id: 9, ..marker(2, 6, true) };
    end(&mut producers, &lone, 5);
    for bytes in [producers.to_kafka_snapshot(), producers.to_window_snapshot()] {
        let back = Producers::from_snapshot(&bytes).unwrap();
        assert_eq!(back.first_open(), Some(4));
        let lone = back.get(9).unwrap();
        assert_eq!((lone.epoch, lone.coordinator_epoch, lone.last_timestamp), (2, 6, 9));
        assert_eq!(lone.batches.last(), None);
        assert_eq!(back.get(PID).unwrap(), producers.get(PID).unwrap());
    }
}

#[test]
fn producers_with_an_open_transaction_do_not_expire() {
    let mut producers = Producers::default();
    write(&mut producers, &header(0, 0, true), 4);
    assert_eq!(producers.expire(i64::MAX), 0);
    end(&mut producers, &marker(0, 0, false), 5);
    assert_eq!(producers.expire(i64::MAX), 1);
}
