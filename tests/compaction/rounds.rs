//! Many updates over few keys, read back.

use crate::reader::{Readers, read};
use crate::support::Broker;
use crate::updates::Updates;
use crate::{EAGER, config, create, log_bytes, wait_until_clean};

/// Updates in all, and keys.
fn size() -> (usize, usize) {
    let updates = std::env::var("STREAMD_COMPACTION_UPDATES").ok().and_then(|n| n.parse().ok());
    let updates: usize = updates.unwrap_or(300_000);
    (updates, (updates / 100).max(100))
}

/// Waits until everything is cleaned and tombstones are gone, and compares with the hash map.
async fn compare(broker: &Broker, topic: &str, updates: &Updates, start: i64) {
    let end = updates.wait();
    wait_until_clean(broker, topic, 0, end);
    let found = read(&config(broker), topic);
    let wanted = updates.last_values(start);
    assert_eq!(found.values.len(), wanted.len());
    assert!(found.values == wanted, "a value is not the last one");
    assert_eq!(found.records - found.tombstones, wanted.len(), "only last values are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_equals_a_hash_map_and_readers_never_err() {
    let (total, keys) = size();
    let mut broker = Broker::with(EAGER);
    create(&broker, "t", &[]).await;
    let mut updates = Updates::new(&broker, "t", keys, total + 1, "lz4");
    updates.send(keys);
    updates.wait();
    let readers = Readers::start(&config(&broker), "t", keys, 2);
    for _ in 0..10 {
        updates.send((total - keys) / 10);
    }
    compare(&broker, "t", &updates, 0).await;
    assert!(readers.stop() > 0);
    // Of all that was written little is left, and a restart finds it so.
    let left = log_bytes(&broker, "t");
    assert!(left < 100 * keys as u64, "{left} bytes for {keys} keys");
    let cleanings = broker.log().matches("compacted").count();
    assert!(cleanings > 1, "it was cleaned along the way");
    // The same address, so that the clients find the broker again.
    let address = broker.address().to_owned();
    broker.stop();
    broker.up_at(&address);
    compare(&broker, "t", &updates, 0).await;
    // The first record behind the hole at the end has the next offset.
    let end = updates.wait();
    updates.send(1);
    assert_eq!(updates.wait(), end + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cleaned_is_not_cleaned_again_after_a_restart() {
    let mut broker = Broker::with(EAGER);
    create(&broker, "t", &[]).await;
    let mut updates = Updates::new(&broker, "t", 100, 20_000, "none");
    updates.send(20_000);
    compare(&broker, "t", &updates, 0).await;
    drop(updates);
    for how in ["stop", "kill"] {
        if how == "stop" {
            broker.stop()
        } else {
            broker.kill()
        }
        let before = broker.log().matches("\"compacted\"").count();
        broker.up();
        // A topic made afterwards is cleaned, so the cleaner has looked at all.
        let name = format!("later-{how}");
        create(&broker, &name, &[]).await;
        let mut later = Updates::new(&broker, &name, 100, 5_000, "zstd");
        later.send(5_000);
        wait_until_clean(&broker, &name, 0, later.wait());
        let log = broker.log();
        let again = log.lines().filter(|line| line.contains("\"compacted\"") && line.contains("\"t\""));
        assert!(again.count() <= before, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compact_and_delete_together_keep_the_last_values_of_what_is_left() {
    let (total, keys) = size();
    let broker = Broker::with(EAGER);
    let settings =
        [("cleanup.policy", "compact,delete"), ("retention.bytes", "400000"), ("segment.bytes", "100000")];
    create(&broker, "t", &settings).await;
    let mut updates = Updates::new(&broker, "t", keys * 5, total, "none");
    updates.send(total / 2);
    let end = updates.wait();
    wait_until_clean(&broker, "t", 0, end);
    // What is kept by size moves on for a moment after the last cleaning.
    let mut start = -1;
    let consumer: rdkafka::consumer::BaseConsumer = config(&broker).create().expect("a consumer");
    loop {
        use rdkafka::consumer::Consumer as _;
        let (low, _) = consumer.fetch_watermarks("t", 0, crate::PATIENCE).expect("watermarks");
        if low == start && low > 0 {
            break;
        }
        start = low;
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    compare(&broker, "t", &updates, start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_equals_a_hash_map_though_the_broker_is_killed() {
    let (total, keys) = size();
    let (total, rounds) = (total / 2, 8);
    let mut broker = Broker::with(EAGER);
    create(&broker, "t", &[("segment.bytes", "200000")]).await;
    let mut updates = Updates::new(&broker, "t", keys, total, "snappy");
    updates.send(keys);
    updates.wait();
    let readers = Readers::start(&config(&broker), "t", keys, 1);
    let address = broker.address().to_owned();
    for round in 0..rounds {
        updates.send((total - keys) / rounds);
        // Within cleanings, most likely: they are under way all the time.
        std::thread::sleep(std::time::Duration::from_millis(200 + 130 * (round as u64 % 5)));
        broker.kill();
        broker.up_at(&address);
    }
    compare(&broker, "t", &updates, 0).await;
    assert!(readers.stop() > 0);
    let log = broker.log();
    assert!(log.matches("\"compacted\"").count() > 1, "it was cleaned along the way");
    assert!(!log.contains("\"ERROR\"") && !log.contains("\"WARN\""), "{log}");
}
