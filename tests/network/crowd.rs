//! A crowd under one transactional id that keeps to nothing: both protocols, old epochs, ends and starts at any moment.
//! Whatever comes of it, nothing may hang: an open transaction that no coordinator knows would hold readers back for ever.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeProducersRequest, EndTxnRequest, FetchRequest, GroupId,
    InitProducerIdRequest, OffsetFetchRequest, ProduceRequest, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use streamd::record::build::{BatchBuilder, NewRecord};

use crate::random::Random;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const ID: &str = "shared";
const GROUP: &str = "g";
const TOPIC: &str = "t";
const PARTITIONS: [i32; 3] = [0, 1, 2];
const CLIENTS: u64 = 24;
const LASTS: Duration = Duration::from_secs(6);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the crowd's last transaction may take to end.
const QUIET: Duration = Duration::from_secs(20);

/// The producer that was given last, by whomever: its id and its epoch.
#[derive(Default)]
struct Latest(Mutex<(i64, i16)>);

impl Latest {
    fn set(&self, id: i64, epoch: i16) {
        *self.0.lock() = (id, epoch);
    }

    fn get(&self) -> (i64, i16) {
        *self.0.lock()
    }
}

fn id() -> TransactionalId {
    TransactionalId(StrBytes::from_static_str(ID))
}

/// One of the crowd.
struct Stranger {
    connection: Connection,
    random: Random,
    latest: Arc<Latest>,
}

impl Stranger {
    fn goes_on_until(mut self, end: Instant) {
        while Instant::now() < end {
            let (producer, epoch) = self.latest.get();
            // Now and then one that is not, or not any more.
            let epoch = if self.random.below(8) == 0 { epoch.saturating_sub(1) } else { epoch };
            match self.random.below(20) {
                0 => self.starts(),
                1..=3 => self.adds(producer, epoch),
                4..=5 => self.commits_an_offset(producer, epoch),
                6..=9 => self.ends(producer, epoch),
                _ => self.writes(producer, epoch),
            }
        }
    }

    /// One of these.
    fn any<T: Copy>(&mut self, of: [T; 3]) -> T {
        of[usize::try_from(self.random.below(3)).unwrap()]
    }

    fn partition(&mut self) -> i32 {
        self.any(PARTITIONS)
    }

    fn starts(&mut self) {
        let timeout = self.any([1, 30, 60_000]);
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(timeout)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let response = self.connection.call(4, &request);
        if response.error_code == 0 {
            self.latest.set(response.producer_id.0, response.producer_epoch);
        }
    }

    fn adds(&mut self, producer: i64, epoch: i16) {
        let partitions = vec![self.partition()];
        let topic = AddPartitionsToTxnTopic::default().with_name(raw::name(TOPIC));
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_producer_id(producer.into())
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![topic.with_partitions(partitions)]);
        self.connection.call(3, &request);
    }

    fn writes(&mut self, producer: i64, epoch: i16) {
        let mut batch = BatchBuilder::new().producer(producer, epoch, 0).transactional(true);
        batch.push(&NewRecord { timestamp: 1_700_000_000_000, value: Some(b"v"), ..NewRecord::default() });
        let version = self.any([9, 12, 12]);
        let request = raw::produce(TOPIC, self.partition(), -1, batch.build().unwrap());
        self.connection.call::<ProduceRequest>(version, &request.with_transactional_id(Some(id())));
    }

    fn commits_an_offset(&mut self, producer: i64, epoch: i16) {
        let place = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(self.partition())
            .with_committed_offset(1);
        let topic = TxnOffsetCommitRequestTopic::default().with_name(raw::name(TOPIC));
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
            .with_producer_id(producer.into())
            .with_producer_epoch(epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic.with_partitions(vec![place])]);
        let version = if self.random.below(2) == 0 { 3 } else { 5 };
        self.connection.call(version, &request);
    }

    fn ends(&mut self, producer: i64, epoch: i16) {
        let request = EndTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(producer.into())
            .with_producer_epoch(epoch)
            .with_committed(self.random.below(2) == 0);
        let newer = self.random.below(2) == 0;
        let response = self.connection.call(if newer { 5 } else { 3 }, &request);
        if newer && response.error_code == 0 {
            self.latest.set(response.producer_id.0, response.producer_epoch);
        }
    }
}

/// Takes the transactional id over, which ends what is open.
fn take_over(connection: &mut Connection) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let began = Instant::now();
    while connection.call(4, &request).error_code != 0 {
        assert!(began.elapsed() < QUIET, "its last transaction does not end");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_crowd_under_one_transactional_id_leaves_nothing_hanging() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    connection.patience(PATIENCE);
    raw::create(&mut connection, TOPIC, 3, &[]);
    take_over(&mut connection);
    let (latest, end) = (Arc::new(Latest::default()), Instant::now() + LASTS);
    let crowd: Vec<_> = (0..CLIENTS)
        .map(|user| {
            let own = Connection::to(broker.address());
            own.patience(PATIENCE);
            let random = Random::new(u64::from(std::process::id()), user);
            let stranger = Stranger { connection: own, random, latest: Arc::clone(&latest) };
            thread::spawn(move || stranger.goes_on_until(end))
        })
        .collect();
    crowd.into_iter().for_each(|one| one.join().unwrap());
    take_over(&mut connection);

    let all = PARTITIONS.to_vec();
    let topic = TopicRequest::default().with_name(raw::name(TOPIC)).with_partition_indexes(all.clone());
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    for partition in &connection.call(0, &request).topics[0].partitions {
        let producers = partition.active_producers.iter();
        let open: Vec<_> = producers.filter(|producer| producer.current_txn_start_offset >= 0).collect();
        assert!(open.is_empty(), "of nobody: {open:?}");
    }
    for index in PARTITIONS {
        let fetch = raw::fetch(TOPIC, index, 0, 0).with_isolation_level(1);
        let response = connection.call::<FetchRequest>(11, &fetch);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.last_stable_offset, partition.high_watermark, "{TOPIC}-{index}");
        assert!(partition.high_watermark > 0, "something was written");
    }
    let topic = OffsetFetchRequestTopic::default().with_name(raw::name(TOPIC)).with_partition_indexes(all);
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
        .with_topics(Some(vec![topic]))
        .with_require_stable(true);
    for partition in &connection.call(7, &request).topics[0].partitions {
        assert_eq!(partition.error_code, 0, "an offset is pending for ever: {partition:?}");
    }
}
