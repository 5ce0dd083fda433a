//! EndTxn in both versions (S55, S56, S58).

use super::driver::*;
use crate::coord::Release;
use crate::txn::soft::ANSWER_WAIT_MS;
use crate::txn::transaction::LAST_EPOCH;
use crate::txn::*;
use crate::types::ErrorCode;

const OUTCOMES: [Outcome; 2] = [Outcome::Commit, Outcome::Abort];

#[test]
fn s58_an_end_is_answered_when_it_is_visible_and_decided_durably() {
    let mut shard = Shard::new();
    let producer = shard.ongoing();
    let ticket = shard.post_end(producer, Outcome::Commit, false);
    assert_eq!(shard.last_release, Release::Durable, "markers wait for the decision to be on disk");
    assert_eq!(shard.ended(ticket), None);
    let markers = shard.write_markers();
    assert_eq!((markers.producer, markers.raises_epoch), (producer, false));
    assert_eq!(shard.last_release, Release::Appended, "nobody waits for Complete");
    assert_eq!(shard.ended(ticket), Some(Ok(Producer::NONE)));
    assert_eq!(shard.status(), Status::Complete(Outcome::Commit));
    assert_eq!(shard.init(None), Ok(raised(producer)), "the next call never meets 51");
}

#[test]
fn s58_markers_that_cannot_be_written_do_not_keep_the_client_for_ever() {
    let mut shard = Shard::new();
    let producer = shard.ongoing();
    let ticket = shard.post_end(producer, Outcome::Commit, true);
    shard.advance(ANSWER_WAIT_MS - 1);
    assert_eq!(shard.ended(ticket), None);
    shard.advance(1);
    assert_eq!(shard.ended(ticket), Some(Ok(raised(producer))));
    assert_eq!(shard.last_release, Release::Durable);
    assert_eq!(shard.add(raised(producer), &[0], 2), Err(ErrorCode::ConcurrentTransactions));
    shard.write_markers();
    assert_eq!(shard.add(raised(producer), &[0], 2), Ok(()));
}

