//! Writes that stand still in more partitions than the broker has threads to wait on.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use crate::bystanders::{Member, is_read_soon, is_served_soon};
use crate::injector::{self, SYNCS};
use crate::support::raw::{self, Connection};

/// More than the broker has threads that may wait (512).
const PARTITIONS: i32 = 600;
/// As many writes as stand on such threads before Produce is held back.
const WRITES_MAX: usize = 256;
/// And those that were about to begin, or stand on workers.
const WRITES_MORE_MAX: usize = 40;
const HOLDS: i32 = 0;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn writes_that_stand_still_in_hundreds_of_partitions_leave_threads_for_everything_else() {
    let _alone = crate::alone();
    let Some((broker, faults)) = injector::broker("[durability]\nfsync = \"interval(100ms)\"\n") else {
        return;
    };
    let mut connection = Connection::to(broker.address());
    connection.patience(PATIENCE);
    raw::create(&mut connection, "t", PARTITIONS, &[]);
    raw::create(&mut connection, "u", 1, &[]);
    let hot = raw::produce("u", 0, -1, raw::batch(&[&[7; 1000]]));
    assert_eq!(raw::produced(&connection.call(9, &hot)).0, 0);
    let mut member = Member::join(&broker, true);

    // As a disk gets slow: a sync takes long, and then writes into the page cache wait for it, too.
    faults.set(&SYNCS, "*", HOLDS, 0);
    let dirty = raw::produce("u", 0, 1, raw::batch(&[b"dirty"]));
    assert_eq!(raw::produced(&connection.call(9, &dirty)).0, 0);
    thread::sleep(Duration::from_millis(1_000));
    let rules: Vec<&str> = SYNCS.iter().chain(&["pwrite", "pwritev", "pwritev2"]).copied().collect();
    faults.forget();
    faults.set(&rules, "/t-", HOLDS, 0);
    let stalled = || faults.met().iter().filter(|met| met.starts_with("pwrite")).count();
    let mut writers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let mut writer = Connection::to(broker.address());
            writer.patience(PATIENCE);
            writer.send(9, &raw::produce("t", partition, 1, raw::batch(&[b"a"]))).unwrap();
            writer
        })
        .collect();
    let began = Instant::now();
    while stalled() < WRITES_MAX {
        assert!(began.elapsed() < PATIENCE, "{} writes stand still", stalled());
        thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..5 {
        is_served_soon(&mut connection, "on a connection that has produced");
        is_read_soon(&mut connection, "u");
        member.goes_on();
        is_served_soon(&mut Connection::to(broker.address()), "on a new connection");
        thread::sleep(Duration::from_millis(200));
    }
    let count = stalled();
    eprintln!("{count} of {PARTITIONS} writes stand still; the others are held back");
    assert!((WRITES_MAX..WRITES_MAX + WRITES_MORE_MAX).contains(&count), "{count} writes stand still");

    faults.clear();
    for writer in &mut writers {
        let (_, response) = writer.answer::<ProduceRequest>(9).expect("it is written now");
        assert_eq!(raw::produced(&response), (0, 0));
    }
}
