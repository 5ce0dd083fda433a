//! Records in, records out: codecs, acks, order, headers, seeks, sizes.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Timestamp, TopicPartitionList};

use crate::clients::{PATIENCE, consumer, create, producer, read, read_all, send, value};
use crate::support::Broker;

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_and_acks_come_back_as_they_went_in() {
    let broker = Broker::start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for acks in ["0", "1", "all"] {
            let topic = format!("codec-{codec}-{acks}");
            create(&broker, &topic, 1, &[]).await;
            let producer =
                producer(&broker, &[("compression.codec", codec), ("acks", acks), ("linger.ms", "5")]);
            let long = "x".repeat(2000);
            let sends = (0..50).map(|n| {
                let (producer, topic, value) = (producer.clone(), topic.clone(), format!("{n} {long}"));
                async move { producer.send(FutureRecord::<(), _>::to(&topic).payload(&value), PATIENCE).await }
            });
            for sent in futures(sends).await {
                sent.map_err(|(error, _)| error).expect("acknowledged");
            }
            let records = read(&consumer(&broker, &[]), &topic, 0, Offset::Beginning, 50);
            for (n, record) in records.iter().enumerate() {
                assert_eq!(value(record), format!("{n} {long}"), "{topic}");
                assert_eq!(record.offset(), i64::try_from(n).unwrap());
            }
        }
    }
}

/// Starts all and waits for all, in order.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_headers_nulls_and_timestamps_survive() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let producer = producer(&broker, &[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: Some("2") })
        .insert(Header { key: "null", value: None::<&str> });
    let full = FutureRecord::to("t").key("k").payload("v").headers(headers).timestamp(1_700_000_000_123);
    producer.send(full, PATIENCE).await.expect("acknowledged");
    producer.send(FutureRecord::<str, str>::to("t").key("tombstone"), PATIENCE).await.expect("acknowledged");
    let records = read_all(&broker, "t", 0);
    assert_eq!((records[0].key(), records[0].payload()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(records[0].timestamp(), Timestamp::CreateTime(1_700_000_000_123));
    let headers: Vec<_> = records[0].headers().expect("headers").iter().map(|h| (h.key, h.value)).collect();
    assert_eq!(headers, [("a", Some(&b"1"[..])), ("a", Some(b"2")), ("null", None)]);
    assert_eq!(records[1].payload(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn s38_s39_log_append_time_is_the_brokers() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    producer(&broker, &[])
        .send(FutureRecord::<(), _>::to("t").payload("v").timestamp(5), PATIENCE)
        .await
        .unwrap();
    let Timestamp::LogAppendTime(time) = read_all(&broker, "t", 0)[0].timestamp() else {
        panic!("the record keeps the producer's time")
    };
    assert!(time > 1_700_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn seeking_by_offset_and_by_time_finds_the_record() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let producer = producer(&broker, &[]);
    for n in 0..100 {
        let payload = n.to_string();
        let record = FutureRecord::<(), _>::to("t").payload(&payload).timestamp(1_700_000_000_000 + n * 1000);
        producer.send(record, PATIENCE).await.expect("acknowledged");
    }
    let consumer = consumer(&broker, &[]);
    assert_eq!(value(&read(&consumer, "t", 0, Offset::Offset(42), 1)[0]), "42");
    assert_eq!(value(&read(&consumer, "t", 0, Offset::OffsetTail(3), 1)[0]), "97");
    let mut times = TopicPartitionList::new();
    times.add_partition_offset("t", 0, Offset::Offset(1_700_000_041_500)).unwrap();
    let found = consumer.offsets_for_times(times, PATIENCE).expect("offsets");
    assert_eq!(found.find_partition("t", 0).unwrap().offset(), Offset::Offset(42));
}

#[tokio::test(flavor = "multi_thread")]
async fn s37_ten_megabytes_pass_where_they_are_allowed_and_nowhere_else() {
    let broker = Broker::start();
    create(&broker, "large", 1, &[("max.message.bytes", "11000000")]).await;
    create(&broker, "small", 1, &[]).await;
    let producer = producer(&broker, &[("message.max.bytes", "11000000"), ("acks", "all")]);
    let payload = "abcdefghij".repeat(1_000_000);
    let (partition, offset) = producer
        .send(FutureRecord::<(), _>::to("large").payload(&payload), PATIENCE)
        .await
        .map(|sent| (sent.partition, sent.offset))
        .expect("acknowledged");
    assert_eq!((partition, offset), (0, 0));
    let consumer = consumer(
        &broker,
        &[
            ("fetch.message.max.bytes", "1000"),
            ("fetch.max.bytes", "11000000"),
            ("receive.message.max.bytes", "12000000"),
        ],
    );
    assert_eq!(value(&read(&consumer, "large", 0, Offset::Beginning, 1)[0]), payload);
    let refused = producer.send(FutureRecord::<(), _>::to("small").payload(&payload), PATIENCE).await;
    let error = refused.expect_err("ten megabytes are too many").0;
    assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_waits_gets_a_record_as_soon_as_it_is_there() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let producer = producer(&broker, &[("linger.ms", "0")]);
    let consumer = consumer(&broker, &[("fetch.wait.max.ms", "25000")]);
    send(&producer, "t", 0, "k", "first").await;
    read(&consumer, "t", 0, Offset::Beginning, 1);
    // The consumer's long poll now waits at the end of the log.
    consumer.poll(Duration::from_millis(300));
    let began = Instant::now();
    send(&producer, "t", 0, "k", "second").await;
    let records = crate::clients::poll(&consumer, 1);
    assert_eq!(value(&records[0]), "second");
    assert!(began.elapsed() < Duration::from_secs(15), "the append did not wake the fetch");
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_a_compacted_topic_takes_no_records_without_keys() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[("cleanup.policy", "compact")]).await;
    let producer = producer(&broker, &[]);
    let refused = producer.send(FutureRecord::<(), _>::to("t").payload("v"), PATIENCE).await;
    let error = refused.expect_err("a record without a key").0;
    assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord)), "{error}");
    send(&producer, "t", 0, "k", "v").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_producer_stay_in_order_on_many_partitions() {
    let broker = Broker::start();
    create(&broker, "t", 6, &[]).await;
    let producer = producer(&broker, &[("enable.idempotence", "true"), ("linger.ms", "1")]);
    let sends = (0..3000).map(|n: i32| {
        let producer = producer.clone();
        async move {
            let (key, value) = (format!("{}", n % 17), n.to_string());
            producer.send(FutureRecord::to("t").key(&key).payload(&value), PATIENCE).await
        }
    });
    for sent in futures(sends).await {
        sent.map_err(|(error, _)| error).expect("acknowledged");
    }
    let mut total = 0;
    for partition in 0..6 {
        let mut last = std::collections::HashMap::new();
        for record in read_all(&broker, "t", partition) {
            let n: i32 = value(&record).parse().unwrap();
            let before = last.insert(record.key().unwrap().to_vec(), n);
            assert!(before < Some(n), "{before:?} then {n}");
            total += 1;
        }
    }
    assert_eq!(total, 3000);
    assert!(consumer(&broker, &[]).fetch_metadata(Some("t"), PATIENCE).is_ok());
}
