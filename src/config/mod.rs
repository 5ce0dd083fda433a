//! Settings as meant: typed, complete and valid.
//!
//! [`load`](self::load) reads what people wrote, by the rows of [`keys`]; this file says what it came to. Everything
//! below the command line gets its part of [`Config`] and never looks at a file, a variable or a flag.

pub mod topic;

use std::path::PathBuf;
use std::time::Duration;

pub use topic::{ConfigEntry, Source, TopicDefaults, TopicSettings};

/// All settings of one broker.
#[derive(Debug, Clone)]
pub struct Config {
    /// The set of defaults in force.
    pub profile: Profile,
    /// The one directory that holds everything.
    pub data_dir: PathBuf,
    /// This broker's number.
    pub node_id: i32,
    /// The cluster id that the data must have; `None` takes the stored one or makes one at the first start.
    pub cluster_id: Option<String>,
    /// `broker.rack`, as metadata answers show it.
    pub rack: Option<String>,
    /// Where clients connect: at least one.
    pub listeners: Vec<Listener>,
    /// Bounds of the network layer.
    pub network: NetworkLimits,
    /// When appended bytes are synced and what acks wait for.
    pub fsync: Fsync,
    /// Bounds on the file system's use.
    pub disk: DiskLimits,
    /// What the process may use, in bytes: as set, or what the cgroup or the machine has.
    pub memory_limit_bytes: u64,
    /// What may be created, and with how many partitions.
    pub topics: TopicRules,
    /// What topics without overrides do.
    pub topic_defaults: TopicDefaults,
    /// Topics that exist once the broker is ready.
    pub declared_topics: Vec<DeclaredTopic>,
    /// Intervals and widths of the storage layer.
    pub storage: StorageRules,
    /// Bounds of Fetch.
    pub fetch: FetchLimits,
    /// Bounds of consumer groups.
    pub groups: GroupLimits,
    /// Committed offsets and their topic.
    pub offsets: OffsetRules,
    /// Idempotent producers.
    pub producers: ProducerRules,
    /// What is logged, and how.
    pub log: LogOutput,
}

/// A set of defaults; never changes what a setting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A laptop, a test: fsync once a second, committed offsets never expire. The default without a config file.
    Dev,
    /// Everything else.
    Prod,
}

/// A host and a port, as written: the host may be a name or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address without brackets; empty means every interface (bound) or "auto" (advertised).
    pub host: String,
    /// The port; 0 means a free one (bound) or the bound one (advertised).
    pub port: u16,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Kafka's listener name (`PLAINTEXT` unless `listeners` gives another); unique.
    pub name: String,
    /// What is bound.
    pub bind: HostPort,
    /// What clients that came in here are told.
    pub advertise: Advertise,
}

/// The address that answers to clients name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// For each connection the address that works the way it came in: its own local address.
    Auto,
    /// Always this one.
    Address(HostPort),
    /// By the peer: `internal` for this machine's and this subnet's, `external` for others; `None` is as `Auto`.
    ByOrigin {
        /// For peers on this machine or on the same subnet.
        internal: Option<HostPort>,
        /// For all others.
        external: Option<HostPort>,
    },
}

/// Bounds of the network layer; over one of them it stops reading or refuses, it never grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLimits {
    /// `socket.request.max.bytes`: the largest frame of a Produce request.
    pub produce_request_max_bytes: usize,
    /// The largest frame of any other request (never above the one for Produce).
    pub request_max_bytes: usize,
    /// Request bytes read and not yet answered on one connection. One larger frame passes alone.
    pub connection_in_flight_max_bytes: usize,
    /// Requests read and not yet answered on one connection.
    pub connection_in_flight_max_requests: usize,
    /// Request bytes read and not yet answered on all connections.
    pub total_in_flight_max_bytes: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `max.connections.per.ip.overrides`: host or address, and its own limit.
    pub connections_per_ip_overrides: Vec<(String, usize)>,
    /// `connections.max.idle.ms`; `None` keeps idle connections for ever.
    pub idle_max: Option<Duration>,
    /// `socket.send.buffer.bytes`; `None` leaves it to the kernel.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    /// `socket.listen.backlog.size`.
    pub listen_backlog: u32,
}

/// When appended bytes are synced, and what acks wait for (docs/durability.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Group sync; acks=1 and offset commits wait as well as acks=all.
    Always,
    /// Group sync; acks=all waits, and the high watermark is the durable offset.
    Batch,
    /// Nobody waits; synced in the background this often.
    Interval(Duration),
    /// Synced at roll and stop only.
    Never,
}

/// Bounds on the file system's use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskLimits {
    /// Below this much free space the broker is read-only.
    pub reserve: Amount,
    /// The most that the data directory may hold, in bytes.
    pub limit_bytes: Option<u64>,
}

