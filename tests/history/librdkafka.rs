//! librdkafka's transactional clients, which write down what they do like the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::TokioRuntime;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::record::{History, Outcome, Place, Transaction, TxnId, Word, Write};

const WAIT: Duration = Duration::from_secs(60);

type Producer = FutureProducer<DefaultClientContext, TokioRuntime>;

fn config(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    // Restarts are many here.
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
    config.set("retry.backoff.ms", "10").set("retry.backoff.max.ms", "100").set("log_level", "0");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// A transactional producer. When librdkafka gives it up, another takes its place.
pub(crate) struct Client {
    id: u32,
    address: String,
    history: Arc<History>,
    runtime: tokio::runtime::Runtime,
    producer: Option<Producer>,
    seq: u32,
}

impl Client {
    pub(crate) fn new(address: &str, history: &Arc<History>, id: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let history = Arc::clone(history);
        Self { id, address: address.to_owned(), history, runtime, producer: None, seq: 0 }
    }

    fn producer(&mut self) -> Producer {
        if let Some(producer) = &self.producer {
            return producer.clone();
        }
        let id = format!("librdkafka-{}", self.id);
        let settings = [("transactional.id", &*id), ("transaction.timeout.ms", "120000"), ("linger.ms", "1")];
        loop {
            let _guard = self.runtime.enter();
            let made: Producer = config(&self.address, &settings).create().expect("a producer");
            if insist(|| made.init_transactions(WAIT)).is_ok() {
                self.producer = Some(made.clone());
                return made;
            }
        }
    }

    /// One transaction: records to these places, and offsets of the consumer's group if there is one.
    pub(crate) fn transact(
        &mut self,
        writes: &[(Place, Option<(i32, i64)>)],
        offsets: Option<(&'static str, &BaseConsumer, &'static str, BTreeMap<i32, i64>)>,
        commit: bool,
    ) -> Outcome {
        let producer = self.producer();
        let mut txn = Transaction::new(TxnId { client: self.id, seq: self.seq });
        self.seq += 1;
        for ((place, input), index) in writes.iter().zip(0..) {
            let word = Word { txn: txn.id, index, input: *input };
            txn.writes.push(Write { place: *place, word, offset: None });
        }
        txn.offsets = offsets.as_ref().map(|(group, _, _, offsets)| (*group, offsets.clone()));
        let written = self.write(&producer, &mut txn, offsets.as_ref().map(|(_, c, t, o)| (*c, *t, o)));
        if commit && written.is_ok() {
            txn.ending = Some(self.history.tick());
            match insist(|| producer.commit_transaction(WAIT)) {
                Ok(()) => (txn.outcome, txn.done) = (Outcome::Committed, Some(self.history.tick())),
                Err(error) => {
                    txn.outcome = Outcome::Unknown;
                    self.give_up(&producer, &error);
                }
            }
        } else if let Err(error) = insist(|| producer.abort_transaction(WAIT)) {
            self.give_up(&producer, &error);
        }
        let outcome = txn.outcome;
        self.history.transactions.lock().push(txn);
        outcome
    }

    fn write(
        &self,
        producer: &Producer,
        txn: &mut Transaction,
        offsets: Option<(&BaseConsumer, &'static str, &BTreeMap<i32, i64>)>,
    ) -> KafkaResult<()> {
        producer.begin_transaction()?;
        let mut sent: Vec<DeliveryFuture> = Vec::new();
        for write in &txn.writes {
            let value = write.word.value();
            let record = FutureRecord::<(), _>::to(write.place.0).partition(write.place.1).payload(&value);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for (future, write) in sent.into_iter().zip(&mut txn.writes) {
            let delivered: OwnedDeliveryResult =
                self.runtime.block_on(future).map_err(|_| KafkaError::Canceled)?;
            write.offset = Some(delivered.map_err(|(error, _)| error)?.offset);
        }
        let Some((consumer, topic, offsets)) = offsets else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let group = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        insist(|| producer.send_offsets_to_transaction(&list, &group, WAIT))
    }

    /// What librdkafka says of a transaction that it could not end: it must be aborted, or all is over.
    fn give_up(&mut self, producer: &Producer, error: &KafkaError) {
        let abortable = matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort() && !error.is_fatal());
        if !abortable || insist(|| producer.abort_transaction(WAIT)).is_err() {
            self.producer = None;
        }
    }
}

/// Calls until it works or fails for good. Ends in a panic if the broker never comes back.
fn insist(call: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
    let began = Instant::now();
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                assert!(began.elapsed() < WAIT, "librdkafka gets nowhere: {error}");
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// A consumer of committed records that belongs to a group, for the partitions and from the offsets that it is told.
pub(crate) fn consumer(address: &str, group: &str) -> BaseConsumer {
    let settings = [
        ("group.id", group),
        ("isolation.level", "read_committed"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("enable.partition.eof", "true"),
        ("fetch.wait.max.ms", "20"),
    ];
    config(address, &settings).create().expect("a consumer")
}

/// Has the consumer read these partitions of a topic from these offsets on.
pub(crate) fn assign(consumer: &BaseConsumer, topic: &str, offsets: &BTreeMap<i32, i64>) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        let offset = Offset::Offset((*offset).max(0));
        list.add_partition_offset(topic, *partition, offset).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
}

/// Everything that is committed in a topic, as librdkafka gives it to its users.
pub(crate) fn read_all(address: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<(i64, Vec<u8>)>> {
    let consumer = consumer(address, "nobody");
    assign(&consumer, topic, &(0..partitions).map(|partition| (partition, 0)).collect());
    let mut found: BTreeMap<i32, Vec<(i64, Vec<u8>)>> =
        (0..partitions).map(|partition| (partition, Vec::new())).collect();
    let mut at_end = std::collections::BTreeSet::new();
    while at_end.len() < found.len() {
        match consumer.poll(WAIT).expect("a record or an end") {
            Ok(message) => {
                let value = message.payload().unwrap_or_default().to_vec();
                found.get_mut(&message.partition()).expect("known").push((message.offset(), value));
            }
            Err(KafkaError::PartitionEOF(partition)) => drop(at_end.insert(partition)),
            Err(error) => assert!(
                matches!(error, KafkaError::MessageConsumption(_)),
                "reading {topic} with librdkafka: {error}"
            ),
        }
    }
    found
}
