//! Effective topic settings: a topic's overrides over the broker's defaults.

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