/// So many bytes, or a share of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Percent of the whole, 0 to 100.
    Percent(f64),
}

/// What may be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRules {
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub deletable: bool,
    /// `num.partitions`: of topics that do not say.
    pub default_partitions: i32,
    /// `default.replication.factor`: of topics that do not say; capped at the brokers there are.
    pub default_replication_factor: i16,
    /// `max.request.partition.size.limit`: partitions in one DescribeTopicPartitions answer.
    pub describe_partitions_max: i32,
}

/// A topic that the settings ask for: made at start if it is missing, never changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Its name.
    pub name: String,
    /// Its partitions; `None` takes the default.
    pub partitions: Option<i32>,
    /// Its own settings by Kafka's names, already validated.
    pub config: std::collections::BTreeMap<String, String>,
}

/// Intervals and widths of the storage layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRules {
    /// `log.retention.check.interval.ms`: at least this often segments are looked at.
    pub retention_check_interval: Duration,
    /// `num.recovery.threads.per.data.dir`: partitions opened at once after an unclean stop.
    pub recovery_threads: usize,
}

/// Bounds of Fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// `fetch.max.bytes`: the most one answer holds, whatever the client allows.
    pub max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub session_slots: usize,
}

/// Bounds of consumer groups (classic protocol).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimits {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: the most an empty group waits for further first members.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub max_size: i32,
}

/// Committed offsets and the topic that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetRules {
    /// `offset.metadata.max.bytes`.
    pub metadata_max_bytes: usize,
    /// `offsets.retention.minutes` in milliseconds; `None` never expires them.
    pub retention_ms: Option<i64>,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout: Duration,
    /// `offsets.topic.num.partitions`: used once, when the topic is made.
    pub topic_partitions: i32,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i32,
}

/// Idempotent producers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRules {
    /// `producer.id.expiration.ms`: a producer's sequence numbers are forgotten after this long without a batch.
    pub id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub id_expiration_check_interval: Duration,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOutput {
    /// Text or JSON.
    pub format: LogFormat,
    /// A level or a filter: `info`, `info,streamd::net=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    /// What an empty `broker.toml` means: the `prod` profile.
    fn default() -> Self {
        Self {
            profile: Profile::Prod,
            data_dir: PathBuf::from("streamd-data"),
            node_id: 1,
            cluster_id: None,
            rack: None,
            listeners: vec![Listener {
                name: "PLAINTEXT".to_owned(),
                bind: HostPort { host: "0.0.0.0".to_owned(), port: 9092 },
                advertise: Advertise::Auto,
            }],
            network: NetworkLimits {
                produce_request_max_bytes: 104_857_600,
                request_max_bytes: 16 << 20,
                connection_in_flight_max_bytes: 8 << 20,
                connection_in_flight_max_requests: 1024,
                total_in_flight_max_bytes: 256 << 20,
                connections_max: usize::MAX,
                connections_per_ip_max: usize::MAX,
                connections_per_ip_overrides: Vec::new(),
                idle_max: Some(Duration::from_millis(600_000)),
                send_buffer_bytes: None,
                receive_buffer_bytes: None,
                listen_backlog: 50,
            },
            fsync: Fsync::Batch,
            disk: DiskLimits { reserve: Amount::Percent(5.0), limit_bytes: None },
            memory_limit_bytes: 1 << 30,
            topics: TopicRules {
                auto_create: true,
                deletable: true,
                default_partitions: 1,
                default_replication_factor: 1,
                describe_partitions_max: 2000,
            },
            topic_defaults: TopicDefaults::default(),
            declared_topics: Vec::new(),
            storage: StorageRules {
                retention_check_interval: Duration::from_millis(300_000),
                recovery_threads: 2,
            },
            fetch: FetchLimits { max_bytes: 57_671_680, session_slots: 1000 },
            groups: GroupLimits {
                min_session_timeout_ms: 6_000,
                max_session_timeout_ms: 1_800_000,
                initial_rebalance_delay_ms: 3_000,
                max_size: i32::MAX,
            },
            offsets: OffsetRules {
                metadata_max_bytes: 4096,
                retention_ms: Some(10_080 * 60_000),
                retention_check_interval: Duration::from_millis(600_000),
                commit_timeout: Duration::from_millis(5_000),
                topic_partitions: 50,
                topic_segment_bytes: 104_857_600,
            },
            producers: ProducerRules {
                id_expiration_ms: 86_400_000,
                id_expiration_check_interval: Duration::from_millis(600_000),
            },
            log: LogOutput { format: LogFormat::Auto, level: "info".to_owned() },
        }
    }
}

impl Config {
    /// What DescribeConfigs answers for this broker (S95), sorted by name.
    pub fn broker_entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
