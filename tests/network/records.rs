//! Batches that must not get into a log.

use std::time::{Duration, Instant};

use bytes::Bytes;
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
