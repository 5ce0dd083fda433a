//! What the catalog is asked and what it answers, in the broker's own words: the API files translate.

use std::sync::Arc;

use super::TopicImage;
use crate::types::{ErrorCode, TopicId};

/// What callers ask of the catalog.
#[derive(Debug, Clone)]
pub enum Command {
    /// Count this start. Sent once, before anything listens; answered with [`Reply::Started`].
    Start,
    /// CreateTopics (S84). Answered with [`Reply::Topics`], as Kafka orders it: first, in the order asked, the topics
    /// named once; then, once each, those named more often.
    CreateTopics {
        /// The topics; of those named more than once, none is made.
        topics: Vec<NewTopic>,
        /// Do everything but create.
        validate_only: bool,
    },
    /// See that topics exist that a client named in a Metadata request (`auto.create.topics.enable`, S83), or that the
    /// settings declare. One that exists already is as good as one just made. Answered with [`Reply::Topics`], in
    /// the order asked.
    EnsureTopics(Vec<NewTopic>),
    /// See that a topic of the broker's own exists. Answered with one [`Reply::Topics`] entry.
    EnsureInternalTopic {
        /// Which one.
        topic: InternalTopic,
        /// A fresh id for it.
        id: TopicId,
    },
    /// DeleteTopics (S89). Answered with [`Reply::Topics`], in the order asked and once for what was asked twice: the
    /// topic that is gone, or why it is not.
    DeleteTopics(Vec<TopicRef>),
    /// CreatePartitions (S84). Answered with [`Reply::Topics`], once for each name.
    CreatePartitions {
        /// The topics and their wanted sizes; of those named more than once, none grows.
        topics: Vec<MorePartitions>,
        /// Do everything but grow.
        validate_only: bool,
    },
    /// AlterConfigs and IncrementalAlterConfigs of topics (S96). Answered with [`Reply::Topics`], in the order asked.
    AlterTopics {
        /// The changes; each topic once.
        topics: Vec<AlterTopic>,
        /// Do everything but change them.
        validate_only: bool,
    },
    /// The next block of producer ids. Answered with [`Reply::ProducerIds`].
    AllocateProducerIds,
    /// The files of a deleted topic are gone. Internal; not answered.
    FilesRemoved(TopicId),
}

/// A topic to make.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl NewTopic {
    /// A topic of which all is left to the broker.
    pub fn with_defaults(name: impl Into<String>, id: TopicId) -> Self {
        Self {
            name: name.into(),
            id,
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
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

/// A topic whose settings are to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterTopic {
    /// Its name.
    pub name: String,
    /// What is to change.
    pub change: ConfigChange,
}

/// How a topic's own settings change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// These are all of them from here on (AlterConfigs).
    Replace(Vec<(String, String)>),
    /// Each of these changes as said, and the rest stay (IncrementalAlterConfigs). Each name once.
    Each(Vec<(String, ConfigOp)>),
}

/// What happens to one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOp {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Delete,
    /// These elements are added to its list, unless they are there.
    Append(String),
    /// These elements are taken out of its list.
    Subtract(String),
}

/// A topic by name or, from DeleteTopics v6 on, by id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// `__transaction_state`.
    TransactionState,
}

/// Why a topic was not made, deleted or grown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}", message.as_deref().unwrap_or("no details"))]
pub struct TopicError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What a person should read; `None` where Kafka sends null.
    pub message: Option<String>,
}

impl TopicError {
    /// A refusal with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// A refusal that Kafka sends without a text.
    pub fn bare(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
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
    /// This is the start of this number, from 0.
    Started(i32),
    /// One outcome for each topic of the command.
    Topics(Vec<TopicOutcome>),
    /// A block of producer ids.
    ProducerIds(ProducerIdBlock),
    /// Nothing was decided: the catalog cannot serve now. In the words of coordinators (14, 15, 16), which handlers
    /// translate to those of their API.
    Refused(ErrorCode),
}
