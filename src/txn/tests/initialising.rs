//! InitProducerId (S51, S52), and which partitions a producer may add (S53, S54).

use std::sync::Arc;

use super::driver::*;
use crate::coord::Release;
use crate::txn::transaction::LAST_EPOCH;
use crate::txn::*;
use crate::types::ErrorCode;

#[test]
fn s51_a_new_id_begins_at_epoch_0_and_each_new_producer_raises_it() {
    let mut shard = Shard::new();
    let first = shard.init(None).unwrap();
    assert_eq!(first.epoch, 0);
    assert_eq!(shard.last_release, Release::Durable, "a power cut must not give it twice");
    let second = shard.init(None).unwrap();
    assert_eq!(second, raised(first));
    assert_eq!(shard.add(first, &[0], 0), Err(ErrorCode::ProducerFenced));
    assert_eq!(shard.add(second, &[0], 0), Ok(()));
    shard.restart();
    assert_eq!(shard.state().producer, second);
}

#[test]
fn s51_a_time_out_that_the_broker_does_not_allow_is_refused() {
    let mut shard = Shard::new();
    for timeout_ms in [i32::MIN, -1, 0, 900_001, i32::MAX] {
        let request = InitProducer {
            transactional_id: ID.into(),
            timeout_ms,
            held: None,
            fresh_id: Some(1),
            client: Arc::default(),
        };
        let reply = shard.ask(Command::Init(request));
        assert_eq!(reply, Reply::Init(InitReply::Refused(ErrorCode::InvalidTransactionTimeout)));
    }
    assert!(shard.log.is_empty());
}

#[test]
fn s51_an_open_transaction_is_fenced_and_aborted_and_the_new_producer_comes_again() {
    let mut shard = Shard::new();
    let old = shard.ongoing();
    assert_eq!(shard.init(None), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(shard.status(), Status::Prepare(Outcome::Abort));
    assert_eq!(shard.init(None), Err(ErrorCode::ConcurrentTransactions), "the abort is under way");
    let markers = shard.write_markers();
    assert_eq!(
        (markers.producer, markers.outcome, markers.raises_epoch),
        (raised(old), Outcome::Abort, true)
    );
    assert_eq!(shard.init(None), Ok(raised(raised(old))));
    assert_eq!(shard.end(old, Outcome::Commit, false), Err(ErrorCode::ProducerFenced));
    assert!(matches!(shard.effects[1], Effect::Fenced { .. }));
}

#[test]
fn s52_a_producer_that_says_what_it_holds_is_told_from_a_zombie() {
    let mut shard = Shard::new();
    let first = shard.init(None).unwrap();
    let second = shard.init(Some(first)).unwrap();
    assert_eq!(second, raised(first));
    assert_eq!(shard.init(Some(first)), Ok(second), "its answer was lost");
    shard.restart();
    assert_eq!(shard.init(Some(first)), Ok(second), "with the broker");
    let other = Producer { id: first.id + 77, epoch: 1 };
    assert_eq!(shard.init(Some(other)), Err(ErrorCode::ProducerFenced));
    let third = shard.init(None).unwrap();
    assert_eq!(third, raised(second));
    assert_eq!(shard.init(Some(second)), Err(ErrorCode::ProducerFenced), "another has come between");
    assert_eq!(shard.init(Some(first)), Err(ErrorCode::ProducerFenced));
    assert_eq!(shard.init(Some(third)), Ok(raised(third)));
}

#[test]
fn s52_a_zombie_does_not_end_the_transaction_of_its_successor() {
    let mut shard = Shard::new();
    let zombie = shard.init(None).unwrap();
    let producer = shard.ongoing();
    assert_eq!(shard.init(Some(zombie)), Err(ErrorCode::ProducerFenced));
    assert_eq!(shard.status(), Status::Ongoing);
    assert_eq!(shard.init(Some(producer)), Err(ErrorCode::ConcurrentTransactions));
    shard.write_markers();
    assert_eq!(shard.init(Some(producer)), Ok(raised(producer)), "it was fenced by itself");
}

#[test]
fn s52_a_producer_whose_id_has_expired_is_given_another() {
    let mut shard = Shard::new();
    let given = shard.init(Some(Producer { id: 5, epoch: 9 })).unwrap();
    assert_eq!(given.epoch, 0);
    assert_ne!(given.id, 5);
}

#[test]
fn s51_epochs_that_are_used_up_make_way_for_a_fresh_id() {
    for held in [false, true] {
        let mut shard = Shard::new();
        let last = Producer { id: 7, epoch: LAST_EPOCH };
        shard.put(ID, Transaction { producer: last, ..Transaction::first(7, TIMEOUT_MS, START) });
        let fresh = shard.init(held.then_some(last)).unwrap();
        assert_eq!(fresh, Producer::fresh(1_001));
        assert_eq!(shard.add(last, &[0], 0), Err(ErrorCode::InvalidProducerIdMapping));
        let retry = shard.init(Some(last));
        assert_eq!(retry, if held { Ok(fresh) } else { Err(ErrorCode::ProducerFenced) });
    }
}

#[test]
fn s53_partitions_are_added_once_and_by_the_present_producer_alone() {
    let mut shard = Shard::new();
    let nobody = Producer { id: 1, epoch: 0 };
    assert_eq!(shard.add(nobody, &[0], 0), Err(ErrorCode::InvalidProducerIdMapping));
    let producer = shard.init(None).unwrap();
    let other = Producer { id: producer.id + 1, ..producer };
    assert_eq!(shard.add(other, &[0], 0), Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(shard.add(raised(producer), &[0], 0), Err(ErrorCode::ProducerFenced));
    assert_eq!(shard.add(producer, &[0, 1], 0), Ok(()));
    let written = shard.log.len();
    assert_eq!(shard.add(producer, &[1, 0], 0), Ok(()));
    assert_eq!(shard.log.len(), written, "what is known is not written again");
    assert_eq!(shard.last_release, Release::Durable, "and yet waits for the first time's record");
    let began = shard.state().started_at;
    shard.advance(10);
    assert_eq!(shard.add(producer, &[2], 0), Ok(()));
    assert_eq!(shard.state().started_at, began);
    shard.post_end(producer, Outcome::Commit, false);
    assert_eq!(shard.add(producer, &[3], 0), Err(ErrorCode::ConcurrentTransactions));
    shard.write_markers();
    assert_eq!(shard.add(producer, &[3], 0), Ok(()), "the next transaction");
    assert_eq!(shard.state().partitions["t"].len(), 1);
    assert_eq!(shard.state().started_at, shard.wall);
}

#[test]
fn s54_only_partitions_of_the_open_transaction_are_vouched_for() {
    let mut shard = Shard::new();
    let producer = shard.ongoing();
    assert_eq!(shard.verify(producer, &[0, 1]), Ok(vec![true, false]));
    assert_eq!(shard.verify(raised(producer), &[0]), Err(ErrorCode::ProducerFenced));
    shard.post_end(producer, Outcome::Abort, false);
    assert_eq!(shard.verify(producer, &[0]), Err(ErrorCode::ConcurrentTransactions));
    shard.write_markers();
    assert_eq!(shard.verify(producer, &[0]), Ok(vec![false]));
}
