//! A data directory without its broker: locked, its manifest and its catalog read. For the verbs that repair and import.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::exit::Ended;
use crate::catalog::names::CLUSTER_METADATA;
use crate::catalog::records::Record;
use crate::catalog::state::Catalog;
use crate::config::{Config, TopicSettings};
use crate::coord::LogRecord;
use crate::record::BatchView;
use crate::storage::dir::{DataDir, DirSpec};
use crate::storage::files::FileCache;
use crate::storage::layout::{MetaProperties, partition_dir};
use crate::storage::log::{self, OpenError, OpenSpec, Opened, Replay, Replayed};
use crate::storage::manifest::{Manifest, PartitionRow, Verdict};
use crate::types::{Clock, TopicId, TopicPartition};

/// A locked data directory.
#[derive(Debug)]
pub(super) struct Offline {
    pub(super) dir: DataDir,
    pub(super) manifest: Arc<Manifest>,
    pub(super) rows: HashMap<TopicPartition, Arc<PartitionRow>>,
    /// What the catalog's log comes to.
    pub(super) catalog: Catalog,
    files: Arc<FileCache>,
    clock: Clock,
    /// Whether the broker stopped in order, or never ran.
    was_in_order: bool,
}

impl Offline {
    /// Locks a directory that a broker has used.
    ///
    /// # Errors
    /// It is not there, not ours, in use, or its catalog cannot be read.
    pub(super) fn open(config: &Config, clock: &Clock) -> anyhow::Result<Self> {
        let path = &config.data_dir;
        match MetaProperties::read(path) {
            Ok(Some(meta)) if meta.streamd.is_some() => Self::lock(path, meta.node_id, None, clock),
            // The directory's own words on what it is, without making one.
            Ok(Some(_)) => Self::lock(path, config.node_id, None, clock),
            Ok(None) | Err(_) => Err(Ended::Refused(format!(
                "{} is no data directory of streamd. Say which one with --data-dir DIR or --config FILE.",
                path.display()
            ))
            .into()),
        }
    }

    /// Locks a directory, and makes it if need be.
    ///
    /// # Errors
    /// As [`Offline::open`].
    pub(super) fn lock(
        path: &Path,
        node_id: i32,
        cluster_id: Option<&str>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let mut random = [[0; 16]; 2];
        for bytes in &mut random {
            getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        }
        let dir = DataDir::open(&DirSpec { path, node_id, cluster_id, random, now: clock.now_ms() })?;
        let (manifest, state) =
            Manifest::open(path, Arc::clone(dir.health())).context("cannot read the manifest")?;
        let was_in_order = match state.verdict {
            Verdict::Clean => true,
            Verdict::Missing => dir.is_new(),
            Verdict::Unclean | Verdict::Damaged(_) => false,
        };
        let files = FileCache::new(OPEN_FILES_MAX, 0);
        let mut offline = Self {
            dir,
            manifest,
            rows: state.rows,
            catalog: Catalog::default(),
            files,
            clock: clock.clone(),
            was_in_order,
        };
        let log = offline.open_catalog().context("the catalog cannot be opened")?;
        offline.catalog = replay(&log).context(
            "the cluster's metadata cannot be read. Nothing was changed; restore __cluster_metadata-0 from a copy",
        )?;
        Ok(offline)
    }

    /// All that was done is on disk, and described by the manifest: where the directory was left in order before, it is
    /// again, and the next start has nothing to recover.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub(super) fn leave_in_order(&self) -> anyhow::Result<()> {
        if self.was_in_order {
            let left = self.manifest.stopped(self.clock.now_ms());
            left.map_err(|error| anyhow::anyhow!("cannot write the manifest: {error}"))?;
        }
        Ok(())
    }

    /// Opens the catalog's log; in a fresh directory it is empty.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open_catalog(&self) -> Result<Opened, OpenError> {
        let id = TopicPartition { topic: TopicId::METADATA, partition: 0 };
        let settings = TopicSettings { delete: false, ..TopicSettings::default() };
        let row = self.rows.get(&id).cloned();
        self.open_log(&CLUSTER_METADATA.into(), id, settings, row, &mut |_| Replayed::Sound)
    }

    /// Opens a partition's log, as the broker does after a crash.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open_log(
        &self,
        topic: &Arc<str>,
        id: TopicPartition,
        settings: TopicSettings,
        row: Option<Arc<PartitionRow>>,
        replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
    ) -> Result<Opened, OpenError> {
        let spec = OpenSpec {
            dir: self.dir.path().join(partition_dir(topic, id.partition)).into(),
            id,
            topic: Arc::clone(topic),
            settings: Arc::new(settings),
            row,
            clean: false,
            log_start: 0,
            sync_on_open: true,
            settled: false,
            kept_bytes: 0,
            files: Arc::clone(&self.files),
            health: Arc::clone(self.dir.health()),
            leader_epoch: i32::MAX,
            clock: self.clock.clone(),
        };
        log::open(spec, replay)
    }
}

fn replay(opened: &Opened) -> anyhow::Result<Catalog> {
    let mut catalog = Catalog::default();
    let mut fault = None;
    opened.reader.for_each_batch(opened.reader.start(), opened.reader.end(), &mut |batch| {
        let applied = each_record(batch, &mut |record| {
            if let Some(record) = Record::decode(&record)? {
                catalog.apply(&record);
            }
            Ok(())
        });
        fault = applied.err();
        fault.is_none()
    })?;
    fault.map_or(Ok(catalog), Err)
}

/// Shows the records of a batch as a coordinator's log has them.
pub(super) fn each_record(
    batch: &BatchView<'_>,
    each: &mut dyn FnMut(LogRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let records = batch.records(BATCH_BYTES_MAX)?;
    for record in &records {
        let record = record?;
        let copied = |bytes: Option<&[u8]>| bytes.map(bytes::Bytes::copy_from_slice);
        each(LogRecord { key: copied(record.key), value: copied(record.value) })?;
    }
    Ok(())
}

/// Files that these verbs hold open at once.
const OPEN_FILES_MAX: usize = 128;
/// What a coordinator's batch may take once decompressed, in bytes.
const BATCH_BYTES_MAX: usize = 256 << 20;
