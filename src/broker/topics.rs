//! Finding topics and partitions, and making topics that a request names.

use std::collections::HashSet;
use std::sync::Arc;

use super::group_shards::CONSUMER_OFFSETS;
use super::start::OWN_LOG_KEPT_BYTES;
use super::{Broker, random};
use crate::catalog::{CatalogImage, Command, InternalTopic, NewTopic, Reply, TopicError, TopicImage};
use crate::config::DeclaredTopic;
use crate::coord::task::{LoadWhen, ShardHandle};
use crate::groups::Groups;
use crate::partition::{OpenFault, OpenPartition, Partition, Whose};
use crate::types::{ErrorCode, TopicId, TopicPartition};

/// Says in the log that a topic was made, and how it came to that.
pub fn tell_created(topic: &TopicImage, how: &str) {
    tracing::info!(topic = %topic.name, partitions = topic.partitions, id = %topic.id, "topic created {how}");
}

/// What the settings ask of a topic and a topic of that name does not have: it stays as it is, and these lines say so.
pub(super) fn differences(asked: &DeclaredTopic, found: &TopicImage) -> Vec<String> {
    let name = &found.name;
    let mut lines = Vec::new();
    if let Some(wanted) = asked.partitions.filter(|wanted| *wanted != found.partitions) {
        let advice = if wanted > found.partitions {
            format!(
                "To add partitions: kafka-topics.sh --alter --topic {name} --partitions {wanted}, or any client's \
                 CreatePartitions"
            )
        } else {
            "Partitions cannot be taken away: correct the settings, or delete the topic, and the next start makes it"
                .to_owned()
        };
        lines.push(format!(
            "the settings ask for topic {name} with partitions = {wanted}; it exists with {}, and stays so. {advice}",
            found.partitions
        ));
    }
    for (setting, wanted) in &asked.config {
        let is = found.overrides.get(setting);
        if is != Some(wanted) {
            let is = is.map_or_else(|| "without it".to_owned(), |is| format!("with {is}"));
            lines.push(format!(
                "the settings ask for topic {name} with {setting} = {wanted}; it exists {is}, and stays so. \
                 To change it: streamd topic config {name} -c {setting}={wanted}; or correct the settings"
            ));
        }
    }
    lines
}

impl Broker {
    /// The newest catalog image.
    pub fn image(&self) -> Arc<CatalogImage> {
        Arc::clone(&self.published.image())
    }

    /// The version of the newest catalog image: what was looked up under an older one must be looked up again.
    pub fn image_version(&self) -> u64 {
        self.published.image().version
    }

    /// A partition that is open already.
    pub fn open_partition(&self, id: TopicPartition) -> Option<Arc<Partition>> {
        self.partitions.get(id)
    }

    /// Bytes of a partition's log, as far as they are known without opening it.
    pub fn partition_bytes(&self, id: TopicPartition) -> u64 {
        if let Some(open) = self.partitions.get(id) {
            return open.reader().size_bytes();
        }
        let row = self.partitions.unopened_row(id);
        row.map_or(0, |row| row.segments.iter().map(|segment| segment.bytes).sum())
    }

    /// A partition of this topic, opened on this thread if it is not open. Blocks while it recovers.
    ///
    /// # Errors
    /// [`OpenFault`].
    pub fn partition_blocking(
        &self,
        topic: &TopicImage,
        partition: i32,
    ) -> Result<Arc<Partition>, OpenFault> {
        if !(0..topic.partitions).contains(&partition) {
            return Err(OpenFault::Unknown);
        }
        let wanted = OpenPartition {
            id: TopicPartition { topic: topic.id, partition },
            topic: Arc::clone(&topic.name),
            settings: Arc::clone(&topic.settings),
            leader_epoch: self.published.image().leader_epoch(topic),
            kept_bytes: if topic.internal { OWN_LOG_KEPT_BYTES } else { 0 },
        };
        // The topic may be deleted meanwhile: the table asks when it counts.
        let opened = self.partitions.get_or_open(&wanted, &|id| self.whose(id))?;
        self.adopt_newest_settings(&opened);
        Ok(opened)
    }

    /// The settings may have changed while the partition was opened with those that were known before. Whoever changes
    /// them publishes first and then looks for open partitions, so one of the two sees the other; a change in between
    /// is seen by looking again.
    fn adopt_newest_settings(&self, partition: &Partition) {
        loop {
            let image = self.image();
            let Some(topic) = image.topic_by_id(partition.id().topic) else { return };
            if topic.settings.as_ref() != partition.settings().as_ref() {
                partition.set_settings(Arc::clone(&topic.settings));
            }
            if self.image_version() == image.version {
                return;
            }
        }
    }

    /// A partition of this topic, opened if it is not; waits for that off the runtime's workers.
    ///
    /// # Errors
    /// [`OpenFault`].
    pub async fn partition(
        self: &Arc<Self>,
        topic: &Arc<TopicImage>,
        partition: i32,
    ) -> Result<Arc<Partition>, OpenFault> {
        if let Some(open) = self.partitions.get(TopicPartition { topic: topic.id, partition }) {
            return Ok(open);
        }
        // A request may name thousands: none of them takes a thread.
        if !(0..topic.partitions).contains(&partition) {
            return Err(OpenFault::Unknown);
        }
        let (broker, topic) = (Arc::clone(self), Arc::clone(topic));
        let opening = tokio::task::spawn_blocking(move || broker.partition_blocking(&topic, partition));
        // Joining fails only when the runtime goes down.
        opening.await.unwrap_or(Err(OpenFault::Unknown))
    }

