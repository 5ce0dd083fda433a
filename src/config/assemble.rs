//! From settings as chosen to [`Config`] as meant: types, sums and rules between settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::listen::{Advertise, Listener, Wanted};
use super::raw::{Problem, WrittenTopic};
use super::settings::Settings;
use super::{
    Amount, CleanerRules, Config, DiskLimits, FetchLimits, Fsync, GroupLimits, LogFormat, LogOutput,
    NetworkLimits, OffsetRules, ProducerRules, ScrubRules, StorageRules, TopicDefaults, TopicRules,
    TransactionRules, declared, rules, units,
};

/// Connections that the kernel completes ahead, unless `socket.listen.backlog.size` is set.
const BACKLOG: u32 = 1024;
/// The least and the most that `network.in_flight_total` is by itself.
const IN_FLIGHT_TOTAL_BYTES: std::ops::RangeInclusive<u64> = (16 << 20)..=(1 << 30);
/// `offsets.retention.minutes` that stands for ever.
const NEVER_MINUTES: i64 = i32::MAX as i64;

/// The least that a cleaner reads at once.
const READ_BYTES_MIN: u64 = 64 << 10;
/// The least time between two looks for something to compact.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// Builds the config. Problems are added; with any, the result must not be used.
pub(super) fn config(
    settings: Settings,
    topics: Vec<WrittenTopic>,
    machine_memory_bytes: u64,
    problems: &mut Vec<Problem>,
) -> Config {
    let s = Arc::new(settings);
    let listeners = listeners(&s, problems);
    let topic_defaults = TopicDefaults::new(Arc::clone(&s));
    let memory_limit_bytes = bytes(&s, "memory.limit").unwrap_or(machine_memory_bytes);
    problems.extend(rules::broken(&s, &topic_defaults));
    Config {
        profile: s.profile(),
        data_dir: data_dir(&s, problems).into(),
        node_id: s.int("node_id"),
        cluster_id: s.text("cluster_id").filter(|id| !id.is_empty()).map(str::to_owned),
        rack: s.text("broker.rack").filter(|rack| !rack.is_empty()).map(str::to_owned),
        network: network(&s, memory_limit_bytes, problems),
        fsync: s.text("durability.fsync").and_then(Fsync::parse).unwrap_or(Fsync::Batch),
        disk: DiskLimits {
            reserve: s.text("disk.reserve").and_then(Amount::parse).unwrap_or(Amount::Bytes(0)),
            limit_bytes: bytes(&s, "disk.limit"),
        },
        scrub: ScrubRules {
            bytes_per_second: bytes(&s, "disk.scrub_rate").unwrap_or(0),
            interval: time(&s, "disk.scrub_interval"),
        },
        memory_limit_bytes,
        topics: topic_rules(&s),
        declared_topics: declared::topics(topics, &topic_defaults, problems),
        topic_defaults,
        storage: StorageRules {
            retention_check_interval: s.millis("log.retention.check.interval.ms"),
            recovery_threads: s.size("num.recovery.threads.per.data.dir"),
        },
        cleaner: cleaner(&s, memory_limit_bytes),
        fetch: FetchLimits {
            max_bytes: s.size("fetch.max.bytes"),
            session_slots: s.size("max.incremental.fetch.session.cache.slots"),
        },
        groups: groups(&s),
        offsets: offsets(&s),
        producers: ProducerRules {
            id_expiration_ms: s.long("producer.id.expiration.ms"),
            id_expiration_check_interval: s.millis("producer.id.expiration.check.interval.ms"),
        },
        transactions: transactions(&s),
        log: log(&s),
        reported: Arc::new(reported(&s, &listeners)),
        listeners,
        settings: s,
    }
}

fn cleaner(s: &Settings, memory_limit_bytes: u64) -> CleanerRules {
    let threads = if s.truth("log.cleaner.enable") { s.size("log.cleaner.threads") } else { 0 };
    let each = |all: u64| all / u64::try_from(threads.max(1)).unwrap_or(1);
    let map_bytes = s.long(MAP_BYTES).unsigned_abs().min(map_bytes_max(s, memory_limit_bytes));
    let read_bytes = each(s.long("log.cleaner.io.buffer.size").unsigned_abs().min(memory_limit_bytes / 16));
    CleanerRules {
        threads,
        map_bytes: each(map_bytes),
        map_load: s.double("log.cleaner.io.buffer.load.factor"),
        read_bytes: usize::try_from(read_bytes.max(READ_BYTES_MIN)).unwrap_or(usize::MAX),
        io_max_bytes_per_second: s.double("log.cleaner.io.max.bytes.per.second"),
        backoff: s.millis("log.cleaner.backoff.ms").max(BACKOFF_MIN),
    }
}

