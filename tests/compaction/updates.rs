//! Updates of many keys: produced in order, with what each was acknowledged as.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::support::Broker;
use crate::{PATIENCE, config};

/// The offset of each update by its number; -1 before it is acknowledged.
#[derive(Clone)]
struct Acks {
    offsets: Arc<Vec<AtomicI64>>,
    count: Arc<AtomicUsize>,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, nth: Self::DeliveryOpaque) {
        let offset = match result {
            Ok(message) => message.offset(),
            // What a failed test leaves is purged.
            Err(_) if std::thread::panicking() => return,
            Err((error, _)) => panic!("update {nth} was not acknowledged: {error}"),
        };
        self.offsets[*nth].store(offset, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Release);
    }
}

/// A producer of a known sequence of updates.
pub(crate) struct Updates {
    topic: String,
    keys: usize,
    next: usize,
    acks: Acks,
    producer: ThreadedProducer<Acks>,
}

impl Updates {
    /// At most `total` updates of `keys` keys.
    pub(crate) fn new(broker: &Broker, topic: &str, keys: usize, total: usize, codec: &str) -> Self {
        let acks = Acks {
            offsets: Arc::new((0..total).map(|_| AtomicI64::new(-1)).collect()),
            count: Arc::default(),
        };
        let producer = config(broker)
            .set("enable.idempotence", "true")
            .set("compression.codec", codec)
            .set("linger.ms", "5")
            .set("batch.num.messages", "500")
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.max.ms", "200")
            .set("queue.buffering.max.messages", "100000")
            .create_with_context(acks.clone())
            .expect("a producer");
        Self { topic: topic.to_owned(), keys, next: 0, acks, producer }
    }

    /// The key of the nth update: first each once, then by chance.
    fn key(&self, nth: usize) -> usize {
        if nth < self.keys { nth } else { mix(nth) % self.keys }
    }

    /// The value of the nth update; every fifth key is deleted now and then.
    fn value(&self, nth: usize) -> Option<String> {
        let key = self.key(nth);
        let deletes = nth >= self.keys && key.is_multiple_of(5) && mix(nth + 7).is_multiple_of(4);
        (!deletes).then(|| format!("{nth}:{}", "x".repeat(mix(nth) % 40)))
    }

    /// Whether a key is never deleted.
    pub(crate) fn is_kept(key: usize) -> bool {
        !key.is_multiple_of(5)
    }

    /// Sends the next `count` updates. They are acknowledged later.
    pub(crate) fn send(&mut self, count: usize) {
        for nth in self.next..self.next + count {
            let (key, value) = (key_text(self.key(nth)), self.value(nth));
            let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(nth)).partition(0).key(&key);
            if let Some(value) = &value {
                record = record.payload(value);
            }
            let began = Instant::now();
            while let Err((error, again)) = self.producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert!(error == full && began.elapsed() < PATIENCE, "{error}");
                std::thread::sleep(Duration::from_millis(5));
                record = again;
            }
        }
        self.next += count;
    }

    /// Waits until all that was sent is acknowledged; the offset behind the last.
    pub(crate) fn wait(&self) -> i64 {
        self.producer.flush(PATIENCE).expect("everything is acknowledged");
        let began = Instant::now();
        while self.acks.count.load(Ordering::Acquire) < self.next {
            assert!(began.elapsed() < PATIENCE, "acknowledgements are missing");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.offset(self.next - 1) + 1
    }

    fn offset(&self, nth: usize) -> i64 {
        self.acks.offsets[nth].load(Ordering::Relaxed)
    }

    /// What the last updates of all keys came to, of those at or past `start`: keys and values.
    pub(crate) fn last_values(&self, start: i64) -> BTreeMap<String, String> {
        let mut last = BTreeMap::new();
        for nth in 0..self.next {
            last.insert(self.key(nth), nth);
        }
        let live = last.into_iter().filter(|(_, nth)| self.offset(*nth) >= start);
        live.filter_map(|(key, nth)| Some((key_text(key), self.value(nth)?))).collect()
    }
}

pub(crate) fn key_text(key: usize) -> String {
    format!("key-{key:06}")
}

/// A number that looks random and is the same in every run.
fn mix(n: usize) -> usize {
    let mut x = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    usize::try_from(x >> 33).unwrap_or(0)
}
