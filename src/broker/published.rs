//! What the catalog lets out: the image that everyone reads, and what follows from a change of it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::group_shards::GroupShards;
use crate::catalog::{CatalogImage, Effect, RemovedTopic, TopicImage};
use crate::groups;
use crate::partition::table::PartitionTable;
use crate::types::{Timestamp, TopicPartition};

/// Deleted topics that may wait for their files to be removed. Losing one of them only means that its files go at the
/// next start: the catalog keeps the removal until it hears of it.
pub(super) const REMOVALS_MAX: usize = 4096;

/// The published state of the cluster, and those who depend on it.
#[derive(Debug)]
pub(super) struct Published {
    image: ArcSwap<CatalogImage>,
    partitions: Arc<PartitionTable>,
    groups: Arc<GroupShards>,
    removals: mpsc::Sender<RemovedTopic>,
}

impl Published {
    pub(super) fn new(
        partitions: Arc<PartitionTable>,
        groups: Arc<GroupShards>,
        removals: mpsc::Sender<RemovedTopic>,
    ) -> Self {
        Self { image: ArcSwap::default(), partitions, groups, removals }
    }

    /// The newest image.
    pub(super) fn image(&self) -> arc_swap::Guard<Arc<CatalogImage>> {
        self.image.load()
    }

    /// Carries out an effect of the catalog's. Runs before the replies that rely on it.
    pub(super) fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Publish(image) => {
                self.groups.publish(&image);
                self.image.store(image);
            }
            Effect::Configured { topics, loaded } => {
                topics.iter().for_each(|topic| self.configure(topic, loaded));
            }
            Effect::Removed(topics) => self.remove(topics),
        }
    }

    /// Puts a topic's settings in force in its partitions. One that is being opened now looks for newer settings itself,
    /// and one that is not open is looked at, unless all are soon.
    fn configure(&self, topic: &TopicImage, loaded: bool) {
        for partition in 0..topic.partitions {
            let id = TopicPartition { topic: topic.id, partition };
            match self.partitions.get(id) {
                Some(open) => {
                    if open.settings().as_ref() != topic.settings.as_ref() {
                        open.set_settings(Arc::clone(&topic.settings));
                    }
                }
                None if loaded => {}
                None => self.partitions.environment().schedule.at_latest(id, Timestamp::MIN),
            }
        }
    }

    /// Closes the partitions of deleted topics, so that nothing of them is acknowledged or served any more, and sees to
    /// what may follow behind the answer: their offsets and files.
    fn remove(&self, topics: Vec<RemovedTopic>) {
        for topic in &topics {
            for partition in 0..topic.partitions {
                let id = TopicPartition { topic: topic.id, partition };
                self.partitions.delete(id);
            }
            tracing::info!(topic = %topic.name, id = %topic.id, "topic deleted");
        }
        let deleted: Vec<_> = topics.iter().map(|topic| (Arc::clone(&topic.name), topic.id)).collect();
        self.groups.post_all(|| groups::Command::TopicsDeleted { topics: deleted.clone() });
        for topic in topics {
            let name = Arc::clone(&topic.name);
            if self.removals.try_send(topic).is_err() {
                tracing::warn!(topic = %name, "the files of a deleted topic stay until the next start");
            }
        }
    }
}