/// The most that the cleaners' key maps take together: they are to leave memory to others, and more so if nobody has
/// said how large they are to be.
pub(super) fn map_bytes_max(s: &Settings, memory_limit_bytes: u64) -> u64 {
    memory_limit_bytes / if s.chosen(MAP_BYTES).is_some() { 2 } else { 8 }
}

/// The memory of the cleaners' key maps.
pub(super) const MAP_BYTES: &str = "log.cleaner.dedupe.buffer.size";

/// The settings that make up the listeners.
pub(super) fn wanted(s: &Settings) -> Wanted<'_> {
    Wanted {
        listeners: s.text("listen.kafka").unwrap_or_default(),
        protocols: s.text("listener.security.protocol.map").unwrap_or_default(),
        controllers: s.text("controller.listener.names").unwrap_or_default(),
        advertise: s.text("listen.advertise").unwrap_or_default(),
        internal: s.text("listen.advertise.internal"),
        external: s.text("listen.advertise.external"),
    }
}

/// A time with its unit.
fn time(s: &Settings, name: &str) -> Duration {
    let ms = s.text(name).and_then(units::millis).unwrap_or(0);
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn listeners(s: &Settings, problems: &mut Vec<Problem>) -> Vec<Listener> {
    wanted(s).resolve().unwrap_or_else(|fault| {
        problems.push(s.problem(fault.key, fault.text));
        Vec::new()
    })
}

fn data_dir<'a>(s: &'a Settings, problems: &mut Vec<Problem>) -> &'a str {
    let dir = s.text("data_dir").unwrap_or_default();
    if dir.is_empty() {
        problems.push(s.problem("data_dir", "must name a directory"));
    } else if dir.contains(',') && s.chosen("data_dir").is_some_and(|chosen| chosen.key.name != "data_dir") {
        problems.push(s.problem("data_dir", "streamd keeps everything in one directory. Name one"));
    }
    dir
}

fn network(s: &Settings, memory_limit_bytes: u64, problems: &mut Vec<Problem>) -> NetworkLimits {
    let own = |name: &str| usize::try_from(bytes(s, name).unwrap_or_default()).unwrap_or(usize::MAX);
    let produce_request_max_bytes = s.size("socket.request.max.bytes");
    let total = match s.long("queued.max.request.bytes") {
        queued if queued > 0 => Some(queued.unsigned_abs()),
        _ => bytes(s, "network.in_flight_total"),
    };
    let quarter =
        (memory_limit_bytes / 4).clamp(*IN_FLIGHT_TOTAL_BYTES.start(), *IN_FLIGHT_TOTAL_BYTES.end());
    let buffer = |name: &str| s.chosen(name).map(|_| s.long(name)).and_then(|n| usize::try_from(n).ok());
    let backlog = s.chosen("socket.listen.backlog.size").map(|_| s.long("socket.listen.backlog.size"));
    let idle = s.long("connections.max.idle.ms");
    NetworkLimits {
        produce_request_max_bytes,
        request_max_bytes: own("network.request_limit").clamp(1, produce_request_max_bytes.max(1)),
        connection_in_flight_max_bytes: own("network.in_flight_connection").max(1),
        connection_in_flight_max_requests: s.size("network.in_flight_requests"),
        total_in_flight_max_bytes: usize::try_from(total.unwrap_or(quarter)).unwrap_or(usize::MAX).max(1),
        connections_max: s.size("max.connections"),
        connections_per_ip_max: s.size("max.connections.per.ip"),
        connections_per_ip_overrides: per_ip_overrides(s, problems),
        idle_max: (idle >= 0).then(|| Duration::from_millis(idle.unsigned_abs())),
        send_buffer_bytes: buffer("socket.send.buffer.bytes"),
        receive_buffer_bytes: buffer("socket.receive.buffer.bytes"),
        listen_backlog: backlog.and_then(|n| u32::try_from(n).ok()).unwrap_or(BACKLOG),
    }
}

