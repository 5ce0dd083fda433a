//! Offsets that go by themselves: by age (S75), and with their topic. Both work in slices, so that a shard with many
//! groups goes on serving.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Groups;
use super::effect::Effect;
use super::fetch::{id_of, is_of};
use super::hard::{CommittedOffset, Hard, Record, StoredGroup};
use super::pending::PendingOffsets;
use super::removal::{bury, offset_tombstone};
use super::reply::GroupState;
use super::soft::{DeletedTopic, Soft};
use super::view::View;
use super::world::World;
use crate::coord::{Context, Decision};
use crate::types::{Timestamp, TopicId};

/// Groups that one slice looks at.
const SLICE_GROUPS: usize = 256;
/// Tombstones past which a slice ends.
const SLICE_RECORDS: usize = 1_024;

/// Where the expiry stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next slice is due.
    pub(super) due: Timestamp,
    /// The last group that was looked at in this round.
    done: Option<Arc<str>>,
}

impl Sweep {
    /// A sweep whose first round begins an interval from now.
    pub(super) fn starting(context: &Context<'_, World>) -> Self {
        Self { due: next_round(context), done: None }
    }
}

fn next_round(context: &Context<'_, World>) -> Timestamp {
    context.now.saturating_add(context.world.settings.retention_check_interval_ms.max(1))
}

/// Looks at the next groups: offsets that are too old, or of topics that are gone, and groups that nothing is left of.
pub(super) fn sweep(hard: &Hard, soft: &mut Soft, context: &Context<'_, World>) -> Decision<Groups> {
    let mut out = Decision::default();
    let from = soft.sweep.done.take();
    let mut last = None;
    for (id, stored) in after(hard.groups(), from.as_ref()).take(SLICE_GROUPS) {
        if out.records.len() >= SLICE_RECORDS {
            break;
        }
        if let Some(group) = View::of(hard, soft, id) {
            expire_group(hard, group, context, (id, stored), &mut out);
        }
        last = Some(id);
    }
    let more = last.filter(|last| after(hard.groups(), Some(last)).next().is_some());
    soft.sweep.due = if more.is_some() { context.now } else { next_round(context) };
    soft.sweep.done = more.cloned();
    out
}

/// The entries behind this one; all, without one.
fn after<'a, T>(
    map: &'a BTreeMap<Arc<str>, T>,
    key: Option<&Arc<str>>,
) -> impl Iterator<Item = (&'a Arc<str>, &'a T)> + use<'a, T> {
    let from = key.map_or(Bound::Unbounded, |key| Bound::Excluded(Arc::clone(key)));
    map.range((from, Bound::Unbounded))
}

fn expire_group(
    hard: &Hard,
    group: View<'_>,
    context: &Context<'_, World>,
    (id, stored): (&Arc<str>, &StoredGroup),
    out: &mut Decision<Groups>,
) {
    let before = out.records.len();
    let mut kept = 0;
    // What a transaction is about to commit anew is kept, and so is its group.
    for (topic, partitions) in &stored.offsets {
        let expires = (!group.subscribes_to(topic)).then(|| Expiry::of(group, context)).flatten();
        let topic_id = id_of(&context.world.image, topic);
        for (partition, offset) in partitions {
            let is_over = !is_of(offset, topic_id) || expires.is_some_and(|expiry| expiry.is_over(offset));
            if is_over && stored.pending(topic, *partition).is_none() {
                out.records.push(offset_tombstone(id, topic, *partition));
            } else {
                kept += 1;
            }
        }
    }
    let count = out.records.len() - before;
    if count > 0 {
        let reason = "their retention is over or their topic is gone";
        out.effects.push(Effect::OffsetsRemoved { group: Arc::clone(id), count, reason });
    }
    let is_left = kept == 0 && stored.pending.is_empty();
    if is_left && group.state() == GroupState::Empty && !group.has_pending() {
        out.records.truncate(before);
        bury(hard, id, "it has neither members nor offsets", out);
    }
}

