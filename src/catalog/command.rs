//! What the catalog is asked and what it answers, in the broker's own words: the API files translate.

use std::sync::Arc;

use super::{CatalogImage, TopicImage};
use crate::types::{ErrorCode, TopicId};

/// What callers ask of the catalog.
#[derive(Debug, Clone)]
pub enum Command {
    /// Count this start. Sent once, before anything listens; answered with [`Reply::Started`].
    Start,
    /// CreateTopics (S84). Answered with [`Reply::Topics`], in the order asked.
    CreateTopics {
        /// The topics; of those named more than once, none is made.
        topics: Vec<NewTopic>,
        /// Do everything but create.
        validate_only: bool,
    },
    /// Topics that a client named and that may not exist yet (`auto.create.topics.enable`, S83). One that exists by
    /// now is as good as one just made. Answered with [`Reply::Topics`].
    AutoCreate {
        /// Name and a fresh id of each.
        topics: Vec<(String, TopicId)>,
    },
    /// See that a topic of the broker's own exists. Answered with one [`Reply::Topics`] entry.
    EnsureInternalTopic {
        /// Which one.
        topic: InternalTopic,
        /// A fresh id for it.
        id: TopicId,
    },
    /// DeleteTopics (S89). Answered with [`Reply::Topics`]: the topic that is gone, or why it is not.
    DeleteTopics(Vec<TopicRef>),
    /// CreatePartitions (S84). Answered with [`Reply::Topics`].
    CreatePartitions {
        /// The topics and their wanted sizes; of those named more than once, none grows.
        topics: Vec<MorePartitions>,
        /// Do everything but grow.
        validate_only: bool,
    },
    /// The next block of producer ids. Answered with [`Reply::ProducerIds`].
    AllocateProducerIds,
    /// The files of a deleted topic are gone. Internal; not answered.
    FilesRemoved(TopicId),
}

/// A topic to make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    /// Its name, unchecked.
    pub name: String,
    /// A fresh random id ([`TopicId::from_random`]).
    pub id: TopicId,
    /// How many partitions; -1 for the broker's default, or with assignments.
    pub partitions: i32,
    /// Replicas of each partition; -1 for the broker's default, or with assignments.
    pub replication_factor: i16,
    /// Partition and its brokers, for manual placement; else empty.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Settings by Kafka's names, unchecked.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic to grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MorePartitions {
    /// Its name.
    pub name: String,
    /// How many partitions it shall have.
    pub count: i32,
    /// The brokers of each new partition, or `None` for the broker's choice.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A topic by name or, from DeleteTopics v6 on, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// The topics that the broker keeps for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InternalTopic {
    /// `__consumer_offsets`.
    ConsumerOffsets,
}

/// Why a topic was not made, deleted or grown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}", message.as_deref().unwrap_or("no details"))]
pub struct TopicError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What a person should read; `None` where Kafka sends its standard text.
    pub message: Option<String>,
}

/// What became of one topic of a command.
#[derive(Debug, Clone)]
pub struct TopicOutcome {
    /// Its name; `None` when it was asked for by an unknown id.
    pub name: Option<Arc<str>>,
    /// The topic as it is now (deleted: as it was; validated only: as it would be), or the refusal.
    pub result: Result<Arc<TopicImage>, TopicError>,
}

/// Producer ids that nobody else was or will be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: i64,
    /// How many, from there on.
    pub len: i32,
}

/// What callers are told.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This start's number is in the image.
    Started(Arc<CatalogImage>),
    /// One outcome for each topic of the command.
    Topics(Vec<TopicOutcome>),
    /// A block of producer ids.
    ProducerIds(ProducerIdBlock),
    /// Nothing was decided: the catalog cannot serve now.
    Refused(ErrorCode),
}