fn per_ip_overrides(s: &Settings, problems: &mut Vec<Problem>) -> Vec<(String, usize)> {
    let name = "max.connections.per.ip.overrides";
    let text = s.text(name).unwrap_or_default();
    let mut overrides = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let pair = entry.rsplit_once(':').map(|(host, count)| (host.trim(), count.trim().parse()));
        match pair {
            Some((host, Ok(count))) if !host.is_empty() => {
                overrides.push((host.trim_matches(['[', ']']).to_owned(), count));
            }
            _ => problems.push(s.problem(name, format!("\"{entry}\" must be host:count"))),
        }
    }
    overrides
}

fn topic_rules(s: &Settings) -> TopicRules {
    TopicRules {
        auto_create: s.truth("auto.create.topics.enable"),
        deletable: s.truth("delete.topic.enable"),
        default_partitions: s.int("num.partitions"),
        describe_partitions_max: s.int("max.request.partition.size.limit"),
    }
}

fn groups(s: &Settings) -> GroupLimits {
    GroupLimits {
        min_session_timeout_ms: s.int("group.min.session.timeout.ms"),
        max_session_timeout_ms: s.int("group.max.session.timeout.ms"),
        initial_rebalance_delay_ms: s
            .chosen("group.initial.rebalance.delay.ms")
            .map(|_| s.int("group.initial.rebalance.delay.ms").max(0)),
        max_size: s.int("group.max.size"),
    }
}

fn log(s: &Settings) -> LogOutput {
    let format = match s.text("log.format") {
        Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        _ => LogFormat::Auto,
    };
    LogOutput { format, level: s.text("log.level").unwrap_or("info").to_owned() }
}

fn offsets(s: &Settings) -> OffsetRules {
    let minutes = s.long("offsets.retention.minutes");
    OffsetRules {
        metadata_max_bytes: s.size("offset.metadata.max.bytes"),
        retention_ms: (minutes < NEVER_MINUTES).then_some(minutes.saturating_mul(60_000)),
        retention_check_interval: s.millis("offsets.retention.check.interval.ms"),
        commit_timeout: s.millis("offsets.commit.timeout.ms"),
        topic_partitions: s.int("offsets.topic.num.partitions"),
        topic_segment_bytes: s.int("offsets.topic.segment.bytes"),
    }
}

fn transactions(s: &Settings) -> TransactionRules {
    TransactionRules {
        max_timeout_ms: s.int("transaction.max.timeout.ms"),
        id_expiration_ms: s.long("transactional.id.expiration.ms"),
        id_expiration_check_interval: s.millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
        verifies_partitions: s.truth("transaction.partition.verification.enable"),
        topic_partitions: s.int("transaction.state.log.num.partitions"),
        topic_segment_bytes: s.int("transaction.state.log.segment.bytes"),
    }
}

/// A setting in bytes; `None` for `auto` and for none.
fn bytes(s: &Settings, name: &str) -> Option<u64> {
    s.text(name).and_then(units::bytes).and_then(|bytes| u64::try_from(bytes).ok())
}

/// Broker properties whose value is what other settings came to.
fn reported(s: &Settings, listeners: &[Listener]) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::new();
    let dir = s.text("data_dir").unwrap_or_default();
    values.insert("log.dirs", dir.to_owned());
    values.insert("log.dir", dir.to_owned());
    let node = s.int("node_id").to_string();
    values.insert("node.id", node.clone());
    values.insert("broker.id", node);
    let bound = listeners.iter().map(|listener| format!("{}://{}", listener.name, listener.bind));
    values.insert("listeners", bound.collect::<Vec<_>>().join(","));
    let told: Vec<_> = listeners
        .iter()
        .filter_map(|listener| match &listener.advertise {
            Advertise::Address(told) => Some(format!("{}://{told}", listener.name)),
            Advertise::ByOrigin { internal, external } => {
                external.as_ref().or(internal.as_ref()).map(|told| format!("{}://{told}", listener.name))
            }
            Advertise::Auto => None,
        })
        .collect();
    if !told.is_empty() {
        values.insert("advertised.listeners", told.join(","));
    }
    values
}
