//! What a transaction shard answers.

use std::sync::Arc;

use super::transaction::{Partitions, Producer, Status};
use crate::types::{ErrorCode, Timestamp};

/// The answer to a command: the variant of the same name, or a refusal of the whole shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`super::Command::Init`].
    Init(InitReply),
    /// To [`super::Command::Add`].
    Add(Result<(), ErrorCode>),
    /// To [`super::Command::Verify`]: for each partition, in order, whether it is part of the transaction.
    Verify(Result<Vec<bool>, ErrorCode>),
    /// To [`super::Command::End`]: the producer to go on with, which is none to version 4.
    End(Result<Producer, ErrorCode>),
    /// To [`super::Command::End`] as well: come again with a fresh producer id, for the epochs of this one are used up.
    NeedsProducerId,
    /// To [`super::Command::Describe`]; `None` when the transactional id is not known.
    Describe(Option<DescribedTransaction>),
    /// To [`super::Command::List`].
    List(Vec<ListedTransaction>),
    /// The shard serves no command now: it loads, stops or its log has failed.
    Refused(ErrorCode),
}

/// The answer to an InitProducerId.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitReply {
    /// The producer to go on with.
    Given(Producer),
    /// A refusal.
    Refused(ErrorCode),
    /// Come again with a fresh producer id: this transactional id is new, or its epochs are used up.
    NeedsProducerId,
}

/// A transactional id as DescribeTransactions shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedTransaction {
    /// Where it stands.
    pub status: Status,
    /// How long its transactions may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// When the transaction began; -1 without one.
    pub started_at: Timestamp,
    /// Its producer.
    pub producer: Producer,
    /// The partitions that its markers are still to be written to.
    pub partitions: Partitions,
}

/// A transactional id as ListTransactions shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// Its producer id.
    pub producer_id: i64,
    /// Where it stands.
    pub status: Status,
}
