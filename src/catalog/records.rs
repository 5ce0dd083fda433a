//! The catalog's records: KRaft's schemas as `__cluster_metadata-0` carries them, and a few of our own under api keys
//! far above Kafka's.

use std::sync::Arc;

use crate::types::TopicId;

/// One change of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// TopicRecord (api key 2): a topic exists.
    Topic {
        /// Its name.
        name: Arc<str>,
        /// Its id.
        id: TopicId,
    },
    /// PartitionRecord (3): a partition exists, with this broker as its only replica.
    Partition {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        partition: i32,
        /// Its replica and leader.
        node: i32,
    },
    /// ConfigRecord (4) for a topic: a setting of its own.
    TopicConfig {
        /// The topic's name.
        topic: Arc<str>,
        /// The setting.
        name: String,
        /// Its value; `None` takes it back.
        value: Option<String>,
    },
    /// RemoveTopicRecord (9): a topic is gone. Its files may not be.
    RemoveTopic {
        /// Its id.
        id: TopicId,
    },
    /// FeatureLevelRecord (12).
    FeatureLevel {
        /// The feature, as `metadata.version`.
        name: String,
        /// Its finalized level.
        level: i16,
    },
    /// ProducerIdsRecord (15): ids below `next` are given out.
    ProducerIds {
        /// The broker that got the last block.
        node: i32,
        /// The first id that nobody was given.
        next: i64,
    },
    /// Ours: the broker has started for the `epoch`-th time.
    Start {
        /// The number of this start, from 0.
        epoch: i32,
    },
    /// Ours: the start in which a topic was made, from which its leader epochs count.
    TopicEpochBase {
        /// The topic.
        topic: TopicId,
        /// The number of that start.
        base: i32,
    },
    /// Ours: a topic is gone and its files may not be; what a snapshot says instead of RemoveTopic.
    PendingRemoval {
        /// Its id.
        id: TopicId,
        /// The name it had.
        name: Arc<str>,
        /// The partitions it had.
        partitions: i32,
    },
    /// Ours: the files of a removed topic are gone.
    FilesRemoved {
        /// The topic.
        id: TopicId,
    },
}
