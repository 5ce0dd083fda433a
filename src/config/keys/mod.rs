//! The table of settings: one row for each, and nothing else knows a name, a default or a range.
//!
//! Three scopes: streamd's own keys (paths in `broker.toml`), Kafka's broker properties (as Apache Kafka 4.3 has them)
//! and Kafka's topic settings. Loading, validation, DescribeConfigs, `config/broker.toml` and `docs/CONFIG.md` all
//! read these rows; adding a setting is adding a row.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Writes a table of rows:
///
/// ```text
/// "name": Kind = default, in Valid, Update, Status [hidden] [, from ["broker synonym", …]]; "doc"
/// ```
macro_rules! rows {
    (@default null) => { None };
    (@default $text:literal) => { Some($text) };
    (@listed hidden) => { false };
    (@listed) => { true };
    ($vis:vis $table:ident: $scope:ident;
     $($name:literal: $kind:ident = $default:tt, in $valid:expr, $update:ident, $status:ident $($hidden:ident)?
       $(, from [$($synonym:literal),*])?; $doc:literal)*) => {
        $vis const $table: &[Key] = &[$(Key {
            name: $name,
            scope: Scope::$scope,
            kind: Kind::$kind,
            default: rows!(@default $default),
            valid: { use Valid::*; $valid },
            update: Update::$update,
            status: Status::$status,
            listed: rows!(@listed $($hidden)?),
            synonyms: &[$($($synonym),*)?],
            doc: $doc,
        }),*];
    };
}

mod cluster;
mod groups;
mod log;
mod network;
mod own;
mod remote;
mod security;
mod topic;
mod transactions;

/// One setting.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// Its name: a path in `broker.toml`, or Kafka's name.
    pub name: &'static str,
    /// Where it is set.
    pub scope: Scope,
    /// Its type.
    pub kind: Kind,
    /// Its value when nobody sets it, in Kafka's text form; `None` is no value.
    pub default: Option<&'static str>,
    /// Which values it takes, beyond its type.
    pub valid: Valid,
    /// When it may change.
    pub update: Update,
    /// What it does here.
    pub status: Status,
    /// Whether DescribeConfigs lists it unasked.
    pub listed: bool,
    /// For topic settings: the broker properties that give the default, highest precedence first.
    pub synonyms: &'static [&'static str],
    /// What it means.
    pub doc: &'static str,
}

/// Where a setting is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A path of `broker.toml`.
    Own,
    /// Kafka's broker properties: `[kafka]` in `broker.toml`, or `server.properties`.
    Broker,
    /// Kafka's topic settings: on a topic, or for all in `[defaults.topic]`.
    Topic,
}

/// A value's type, by DescribeConfigs' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// Floating point.
    Double = 6,
    /// Values between commas.
    List = 7,
    /// A Java class name.
    Class = 8,
    /// A secret.
    Password = 9,
}

impl Kind {
    /// Its number on the wire (DescribeConfigs v3).
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// Which values of its type a setting takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    /// All.
    Any,
    /// Numbers from this one.
    AtLeast(i64),
    /// Numbers between these, both included.
    Between(i64, i64),
    /// Numbers between these hundredths, both included.
    Hundredths(i64, i64),
    /// 1 to 9, or -1.
    GzipLevel,
    /// These words (of a list: each element).
    OneOf(&'static [&'static str]),
    /// These words in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// `*`, or `partition:broker` pairs.
    Replicas,
    /// One of streamd's own forms.
    Form(Form),
}

/// streamd's own forms of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `always`, `batch`, `interval(1s)` or `never`.
    Fsync,
    /// A number of bytes, from this one.
    Bytes(i64),
    /// A number of bytes from this one, or `auto`.
    BytesOrAuto(i64),
    /// A number of bytes from this one, or 0.
    BytesOrOff(i64),
    /// A number of bytes, or a percentage up to this one.
    Amount(i64),
    /// `auto`, one `host:port`, or `NAME://host:port` for each listener.
    Advertise,
    /// `host:port`.
    HostPort,
    /// `host:port`, or `NAME://host:port` for each listener.
    Listeners,
    /// A level or a filter of log lines.
    LogFilter,
    /// A time with its unit, of at least so many milliseconds.
    Time(i64),
}

/// When a setting may change (Kafka's modes of dynamic settings).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// At start only.
    ReadOnly,
    /// By AlterConfigs on one broker.
    PerBroker,
    /// By AlterConfigs on a broker or on all.
    Cluster,
}

/// What a setting does in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Effective,
    /// It is accepted, checked and reported, and changes nothing.
    Reported,
    /// Any value but its default stops the start.
    Refused,
}

