//! What the API handlers ask of a group shard. A command carries all that the rules need: settings and topics come in
//! the world, time in the context, and random member ids here, because the machine draws none.

use std::sync::Arc;

use bytes::Bytes;

use super::guards::Guard;
use crate::types::TopicId;

/// One request to the shard that owns the group. All but [`Command::List`], [`Command::EndTransaction`] and
/// [`Command::TopicsDeleted`] are for one group, whose id picks the shard (S77).
#[derive(Debug)]
pub enum Command {
    /// JoinGroup (key 11). Answered when the group's join phase ends, or at once with a refusal.
    Join(Box<JoinGroup>),
    /// SyncGroup (key 14). Followers are answered when the leader has brought the assignments.
    Sync(Box<SyncGroup>),
    /// Heartbeat (key 12).
    Heartbeat(Heartbeat),
    /// LeaveGroup (key 13); versions 0 to 2 are a list of one.
    Leave(LeaveGroup),
    /// OffsetCommit (key 8).
    Commit(CommitOffsets),
    /// TxnOffsetCommit (key 28).
    TxnOffsetCommit(TxnOffsetCommit),
    /// The end of a producer's transaction, as its coordinator decided it. Answered when the marker is in the log: one
    /// transaction has many, so whoever asks waits for the disk once, when all are written. To be sent again until they
    /// are durable, for the outcome stands.
    EndTransaction(EndTransaction),
    /// OffsetFetch (key 9), one group of it.
    Fetch(FetchOffsets),
    /// DescribeGroups (key 15), one group of it.
    Describe {
        /// The group; the empty id is allowed.
        group: Arc<str>,
    },
    /// ListGroups (key 16) for the groups of this shard.
    List(ListGroups),
    /// DeleteGroups (key 42), one group of it.
    DeleteGroup {
        /// The group; the empty id is allowed.
        group: Arc<str>,
    },
    /// OffsetDelete (key 47).
    DeleteOffsets(DeleteOffsets),
    /// The catalog removed topics: their committed offsets go. Answered at once; the work is done in slices.
    TopicsDeleted {
        /// Name and id of each.
        topics: Vec<(Arc<str>, TopicId)>,
    },
}

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub struct JoinGroup {
    /// The group; empty is refused with `INVALID_GROUP_ID`.
    pub group: Arc<str>,
    /// The member's id; empty for one that has none yet.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345, v5 and later).
    pub instance_id: Option<Arc<str>>,
    /// The client id of the request header; empty for null. Member ids begin with it.
    pub client_id: Arc<str>,
    /// The peer's address as Kafka prints it, `/127.0.0.1`: operators see it in `describe`.
    pub client_host: Arc<str>,
    /// Milliseconds without a heartbeat until the member is taken for dead.
    pub session_timeout_ms: i32,
    /// Milliseconds the group waits for members to rejoin. Version 0 has none: the handler passes the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer` for consumers; anything not empty.
    pub protocol_type: Arc<str>,
    /// The assignors that the member offers, in its order of preference, with its metadata for each.
    pub protocols: Vec<Protocol>,
    /// Why the member joins (KIP-800, v8 and later), for the log.
    pub reason: Option<Arc<str>>,
    /// From version 4 a dynamic member without id is given one and must come back with it (KIP-394).
    pub member_id_required: bool,
    /// From version 9 a static leader that returns may be told to skip the assignment (KIP-814).
    pub can_skip_assignment: bool,
    /// 16 random bytes, from which a member id is made if one is needed.
    pub uuid: [u8; 16],
}

/// One assignor that a member offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The assignor's name.
    pub name: Arc<str>,
    /// The member's subscription in the protocol's own format: passed on byte for byte (S71).
    pub metadata: Bytes,
}

/// A SyncGroup request. That versions from 5 name type and protocol is the handler's check.
#[derive(Debug, Clone)]
pub struct SyncGroup {
    /// The group; empty is refused with `INVALID_GROUP_ID`.
    pub group: Arc<str>,
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The generation that the join was answered with.
    pub generation: i32,
    /// Must be the group's if given (v5 and later).
    pub protocol_type: Option<Arc<str>>,
    /// Must be the chosen one if given (v5 and later).
    pub protocol_name: Option<Arc<str>>,
    /// Member id and assignment, from the leader; empty from the others.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// A Heartbeat request.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The group; empty is refused with `INVALID_GROUP_ID`.
    pub group: Arc<str>,
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The member's generation.
    pub generation: i32,
}

