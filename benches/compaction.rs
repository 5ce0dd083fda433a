//! What a cleaning costs: a log of many updates over few keys, and one in which every key is alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use streamd::config::topic::{Compression, TopicSettings};
use streamd::record::batch::BatchHeader;
use streamd::record::{BatchBuilder, NewRecord};
use streamd::storage::compaction::plan::Work;
use streamd::storage::compaction::{ActiveProducers, Cleaning, MapLimits, Pace, clean};
use streamd::storage::files::FileCache;
use streamd::storage::flush::SyncTarget as _;
use streamd::storage::health::DirHealth;
use streamd::storage::log::{AppendBatch, OpenSpec, Opened, Replayed, open};
use streamd::storage::manifest::Manifest;
use streamd::types::{Clock, Codec, TopicId, TopicPartition};
use tempfile::TempDir;

const NOW: i64 = 1_800_000_000_000;
const VALUE_BYTES: usize = 100;
const BATCH_RECORDS: u64 = 100;

/// A sealed log that lies below its checkpoint.
struct Scene {
    opened: Opened,
    manifest: Arc<Manifest>,
    settings: Arc<TopicSettings>,
    bytes: u64,
    _dir: TempDir,
}

#[expect(clippy::expect_used, reason = "a bench ends when it cannot begin")]
impl Scene {
    /// `records` records of `keys` keys in turn.
    fn new(records: u64, keys: u64, codec: Codec) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let settings = TopicSettings {
            compact: true,
            delete: false,
            segment_bytes: 16 << 20,
            ..TopicSettings::default()
        };
        let settings = Arc::new(settings);
        let (manifest, _) = Manifest::open(dir.path(), DirHealth::new()).expect("a manifest");
        let spec = OpenSpec {
            dir: dir.path().join("bench-0").into(),
            id: TopicPartition { topic: TopicId::from_bytes([1; 16]), partition: 0 },
            topic: "bench".into(),
            settings: Arc::clone(&settings),
            row: None,
            clean: false,
            log_start: 0,
            sync_on_open: false,
            kept_bytes: 0,
            files: FileCache::new(1_000, 10),
            health: DirHealth::new(),
            clock: Clock::system(),
        };
        let mut opened = open(spec, &mut |_| Replayed::Sound).expect("an empty log");
        for first in (0..records).step_by(usize::try_from(BATCH_RECORDS).unwrap_or(1)) {
            let (bytes, header) = batch(first, keys, codec);
            let base_offset = opened.writer.end();
            let placed = BatchHeader { base_offset, ..header };
            if opened.writer.should_roll(0, &placed, NOW) {
                opened.writer.roll(None, NOW).expect("a segment");
            }
            let batch = AppendBatch { bytes: &bytes, header: &header, base_offset, leader_epoch: 0 };
            opened.writer.append(&[batch], NOW).expect("space on the disk");
        }
        opened.writer.roll(None, NOW).expect("a segment");
        let scene = Self { bytes: opened.reader.size_bytes(), opened, manifest, settings, _dir: dir };
        scene.checkpoint();
        scene
    }

    fn checkpoint(&self) {
        let log = &self.opened.log;
        let note = log.prepare_checkpoint(&self.opened.writer.mark(), None, false);
        let note = note.expect("its files can be written").expect("there is something to note");
        let sync = log.note().expect("there is something to sync");
        sync.files.iter().try_for_each(|file| file.sync_data()).expect("a sync");
        log.synced(sync.end);
        log.checkpointed(&note.row);
    }

    /// Cleans all of it; how long that took.
    fn clean(&self) -> Duration {
        let pace = Pace::new(Clock::system(), f64::MAX);
        let producers = ActiveProducers::new();
        let cleaning = Cleaning {
            log: &self.opened.log,
            settings: &self.settings,
            work: Work { dirty_from: 0, end: self.opened.reader.end(), ratio: 1.0, forced: false },
            producers: &producers,
            aborted: &[],
            manifest: &self.manifest,
            pace: &pace,
            map: MapLimits { bytes: 128 << 20, load: 0.9, secret: [1, 2] },
            read_bytes: 512 << 10,
            now: NOW,
        };
        let began = WallTime.start();
        let cleaned = clean(&cleaning);
        let took = WallTime.end(began);
        assert!(cleaned.fault.is_none(), "{cleaned:?}");
        took
    }
}

#[expect(clippy::expect_used, reason = "a bench ends when it cannot begin")]
fn batch(first: u64, keys: u64, codec: Codec) -> (Bytes, BatchHeader) {
    let mut builder = BatchBuilder::new().compression(Compression { codec, level: 3 });
    for n in first..first + BATCH_RECORDS {
        // In no order that a cache would like.
        let key = format!("key-{:012}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys);
        let value: Vec<u8> =
            (0..VALUE_BYTES as u64).map(|at| ((n * at) % 61 + 60).to_le_bytes()[0]).collect();
        let (key, value) = (Some(key.as_bytes()), Some(&value[..]));
        builder.push(&NewRecord { timestamp: NOW, key, value, headers: &[] });
    }
    let bytes = builder.build().expect("the batch is small");
    let header = BatchHeader::parse(&bytes).expect("it was just built");
    (bytes, header)
}

fn cleanings(c: &mut Criterion) {
    let records = std::env::var("STREAMD_BENCH_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500_000);
    let mut group = c.benchmark_group("compaction");
    group.sample_size(10);
    for (name, keys, codec) in [
        ("few keys", records / 100, Codec::None),
        ("few keys, zstd", records / 100, Codec::Zstd),
        ("half goes", records / 2, Codec::None),
        ("nothing goes", u64::MAX, Codec::None),
    ] {
        let bytes = Scene::new(records, keys, codec).bytes;
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(name, |b| {
            b.iter_custom(|times| (0..times).map(|_| Scene::new(records, keys, codec).clean()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, cleanings);
criterion_main!(benches);
