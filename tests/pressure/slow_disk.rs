//! A disk that hardly writes any more: what the broker does for those who need nothing of it goes on, and what waits is
//! Produce alone, once as many bytes are unsynced as may be.
//!
//! The disk stands still by a rule of the injector: its syncs do not return. That is a slow disk at its worst, and the
//! same on every machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    FetchRequest, GroupId, HeartbeatRequest, JoinGroupRequest, MetadataRequest, OffsetCommitRequest,
    ProduceRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::cgroup::Cgroup;
use crate::injector::{self, Faults, READS, SYNCS};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const MIB: usize = 1 << 20;
/// What the injector takes for "let it stand still".
const HOLDS: i32 = 0;
/// What the broker may use. A tenth of it may be unsynced.
const MEMORY_BYTES: usize = 320 * MIB;
const UNSYNCED_BYTES_MAX: usize = 32 * MIB;
const REQUEST_BYTES: usize = 64 * 1024;
const WRITERS: usize = 4;
/// Of each writer; what is under way when the bytes are full still goes through.
const IN_FLIGHT: usize = 16;
/// More than the broker has threads for reads that wait.
const READERS: usize = 200;
/// How long anything that does not wait for the disk may take. What waits for it waits for ever here.
const SOON: Duration = Duration::from_secs(5);
/// After this long without an answer somebody waits.
const WAITS: Duration = Duration::from_millis(700);

/// A member of the group `g` that commits as it goes.
pub(crate) struct Member {
    connection: Connection,
    id: StrBytes,
    generation: i32,
    commits: bool,
}

impl Member {
    pub(crate) fn join(broker: &Broker, commits: bool) -> Self {
        let mut connection = Connection::to(broker.address());
        let group = GroupId(StrBytes::from_static_str("g"));
        let range = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
        let join = JoinGroupRequest::default()
            .with_group_id(group.clone())
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![range.with_metadata(Bytes::from_static(b"m"))]);
        let joined = connection.call(3, &join);
        assert_eq!(joined.error_code, 0);
        let (id, generation) = (joined.member_id, joined.generation_id);
        let sync = SyncGroupRequest::default()
            .with_group_id(group)
            .with_generation_id(generation)
            .with_member_id(id.clone());
        assert_eq!(connection.call(3, &sync).error_code, 0);
        let mut member = Self { connection, id, generation, commits };
        member.goes_on();
        member
    }

    /// A heartbeat and, where that does not wait for the disk, a commit are answered soon.
    pub(crate) fn goes_on(&mut self) {
        self.connection.patience(SOON);
        let group = GroupId(StrBytes::from_static_str("g"));
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        assert_eq!(self.connection.ask(3, &heartbeat).expect("a heartbeat waits").error_code, 0);
        if !self.commits {
            return;
        }
        let place = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
        let topic =
            OffsetCommitRequestTopic::default().with_name(raw::name("t")).with_partitions(vec![place]);
        let commit = OffsetCommitRequest::default()
            .with_group_id(group)
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        let committed = self.connection.ask(7, &commit).expect("a commit waits");
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    }
}

pub(crate) fn is_served_soon(connection: &mut Connection, what: &str) {
    connection.patience(SOON);
    let metadata = MetadataRequest::default().with_topics(None);
    assert!(connection.ask(9, &metadata).is_ok(), "Metadata waits: {what}");
}

/// The first record of a topic is read soon.
pub(crate) fn is_read_soon(connection: &mut Connection, topic: &str) {
    connection.patience(SOON);
    let response = connection.ask(11, &raw::fetch(topic, 0, 0, 0).with_max_bytes(1)).expect("a fetch waits");
    let (error, _, records) = raw::fetched(&response, 0);
    assert!(error == 0 && !records.is_empty(), "error {error}, {} records", records.len());
}

/// Writers that have some requests under way, each on a partition of its own, until they are told to end.
struct Writers {
    answered: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(broker: &Broker, topic: &'static str) -> Self {
        let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = (0..WRITERS)
            .map(|n| {
                let mut connection = Connection::to(broker.address());
                connection.patience(Duration::from_secs(60));
                let (answered, over) = (Arc::clone(&answered), Arc::clone(&over));
                thread::spawn(move || {
                    let batch = raw::batch(&[&[7; REQUEST_BYTES]]);
                    let request = raw::produce(topic, i32::try_from(n).unwrap(), 1, batch);
                    let (_, frame) = connection.frame(9, &request);
                    (0..IN_FLIGHT).for_each(|_| connection.write(&frame).unwrap());
                    let mut under_way = IN_FLIGHT;
                    while under_way > 0 {
                        let (_, response) =
                            connection.answer::<ProduceRequest>(9).expect("an answer, at last");
                        assert_eq!(raw::produced(&response).0, 0);
                        answered.fetch_add(1, Ordering::SeqCst);
                        under_way -= 1;
                        if !over.load(Ordering::SeqCst) {
                            connection.write(&frame).unwrap();
                            under_way += 1;
                        }
                    }
                })
            })
            .collect();
        Self { answered, over, threads }
    }