#[test]
fn s53_the_first_version_tells_a_retry_from_a_mistake_by_the_state() {
    for outcome in OUTCOMES {
        let other = if outcome == Outcome::Commit { Outcome::Abort } else { Outcome::Commit };
        let mut shard = Shard::new();
        let nobody = Producer { id: 1, epoch: 0 };
        assert_eq!(shard.end(nobody, outcome, false), Err(ErrorCode::InvalidProducerIdMapping));
        let producer = shard.init(None).unwrap();
        assert_eq!(shard.end(producer, outcome, false), Err(ErrorCode::InvalidTxnState), "nothing is open");
        shard.add(producer, &[0], 0).unwrap();
        assert_eq!(shard.end(raised(producer), outcome, false), Err(ErrorCode::ProducerFenced));
        shard.post_end(producer, outcome, false);
        assert_eq!(shard.end(producer, outcome, false), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(shard.end(producer, other, false), Err(ErrorCode::InvalidTxnState));
        shard.write_markers();
        assert_eq!(shard.end(producer, outcome, false), Ok(Producer::NONE));
        assert_eq!(shard.end(producer, other, false), Err(ErrorCode::InvalidTxnState));
        assert_eq!(shard.state().producer, producer, "the epoch stays");
    }
}

#[test]
fn s56_the_second_version_tells_them_by_the_epoch() {
    let (commit, abort) = (Outcome::Commit, Outcome::Abort);
    let fenced = Err(ErrorCode::ProducerFenced);
    let invalid = Err(ErrorCode::InvalidTxnState);

    // Empty: an abort of nothing is a fresh start, and a retry of it is known.
    let mut shard = Shard::new();
    let zero = shard.init(None).unwrap();
    let one = raised(zero);
    assert_eq!(shard.end(zero, commit, true), invalid);
    assert_eq!(shard.end(one, abort, true), fenced);
    assert_eq!(shard.end(zero, abort, true), Ok(one));
    assert_eq!(shard.status(), Status::Complete(abort));

    // CompleteAbort.
    assert_eq!(shard.end(zero, abort, true), Ok(one), "a retry");
    assert_eq!(shard.end(zero, commit, true), invalid);
    assert_eq!(shard.end(one, commit, true), invalid);
    let two = raised(one);
    assert_eq!(shard.end(one, abort, true), Ok(two));

    // Ongoing and Prepare.
    shard.add(two, &[0], 2).unwrap();
    for outcome in OUTCOMES {
        assert_eq!(shard.end(one, outcome, true), fenced, "a retry of the last end comes too late");
    }
    let three = raised(two);
    let ticket = shard.post_end(two, commit, true);
    assert_eq!(shard.end(two, commit, true), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(shard.end(two, abort, true), invalid);
    assert_eq!(shard.end(three, commit, true), fenced);
    let markers = shard.write_markers();
    assert_eq!((markers.producer, markers.raises_epoch), (three, true));
    assert_eq!(shard.ended(ticket), Some(Ok(three)));

    // CompleteCommit.
    assert_eq!(shard.end(two, commit, true), Ok(three), "a retry");
    assert_eq!(shard.end(two, abort, true), invalid);
    assert_eq!(shard.end(three, commit, true), invalid);
    assert_eq!(shard.end(zero, commit, true), fenced);
    assert_eq!(shard.end(three, abort, true), Ok(raised(three)));
}

#[test]
fn s55_an_end_at_the_last_epoch_goes_on_with_a_fresh_id() {
    for outcome in OUTCOMES {
        let mut shard = Shard::new();
        let last = Producer { id: 7, epoch: LAST_EPOCH };
        shard.put(ID, Transaction { producer: last, ..Transaction::first(7, TIMEOUT_MS, START) });
        shard.add(last, &[0], 2).unwrap();
        let end = EndTxn {
            transactional_id: ID.into(),
            producer: last,
            outcome,
            raises_epoch: true,
            fresh_id: None,
        };
        assert_eq!(shard.ask(Command::End(end)), Reply::NeedsProducerId);
        let ticket = shard.post_end(last, outcome, true);
        let fresh = Producer::fresh(1_001);
        assert_eq!(shard.add(fresh, &[0], 2), Err(ErrorCode::ConcurrentTransactions), "it is not there yet");
        let markers = shard.write_markers();
        assert_eq!(markers.producer, Producer { id: 7, epoch: i16::MAX });
        assert_eq!(shard.ended(ticket), Some(Ok(fresh)));
        assert_eq!(shard.end(last, outcome, true), Ok(fresh), "a retry");
        shard.restart();
        assert_eq!(shard.add(last, &[0], 2), Err(ErrorCode::InvalidProducerIdMapping));
        assert_eq!(shard.add(fresh, &[0], 2), Ok(()));
    }
}

#[test]
fn markers_of_what_is_prepared_are_asked_for_again_by_every_load() {
    let mut shard = Shard::new();
    let producer = shard.ongoing();
    shard.post_end(producer, Outcome::Abort, true);
    shard.restart();
    let first = shard.write_markers();
    let records = shard.log.len();
    shard.post_internal(Command::MarkersWritten { transactional_id: ID.into(), attempt: first.attempt });
    assert_eq!(shard.log.len(), records, "the second word is one too many");
    shard.restart();
    assert_eq!(shard.effects, [], "it is complete");
    // The word on another transaction does not complete this one, though V1 keeps producer and epoch.
    let next = raised(producer);
    shard.add(next, &[0], 0).unwrap();
    shard.post_end(next, Outcome::Commit, false);
    let second = shard.write_markers();
    assert_eq!(shard.status(), Status::Complete(Outcome::Commit));
    shard.add(next, &[0], 0).unwrap();
    shard.post_end(next, Outcome::Commit, false);
    shard.post_internal(Command::MarkersWritten { transactional_id: ID.into(), attempt: second.attempt });
    shard.post_internal(Command::MarkersWritten { transactional_id: ID.into(), attempt: first.attempt });
    assert_eq!(shard.status(), Status::Prepare(Outcome::Commit));
}
