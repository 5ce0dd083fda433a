//! What a batch costs between the socket and the log: the produce-time check, and reading records back.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use streamd::config::topic::{Compression, TopicSettings};
use streamd::record::check::{CheckRules, check};
use streamd::record::{BatchBuilder, BatchView, NewRecord};
use streamd::types::Codec;

const NOW: i64 = 1_800_000_000_000;

/// Records of `size` bytes of text that compresses about as well as JSON does.
fn batch(codec: Codec, records: u32, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new().compression(Compression { codec, level: 3 });
    for n in 0..records {
        let words = (0..).flat_map(|word: u32| {
            let mixed = (n * 7919 + word).wrapping_mul(2_654_435_761);
            format!("{{\"user\":{},\"page\":{}}},", mixed >> 12, word % 17).into_bytes()
        });
        let value: Vec<u8> = words.take(size).collect();
        let key = n.to_be_bytes();
        builder.push(&NewRecord {
            timestamp: NOW + i64::from(n),
            key: Some(&key),
            value: Some(&value),
            headers: &[],
        });
    }
    #[expect(clippy::expect_used, reason = "a bench ends when it cannot begin")]
    builder.build().expect("the batch is small")
}

/// Name, batch: 64 KiB of large records, one producer's idle trickle, and the same compressed.
fn batches() -> Vec<(String, Bytes)> {
    let mut batches = vec![
        ("64 x 1 KiB".to_owned(), batch(Codec::None, 64, 1000)),
        ("10 x 100 B".to_owned(), batch(Codec::None, 10, 100)),
        ("650 x 100 B".to_owned(), batch(Codec::None, 650, 90)),
    ];
    for codec in [Codec::Snappy, Codec::Lz4, Codec::Zstd, Codec::Gzip] {
        batches.push((format!("64 x 1 KiB {codec}"), batch(codec, 64, 1000)));
        batches.push((format!("10 x 100 B {codec}"), batch(codec, 10, 100)));
    }
    batches
}

fn checking(c: &mut Criterion) {
    let mut group = c.benchmark_group("check");
    let settings = TopicSettings::default();
    let rules = CheckRules::new(&settings, "topic", 0, 11);
    for (name, bytes) in batches() {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| check(Some(black_box(bytes.clone())), &rules, NOW)));
    }
    let settings = TopicSettings { log_append_time: true, ..TopicSettings::default() };
    let rules = CheckRules::new(&settings, "topic", 0, 11);
    let bytes = batch(Codec::None, 64, 1000);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("64 x 1 KiB, log append time", |b| {
        b.iter(|| check(Some(black_box(bytes.clone())), &rules, NOW));
    });
    group.finish();
}

fn crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc");
    for (name, bytes) in batches().into_iter().take(3) {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| BatchView::parse(black_box(&bytes)).map(|batch| batch.crc_ok()))
        });
    }
    group.finish();
}

fn iterating(c: &mut Criterion) {
    let mut group = c.benchmark_group("iterate");
    for (name, bytes) in batches() {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| sum(black_box(&bytes))));
    }
    group.finish();
}

/// Touches every record, as a consumer would.
fn sum(bytes: &[u8]) -> Option<usize> {
    let batch = BatchView::parse(bytes).ok()?;
    let records = batch.records(1 << 20).ok()?;
    let mut sum = 0;
    for record in &records {
        sum += record.ok()?.value?.len();
    }
    Some(sum)
}

fn building(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    let value = [7; 100];
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 x 100 B", |b| {
        b.iter(|| {
            let mut builder = BatchBuilder::new();
            for n in 0..100 {
                builder.push(&NewRecord { timestamp: NOW + n, key: None, value: Some(&value), headers: &[] });
            }
            builder.build()
        });
    });
    group.finish();
}

criterion_group!(benches, checking, crc, iterating, building);
criterion_main!(benches);
