//! `disk.reserve` and `disk.limit`: retention first, then read-only with everything but produce at work, and back.

use std::time::Duration;

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::{admin, consumer, create, producer};
use crate::scene::*;
use crate::support::raw::{self, Connection};
use crate::support::{Broker, streamd};

const MIB: u64 = 1 << 20;
/// Topics that retention takes nothing from: the raw records of these tests are years old.
const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];

fn commit(broker: &Broker, group: &str, topic: &str, offset: i64) {
    let consumer = consumer(broker, &[("group.id", group), ("enable.auto.commit", "false")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("an offset");
    consumer.commit(&list, CommitMode::Sync).expect("the commit is taken");
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, PATIENCE).expect("the committed offsets");
    assert_eq!(found.elements()[0].offset(), Offset::Offset(offset));
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_produces_are_refused_and_all_else_works() {
    let Some(scene) = Scene::new(64 * MIB, "[disk]\nreserve = \"16 MiB\"\n") else { return };
    let (broker, disk) = (&scene.broker, &scene.disk);
    create(broker, "orders", 1, KEEP).await;
    create(broker, "old", 1, KEEP).await;
    assert_eq!(produce(broker, "orders", 0, b"first"), (0, 0));
    for _ in 0..4 {
        assert_eq!(produce(broker, "old", 0, &[b'x'; 1_000_000]).0, 0);
    }

    disk.leave(10 * MIB);
    let line = broker.wait_for_log("read-only: ");
    assert!(line.contains(" MB free of 67 MB is under disk.reserve 16 MiB. "), "{line}");
    assert!(line.contains("Produces answer KAFKA_STORAGE_ERROR until space is freed."), "{line}");
    assert!(line.contains("Largest: old 4 MB (retention: none)."), "{line}");
    for _ in 0..20 {
        assert_eq!(produce(broker, "orders", 0, b"refused"), (STORAGE_ERROR, -1));
    }
    assert_eq!(values(broker, "orders", 0), ["first"], "reads go on");
    commit(broker, "readers", "orders", 1);
    create(broker, "new", 1, KEEP).await;
    let deleted = admin(broker).delete_topics(&["old"], &AdminOptions::new()).await.expect("an answer");
    assert_eq!(deleted, [Ok("old".to_owned())]);
    wait_for("the files of the deleted topic are gone", || !broker.data().join("old-0").exists());
    assert_eq!(lines_with(broker, "writable again"), 0, "4 MB more are not enough");

    disk.give_back();
    let line = broker.wait_for_log("writable again: ");
    assert!(line.contains("20 batches were refused"), "{line}");
    assert_eq!(produce_until_taken(broker, "orders", 0, b"second"), 1);
    assert_eq!(values(broker, "orders", 0), ["first", "second"]);
    assert_eq!(lines_with(broker, "read-only: "), 1, "said once, not for each request");
    assert_eq!(lines_with(broker, "append refused"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_sits_a_read_only_time_out() {
    let Some(scene) = Scene::new(64 * MIB, "[disk]\nreserve = \"16 MiB\"\n") else { return };
    let (broker, disk) = (&scene.broker, &scene.disk);
    create(broker, "t", 1, KEEP).await;
    let producer = patient_producer(broker);
    let sent: Vec<String> = (0..3000).map(|n| format!("{n}-{}", "x".repeat(200))).collect();
    send_all(&producer, "t", 0, &sent[..1000]).await;
    disk.leave(10 * MIB);
    broker.wait_for_log("read-only: ");
    let back = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        disk.give_back();
    };
    tokio::join!(send_all(&producer, "t", 0, &sent[1000..]), back);
    assert_eq!(values(broker, "t", 0), sent, "all of them, once, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_runs_before_anything_is_refused() {
    // Retention by itself looks every five minutes and leaves files for one more: both far too late here.
    let Some(scene) = Scene::new(96 * MIB, "[disk]\nreserve = \"48 MiB\"\n") else { return };
    let broker = &scene.broker;
    create(broker, "t", 1, &[("segment.bytes", "1048576"), ("retention.bytes", "4194304")]).await;
    let producer = patient_producer(broker);
    let chunk: Vec<String> = (0..200).map(|n| format!("{n}-{}", "x".repeat(10_000))).collect();
    for _ in 0..60 {
        send_all(&producer, "t", 0, &chunk).await;
    }
    assert_eq!(lines_with(broker, "read-only: "), 0);
    let mut connection = Connection::to(broker.address());
    let end = 60 * 200;
    let (error, high_watermark, _) = raw::fetched(&connection.call(11, &raw::fetch("t", 0, end, 0)), end);
    assert_eq!(
        (error, high_watermark),
        (0, end),
        "120 MB went through a disk of 96 MiB of which half is reserved"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_directory_holds_no_more_than_its_limit() {
    let broker = Broker::with("[disk]\nreserve = 0\nlimit = \"24 MiB\"\n");
    create(&broker, "kept", 1, KEEP).await;
    create(&broker, "t", 1, KEEP).await;
    let mut taken = 0;
    let value = vec![b'x'; 512 << 10];
    while produce(&broker, "kept", 0, &value).0 == 0 {
        taken += 1;
        assert!(taken < 100, "the limit stops nothing");
    }
    let line = broker.wait_for_log("read-only: data_dir holds ");
    assert!(line.contains("disk.limit is 25 MB"), "{line}");
    assert!(line.contains("(retention: none)"), "{line}");
    assert!(taken > 30, "{taken} of 48 are far from the limit");
    assert!(held(&broker.data()) <= 24 * MIB, "{} bytes", held(&broker.data()));
    assert_eq!(produce(&broker, "t", 0, b"refused"), (STORAGE_ERROR, -1));
    assert_eq!(values(&broker, "kept", 0).len(), taken);

    admin(&broker).delete_topics(&["kept"], &AdminOptions::new()).await.expect("an answer");
    broker.wait_for_log("writable again: ");
    assert_eq!(produce_until_taken(&broker, "t", 0, b"first"), 0);
    assert_eq!(lines_with(&broker, "read-only: "), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_below_the_reserve_serves_and_refuses() {
    let Some(mut scene) = Scene::new(64 * MIB, "[disk]\nreserve = \"16 MiB\"\n") else { return };
    create(&scene.broker, "t", 1, KEEP).await;
    assert_eq!(produce(&scene.broker, "t", 0, b"first"), (0, 0));
    scene.broker.stop();
    scene.disk.leave(2 * MIB);
    scene.broker.up();
    assert_eq!(produce(&scene.broker, "t", 0, b"refused"), (STORAGE_ERROR, -1), "from the first request on");
    assert_eq!(values(&scene.broker, "t", 0), ["first"]);
    scene.broker.wait_for_log("read-only: ");
    scene.disk.give_back();
    assert_eq!(produce_until_taken(&scene.broker, "t", 0, b"second"), 1);
    let producer = producer(&scene.broker, &[]);
    assert_eq!(crate::clients::send(&producer, "t", 0, "k", "third").await, 2);
}

/// Runs the built binary against the broker.
fn run(broker: &Broker, line: &str) -> (i32, String) {
    let words: Vec<&str> = line.split(' ').chain(["-b", broker.address()]).collect();
    let input = broker.path("input");
    std::fs::write(&input, "a line\n").expect("a file");
    let (code, _, said) = streamd(&words, Some(&input));
    (code, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_a_way_out_of_a_full_disk() {
    let broker = Broker::with("[disk]\nreserve = 0\nlimit = \"24 MiB\"\n");
    create(&broker, "latest", 1, &[("cleanup.policy", "compact")]).await;
    let value = vec![b'x'; 512 << 10];
    let settings = [("retention.ms", "-1"), ("segment.bytes", "1048576")];
    let ways = [
        "topic trim orders -o -2",
        "topic config orders -c retention.bytes=1MiB",
        "topic empty orders",
        "topic delete orders",
    ];
    for (nth, way) in ways.iter().enumerate() {
        let _ = admin(&broker).delete_topics(&["orders"], &AdminOptions::new()).await.expect("an answer");
        create(&broker, "orders", 1, &settings).await;
        let mut taken = 0;
        while lines_with(&broker, "read-only: ") == nth {
            taken += usize::from(produce(&broker, "orders", 0, &value).0 == 0);
            assert!(taken < 100, "the limit stops nothing");
        }
        let (code, said) = run(&broker, "produce orders --timeout 1s");
        assert!((code, said.contains("KAFKA_STORAGE_ERROR")) == (4, true), "{code}: {said}");
        assert!(said.contains("When the disk is full"), "{said}");
        let (code, said) = run(&broker, "topic empty latest");
        assert!(code == 1 && said.contains("nothing was deleted"), "{code}: {said}");
        let (code, said) = run(&broker, way);
        assert_eq!(code, 0, "{way}: {said}");
        wait_for(way, || lines_with(&broker, "writable again: ") > nth);
    }
    let line = broker.wait_for_log("read-only: ");
    assert!(
        line.contains("To free space: streamd topic trim orders -o @-1d, streamd topic config orders"),
        "{line}"
    );
    assert_eq!(run(&broker, "topic trim latest -o @-1d").0, 1);
}
