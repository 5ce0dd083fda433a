//! Readers that ask for much and take nothing.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use crate::support::Broker;
use crate::support::cold;
use crate::support::raw::{self, Connection};

const READERS: usize = 40;
/// Fetches of each reader.
const FETCHES: usize = 8;
/// In each partition, and each in a segment of its own.
const BATCHES: usize = 3;
/// What each of them may cost: what is read ahead of its socket, 128 KiB and the last piece whole, and as much for what it
/// asked and where the answer lies. What one write takes of an answer is 2 MB.
const BYTES_MAX: u64 = 400 << 10;
/// How long is looked.
const LASTS: Duration = Duration::from_secs(2);

fn all_of(partitions: i32) -> FetchRequest {
    raw::fetch_from("t", (0..partitions).map(|partition| (partition, 0)))
}

/// The most memory that it is seen to hold, while it is looked at.
fn most(broker: &Broker) -> u64 {
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < LASTS {
        most = most.max(broker.allocated());
        thread::sleep(Duration::from_millis(5));
    }
    most
}

/// That it costs little if they ask for this many partitions with three batches of such values.
fn take_nothing(partitions: i32, value_bytes: usize, is_cold: bool) {
    let _alone = crate::alone();
    let broker = crate::broker("[durability]\nfsync = \"interval(1s)\"\n");
    let mut connection = Connection::to(broker.address());
    let segment_bytes = (value_bytes + value_bytes / 2).to_string();
    let kept = [("segment.bytes", &*segment_bytes), ("retention.ms", "-1")];
    raw::create(&mut connection, "t", partitions, &kept);
    let value: Vec<u8> = (0u32..).flat_map(u32::to_be_bytes).take(value_bytes).collect();
    let batch = raw::batch(&[&value]);
    for _ in 0..BATCHES {
        for partition in 0..partitions {
            let response = connection.call(9, &raw::produce("t", partition, 1, batch.clone()));
            assert_eq!(raw::produced(&response).0, 0);
        }
    }
    // What it holds after it has done all that once stays with it.
    let whole = connection.call(11, &all_of(partitions));
    let records = |of: &FetchResponse| -> Vec<Bytes> {
        let partitions = of.responses.iter().flat_map(|topic| &topic.partitions);
        partitions.filter_map(|partition| partition.records.clone()).collect()
    };
    let whole = records(&whole);
    let bytes: usize = whole.iter().map(Bytes::len).sum();
    assert!(bytes > 7 << 20, "{bytes} bytes are not much");
    if is_cold {
        cold::forget(&broker.data());
    }
    let before = broker.allocated();
    let mut readers: Vec<_> = (0..READERS).map(|_| Connection::to(broker.address())).collect();
    for reader in &mut readers {
        for _ in 0..FETCHES {
            reader.send(11, &all_of(partitions)).unwrap();
        }
    }
    let grew = most(&broker).saturating_sub(before);
    let each = grew / READERS as u64;
    eprintln!("{} KiB for each of {READERS} readers", each >> 10);
    assert!(each <= BYTES_MAX, "{each} bytes for each of {READERS} readers that take nothing");
    assert!(raw::is_served(&mut connection), "others go on");
    // What they asked for is there for them.
    let reader = &mut readers[0];
    for _ in 0..FETCHES {
        let (_, response) = reader.answer::<FetchRequest>(11).unwrap();
        assert!(records(&response) == whole, "other bytes than before");
    }
}

/// What is small and not in the segment that grows is read into memory before it is sent.
#[test]
fn readers_that_ask_for_much_and_take_nothing_cost_little_memory() {
    take_nothing(64, 60_000, false);
}

/// What is not in memory is sent as it was read from the disk.
#[test]
fn readers_that_ask_for_what_is_not_in_memory_and_take_nothing_cost_little() {
    take_nothing(4, 900_000, true);
}
