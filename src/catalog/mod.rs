//! Cluster metadata: topics, their ids, partition counts and settings, and blocks of producer ids. A state machine with
//! one shard over `__cluster_metadata-0`; readers see immutable images of it.

pub mod command;
mod configs;
pub mod image;
mod machine;
pub mod names;
mod placement;
mod producer_ids;
pub mod records;
mod shared_map;
pub mod state;
mod topics;

use std::sync::Arc;

use crate::config::{OffsetRules, TopicDefaults, TopicRules, TransactionRules};
use crate::types::TopicId;

pub use command::{
    AlterTopic, Command, ConfigChange, ConfigOp, InternalTopic, MorePartitions, NewTopic, ProducerIdBlock,
    Reply, TopicError, TopicOutcome, TopicRef,
};
pub use image::{CatalogImage, TopicImage};
pub use machine::CatalogMachine;
pub use records::Record;
pub use topics::NEW_PARTITIONS_MAX;
pub use topics::consumer_offsets_settings;

/// What the catalog's decisions depend on besides its own state.
#[derive(Debug, Clone)]
pub struct CatalogWorld {
    /// This broker: every partition's only replica.
    pub node_id: i32,
    /// What may be created and deleted.
    pub topics: TopicRules,
    /// What topics without overrides do.
    pub defaults: TopicDefaults,
    /// How `__consumer_offsets` is made.
    pub offsets: OffsetRules,
    /// How `__transaction_state` is made.
    pub transactions: TransactionRules,
}

/// What others must do about a decision of the catalog's. Released when durable, in order, before its replies.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Swap this image in, and close the partitions that it no longer has. What follows relies on it.
    Publish(Arc<CatalogImage>),
    /// These are the settings of these topics from here on: put them in force in partitions that are open.
    Configured {
        /// The topics.
        topics: Vec<Arc<TopicImage>>,
        /// They were read from the log: most of them, or all, have not changed.
        loaded: bool,
    },
    /// These topics are gone: forget their committed offsets and remove their files, then post
    /// [`Command::FilesRemoved`] for each. Comes again after a start that finds it undone.
    Removed(Vec<RemovedTopic>),
}

/// A topic that is deleted and whose files may still be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedTopic {
    /// Its id.
    pub id: TopicId,
    /// The name it had.
    pub name: Arc<str>,
    /// How many partitions it had.
    pub partitions: i32,
}
