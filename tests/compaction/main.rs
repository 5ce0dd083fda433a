//! Compacted topics through librdkafka, against a hash map of what was written: while it is cleaned, while readers read,
//! while the broker is killed, and after restarts.
//!
//! `STREAMD_COMPACTION_UPDATES` sets the size (300,000 updates over a hundredth as many keys by default).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking and has the system's clock"
)]

mod damage;
mod offsets;
mod reader;
mod rounds;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod updates;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::Broker;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cleaner that hardly waits.
const EAGER: &str = "[kafka]\n\"log.cleaner.backoff.ms\" = 50\n\"log.segment.delete.delay.ms\" = 200\n\
                     \"log.retention.check.interval.ms\" = 500\n";

/// A topic whose records are all compacted a second after they were written, and deletions gone a second later.
const COMPACTED: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("max.compaction.lag.ms", "1000"),
    ("delete.retention.ms", "1000"),
    ("segment.bytes", "1000000"),
];

fn config(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address());
    config
}

/// Makes a topic of one partition, with other settings over those of [`COMPACTED`].
async fn create(broker: &Broker, name: &str, other: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    let is_other = |key: &str| other.iter().any(|(name, _)| *name == key);
    for (key, value) in COMPACTED.iter().filter(|(key, _)| !is_other(key)).chain(other) {
        topic = topic.set(key, value);
    }
    let admin: AdminClient<DefaultClientContext> = config(broker).create().expect("an admin client");
    let results = admin.create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
    assert_eq!(results, [Ok(name.to_owned())]);
}

/// Waits until a partition was cleaned up to `end`, as the cleaner's checkpoint has it.
fn wait_until_clean(broker: &Broker, topic: &str, partition: i32, end: i64) {
    let began = Instant::now();
    loop {
        let clean_to = clean_to(broker, topic, partition);
        if clean_to.is_some_and(|clean_to| clean_to >= end) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{topic} is clean to {clean_to:?} of {end}\n{}", broker.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn clean_to(broker: &Broker, topic: &str, partition: i32) -> Option<i64> {
    let text = std::fs::read_to_string(broker.data().join("cleaner-offset-checkpoint")).ok()?;
    let prefix = format!("{topic} {partition} ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).and_then(|offset| offset.parse().ok())
}

/// Bytes of all `.log` files of a partition.
fn log_bytes(broker: &Broker, topic: &str) -> u64 {
    let files = std::fs::read_dir(broker.data().join(format!("{topic}-0"))).expect("the directory");
    let logs = files.flatten().filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
    logs.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}
