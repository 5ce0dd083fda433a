//! Reading a partition to its end, once or all the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::PATIENCE;
use crate::updates::{Updates, key_text};

/// What one reading of a partition came to.
pub(crate) struct Read {
    /// The last value of each key that was not deleted.
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) records: usize,
    /// Deletions among them.
    pub(crate) tombstones: usize,
}

/// Reads from the beginning to the end. Offsets rise, and nothing but a broker that is gone is an error.
pub(crate) fn read(config: &ClientConfig, topic: &str) -> Read {
    let consumer: BaseConsumer = config
        .clone()
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("reconnect.backoff.max.ms", "200")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&list).expect("an assignment");
    let mut read = Read { values: BTreeMap::new(), records: 0, tombstones: 0 };
    let (mut last, mut moved) = (-1, Instant::now());
    loop {
        assert!(moved.elapsed() < PATIENCE, "no record and no end behind offset {last}");
        let message = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => return read,
            Some(Err(error)) if is_absence(&error) => continue,
            Some(Err(error)) => panic!("behind offset {last}: {error}"),
        };
        moved = Instant::now();
        assert!(message.offset() > last, "offset {} behind {last}", message.offset());
        last = message.offset();
        read.records += 1;
        let key = String::from_utf8(message.key().expect("a key").to_vec()).expect("text");
        match message.payload() {
            Some(value) => {
                let value = String::from_utf8(value.to_vec()).expect("text");
                read.values.insert(key, value);
            }
            None => {
                read.tombstones += 1;
                read.values.remove(&key);
            }
        }
    }
}

/// Whether the broker is away, which a killed one is.
fn is_absence(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let code = error.rdkafka_error_code();
    [BrokerTransportFailure, AllBrokersDown, OperationTimedOut, Resolve].map(Some).contains(&code)
}

/// Reads from the beginning to the end, again and again, until it is told to stop.
pub(crate) struct Readers {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Readers {
    /// `count` readers, each of which must see all of the `keys` keys that are never deleted, every time.
    pub(crate) fn start(config: &ClientConfig, topic: &str, keys: usize, count: usize) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let (config, topic, done) = (config.clone(), topic.to_owned(), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut times = 0;
                while !done.load(Ordering::Relaxed) || times == 0 {
                    let read = read(&config, &topic);
                    for key in (0..keys).filter(|key| Updates::is_kept(*key)) {
                        assert!(read.values.contains_key(&key_text(key)), "key {key} is missing");
                    }
                    times += 1;
                }
                times
            })
        });
        let threads = threads.collect();
        Self { done, threads }
    }

    /// Ends them; how often the partition was read.
    pub(crate) fn stop(self) -> usize {
        self.done.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("no reader fails")).sum()
    }
}