    /// What the catalog knows of this id.
    fn whose(&self, id: TopicId) -> Whose {
        let image = self.published.image();
        match image.topic_by_id(id) {
            Some(_) => Whose::Living,
            None if image.removed(id).is_some() => Whose::Removed,
            None => Whose::Unknown,
        }
    }

    /// Makes the topics of these names that do not exist (`auto.create.topics.enable`, S83), for this client. Two
    /// callers at once both get the topic.
    pub async fn auto_create(
        &self,
        names: Vec<String>,
        client: &str,
    ) -> Vec<(String, Result<Arc<TopicImage>, TopicError>)> {
        let topics: Vec<_> =
            names.iter().map(|name| NewTopic::with_defaults(name, random::topic_id())).collect();
        let ids: HashSet<TopicId> = topics.iter().map(|topic| topic.id).collect();
        match self.catalog.call(Command::EnsureTopics(topics)).await {
            Reply::Topics(outcomes) => {
                let how = format!("for client {client}, which asked for it (auto.create.topics.enable)");
                let topics = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
                // One with another id was there.
                topics.filter(|topic| ids.contains(&topic.id)).for_each(|topic| tell_created(topic, &how));
                names.into_iter().zip(outcomes.into_iter().map(|outcome| outcome.result)).collect()
            }
            Reply::Refused(code) => {
                names.into_iter().map(|name| (name, Err(TopicError { code, message: None }))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `__consumer_offsets`, made at its first use.
    ///
    /// # Errors
    /// Why it could not be made.
    pub async fn consumer_offsets(&self) -> Result<Arc<TopicImage>, ErrorCode> {
        let why = "for the offsets that groups commit";
        self.internal_topic(InternalTopic::ConsumerOffsets, CONSUMER_OFFSETS, why).await
    }

    /// A topic of the broker's own, made at its first use.
    pub(super) async fn internal_topic(
        &self,
        topic: InternalTopic,
        name: &str,
        why: &str,
    ) -> Result<Arc<TopicImage>, ErrorCode> {
        if let Some(topic) = self.published.image().topic(name) {
            return Ok(Arc::clone(topic));
        }
        let id = random::topic_id();
        let command = Command::EnsureInternalTopic { topic, id };
        match self.catalog.call(command).await {
            Reply::Topics(outcomes) => match outcomes.into_iter().next().map(|outcome| outcome.result) {
                Some(Ok(topic)) => {
                    if topic.id == id {
                        tell_created(&topic, why);
                    }
                    Ok(topic)
                }
                Some(Err(error)) => Err(error.code),
                None => Err(ErrorCode::UnknownServerError),
            },
            Reply::Refused(code) => Err(code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// The coordinator of this group, started if it was not.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` and the like: the client tries again.
    pub async fn group_shard(self: &Arc<Self>, group: &str) -> Result<ShardHandle<Groups>, ErrorCode> {
        let topic = self.consumer_offsets().await?;
        let partition = super::group_shards::partition_of(group, topic.partitions);
        self.shard_over(&topic, partition, LoadWhen::AtFirstUse).await
    }

    /// The coordinators of all groups: those of every partition that holds records.
    ///
    /// # Errors
    /// As [`Broker::group_shard`].
    pub async fn all_group_shards(self: &Arc<Self>) -> Result<Vec<ShardHandle<Groups>>, ErrorCode> {
        let Some(topic) = self.published.image().topic(CONSUMER_OFFSETS).cloned() else {
            return Ok(Vec::new());
        };
        let mut shards = Vec::new();
        for partition in 0..topic.partitions {
            shards.push(self.shard_over(&topic, partition, LoadWhen::AtFirstUse).await?);
        }
        Ok(shards)
    }

    pub(super) async fn shard_over(
        self: &Arc<Self>,
        topic: &Arc<TopicImage>,
        partition: i32,
        load: LoadWhen,
    ) -> Result<ShardHandle<Groups>, ErrorCode> {
        if let Some(shard) = self.groups.get(partition) {
            return Ok(shard);
        }
        match self.partition(topic, partition).await {
            Ok(partition) => Ok(self.groups.start(&partition, load)),
            Err(error) => {
                tracing::error!(topic = %topic.name, partition, %error, "a group coordinator cannot start");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::TopicSettings;

    #[test]
    fn a_topic_that_is_not_as_the_settings_ask_is_told_with_what_to_do() {
        let found = TopicImage {
            id: TopicId::METADATA,
            name: "orders".into(),
            partitions: 3,
            internal: false,
            epoch_base: 0,
            overrides: Arc::new(BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())])),
            settings: Arc::new(TopicSettings::default()),
        };
        let asked = |partitions, config: &[(&str, &str)]| {
            let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            differences(&DeclaredTopic { name: "orders".to_owned(), partitions, config }, &found)
        };
        assert_eq!(asked(Some(3), &[("retention.ms", "5")]), Vec::<String>::new());
        assert_eq!(asked(None, &[]), Vec::<String>::new());
        let grown = asked(Some(6), &[]);
        assert!(grown[0].contains("orders with partitions = 6; it exists with 3"), "{grown:?}");
        assert!(grown[0].contains("--partitions 6"), "{grown:?}");
        assert!(asked(Some(2), &[])[0].contains("cannot be taken away"));
        let other = asked(None, &[("retention.ms", "7"), ("segment.ms", "9")]);
        assert!(other[0].contains("retention.ms = 7; it exists with 5"), "{other:?}");
        assert!(other[1].contains("segment.ms = 9; it exists without it"), "{other:?}");
    }
}
