//! Starting, in order.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::barred::Barred;
use super::cleaner::Cleaner;
use super::coord_log::PartitionLog;
use super::descriptors::Descriptors;
use super::disk::Disk;
use super::group_shards::GroupShards;
use super::published::Published;
use super::scrub::Scrub;
use super::txn_shards::TxnShards;
use super::{Broker, ProducerIds, housekeeping, random, removal, retention, sweep, topics};
use crate::catalog::{CatalogMachine, CatalogWorld, Command, NewTopic, Reply};
use crate::config::{Config, TopicSettings};
use crate::coord::task::{LoadWhen, ShardHandle, ShardSpec, ShardStatus, spawn};
use crate::partition::table::PartitionTable;
use crate::partition::{Environment, OpenFault, OpenPartition, Recovered, Whose};
use crate::storage::dir::{DataDir, DirError, DirSpec};
use crate::storage::files::FileCache;
use crate::storage::flush::{CheckpointLimits, Checkpointer, Committer, CommitterSpec, unsynced_limit_bytes};
use crate::storage::layout;
use crate::storage::manifest::{Manifest, ManifestState, Verdict};
use crate::storage::room::is_no_space;
use crate::types::{Clock, ErrorCode, TopicId, TopicPartition};

/// The catalog's own log.
pub(super) const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Commands that may stand in the catalog's mailbox.
const CATALOG_LANE_MAX_COMMANDS: usize = 10_000;
/// Maps of active segments that may stand at once.
const MAPS_MAX: usize = 4096;

/// What a log of the broker's own keeps reserved, in bytes, so that some hundred records find their place on a full disk.
pub(super) const OWN_LOG_KEPT_BYTES: u64 = 128 << 10;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The manifest or a thread.
    #[error("cannot start in {path}: {error}")]
    Io {
        /// The data directory.
        path: String,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// The catalog's log.
    #[error(
        "the cluster's metadata cannot be read: {0}. Nothing was changed; restore {CLUSTER_METADATA}-0 from a copy"
    )]
    Catalog(String),
    /// Not even a record of metadata finds space.
    #[error(
        "data_dir {path} is on a full disk: not one record can be written. Nothing was changed; free space and start again"
    )]
    Full {
        /// The data directory.
        path: String,
    },
    /// A topic of the settings.
    #[error("topic {name} of the settings cannot be made: {message}")]
    Topic {
        /// Its name.
        name: String,
        /// Why.
        message: String,
    },
}

impl Broker {
    /// Starts a broker. When this returns it may be listened for: everything that a client may ask works, or waits for
    /// the part that it touches.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running.
    pub async fn start(config: Config, clock: Clock) -> Result<Arc<Self>, StartError> {
        let config = Arc::new(config);
        let parts = {
            let (config, clock) = (Arc::clone(&config), clock.clone());
            let opening = tokio::task::spawn_blocking(move || Parts::open(&config, &clock));
            opening.await.map_err(|_| StartError::Catalog("interrupted".to_owned()))??
        };
        let Parts { data_dir, manifest, clean, committer, checkpointer, partitions } = parts;
        let groups = Arc::new(GroupShards::new(&config, clock.clone(), Arc::clone(&manifest)));
        let transactions = TxnShards::new(&config, clock.clone(), Arc::clone(&manifest));
        let published = Arc::new(Published::new(Arc::clone(&partitions), Arc::clone(&groups)));
        let catalog = start_catalog(&config, &clock, &partitions, &published).await?;
        let disk = Disk::new(config.disk, partitions.unopened().iter());
        let keeper = retention::Keeper::new(&clock);
        let cleaner = Arc::new(Cleaner::new(&config.cleaner, &clock, data_dir.path(), &published.image()));
        let scrub = Arc::new(Scrub::new(config.scrub, &clock));
        let broker = Arc::new(Self {
            config,
            clock,
            data_dir,
            manifest: Arc::clone(&manifest),
            committer,
            checkpointer,
            partitions: Arc::clone(&partitions),
            catalog: catalog.clone(),
            published: Arc::clone(&published),
            groups,
            transactions,
            barred: Barred::default(),
            producer_ids: ProducerIds::default(),
            cleaner: Arc::clone(&cleaner),
            scrub: Arc::clone(&scrub),
            bound: OnceLock::new(),
            recovered: AtomicBool::new(clean),
            unlinks: Mutex::default(),
            disk,
            keeper: Mutex::new(keeper),
            background: Mutex::default(),
            lost: Notify::new(),
        });
        broker.note_transactions();
        broker.measure_disk_at_start();
        broker.make_declared_topics().await?;
        broker.schedule_all();
        let tasks = vec![
            tokio::spawn(removal::run(published, partitions, manifest, Arc::clone(&cleaner), catalog)),
            tokio::spawn(housekeeping::run(Arc::downgrade(&broker))),
            tokio::spawn(sweep::run(Arc::downgrade(&broker), clean)),
        ];
        *broker.background.lock() = tasks;
        let threads = cleaner.start(&broker).and_then(|()| scrub.start(&broker));
        threads.map_err(|error| StartError::Io {
            path: broker.data_dir.path().display().to_string(),
            error: Arc::new(error),
        })?;
        Ok(broker)
    }

