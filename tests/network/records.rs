//! Batches that must not get into a log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use streamd::config::topic::Compression;
use streamd::record::build::{BatchBuilder, NewRecord};
use streamd::types::Codec;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_RECORD: i16 = 87;

fn send(connection: &mut Connection, records: Bytes) -> i16 {
    raw::produced(&connection.call(9, &raw::produce("t", 0, -1, records))).0
}

#[test]
fn s36_a_wrong_crc_is_refused() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    let good = raw::batch(&[b"some value", b"another"]);
    for position in [17, 21, 30, 60, good.len() - 1] {
        let mut bad = good.to_vec();
        bad[position] ^= 0x40;
        assert_eq!(send(&mut connection, bad.into()), CORRUPT_MESSAGE, "bit at {position}");
    }
    // What is not exactly one batch (S35).
    assert_eq!(send(&mut connection, good.slice(..good.len() - 1)), INVALID_RECORD, "cut short");
    assert_eq!(send(&mut connection, Bytes::new()), INVALID_RECORD, "no batch at all");
    assert_eq!(send(&mut connection, [&good[..], &good[..]].concat().into()), INVALID_RECORD, "two batches");
    assert_eq!(send(&mut connection, good), 0, "and the connection goes on");
    assert_eq!(raw::read_all(&mut connection, "t", 0).len(), 2);
}

#[test]
fn s37_a_batch_over_max_message_bytes_is_refused() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[("max.message.bytes", "1000")]);
    assert_eq!(send(&mut connection, raw::batch(&[&[7; 1200]])), MESSAGE_TOO_LARGE);
    assert_eq!(send(&mut connection, raw::batch(&[&[7; 800]])), 0);
}

/// A batch of a few kilobytes that unpacks to `bytes` of zeros.
fn bomb(codec: Codec, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new().compression(Compression { codec, level: 1 });
    let value = vec![0; bytes];
    builder.push(&NewRecord { timestamp: 1_700_000_000_000, value: Some(&value), ..NewRecord::default() });
    builder.build().unwrap()
}

#[test]
fn s41_a_batch_that_unpacks_to_very_much_costs_little() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[("max.message.bytes", "10000000")]);
    for codec in [Codec::Gzip, Codec::Zstd] {
        let bomb = bomb(codec, 600 << 20);
        assert!(bomb.len() < 8 << 20, "{}", bomb.len());
        let before = peak(&broker);
        let began = Instant::now();
        send(&mut connection, bomb);
        let (grew, took) = (peak(&broker) - before, began.elapsed());
        assert!(grew < 150 << 20, "{codec:?}: {} MiB for one request", grew >> 20);
        assert!(took < Duration::from_secs(20), "{codec:?}: {took:?}");
    }
}

/// The most memory that the broker ever held.
fn peak(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Partitions of one entry of a request, each with a value.
type Entry<'a> = &'a [(i32, &'a [u8])];

/// A request with these entries, all of topic `t`.
fn request_of(topics: &[Entry<'_>]) -> ProduceRequest {
    let topics = topics.iter().map(|partitions| {
        let data = partitions.iter().map(|(index, value)| {
            PartitionProduceData::default().with_index(*index).with_records(Some(raw::batch(&[value])))
        });
        TopicProduceData::default().with_name(raw::name("t")).with_partition_data(data.collect())
    });
    raw::produce("t", 0, -1, Bytes::new()).with_topic_data(topics.collect())
}

#[test]
fn a_partition_that_a_request_names_twice_takes_the_last_batch_and_is_answered_once() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 2, &[]);
    let twice: [&[Entry<'_>]; 2] = [
        &[&[(0, b"first"), (1, b"other"), (0, b"last")]],
        &[&[(0, b"first"), (1, b"first")], &[(1, b"other"), (0, b"last")]],
    ];
    for (round, (version, topics)) in
        [3, 7, 9, 12].into_iter().flat_map(|v| twice.map(|t| (v, t))).enumerate()
    {
        let response = connection.call(version, &request_of(topics));
        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let mut answers: Vec<_> = answers.map(|a| (a.index, a.error_code, a.base_offset)).collect();
        answers.sort_unstable();
        let offset = i64::try_from(round).unwrap();
        assert_eq!(answers, [(0, 0, offset), (1, 0, offset)], "v{version}");
    }
    let held = |connection: &mut Connection, partition| {
        let read = raw::read_all(connection, "t", partition);
        read.into_iter().map(|read| String::from_utf8(read.value).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(held(&mut connection, 0), ["last"; 8]);
    assert_eq!(held(&mut connection, 1), ["other"; 8]);
}
