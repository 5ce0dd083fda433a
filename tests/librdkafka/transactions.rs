//! Transactions with librdkafka's producer: what is committed is seen, what is aborted, fenced, timed out or cut off by a
//! kill is not, and offsets go with them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{PATIENCE, config, consumer, create, poll, read, value};
use crate::support::Broker;

type TxnProducer = ThreadedProducer<DefaultProducerContext>;

/// A producer of this transactional id that has fenced whoever had it.
fn transactional(broker: &Broker, id: &str, settings: &[(&str, &str)]) -> TxnProducer {
    let mut config = config(broker, settings);
    config.set("transactional.id", id).set("reconnect.backoff.max.ms", "100");
    let producer: TxnProducer = config.create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("a producer id");
    producer
}

/// Produces in the open transaction.
fn produce(producer: &TxnProducer, topic: &str, partition: i32, values: &[&str]) {
    for value in values {
        let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
}

/// Produces, and waits until the broker has it.
fn deliver(producer: &TxnProducer, topic: &str, partition: i32, values: &[&str]) {
    produce(producer, topic, partition, values);
    producer.flush(PATIENCE).expect("all is delivered");
}

fn committed(producer: &TxnProducer, topic: &str, partition: i32, values: &[&str]) {
    producer.begin_transaction().expect("a transaction");
    produce(producer, topic, partition, values);
    producer.commit_transaction(PATIENCE).expect("a commit");
}

/// Everything in a partition that a reader of committed records sees now.
fn seen(broker: &Broker, topic: &str, partition: i32) -> Vec<String> {
    let settings =
        [("isolation.level", "read_committed"), ("enable.partition.eof", "true"), ("group.id", "unused")];
    let consumer: BaseConsumer = config(broker, &settings).create().expect("a consumer");
    until_eof(&consumer, topic, partition)
}

/// Reads to the end that the consumer's isolation has.
fn until_eof(consumer: &BaseConsumer, topic: &str, partition: i32) -> Vec<String> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    consumer.assign(&list).expect("an assignment");
    let mut values = Vec::new();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "no end after {values:?}");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => values.push(value(&message.detach()).to_owned()),
            Some(Err(KafkaError::PartitionEOF(_))) => return values,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