/// A LeaveGroup request.
#[derive(Debug, Clone)]
pub struct LeaveGroup {
    /// The group; empty is refused with `INVALID_GROUP_ID`.
    pub group: Arc<str>,
    /// Who leaves.
    pub members: Vec<Leaver>,
}

/// One member that leaves, or that an administrator removes.
#[derive(Debug, Clone)]
pub struct Leaver {
    /// The member's id; empty when an administrator removes a static member by its instance.
    pub member_id: Arc<str>,
    /// Its `group.instance.id` (v3 and later).
    pub instance_id: Option<Arc<str>>,
    /// Why it leaves (KIP-800, v5 and later), for the log.
    pub reason: Option<Arc<str>>,
}

/// A topic as the request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id (version 10 of OffsetCommit and OffsetFetch).
    Id(TopicId),
}

/// An OffsetCommit request.
#[derive(Debug, Clone)]
pub struct CommitOffsets {
    /// The group; the empty id is allowed, as in Kafka.
    pub group: Arc<str>,
    /// The member's id; empty from a consumer that manages its partitions itself.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The member's generation, -1 without membership.
    pub generation: i32,
    /// Milliseconds to keep these offsets (versions 2 to 4); `None` for the broker's retention.
    pub retention_ms: Option<i64>,
    /// What is committed.
    pub topics: Vec<CommitTopic>,
}

/// A TxnOffsetCommit request: offsets that are committed if the producer's transaction is (S60).
#[derive(Debug, Clone)]
pub struct TxnOffsetCommit {
    /// The group; empty is refused with `INVALID_GROUP_ID`.
    pub group: Arc<str>,
    /// The member's id; empty before version 3 and from producers without a group's metadata (KIP-447).
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The member's generation, -1 without membership.
    pub generation: i32,
    /// Whose transaction it is.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// `None` at first; then what [`super::TxnCommitReply::Unverified`] brought, when the transaction's coordinator has
    /// said that `__consumer_offsets`' partition is part of the transaction.
    pub guard: Option<Guard>,
    /// What is to be committed.
    pub topics: Vec<CommitTopic>,
}

/// The end of a producer's transaction in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransaction {
    /// Whose transaction ends.
    pub producer_id: i64,
    /// The epoch that the marker carries (S57).
    pub producer_epoch: i16,
    /// The epoch of the transaction coordinator that decided.
    pub coordinator_epoch: i32,
    /// Whether it is committed; else it is aborted.
    pub commit: bool,
    /// The marker is one of transactions V2 (KIP-890): it is above the epoch of the transaction that it ends, so one at
    /// the same epoch is late and refused.
    pub v2: bool,
}

/// Offsets committed for one topic.
#[derive(Debug, Clone)]
pub struct CommitTopic {
    /// The topic.
    pub topic: TopicKey,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One committed offset.
#[derive(Debug, Clone)]
pub struct CommitPartition {
    /// The partition's index.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the last record read, -1 for none (v6 and later).
    pub leader_epoch: i32,
    /// The client's note; `None` for null and for empty, which are the same to Kafka.
    pub metadata: Option<Arc<str>>,
}

/// An OffsetFetch request for one group.
#[derive(Debug, Clone)]
pub struct FetchOffsets {
    /// The group; the empty id is allowed.
    pub group: Arc<str>,
    /// The partitions wanted; `None` for every offset that the group has.
    pub topics: Option<Vec<FetchTopic>>,
    /// Refuse offsets that a transaction may still change (v7 and later).
    pub require_stable: bool,
}

/// Partitions of one topic whose offsets are wanted.
#[derive(Debug, Clone)]
pub struct FetchTopic {
    /// The topic.
    pub topic: TopicKey,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// A ListGroups request. Filters compare without regard to case; an empty one lets everything pass.
#[derive(Debug, Clone, Default)]
pub struct ListGroups {
    /// Names of states (v4 and later).
    pub states: Vec<Arc<str>>,
    /// Names of group types (v5 and later).
    pub types: Vec<Arc<str>>,
}

/// An OffsetDelete request.
#[derive(Debug, Clone)]
pub struct DeleteOffsets {
    /// The group; empty is refused with `INVALID_GROUP_ID`.
    pub group: Arc<str>,
    /// Topic names and partitions.
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}
