//! A disk with little to give, by the kernel's own means: what the broker writes goes out at some megabytes a second.
//!
//! `slow_disk` has the worst of it, at known places; here is what a slow disk does by itself, the file system's journal
//! with it.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use tempfile::TempDir;

use crate::bystanders::{Member, SOON, is_read_soon, is_served_soon};
use crate::cgroup::{Cgroup, Disk};
use crate::latencies::Latencies;
use crate::support::raw::{self, Connection};
use crate::writers::{MEMORY_BYTES, REQUEST_BYTES, UNSYNCED_BYTES_MAX, WRITERS, Writers, with_topics};

const MIB: usize = 1 << 20;
/// What the disk takes in a second.
const DISK_BYTES: usize = 4 * MIB;
/// Appended at once: less than may be unsynced, and more than the disk takes in as long as is looked at the others.
const BURST_BYTES: usize = 24 * MIB;
const LOOKS: Duration = Duration::from_secs(4);
/// What nearly all of those who need nothing of the disk stay within. It is some tenths of a millisecond; a wait for this
/// disk takes seconds.
const NEARLY_ALL: Duration = Duration::from_millis(500);

/// Whether the kernel holds back a process that syncs what it writes there.
fn bites(cgroup: &Cgroup, disk: &Disk, dir: &TempDir) -> bool {
    let seconds = |limit: Option<u64>| {
        cgroup.lets_write(disk, limit).expect("the limit can be set");
        let line = format!(
            "{}exec dd if=/dev/zero of={} bs=1M count=4 conv=fsync",
            cgroup.entry(),
            dir.path().join("probe").display()
        );
        let began = Instant::now();
        let done = Command::new("/bin/sh").args(["-c", &line]).output().expect("a shell runs");
        assert!(done.status.success(), "{done:?}");
        began.elapsed().as_secs_f64()
    };
    let (free, held) = (seconds(None), seconds(Some(DISK_BYTES as u64)));
    cgroup.lets_write(disk, None).expect("the limit can be set");
    if held < 0.5 || held < 2.0 * free {
        eprintln!(
            "SKIPPED: 4 MiB take {free:.3} s, and {held:.3} s where they may not: the limit does nothing here"
        );
    }
    held >= 0.5 && held >= 2.0 * free
}

/// Everybody who needs nothing of the disk, once each, and how long that took.
struct Company<'a> {
    member: &'a mut Member,
    reader: &'a mut Connection,
    produced: &'a mut Connection,
    took: Latencies,
}

impl Company<'_> {
    fn goes_on(&mut self) {
        let timed = |took: &mut Latencies, work: &mut dyn FnMut()| {
            let began = Instant::now();
            work();
            took.push(began.elapsed());
        };
        timed(&mut self.took, &mut || is_read_soon(self.reader, "t"));
        timed(&mut self.took, &mut || is_served_soon(self.produced, "on a connection that has produced"));
        timed(&mut self.took, &mut || self.member.goes_on());
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long it takes until what is on its way to the disk, of the logs there, is on it.
fn time_to_disk(data: &Path) -> Duration {
    let began = Instant::now();
    for dir in fs::read_dir(data).unwrap().flatten().map(|entry| entry.path()) {
        for file in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if file.extension().is_some_and(|extension| extension == "log") {
                File::open(file).unwrap().sync_data().unwrap();
            }
        }
    }
    began.elapsed()
}

fn append(connection: &mut Connection, topic: &str, partition: i32, bytes: usize) -> i64 {
    let request = raw::produce(topic, partition, 1, raw::batch(&[&vec![7; bytes]]));
    let (error, offset) = raw::produced(&connection.ask(9, &request).expect("it waits for the disk"));
    assert_eq!(error, 0);
    offset
}

#[test]
fn a_disk_with_little_to_give_stops_neither_reads_nor_heartbeats_nor_other_partitions() {
    let _alone = crate::alone();
    let dir = TempDir::new().unwrap();
    let Some((cgroup, disk)) = Cgroup::disk(dir.path()) else { return };
    if !bites(&cgroup, &disk, &dir) {
        return;
    }
    let config = format!("[memory]\nlimit = \"{MEMORY_BYTES}\"\n[durability]\nfsync = \"interval(100ms)\"\n");
    let broker = crate::broker_in(dir, &config, &cgroup.entry());
    let mut produced = with_topics(&broker);
    let (mut member, mut reader) = (Member::join(&broker, true), Connection::to(broker.address()));
    let mut company = Company {
        member: &mut member,
        reader: &mut reader,
        produced: &mut produced,
        took: Latencies::default(),
    };

    // Less than may be unsynced: who appends to other partitions does not wait either.
    let held = |bytes| cgroup.lets_write(&disk, bytes).expect("the limit can be set");
    held(Some(DISK_BYTES as u64));
    let mut burst = Connection::to(broker.address());
    let partitions = i32::try_from(WRITERS).unwrap();
    for nth in 0..BURST_BYTES / REQUEST_BYTES {
        append(&mut burst, "t", i32::try_from(nth).unwrap() % partitions, REQUEST_BYTES);
    }
    let (began, mut others, mut nth) = (Instant::now(), Latencies::default(), 0);
    company.produced.patience(SOON);
    while began.elapsed() < LOOKS {
        let appends = Instant::now();
        append(company.produced, "u", nth % partitions, 1_000);
        others.push(appends.elapsed());
        nth += 1;
        company.goes_on();
    }
    let left = time_to_disk(&broker.data());
    eprintln!("{left:?} more until all is written\nother partitions: {others}\nthe rest: {}", company.took);
    assert!(left > Duration::from_millis(100), "the disk was not busy all along");
    assert!(others.p99() < NEARLY_ALL && company.took.p99() < NEARLY_ALL, "they wait for the disk");

    // As much as may be unsynced, and more: Produce goes on at the disk's speed, and everything else at its own.
    company.took = Latencies::default();
    let writers = Writers::start(&broker, "t");
    while writers.bytes() < UNSYNCED_BYTES_MAX / 2 {
        company.goes_on();
    }
    let (began, before) = (Instant::now(), writers.bytes());
    while began.elapsed() < LOOKS {
        company.goes_on();
    }
    let taken = writers.bytes() - before;
    let disk_took = DISK_BYTES as f64 * began.elapsed().as_secs_f64();
    eprintln!("{} MiB taken in {:?}\nthe rest: {}", taken / MIB, began.elapsed(), company.took);
    assert!(
        taken as f64 <= disk_took + UNSYNCED_BYTES_MAX as f64,
        "{taken} bytes are more than the disk takes"
    );

    held(None);
    let answered = writers.end();
    let records = (0..partitions).map(|partition| {
        let response = reader.call::<FetchRequest>(11, &raw::fetch("t", partition, 0, 0).with_max_bytes(1));
        response.responses[0].partitions[0].high_watermark
    });
    // A record in each request, and the one that was there before.
    let wanted = answered + BURST_BYTES / REQUEST_BYTES + WRITERS;
    assert_eq!(records.sum::<i64>(), i64::try_from(wanted).unwrap(), "what was acknowledged is there, once");
}
