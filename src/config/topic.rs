//! Effective topic settings: a topic's overrides over the broker's defaults.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::Codec;

/// What the broker's settings make of topics without overrides. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TopicDefaults {
    settings: Arc<TopicSettings>,
}

/// Who set a value, by DescribeConfigs' numbers (S95).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// The topic's own override.
    Topic = 1,
    /// This broker's dynamic setting.
    DynamicBroker = 2,
    /// The cluster-wide dynamic setting.
    DynamicDefaultBroker = 3,
    /// File, environment or flag.
    StaticBroker = 4,
    /// Nobody.
    Default = 5,
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

/// One row of a DescribeConfigs answer (S95).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The setting's name.
    pub name: &'static str,
    /// Its value; `None` when there is none or it is a secret.
    pub value: Option<String>,
    /// Who set it.
    pub source: Source,
    /// Whether a client can never change it.
    pub read_only: bool,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// Its type.
    pub kind: Kind,
    /// What it means.
    pub doc: &'static str,
    /// Where else the value may come from, highest precedence first, the one in force included.
    pub synonyms: Vec<ConfigSynonym>,
}

/// One place that a value may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The name there.
    pub name: &'static str,
    /// The value there; `None` when there is none or it is a secret.
    pub value: Option<String>,
    /// What kind of place it is.
    pub source: Source,
}

impl TopicDefaults {
    /// The settings of a topic without overrides.
    pub fn settings(&self) -> &Arc<TopicSettings> {
        &self.settings
    }

    /// What DescribeConfigs answers for a topic with these overrides (S95), sorted by name.
    pub fn entries(&self, overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        let _ = overrides;
        Vec::new()
    }

    /// Checks all overrides of a topic as CreateTopics and AlterConfigs bring them. `Err` is the message that goes
    /// with `INVALID_CONFIG`, in Kafka's words.
    pub fn validate(&self, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        overrides.iter().try_for_each(|(name, value)| validate(name, value))
    }
}

/// Checks one topic setting. `Err` is the message that goes with `INVALID_CONFIG`, in Kafka's words.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    let _ = (name, value);
    Ok(())
}

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

impl TopicSettings {
    /// A topic's overrides over the broker's defaults. Overrides were validated when they were stored; one that this
    /// version does not know or cannot read counts as absent.
    pub fn resolve(overrides: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Self {
        let _ = overrides;
        Self::clone(&defaults.settings)
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
