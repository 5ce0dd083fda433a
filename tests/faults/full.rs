//! Full disks: nothing free at all, at whatever write. What was acknowledged stays, the broker starts, reads, deletes
//! and commits, and goes on when there is space.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{admin, consumer, create};
use crate::injector::{self, ENOSPC, WRITES};
use crate::scene::*;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const MIB: u64 = 1 << 20;
const NO_RESERVE: &str = "[disk]\nreserve = 0\n[kafka]\n\"offsets.topic.num.partitions\" = 2\n";

/// Commits an offset of `topic`-0; whether it was taken.
fn commit(broker: &Broker, group: &str, topic: &str, offset: i64) -> bool {
    let consumer = consumer(broker, &[("group.id", group), ("enable.auto.commit", "false")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    consumer.commit(&list, CommitMode::Sync).is_ok()
}

fn committed(broker: &Broker, group: &str, topic: &str) -> Offset {
    let consumer = consumer(broker, &[("group.id", group), ("enable.auto.commit", "false")]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    consumer.committed_offsets(asked, PATIENCE).expect("an answer").elements()[0].offset()
}

/// Produces to all partitions until each has refused, and returns how many records of each were acknowledged.
fn fill(broker: &Broker, topic: &str, partitions: i32) -> BTreeMap<i32, usize> {
    let mut acknowledged = BTreeMap::new();
    let began = Instant::now();
    // From large to small, until not even one record of a few bytes finds a place.
    for size in [30_000, 3_000, 300] {
        let mut open: Vec<i32> = (0..partitions).collect();
        while !open.is_empty() {
            assert!(began.elapsed() < PATIENCE, "the disk does not get full");
            open.retain(|&partition| {
                let count = acknowledged.entry(partition).or_insert(0);
                let value = format!("{partition}-{count}-{}", "x".repeat(size));
                let (error, offset) = produce(broker, topic, partition, value.as_bytes());
                assert!(error == 0 || error == STORAGE_ERROR, "error {error}");
                if error == 0 {
                    assert_eq!(usize::try_from(offset), Ok(*count), "offsets follow on each other");
                    *count += 1;
                }
                error == 0
            });
        }
    }
    acknowledged
}

fn assert_all_there(broker: &Broker, topic: &str, acknowledged: &BTreeMap<i32, usize>) {
    for (partition, count) in acknowledged {
        let found = values(broker, topic, *partition);
        assert_eq!(found.len(), *count, "partition {partition}: all that was acknowledged, and nothing else");
        for (n, value) in found.iter().enumerate() {
            assert!(value.starts_with(&format!("{partition}-{n}-")), "record {n} of partition {partition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_free_byte_stops_produce_and_nothing_else() {
    for stop in ["in order", "by kill -9"] {
        let Some(mut scene) = Scene::new(12 * MIB, NO_RESERVE) else { return };
        let settings = [("segment.bytes", "1000000"), ("retention.ms", "-1")];
        create(&scene.broker, "t", 3, &settings).await;
        create(&scene.broker, "old", 1, &settings).await;
        assert_eq!(produce(&scene.broker, "old", 0, &[b'x'; 900_000]).0, 0);
        for group in ["readers", "others"] {
            assert!(commit(&scene.broker, group, "t", 1));
        }
        let mut acknowledged = fill(&scene.broker, "t", 3);
        scene.disk.leave(0);
        assert_eq!(scene.disk.free(), 0);
        assert_all_there(&scene.broker, "t", &acknowledged);
        assert!(commit(&scene.broker, "readers", "t", 2), "commits have space of their own");

        if stop == "in order" {
            scene.broker.stop()
        } else {
            scene.broker.kill()
        }
        // What the stop gave back, somebody else takes.
        scene.disk.leave(0);
        assert_eq!(scene.disk.free(), 0);
        scene.broker.up();
        assert_all_there(&scene.broker, "t", &acknowledged);
        assert_eq!(committed(&scene.broker, "readers", "t"), Offset::Offset(2), "{stop}");
        assert!(commit(&scene.broker, "readers", "t", 3), "{stop}");
        assert!(commit(&scene.broker, "others", "t", 4), "{stop}");
        if stop == "by kill -9" {
            // Recovery has given back what was reserved behind the ends.
            scene.broker.wait_for_log("recovered after an unclean stop");
            scene.disk.leave(0);
        }
        let (error, _) = produce(&scene.broker, "t", 0, &[b'x'; 30_000]);
        assert_eq!(error, STORAGE_ERROR, "{stop}");
        let deleted =
            admin(&scene.broker).delete_topics(&["old"], &AdminOptions::new()).await.expect("an answer");
        assert_eq!(deleted, [Ok("old".to_owned())], "{stop}");
        wait_for("the deleted topic's space is free", || scene.disk.free() > MIB / 2);

        // That is space enough to go on; and so is the ballast's.
        scene.disk.give_back();
        for partition in 0..3 {
            let count = acknowledged.get_mut(&partition).expect("three partitions");
            let value = format!("{partition}-{count}-after");
            let offset = produce_until_taken(&scene.broker, "t", partition, value.as_bytes());
            assert_eq!(usize::try_from(offset), Ok(*count));
            *count += 1;
        }
        scene.broker.kill();
        scene.broker.up();
        assert_all_there(&scene.broker, "t", &acknowledged);
        assert_eq!(committed(&scene.broker, "readers", "t"), Offset::Offset(3));
        assert_eq!(committed(&scene.broker, "others", "t"), Offset::Offset(4));
        assert!(!scene.broker.log().contains("panicked"));
        assert_eq!(lines_with(&scene.broker, "append refused"), 0, "one line speaks for all");
    }
}

/// Commits without a client that would try again; the answer's error.
fn commit_once(broker: &Broker, group: &'static str) -> i16 {
    let row = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default().with_name(raw::name("t")).with_partitions(vec![row]);
    let group = GroupId(StrBytes::from_static_str(group));
    let request = OffsetCommitRequest::default().with_group_id(group).with_topics(vec![topic]);
    Connection::to(broker.address()).call(8, &request).topics[0].partitions[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_no_space_of_its_own_is_told_to_try_again() {
    const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    let Some(scene) = Scene::new(12 * MIB, NO_RESERVE) else { return };
    create(&scene.broker, "t", 1, &[("retention.ms", "-1")]).await;
    // Of two partitions of __consumer_offsets the groups have one each (S77).
    assert!(commit(&scene.broker, "a", "t", 1));
    scene.disk.leave(4 * MIB);
    fill(&scene.broker, "t", 1);
    scene.disk.leave(0);
    wait_for("a refusal that says so", || {
        let code = commit_once(&scene.broker, "b");
        assert_ne!(code, 0, "there is space after all");
        code == COORDINATOR_NOT_AVAILABLE
    });
    assert_eq!(commit_once(&scene.broker, "a"), 0, "who has committed before has space");
    scene.disk.give_back();
    wait_for("the group commits", || commit_once(&scene.broker, "b") == 0);
    assert_eq!(committed(&scene.broker, "b", "t"), Offset::Offset(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_frees_its_space_though_it_cannot_be_renamed() {
    let Some((mut broker, faults)) = injector::broker(NO_RESERVE) else { return };
    create(&broker, "t", 2, &[]).await;
    assert_eq!(produce(&broker, "t", 0, b"x").0, 0);
    assert_eq!(produce(&broker, "t", 1, b"x").0, 0);
    faults.set(&["rename"], "/t-", ENOSPC, 0);
    let deleted = admin(&broker).delete_topics(&["t"], &AdminOptions::new()).await.expect("an answer");
    assert_eq!(deleted, [Ok("t".to_owned())]);
    wait_for("the files are gone", || (0..2).all(|n| !broker.data().join(format!("t-{n}")).exists()));
    assert_eq!(faults.met().len(), 2);
    faults.clear();
    create(&broker, "t", 2, &[("retention.ms", "-1")]).await;
    assert_eq!(produce(&broker, "t", 0, b"y"), (0, 0));
    broker.restart();
    assert_eq!(values(&broker, "t", 0), ["y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_producers_lose_and_double_nothing_over_a_full_disk() {
    let Some(mut scene) = Scene::new(16 * MIB, NO_RESERVE) else { return };
    let settings = [("segment.bytes", "1100000"), ("retention.ms", "-1")];
    create(&scene.broker, "t", 3, &settings).await;
    let producer = patient_producer(&scene.broker);
    let sent: Vec<Vec<String>> = (0..3)
        .map(|partition| (0..2000).map(|n| format!("{partition}-{n}-{}", "x".repeat(800))).collect())
        .collect();
    // Five megabytes, of which there is space for two.
    scene.disk.leave(2 * MIB);
    let all = async {
        let sends =
            sent.iter().zip(0..).map(|(values, partition)| send_all(&producer, "t", partition, values));
        for send in sends {
            send.await;
        }
    };
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(lines_with(&scene.broker, "read-only: ") > 0, "the disk was to be full by now");
        scene.disk.give_back();
    };
    tokio::join!(all, later);
    for round in 0..2 {
        for (values_sent, partition) in sent.iter().zip(0..) {
            assert_eq!(
                &values(&scene.broker, "t", partition),
                values_sent,
                "round {round}: all, once, in order"
            );
        }
        if round == 0 {
            scene.broker.kill();
            scene.broker.up();
        }
    }
}

/// Sends what it can; whatever is acknowledged must stay.
async fn try_to_send(producer: &FutureProducer, topic: &str, values: &[String], kept: &mut Vec<String>) {
    let mut waiting = Vec::new();
    for value in values {
        let record = FutureRecord::<(), _>::to(topic).partition(0).payload(value);
        waiting.push((
            value,
            producer.send_result(record).map_err(|(error, _)| error).expect("the queue has room"),
        ));
    }
    for (value, sent) in waiting {
        if sent.await.expect("the producer lives").is_ok() {
            kept.push(value.clone());
        }
    }
}

/// A producer whose batches are so small that a few of them fill a segment.
fn small_batches(broker: &Broker, settings: &[(&str, &str)]) -> FutureProducer {
    crate::clients::config(broker, settings)
        .set("retry.backoff.ms", "20")
        .set("batch.num.messages", "1")
        .create()
        .expect("a producer")
}

/// Where there is no space: a part of the path of what is written, and the calls that fail on it.
const KINDS: [(&str, &[&str]); 14] = [
    ("/TOPIC-0/", &WRITES),
    ("/TOPIC-0/", &["fallocate"]),
    ("/TOPIC-0/", &["pwrite", "pwritev"]),
    ("/TOPIC-0/", &["create"]),
    ("/extra", &["mkdir"]),
    (".index", &WRITES),
    (".timeindex", &WRITES),
    ("leader-epoch-checkpoint", &WRITES),
    (".snapshot", &WRITES),
    (".producers", &WRITES),
    ("partition.metadata", &WRITES),
    ("/streamd.manifest", &WRITES),
    ("/__cluster_metadata-0/", &WRITES),
    ("/__consumer_offsets-", &WRITES),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_space_at_any_kind_of_write_breaks_anything() {
    let mut kept = BTreeMap::<String, Vec<String>>::new();
    let Some((mut broker, faults)) = injector::broker(NO_RESERVE) else { return };
    let settings = [("segment.bytes", "3000"), ("index.interval.bytes", "500"), ("retention.ms", "-1")];
    let mut met_all = 0;
    for (nth, (kind, calls)) in KINDS.iter().enumerate() {
        let (topic, extra, gone) = (format!("t{nth}"), format!("extra{nth}"), format!("gone{nth}"));
        let path = kind.replace("TOPIC", &topic).replace("GONE", &gone);
        create(&broker, &topic, 1, &settings).await;
        create(&broker, &gone, 1, &settings).await;
        assert_eq!(produce(&broker, &gone, 0, b"x").0, 0);
        assert!(commit(&broker, "g", &topic, 1));
        let acknowledged = kept.entry(topic.clone()).or_default();
        let values_of = |from: u32| -> Vec<String> {
            (from..from + 12).map(|n| format!("{n}-{}", "x".repeat(500))).collect()
        };
        let producer =
            small_batches(&broker, &[("enable.idempotence", "true"), ("message.timeout.ms", "30000")]);
        try_to_send(&producer, &topic, &values_of(0), acknowledged).await;

        faults.forget();
        faults.set(calls, &path, ENOSPC, 0);
        // It gives up soon.
        let hasty = small_batches(&broker, &[("message.timeout.ms", "400"), ("max.in.flight", "1")]);
        try_to_send(&hasty, &topic, &values_of(100), acknowledged).await;
        let commits_at = if commit(&broker, "g", &topic, 7) { 7 } else { 1 };
        let mut connection = Connection::to(broker.address());
        let made = connection.call(5, &raw::create_request(&extra, 1, &settings)).topics[0].error_code;
        if made == 0 {
            let (error, _) = produce(&broker, &extra, 0, b"x");
            assert!([0, STORAGE_ERROR].contains(&error), "{kind}: error {error}");
        }
        let deleted = admin(&broker).delete_topics(&[&gone], &AdminOptions::new()).await;
        let deleted = deleted.is_ok_and(|deleted| deleted[0].is_ok());
        // Checkpoints come a little later.
        let began = Instant::now();
        while faults.met().is_empty() && began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Without a catalog and a manifest that can be written there is no start. Their space is reserved, so that takes
        // an injected fault.
        if nth % 2 == 1 && !kind.contains("_metadata-0") && !kind.contains(".manifest") {
            broker.kill();
            broker.up();
        }
        met_all += usize::from(!faults.met().is_empty());
        eprintln!("{kind}: {} writes found no space", faults.met().len());
        faults.clear();

        produce_until_taken(&broker, &topic, 0, b"after");
        acknowledged.push("after".to_owned());
        wait_for("commits are taken again", || commit(&broker, "g", &topic, 9));
        assert!([1, 7].contains(&commits_at));
        if deleted {
            wait_for("the deleted topic is gone", || !broker.data().join(format!("{gone}-0")).exists());
        }
        if nth % 3 == 0 {
            broker.restart();
        } else {
            broker.kill();
            broker.up();
        }
        assert_eq!(committed(&broker, "g", &topic), Offset::Offset(9), "{kind}");
        for (topic, acknowledged) in &kept {
            let found = raw::read_all(&mut Connection::to(broker.address()), topic, 0);
            let found: Vec<_> =
                found.into_iter().map(|read| String::from_utf8(read.value).expect("text")).collect();
            let mut left = found.iter();
            for value in acknowledged {
                assert!(
                    left.any(|found| found == value),
                    "{kind}: {value} of {topic} is not there, or not in order"
                );
            }
        }
        assert!(!broker.log().contains("panicked"), "{kind}");
    }
    assert_eq!(met_all, KINDS.len(), "a kind was not met");
}
