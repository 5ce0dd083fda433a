//! What the API handlers and the broker ask of a transaction shard. A command carries all that the rules need: settings
//! come in the world, time in the context, and fresh producer ids here, because the machine draws none.

use std::sync::Arc;

use super::effect::Attempt;
use super::transaction::{Outcome, Producer, Status};

/// One request to the shard that owns the transactional id (S77). All but [`Command::List`] are for one id.
#[derive(Debug)]
pub enum Command {
    /// InitProducerId (key 22) with a transactional id.
    Init(InitProducer),
    /// AddPartitionsToTxn (key 24), AddOffsetsToTxn (key 25), and what Produce and TxnOffsetCommit add (V2).
    Add(AddPartitions),
    /// Whether partitions are part of the open transaction (S54).
    Verify(VerifyPartitions),
    /// EndTxn (key 26). Answered when the end is visible.
    End(EndTxn),
    /// DescribeTransactions (key 65), one transactional id of it.
    Describe {
        /// The transactional id.
        transactional_id: Arc<str>,
    },
    /// ListTransactions (key 66) for the ids of this shard.
    List(ListTransactions),
    /// The broker has written all markers of this transaction, and they are durable. Internal.
    MarkersWritten {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// Which asking it answers.
        attempt: Attempt,
    },
    /// The fresh id that an [`super::Effect::WantProducerId`] asked for. Internal.
    ProducerIdFound {
        /// The transactional id.
        transactional_id: Arc<str>,
        /// The exhausted producer that is to be fenced.
        producer: Producer,
        /// The id.
        fresh_id: i64,
    },
}

/// An InitProducerId request with a transactional id.
#[derive(Debug, Clone)]
pub struct InitProducer {
    /// The transactional id; not empty.
    pub transactional_id: Arc<str>,
    /// How long its transactions may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// The id and epoch that the producer holds (KIP-360, v3 and later).
    pub held: Option<Producer>,
    /// A producer id that nobody was given. Without it the answer may be [`super::InitReply::NeedsProducerId`].
    pub fresh_id: Option<i64>,
    /// Who asks, as a log line names it; nothing follows from it.
    pub client: Arc<str>,
}

/// Partitions that become part of a transaction.
#[derive(Debug, Clone)]
pub struct AddPartitions {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// The producer.
    pub producer: Producer,
    /// Topic names and partitions. That they exist is the caller's check.
    pub partitions: Vec<(Arc<str>, i32)>,
    /// `transaction.version` of the client: 2 when Produce or TxnOffsetCommit adds, 0 when the client does.
    pub version: i16,
}

/// Partitions that should be part of the open transaction.
#[derive(Debug, Clone)]
pub struct VerifyPartitions {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// The producer.
    pub producer: Producer,
    /// Topic names and partitions.
    pub partitions: Vec<(Arc<str>, i32)>,
}

/// An EndTxn request.
#[derive(Debug, Clone)]
pub struct EndTxn {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// The producer.
    pub producer: Producer,
    /// Commit or abort.
    pub outcome: Outcome,
    /// Version 5 and later: the end raises the epoch.
    pub raises_epoch: bool,
    /// A producer id that nobody was given. Without it the answer may be [`super::Reply::NeedsProducerId`].
    pub fresh_id: Option<i64>,
}

/// A ListTransactions request. An empty filter lets everything pass.
#[derive(Debug, Clone, Default)]
pub struct ListTransactions {
    /// States; `None` for all.
    pub statuses: Option<Vec<Status>>,
    /// Producer ids; empty for all.
    pub producer_ids: Vec<i64>,
    /// Only those that began longer ago than this, in milliseconds; negative for all (v1 and later).
    pub longer_than_ms: i64,
}

/// A record's key and value around what varies.
const RECORD_BYTES: usize = 256;
/// What partitions that the command does not name may add to its record. Transactions past this are rare; the room
/// that every log keeps ahead covers them.
const PARTITIONS_BYTES: usize = 16 << 10;

impl Command {
    /// Bytes of records that deciding on this may write, as far as the command alone tells.
    pub(super) fn room(&self) -> u64 {
        let bytes = match self {
            Self::Init(InitProducer { transactional_id, .. })
            | Self::End(EndTxn { transactional_id, .. })
            | Self::ProducerIdFound { transactional_id, .. } => {
                RECORD_BYTES + transactional_id.len() + PARTITIONS_BYTES
            }
            Self::MarkersWritten { transactional_id, .. } => RECORD_BYTES + transactional_id.len(),
            Self::Add(request) => {
                let named: usize = request.partitions.iter().map(|(topic, _)| 8 + topic.len()).sum();
                RECORD_BYTES + request.transactional_id.len() + PARTITIONS_BYTES + named
            }
            Self::Verify(_) | Self::Describe { .. } | Self::List(_) => 0,
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}
