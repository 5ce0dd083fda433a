//! Compacted topics on a disk that is several times smaller than what is written to them: compaction makes the room,
//! and where it cannot, the broker says what can be done.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::clients::{self, admin, consumer, create};
use crate::scene::*;
use crate::support::Broker;

const MIB: u64 = 1 << 20;
const LIMIT: &str =
    "[disk]\nreserve = 0\nlimit = \"24 MiB\"\n[kafka]\n\"offsets.topic.num.partitions\" = 1\n";
const COMPACT: &[(&str, &str)] = &[("cleanup.policy", "compact")];
const KEYS: usize = 50;
/// Written to each topic, three times what the disk holds.
const RECORDS: usize = 6_000;

/// Values that no codec makes smaller.
fn value_of(n: usize) -> String {
    let mut state = n as u64 + 1;
    let mut value = format!("{n}-");
    while value.len() < 12_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        value.push(char::from(b'a' + u8::try_from((state >> 33) % 26).expect("a letter")));
    }
    value
}

/// A producer as librdkafka makes it, which sends each key's values in their order.
fn plain_producer(broker: &Broker) -> FutureProducer {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", broker.address()).set("enable.idempotence", "true");
    config.create().expect("a producer")
}

/// Sends records `from..to`, a few megabytes at a time; all must be acknowledged.
async fn send_updates(producer: &FutureProducer, topic: &str, records: std::ops::Range<usize>) {
    let mut waiting: Vec<DeliveryFuture> = Vec::new();
    for n in records {
        let (key, value) = (format!("key-{}", n % KEYS), value_of(n));
        let record = FutureRecord::to(topic).partition(0).key(&key).payload(&value);
        waiting.push(producer.send_result(record).map_err(|(error, _)| error).expect("the queue has room"));
        if waiting.len() == 400 {
            all_taken(&mut waiting).await;
        }
    }
    all_taken(&mut waiting).await;
}

async fn all_taken(waiting: &mut Vec<DeliveryFuture>) {
    for sent in waiting.drain(..) {
        let sent = sent.await.expect("the producer lives");
        sent.map_err(|(error, _)| error).expect("the record is acknowledged");
    }
}

/// The last value of each key, by partition and key.
fn last_values(broker: &Broker, topic: &str, partitions: i32) -> HashMap<(i32, String), String> {
    let settings =
        [("group.id", "unused"), ("enable.auto.commit", "false"), ("enable.partition.eof", "true")];
    let consumer: BaseConsumer = clients::config(broker, &settings).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("an assignment");
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("there").to_vec()).expect("text");
    let (mut found, mut at_end) = (HashMap::new(), HashSet::new());
    while at_end.len() < list.count() {
        match consumer.poll(Duration::from_secs(60)).expect("an answer") {
            Ok(record) => {
                let key = (record.partition(), text(record.key()));
                found.insert(key, text(record.payload()));
            }
            Err(KafkaError::PartitionEOF(partition)) => drop(at_end.insert(partition)),
            Err(error) => panic!("{error}"),
        }
    }
    found
}

fn assert_last_values(broker: &Broker, topic: &str, written: usize) {
    let found = last_values(broker, topic, 1);
    assert_eq!(found.len(), KEYS);
    for n in written - KEYS..written {
        let key = (0, format!("key-{}", n % KEYS));
        assert!(found[&key] == value_of(n), "the last value of key {}", n % KEYS);
    }
}

