//! Gigabytes of log, kill -9, and the way back to a record of every partition.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::Broker;
use crate::support::raw::{self, Connection};
use crate::{broker, size, timed};

const PARTITIONS: i32 = 100;
/// Bytes of one batch, about.
const BATCH_BYTES: usize = 900_000;
const RECORDS: usize = 900;
const CONNECTIONS: i32 = 4;
/// What the broker's own logs hold.
const OWN_BYTES_MAX: u64 = 100_000;

fn batch() -> Bytes {
    let value = vec![b'x'; BATCH_BYTES / RECORDS];
    raw::batch(&vec![value.as_slice(); RECORDS])
}

/// Appends so many batches to each partition.
fn fill(broker: &Broker, batches: usize) {
    let batch = batch();
    thread::scope(|scope| {
        for nth in 0..CONNECTIONS {
            let batch = batch.clone();
            scope.spawn(move || {
                let mut connection = Connection::to(broker.address());
                connection.patience(Duration::from_secs(120));
                for _ in 0..batches {
                    for partition in (nth..PARTITIONS).step_by(CONNECTIONS as usize) {
                        let request = raw::produce("t", partition, 1, batch.clone());
                        let (error, _) = raw::produced(&connection.call(9, &request));
                        assert_eq!(error, 0);
                    }
                }
            });
        }
    });
}

/// Reads a record of every partition: the one at `offset`.
fn record_of_each(broker: &Broker, offset: i64) {
    let mut connection = Connection::to(broker.address());
    connection.patience(Duration::from_secs(120));
    let mut left: Vec<i32> = (0..PARTITIONS).collect();
    while !left.is_empty() {
        let mut request = raw::fetch_from("t", left.iter().map(|partition| (*partition, offset)));
        request.topics[0].partitions.iter_mut().for_each(|partition| partition.partition_max_bytes = 4096);
        let answer = connection.call(11, &request);
        left.clear();
        for part in &answer.responses[0].partitions {
            assert_eq!(part.error_code, 0, "partition {}", part.partition_index);
            if part.records.as_ref().is_none_or(Bytes::is_empty) {
                left.push(part.partition_index);
            }
        }
    }
}

/// Reads the files of all partitions from `from` on, as `cat > /dev/null` would.
fn read_files(data: &Path) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    for path in logs(data) {
        let mut file = File::open(path).unwrap();
        loop {
            let read = file.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            bytes += read as u64;
        }
    }
    bytes
}

fn logs(data: &Path) -> Vec<PathBuf> {
    let dirs = (0..PARTITIONS).map(|partition| data.join(format!("t-{partition}")));
    let files = dirs.flat_map(|dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect()
}

/// How often recovery has said what it found.
fn recoveries(broker: &Broker) -> Vec<serde_json::Value> {
    let log = broker.log();
    let lines = log.lines().filter(|line| line.contains("recovered after an unclean stop"));
    lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// What recovery says, once it has spoken more than `before` times.
fn next_recovery(broker: &Broker, before: usize) -> serde_json::Value {
    let began = Instant::now();
    loop {
        if let Some(said) = recoveries(broker).into_iter().nth(before) {
            return said;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is said of the recovery");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What recovery says that it has read.
fn scanned(recovered: &serde_json::Value) -> u64 {
    recovered["scanned_bytes"].as_u64().expect("a count")
}

/// Empties the page cache, where that is allowed.
fn drop_caches() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn start_and_read(broker: &mut Broker, what: &str, offset: i64) -> Duration {
    let (_, took) = timed(what, || {
        broker.up();
        record_of_each(broker, offset);
    });
    took
}

#[test]
fn after_kill_9_recovery_reads_what_lies_behind_the_checkpoints_and_no_more() {
    let bytes = size("SCALE_GB", 0) * 1_000_000_000;
    let batches = (bytes / BATCH_BYTES / PARTITIONS as usize).max(2);
    let mut broker = broker("[durability]\nfsync = \"interval(1s)\"\n");
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", PARTITIONS, &[("retention.ms", "-1")]);
    drop(connection);
    let end = i64::try_from(batches * RECORDS).unwrap();
    eprintln!(
        "\n{:.2} GB over {PARTITIONS} partitions",
        (batches * PARTITIONS as usize * BATCH_BYTES) as f64 / 1e9
    );
    timed("written", || fill(&broker, batches));
    // A stop checkpoints everything; what is appended behind it is what recovery reads.
    timed("stop", || broker.stop());
    start_and_read(&mut broker, "start after a stop to a record of each", end - 1);
    broker.kill();
    let before = recoveries(&broker).len();
    let fresh = start_and_read(&mut broker, "start after kill -9, fresh checkpoints", end - 1);
    let recovered = next_recovery(&broker, before);
    assert!(scanned(&recovered) < OWN_BYTES_MAX, "{recovered}");
    if bytes >= 1_000_000_000 {
        assert!(fresh < Duration::from_secs(1), "{fresh:?}");
    }
    broker.kill();
    if bytes > 0 && drop_caches() {
        start_and_read(&mut broker, "    the same with nothing in the page cache", end - 1);
        broker.kill();
    }
    // Negative control, and the price of what no checkpoint vouches for: everything is read.
    fs::remove_file(broker.data().join("streamd.manifest")).unwrap();
    let (all, cat) = timed("files read through, cached as they are", || read_files(&broker.data()));
    let before = recoveries(&broker).len();
    let began = Instant::now();
    broker.up();
    record_of_each(&broker, end - 1);
    let first = began.elapsed();
    let recovered = next_recovery(&broker, before);
    let whole = began.elapsed();
    assert!((all..all + OWN_BYTES_MAX).contains(&scanned(&recovered)), "{all} bytes: {recovered}");
    let per_gb = |took: Duration| took.as_secs_f64() / (all as f64 / 1e9);
    eprintln!(
        "without any checkpoint: {:.3} s to a record of each, {:.3} s to all recovered; {:.3} s/GB beside {:.3} s/GB of reading",
        first.as_secs_f64(),
        whole.as_secs_f64(),
        per_gb(whole),
        per_gb(cat)
    );
}
