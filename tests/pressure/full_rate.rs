//! Full rate for long, with more data than memory: how much of the disk's own speed is left, and how soon the tail is
//! read meanwhile.
//!
//! By default a few seconds, which say nothing of a disk but that everything goes on. For figures:
//!
//! ```text
//! PRESSURE_SECONDS=600 PRESSURE_MEMORY_MIB=1024 PRESSURE_KEPT_MIB=1024 PRESSURE_DIR=/mnt/disk PRESSURE_BROKER=... \
//!     cargo test --release --test pressure full_rate -- --nocapture
//! ```
//!
//! `PRESSURE_MEMORY_MIB` puts the broker into a memory cgroup of this size, which takes root; `PRESSURE_KEPT_MIB` is
//! `retention.bytes` of each of the four partitions; `PRESSURE_FSYNC` the mode, `interval(1s)` if not said.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest};
use tempfile::TempDir;

use crate::cgroup::Cgroup;
use crate::latencies::{Latencies, meanwhile};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const PARTITIONS: i32 = 4;
const BATCH_BYTES: usize = 256 * 1024;
/// Of each producer; there is one for each partition.
const IN_FLIGHT: usize = 8;
/// As Kafka's consumer does by default.
const FETCH_BYTES: i32 = 1 << 20;
const OFFSET_OUT_OF_RANGE: i16 = 1;
/// A segment is a quarter of what a partition keeps.
const SEGMENTS: u64 = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Bytes a second that as many files take as there are partitions, each written from its beginning to its end and synced
/// whenever there are some megabytes.
fn disk_speed(dir: &Path, bytes: usize) -> f64 {
    let piece = noise(1 << 20);
    let write = |nth: i32| {
        let path = dir.join(format!("sequential-{nth}"));
        let mut file = File::create(&path).expect("a file");
        for written in 1..=bytes >> 20 {
            file.write_all(&piece).expect("it is written");
            if written % 16 == 0 || written == bytes >> 20 {
                file.sync_data().expect("it is synced");
            }
        }
        fs::remove_file(path).expect("it goes again");
    };
    let began = Instant::now();
    thread::scope(|scope| (0..PARTITIONS).for_each(|nth| drop(scope.spawn(move || write(nth)))));
    bytes as f64 * f64::from(PARTITIONS) / began.elapsed().as_secs_f64()
}

/// What nobody can make smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Has some requests under way until it is over; what was acknowledged is counted.
fn writes(broker: &Broker, partition: i32, over: &AtomicBool, written: &AtomicU64) -> Latencies {
    let mut connection = Connection::to(broker.address());
    let request = raw::produce("t", partition, -1, raw::batch(&[&noise(BATCH_BYTES)]));
    let (_, frame) = connection.frame(9, &request);
    let mut sent = std::collections::VecDeque::new();
    let mut latencies = Latencies::default();
    while !(over.load(Ordering::Relaxed) && sent.is_empty()) {
        while sent.len() < IN_FLIGHT && !over.load(Ordering::Relaxed) {
            sent.push_back(Instant::now());
            connection.write(&frame).expect("it is taken");
        }
        let Some(began) = sent.pop_front() else { break };
        let (_, response) = connection.answer::<ProduceRequest>(9).expect("an answer");
        assert_eq!(raw::produced(&response).0, 0);
        latencies.push(began.elapsed());
        written.fetch_add(BATCH_BYTES as u64, Ordering::Relaxed);
    }
    latencies
}

/// Reads what comes to the first partition, as soon as it comes: how long each fetch took.
fn follows(broker: &Broker, over: &AtomicBool) -> Latencies {
    let mut connection = Connection::to(broker.address());
    let mut latencies = Latencies::default();
    let (mut next, mut lost) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let fetch = raw::fetch("t", 0, next, 500);
        let response = connection.call::<FetchRequest>(11, &fetch.with_max_bytes(FETCH_BYTES));
        let partition = &response.responses[0].partitions[0];
        if partition.error_code == OFFSET_OUT_OF_RANGE {
            // As Kafka's consumer does by default: it goes on with what comes.
            lost += 1;
            next = latest(&mut connection);
            continue;
        }
        assert_eq!(partition.error_code, 0);
        let bytes = partition.records.as_ref().map_or(0, Bytes::len);
        if bytes > 0 {
            latencies.push(began.elapsed());
        }
        // A record in each batch.
        next += i64::try_from(bytes / BATCH_BYTES).unwrap();
    }
    if lost > 0 {
        eprintln!("the reader fell behind what is kept, {lost} times");
    }
    latencies
}

