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
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use tempfile::TempDir;

use crate::latencies::{Latencies, meanwhile};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const PARTITIONS: i32 = 4;
const BATCH_BYTES: usize = 256 * 1024;
/// Of each producer; there is one for each partition.
const IN_FLIGHT: usize = 8;
const OFFSET_OUT_OF_RANGE: i16 = 1;
/// A segment is a quarter of what a partition keeps.
const SEGMENTS: u64 = 4;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// A memory cgroup of this test's; gone with it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(bytes: u64) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").expect("this process's cgroups");
        let v1 = own.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::"));
        let (above, limit) = match v1 {
            Some(path) => (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"),
            None => (format!("/sys/fs/cgroup{}", v2.expect("a cgroup")), "memory.max"),
        };
        let cgroup = Path::new(&above).join(format!("streamd-pressure-{}", std::process::id()));
        fs::create_dir(&cgroup).expect("a cgroup can be made, which takes root");
        let cgroup = Self(cgroup);
        fs::write(cgroup.0.join(limit), bytes.to_string()).expect("its limit can be set");
        cgroup
    }

    /// A shell's line that enters it.
    fn entry(&self) -> String {
        format!("echo $$ > {}/cgroup.procs && ", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{} stays", self.0.display());
    }
}

/// Bytes a second that a file takes which is written from its beginning to its end and synced.
fn disk_speed(dir: &Path, bytes: usize) -> f64 {
    let path = dir.join("sequential");
    let piece = vec![7; 1 << 20];
    let began = Instant::now();
    let mut file = File::create(&path).expect("a file");
    for _ in 0..bytes >> 20 {
        file.write_all(&piece).expect("it is written");
    }
    file.sync_data().expect("it is synced");
    let speed = bytes as f64 / began.elapsed().as_secs_f64();
    fs::remove_file(path).expect("it goes again");
    speed
}

/// Has some requests under way until it is over; what was acknowledged is counted.
fn writes(broker: &Broker, partition: i32, over: &AtomicBool, written: &AtomicU64) -> Latencies {
    let mut connection = Connection::to(broker.address());
    let request = raw::produce("t", partition, -1, raw::batch(&[&[7; BATCH_BYTES]]));
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

/// Reads what comes, as soon as it comes: how long each fetch took.
fn follows(broker: &Broker, index: i32, over: &AtomicBool) -> Latencies {
    let mut connection = Connection::to(broker.address());
    let mut latencies = Latencies::default();
    let (mut next, mut lost) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let response = connection.call::<FetchRequest>(11, &raw::fetch("t", index, next, 500));
        let partition = &response.responses[0].partitions[0];
        if partition.error_code == OFFSET_OUT_OF_RANGE {
            lost += 1;
            next = partition.log_start_offset;
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
        eprintln!("partition {index}: the reader fell behind what is kept, {lost} times");
    }
    latencies
}

/// All writers and readers until it is over: how long requests and fetches took.
fn load(broker: &Broker, over: &AtomicBool, written: &AtomicU64) -> (Latencies, Latencies) {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                let reader = scope.spawn(move || follows(broker, partition, over));
                (scope.spawn(move || writes(broker, partition, over, written)), reader)
            })
            .collect();
        let (writers, readers): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
        let together = |all: Vec<thread::ScopedJoinHandle<'_, Latencies>>| {
            Latencies::together(all.into_iter().map(|one| one.join().expect("all goes well")))
        };
        (together(writers), together(readers))
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
    let probe_bytes = usize::try_from((2 * memory).max(64 << 20)).unwrap();
    let before = disk_speed(beside.path(), probe_bytes);
    let cgroup = (memory > 0).then(|| Cgroup::new(memory));
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
