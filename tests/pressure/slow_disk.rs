//! A disk that hardly writes any more: what the broker does for those who need nothing of it goes on, and what waits is
//! Produce alone, once as many bytes are unsynced as may be.
//!
//! The disk stands still by a rule of the injector: its syncs do not return. That is a slow disk at its worst, and the
//! same on every machine.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{FetchRequest, ProduceRequest};

use crate::bystanders::{Member, SOON, is_read_soon, is_served_soon};
use crate::cgroup::Cgroup;
use crate::injector::{self, Faults, READS, SYNCS};
use crate::support::Broker;
use crate::support::raw::{self, Connection};
use crate::writers::{
    IN_FLIGHT, MEMORY_BYTES, REQUEST_BYTES, UNSYNCED_BYTES_MAX, WAITS, WRITERS, Writers, with_topics,
};

/// What the injector takes for "let it stand still".
const HOLDS: i32 = 0;
/// More than the broker has threads for reads that wait.
const READERS: usize = 200;

/// A broker with topics `t` and `u`, a record in `t`, and somebody who has produced and is owed nothing.
fn scene(config: &str) -> Option<(Broker, Faults, Connection)> {
    injector::broker(config).map(scene_with)
}

fn scene_with((broker, faults): (Broker, Faults)) -> (Broker, Faults, Connection) {
    let connection = with_topics(&broker);
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
    let Some(cgroup) = Cgroup::memory(MEMORY_BYTES as u64) else { return };
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