/// Runs `work`, and returns the most that the directory held meanwhile.
async fn most_held<T>(broker: &Broker, work: impl Future<Output = T>) -> u64 {
    let data = broker.data();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let watching = threads.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Acquire) {
                most = held(&data).max(most);
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
        over.store(true, Ordering::Release);
        watching.join().expect("the watch goes well")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_goes_on_through_a_limit_smaller_than_what_is_written() {
    let mut broker = Broker::with(LIMIT);
    create(&broker, "t", 1, COMPACT).await;
    let address = broker.address().to_owned();
    let producer = plain_producer(&broker);
    for part in 0..3 {
        let records = part * RECORDS / 3..(part + 1) * RECORDS / 3;
        let most = most_held(&broker, send_updates(&producer, "t", records)).await;
        assert!(most <= 24 * MIB, "{most} bytes");
        // Whatever the cleaner is at.
        broker.kill();
        broker.up_at(&address);
    }
    assert_last_values(&broker, "t", RECORDS);
    assert_eq!(lines_with(&broker, "no room to compact"), 0);
    assert!(!broker.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_goes_on_through_a_file_system_smaller_than_what_is_written() {
    let config = "[disk]\nreserve = \"16 MiB\"\n[kafka]\n\"offsets.topic.num.partitions\" = 1\n";
    let Some(scene) = Scene::new(40 * MIB, config) else { return };
    create(&scene.broker, "t", 1, COMPACT).await;
    send_updates(&plain_producer(&scene.broker), "t", 0..RECORDS).await;
    assert_last_values(&scene.broker, "t", RECORDS);
    assert_eq!(lines_with(&scene.broker, "no room to compact"), 0, "{}", scene.broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_active_segments_of_many_partitions_is_compacted_too() {
    let broker = Broker::with(LIMIT);
    create(&broker, "t", 40, COMPACT).await;
    let producer = plain_producer(&broker);
    let mut waiting = Vec::new();
    for n in 0..RECORDS {
        let (value, partition) = (value_of(n), i32::try_from(n % 40).expect("small"));
        let record = FutureRecord::to("t").partition(partition).key("one").payload(&value);
        waiting.push(producer.send_result(record).map_err(|(error, _)| error).expect("the queue has room"));
        if waiting.len() == 400 {
            all_taken(&mut waiting).await;
        }
    }
    all_taken(&mut waiting).await;
    let found = last_values(&broker, "t", 40);
    for (partition, n) in (0..40).zip(RECORDS - 40..) {
        assert!(found[&(partition, "one".to_owned())] == value_of(n), "partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_are_compacted_when_room_is_needed() {
    let broker = Broker::with(&LIMIT.replace("24 MiB", "16 MiB"));
    const PARTITIONS: i32 = 500;
    create(&broker, "t", PARTITIONS, &[]).await;
    let consumer = consumer(&broker, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    for round in 0..800 {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset("t", partition, Offset::Offset(round)).expect("an offset");
        }
        consumer.commit(&list, CommitMode::Sync).expect("the commit is taken");
    }
    wait_for("25 MB of commits fit into 16 MiB", || held(&broker.data()) <= 16 * MIB);
    assert_eq!(lines_with(&broker, "no room to compact"), 0);
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        asked.add_partition("t", partition);
    }
    let found = consumer.committed_offsets(asked, PATIENCE).expect("the committed offsets");
    assert!(found.elements().iter().all(|element| element.offset() == Offset::Offset(799)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_left_to_compact_the_broker_says_what_can_be_done() {
    let broker = Broker::with(LIMIT);
    create(&broker, "t", 1, COMPACT).await;
    create(&broker, "old", 1, &[("retention.ms", "-1")]).await;
    assert_eq!(produce(&broker, "old", 0, &[b'x'; 900_000]).0, 0);
    let producer = clients::config(&broker, &[("message.timeout.ms", "1000")])
        .set("retry.backoff.ms", "50")
        .create::<FutureProducer>()
        .expect("a producer");
    let (mut taken, began) = (0, Instant::now());
    loop {
        assert!(began.elapsed() < Duration::from_secs(120), "the limit stops nothing");
        let send = |n: usize| {
            let (key, value) = (format!("key-{n}"), value_of(n));
            let record = FutureRecord::to("t").partition(0).key(&key).payload(&value);
            producer.send_result(record).map_err(|(error, _)| error).expect("the queue has room")
        };
        let waiting: Vec<_> = (taken..taken + 20).map(send).collect();
        let mut refused = false;
        for sent in waiting {
            let is_taken = sent.await.expect("the producer lives").is_ok();
            refused |= !is_taken;
            taken += usize::from(is_taken);
        }
        if refused {
            break;
        }
    }
    let line = broker.wait_for_log("read-only: data_dir holds ");
    assert!(
        line.contains("(cleanup.policy=compact). What compaction leaves of t are its keys' last"),
        "{line}"
    );
    assert!(line.contains("raise disk.limit or add space, or delete topics that are not needed"), "{line}");
    assert!(taken > 1_300, "{taken} records of 12 kB are far from 24 MiB");
    assert!(last_values(&broker, "t", 1).len() >= taken, "nothing of it goes");
    admin(&broker).delete_topics(&["old"], &AdminOptions::new()).await.expect("an answer");
    let line = broker.wait_for_log("writable again: data_dir holds ");
    assert!(line.contains(", and disk.limit is 25 MB. Read-only for "), "{line}");
}
