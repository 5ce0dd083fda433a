//! One client that sends as much as it can beside others that send one request at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;

use crate::latencies::{Latencies, meanwhile};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const LASTS: Duration = Duration::from_secs(1);
/// How much sooner than the greedy one's own the others' requests are answered at least, but for the slowest. Both stand
/// before the same workers, so this says the same on a busy machine: who waits for some turns of the greedy one is far
/// ahead of it, who stands behind all that it has under way is not.
const SOONER_MIN: u32 = 2;
/// Soon enough, however soon the greedy one's own are: some turns of it.
const SOON: Duration = Duration::from_millis(50);
/// How much slower than alone the slowest may be. Where there is one worker a halt of the disk holds everybody: there they
/// may be as slow as the greedy one's own slowest.
const WORSE_MAX: Duration = Duration::from_millis(150);
/// And how much fewer of them there may be, since each waits for the one before.
const FEWER_MAX: usize = 20;

/// Has as many requests under way as it may until it is over: how long each took.
fn is_greedy(broker: &Broker, value_bytes: usize, in_flight: usize, over: &AtomicBool) -> Latencies {
    let mut writer = Connection::to(broker.address());
    let mut reader = writer.another();
    let value = Bytes::from(vec![7; value_bytes]);
    let request = raw::produce("t", 0, 1, raw::batch(&[&value]));
    let (_, frame) = writer.frame(9, &request);
    // As many at a time as cost the client little.
    let at_once = (64 * 1024 / frame.len()).max(1);
    let frames = frame.repeat(at_once);
    let (under_way, answers) = mpsc::sync_channel::<Instant>(in_flight / at_once);
    thread::scope(|scope| {
        let reads = scope.spawn(move || {
            let mut latencies = Latencies::default();
            for sent in answers {
                for _ in 0..at_once {
                    let (_, response) = reader.answer::<ProduceRequest>(9).expect("an answer");
                    assert_eq!(raw::produced(&response).0, 0);
                    latencies.push(sent.elapsed());
                }
            }
            latencies
        });
        while !over.load(Ordering::Relaxed) {
            under_way.send(Instant::now()).expect("somebody reads the answers");
            writer.write(&frames).expect("it is taken");
        }
        drop(under_way);
        reads.join().expect("all is answered")
    })
}

/// Four that send one small request at a time: the two that write to the greedy one's partition, and the other two.
fn modest(broker: &Broker) -> [Latencies; 2] {
    let one = |partition: i32, over: &AtomicBool| {
        let mut connection = Connection::to(broker.address());
        let request = raw::produce("t", partition, 1, raw::batch(&[&[7; 1000]]));
        Latencies::of(over, Duration::from_millis(2), || {
            assert_eq!(raw::produced(&connection.call(9, &request)).0, 0);
        })
    };
    let all = |over: &AtomicBool| {
        thread::scope(|scope| {
            let all = [0, 1].map(|partition| [(); 2].map(|()| scope.spawn(move || one(partition, over))));
            all.map(|two| {
                Latencies::together(two.into_iter().map(|one| one.join().expect("a modest one goes on")))
            })
        })
    };
    meanwhile(all, || thread::sleep(LASTS))
}

fn beside_a_greedy_one(value_bytes: usize, in_flight: usize) {
    let _alone = crate::alone();
    // One client can hold a worker where there is no other to help out; where there are two, one may wait for the other.
    for workers in [1, 2] {
        let broker = crate::broker_of(workers, "[durability]\nfsync = \"interval(1s)\"\n");
        let mut connection = Connection::to(broker.address());
        let kept = [("retention.bytes", "67108864"), ("segment.bytes", "33554432")];
        raw::create(&mut connection, "t", 2, &kept);
        let alone = modest(&broker);
        let mut beside = Default::default();
        let greedy =
            meanwhile(|over| is_greedy(&broker, value_bytes, in_flight, over), || beside = modest(&broker));
        eprintln!("{workers} workers, and a greedy one: {greedy}");
        assert!(
            greedy.count() > in_flight / 2,
            "{} requests of {value_bytes} bytes are not greedy",
            greedy.count()
        );
        let groups = ["at the same partition", "at another"].into_iter().zip(alone.iter().zip(&beside));
        for (which, (alone, beside)) in groups {
            let found = format!("{which}, alone: {alone}\nbeside it: {beside}");
            eprintln!("{found}");
            let nearly_all = SOON.max(greedy.quantile(0.9) / SOONER_MIN);
            assert!(beside.quantile(0.9) < nearly_all, "{found}\nit has: {greedy}");
            let slowest = alone.p99() + WORSE_MAX;
            let slowest = if workers == 1 { slowest.max(greedy.p99()) } else { slowest };
            assert!(beside.p99() < slowest, "{found}\nit has: {greedy}");
            assert!(beside.count() * FEWER_MAX > alone.count(), "{found}\nit has: {greedy}");
        }
    }
}

#[test]
fn deep_pipelining_of_large_requests_does_not_hurt_the_others() {
    beside_a_greedy_one(64 * 1024, 300);
}

#[test]
fn deep_pipelining_of_small_requests_does_not_hurt_the_others() {
    beside_a_greedy_one(1024, 8192);
}