/// When the offsets of a group expire.
#[derive(Debug, Clone, Copy)]
struct Expiry {
    wall: Timestamp,
    retention_ms: i64,
    /// When all of them began to age; `None`: each with its commit.
    since: Option<Timestamp>,
}

impl Expiry {
    /// The rule for a group; `None` when its offsets are kept.
    fn of(group: View<'_>, context: &Context<'_, World>) -> Option<Self> {
        let since = match group.state() {
            // Consumers that manage their partitions themselves: nobody knows whether they are still there.
            _ if group.protocol_type().is_none() => None,
            GroupState::Empty => group.since(),
            GroupState::Stable if group.is_consumer() && group.subscribed().is_some() => None,
            _ => return None,
        };
        Some(Self { wall: context.wall, retention_ms: context.world.settings.offsets_retention_ms, since })
    }

    fn is_over(self, offset: &CommittedOffset) -> bool {
        match offset.expires_at {
            Some(at) => self.wall >= at,
            None => {
                let since = self.since.unwrap_or(offset.committed_at);
                self.wall.saturating_sub(since) >= self.retention_ms
            }
        }
    }
}

/// Takes in topics that the catalog has removed.
pub(super) fn topics_deleted(hard: &Hard, soft: &mut Soft, topics: Vec<(Arc<str>, TopicId)>) {
    let ours = topics.into_iter().filter(|(name, _)| hard.groups_of(name).is_some());
    soft.deleted_topics.extend(ours.map(|(name, id)| DeletedTopic { name, id, done: None }));
}

/// Removes offsets of the deleted topic at the front, group by group. What a crash cuts short is found by the sweep; it
/// could not be seen anyway, for its topic id is gone.
pub(super) fn clean_deleted_topic(hard: &Hard, soft: &mut Soft) -> Decision<Groups> {
    let mut out = Decision::default();
    let Some(mut topic) = soft.deleted_topics.pop_front() else { return out };
    let Some(groups) = hard.groups_of(&topic.name) else { return out };
    let from = topic.done.take().map_or(Bound::Unbounded, Bound::Excluded);
    for group in groups.range((from, Bound::Unbounded)) {
        if out.records.len() >= SLICE_RECORDS {
            soft.deleted_topics.push_front(topic);
            break;
        }
        remove_offsets(hard, group, &topic, &mut out);
        topic.done = Some(Arc::clone(group));
    }
    out
}

fn remove_offsets(hard: &Hard, group: &Arc<str>, topic: &DeletedTopic, out: &mut Decision<Groups>) {
    let Some(stored) = hard.group(group) else { return };
    let partitions = stored.partitions(&topic.name).into_iter();
    let gone = partitions.filter(|partition| is_gone(stored, topic, *partition));
    let records: Vec<Record> =
        gone.map(|partition| offset_tombstone(group, &topic.name, partition)).collect();
    if !records.is_empty() {
        let effect = Effect::OffsetsRemoved {
            group: Arc::clone(group),
            count: records.len(),
            reason: "their topic was deleted",
        };
        out.effects.push(effect);
        out.records.extend(records);
    }
}

/// Whether the offsets of a partition went with the deleted topic. A tombstone takes the pending ones as well, so none is
/// written while one of another topic of that name is among them; the sweep finds what is left then.
fn is_gone(stored: &StoredGroup, topic: &DeletedTopic, partition: i32) -> bool {
    let committed = stored.offsets.get(&topic.name).and_then(|topic| topic.get(&partition));
    let pending = || stored.pending(&topic.name, partition).into_iter().flat_map(PendingOffsets::iter);
    let is_gone = |offset: &CommittedOffset| is_of(offset, topic.id);
    pending().all(|pending| is_gone(&pending.value))
        && (committed.is_some_and(is_gone) || pending().next().is_some())
}
