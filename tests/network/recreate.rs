//! A topic that is deleted and made again, over and over, under clients that go on using it by its name and by ids that
//! are old: each life of the topic has its own records, and nobody is told that the disk has failed.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use streamd::storage::layout::{parse_dir, read_partition_metadata};
use streamd::types::TopicId;
use uuid::Uuid;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// What may be answered about a topic that comes and goes.
const THERE_OR_NOT: [i16; 3] = [0, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID];

/// The clients' view of the topic, and what they found.
#[derive(Default)]
struct Shared {
    /// The topic's newest id; it may be deleted already.
    id: Mutex<Uuid>,
    over: AtomicBool,
    /// Requests that found a topic.
    found: AtomicU32,
    /// And those that found none.
    missed: AtomicU32,
}

impl Shared {
    fn note(&self, what: &str, error: i16) {
        assert!(THERE_OR_NOT.contains(&error), "{what}: error {error}");
        let count = if error == 0 { &self.found } else { &self.missed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Sets `over` also when the test fails: its threads are waited for.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// A value that says to which life of the topic it belongs.
fn value(id: Uuid, padding: usize) -> Vec<u8> {
    [id.as_bytes(), &vec![b'.'; padding][..]].concat()
}

fn produce_by_id(connection: &mut Connection, id: Uuid, acks: i16, records: Bytes) -> (i16, i64) {
    let mut request = raw::produce("", 0, acks, records);
    request.topic_data[0].topic_id = id;
    raw::produced(&connection.call(13, &request))
}

fn create(connection: &mut Connection) -> Uuid {
    let segments = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("segment.bytes"))
        .with_value(Some(StrBytes::from_static_str("20000")));
    let topic = CreatableTopic::default()
        .with_name(raw::name("t"))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![segments]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let response = connection.call(7, &request);
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    response.topics[0].topic_id
}

fn delete(connection: &mut Connection) {
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![raw::name("t")]).with_timeout_ms(30_000);
    assert_eq!(connection.call(4, &request).responses[0].error_code, 0);
}

fn keep_producing(address: &str, shared: &Shared, nth: usize) {
    let mut connection = Connection::to(address);
    let acks = if nth.is_multiple_of(2) { -1 } else { 1 };
    // Some fill segments, so that there are rolls and checkpoints, too.
    let padding = if nth.is_multiple_of(3) { 10_000 } else { 10 };
    while !shared.is_over() {
        let id = *shared.id.lock();
        let (error, _) = produce_by_id(&mut connection, id, acks, raw::batch(&[&value(id, padding)]));
        shared.note("produce", error);
    }
}

fn keep_reading(address: &str, shared: &Shared, by_id: bool) {
    let mut connection = Connection::to(address);
    while !shared.is_over() {
        let id = *shared.id.lock();
        let mut request = raw::fetch(if by_id { "" } else { "t" }, 0, 0, 100);
        if by_id {
            request.topics[0].topic_id = id;
        }
        let response = connection.call(if by_id { 13 } else { 11 }, &request);
        let (error, _, records) = raw::fetched(&response, 0);
        shared.note("fetch", error);
        let mut lives: Vec<_> = records.iter().map(|read| &read.value[..16]).collect();
        lives.dedup();
        assert!(lives.len() < 2, "one answer holds records of {} topics", lives.len());
        assert!(!by_id || lives.is_empty() || lives == [id.as_bytes()], "another topic's records");
    }
}

fn keep_asking(address: &str, shared: &Shared) {
    let mut connection = Connection::to(address);
    // The first record, the last one, the one with the largest time, and one by its time.
    for timestamp in [-2, -1, -3, 5].into_iter().cycle().take_while(|_| !shared.is_over()) {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(raw::name("t")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let response = connection.call(7, &request);
        shared.note("list offsets", response.topics[0].partitions[0].error_code);
    }
}

/// Whose the directory of the topic's partition is.
fn owner(broker: &Broker) -> Option<TopicId> {
    read_partition_metadata(&broker.data().join("t-0")).unwrap()
}

fn live(broker: &Broker, shared: &Shared, cycles: u32) {
    let _over = Over(shared);
    let mut connection = Connection::to(broker.address());
    for cycle in 0..cycles {
        let id = create(&mut connection);
        *shared.id.lock() = id;
        let first = produce_by_id(&mut connection, id, -1, raw::batch(&[&value(id, 1)]));
        assert_eq!(first.0, 0, "the topic is there");
        let owned_by = Some(TopicId::from_bytes(id.into_bytes()));
        assert_eq!(owner(broker), owned_by);
        thread::sleep(Duration::from_millis(u64::from(cycle % 4) * 4));
        let held = raw::read_all(&mut connection, "t", 0);
        assert!(held.iter().all(|read| read.value[..16] == *id.as_bytes()), "records of another life");
        assert!(i64::try_from(held.len()).unwrap() > first.1, "an acknowledged record is gone");
        assert_eq!(owner(broker), owned_by, "somebody else took the directory");
        delete(&mut connection);
    }
}

fn partition_dirs(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| parse_dir(name).is_some_and(|dir| dir.topic == "t")).collect()
}

#[test]
fn each_life_of_a_topic_has_its_own_records_and_leaves_nothing_behind() {
    let mut broker = Broker::start();
    let shared = Shared::default();
    thread::scope(|scope| {
        let address = broker.address();
        for nth in 0..8 {
            scope.spawn({
                let shared = &shared;
                move || keep_producing(address, shared, nth)
            });
        }
        for by_id in [true, false] {
            scope.spawn({
                let shared = &shared;
                move || keep_reading(address, shared, by_id)
            });
        }
        scope.spawn(|| keep_asking(address, &shared));
        live(&broker, &shared, 100);
    });
    let (found, missed) = (shared.found.into_inner(), shared.missed.into_inner());
    assert!(found > 100 && missed > 100, "nothing was tried: {found} found it, {missed} did not");

    let began = Instant::now();
    while !partition_dirs(&broker.data()).is_empty() {
        let left = partition_dirs(&broker.data());
        assert!(began.elapsed() < Duration::from_secs(60), "files of deleted topics stay: {left:?}");
        thread::sleep(Duration::from_millis(10));
    }
    broker.restart();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    assert!(raw::read_all(&mut Connection::to(broker.address()), "t", 0).is_empty());
    let log = broker.log();
    let faults: Vec<_> = log.lines().filter(|line| line.contains("\"ERROR\"")).collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(!log.contains("-stray"), "a directory was taken for a stranger's");
}
