//! What the catalog's log comes to: the hard state, changed by records alone, and written out whole as records for a
//! snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::RemovedTopic;
use super::names;
use super::records::Record;
use super::shared_map::SharedMap;
use crate::types::TopicId;

/// The hard state.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    topics: HashMap<TopicId, TopicRow>,
    /// By name, sorted: snapshots and images come out the same for the same state.
    by_name: BTreeMap<Arc<str>, TopicId>,
    /// Names with a `.` or `_`, under what they share with those they collide with.
    by_collision_key: HashMap<String, BTreeSet<Arc<str>>>,
    /// Deleted topics whose files may still be there.
    removed: SharedMap<TopicId, RemovedTopic>,
    features: BTreeMap<String, i16>,
    /// The number of the present start; `None` before the first.
    start_epoch: Option<i32>,
    /// The first producer id that nobody was given, and the node that got the last.
    producer_ids: Option<(i32, i64)>,
    /// Records applied, ever.
    changes: u64,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRow {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: i32,
    /// The broker that has them.
    pub node: i32,
    /// The number of the start in which it was made.
    pub epoch_base: i32,
    /// Its own settings.
    pub overrides: Arc<BTreeMap<String, String>>,
}

impl Catalog {
    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&TopicRow> {
        self.by_name.get(name).and_then(|id| self.topics.get(id))
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&TopicRow> {
        self.topics.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &TopicRow> {
        self.by_name.values().filter_map(|id| self.topics.get(id))
    }

    /// A topic whose name differs from this one in `.` and `_` alone.
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        self.by_collision_key.get(&names::collision_key(name)?)?.first()
    }

    /// Whether this id was used for a topic that still leaves a trace.
    pub fn knows_id(&self, id: TopicId) -> bool {
        self.topics.contains_key(&id) || self.removed.get(&id).is_some()
    }

    /// Deleted topics whose files may still be there. A copy is cheap.
    pub fn removed(&self) -> &SharedMap<TopicId, RemovedTopic> {
        &self.removed
    }

    /// A feature's finalized level.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.get(name).copied()
    }

    /// The number of the present start, from 0; `None` before the first.
    pub fn start_epoch(&self) -> Option<i32> {
        self.start_epoch
    }

    /// The first producer id that nobody was given.
    pub fn next_producer_id(&self) -> i64 {
        self.producer_ids.map_or(0, |(_, next)| next)
    }

    /// How many changes there were: the version of an image of this state.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Applies one record. What names a topic that does not exist changes nothing.
    pub fn apply(&mut self, record: &Record) {
        self.changes += 1;
        match record {
            Record::Topic { name, id } => self.add_topic(name, *id),
            Record::Partition { topic, partition, node } => {
                if let Some(row) = self.topics.get_mut(topic) {
                    row.partitions = row.partitions.max(partition.saturating_add(1));
                    row.node = *node;
                }
            }
            Record::TopicConfig { topic, name, value } => self.set_config(topic, name, value.as_deref()),
            Record::RemoveTopic { id } => self.remove_topic(*id),
            Record::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
            }
            Record::ProducerIds { node, next } => self.producer_ids = Some((*node, *next)),
            Record::Start { epoch } => self.start_epoch = Some(*epoch),
            Record::TopicEpochBase { topic, base } => {
                if let Some(row) = self.topics.get_mut(topic) {
                    row.epoch_base = *base;
                }
            }
            Record::PendingRemoval { id, name, partitions } => {
                let removed = RemovedTopic { id: *id, name: Arc::clone(name), partitions: *partitions };
                self.removed.insert(*id, removed);
            }
            Record::FilesRemoved { id } => {
                self.removed.remove(id);
            }
            Record::Changes { count } => self.changes = *count,
        }
    }

    /// All of it as records that make it again, alone or on top of itself.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (name, level) in &self.features {
            records.push(Record::FeatureLevel { name: name.clone(), level: *level });
        }
        if let Some(epoch) = self.start_epoch {
            records.push(Record::Start { epoch });
        }
        if let Some((node, next)) = self.producer_ids {
            records.push(Record::ProducerIds { node, next });
        }
        for topic in self.topics() {
            records.extend(topic.records());
        }
        for (_, removed) in self.removed.iter() {
            let RemovedTopic { id, name, partitions } = removed.clone();
            records.push(Record::PendingRemoval { id, name, partitions });
        }
        records.push(Record::Changes { count: self.changes });
        records
    }

    fn add_topic(&mut self, name: &Arc<str>, id: TopicId) {
        if self.topics.contains_key(&id) {
            return;
        }
        let row = TopicRow {
            id,
            name: Arc::clone(name),
            partitions: 0,
            node: -1,
            epoch_base: 0,
            overrides: Arc::default(),
        };
        self.topics.insert(id, row);
        self.by_name.insert(Arc::clone(name), id);
        if let Some(key) = names::collision_key(name) {
            self.by_collision_key.entry(key).or_default().insert(Arc::clone(name));
        }
    }

    fn set_config(&mut self, topic: &str, name: &str, value: Option<&str>) {
        let Some(row) = self.by_name.get(topic).and_then(|id| self.topics.get_mut(id)) else { return };
        let overrides = Arc::make_mut(&mut row.overrides);
        match value {
            Some(value) => overrides.insert(name.to_owned(), value.to_owned()),
            None => overrides.remove(name),
        };
    }

    fn remove_topic(&mut self, id: TopicId) {
        let Some(row) = self.topics.remove(&id) else { return };
        if self.by_name.get(&row.name) == Some(&id) {
            self.by_name.remove(&row.name);
        }
        if let Some(key) = names::collision_key(&row.name)
            && let Some(colliding) = self.by_collision_key.get_mut(&key)
        {
            colliding.remove(&row.name);
            if colliding.is_empty() {
                self.by_collision_key.remove(&key);
            }
        }
        self.removed.insert(id, row.removed());
    }
}

impl TopicRow {
    /// What is left of it when it is deleted.
    pub fn removed(&self) -> RemovedTopic {
        RemovedTopic { id: self.id, name: Arc::clone(&self.name), partitions: self.partitions }
    }

    /// The records that make this topic, in KRaft's order: the topic, its settings, its partitions.
    pub fn records(&self) -> Vec<Record> {
        let mut records = vec![Record::Topic { name: Arc::clone(&self.name), id: self.id }];
        if self.epoch_base != 0 {
            records.push(Record::TopicEpochBase { topic: self.id, base: self.epoch_base });
        }
        for (name, value) in &*self.overrides {
            let (topic, name, value) = (Arc::clone(&self.name), name.clone(), Some(value.clone()));
            records.push(Record::TopicConfig { topic, name, value });
        }
        records.extend(self.partition_records(0));
        records
    }

    /// The records of its partitions from this one on.
    pub fn partition_records(&self, from: i32) -> impl Iterator<Item = Record> + '_ {
        let (topic, node) = (self.id, self.node);
        (from..self.partitions).map(move |partition| Record::Partition { topic, partition, node })
    }
}
