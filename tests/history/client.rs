//! A transactional client that speaks the protocol itself, the older one or the newer (KIP-890), and writes down what it
//! does. What it does not know the outcome of it asks again, as the protocol lets clients do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
    ProduceRequest, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use streamd::record::build::{BatchBuilder, NewRecord};

use crate::record::{History, Outcome, Place, Refusal, Transaction, TxnId, Word, Write};
use crate::support::raw;
use crate::wire::{Line, is_passing};

/// Longer than any restart: nothing may be aborted by time alone.
const TIMEOUT_MS: i32 = 120_000;

/// What a transaction is to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Where records go, and what each is made from.
    pub(crate) writes: Vec<(Place, Option<(i32, i64)>)>,
    /// A group, and its offsets in partitions of the topic.
    pub(crate) offsets: Option<(&'static str, &'static str, BTreeMap<i32, i64>)>,
    pub(crate) commit: bool,
}

/// A request that was refused for good: by which name, and with which code.
type Refused = (&'static str, i16);

pub(crate) struct Client {
    id: u32,
    name: String,
    newer: bool,
    /// Another client has the same transactional id: either may be refused at any time.
    rival: bool,
    line: Line,
    history: Arc<History>,
    producer: (i64, i16),
    sequences: HashMap<Place, i32>,
    seq: u32,
}

impl Client {
    pub(crate) fn new(address: &str, history: &Arc<History>, id: u32, newer: bool) -> Self {
        let mut client = Self {
            id,
            name: format!("txn-{id}"),
            newer,
            rival: false,
            line: Line::to(address),
            history: Arc::clone(history),
            producer: (-1, -1),
            sequences: HashMap::new(),
            seq: 0,
        };
        client.line.find_coordinator(&client.name);
        client
    }

    /// A client that shares its transactional id with another.
    pub(crate) fn rival(address: &str, history: &Arc<History>, id: u32, newer: bool) -> Self {
        Self { rival: true, name: "rivals".to_owned(), ..Self::new(address, history, id, newer) }
    }

    /// Its id and epoch.
    pub(crate) fn producer(&self) -> (i64, i16) {
        self.producer
    }

    fn transactional_id(&self) -> TransactionalId {
        TransactionalId(StrBytes::from_string(self.name.clone()))
    }

    /// Gets a producer id and the next epoch; what was left open is aborted.
    pub(crate) fn init(&mut self) {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.transactional_id()))
            .with_transaction_timeout_ms(TIMEOUT_MS)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let rival = self.rival;
        // A rival may come between the abort of what is open and the next epoch.
        let passes = |code: i16| is_passing(code) || rival && matches!(code, 47 | 90);
        let response =
            self.line.settle(4, &request, |r| if passes(r.error_code) { 51 } else { r.error_code });
        assert_eq!(response.error_code, 0, "{response:?}");
        self.producer = (response.producer_id.0, response.producer_epoch);
        self.sequences.clear();
    }

    /// The same client as it is now, on a connection of its own.
    pub(crate) fn again(&self) -> Self {
        Self {
            name: self.name.clone(),
            line: self.line.again(),
            history: Arc::clone(&self.history),
            sequences: self.sequences.clone(),
            ..*self
        }
    }

    /// Does all of a transaction but its end.
    pub(crate) fn begin(&mut self, plan: &Plan) {
        if self.producer.0 < 0 {
            self.init();
        }
        let mut txn = self.planned(plan);
        self.write(&mut txn, plan).expect("it is written");
    }

    /// One transaction.
    pub(crate) fn transact(&mut self, plan: &Plan) -> Outcome {
        if self.producer.0 < 0 {
            self.init();
        }
        let mut txn = self.planned(plan);
        let written = self.write(&mut txn, plan);
        let commit = plan.commit && written.is_ok();
        if commit {
            txn.ending = Some(self.history.tick());
        }
        let ended = written.and_then(|()| self.end(commit));
        match ended {
            Ok(()) if commit => {
                (txn.outcome, txn.done) = (Outcome::Committed, Some(self.history.tick()));
            }
            Ok(()) => {}
            Err((what, code)) => {
                if commit {
                    txn.outcome = Outcome::Unknown;
                }
                if !self.rival {
                    self.history.refusals.lock().push(Refusal { txn: txn.id, what, code });
                }
                self.producer.0 = -1;
            }
        }
        let outcome = txn.outcome;
        self.history.transactions.lock().push(txn);
        outcome
    }

    /// Leaves nothing open.
    pub(crate) fn finish(mut self) {
        self.init();
    }

    fn planned(&mut self, plan: &Plan) -> Transaction {
        let mut txn = Transaction::new(TxnId { client: self.id, seq: self.seq });
        self.seq += 1;
        for ((place, input), index) in plan.writes.iter().zip(0..) {
            let word = Word { txn: txn.id, index, input: *input };
            txn.writes.push(Write { place: *place, word, offset: None });
        }
        txn.offsets = plan.offsets.as_ref().map(|(group, _, offsets)| (*group, offsets.clone()));
        txn
    }

    fn write(&mut self, txn: &mut Transaction, plan: &Plan) -> Result<(), Refused> {
        let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (index, write) in txn.writes.iter().enumerate() {
            places.entry(write.place).or_default().push(index);
        }
        if !self.newer {
            for place in places.keys() {
                self.add(*place)?;
            }
        }
        for (place, indexes) in &places {
            let values: Vec<Vec<u8>> = indexes.iter().map(|i| txn.writes[*i].word.value()).collect();
            let base = self.produce(*place, &values)?;
            for (offset, index) in (base..).zip(indexes) {
                txn.writes[*index].offset = Some(offset);
            }
        }
        match &plan.offsets {
            Some((group, topic, offsets)) => self.commit_offsets(group, topic, offsets),
            None => Ok(()),
        }
    }

    fn add(&mut self, place: Place) -> Result<(), Refused> {
        let topic =
            AddPartitionsToTxnTopic::default().with_name(raw::name(place.0)).with_partitions(vec![place.1]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.transactional_id())
            .with_v3_and_below_producer_id(self.producer.0.into())
            .with_v3_and_below_producer_epoch(self.producer.1)
            .with_v3_and_below_topics(vec![topic]);
        let code = |r: &<AddPartitionsToTxnRequest as kafka_protocol::protocol::Request>::Response| {
            r.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        };
        let response = self.line.settle(3, &request, code);
        accept("AddPartitionsToTxn", code(&response))
    }

    /// Appends one batch; sent again after a broken connection, it is the same batch. Returns its first offset.
    fn produce(&mut self, place: Place, values: &[Vec<u8>]) -> Result<i64, Refused> {
        let sequence = self.sequences.get(&place).copied().unwrap_or_default();
        let mut batch =
            BatchBuilder::new().producer(self.producer.0, self.producer.1, sequence).transactional(true);
        for value in values {
            batch.push(&NewRecord {
                timestamp: 1_700_000_000_000,
                value: Some(value),
                ..NewRecord::default()
            });
        }
        let records = batch.build().expect("a batch");
        let data = PartitionProduceData::default().with_index(place.1).with_records(Some(records));
        let topic = TopicProduceData::default().with_name(raw::name(place.0)).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(self.transactional_id()))
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![topic]);
        let version = if self.newer { 12 } else { 9 };
        let response = self.line.settle(version, &request, |response| raw::produced(response).0);
        let (code, offset) = raw::produced(&response);
        accept("Produce", code)?;
        self.sequences.insert(place, sequence + i32::try_from(values.len()).expect("few"));
        Ok(offset)
    }

    fn commit_offsets(
        &mut self,
        group: &str,
        topic: &str,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<(), Refused> {
        let group = GroupId(StrBytes::from_string(group.to_owned()));
        if !self.newer {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(self.transactional_id())
                .with_producer_id(self.producer.0.into())
                .with_producer_epoch(self.producer.1)
                .with_group_id(group.clone());
            let response = self.line.settle(3, &request, |response| response.error_code);
            accept("AddOffsetsToTxn", response.error_code)?;
        }
        let partitions = offsets.iter().map(|(partition, offset)| {
            TxnOffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
        });
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(raw::name(topic))
            .with_partitions(partitions.collect());
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.transactional_id())
            .with_group_id(group)
            .with_producer_id(self.producer.0.into())
            .with_producer_epoch(self.producer.1)
            .with_topics(vec![topic]);
        let version = if self.newer { 5 } else { 3 };
        let code = |r: &<TxnOffsetCommitRequest as kafka_protocol::protocol::Request>::Response| {
            let partitions = r.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).find(|code| *code != 0).unwrap_or_default()
        };
        let response = self.line.settle(version, &request, code);
        accept("TxnOffsetCommit", code(&response))
    }

    /// Ends the transaction, however often it takes to ask.
    pub(crate) fn end(&mut self, commit: bool) -> Result<(), Refused> {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.transactional_id())
            .with_producer_id(self.producer.0.into())
            .with_producer_epoch(self.producer.1)
            .with_committed(commit);
        let version = if self.newer { 5 } else { 3 };
        let response = self.line.settle(version, &request, |response| response.error_code);
        accept("EndTxn", response.error_code)?;
        if self.newer {
            self.producer = (response.producer_id.0, response.producer_epoch);
            self.sequences.clear();
        }
        Ok(())
    }
}

fn accept(what: &'static str, code: i16) -> Result<(), Refused> {
    if code == 0 { Ok(()) } else { Err((what, code)) }
}
