//! Topic settings: a topic's overrides over the broker's defaults, and the check of overrides as clients bring them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keys::{self, Key, Scope, Status, Unit};
use super::settings::{self, Settings};
use super::value;
use crate::types::Codec;

/// What a topic's log does, after overrides and defaults (Kafka's topic configs; units are in the names).
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `compression.type`; `None` is `producer`: keep what the producer sent.
    pub compression: Option<Compression>,
    /// `max.message.bytes`: the largest batch accepted, in bytes.
    pub max_message_bytes: i32,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `retention.ms`; negative is for ever.
    pub retention_ms: i64,
    /// `log.retention.check.interval.ms`, a broker's setting: records that are old when they come stay at least this long,
    /// or `retention.ms` if that is shorter.
    pub retention_grace_ms: i64,
    /// `retention.bytes`, per partition; negative is unlimited.
    pub retention_bytes: i64,
    /// `segment.bytes`.
    pub segment_bytes: i32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: sync after this many records.
    pub flush_messages: i64,
    /// `flush.ms`: sync when the oldest unsynced record is this old.
    pub flush_ms: i64,
    /// `min.insync.replicas`, reported and capped at the one replica there is (S34).
    pub min_insync_replicas: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
}

/// A codec that the broker recompresses to, with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The codec; [`Codec::None`] is `uncompressed`.
    pub codec: Codec,
    /// The codec's level in its own scale.
    pub level: i32,
}

/// What the broker's settings make of topics without overrides. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TopicDefaults {
    broker: Arc<Settings>,
    values: Arc<BTreeMap<&'static str, String>>,
    settings: Arc<TopicSettings>,
}

/// Removed by Kafka 4.0, yet set by old tools: accepted, and mapped to the two settings that took its place.
const DIFFERENCE_MAX: &str = "message.timestamp.difference.max.ms";

impl TopicDefaults {
    /// The defaults that these settings give.
    pub(super) fn new(broker: Arc<Settings>) -> Self {
        let values = keys::topic().filter_map(|key| Some((key.name, default_value(&broker, key)?))).collect();
        let mut defaults =
            Self { broker, values: Arc::new(values), settings: Arc::new(TopicSettings::default()) };
        defaults.settings = Arc::new(TopicSettings::resolve(&BTreeMap::new(), &defaults));
        defaults
    }

    /// The settings of a topic without overrides.
    pub fn settings(&self) -> &Arc<TopicSettings> {
        &self.settings
    }

    /// The broker's own settings, from which the defaults come.
    pub(super) fn broker(&self) -> &Settings {
        &self.broker
    }

    /// The value of a setting for a topic without overrides, in Kafka's text form.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(text) => Some(text),
            None => keys::find(Scope::Topic, name)?.default,
        }
    }

    /// Checks all overrides of a topic as CreateTopics and AlterConfigs bring them. `Err` is the message that goes
    /// with `INVALID_CONFIG`, in Kafka's words.
    pub fn validate(&self, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        overrides.iter().try_for_each(|(name, value)| validate(name, value))?;
        let lag = |name: &str| View { overrides, defaults: self }.long(name);
        let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
        if min > max {
            return Err(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            ));
        }
        Ok(())
    }
}

/// Checks one topic setting. `Err` is the message that goes with `INVALID_CONFIG`, in Kafka's words.
///
/// More lenient than Kafka 4.3 in two things: segments may be smaller than 1 MiB, and the three names that 4.0 removed
/// are accepted, since old tools set them.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    let Some(key) = keys::find(Scope::Topic, name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    let text = value::parse(key, value).map_err(|fault| fault.in_kafkas_words(key, value))?;
    if key.status == Status::Refused && Some(text.as_str()) != key.default {
        return Err("Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage."
            .to_owned());
    }
    Ok(())
}

/// The topic setting that a name may have meant which is none: the one whose default for all topics has this name, or
/// one that is written nearly so, rather one that does something here than another.
pub fn nearest_name(name: &str) -> Option<&'static str> {
    let of_broker = keys::topic().find(|key| key.synonyms.contains(&name)).map(|key| key.name);
    let near = |works: bool| {
        let named = keys::topic().filter(|key| key.listed && (key.status == Status::Effective) == works);
        super::names::nearest(name, named.map(|key| key.name))
    };
    of_broker.or_else(|| near(true)).or_else(|| near(false))
}

/// A topic setting's value as people write it, in the form that brokers take: units become plain numbers. `Err` is what
/// is expected, to follow "must be", where no broker can take the value; words and ranges are not looked at, since
/// another broker may know more of them.
pub fn plain_value(key: &Key, text: &str) -> Result<String, String> {
    if let Some(number) = value::plain_number(key, text) {
        return Ok(number.to_string());
    }
    match value::parse(key, text) {
        Err(fault @ (value::Fault::NotNumber | value::Fault::NotBoolean)) => Err(fault.in_plain_words(key)),
        _ => Ok(text.to_owned()),
    }
}

