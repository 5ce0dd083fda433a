//! The way to the transaction coordinators: what each partition is told, and in whose words; producer ids drawn when they
//! are needed; which coordinators there are, and that those with something to do do it unasked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::testing::*;
use super::*;
use crate::coord::{LogRecord, StateMachine as _};
use crate::record::batch::BatchHeader;
use crate::record::build::{BatchBuilder, NewRecord};
use crate::txn::{ListTransactions, Outcome, Record, Status, Transaction};

const REFUSED: Result<(), ErrorCode> = Err(ErrorCode::TransactionAbortable);

#[tokio::test]
async fn s54_each_partition_is_answered_for_in_the_order_asked() {
    let rig = Rig::start().await;
    rig.topic("t", 3).await;
    let producer = rig.producer("a").await;
    assert_eq!(rig.join("a", producer, &[("t", 1)], true).await, [Ok(())]);
    let asked = [("t", 2), ("t", 1), ("t", 0), ("t", 1)];
    assert_eq!(rig.join("a", producer, &asked, false).await, [REFUSED, Ok(()), REFUSED, Ok(())]);
    assert_eq!(rig.join("a", producer, &[("t", 0)], false).await, [REFUSED], "to ask is not to add");
    assert_eq!(rig.join("a", producer, &[("t", 0)], true).await, [Ok(())]);
    assert_eq!(rig.join("a", producer, &[("t", 0)], false).await, [Ok(())]);
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn s54_refusals_are_told_in_words_of_the_data_plane_and_for_each_partition() {
    let rig = Rig::start().await;
    rig.topic("t", 2).await;
    let (first, other) = (rig.producer("a").await, rig.producer("b").await);
    let second = rig.producer("a").await;
    let both = [("t", 0), ("t", 1)];
    for add in [false, true] {
        let all = |error| vec![Err(error); 2];
        assert_eq!(rig.join("", second, &both, add).await, all(ErrorCode::InvalidRequest));
        assert_eq!(rig.join("c", second, &both, add).await, all(ErrorCode::InvalidProducerIdMapping));
        assert_eq!(rig.join("a", other, &both, add).await, all(ErrorCode::InvalidProducerIdMapping));
        // S49: Produce knows no PRODUCER_FENCED.
        assert_eq!(rig.join("a", first, &both, add).await, all(ErrorCode::InvalidProducerEpoch));
        let later = Producer { epoch: second.epoch + 1, ..second };
        assert_eq!(rig.join("a", later, &both, add).await, all(ErrorCode::InvalidProducerEpoch));
    }
    assert_eq!(rig.join("a", second, &both, false).await, [REFUSED, REFUSED], "nothing came of it");
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn s54_with_verification_off_nothing_is_asked_and_what_is_added_is_all_the_same() {
    let rig = Rig::with(|config| config.transactions.verifies_partitions = false).await;
    rig.topic("t", 1).await;
    let producer = rig.producer("a").await;
    assert_eq!(rig.join("a", producer, &[("t", 0)], false).await, [Ok(())]);
    assert_eq!(rig.join("nobody", producer, &[("t", 0)], false).await, [Ok(())]);
    let unknown = rig.join("nobody", producer, &[("t", 0)], true).await;
    assert_eq!(unknown, [Err(ErrorCode::InvalidProducerIdMapping)]);
    assert_eq!(rig.join("a", producer, &[("t", 0)], true).await, [Ok(())]);
    assert_eq!(state(&rig, "a").await, (Status::Ongoing, 1));
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn s50_s51_producer_ids_are_drawn_when_they_are_needed_and_never_again() {
    let mut rig = Rig::start().await;
    let (a, b) = (rig.producer("a").await, rig.producer("b").await);
    assert_eq!((a.epoch, b.epoch), (0, 0));
    assert_ne!(a.id, b.id);
    assert_eq!(rig.producer("a").await, Producer { epoch: 1, ..a });
    rig = rig.restart().await;
    assert_eq!(rig.producer("a").await, Producer { epoch: 2, ..a });
    let c = rig.producer("c").await;
    assert!(c.epoch == 0 && c.id != a.id && c.id != b.id, "{c:?}");
    let request = InitProducer { timeout_ms: 0, ..init("c") };
    let refused = rig.broker.init_transactional(request).await;
    assert_eq!(refused, Err(ErrorCode::InvalidTransactionTimeout));
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn s51_s55_used_up_epochs_make_way_for_a_fresh_id_at_a_start_and_at_an_end() {
    let mut rig = Rig::start().await;
    rig.topic("t", 1).await;
    let last_but_one = i16::MAX - 2;
    let (starts, ends) = (rig.producer("starts").await, rig.producer("ends").await);
    for (id, producer) in [("starts", starts), ("ends", ends)] {
        put(&rig, id, Producer { epoch: last_but_one, ..producer }).await;
    }
    rig = rig.restart().await;
    for (id, producer) in [("starts", starts), ("ends", ends)] {
        assert_eq!(rig.producer(id).await, Producer { epoch: i16::MAX - 1, ..producer }, "the last one");
    }
    let fresh = rig.producer("starts").await;
    assert!(fresh.epoch == 0 && fresh.id > ends.id, "{fresh:?}");

    let ends = Producer { epoch: i16::MAX - 1, ..ends };
    assert_eq!(rig.join("ends", ends, &[("t", 0)], true).await, [Ok(())]);
    rig.write(ends, "t", 0).await;
    let next = rig.broker.end_transaction(end("ends", ends, Outcome::Commit)).await.unwrap();
    assert!(next.epoch == 0 && next.id > fresh.id, "{next:?}");
    let partition = rig.partition("t", 0).await;
    assert_eq!(partition.last_stable_offset(), partition.high_watermark());
    let old = rig.join("ends", ends, &[("t", 0)], true).await;
    assert!(old[0].is_err(), "{old:?}");
    assert_eq!(rig.join("ends", next, &[("t", 0)], true).await, [Ok(())], "it goes on under the fresh one");
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn those_coordinators_are_asked_for_everything_that_hold_anything() {
    let mut rig = Rig::start().await;
    assert!(rig.broker.all_transaction_shards().await.unwrap().is_empty(), "and no topic is made by that");
    assert!(rig.broker.image().topic(TRANSACTION_STATE).is_none());
    rig.producer("a").await;
    rig.producer("b").await;
    let partitions = rig.broker.image().topic(TRANSACTION_STATE).unwrap().partitions;
    assert_ne!(partition_of("a", partitions), partition_of("b", partitions));
    for _ in 0..2 {
        let shards = rig.broker.all_transaction_shards().await.unwrap();
        assert_eq!(shards.len(), 2);
        let mut ids = Vec::new();
        for shard in shards {
            let all = ListTransactions { longer_than_ms: -1, ..ListTransactions::default() };
            let Reply::List(listed) = shard.call(Command::List(all)).await else { panic!("a list") };
            ids.extend(listed.into_iter().map(|one| one.transactional_id.to_string()));
        }
        ids.sort();
        assert_eq!(ids, ["a", "b"]);
        rig = rig.restart().await;
        // Who reads such a partition, before its coordinator starts, does not keep it from being asked.
        rig.partition(TRANSACTION_STATE, partition_of("a", partitions)).await;
    }
    rig.broker.stop().await.unwrap();
}

/// S59: nobody asks for the transactional id after the start.
#[tokio::test]
async fn s59_a_transaction_that_a_restart_finds_is_ended_when_its_time_is_up_without_a_word_from_anybody() {
    let mut rig = Rig::start().await;
    rig.topic("t", 1).await;
    let request = InitProducer { timeout_ms: 300, ..init("a") };
    let producer = rig.broker.init_transactional(request).await.unwrap();
    assert_eq!(rig.join("a", producer, &[("t", 0)], true).await, [Ok(())]);
    rig.write(producer, "t", 0).await;
    rig = rig.restart().await;
    let partition = rig.partition("t", 0).await;
    until("it is aborted", || markers(&partition).len() == 1).await;
    until("readers go on", || partition.last_stable_offset() == 2).await;
    assert_eq!(rig.join("a", producer, &[("t", 0)], true).await, [Err(ErrorCode::InvalidProducerEpoch)]);
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_coordinator_that_has_stopped_is_asked_for_again_later() {
    let rig = Rig::start().await;
    let producer = rig.producer("a").await;
    rig.broker.transactions.stop().await;
    let refused = rig.broker.init_transactional(init("a")).await.unwrap_err();
    assert_eq!(rig.join("a", producer, &[("t", 0)], true).await, [Err(refused)]);
    let end = rig.broker.end_transaction(end("a", producer, Outcome::Abort));
    let ended = tokio::time::timeout(Duration::from_secs(10), end).await.expect("an answer");
    assert_eq!(ended, Err(refused));
    assert_eq!(refused, ErrorCode::CoordinatorNotAvailable);
    rig.broker.stop().await.unwrap();
}

/// State and partitions of a transactional id, as its coordinator says.
async fn state(rig: &Rig, id: &str) -> (Status, usize) {
    let shard = rig.broker.transaction_shard(id).await.unwrap();
    let command = Command::Describe { transactional_id: id.into() };
    let Reply::Describe(Some(described)) = shard.call(command).await else { panic!("{id} is not known") };
    (described.status, described.partitions.values().map(std::collections::BTreeSet::len).sum())
}

/// Has the log say that this producer is the transactional id's. The coordinator knows after its next load.
async fn put(rig: &Rig, id: &str, producer: Producer) {
    let transaction = Transaction {
        producer,
        previous_id: producer.id,
        next_id: -1,
        last_epoch: -1,
        timeout_ms: TIMEOUT_MS,
        status: Status::Empty,
        partitions: BTreeMap::new(),
        updated_at: rig.broker.clock().now_ms(),
        started_at: -1,
        version: 0,
    };
    let record = Record { transactional_id: id.into(), value: Some(Arc::new(transaction)) };
    let LogRecord { key, value } = Transactions::encode(&record);
    let mut batch = BatchBuilder::new();
    batch.push(&NewRecord {
        timestamp: 1,
        key: key.as_deref(),
        value: value.as_deref(),
        ..NewRecord::default()
    });
    let batch = batch.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let partitions = rig.broker.image().topic(TRANSACTION_STATE).unwrap().partitions;
    let partition = rig.partition(TRANSACTION_STATE, partition_of(id, partitions)).await;
    partition.append_own(&[(batch, header)]).unwrap();
}
