//! What the broker's tests of transactions share: a broker in a directory of its own, producers, and what they write.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Broker, JoinTransaction, StartError, random};
use crate::catalog::{Command, NewTopic, Reply};
use crate::config::Config;
use crate::partition::Partition;
use crate::record::batch::{BatchHeader, BatchView};
use crate::record::build::{BatchBuilder, NewRecord};
use crate::record::control::{Marker, read_marker};
use crate::storage::dir::DirError;
use crate::txn::{EndTxn, InitProducer, Outcome, Producer};
use crate::types::offset::NO_SEQUENCE;
use crate::types::{Clock, ErrorCode};

/// How long a test's transactions may stay open.
pub(super) const TIMEOUT_MS: i32 = 60_000;

/// A broker and its directory.
pub(super) struct Rig {
    pub(super) broker: Arc<Broker>,
    config: Config,
    dir: TempDir,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A broker with other settings.
    pub(super) async fn with(settings: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data_dir = dir.path().to_path_buf();
        settings(&mut config);
        let broker = Broker::start(config.clone(), Clock::system()).await.unwrap();
        Self { broker, config, dir }
    }

    /// Stops it in order and starts it again.
    pub(super) async fn restart(self) -> Self {
        let Self { broker, config, dir } = self;
        broker.stop().await.unwrap();
        // What goes on in the background lets go of the directory a moment later.
        for _ in 0..500 {
            match Broker::start(config.clone(), Clock::system()).await {
                Err(StartError::Dir(DirError::Locked { .. })) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                started => return Self { broker: started.unwrap(), config, dir },
            }
        }
        panic!("the directory stays locked");
    }

    /// A path among the data.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { partitions, ..NewTopic::with_defaults(name, random::topic_id()) };
        let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
        let Reply::Topics(outcomes) = self.broker.catalog().call(command).await else { panic!("no topics") };
        outcomes[0].result.as_ref().unwrap();
    }

    pub(super) async fn partition(&self, topic: &str, index: i32) -> Arc<Partition> {
        let topic = Arc::clone(self.broker.image().topic(topic).unwrap());
        self.broker.partition(&topic, index).await.unwrap()
    }

    /// The next producer of a transactional id.
    pub(super) async fn producer(&self, id: &str) -> Producer {
        self.broker.init_transactional(init(id)).await.unwrap()
    }

    /// What the coordinator says of these partitions.
    pub(super) async fn join(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[(&str, i32)],
        add: bool,
    ) -> Vec<Result<(), ErrorCode>> {
        let request = JoinTransaction {
            transactional_id: id.into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            partitions: partitions.iter().map(|(topic, index)| ((*topic).into(), *index)).collect(),
            add,
        };
        self.broker.join_transaction(request).await
    }

    /// A transaction with these partitions that has written a record to each.
    pub(super) async fn open(&self, id: &str, partitions: &[(&str, i32)]) -> Producer {
        let producer = self.producer(id).await;
        assert_eq!(self.join(id, producer, partitions, true).await, vec![Ok(()); partitions.len()]);
        let mut written = Vec::new();
        for (topic, index) in partitions {
            written.push(self.append(producer, topic, *index).await);
        }
        for (partition, end) in written {
            until("a record is visible", || partition.high_watermark() == end).await;
        }
        producer
    }

    /// Writes a record of the producer's transaction, and waits until it is visible.
    pub(super) async fn write(&self, producer: Producer, topic: &str, index: i32) {
        let (partition, end) = self.append(producer, topic, index).await;
        until("a record is visible", || partition.high_watermark() == end).await;
    }

    /// Appends a record of the producer's transaction; returns where, and the end of the log behind it.
    async fn append(&self, producer: Producer, topic: &str, index: i32) -> (Arc<Partition>, i64) {
        let partition = self.partition(topic, index).await;
        let mut batch = BatchBuilder::new();
        batch = batch.producer(producer.id, producer.epoch, NO_SEQUENCE).transactional(true);
        batch.push(&NewRecord { timestamp: 1, value: Some(b"v"), ..NewRecord::default() });
        let batch = batch.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let end = partition.append_own(&[(batch, header)]).unwrap();
        (partition, end)
    }
}

/// A first InitProducerId.
pub(super) fn init(id: &str) -> InitProducer {
    InitProducer {
        transactional_id: id.into(),
        timeout_ms: TIMEOUT_MS,
        held: None,
        fresh_id: None,
        client: Arc::default(),
    }
}

/// The end of a transaction as newer clients ask for it.
pub(super) fn end(id: &str, producer: Producer, outcome: Outcome) -> EndTxn {
    EndTxn { transactional_id: id.into(), producer, outcome, raises_epoch: true, fresh_id: None }
}

/// The markers in a partition's log, in order.
pub(super) fn markers(partition: &Partition) -> Vec<Marker> {
    let mut found = Vec::new();
    let reader = partition.reader();
    let each = &mut |batch: &BatchView<'_>| {
        found.extend(read_marker(batch).unwrap());
        true
    };
    reader.for_each_batch(reader.start(), reader.end(), each).unwrap();
    found
}

/// Waits until something is so.
pub(super) async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}");
}
