//! What the tests of compaction share: a log in a temporary directory that is appended to with keys, and cleaned.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::{ActiveProducers, Cleaned, Cleaning, MapLimits, Pace, clean};
use crate::config::topic::{Compression, TopicSettings};
use crate::record::batch::BatchView;
use crate::record::{BatchBuilder, NewRecord};
use crate::storage::health::DirHealth;
use crate::storage::log::{LogReader, Opened};
use crate::storage::manifest::Manifest;
use crate::storage::testing::*;
use crate::storage::txn_index::AbortedTransaction;
use crate::types::{Clock, Codec, Timestamp};

use super::plan::{Situation, Work, plan};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::storage) struct Record {
    pub(in crate::storage) offset: i64,
    pub(in crate::storage) timestamp: Timestamp,
    pub(in crate::storage) key: Option<Vec<u8>>,
    pub(in crate::storage) value: Option<Vec<u8>>,
}

/// A compacted log and what cleans it.
pub(in crate::storage) struct Log {
    pub(in crate::storage) rig: Rig,
    pub(in crate::storage) opened: Opened,
    pub(in crate::storage) manifest: Arc<Manifest>,
    pub(in crate::storage) clean_to: Option<i64>,
    pub(in crate::storage) producers: ActiveProducers,
    pub(in crate::storage) aborted: Vec<AbortedTransaction>,
    /// The last stable offset, if there are transactions.
    pub(in crate::storage) stable: Option<i64>,
    pub(in crate::storage) now: Timestamp,
    pub(in crate::storage) map: MapLimits,
    _manifest_dir: TempDir,
}

/// Settings under which everything sealed is cleaned at once.
pub(in crate::storage) fn eager(segment_bytes: i32) -> TopicSettings {
    TopicSettings {
        compact: true,
        delete: false,
        min_cleanable_dirty_ratio: 0.0,
        segment_bytes,
        index_interval_bytes: 200,
        ..TopicSettings::default()
    }
}

impl Log {
    pub(in crate::storage) fn new(settings: TopicSettings) -> Self {
        Self::over(Rig::new(settings))
    }

    pub(in crate::storage) fn over(rig: Rig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (manifest, _) = Manifest::open(dir.path(), DirHealth::new()).unwrap();
        Self {
            opened: rig.open(),
            rig,
            manifest,
            clean_to: None,
            producers: ActiveProducers::new(),
            aborted: Vec::new(),
            stable: None,
            now: NOW,
            map: MapLimits { bytes: 1 << 20, load: 0.9, secret: [5, 6] },
            _manifest_dir: dir,
        }
    }

    pub(in crate::storage) fn reader(&self) -> &LogReader {
        &self.opened.reader
    }

    /// Appends `key=value` records as one batch; without `=`, a tombstone. Rolls when it is time to.
    pub(in crate::storage) fn append(&mut self, records: &[&str]) {
        let records: Vec<_> = records
            .iter()
            .map(|text| match text.split_once('=') {
                Some((key, value)) => (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec())),
                None => (text.as_bytes().to_vec(), None),
            })
            .collect();
        append_rolling(&mut self.opened.writer, keyed(&records, Codec::None, self.now, None));
    }

    /// Closes the active segment and makes a checkpoint behind it.
    pub(in crate::storage) fn roll(&mut self) {
        self.opened.writer.roll(None, self.now).unwrap();
        checkpoint(&mut self.rig, &self.opened, None);
    }

    /// What there is to be cleaned.
    pub(in crate::storage) fn work(&self) -> Option<Work> {
        let segments = self.reader().segments();
        let (start, end) = (self.reader().start(), self.reader().end());
        let row = self.opened.log.state.lock().row.clone();
        let situation = Situation {
            segments: &segments,
            dirty_from: super::plan::dirty_from(self.clean_to, start, end),
            bound: row.map_or(0, |row| row.checkpoint.segment).min(self.stable.unwrap_or(i64::MAX)),
            oldest_dirty: None,
            replayed: false,
            pressure: self.rig.health.room().pressure(),
            now: self.now,
        };
        plan(&situation, &self.rig.settings).work
    }

    /// Cleans what there is to be cleaned, if there is.
    pub(in crate::storage) fn clean(&mut self) -> Option<Cleaned> {
        let cleaned = self.try_clean(&Pace::new(Clock::manual(0), f64::MAX))?;
        assert!(cleaned.fault.is_none(), "{cleaned:?}");
        self.clean_to = cleaned.clean_to;
        self.take_row();
        Some(cleaned)
    }

    pub(in crate::storage) fn try_clean(&self, pace: &Pace) -> Option<Cleaned> {
        Some(clean(&Cleaning {
            log: &self.opened.log,
            settings: &self.rig.settings,
            work: self.work()?,
            producers: &self.producers,
            aborted: &self.aborted,
            manifest: &self.manifest,
            is_own: false,
            pace,
            map: self.map,
            read_bytes: 1 << 10,
            now: self.now,
        }))
    }

    /// The manifest's row is what the log last put.
    pub(in crate::storage) fn take_row(&mut self) {
        self.rig.row = self.opened.log.state.lock().row.clone();
    }

    /// Opens the log again, after a clean stop or a kill.
    pub(in crate::storage) fn reopen(&mut self, clean: bool) {
        if clean {
            self.opened.writer.close().unwrap();
            checkpoint(&mut self.rig, &self.opened, None);
        }
        self.rig.clean = clean;
        self.opened = Rig::new(self.rig.settings.clone()).open();
        self.opened = self.rig.open();
        self.rig.clean = false;
        assert_eq!(self.opened.report.damage, []);
    }

    /// What a reader of everything sees, as `offset key=value`.
    pub(in crate::storage) fn shown(&self) -> Vec<String> {
        records(self.reader()).iter().map(show).collect()
    }

    /// Base and next offset of every segment.
    pub(in crate::storage) fn spans(&self) -> Vec<(i64, i64)> {
        self.reader().segments().iter().map(|segment| (segment.base, segment.next)).collect()
    }
}

fn show(record: &Record) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let key = text(record.key.as_deref().unwrap_or_default());
    match &record.value {
        Some(value) => format!("{} {key}={}", record.offset, text(value)),
        None => format!("{} {key}", record.offset),
    }
}

/// Every record that a reader sees from the log's start on.
pub(in crate::storage) fn records(reader: &LogReader) -> Vec<Record> {
    let mut found = Vec::new();
    let start = reader.start();
    let mut each = |batch: &BatchView<'_>| {
        let records = batch.records(1 << 20).unwrap();
        found.extend(records.iter().map(|record| record.unwrap()).map(|record| Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        }));
        true
    };
    reader.for_each_batch(start, i64::MAX, &mut each).unwrap();
    found.retain(|record| record.offset >= start);
    found
}

/// A batch of records with keys; the producer as id and base sequence.
pub(in crate::storage) fn keyed(
    records: &[(Vec<u8>, Option<Vec<u8>>)],
    codec: Codec,
    now: Timestamp,
    producer: Option<(i64, i32)>,
) -> Bytes {
    let level = if codec == Codec::Zstd { 3 } else { -1 };
    let mut builder = BatchBuilder::new().compression(Compression { codec, level });
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, 0, sequence);
    }
    for (n, (key, value)) in records.iter().enumerate() {
        let timestamp = now + i64::try_from(n).unwrap();
        builder.push(&NewRecord { timestamp, key: Some(key), value: value.as_deref(), headers: &[] });
    }
    builder.build().unwrap()
}
