//! What the log says of groups: recorded generations and committed offsets. Changed by [`Hard::apply`] alone, record by
//! record, so that replay and life give the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

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
    /// Which groups have offsets of a topic: a deleted topic must not cost a walk over all groups.
    by_topic: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

/// One group's part of the log. A group exists from its first record to its own tombstone, with or without offsets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StoredGroup {
    /// The last recorded generation; `None` for a group that only committed offsets.
    pub metadata: Option<Arc<GroupMetadata>>,
    /// Offsets by topic name and partition. No topic without an offset is in it.
    pub offsets: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
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

    /// One committed offset.
    pub(super) fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups.get(group)?.offsets.get(topic)?.get(&partition)
    }

    /// The groups that have offsets of this topic.
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
            Record::Group { group, value: Some(metadata) } => {
                self.group_mut(group).metadata = Some(Arc::clone(metadata));
            }
            Record::Group { group, value: None } => self.remove_group(group),
        }
    }

    fn group_mut(&mut self, id: &Arc<str>) -> &mut StoredGroup {
        self.groups.entry(Arc::clone(id)).or_default()
    }

    fn set_offset(&mut self, group: &Arc<str>, topic: &Arc<str>, partition: i32, value: &CommittedOffset) {
        let topics = &mut self.group_mut(group).offsets;
        if let Some(partitions) = topics.get_mut(topic) {
            partitions.insert(partition, value.clone());
            return;
        }
        topics.insert(Arc::clone(topic), BTreeMap::from([(partition, value.clone())]));
        self.by_topic.entry(Arc::clone(topic)).or_default().insert(Arc::clone(group));
    }

    fn remove_offset(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(stored) = self.groups.get_mut(group) else { return };
        let Some(partitions) = stored.offsets.get_mut(topic) else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            stored.offsets.remove(topic);
            self.forget_topic(group, topic);
        }
    }

    /// A tombstone takes the generation; offsets that outlive it (none that we write do) keep the group.
    fn remove_group(&mut self, id: &str) {
        let Some(stored) = self.groups.get_mut(id) else { return };
        stored.metadata = None;
        if stored.offsets.is_empty() {
            self.groups.remove(id);
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