    fn bytes(&self) -> usize {
        self.answered.load(Ordering::SeqCst) * REQUEST_BYTES
    }

    /// Waits until none of them is answered any more; how many bytes were.
    fn wait_until_held_back(&self) -> usize {
        let began = Instant::now();
        let mut last = usize::MAX;
        while last != self.bytes() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing holds them back");
            last = self.bytes();
            thread::sleep(WAITS);
        }
        last
    }

    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a writer ends well"));
    }
}

/// A broker with topics `t` and `u`, a record in `t`, and somebody who has produced and is owed nothing.
fn scene(config: &str) -> Option<(Broker, Faults, Connection)> {
    injector::broker(config).map(scene_with)
}

fn scene_with((broker, faults): (Broker, Faults)) -> (Broker, Faults, Connection) {
    let mut connection = Connection::to(broker.address());
    let partitions = i32::try_from(WRITERS).unwrap();
    raw::create(&mut connection, "t", partitions, &[]);
    raw::create(&mut connection, "u", partitions, &[]);
    for topic in ["t", "u"] {
        for partition in 0..partitions {
            let response = connection.call(9, &raw::produce(topic, partition, -1, raw::batch(&[&[7; 1000]])));
            assert_eq!(raw::produced(&response).0, 0);
        }
    }
    (broker, faults, connection)
}

fn holds_back_produce_alone(fsync: &str, commits: bool) {
    let _alone = crate::alone();
    let config = format!("[memory]\nlimit = \"{MEMORY_BYTES}\"\n[durability]\nfsync = \"{fsync}\"\n");
    let Some((broker, faults, mut produced)) = scene(&config) else { return };
    let mut member = Member::join(&broker, commits);
    let mut reader = Connection::to(broker.address());
    faults.set(&SYNCS, "*", HOLDS, 0);
    let writers = Writers::start(&broker, "t");
    let taken = writers.wait_until_held_back();
    eprintln!("{fsync}: {taken} bytes are taken while nothing is synced");
    is_as_much_as_may_be_unsynced(taken);

    for _ in 0..3 {
        is_read_soon(&mut reader, "t");
        is_served_soon(&mut reader, "on a connection that reads");
        is_served_soon(&mut produced, "on a connection that has produced");
        member.goes_on();
    }
    // Whoever comes with more waits as well.
    let mut late = Connection::to(broker.address());
    is_served_soon(&mut late, "on a new connection");
    late.send(9, &raw::produce("u", 0, 1, raw::batch(&[b"late"]))).unwrap();
    late.patience(WAITS);
    assert!(late.receive().is_err(), "it was taken though there is no room");

    faults.clear();
    late.patience(Duration::from_secs(30));
    assert_eq!(raw::produced(&late.answer::<ProduceRequest>(9).expect("it is taken now").1).0, 0);
    let before = writers.bytes();
    let began = Instant::now();
    while writers.bytes() < before + UNSYNCED_BYTES_MAX {
        assert!(began.elapsed() < Duration::from_secs(60), "the writers do not go on");
        thread::sleep(Duration::from_millis(20));
    }
    writers.end();
    member.goes_on();
}

fn is_as_much_as_may_be_unsynced(taken: usize) {
    let under_way = WRITERS * IN_FLIGHT * REQUEST_BYTES;
    assert!(taken + under_way >= UNSYNCED_BYTES_MAX, "{taken} bytes are too few to be held back for");
    assert!(taken <= UNSYNCED_BYTES_MAX + under_way, "{taken} bytes are more than may be unsynced");
}

#[test]
fn what_may_be_unsynced_follows_the_cgroups_memory() {
    let _alone = crate::alone();
    let Some(cgroup) = Cgroup::new(MEMORY_BYTES as u64) else { return };
    let enter = format!("{}exec \"$0\" \"$@\"", cgroup.entry());
    let enter = ["/bin/sh", "-c", &enter].map(str::to_owned);
    let started = injector::broker_behind(&enter, "[durability]\nfsync = \"interval(1s)\"\n");
    let Some((broker, faults, _produced)) = started.map(scene_with) else { return };
    faults.set(&SYNCS, "*", HOLDS, 0);
    let writers = Writers::start(&broker, "t");
    is_as_much_as_may_be_unsynced(writers.wait_until_held_back());
    faults.clear();
    writers.end();
}

