//! A transactional producer, as scripts play it.

use serde_json::{Value, json};

use super::ask;
use crate::batch::Batch;
use crate::session::{Answer, Connection, Session, Topic};

/// The attribute of batches that belong to a transaction.
const TRANSACTIONAL: i16 = 0x10;

/// Refusals of a coordinator that is starting, or busy with the end of a transaction.
const NOT_YET: [i64; 4] = [14, 15, 16, 51];

/// One transactional id with a connection of its own.
pub(super) struct Txn {
    pub(super) c: Connection,
    pub(super) id: String,
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
}

impl Txn {
    /// A transactional id of the script's own that has its producer id, unrecorded. Nothing is under way with it.
    pub(super) fn open(s: &Session, suffix: &str) -> Self {
        let mut txn = Self { c: s.connect(), id: s.name(suffix), producer_id: -1, epoch: -1 };
        txn.init(s);
        txn
    }

    /// The next epoch, unrecorded; what was under way is aborted.
    pub(super) fn init(&mut self, s: &Session) {
        let request = init(&self.id, -1, -1);
        s.until(&format!("{} has a producer id", self.id), || {
            let answer = self.c.quiet("InitProducerId", 4, request.clone());
            let error = answer.int("error_code");
            assert!(error == 0 || NOT_YET.contains(&error), "{:?}", answer.tree);
            error == 0
        });
        self.learn(&self.state());
    }

    /// Takes id and epoch from an answer of InitProducerId or EndTxn, or from a description.
    pub(super) fn learn(&mut self, answer: &Answer) {
        let described = answer.tree.at("transaction_states[0].producer_id").is_some();
        let prefix = if described { "transaction_states[0]." } else { "" };
        self.producer_id = answer.int(&format!("{prefix}producer_id"));
        self.epoch = answer.int(&format!("{prefix}producer_epoch")) as i16;
    }

    /// What the coordinator says of it, unrecorded.
    pub(super) fn state(&self) -> Answer {
        self.c.quiet("DescribeTransactions", 0, json!({"transactional_ids": [self.id]}))
    }

    /// Waits until no end of a transaction is under way.
    pub(super) fn settled(&self, s: &Session) {
        s.until(&format!("{} has ended", self.id), || {
            let state = self.state().text("transaction_states[0].transaction_state");
            !state.starts_with("Prepare")
        });
    }

    /// An AddPartitionsToTxn request in the forms of all versions.
    pub(super) fn add(&self, partitions: &[(&str, &[i32])]) -> Value {
        self.add_as(self.producer_id, self.epoch, partitions)
    }

    /// The same by a producer that says to be another.
    pub(super) fn add_as(&self, producer_id: i64, epoch: i16, partitions: &[(&str, &[i32])]) -> Value {
        add(&self.id, producer_id, epoch, partitions)
    }

    /// Adds partitions of a topic, unrecorded.
    pub(super) fn adds(&self, topic: &Topic, partitions: &[i32]) {
        let answer = self.c.quiet("AddPartitionsToTxn", 3, self.add(&[(&topic.name, partitions)]));
        let error =
            answer.int("results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code");
        assert_eq!(error, 0, "{:?}", answer.tree);
    }

    pub(super) fn end(&self, commit: bool) -> Value {
        self.end_as(self.producer_id, self.epoch, commit)
    }

    pub(super) fn end_as(&self, producer_id: i64, epoch: i16, commit: bool) -> Value {
        json!({
            "transactional_id": self.id, "producer_id": producer_id, "producer_epoch": epoch, "committed": commit,
        })
    }

    /// Ends the transaction as older clients do, unrecorded, and waits until that is visible.
    pub(super) fn ends(&self, s: &Session, commit: bool) {
        let answer = self.c.quiet("EndTxn", 4, self.end(commit));
        assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
        self.settled(s);
    }

    /// This many records as the producer sends them within a transaction.
    pub(super) fn batch(&self, records: usize, sequence: i32) -> Batch {
        self.stamp(Batch::many(records), sequence)
    }

    /// Makes a batch one of the producer's.
    pub(super) fn stamp(&self, batch: Batch, sequence: i32) -> Batch {
        batch.producer(self.producer_id, self.epoch, sequence).attributes(TRANSACTIONAL)
    }

