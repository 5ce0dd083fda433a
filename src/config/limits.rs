//! Bounds and rules by area, as meant. Every bound has its unit in its name.

use std::collections::BTreeMap;
use std::time::Duration;

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

/// What may be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRules {
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub deletable: bool,
    /// `num.partitions`: of topics that do not say.
    pub default_partitions: i32,
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
    pub config: BTreeMap<String, String>,
}

/// Intervals and widths of the storage layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRules {
    /// `log.retention.check.interval.ms`: at least this often segments are looked at.
    pub retention_check_interval: Duration,
    /// `num.recovery.threads.per.data.dir`: partitions opened at once after an unclean stop.
    pub recovery_threads: usize,
}

/// How compacted topics are cleaned.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerRules {
    /// Threads; 0 where `log.cleaner.enable` is off.
    pub threads: usize,
    /// Bytes of one thread's key map.
    pub map_bytes: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full it may become, from 0 to 1.
    pub map_load: f64,
    /// Bytes that one thread reads at once.
    pub read_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, all threads together.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
}

/// How logs are looked through for damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubRules {
    /// `disk.scrub_rate`; 0 for not at all.
    pub bytes_per_second: u64,
    /// `disk.scrub_interval`: the pause between two rounds.
    pub interval: Duration,
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
    /// `group.initial.rebalance.delay.ms`, if somebody set it: how long an empty group waits for further first members.
    pub initial_rebalance_delay_ms: Option<i32>,
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
    /// `offsets.commit.timeout.ms`: a commit that is not written by then is answered with an error.
    pub commit_timeout: Duration,
    /// `offsets.topic.num.partitions`: used once, when the topic is made.
    pub topic_partitions: i32,
    /// `offsets.topic.segment.bytes`.
    pub topic_segment_bytes: i32,
}

/// Transactions and the topic that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRules {
    /// `transaction.max.timeout.ms`: the longest that a producer may keep a transaction open.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: an id that nobody uses is forgotten after this long.
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub id_expiration_check_interval: Duration,
    /// `transaction.partition.verification.enable`: a partition asks the coordinator before a transaction begins there.
    pub verifies_partitions: bool,
    /// `transaction.state.log.num.partitions`: used once, when the topic is made.
    pub topic_partitions: i32,
    /// `transaction.state.log.segment.bytes`.
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