#[test]
fn a_disk_that_does_not_sync_holds_back_produce_alone() {
    holds_back_produce_alone("interval(1s)", true);
}

#[test]
fn a_disk_that_does_not_sync_holds_back_what_waits_for_it_and_produce_alone_in_batch_mode() {
    holds_back_produce_alone("batch", false);
}

#[test]
fn writes_that_stand_still_hold_up_nobody_but_their_partitions() {
    let _alone = crate::alone();
    let Some((broker, faults, mut produced)) = scene("[durability]\nfsync = \"interval(100ms)\"\n") else {
        return;
    };
    let mut member = Member::join(&broker, true);
    let mut reader = Connection::to(broker.address());
    // As a disk gets slow: syncs take long, and then writes into the page cache wait for it, too.
    faults.set(&SYNCS, "*", HOLDS, 0);
    assert_eq!(raw::produced(&produced.call(9, &raw::produce("u", 0, 1, raw::batch(&[b"dirty"])))).0, 0);
    thread::sleep(Duration::from_millis(1_500));
    let writes = ["pwrite", "pwritev", "pwritev2"];
    let rules: Vec<&str> = SYNCS.iter().chain(&writes).copied().collect();
    faults.forget();
    faults.set(&rules, "/t-", HOLDS, 0);
    let writers = Writers::start(&broker, "t");
    let began = Instant::now();
    while faults.met().iter().filter(|met| met.starts_with("pwrite")).count() < WRITERS {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", faults.met());
        thread::sleep(Duration::from_millis(20));
    }
    produced.patience(SOON);
    for partition in 0..i32::try_from(WRITERS).unwrap() {
        is_read_soon(&mut reader, "t");
        is_served_soon(&mut reader, "on a connection that reads");
        member.goes_on();
        let request = raw::produce("u", partition, 1, raw::batch(&[b"other"]));
        let response = produced.ask(9, &request).expect("another partition waits");
        assert_eq!(raw::produced(&response).0, 0);
    }
    assert_eq!(writers.bytes(), 0, "they stand still");
    faults.clear();
    writers.end();
    let mut all = Connection::to(broker.address());
    let response: kafka_protocol::messages::FetchResponse =
        all.call::<FetchRequest>(11, &raw::fetch("t", 0, 0, 0));
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1 + i64::try_from(IN_FLIGHT).unwrap());
}

#[test]
fn reads_that_stand_still_hold_up_nobody_but_their_readers() {
    let _alone = crate::alone();
    let Some((broker, faults, mut produced)) = scene("[durability]\nfsync = \"interval(100ms)\"\n") else {
        return;
    };
    let mut member = Member::join(&broker, true);
    let mut reader = Connection::to(broker.address());
    // What is in segments that are no longer written to.
    raw::create(&mut produced, "cold", 1, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    let large = raw::produce("cold", 0, -1, raw::batch(&[&vec![7; 900_000]]));
    (0..2).for_each(|_| assert_eq!(raw::produced(&produced.call(9, &large)).0, 0));
    // Syncs, too: what is appended to a slow disk goes to threads of the kind that reads wait on.
    faults.set(&SYNCS, "*", HOLDS, 0);
    assert_eq!(raw::produced(&produced.call(9, &raw::produce("u", 0, 1, raw::batch(&[b"dirty"])))).0, 0);
    thread::sleep(Duration::from_millis(1_500));
    let rules: Vec<&str> = SYNCS.iter().chain(&READS).copied().collect();
    faults.set(&rules, "/cold-", HOLDS, 0);
    let mut readers: Vec<_> = (0..READERS).map(|_| Connection::to(broker.address())).collect();
    for reader in &mut readers {
        reader.send(11, &raw::fetch("cold", 0, 0, 0).with_max_bytes(1)).unwrap();
    }
    thread::sleep(Duration::from_millis(1_000));
    produced.patience(SOON);
    for partition in 0..i32::try_from(WRITERS).unwrap() {
        is_read_soon(&mut reader, "u");
        is_served_soon(&mut reader, "on a connection that reads");
        member.goes_on();
        let request = raw::produce("u", partition, 1, raw::batch(&[b"other"]));
        let response = produced.ask(9, &request).expect("another partition waits");
        assert_eq!(raw::produced(&response).0, 0);
    }
    readers[0].patience(WAITS);
    assert!(readers[0].receive().is_err(), "it was read from a disk that stands still");
    faults.clear();
    for reader in &mut readers {
        reader.patience(Duration::from_secs(30));
        let (_, response) = reader.answer::<FetchRequest>(11).expect("it is read now");
        let (error, _, records) = raw::fetched(&response, 0);
        assert!(error == 0 && records.len() == 1, "error {error}, {} records", records.len());
    }
}
