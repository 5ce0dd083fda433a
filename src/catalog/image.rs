//! The immutable snapshot that every reader of metadata holds. A catalog step swaps in a new one when its records are
//! durable; rows are shared between images.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RemovedTopic;
use super::shared_map::SharedMap;
use crate::config::{TopicDefaults, TopicSettings};
use crate::types::TopicId;

/// One topic, as of one image.
#[derive(Debug, Clone)]
pub struct TopicImage {
    /// Its id; another topic of the same name has another one.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has: 0 to `partitions - 1`.
    pub partitions: i32,
    /// Whether it is one of the broker's own (`__consumer_offsets`).
    pub internal: bool,
    /// The count of starts when it was made: a partition's leader epoch is the present count less this.
    pub epoch_base: i32,
    /// Settings given for this topic alone, by Kafka's names.
    pub overrides: Arc<BTreeMap<String, String>>,
    /// What overrides and defaults come to.
    pub settings: Arc<TopicSettings>,
}

impl TopicImage {
    /// What these overrides and defaults come to. Topics without overrides share one value.
    pub fn resolve(overrides: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Arc<TopicSettings> {
        if overrides.is_empty() {
            return Arc::clone(defaults.settings());
        }
        Arc::new(TopicSettings::resolve(overrides, defaults))
    }
}

/// All topics, as of one catalog version. A copy is cheap and shares its rows.
#[derive(Debug, Clone, Default)]
pub struct CatalogImage {
    /// Grows with every change; what was remembered under an older one must be looked up again.
    pub version: u64,
    /// The number of this start, counted durably from 0: leader epochs grow with it.
    pub start_epoch: i32,
    by_name: SharedMap<Arc<str>, Arc<TopicImage>>,
    by_id: SharedMap<TopicId, Arc<TopicImage>>,
    removed: SharedMap<TopicId, RemovedTopic>,
}

impl CatalogImage {
    /// An image of these topics.
    pub fn new(version: u64, start_epoch: i32, topics: impl IntoIterator<Item = Arc<TopicImage>>) -> Self {
        let mut image = Self { version, start_epoch, ..Self::default() };
        for topic in topics {
            image.put(topic);
        }
        image
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    /// All topics, sorted by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.iter().map(|(_, topic)| topic)
    }

    /// The topics from this name on, sorted by name: for answers in pages.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.iter_from(name).map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.by_id.len()
    }

    /// The deleted topic with this id whose files may still be there: a directory that is its own is to be removed,
    /// never to be served.
    pub fn removed(&self, id: TopicId) -> Option<&RemovedTopic> {
        self.removed.get(&id)
    }

    /// All deleted topics whose files may still be there. Some may have lost their files already: no image is made for that alone.
    pub fn removals(&self) -> impl Iterator<Item = &RemovedTopic> {
        self.removed.iter().map(|(_, removed)| removed)
    }

    /// The leader epoch of this topic's partitions in this start.
    pub fn leader_epoch(&self, topic: &TopicImage) -> i32 {
        self.start_epoch.saturating_sub(topic.epoch_base)
    }

    pub(super) fn put(&mut self, topic: Arc<TopicImage>) {
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    pub(super) fn drop_topic(&mut self, id: TopicId) {
        let Some(topic) = self.by_id.remove(&id) else { return };
        // Another topic may have got the name since.
        if self.by_name.get(&topic.name).is_some_and(|named| named.id == id) {
            self.by_name.remove(&topic.name);
        }
    }

    pub(super) fn set_removed(&mut self, removed: SharedMap<TopicId, RemovedTopic>) {
        self.removed = removed;
    }
}
