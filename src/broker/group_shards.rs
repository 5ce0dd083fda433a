//! The group coordinators: one shard per partition of `__consumer_offsets`, started when a group needs it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::coord_log::PartitionLog;
use crate::catalog::CatalogImage;
use crate::config::{Config, Fsync};
use crate::coord::Release;
use crate::coord::task::{LoadWhen, ShardHandle, ShardSpec, spawn};
use crate::groups::{Command, Effect, GroupSettings, Groups, InitialDelay, World};
use crate::partition::Partition;
use crate::storage::manifest::Manifest;
use crate::types::Clock;
use crate::types::offset::saturate_i32;

/// The name of the topic that holds groups and their offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Commands of clients that may stand in one shard's mailbox.
const CLIENT_LANE_MAX_COMMANDS: usize = 10_000;

/// The shards that were started.
#[derive(Debug)]
pub(super) struct GroupShards {
    settings: GroupSettings,
    clock: Clock,
    manifest: Arc<Manifest>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    world: Arc<World>,
    shards: HashMap<i32, ShardHandle<Groups>>,
}

impl GroupShards {
    pub(super) fn new(config: &Config, clock: Clock, manifest: Arc<Manifest>) -> Self {
        let settings = settings(config);
        let world = Arc::new(World { settings: settings.clone(), image: Arc::default() });
        Self { settings, clock, manifest, state: Mutex::new(State { world, shards: HashMap::new() }) }
    }

    /// The shard of this partition, if it was started.
    pub(super) fn get(&self, partition: i32) -> Option<ShardHandle<Groups>> {
        self.state.lock().shards.get(&partition).cloned()
    }

    /// The shard over this partition, started if it was not.
    pub(super) fn start(&self, partition: &Arc<Partition>, load: LoadWhen) -> ShardHandle<Groups> {
        let mut state = self.state.lock();
        let index = partition.id().partition;
        if let Some(shard) = state.shards.get(&index) {
            return shard.clone();
        }
        let shard = spawn(ShardSpec {
            name: format!("{CONSUMER_OFFSETS}-{index}"),
            log: Arc::new(PartitionLog {
                partition: Arc::clone(partition),
                manifest: Arc::clone(&self.manifest),
            }),
            world: Arc::clone(&state.world),
            effects: Box::new(|effect| log_effect(&effect)),
            clock: self.clock.clone(),
            client_lane_max_commands: CLIENT_LANE_MAX_COMMANDS,
            load,
        });
        state.shards.insert(index, shard.clone());
        shard
    }

    /// Lets the next decisions see another catalog image.
    pub(super) fn publish(&self, image: &Arc<CatalogImage>) {
        let mut state = self.state.lock();
        state.world = Arc::new(World { settings: self.settings.clone(), image: Arc::clone(image) });
        for shard in state.shards.values() {
            shard.set_world(Arc::clone(&state.world));
        }
    }

    /// Posts an internal command to every shard that was started. Shards that were not find the change in the catalog
    /// when they load.
    pub(super) fn post_all(&self, command: impl Fn() -> Command) {
        for shard in self.state.lock().shards.values() {
            if shard.post_internal(command()).is_err() {
                tracing::debug!(?shard, "a stopped shard was told nothing");
            }
        }
    }

    pub(super) async fn stop(&self) {
        let shards: Vec<_> = self.state.lock().shards.values().cloned().collect();
        for shard in shards {
            shard.stop().await;
        }
    }
}

/// Which of `partitions` partitions holds this group: Java's `String.hashCode`, its absolute value, modulo (S77).
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash =
        group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

fn settings(config: &Config) -> GroupSettings {
    let groups = &config.groups;
    GroupSettings {
        min_session_timeout_ms: groups.min_session_timeout_ms,
        max_session_timeout_ms: groups.max_session_timeout_ms,
        initial_delay: groups
            .initial_rebalance_delay_ms
            .map_or(InitialDelay::Adaptive, InitialDelay::Exactly),
        max_size: groups.max_size,
        offset_metadata_max: saturate_i32(config.offsets.metadata_max_bytes),
        offsets_retention_ms: config.offsets.retention_ms.unwrap_or(i64::MAX),
        retention_check_interval_ms: i64::try_from(config.offsets.retention_check_interval.as_millis())
            .unwrap_or(i64::MAX),
        commit_release: match config.fsync {
            Fsync::Always => Release::Durable,
            _ => Release::Appended,
        },
        transaction_release: match config.fsync {
            Fsync::Always | Fsync::Batch => Release::Durable,
            Fsync::Interval(_) | Fsync::Never => Release::Appended,
        },
    }
}

/// One line per real event.
fn log_effect(effect: &Effect) {
    match effect {
        Effect::RebalanceBegun { group, generation, reason } => {
            tracing::info!(%group, generation, reason, "group rebalances");
        }
        Effect::Stabilized { group, generation, members, took_ms } => {
            tracing::info!(%group, generation, members, took_ms, "group is stable");
        }
        Effect::Emptied { group, generation } => tracing::info!(%group, generation, "group is empty"),
        Effect::MemberFailed { group, member_id, reason } => {
            tracing::info!(%group, %member_id, reason, "member removed from its group");
        }
        Effect::OffsetsRemoved { group, count, reason } => {
            tracing::info!(%group, count, reason, "committed offsets removed");
        }
        Effect::GroupRemoved { group, reason } => tracing::info!(%group, reason, "group removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s77_groups_are_placed_as_kafka_places_them() {
        // Java: Math.abs("...".hashCode()) % 50.
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(partition_of("my-group", 50), 12);
        assert_eq!(partition_of("polygenelubricants", 50), 0, "its hash is the smallest integer");
    }
}
