//! What the log says of groups: recorded generations, committed offsets, and those that open transactions will commit.
//! Changed by [`Hard::apply`] alone, record by record, so that replay and life give the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::pending::{OffsetKey, OpenTransaction, PendingOffset, PendingOffsets};
use crate::types::{Timestamp, TopicId};

/// One change of a shard's hard state; in the log it has Kafka's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An offset is committed, or gone.
    Offset {
        /// The group.
        group: Arc<str>,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition's index.
        partition: i32,
        /// The offset; `None` is a tombstone.
        value: Option<CommittedOffset>,
    },
    /// An offset is committed if the producer's transaction is.
    PendingOffset {
        /// The group.
        group: Arc<str>,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition's index.
        partition: i32,
        /// The offset, and whose transaction it belongs to.
        pending: PendingOffset,
    },
    /// A producer's transaction has ended. In the log this is the control record of a marker.
    EndTransaction {
        /// The producer.
        producer_id: i64,
        /// Whether its pending offsets are committed; else they are dropped.
        commit: bool,
    },
    /// A generation is recorded, or the group is gone.
    Group {
        /// The group.
        group: Arc<str>,
        /// The generation; `None` is a tombstone.
        value: Option<Arc<GroupMetadata>>,
    },
}

/// An offset as it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, -1 for none.
    pub leader_epoch: i32,
    /// The client's note; `None` is empty.
    pub metadata: Option<Arc<str>>,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it expires, if the commit said so (OffsetCommit v2 to v4).
    pub expires_at: Option<Timestamp>,
    /// The topic's id when it was committed; zero when it is not known (records of Kafka below 4.2).
    pub topic_id: TopicId,
}

/// A generation as the leader's SyncGroup, or the last member's departure, recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `consumer` for consumers; `None` for a group that never had a member.
    pub protocol_type: Option<Arc<str>>,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol; `None` without members.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id; `None` without members.
    pub leader: Option<Arc<str>>,
    /// When the group came to the state in which it was recorded; `None` in old records.
    pub state_since: Option<Timestamp>,
    /// Its members, sorted by id.
    pub members: Vec<MemberMetadata>,
}

/// A member as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The client id it joined with.
    pub client_id: Arc<str>,
    /// The address it joined from.
    pub client_host: Arc<str>,
    /// Its rebalance timeout in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Its session timeout in milliseconds.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// The hard state of one shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hard {
    groups: BTreeMap<Arc<str>, StoredGroup>,
    /// Which groups have offsets of a topic, pending ones included: a deleted topic must not cost a walk over all groups.
    by_topic: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Open transactions with offsets here, by producer id.
    transactions: HashMap<i64, OpenTransaction>,
}

/// One group's part of the log. A group exists from its first record to its own tombstone, with or without offsets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StoredGroup {
    /// The last recorded generation; `None` for a group that only committed offsets.
    pub metadata: Option<Arc<GroupMetadata>>,
    /// Offsets by topic name and partition. No topic without an offset is in it.
    pub offsets: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    /// The same of offsets that open transactions will commit.
    pub pending: BTreeMap<Arc<str>, BTreeMap<i32, PendingOffsets>>,
}

impl StoredGroup {
    /// Offsets of a partition that open transactions will commit.
    pub(super) fn pending(&self, topic: &str, partition: i32) -> Option<&PendingOffsets> {
        self.pending.get(topic)?.get(&partition)
    }

    /// Whether a partition has an offset, committed or pending.
    pub(super) fn has(&self, topic: &str, partition: i32) -> bool {
        let committed = self.offsets.get(topic).is_some_and(|topic| topic.contains_key(&partition));
        committed || self.pending(topic, partition).is_some()
    }

    /// The topics that have offsets, committed or pending.
    pub(super) fn topics(&self) -> BTreeSet<&Arc<str>> {
        self.offsets.keys().chain(self.pending.keys()).collect()
    }

    /// The partitions of a topic that have offsets, committed or pending.
    pub(super) fn partitions(&self, topic: &str) -> BTreeSet<i32> {
        let committed = self.offsets.get(topic).into_iter().flat_map(BTreeMap::keys);
        let pending = self.pending.get(topic).into_iter().flat_map(BTreeMap::keys);
        committed.chain(pending).copied().collect()
    }

    fn has_topic(&self, topic: &str) -> bool {
        self.offsets.contains_key(topic) || self.pending.contains_key(topic)
    }
}

impl Hard {
    /// All groups by id.
    pub(super) fn groups(&self) -> &BTreeMap<Arc<str>, StoredGroup> {
        &self.groups
    }

    /// One group.
    pub(super) fn group(&self, id: &str) -> Option<&StoredGroup> {
        self.groups.get(id)
    }

    /// The producer's open transaction, if it has offsets here.
    pub(super) fn transaction(&self, producer_id: i64) -> Option<&OpenTransaction> {
        self.transactions.get(&producer_id)
    }

