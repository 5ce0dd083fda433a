//! Old segments go, by size and by time, and reads go on behind them.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;

use crate::clients::{PATIENCE, consumer, create, producer, read_all, send, value};
use crate::support::Broker;

const EAGER: &str =
    "[kafka]\n\"log.retention.check.interval.ms\" = 1000\n\"log.segment.delete.delay.ms\" = 100\n";

/// Waits until the partition's first offset is past `at`.
pub(crate) fn wait_for_start(broker: &Broker, topic: &str, at: i64) -> i64 {
    let consumer = consumer(broker, &[]);
    let began = Instant::now();
    loop {
        let (low, _) = consumer.fetch_watermarks(topic, 0, PATIENCE).expect("watermarks");
        if low > at {
            return low;
        }
        assert!(began.elapsed() < PATIENCE, "the log still begins at {low}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn segment_files(broker: &Broker, topic: &str) -> usize {
    let files =
        std::fs::read_dir(broker.data().join(format!("{topic}-0"))).expect("the partition's directory");
    files.flatten().filter(|file| file.file_name().to_string_lossy().contains(".log")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn s90_segments_past_the_size_go_and_the_rest_is_served() {
    let mut broker = Broker::with(EAGER);
    create(&broker, "t", 1, &[("segment.bytes", "20000"), ("retention.bytes", "50000")]).await;
    let producer = producer(&broker, &[]);
    let payload = "x".repeat(1000);
    for _ in 0..200 {
        send(&producer, "t", 0, "k", &payload).await;
    }
    let low = wait_for_start(&broker, "t", 100);
    let records = read_all(&broker, "t", 0);
    assert_eq!(records.first().map(|record| record.offset() >= low), Some(true));
    assert_eq!(records.last().map(|record| record.offset()), Some(199));
    let began = Instant::now();
    while segment_files(&broker, "t") > 6 {
        assert!(began.elapsed() < PATIENCE, "{} files are left", segment_files(&broker, "t"));
        std::thread::sleep(Duration::from_millis(100));
    }
    broker.kill();
    broker.up();
    assert!(wait_for_start(&broker, "t", low - 1) >= low, "what is gone does not come back");
    assert_eq!(read_all(&broker, "t", 0).last().map(|record| record.offset()), Some(199));
}

#[tokio::test(flavor = "multi_thread")]
async fn s90_records_past_their_time_go_even_from_the_active_segment() {
    let broker = Broker::with(EAGER);
    create(&broker, "t", 1, &[("retention.ms", "1500")]).await;
    let producer = producer(&broker, &[]);
    for n in 0..10 {
        send(&producer, "t", 0, "k", &n.to_string()).await;
    }
    assert_eq!(wait_for_start(&broker, "t", 0), 10);
    assert_eq!(send(&producer, "t", 0, "k", "next").await, 10, "offsets go on");
    let left: Vec<_> = read_all(&broker, "t", 0).iter().map(|record| value(record).to_owned()).collect();
    assert!(left.is_empty() || left == ["next"], "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s89_the_files_of_a_deleted_topic_go() {
    let broker = Broker::start();
    create(&broker, "t", 2, &[]).await;
    let producer = producer(&broker, &[]);
    send(&producer, "t", 0, "k", "v").await;
    send(&producer, "t", 1, "k", "v").await;
    assert!(broker.data().join("t-0").exists());
    let options = rdkafka::admin::AdminOptions::new();
    crate::clients::admin(&broker).delete_topics(&["t"], &options).await.unwrap()[0].as_ref().unwrap();
    let began = Instant::now();
    let left = || {
        let files = std::fs::read_dir(broker.data()).expect("the data directory").flatten();
        files
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("t-"))
            .count()
    };
    while left() > 0 {
        assert!(began.elapsed() < PATIENCE, "{} directories are left", left());
        std::thread::sleep(Duration::from_millis(20));
    }
}