    /// Makes the topics that the settings ask for and that are not there.
    async fn make_declared_topics(&self) -> Result<(), StartError> {
        let declared = &self.config.declared_topics;
        let image = self.image();
        for (topic, found) in declared.iter().filter_map(|topic| Some((topic, image.topic(&topic.name)?))) {
            for line in topics::differences(topic, found) {
                tracing::warn!("{line}");
            }
        }
        let missing: Vec<NewTopic> = declared
            .iter()
            .filter(|topic| image.topic(&topic.name).is_none())
            .map(|topic| NewTopic {
                name: topic.name.clone(),
                id: random::topic_id(),
                partitions: topic.partitions.unwrap_or(-1),
                replication_factor: -1,
                assignments: Vec::new(),
                configs: topic.config.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect(),
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        match self.catalog.call(Command::CreateTopics { topics: missing, validate_only: false }).await {
            Reply::Topics(outcomes) => outcomes.into_iter().try_for_each(|outcome| match outcome.result {
                Err(error) if error.code != ErrorCode::TopicAlreadyExists => Err(StartError::Topic {
                    name: outcome.name.map(|name| name.to_string()).unwrap_or_default(),
                    message: error.message.unwrap_or_else(|| error.code.name().to_owned()),
                }),
                Err(_) => Ok(()),
                Ok(topic) => {
                    topics::tell_created(&topic, "as the settings ask");
                    Ok(())
                }
            }),
            Reply::Refused(error) => Err(StartError::Catalog(error.name().to_owned())),
            _ => Ok(()),
        }
    }
}

/// What stands below the catalog.
struct Parts {
    data_dir: DataDir,
    manifest: Arc<Manifest>,
    clean: bool,
    committer: Arc<Committer>,
    checkpointer: Arc<Checkpointer>,
    partitions: Arc<PartitionTable>,
}

impl Parts {
    fn open(config: &Config, clock: &Clock) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&DirSpec {
            path: &config.data_dir,
            node_id: config.node_id,
            cluster_id: config.cluster_id.as_deref(),
            random: [random::bytes(), random::bytes()],
            now: clock.now_ms(),
        })?;
        let root = data_dir.path().to_path_buf();
        let io = |error: Arc<io::Error>| StartError::Io { path: root.display().to_string(), error };
        let wrap = |error: io::Error| io(Arc::new(error));
        let health = Arc::clone(data_dir.health());
        let (manifest, ManifestState { rows, verdict, .. }) =
            Manifest::open(&root, Arc::clone(&health)).map_err(wrap)?;
        if let Verdict::Damaged(why) = &verdict {
            tracing::warn!("the manifest is damaged ({why}); every log is read from its start");
        }
        if matches!(verdict, Verdict::Missing) && !data_dir.is_new() {
            tracing::warn!("the manifest is missing; every log is read from its start");
        }
        let clean = matches!(verdict, Verdict::Clean);
        // A file system whose maps do not show what was just written gets none; reads then go by `pread`.
        let maps_max = if data_dir.capabilities().maps_show_writes { MAPS_MAX } else { 0 };
        let Descriptors { files_max, own_files_max, .. } = Descriptors::of_process();
        let files = FileCache::limited(files_max, own_files_max, maps_max);
        let committer = Committer::start(CommitterSpec {
            clock: clock.clone(),
            health: Arc::clone(&health),
            dir: Arc::clone(data_dir.handle()),
            whole: data_dir.capabilities().whole_sync(),
            files: Arc::clone(&files),
            unsynced_limit_bytes: unsynced_limit_bytes(config.memory_limit_bytes),
        })
        .map_err(wrap)?;
        let checkpointer = Checkpointer::start(
            clock.clone(),
            CheckpointLimits::default(),
            Arc::clone(&committer),
            Arc::clone(&manifest),
        )
        .map_err(wrap)?;
        manifest.started(clock.now_ms()).map_err(|error| {
            if is_no_space(&error) {
                StartError::Full { path: root.display().to_string() }
            } else {
                io(error)
            }
        })?;
        let environment = Environment {
            root: root.clone(),
            clock: clock.clone(),
            fsync: config.fsync,
            committer: Arc::clone(&committer),
            checkpointer: Arc::clone(&checkpointer),
            manifest: Arc::clone(&manifest),
            schedule: Arc::default(),
            files,
            health,
            clean,
            found: if clean { HashSet::new() } else { partition_dirs(&root).map_err(wrap)? },
            settled: AtomicBool::new(false),
            recovered: Recovered::default(),
            rows: Mutex::new(rows),
        };
        let partitions = Arc::new(PartitionTable::new(environment));
        Ok(Self { data_dir, manifest, clean, committer, checkpointer, partitions })
    }
}

