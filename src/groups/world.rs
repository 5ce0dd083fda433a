//! What group decisions depend on besides their own state: settings and the topics that exist.

use std::sync::Arc;

use crate::catalog::CatalogImage;
use crate::coord::Release;

/// The surroundings of every group shard; swapped as a whole when a setting or the catalog changes.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Settings.
    pub settings: GroupSettings,
    /// The topics that exist.
    pub image: Arc<CatalogImage>,
}

/// The broker's settings for groups, by Kafka's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`, and whether somebody asked for it.
    pub initial_delay: InitialDelay,
    /// `group.max.size`, in members.
    pub max_size: i32,
    /// `offset.metadata.max.bytes`; counted in UTF-16 units, as Kafka does.
    pub offset_metadata_max: i32,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval_ms: i64,
    /// When a plain OffsetCommit is answered: [`Release::Durable`] with `fsync = "always"`.
    pub commit_release: Release,
    /// When TxnOffsetCommit is answered: [`Release::Durable`] with `fsync = "batch"` and `"always"`, as all that
    /// transactions write.
    pub transaction_release: Release,
}

/// How long the first rebalance of an empty group waits for more members (S64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialDelay {
    /// The setting was left at its default. Nobody waits for members that nobody has heard of: the join phase ends
    /// when all known members are there, and at latest when Kafka's delay would have ended it.
    Adaptive,
    /// The setting was given, in milliseconds: it means what it means in Kafka.
    Exactly(i32),
}

impl InitialDelay {
    /// Kafka's default, in milliseconds.
    pub const DEFAULT_MS: i32 = 3_000;

    /// The step by which the first rebalance is put off, in milliseconds.
    pub(super) fn step_ms(self) -> i64 {
        match self {
            Self::Adaptive => i64::from(Self::DEFAULT_MS),
            Self::Exactly(ms) => i64::from(ms.max(0)),
        }
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_delay: InitialDelay::Adaptive,
            max_size: i32::MAX,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            retention_check_interval_ms: 600_000,
            commit_release: Release::Appended,
            transaction_release: Release::Durable,
        }
    }
}
