//! What a cleaner at full speed costs those who produce to other topics: the running broker is sent records at a steady
//! rate, in turns with nothing else to do and with a topic to clean, and the medians of the rounds are printed.
//!
//! `STREAMD_BENCH_MB` (256) is the size of each topic that is cleaned, `STREAMD_BENCH_ROUNDS` (3) how often each is
//! measured at each rate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a bench ends when it cannot go on, prints, and has the system's clock"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::support::Broker;

/// Keeps the cleaner awake, and nothing else: segments, throttle and threads are as they come.
const CONFIG: &str = "[kafka]\n\"log.cleaner.backoff.ms\" = 20\n";
const VALUE_BYTES: usize = 1_000;
/// Records of one key in a topic that is cleaned: so many less one of them go.
const UPDATES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest that a round is measured.
const ROUND: Duration = Duration::from_secs(6);
/// The rate that every machine should bear, in bytes a second.
const MODEST: f64 = 20e6;

/// What became of records: how long each took, in microseconds from when it was due.
#[derive(Clone, Default)]
struct Acks {
    took: Arc<Mutex<Vec<u64>>>,
    bytes: Arc<AtomicU64>,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, due: Self::DeliveryOpaque) {
        if let Err((error, _)) = result {
            panic!("a record was not acknowledged: {error}");
        }
        self.bytes.fetch_add(VALUE_BYTES as u64, Ordering::Relaxed);
        self.took.lock().push(u64::try_from(due.elapsed().as_micros()).unwrap());
    }
}

struct Load {
    producer: ThreadedProducer<Acks>,
    acks: Acks,
    sent: u64,
}

impl Load {
    fn new(broker: &Broker) -> Self {
        let acks = Acks::default();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.address()).set("queue.buffering.max.messages", "1000000");
        Self { producer: config.create_with_context(acks.clone()).expect("a producer"), acks, sent: 0 }
    }

    /// Sends a record that is due at this time, if there is room.
    fn send(&mut self, topic: &str, key: Option<&str>, due: Instant) -> bool {
        let value = value(self.sent);
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(due)).payload(&value[..]);
        if let Some(key) = key {
            record = record.partition(0).key(key);
        }
        match self.producer.send(record) {
            Ok(()) => self.sent += 1,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return false,
            Err((error, _)) => panic!("{error}"),
        }
        true
    }

    fn flush(&self) {
        self.producer.flush(PATIENCE).expect("everything is acknowledged");
    }

    /// Sends at a steady rate until it is time or `done`. The median and the 99th percentile, in milliseconds.
    fn round(&mut self, bytes_per_second: f64, mut done: impl FnMut() -> bool) -> [f64; 2] {
        self.acks.took.lock().clear();
        let (began, mut count) = (Instant::now(), 0_u32);
        let pause = Duration::from_secs_f64(VALUE_BYTES as f64 / bytes_per_second);
        while began.elapsed() < ROUND && !done() {
            while began + pause * count <= Instant::now() {
                while !self.send("steady", None, began + pause * count) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                count += 1;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        self.flush();
        let mut took = std::mem::take(&mut *self.acks.took.lock());
        took.sort_unstable();
        [took[took.len() / 2], took[took.len() * 99 / 100]].map(|micros| micros as f64 / 1e3)
    }

    /// What goes through in a second with nothing else to do, in bytes.
    fn capability(&mut self) -> f64 {
        self.acks.bytes.store(0, Ordering::Relaxed);
        let began = Instant::now();
        while began.elapsed() < ROUND / 2 {
            if !self.send("steady", None, Instant::now()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let bytes = self.acks.bytes.load(Ordering::Relaxed);
        let rate = bytes as f64 / began.elapsed().as_secs_f64();
        self.flush();
        rate
    }

    /// Fills a topic with updates of keys in an order that looks random.
    fn fill(&mut self, topic: &str, bytes: usize) {
        let records = bytes / VALUE_BYTES;
        for n in 0..records {
            let key = format!("key-{:09}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (records / UPDATES));
            while !self.send(topic, Some(&key), Instant::now()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.flush();
        self.acks.took.lock().clear();
    }
}

/// Bytes that no codec makes small.
fn value(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut value = Vec::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        value.extend_from_slice(&x.to_le_bytes());
    }
    value.truncate(VALUE_BYTES);
    value
}

struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    fn new(broker: &Broker) -> Self {
        let client =
            ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("an admin client");
        Self { client, runtime: tokio::runtime::Runtime::new().expect("a runtime") }
    }

    fn create(&self, name: &str, partitions: i32) {
        let topic =
            NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("segment.bytes", "67108864");
        let made = self.runtime.block_on(self.client.create_topics([&topic], &AdminOptions::new()));
        assert_eq!(made.expect("an answer"), [Ok(name.to_owned())]);
    }

    fn compact(&self, name: &str) {
        let settings = AlterConfig::new(ResourceSpecifier::Topic(name))
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "67108864")
            .set("min.cleanable.dirty.ratio", "0.01");
        let made = self.runtime.block_on(self.client.alter_configs([&settings], &AdminOptions::new()));
        assert!(made.expect("an answer")[0].is_ok());
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let (size, rounds) = (setting("STREAMD_BENCH_MB", 256) << 20, setting("STREAMD_BENCH_ROUNDS", 3));
    let broker = Broker::with(CONFIG);
    let (admin, mut load) = (Admin::new(&broker), Load::new(&broker));
    admin.create("steady", 8);
    for nth in 0..2 * rounds {
        admin.create(&format!("noise-{nth}"), 1);
        load.fill(&format!("noise-{nth}"), size);
    }
    let capability = load.capability();
    println!("a producer alone: {:.0} MB/s", capability / 1e6);
    for (name, rate, first) in [("20 MB/s", MODEST, 0), ("half of that", capability / 2.0, rounds)] {
        let [mut idle, mut cleaning] = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
        let mut speeds = Vec::new();
        for nth in first..first + rounds {
            let note = |into: &mut [Vec<f64>; 2], found: [f64; 2]| {
                into.iter_mut().zip(found).for_each(|(all, one)| all.push(one));
            };
            note(&mut idle, load.round(rate, || false));
            let topic = format!("noise-{nth}");
            admin.compact(&topic);
            let began = Instant::now();
            let is_cleaned =
                || broker.log().lines().any(|line| line.contains("\"compacted\"") && line.contains(&topic));
            let mut looked = Instant::now();
            let mut took = None;
            note(
                &mut cleaning,
                load.round(rate, || {
                    if looked.elapsed() > Duration::from_millis(50) {
                        looked = Instant::now();
                        took = took.or_else(|| is_cleaned().then(|| began.elapsed()));
                    }
                    took.is_some()
                }),
            );
            while took.is_none() {
                assert!(began.elapsed() < PATIENCE, "{topic} is not cleaned\n{}", broker.log());
                std::thread::sleep(Duration::from_millis(5));
                took = is_cleaned().then(|| began.elapsed());
            }
            speeds.push(size as f64 / took.expect("it was cleaned").as_secs_f64() / 1e6);
        }
        let [idle, cleaning] = [idle, cleaning].map(|rounds| rounds.map(median));
        println!(
            "{name}: p50 {:.2} ms idle, {:.2} ms beside a cleaning ({:.2}x); p99 {:.2} ms, {:.2} ms ({:.2}x); cleaned at {:.0} MB/s",
            idle[0],
            cleaning[0],
            cleaning[0] / idle[0],
            idle[1],
            cleaning[1],
            cleaning[1] / idle[1],
            median(speeds)
        );
    }
}
