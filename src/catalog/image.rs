//! The immutable snapshot that every reader of metadata holds. A catalog step swaps in a new one when its records are
//! durable; rows are shared between images.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::TopicSettings;
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

/// All topics, as of one catalog version.
#[derive(Debug, Clone, Default)]
pub struct CatalogImage {
    /// Grows with every change; what was remembered under an older one must be looked up again.
    pub version: u64,
    /// The number of this start, counted durably: leader epochs grow with it.
    pub start_epoch: i32,
    by_name: BTreeMap<Arc<str>, Arc<TopicImage>>,
    by_id: HashMap<TopicId, Arc<TopicImage>>,
}

impl CatalogImage {
    /// An image of these topics.
    pub fn new(version: u64, start_epoch: i32, topics: impl IntoIterator<Item = Arc<TopicImage>>) -> Self {
        let by_name: BTreeMap<_, _> =
            topics.into_iter().map(|topic| (Arc::clone(&topic.name), topic)).collect();
        let by_id = by_name.values().map(|topic| (topic.id, Arc::clone(topic))).collect();
        Self { version, start_epoch, by_name, by_id }
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
        self.by_name.values()
    }

    /// The leader epoch of this topic's partitions in this start.
    pub fn leader_epoch(&self, topic: &TopicImage) -> i32 {
        self.start_epoch.saturating_sub(topic.epoch_base)
    }
}