fn everything(broker: &Broker, topic: &str, partition: i32, count: usize) -> Vec<String> {
    let consumer = consumer(broker, &[("isolation.level", "read_uncommitted")]);
    let records = read(&consumer, topic, partition, Offset::Beginning, count);
    records.iter().map(|record| value(record).to_owned()).collect()
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_fatal())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_seen_and_what_is_aborted_is_not() {
    let broker = Broker::start();
    create(&broker, "t", 3, &[]).await;
    let producer = transactional(&broker, "one", &[]);
    for round in 0..5 {
        producer.begin_transaction().unwrap();
        for partition in 0..3 {
            deliver(&producer, "t", partition, &[&format!("committed {round}")]);
        }
        producer.commit_transaction(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        for partition in 0..3 {
            deliver(&producer, "t", partition, &[&format!("aborted {round}")]);
        }
        producer.abort_transaction(PATIENCE).unwrap();
    }
    for partition in 0..3 {
        let expected: Vec<_> = (0..5).map(|round| format!("committed {round}")).collect();
        assert_eq!(seen(&broker, "t", partition), expected);
        assert_eq!(everything(&broker, "t", partition, 10).len(), 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_wait_behind_an_open_transaction() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let (open, other) = (transactional(&broker, "open", &[]), transactional(&broker, "other", &[]));
    open.begin_transaction().unwrap();
    deliver(&open, "t", 0, &["first"]);
    committed(&other, "t", 0, &["second"]);
    assert_eq!(seen(&broker, "t", 0), [""; 0]);
    open.commit_transaction(PATIENCE).unwrap();
    assert_eq!(seen(&broker, "t", 0), ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s60_offsets_are_committed_with_their_transaction_or_not_at_all() {
    let broker = Broker::start();
    create(&broker, "in", 1, &[]).await;
    create(&broker, "out", 1, &[]).await;
    committed(&transactional(&broker, "source", &[]), "in", 0, &["a", "b", "c", "d"]);
    let settings = [("group.id", "g"), ("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")];
    let consumer = consumer(&broker, &settings);
    consumer.subscribe(&["in"]).unwrap();
    let producer = transactional(&broker, "copy", &[]);
    let mut taken = 0;
    while taken < 4 {
        let message = poll(&consumer, 1).remove(0);
        taken += 1;
        producer.begin_transaction().unwrap();
        produce(&producer, "out", 0, &[value(&message)]);
        let offsets = TopicPartitionList::from_topic_map(
            &[(("in".to_owned(), 0), Offset::Offset(i64::from(taken)))].into(),
        )
        .unwrap();
        let group = consumer.group_metadata().expect("a group");
        producer.send_offsets_to_transaction(&offsets, &group, PATIENCE).unwrap();
        if taken < 4 {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    assert_eq!(seen(&broker, "out", 0), ["a", "b", "c"]);
    let committed = consumer.committed(PATIENCE).unwrap();
    let committed: BTreeMap<_, _> = committed.to_topic_map().into_iter().collect();
    assert_eq!(committed[&("in".to_owned(), 0)], Offset::Offset(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn s51_a_second_producer_of_the_same_id_fences_the_first() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let first = transactional(&broker, "one", &[]);
    committed(&first, "t", 0, &["before"]);
    first.begin_transaction().unwrap();
    deliver(&first, "t", 0, &["never"]);
    let second = transactional(&broker, "one", &[]);
    let error = first.commit_transaction(PATIENCE).expect_err("it is fenced");
    assert!(is_fatal(&error), "{error:?}");
    committed(&second, "t", 0, &["after"]);
    assert_eq!(seen(&broker, "t", 0), ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s59_a_transaction_past_its_time_out_is_aborted_by_the_broker() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let settings = [("transaction.timeout.ms", "1000"), ("message.timeout.ms", "1000")];
    let slow = transactional(&broker, "slow", &settings);
    slow.begin_transaction().unwrap();
    deliver(&slow, "t", 0, &["too late"]);
    committed(&transactional(&broker, "other", &[]), "t", 0, &["in time"]);
    broker.wait_for_log("was open for longer than its time-out");
    let began = Instant::now();
    while seen(&broker, "t", 0) != ["in time"] {
        assert!(began.elapsed() < PATIENCE, "readers still wait");
    }
    assert!(slow.commit_transaction(PATIENCE).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_survives_a_kill_and_what_was_open_ends_with_the_next_producer() {
    for fsync in ["batch", "interval(1s)"] {
        let mut broker = Broker::with(&format!("[durability]\nfsync = \"{fsync}\"\n"));
        create(&broker, "t", 1, &[]).await;
        let first = transactional(&broker, "one", &[]);
        committed(&first, "t", 0, &["committed"]);
        first.begin_transaction().unwrap();
        deliver(&first, "t", 0, &["cut off"]);
        broker.kill();
        drop(first);
        broker.up();
        let second = transactional(&broker, "one", &[]);
        committed(&second, "t", 0, &["after the kill"]);
        assert_eq!(seen(&broker, "t", 0), ["committed", "after the kill"], "{fsync}");
        broker.restart();
        assert_eq!(seen(&broker, "t", 0), ["committed", "after the kill"], "{fsync}");
        committed(&transactional(&broker, "one", &[]), "t", 0, &["after a stop"]);
        assert_eq!(seen(&broker, "t", 0).len(), 3, "{fsync}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_goes_on_with_its_transaction_through_a_kill() {
    let mut broker = Broker::start();
    create(&broker, "t", 2, &[]).await;
    let address = broker.address().to_owned();
    let producer = transactional(&broker, "one", &[("retry.backoff.ms", "50")]);
    for round in 0..4 {
        producer.begin_transaction().unwrap();
        deliver(&producer, "t", 0, &[&format!("{round} a")]);
        broker.kill();
        broker.up_at(&address);
        deliver(&producer, "t", 1, &[&format!("{round} b")]);
        producer.commit_transaction(PATIENCE).unwrap();
    }
    for (partition, name) in [(0, "a"), (1, "b")] {
        let expected: Vec<_> = (0..4).map(|round| format!("{round} {name}")).collect();
        assert_eq!(seen(&broker, "t", partition), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s51_a_time_out_above_the_brokers_is_refused() {
    let broker = Broker::with("[kafka]\n\"transaction.max.timeout.ms\" = 5000\n");
    let mut config = config(&broker, &[("transaction.timeout.ms", "6000"), ("message.timeout.ms", "6000")]);
    let producer: TxnProducer = config.set("transactional.id", "one").create().expect("a producer");
    match producer.init_transactions(PATIENCE) {
        Err(KafkaError::Transaction(error)) => {
            assert_eq!(error.code(), RDKafkaErrorCode::InvalidTransactionTimeout);
        }
        other => panic!("{other:?}"),
    }
}