fn latest(connection: &mut Connection) -> i64 {
    let place = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
    let topic = ListOffsetsTopic::default().with_name(raw::name("t")).with_partitions(vec![place]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    connection.call(5, &request).topics[0].partitions[0].offset
}

/// All writers and a reader until it is over: how long requests and fetches took.
fn load(broker: &Broker, over: &AtomicBool, written: &AtomicU64) -> (Latencies, Latencies) {
    thread::scope(|scope| {
        let reader = scope.spawn(move || follows(broker, over));
        let writers: Vec<_> = (0..PARTITIONS)
            .map(|partition| scope.spawn(move || writes(broker, partition, over, written)))
            .collect();
        let writers = writers.into_iter().map(|one| one.join().expect("all goes well"));
        (Latencies::together(writers), reader.join().expect("all goes well"))
    })
}

#[test]
fn full_rate_goes_on_with_more_data_than_memory() {
    let _alone = crate::alone();
    let seconds = number("PRESSURE_SECONDS", 2);
    let memory = number("PRESSURE_MEMORY_MIB", 0) << 20;
    let kept = number("PRESSURE_KEPT_MIB", 128) << 20;
    let fsync = std::env::var("PRESSURE_FSYNC").unwrap_or_else(|_| "interval(1s)".to_owned());
    let dir = std::env::var_os("PRESSURE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = TempDir::new_in(dir).expect("a directory for the data");
    let beside = TempDir::new_in(dir.path().parent().expect("it is in one")).expect("a directory beside it");
    let probe_bytes = usize::try_from((memory / 2).max(16 << 20)).unwrap();
    let before = disk_speed(beside.path(), probe_bytes);
    let cgroup = (memory > 0).then(|| Cgroup::memory(memory).expect("a memory cgroup"));
    let entry = cgroup.as_ref().map(Cgroup::entry).unwrap_or_default();
    let broker = crate::broker_in(dir, &format!("[durability]\nfsync = \"{fsync}\"\n"), &entry);
    let settings =
        [("retention.bytes", kept), ("segment.bytes", kept / SEGMENTS), ("retention.ms", u64::MAX)];
    let settings = settings
        .map(|(key, value)| (key, if value == u64::MAX { "-1".to_owned() } else { value.to_string() }));
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    raw::create(&mut Connection::to(broker.address()), "t", PARTITIONS, &settings);

    let (written, mut said) = (AtomicU64::new(0), 0);
    let began = Instant::now();
    let measure = |over: &AtomicBool| load(&broker, over, &written);
    let (produced, fetched) = meanwhile(measure, || {
        while began.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_secs(1));
            let all = written.load(Ordering::Relaxed);
            if began.elapsed().as_secs().is_multiple_of(10) {
                eprintln!("{:>4.0} s: {} MB/s", began.elapsed().as_secs_f64(), (all - said) / 1_000_000);
            }
            said = all;
        }
    });
    let took = began.elapsed().as_secs_f64();
    // What is not on disk by now was not written at the disk's speed.
    drop(broker);
    let speed = written.into_inner() as f64 / took;
    let after = if seconds > 10 { disk_speed(beside.path(), probe_bytes) } else { before };
    let disk = f64::midpoint(before, after);
    eprintln!(
        "{fsync}: {:.0} MB/s for {took:.0} s, {:.2} of the disk's {:.0} MB/s ({:.0} before, {:.0} after)",
        speed / 1e6,
        speed / disk,
        disk / 1e6,
        before / 1e6,
        after / 1e6
    );
    eprintln!("produce: {produced}\nfetch at the tail: {fetched}");
    assert!(produced.count() > 0 && fetched.count() > 0, "nothing goes on");
}