/// The partition directories of the data directory: what the manifest does not know may stand there, too.
fn partition_dirs(root: &Path) -> io::Result<HashSet<String>> {
    let mut found = HashSet::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if layout::parse_dir(&name).is_some() {
            found.insert(name);
        }
    }
    Ok(found)
}

/// Opens and loads the catalog, and counts this start.
async fn start_catalog(
    config: &Config,
    clock: &Clock,
    partitions: &Arc<PartitionTable>,
    published: &Arc<Published>,
) -> Result<ShardHandle<CatalogMachine>, StartError> {
    let wanted = OpenPartition {
        id: TopicPartition { topic: TopicId::METADATA, partition: 0 },
        topic: CLUSTER_METADATA.into(),
        settings: Arc::new(TopicSettings { delete: false, ..TopicSettings::default() }),
        leader_epoch: 0,
        kept_bytes: OWN_LOG_KEPT_BYTES,
    };
    let table = Arc::clone(partitions);
    let whose = |id| if id == TopicId::METADATA { Whose::Living } else { Whose::Unknown };
    let opening = tokio::task::spawn_blocking(move || table.get_or_open(&wanted, &whose));
    let partition = opening
        .await
        .unwrap_or(Err(OpenFault::Unknown))
        .map_err(|fault| StartError::Catalog(fault.to_string()))?;
    let effects = Arc::clone(published);
    let manifest = Arc::clone(&partitions.environment().manifest);
    let catalog = spawn(ShardSpec::<CatalogMachine> {
        name: CLUSTER_METADATA.to_owned(),
        log: Arc::new(PartitionLog { partition, manifest }),
        world: Arc::new(CatalogWorld {
            node_id: config.node_id,
            topics: config.topics.clone(),
            defaults: config.topic_defaults.clone(),
            offsets: config.offsets.clone(),
            transactions: config.transactions.clone(),
        }),
        effects: Box::new(move |effect| effects.carry_out(effect)),
        clock: clock.clone(),
        client_lane_max_commands: CATALOG_LANE_MAX_COMMANDS,
        load: LoadWhen::AtStart,
    });
    loop {
        match catalog.call(Command::Start).await {
            Reply::Started(_) => return Ok(catalog),
            Reply::Refused(ErrorCode::CoordinatorLoadInProgress) => {}
            Reply::Refused(_) if partitions.environment().health.room().take_full() => {
                return Err(StartError::Full { path: partitions.environment().root.display().to_string() });
            }
            Reply::Refused(error) => {
                let why = match catalog.status() {
                    ShardStatus::Faulted(why) => why,
                    _ => error.to_string(),
                };
                return Err(StartError::Catalog(why));
            }
            _ => return Err(StartError::Catalog("an answer to another question".to_owned())),
        }
    }
}
