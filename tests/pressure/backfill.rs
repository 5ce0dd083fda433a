//! A reader that goes through what is no longer in memory beside readers at the tail.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use tempfile::TempDir;

use crate::cgroup::Cgroup;
use crate::latencies::{Latencies, meanwhile};
use crate::support::Broker;
use crate::support::cold::{self, DiskReads};
use crate::support::raw::{self, Connection};

const BATCH_BYTES: usize = 1_000_000;
const SEGMENT_BYTES: usize = 64 << 20;
/// What the reader goes through, again and again: three segments, and the beginning of one that grows. Of that the broker
/// has mapped what was read, and the kernel forgets nothing that is mapped.
const COLD_BATCHES: usize = 3 * (SEGMENT_BYTES / BATCH_BYTES) + 1;
/// Written at the tail: 20 MB/s.
const TAIL_BATCH_BYTES: usize = 40_000;
const TAIL_PAUSE: Duration = Duration::from_millis(2);
const LASTS: Duration = Duration::from_secs(3);
/// What the disk gives in a second where it can be made slow. An answer of a mebibyte takes a tenth of a second then, and
/// what the system reads ahead nearly a whole one; those at the tail would fall behind if they waited for that.
const DISK_BYTES: u64 = 10 << 20;
/// Where it cannot, the reader does not take all that a machine has.
const READ_PAUSE: Duration = Duration::from_millis(100);
/// What the reader's reading may cost those at the tail.
const WORSE_MAX: Duration = Duration::from_millis(250);

/// Reads all of the cold topic, forgets it and begins anew, until it is over.
fn reads_back(broker: &Broker, pause: Duration, over: &AtomicBool, read: &AtomicUsize) {
    let mut connection = Connection::to(broker.address());
    let cold = fs::read_dir(broker.data()).unwrap().flatten().map(|entry| entry.path());
    let cold =
        cold.into_iter().find(|path| path.to_string_lossy().contains("cold-0")).expect("its directory");
    let mut next = 0;
    while !over.load(Ordering::Relaxed) {
        if next == 0 {
            cold::forget(&cold);
        }
        let response = connection.call(11, &raw::fetch("cold", 0, next, 0));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let bytes = partition.records.as_ref().map_or(0, Bytes::len);
        read.fetch_add(bytes, Ordering::Relaxed);
        // A record in each batch.
        next += i64::try_from(bytes / BATCH_BYTES).unwrap();
        if next >= partition.high_watermark {
            next = 0;
        }
        thread::sleep(pause);
    }
}

/// One that waits at the tail of a partition: how long each record took from when it was due to be sent.
fn follows(broker: &Broker, partition: i32, over: &AtomicBool) -> Latencies {
    let mut connection = Connection::to(broker.address());
    let found = connection.call(11, &raw::fetch("hot", partition, 0, 0));
    let mut next = found.responses[0].partitions[0].high_watermark;
    let mut latencies = Latencies::default();
    while !over.load(Ordering::Relaxed) {
        let response = connection.call::<FetchRequest>(11, &raw::fetch("hot", partition, next, 500));
        let now = micros(since_start());
        let (error, _, records) = raw::fetched(&response, next);
        assert_eq!(error, 0);
        for record in records {
            let sent = record.value.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            latencies.push(Duration::from_micros(now.saturating_sub(sent)));
            next = record.offset + 1;
        }
    }
    latencies
}

/// Writes at a steady rate, as far as it can keep to it.
fn writes(broker: &Broker, over: &AtomicBool) {
    let mut connection = Connection::to(broker.address());
    let mut due = since_start();
    let mut value = vec![7; TAIL_BATCH_BYTES];
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        due += TAIL_PAUSE;
        thread::sleep(due.saturating_sub(since_start()));
        // Late ones count from when they were due.
        value[..8].copy_from_slice(&micros(due).to_be_bytes());
        let request = raw::produce("hot", n % 2, 1, raw::batch(&[&value]));
        assert_eq!(raw::produced(&connection.call::<ProduceRequest>(9, &request)).0, 0);
    }
}

fn tail(broker: &Broker) -> Latencies {
    let all = |over: &AtomicBool| {
        thread::scope(|scope| {
            let readers: Vec<_> =
                (0..2).map(|partition| scope.spawn(move || follows(broker, partition, over))).collect();
            writes(broker, over);
            Latencies::together(readers.into_iter().map(|reader| reader.join().expect("a reader goes on")))
        })
    };
    meanwhile(all, || thread::sleep(LASTS))
}

/// Time since the first call.
fn since_start() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

#[test]
fn a_reader_of_cold_data_does_not_hurt_those_at_the_tail() {
    let _alone = crate::alone();
    let dir = TempDir::new().unwrap();
    let slow = Cgroup::disk(dir.path());
    let entry = slow.as_ref().map(|(cgroup, _)| cgroup.entry()).unwrap_or_default();
    // One worker: if a read of the disk held it, no other would help out.
    let config = "[durability]\nfsync = \"interval(1s)\"\n";
    let broker = crate::broker_in(dir, config, &format!("{entry}export TOKIO_WORKER_THREADS=1; "));
    let mut connection = Connection::to(broker.address());
    let segment_bytes = SEGMENT_BYTES.to_string();
    let kept = [("segment.bytes", &*segment_bytes), ("retention.ms", "-1")];
    raw::create(&mut connection, "cold", 1, &kept);
    raw::create(&mut connection, "hot", 2, &[]);
    let request = raw::produce("cold", 0, 1, raw::batch(&[&vec![7; BATCH_BYTES]]));
    for _ in 0..COLD_BATCHES {
        assert_eq!(raw::produced(&connection.call(9, &request)).0, 0);
    }
    // What it costs to write it is not the question.
    cold::forget(&broker.data());
    if let Some((cgroup, disk)) = &slow {
        cgroup.lets_read(disk, Some(DISK_BYTES)).expect("the limit can be set");
    }
    let alone = tail(&broker);
    let disk = DiskReads::of(&broker);
    let (mut beside, read) = (Latencies::default(), AtomicUsize::new(0));
    let pause = if slow.is_some() { Duration::ZERO } else { READ_PAUSE };
    meanwhile(|over| reads_back(&broker, pause, over, &read), || beside = tail(&broker));
    let read = read.into_inner() >> 20;
    eprintln!("alone: {alone}\nbeside a reader of {read} MiB: {beside}");
    assert!(read > 0, "nothing was read");
    if let Some(disk) = disk {
        let from_disk = usize::try_from(disk.bytes()).unwrap() >> 20;
        eprintln!("{from_disk} MiB of it came from the disk");
        assert!(from_disk * 10 > read * 9, "{from_disk} of {read} MiB came from the disk");
    }
    let (before, then) = (alone.p99(), beside.p99());
    assert!(then < before + WORSE_MAX, "alone: {alone}\nbeside a reader of cold data: {beside}");
}