    /// The groups that have offsets of this topic, committed or pending.
    pub(super) fn groups_of(&self, topic: &str) -> Option<&BTreeSet<Arc<str>>> {
        self.by_topic.get(topic)
    }

    /// Makes the record's change.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Offset { group, topic, partition, value: Some(value) } => {
                self.set_offset(group, topic, *partition, value);
            }
            Record::Offset { group, topic, partition, value: None } => {
                self.remove_offset(group, topic, *partition);
            }
            Record::PendingOffset { group, topic, partition, pending } => {
                self.add_pending((Arc::clone(group), Arc::clone(topic), *partition), pending.clone());
            }
            Record::EndTransaction { producer_id, commit } => self.end_transaction(*producer_id, *commit),
            Record::Group { group, value: Some(metadata) } => {
                self.group_mut(group).metadata = Some(Arc::clone(metadata));
            }
            Record::Group { group, value: None } => self.remove_group(group),
        }
    }

    fn group_mut(&mut self, id: &Arc<str>) -> &mut StoredGroup {
        self.groups.entry(Arc::clone(id)).or_default()
    }

    /// A commit goes before all that is pending for its partition so far: what is later in the log counts.
    fn set_offset(&mut self, group: &Arc<str>, topic: &Arc<str>, partition: i32, value: &CommittedOffset) {
        let stored = self.group_mut(group);
        if let Some(pending) = stored.pending.get_mut(topic).and_then(|topic| topic.get_mut(&partition)) {
            pending.overtake_all();
        }
        self.put_offset(group, topic, partition, value.clone());
    }

    fn put_offset(&mut self, group: &Arc<str>, topic: &Arc<str>, partition: i32, value: CommittedOffset) {
        let topics = &mut self.group_mut(group).offsets;
        if let Some(partitions) = topics.get_mut(topic) {
            partitions.insert(partition, value);
            return;
        }
        topics.insert(Arc::clone(topic), BTreeMap::from([(partition, value)]));
        self.by_topic.entry(Arc::clone(topic)).or_default().insert(Arc::clone(group));
    }

    /// A tombstone takes what is pending, too.
    fn remove_offset(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(stored) = self.groups.get_mut(group) else { return };
        if let Some(partitions) = stored.offsets.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                stored.offsets.remove(topic);
            }
        }
        for pending in take_pending(stored, topic, partition).iter() {
            if let Some(transaction) = self.transactions.get_mut(&pending.producer_id) {
                transaction.forget(group, topic, partition);
            }
        }
        self.forget_topic_if_gone(group, topic);
    }

    fn add_pending(&mut self, key: OffsetKey, pending: PendingOffset) {
        let (group, topic, partition) = &key;
        let topics = self.group_mut(group).pending.entry(Arc::clone(topic)).or_default();
        topics.entry(*partition).or_default().add(pending.clone());
        self.by_topic.entry(Arc::clone(topic)).or_default().insert(Arc::clone(group));
        self.transactions.entry(pending.producer_id).or_default().add(pending.producer_epoch, key);
    }

    fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let Some(transaction) = self.transactions.remove(&producer_id) else { return };
        for (group, topic, partition) in transaction.offsets {
            let Some(stored) = self.groups.get_mut(&group) else { continue };
            let mut pending = take_pending(stored, &topic, partition);
            let committed = pending.end(producer_id, commit);
            if !pending.is_empty() {
                stored.pending.entry(Arc::clone(&topic)).or_default().insert(partition, pending);
            }
            if let Some(value) = committed {
                self.put_offset(&group, &topic, partition, value);
            }
            self.forget_topic_if_gone(&group, &topic);
        }
    }

    /// A tombstone takes the generation; offsets that outlive it (none that we write do) keep the group.
    fn remove_group(&mut self, id: &str) {
        let Some(stored) = self.groups.get_mut(id) else { return };
        stored.metadata = None;
        if stored.offsets.is_empty() && stored.pending.is_empty() {
            self.groups.remove(id);
        }
    }

    fn forget_topic_if_gone(&mut self, group: &str, topic: &str) {
        if !self.groups.get(group).is_some_and(|stored| stored.has_topic(topic)) {
            self.forget_topic(group, topic);
        }
    }

    fn forget_topic(&mut self, group: &str, topic: &str) {
        let Some(groups) = self.by_topic.get_mut(topic) else { return };
        groups.remove(group);
        if groups.is_empty() {
            self.by_topic.remove(topic);
        }
    }
}

/// Takes out what is pending for a partition. No topic without any stays behind.
fn take_pending(stored: &mut StoredGroup, topic: &str, partition: i32) -> PendingOffsets {
    let Some(partitions) = stored.pending.get_mut(topic) else { return PendingOffsets::default() };
    let taken = partitions.remove(&partition).unwrap_or_default();
    if partitions.is_empty() {
        stored.pending.remove(topic);
    }
    taken
}
