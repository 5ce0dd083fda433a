//! What decisions on transactions depend on besides their own state: settings.

use crate::coord::Release;

/// The surroundings of every transaction shard.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Settings.
    pub settings: TxnSettings,
}

/// The broker's settings for transactions, by Kafka's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnSettings {
    /// `transaction.max.timeout.ms`.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiry_check_interval_ms: i64,
    /// When a change may be seen: [`Release::Durable`] where acks=all waits for the disk.
    pub release: Release,
}

impl Default for TxnSettings {
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            id_expiration_ms: 604_800_000,
            expiry_check_interval_ms: 3_600_000,
            release: Release::Durable,
        }
    }
}
