//! A broker whose data lies on a small file system of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tempfile::TempDir;

use crate::clients;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// `KAFKA_STORAGE_ERROR`.
pub(crate) const STORAGE_ERROR: i16 = 56;
/// How long anything may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A mounted tmpfs; unmounted with it.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts a file system of this size; `None`, and a word on it, where that is not allowed.
    pub(crate) fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).expect("a mount point");
        let options = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "streamd-test"]).arg(at).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self { at: at.to_owned() });
        }
        eprintln!("SKIPPED: a tmpfs cannot be mounted here, which takes root: {mounted:?}");
        None
    }

    /// Free bytes.
    pub(crate) fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.at).expect("the file system answers");
        stat.f_bavail * stat.f_frsize
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast.bin")
    }

    /// Takes space until this much is free.
    pub(crate) fn leave(&self, bytes: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).expect("a file");
        while self.free() > bytes {
            let next = (self.free() - bytes).min(64 << 10);
            let piece = vec![0; usize::try_from(next).expect("small")];
            if ballast.write_all(&piece).is_err() {
                return;
            }
        }
    }

    /// Gives back what [`Disk::leave`] took.
    pub(crate) fn give_back(&self) {
        fs::remove_file(self.ballast()).expect("the ballast");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.at.display());
        }
    }
}

/// A broker and its disk. The broker goes first.
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) disk: Disk,
}

impl Scene {
    /// A broker with these settings on a disk of this size; `None` if there cannot be one.
    pub(crate) fn new(bytes: u64, config: &str) -> Option<Self> {
        let dir = TempDir::new().expect("a temp dir");
        let disk = Disk::mount(&dir.path().join("data"), bytes)?;
        Some(Self { broker: Broker::over(dir, config, &[]), disk })
    }
}

/// Produces one record over a connection of its own, and returns the error code and the offset.
pub(crate) fn produce(broker: &Broker, topic: &str, partition: i32, value: &[u8]) -> (i16, i64) {
    let mut connection = Connection::to(broker.address());
    let request = raw::produce(topic, partition, -1, raw::batch(&[value]));
    raw::produced(&connection.call(9, &request))
}

/// Tries until a record is taken, and returns its offset.
pub(crate) fn produce_until_taken(broker: &Broker, topic: &str, partition: i32, value: &[u8]) -> i64 {
    let mut last = 0;
    let mut offset = 0;
    wait_for("a record is taken", || {
        (last, offset) = produce(broker, topic, partition, value);
        last == 0
    });
    offset
}

/// Waits until it is so.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// How often the broker has logged a line with this in it.
pub(crate) fn lines_with(broker: &Broker, text: &str) -> usize {
    broker.log().lines().filter(|line| line.contains(text)).count()
}

/// Bytes that everything below a directory takes.
pub(crate) fn held(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => held(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// An idempotent producer that tries again until it has succeeded.
pub(crate) fn patient_producer(broker: &Broker) -> FutureProducer {
    clients::config(broker, &[("enable.idempotence", "true"), ("linger.ms", "2")])
        .set("message.timeout.ms", "60000")
        .set("retry.backoff.ms", "50")
        .create()
        .expect("a producer")
}

/// Sends these values to a partition at once, and waits until all are acknowledged.
pub(crate) async fn send_all(producer: &FutureProducer, topic: &str, partition: i32, values: &[String]) {
    let mut waiting = Vec::new();
    for value in values {
        let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(value);
        waiting.push(producer.send_result(record).map_err(|(error, _)| error).expect("the queue has room"));
    }
    for sent in waiting {
        let sent = sent.await.expect("the producer lives");
        sent.map_err(|(error, _)| error).expect("the record is acknowledged");
    }
}

/// The values of a partition as a foreign client reads them.
pub(crate) fn values(broker: &Broker, topic: &str, partition: i32) -> Vec<String> {
    let text = |record: &OwnedMessage| clients::value(record).to_owned();
    clients::read_all(broker, topic, partition).iter().map(text).collect()
}
