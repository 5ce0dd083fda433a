//! Short ways to do with librdkafka what the tests do again and again.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::Broker;

/// How long anything may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A client's settings: the broker's address and these.
pub(crate) fn config(broker: &Broker, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address());
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

pub(crate) fn producer(broker: &Broker, settings: &[(&str, &str)]) -> FutureProducer {
    config(broker, settings).set("message.timeout.ms", "30000").create().expect("a producer")
}

pub(crate) fn consumer(broker: &Broker, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(broker, settings);
    if config.get("group.id").is_none() {
        config.set("group.id", "unused").set("enable.auto.commit", "false");
    }
    config.set("enable.partition.eof", "false").create().expect("a consumer")
}

pub(crate) fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    config(broker, &[]).create().expect("an admin client")
}

/// Makes a topic, which must work.
pub(crate) async fn create(broker: &Broker, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let results = admin(broker).create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
    assert_eq!(results, [Ok(name.to_owned())]);
}

/// Produces one record and returns its offset.
pub(crate) async fn send(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    key: &str,
    value: &str,
) -> i64 {
    let record = FutureRecord::to(topic).partition(partition).key(key).payload(value);
    let sent = producer.send(record, PATIENCE).await;
    sent.map_err(|(error, _)| error).expect("the record is acknowledged").offset
}

/// Reads one partition from `from` until `count` records are there.
pub(crate) fn read(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    from: Offset,
    count: usize,
) -> Vec<OwnedMessage> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, from).expect("an offset");
    consumer.assign(&list).expect("an assignment");
    poll(consumer, count)
}

/// Polls until `count` records are there.
pub(crate) fn poll(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let began = Instant::now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(began.elapsed() < PATIENCE, "only {} of {count} records came", records.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            records.push(message.expect("no error while polling").detach());
        }
    }
    records
}

/// Everything in a partition, by its watermarks.
pub(crate) fn read_all(broker: &Broker, topic: &str, partition: i32) -> Vec<OwnedMessage> {
    let consumer = consumer(broker, &[]);
    let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks");
    let count = usize::try_from(high - low).expect("watermarks in order");
    read(&consumer, topic, partition, Offset::Beginning, count)
}

/// A record's value as text.
pub(crate) fn value(message: &OwnedMessage) -> &str {
    std::str::from_utf8(message.payload().unwrap_or_default()).expect("text")
}
