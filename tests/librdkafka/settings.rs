//! Topics whose settings change while they are in use, and records that are deleted on request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{PATIENCE, admin, consumer, create, poll, producer, read_all, send, value};
use crate::retention::{segment_files, wait_for_start};
use crate::support::Broker;

/// Replaces a topic's settings, as librdkafka's AlterConfigs does. Its binding tells nobody of a refusal.
async fn alter(broker: &Broker, topic: &str, settings: &[(&str, &str)]) {
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (name, value) in settings {
        change = change.set(name, value);
    }
    let results = admin(broker).alter_configs([&change], &AdminOptions::new()).await.expect("an answer");
    assert_eq!(results.len(), 1);
}

/// A topic's own settings.
async fn own(broker: &Broker, topic: &str) -> BTreeMap<String, String> {
    let described =
        admin(broker).describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await;
    let described = described.expect("an answer").remove(0).expect("the topic's settings");
    let own = described.entries.into_iter().filter(|entry| !entry.is_default);
    own.filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

fn owned(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s96_settings_are_replaced_and_survive_what_comes() {
    let mut broker = Broker::start();
    create(&broker, "t", 1, &[("flush.ms", "9000"), ("retention.ms", "100000")]).await;
    alter(&broker, "t", &[("retention.ms", "200000"), ("segment.bytes", "5000")]).await;
    let expected = owned(&[("retention.ms", "200000"), ("segment.bytes", "5000")]);
    assert_eq!(own(&broker, "t").await, expected);
    alter(&broker, "t", &[("retention.ms", "soon")]).await;
    alter(&broker, "t", &[("flush.ms", "7"), ("no.such", "1")]).await;
    assert_eq!(own(&broker, "t").await, expected);
    broker.kill();
    broker.up();
    assert_eq!(own(&broker, "t").await, expected);
    broker.stop();
    broker.up();
    assert_eq!(own(&broker, "t").await, expected);
}

async fn try_send(producer: &FutureProducer, bytes: usize) -> Result<(), KafkaError> {
    let payload = vec![b'x'; bytes];
    let record = FutureRecord::<(), _>::to("t").partition(0).payload(&payload);
    producer.send(record, PATIENCE).await.map(drop).map_err(|(error, _)| error)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_in_force_for_the_next_record() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let producer = producer(&broker, &[]);
    try_send(&producer, 5_000).await.unwrap();
    alter(&broker, "t", &[("max.message.bytes", "1000")]).await;
    assert!(try_send(&producer, 5_000).await.is_err(), "max.message.bytes");
    try_send(&producer, 100).await.unwrap();
    alter(&broker, "t", &[("segment.bytes", "3000")]).await;
    let before = segment_files(&broker, "t");
    for _ in 0..4 {
        try_send(&producer, 2_000).await.unwrap();
    }
    assert_eq!(segment_files(&broker, "t") - before, 4, "segment.bytes");
    alter(&broker, "t", &[("message.timestamp.type", "LogAppendTime")]).await;
    let record = FutureRecord::<(), _>::to("t").partition(0).payload("late").timestamp(1_000);
    producer.send(record, PATIENCE).await.unwrap();
    let records = read_all(&broker, "t", 0);
    let time = records.last().and_then(|record| record.timestamp().to_millis()).expect("a time");
    assert!(time > 1_000_000_000_000, "message.timestamp.type: {time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_is_made_shorter_is_kept_at_once_and_without_writes() {
    let mut broker = Broker::start();
    create(&broker, "open", 1, &[]).await;
    create(&broker, "closed", 1, &[]).await;
    let producer = producer(&broker, &[]);
    for topic in ["open", "closed"] {
        for n in 0..10 {
            send(&producer, topic, 0, "k", &n.to_string()).await;
        }
    }
    alter(&broker, "open", &[("retention.ms", "500")]).await;
    let began = Instant::now();
    assert_eq!(wait_for_start(&broker, "open", 0), 10);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    broker.stop();
    broker.up();
    // Nobody has opened it since the start.
    alter(&broker, "closed", &[("retention.ms", "500")]).await;
    let began = Instant::now();
    let is_told = |line: &str| line.contains("old records removed") && line.contains("\"topic\":\"closed\"");
    while !broker.log().lines().any(is_told) {
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "an unopened topic keeps its records\n{}",
            broker.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(wait_for_start(&broker, "closed", 0), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn s90_retention_of_a_second_means_it() {
    let broker = Broker::start();
    create(&broker, "t", 3, &[("retention.ms", "1000"), ("file.delete.delay.ms", "0")]).await;
    let producer = producer(&broker, &[]);
    for n in 0..30 {
        send(&producer, "t", n % 3, "k", &n.to_string()).await;
    }
    let began = Instant::now();
    let consumer = consumer(&broker, &[]);
    for partition in 0..3 {
        loop {
            let (low, high) = consumer.fetch_watermarks("t", partition, PATIENCE).expect("watermarks");
            if low == high {
                assert_eq!(high, 10);
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(15), "partition {partition} still begins at {low}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // The files go as well: one empty segment is left.
    while segment_files(&broker, "t") > 1 {
        assert!(began.elapsed() < Duration::from_secs(20), "{} files are left", segment_files(&broker, "t"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(send(&producer, "t", 0, "k", "next").await, 10, "offsets go on");
}

async fn delete(broker: &Broker, topic: &str, offset: Offset) -> Result<i64, RDKafkaErrorCode> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset).expect("an offset");
    let deleted = admin(broker).delete_records(&list, &AdminOptions::new()).await.expect("an answer");
    let element = deleted.find_partition(topic, 0).expect("the partition");
    match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(low)) => Ok(low),
        (Err(error), _) => Err(error.rdkafka_error_code().expect("a code")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s88_records_are_deleted_up_to_an_offset_and_stay_deleted() {
    let mut broker = Broker::with("[kafka]\n\"log.segment.delete.delay.ms\" = 100\n");
    create(&broker, "t", 1, &[("segment.bytes", "1000")]).await;
    let producer = producer(&broker, &[("enable.idempotence", "true")]);
    for n in 0..40 {
        send(&producer, "t", 0, "k", &format!("{n:0100}")).await;
    }
    assert_eq!(delete(&broker, "t", Offset::Offset(25)).await, Ok(25));
    assert_eq!(delete(&broker, "t", Offset::Offset(3)).await, Ok(25), "never back");
    assert_eq!(delete(&broker, "t", Offset::Offset(41)).await, Err(RDKafkaErrorCode::OffsetOutOfRange));
    let numbers =
        |broker: &Broker| -> Vec<i64> { read_all(broker, "t", 0).iter().map(Message::offset).collect() };
    assert_eq!(numbers(&broker), (25..40).collect::<Vec<_>>());
    // Who asks for what is gone is sent to the start.
    let late = consumer(&broker, &[("auto.offset.reset", "earliest")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(7)).unwrap();
    late.assign(&list).unwrap();
    assert_eq!(poll(&late, 1)[0].offset(), 25);
    let began = Instant::now();
    while segment_files(&broker, "t") > 5 {
        assert!(began.elapsed() < PATIENCE, "{} files are left", segment_files(&broker, "t"));
        std::thread::sleep(Duration::from_millis(50));
    }
    broker.kill();
    broker.up();
    assert_eq!(numbers(&broker), (25..40).collect::<Vec<_>>(), "what is gone does not come back");
    assert_eq!(delete(&broker, "t", Offset::End).await, Ok(40));
    assert!(numbers(&broker).is_empty());
    broker.kill();
    broker.up();
    let producer = self::producer(&broker, &[]);
    assert_eq!(send(&producer, "t", 0, "k", "next").await, 40, "offsets are never used again");
    assert_eq!(read_all(&broker, "t", 0).iter().map(value).collect::<Vec<_>>(), ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s88_a_compacted_topic_keeps_its_records_until_its_policy_changes() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[("cleanup.policy", "compact")]).await;
    let producer = producer(&broker, &[]);
    send(&producer, "t", 0, "k", "v").await;
    assert_eq!(delete(&broker, "t", Offset::End).await, Err(RDKafkaErrorCode::PolicyViolation));
    alter(&broker, "t", &[("cleanup.policy", "compact,delete")]).await;
    assert_eq!(delete(&broker, "t", Offset::End).await, Ok(1));
}