    /// A Produce request for partition 0 of a topic.
    pub(super) fn produce(&self, topic: &Topic, batch: &Batch) -> Value {
        self.produce_to(topic, 0, batch)
    }

    pub(super) fn produce_to(&self, topic: &Topic, partition: i32, batch: &Batch) -> Value {
        let mut request = ask::produce(topic, batch);
        request["transactional_id"] = self.id.clone().into();
        request["topic_data"][0]["partition_data"][0]["index"] = partition.into();
        request
    }

    /// Adds a partition and writes one batch to it, both unrecorded.
    pub(super) fn writes(&self, s: &Session, topic: &Topic, partition: i32, records: usize, sequence: i32) {
        self.adds(topic, &[partition]);
        self.writes_on(s, topic, partition, records, sequence);
    }

    /// Writes one batch to a partition that the transaction has, unrecorded.
    pub(super) fn writes_on(
        &self,
        s: &Session,
        topic: &Topic,
        partition: i32,
        records: usize,
        sequence: i32,
    ) {
        let request = self.produce_to(topic, partition, &self.batch(records, sequence));
        s.until("the batch is in", || {
            let answer = self.c.quiet("Produce", 9, request.clone());
            let error = answer.int("responses[0].partition_responses[0].error_code");
            assert!(error == 0 || error == 19, "{:?}", answer.tree);
            error == 0
        });
    }

    /// The offsets of a group's partition as a transaction commits them.
    pub(super) fn commit_offsets(&self, group: &str, topic: &Topic, offsets: &[(i32, i64)]) -> Value {
        let partitions: Vec<Value> = offsets
            .iter()
            .map(|(p, offset)| {
                json!({"partition_index": p, "committed_offset": offset, "committed_metadata": "words"})
            })
            .collect();
        json!({
            "transactional_id": self.id, "group_id": group, "producer_id": self.producer_id,
            "producer_epoch": self.epoch, "topics": [{"name": topic.name, "partitions": partitions}],
        })
    }

    pub(super) fn add_offsets(&self, group: &str) -> Value {
        json!({
            "transactional_id": self.id, "producer_id": self.producer_id, "producer_epoch": self.epoch,
            "group_id": group,
        })
    }

    /// Commits offsets within the transaction, unrecorded.
    pub(super) fn commits_offsets(&self, group: &str, topic: &Topic, offsets: &[(i32, i64)]) {
        let answer = self.c.quiet("AddOffsetsToTxn", 3, self.add_offsets(group));
        assert_eq!(answer.int("error_code"), 0, "{:?}", answer.tree);
        let answer = self.c.quiet("TxnOffsetCommit", 3, self.commit_offsets(group, topic, offsets));
        assert_eq!(answer.int("topics[0].partitions[0].error_code"), 0, "{:?}", answer.tree);
    }
}

/// A topic whose records and markers stay in one segment, however far apart their times are.
pub(super) fn topic(s: &Session, suffix: &str, partitions: i32) -> Topic {
    s.topic_with(suffix, partitions, &[("segment.ms", "9000000000000000000"), ("retention.ms", "-1")])
}

/// An InitProducerId request for a transactional id; -1 and -1 for a producer that has nothing yet.
pub(super) fn init(id: &str, producer_id: i64, epoch: i16) -> Value {
    json!({
        "transactional_id": id, "transaction_timeout_ms": 60_000, "producer_id": producer_id,
        "producer_epoch": epoch,
    })
}

/// An AddPartitionsToTxn request in the forms of all versions.
pub(super) fn add(id: &str, producer_id: i64, epoch: i16, partitions: &[(&str, &[i32])]) -> Value {
    let topics: Vec<Value> =
        partitions.iter().map(|(name, indexes)| json!({"name": name, "partitions": indexes})).collect();
    json!({
        "v3_and_below_transactional_id": id, "v3_and_below_producer_id": producer_id,
        "v3_and_below_producer_epoch": epoch, "v3_and_below_topics": topics,
        "transactions": [{
            "transactional_id": id, "producer_id": producer_id, "producer_epoch": epoch, "topics": topics,
        }],
    })
}

/// A fetch of what is committed from an offset of partition 0 on.
pub(super) fn fetch_committed(topic: &Topic, offset: i64) -> Value {
    let mut request = ask::fetch(topic, offset);
    request["isolation_level"] = 1.into();
    request
}