/// `compression.type`.
const COMPRESSION: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Other names of settings: setting the left one sets the right one.
pub const ALIASES: &[(&str, &str)] = &[
    ("log.dirs", "data_dir"),
    ("log.dir", "data_dir"),
    ("node.id", "node_id"),
    ("broker.id", "node_id"),
    ("listeners", "listen.kafka"),
    ("advertised.listeners", "listen.advertise"),
    ("defaults.topic.partitions", "num.partitions"),
    ("defaults.topic.auto_create", "auto.create.topics.enable"),
];

/// Broker properties of which the first that is set counts, as in Kafka.
pub const SYNONYM_GROUPS: &[&[&str]] = &[
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// What the `dev` profile defaults differently.
pub const DEV_DEFAULTS: &[(&str, &str)] =
    &[("durability.fsync", "interval(1s)"), ("offsets.retention.minutes", "2147483647")];

/// Properties of other programs and of Kafka's past, by name or (with a dot at the end) prefix. They are accepted and
/// do nothing.
pub const FOREIGN: &[&str] = &[
    "zookeeper.",
    "log4j.",
    "log4j2.",
    "confluent.",
    "listener.name.",
    "rsm.config.",
    "rlmm.config.",
    "password.encoder.",
    "auto.include.jmx.reporter",
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "inter.broker.protocol.version",
    "leader.imbalance.per.broker.percentage",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "offsets.commit.required.acks",
    "reserved.broker.max.id",
    "super.users",
    "allow.everyone.if.no.acl.found",
];

/// Properties of Kafka's past whose loss would be noticed, and what took their place.
pub const REMOVED: &[(&str, &str)] = &[
    ("host.name", "listeners"),
    ("port", "listeners"),
    ("advertised.host.name", "advertised.listeners"),
    ("advertised.port", "advertised.listeners"),
    ("quota.producer.default", "client quotas"),
    ("quota.consumer.default", "client quotas"),
    (
        "log.message.timestamp.difference.max.ms",
        "log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
    ),
];

/// Tables of `broker.toml` that later versions bring.
pub const LATER_TABLES: &[&str] = &["tls", "auth", "registry", "console", "telemetry"];

/// streamd's own keys, in the order of `broker.toml`.
pub fn own() -> impl Iterator<Item = &'static Key> {
    own::OWN.iter()
}

/// Kafka's broker properties, by area.
pub fn broker() -> impl Iterator<Item = &'static Key> {
    BROKER_AREAS.iter().flat_map(|(_, rows)| rows.iter())
}

/// Kafka's topic settings, by name.
pub fn topic() -> impl Iterator<Item = &'static Key> {
    topic::TOPIC.iter()
}

/// Kafka's broker properties under the headings of the reference.
pub const BROKER_AREAS: &[(&str, &[Key])] = &[
    ("Identity, listeners, network", network::NETWORK),
    ("Topics and logs", log::LOG),
    ("Groups and offsets", groups::GROUPS),
    ("Producers and transactions", transactions::TRANSACTIONS),
    ("Controllers and replication", cluster::CLUSTER),
    ("Tiered storage", remote::REMOTE),
    ("Security", security::SECURITY),
];

/// The row of this name in this scope.
pub fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    static INDEX: LazyLock<[HashMap<&'static str, &'static Key>; 3]> = LazyLock::new(|| {
        [
            own().map(|key| (key.name, key)).collect(),
            broker().map(|key| (key.name, key)).collect(),
            topic().map(|key| (key.name, key)).collect(),
        ]
    });
    let [own, broker, topic] = &*INDEX;
    let index = match scope {
        Scope::Own => own,
        Scope::Broker => broker,
        Scope::Topic => topic,
    };
    index.get(name).copied()
}

/// The setting that this one stands for: itself, unless it is an alias.
pub fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, target)| target)
}

impl Key {
    /// Whether its value is a secret.
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// What a bare number counts, for settings that also take human units.
    pub fn unit(&self) -> Unit {
        match self.kind {
            Kind::Int | Kind::Long | Kind::Short => Unit::of(self.name),
            _ => Unit::None,
        }
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Time; the number of milliseconds in one.
    Time(i64),
    /// Bytes.
    Bytes,
}

impl Unit {
    /// By the name's end, which Kafka keeps to.
    fn of(name: &str) -> Self {
        let last = name.rsplit(['.', '_']).next().unwrap_or(name);
        match last {
            "ms" | "millis" => Self::Time(1),
            "seconds" | "secs" => Self::Time(1_000),
            "minutes" => Self::Time(60_000),
            "hours" => Self::Time(3_600_000),
            "bytes" => Self::Bytes,
            _ if name.ends_with("buffer.size") => Self::Bytes,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
