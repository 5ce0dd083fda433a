//! One client that sends as much as it can beside others that send one request at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;

use crate::latencies::{Latencies, meanwhile};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// Requests that the greedy one has under way.
const IN_FLIGHT: usize = 300;
const LASTS: Duration = Duration::from_secs(2);
/// What its company may cost the others' slowest requests: some turns of the greedy one, on a busy machine, but far less
/// than all that it has under way would take if the others stood behind that.
const WORSE_MAX: Duration = Duration::from_millis(150);
/// And how much fewer of them there may be, since each waits for the one before.
const FEWER_MAX: usize = 20;

/// Has as many requests under way as it may until it is over.
fn is_greedy(broker: &Broker, value_bytes: usize, over: &AtomicBool, answered: &AtomicUsize) {
    let mut writer = Connection::to(broker.address());
    let mut reader = writer.another();
    let value = Bytes::from(vec![7; value_bytes]);
    let request = raw::produce("t", 0, 1, raw::batch(&[&value]));
    let (_, frame) = writer.frame(9, &request);
    let (sent, ended) = (&AtomicUsize::new(0), &AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut done = 0;
            while !(ended.load(Ordering::Acquire) && done == sent.load(Ordering::Acquire)) {
                if done == sent.load(Ordering::Acquire) {
                    thread::yield_now();
                    continue;
                }
                let (_, response) = reader.answer::<ProduceRequest>(9).expect("an answer");
                assert_eq!(raw::produced(&response).0, 0);
                done += 1;
                answered.fetch_add(1, Ordering::AcqRel);
            }
        });
        let began = answered.load(Ordering::Acquire);
        while !over.load(Ordering::Relaxed) {
            if sent.load(Ordering::Acquire) - (answered.load(Ordering::Acquire) - began) >= IN_FLIGHT {
                thread::sleep(Duration::from_micros(200));
                continue;
            }
            sent.fetch_add(1, Ordering::AcqRel);
            writer.write(&frame).expect("it is taken");
        }
        ended.store(true, Ordering::Release);
    });
}

/// Four that send one small request at a time, two of them to the greedy one's partition.
fn modest(broker: &Broker) -> Latencies {
    let one = |n: i32, over: &AtomicBool| {
        let mut connection = Connection::to(broker.address());
        let request = raw::produce("t", n % 2, 1, raw::batch(&[&[7; 1000]]));
        Latencies::of(over, Duration::from_millis(2), || {
            assert_eq!(raw::produced(&connection.call(9, &request)).0, 0);
        })
    };
    let all = |over: &AtomicBool| {
        thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|n| scope.spawn(move || one(n, over))).collect();
            Latencies::together(all.into_iter().map(|one| one.join().expect("a modest one goes on")))
        })
    };
    meanwhile(all, || thread::sleep(LASTS))
}

fn beside_a_greedy_one(value_bytes: usize) {
    let _alone = crate::alone();
    let broker = crate::broker("[durability]\nfsync = \"interval(1s)\"\n");
    let mut connection = Connection::to(broker.address());
    let kept = [("retention.bytes", "67108864"), ("segment.bytes", "33554432")];
    raw::create(&mut connection, "t", 2, &kept);
    let alone = modest(&broker);
    let answered = AtomicUsize::new(0);
    let mut beside = Latencies::default();
    meanwhile(|over| is_greedy(&broker, value_bytes, over, &answered), || beside = modest(&broker));
    let answered = answered.into_inner();
    eprintln!("alone: {alone}\nbeside {answered} requests of {value_bytes} bytes: {beside}");
    assert!(answered > 2 * IN_FLIGHT, "{answered} requests are not greedy");
    let (before, then) = (alone.p99(), beside.p99());
    assert!(then < before + WORSE_MAX, "alone: {alone}\nbeside a greedy one: {beside}");
    assert!(beside.count() * FEWER_MAX > alone.count(), "alone: {alone}\nbeside a greedy one: {beside}");
}

#[test]
fn deep_pipelining_of_large_requests_does_not_hurt_the_others() {
    beside_a_greedy_one(64 * 1024);
}

#[test]
fn deep_pipelining_of_small_requests_does_not_hurt_the_others() {
    beside_a_greedy_one(1024);
}
