//! What a cleaning costs: logs of many updates over few keys, logs of which half goes, and one in which every key is alone.
//!
//! Beside each stands what the disk and the system alone allow: a program that reads the same bytes twice, as a cleaning
//! does, and writes and syncs as many as the cleaning leaves. Both are measured in turns, and the medians printed.
//! `STREAMD_BENCH_RECORDS` (500,000) is the size of each log.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints, and has the system's clock"
)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
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
    dir: TempDir,
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
            settled: false,
            kept_bytes: 0,
            files: FileCache::new(1_000, 10),
            health: DirHealth::new(),
            leader_epoch: i32::MAX,
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
        let scene = Self { bytes: opened.reader.size_bytes(), opened, manifest, settings, dir };
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

    /// Cleans all of it; how long that took, and how many bytes are left.
    fn clean(&self) -> (Duration, u64) {
        let pace = Pace::new(Clock::system(), f64::MAX);
        let producers = ActiveProducers::new();
        let cleaning = Cleaning {
            log: &self.opened.log,
            settings: &self.settings,
            work: Work { dirty_from: 0, end: self.opened.reader.end(), ratio: 1.0, forced: false },
            producers: &producers,
            aborted: &[],
            manifest: &self.manifest,
            is_own: false,
            pace: &pace,
            map: MapLimits { bytes: 128 << 20, load: 0.9, secret: [1, 2] },
            read_bytes: READ_BYTES,
            now: NOW,
        };
        let began = Instant::now();
        let cleaned = clean(&cleaning);
        let took = began.elapsed();
        assert!(cleaned.fault.is_none(), "{cleaned:?}");
        (took, if cleaned.bytes.0 == cleaned.bytes.1 { 0 } else { cleaned.bytes.1 })
    }

    fn files(&self) -> Vec<PathBuf> {
        let dir = self.dir.path().join("bench-0").read_dir().expect("its directory");
        let files = dir.map(|file| file.expect("a file").path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect()
    }

    /// Reads all of it twice, and writes and syncs this many bytes of it; how long that takes.
    fn copy(&self, left: u64) -> Duration {
        let files = self.files();
        let mut buffer = vec![0; READ_BYTES];
        let began = Instant::now();
        let mut copy = File::create(self.dir.path().join("copy")).expect("a file");
        let mut left = usize::try_from(left).expect("a size");
        for pass in 0..2 {
            for path in &files {
                let mut file = File::open(path).expect("a segment");
                loop {
                    let read = file.read(&mut buffer).expect("bytes");
                    if read == 0 {
                        break;
                    }
                    if pass == 1 {
                        let now = read.min(left);
                        copy.write_all(&buffer[..now]).expect("space on the disk");
                        left -= now;
                    }
                }
            }
        }
        copy.sync_all().expect("a sync");
        began.elapsed()
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

/// Cleans logs of this kind and copies others of the same, in turns.
fn measure(name: &str, records: u64, keys: u64, codec: Codec) {
    let [mut cleanings, mut copies] = [Vec::new(), Vec::new()];
    let (mut bytes, mut left) = (0, 0);
    for _ in 0..ROUNDS {
        let scene = Scene::new(records, keys, codec);
        let took;
        bytes = scene.bytes;
        (took, left) = scene.clean();
        cleanings.push(took);
        copies.push(Scene::new(records, keys, codec).copy(left));
    }
    let speed = |mut of: Vec<Duration>| {
        of.sort_unstable();
        mib(bytes) / of[of.len() / 2].as_secs_f64()
    };
    let (cleaned, copied) = (speed(cleanings), speed(copies));
    println!(
        "{name:20} {:6.0} MiB, {:6.0} written: cleaned at {cleaned:5.0} MiB/s, copied at {copied:5.0} MiB/s ({:.2}x)",
        mib(bytes),
        mib(left),
        cleaned / copied
    );
}

#[expect(clippy::cast_precision_loss, reason = "it is for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn main() {
    let records = std::env::var("STREAMD_BENCH_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500_000);
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Snappy, Codec::Gzip] {
        measure(&format!("few keys, {codec}"), records, records / 100, codec);
        measure(&format!("half goes, {codec}"), records, records / 2, codec);
    }
    measure("nothing goes", records, u64::MAX, Codec::None);
}

const READ_BYTES: usize = 512 << 10;
/// How often each is measured.
const ROUNDS: usize = 5;
