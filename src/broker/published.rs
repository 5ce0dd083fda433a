//! What the catalog lets out: the image that everyone reads, and what follows from a change of it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::group_shards::GroupShards;
use crate::catalog::{CatalogImage, Effect, RemovedTopic, TopicImage};
use crate::groups;
use crate::partition::table::PartitionTable;
use crate::types::{Timestamp, TopicPartition};

/// The published state of the cluster, and those who depend on it.
#[derive(Debug)]
pub(super) struct Published {
    image: ArcSwap<CatalogImage>,
    partitions: Arc<PartitionTable>,
    groups: Arc<GroupShards>,
    /// Told when files are to be removed.
    removals: Notify,
}

impl Published {
    pub(super) fn new(partitions: Arc<PartitionTable>, groups: Arc<GroupShards>) -> Self {
        Self { image: ArcSwap::default(), partitions, groups, removals: Notify::new() }
    }

    /// Returns when there may be files to remove: those of [`CatalogImage::removals`].
    pub(super) async fn removal_wanted(&self) {
        self.removals.notified().await;
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
                let removes = image.removals().next().is_some();
                self.image.store(image);
                if removes {
                    self.removals.notify_one();
                }
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
        self.removals.notify_one();
    }
}
