//! What one partition's log costs: appends of several shapes, reads at the tail and further back, lookups.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use streamd::config::topic::TopicSettings;
use streamd::record::batch::BatchHeader;
use streamd::record::{BatchBuilder, NewRecord};
use streamd::storage::files::FileCache;
use streamd::storage::health::DirHealth;
use streamd::storage::log::{AppendBatch, LogReader, LogWriter, OpenSpec, Opened, Replayed, open};
use streamd::types::{Clock, TopicId, TopicPartition};
use tempfile::TempDir;

const NOW: i64 = 1_800_000_000_000;
/// After this much a bench begins a new log, so that it fits on the disk.
const LOG_BYTES: u64 = 256 << 20;

/// A log in a directory of its own.
struct Bench {
    writer: LogWriter,
    reader: LogReader,
    _dir: TempDir,
}

#[expect(clippy::expect_used, reason = "a bench ends when it cannot begin")]
fn log() -> Bench {
    let dir = TempDir::new().expect("a temporary directory");
    let spec = OpenSpec {
        dir: dir.path().join("bench-0").into(),
        id: TopicPartition { topic: TopicId::from_bytes([1; 16]), partition: 0 },
        topic: "bench".into(),
        settings: Arc::new(TopicSettings::default()),
        row: None,
        clean: false,
        log_start: 0,
        sync_on_open: false,
        settled: false,
        kept_bytes: 0,
        files: FileCache::new(100, 10),
        health: DirHealth::new(),
        leader_epoch: i32::MAX,
        clock: Clock::system(),
    };
    let Opened { writer, reader, .. } = open(spec, &mut |_| Replayed::Sound).expect("an empty log");
    Bench { writer, reader, _dir: dir }
}

/// One batch of `records` records with values of `size` bytes.
#[expect(clippy::expect_used, reason = "a bench ends when it cannot begin")]
fn batch(records: usize, size: usize) -> (Bytes, BatchHeader) {
    let value = vec![b'v'; size];
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.push(&NewRecord { timestamp: NOW, value: Some(&value), ..NewRecord::default() });
    }
    let bytes = builder.build().expect("the batch is small");
    let header = BatchHeader::parse(&bytes).expect("it was just built");
    (bytes, header)
}

/// Appends `count` of the batches with one write.
#[expect(clippy::expect_used, reason = "a bench ends when the disk is full")]
fn append(writer: &mut LogWriter, (bytes, header): &(Bytes, BatchHeader), count: usize) {
    let records = i64::from(header.last_offset_delta) + 1;
    let mut next = writer.end();
    let mut batches = [const { None }; 10];
    for slot in batches.iter_mut().take(count) {
        *slot = Some(AppendBatch { bytes, header, base_offset: next, leader_epoch: 0 });
        next += records;
    }
    let batches =
        batches.map(|slot| slot.unwrap_or(AppendBatch { bytes, header, base_offset: next, leader_epoch: 0 }));
    writer.append(&batches[..count], NOW).expect("space on the disk");
}

fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    let shapes = [
        ("64 KiB", 64, 1_000, 1),
        ("16 KiB", 16, 1_000, 1),
        ("10 x 100 B", 1, 100, 10),
        ("1 KiB", 1, 1_000, 1),
    ];
    for (name, records, size, count) in shapes {
        let batch = batch(records, size);
        let bytes = (batch.0.len() * count) as u64;
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                let (mut left, mut took) = (iterations, Duration::ZERO);
                while left > 0 {
                    let mut bench = log();
                    let now = left.min(LOG_BYTES / bytes);
                    append(&mut bench.writer, &batch, count);
                    let start = WallTime.start();
                    for _ in 0..now {
                        append(&mut bench.writer, &batch, count);
                    }
                    took += WallTime.end(start);
                    left -= now;
                }
                took
            });
        });
    }
    group.finish();
}

/// A log of 128 MiB in batches of 1 KiB.
fn filled() -> Bench {
    let mut bench = log();
    let batch = batch(1, 1_000);
    while bench.reader.size_bytes() < LOG_BYTES / 2 {
        append(&mut bench.writer, &batch, 10);
    }
    bench
}

#[expect(clippy::expect_used, reason = "a bench ends when it cannot read")]
fn reads(c: &mut Criterion) {
    let mut bench = filled();
    let end = bench.reader.end();
    let mut group = c.benchmark_group("read");
    let tail = bench.reader.read_blocking(end - 64, None, 1 << 20, end, true).expect("the tail");
    let hint = bench.reader.read_blocking(end - 65, None, 1, end, true).expect("the place").next;
    assert_eq!(hint.offset(), end - 64);
    group.bench_function("64 KiB at the tail, by hint", |b| {
        b.iter(|| {
            bench.reader.read(black_box(end - 64), Some(hint), 1 << 20, end, true).map(|read| read.bytes)
        });
    });
    group.throughput(Throughput::Bytes(tail.bytes as u64));
    let mut into = vec![0; tail.bytes];
    group.bench_function("64 KiB at the tail, by hint, and copied", |b| {
        b.iter(|| {
            let read =
                bench.reader.read(black_box(end - 64), Some(hint), 1 << 20, end, true).expect("resident");
            read.slices[0].try_read_resident(0, &mut into).expect("resident")
        });
    });
    bench.writer.roll(None, NOW).expect("a new segment");
    let mut from = 0;
    group.throughput(Throughput::Bytes(1 << 20));
    let mut hint = None;
    group.bench_function("1 MiB behind, reading on", |b| {
        b.iter(|| {
            let read = bench.reader.read_blocking(from, hint, 1 << 20, end, true).expect("a MiB");
            from = read.next.offset();
            hint = Some(read.next);
            if from > end - 2_000 {
                (from, hint) = (0, None);
            }
            read.bytes
        });
    });
    group.finish();

    let mut group = c.benchmark_group("lookup");
    let mut at = 0;
    let mut somewhere = || {
        at = (at + 7_919_999) % end;
        at
    };
    group.bench_function("offset", |b| {
        b.iter(|| bench.reader.read_blocking(somewhere(), None, 1, end, true).map(|read| read.bytes));
    });
    group.bench_function("time", |b| b.iter(|| bench.reader.offset_for_time(black_box(NOW), end)));
    group.finish();
}

criterion_group!(benches, appends, reads);
criterion_main!(benches);