/// Who set a topic's setting, for people: `topic override: none; broker: message.max.bytes`.
pub fn set_by(name: &str, overrides: &BTreeMap<String, String>) -> String {
    let is_window = name.starts_with("message.timestamp.") && name.ends_with(".max.ms");
    if overrides.contains_key(name) {
        return "topic override".to_owned();
    }
    if is_window && overrides.contains_key(DIFFERENCE_MAX) {
        return format!("topic override: {DIFFERENCE_MAX}");
    }
    match keys::find(Scope::Topic, name).and_then(|key| key.synonyms.first()) {
        Some(property) => format!("topic override: none; broker: {property}"),
        None => "topic override: none".to_owned(),
    }
}

/// The message that goes with `INVALID_CONFIG` when settings come without a value.
pub fn null_values(names: &[&str]) -> String {
    format!("Null value not supported for topic configs: {}", names.join(","))
}

/// A topic setting's default: the first of its broker properties that somebody set, or the table's.
fn default_value(broker: &Settings, key: &Key) -> Option<String> {
    let set = key.synonyms.iter().find_map(|name| Some((*name, broker.chosen(name)?.text.as_str())));
    match set {
        Some((name, text)) => Some(converted(name, text, key)),
        None => key.default.map(str::to_owned),
    }
}

/// A broker property's value in the topic setting's unit: `log.retention.hours` counts hours, `retention.ms` not.
fn converted(property: &str, text: &str, key: &Key) -> String {
    let one = match settings::find(property).map(Key::unit) {
        Some(Unit::Time(one)) if one != 1 && key.unit() == Unit::Time(1) => one,
        _ => return text.to_owned(),
    };
    match text.parse::<i64>() {
        Ok(negative) if negative < 0 => "-1".to_owned(),
        Ok(number) => number.saturating_mul(one).to_string(),
        Err(_) => text.to_owned(),
    }
}

impl TopicSettings {
    /// A topic's overrides over the broker's defaults. Overrides were validated when they were stored; one that this
    /// version does not know or cannot read counts as absent.
    pub fn resolve(overrides: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Self {
        let view = View { overrides, defaults };
        let policy = view.text("cleanup.policy");
        let has = |wanted: &str| policy.split(',').any(|word| word == wanted);
        let difference = view.overridden(DIFFERENCE_MAX);
        let timestamp = |name: &str| match (&difference, view.overridden(name)) {
            (Some(difference), None) => difference.parse().unwrap_or(i64::MAX),
            _ => view.long(name),
        };
        Self {
            delete: has("delete"),
            compact: has("compact"),
            compression: view.compression(),
            max_message_bytes: view.int("max.message.bytes"),
            log_append_time: view.text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: timestamp("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: timestamp("message.timestamp.after.max.ms"),
            retention_ms: view.long("retention.ms"),
            retention_grace_ms: defaults.broker.long("log.retention.check.interval.ms"),
            retention_bytes: view.long("retention.bytes"),
            segment_bytes: match view.overridden("internal.segment.bytes") {
                Some(bytes) => bytes.parse().unwrap_or(i32::MAX),
                None => view.int("segment.bytes"),
            },
            segment_ms: view.long("segment.ms"),
            segment_jitter_ms: view.long("segment.jitter.ms"),
            segment_index_bytes: view.int("segment.index.bytes"),
            index_interval_bytes: view.int("index.interval.bytes"),
            file_delete_delay_ms: view.long("file.delete.delay.ms"),
            flush_messages: view.long("flush.messages"),
            flush_ms: view.long("flush.ms"),
            min_insync_replicas: view.int("min.insync.replicas"),
            preallocate: view.text("preallocate") == "true",
            delete_retention_ms: view.long("delete.retention.ms"),
            min_compaction_lag_ms: view.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: view.long("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: view.text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
        }
    }
}

/// One topic's values by name: its own where they can be read, else the defaults.
struct View<'a> {
    overrides: &'a BTreeMap<String, String>,
    defaults: &'a TopicDefaults,
}

impl View<'_> {
    fn overridden(&self, name: &str) -> Option<String> {
        value::parse(keys::find(Scope::Topic, name)?, self.overrides.get(name)?).ok()
    }

    fn text(&self, name: &str) -> String {
        self.overridden(name).unwrap_or_else(|| self.defaults.value(name).unwrap_or_default().to_owned())
    }

    fn long(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).unwrap_or(i32::MAX)
    }

    fn compression(&self) -> Option<Compression> {
        let (codec, level) = match self.text("compression.type").as_str() {
            "uncompressed" => (Codec::None, 0),
            "gzip" => (Codec::Gzip, self.int("compression.gzip.level")),
            "snappy" => (Codec::Snappy, 0),
            "lz4" => (Codec::Lz4, self.int("compression.lz4.level")),
            "zstd" => (Codec::Zstd, self.int("compression.zstd.level")),
            _ => return None,
        };
        Some(Compression { codec, level })
    }
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            delete: true,
            compact: false,
            compression: None,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            retention_ms: 604_800_000,
            retention_grace_ms: 300_000,
            retention_bytes: -1,
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            min_insync_replicas: 1,
            preallocate: false,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
        }
    }
}

#[cfg(test)]
#[path = "topic_tests.rs"]
mod tests;
