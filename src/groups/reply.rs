//! What a group shard answers. A reply holds everything that a handler needs for any version of its API; what a
//! version cannot carry, the handler leaves out.

use std::sync::Arc;

use bytes::Bytes;

use super::guards::Guard;
use crate::types::{ErrorCode, TopicId};

/// The answer to a command: the variant of the same name, or a refusal of the whole shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`super::Command::Join`].
    Join(JoinReply),
    /// To [`super::Command::Sync`].
    Sync(SyncReply),
    /// To [`super::Command::Heartbeat`].
    Heartbeat(ErrorCode),
    /// To [`super::Command::Leave`].
    Leave(LeaveReply),
    /// To [`super::Command::Commit`].
    Commit(CommitReply),
    /// To [`super::Command::TxnOffsetCommit`].
    TxnOffsetCommit(TxnCommitReply),
    /// To [`super::Command::EndTransaction`]: `INVALID_PRODUCER_EPOCH` for a marker below the transaction that is open,
    /// or none.
    EndTransaction(ErrorCode),
    /// To [`super::Command::Fetch`].
    Fetch(FetchReply),
    /// To [`super::Command::Describe`].
    Describe(DescribeReply),
    /// To [`super::Command::List`].
    List(Vec<ListedGroup>),
    /// To [`super::Command::DeleteGroup`]: `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND` or none.
    DeleteGroup(ErrorCode),
    /// To [`super::Command::DeleteOffsets`].
    DeleteOffsets(DeleteOffsetsReply),
    /// To [`super::Command::TopicsDeleted`].
    TopicsDeleted,
    /// The shard serves no command now: it loads, stops or its log has failed.
    Refused(ErrorCode),
}

/// Takes a reply apart as the one that was asked for.
macro_rules! answers {
    ($($method:ident: $variant:ident => $answer:ty;)+) => {
        impl Reply {
            $(#[doc = concat!("The answer to a command `", stringify!($variant), "`; the error when the shard refused.")]
            pub fn $method(self) -> Result<$answer, ErrorCode> {
                match self {
                    Self::$variant(answer) => Ok(answer),
                    Self::Refused(error) => Err(error),
                    _ => Err(ErrorCode::UnknownServerError),
                }
            })+
        }
    };
}

answers! {
    join: Join => JoinReply;
    sync: Sync => SyncReply;
    heartbeat: Heartbeat => ErrorCode;
    leave: Leave => LeaveReply;
    commit: Commit => CommitReply;
    txn_offset_commit: TxnOffsetCommit => TxnCommitReply;
    end_transaction: EndTransaction => ErrorCode;
    fetch: Fetch => FetchReply;
    describe: Describe => DescribeReply;
    list: List => Vec<ListedGroup>;
    delete_group: DeleteGroup => ErrorCode;
    delete_offsets: DeleteOffsets => DeleteOffsetsReply;
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// What went wrong, or none. With `MEMBER_ID_REQUIRED`, `member_id` is the id to come back with.
    pub error: ErrorCode,
    /// The new generation, -1 with an error.
    pub generation: i32,
    /// The group's protocol type, `None` with an error (v7 and later).
    pub protocol_type: Option<Arc<str>>,
    /// The chosen protocol, `None` with an error; versions below 7 write "" for it.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id; empty with an error.
    pub leader: Arc<str>,
    /// The leader need not compute an assignment (KIP-814, v9 and later).
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: Arc<str>,
    /// All members with their metadata for the chosen protocol: to the leader only, others get none.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A refusal, to the member of this id.
    pub fn refusal(error: ErrorCode, member_id: Arc<str>) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: Arc::default(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id` (v5 and later).
    pub instance_id: Option<Arc<str>>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReply {
    /// What went wrong, or none.
    pub error: ErrorCode,
    /// The group's protocol type, `None` with an error (v5 and later).
    pub protocol_type: Option<Arc<str>>,
    /// The chosen protocol, `None` with an error (v5 and later).
    pub protocol_name: Option<Arc<str>>,
    /// The member's assignment as the leader sent it; empty if the leader named none, or with an error.
    pub assignment: Bytes,
}

impl SyncReply {
    /// A refusal.
    pub fn refusal(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

/// The answer to a leave. Versions 0 to 2 put the error of their one member at the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveReply {
    /// What went wrong with all, or none.
    pub error: ErrorCode,
    /// Each member of the request, in its order; none when `error` is set.
    pub members: Vec<LeftMember>,
}

/// How the leave of one member went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMember {
    /// As the request has it.
    pub member_id: Arc<str>,
    /// As the request has it.
    pub instance_id: Option<Arc<str>>,
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID` or none.
    pub error: ErrorCode,
}

/// The answer to a commit: partitions in Kafka's order, topics with a refused partition first.
///
/// A commit for a group that does not exist says `GROUP_ID_NOT_FOUND` here; versions below 9 write
/// `ILLEGAL_GENERATION` instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitReply {
    /// Each topic of the request.
    pub topics: Vec<CommittedTopic>,
}

/// The answer to offsets that go with a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnCommitReply {
    /// They are pending as far as they were not refused. A group that does not exist is `GROUP_ID_NOT_FOUND` here;
    /// versions below 6 write `ILLEGAL_GENERATION` instead.
    Done(CommitReply),
    /// Nothing was done: the transaction is not known to be open in this shard. Whoever asks is to ask the transaction's
    /// coordinator, and to come back with this guard; if it no longer holds then, the same answer comes again.
    Unverified(Guard),
}

/// How the commit went for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTopic {
    /// Its name; empty for an unknown id.
    pub name: Arc<str>,
    /// Its id; zero for an unknown name.
    pub id: TopicId,
    /// Partition and what went wrong with it, or none.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// The answer to a fetch of one group's offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchReply {
    /// What was asked for; with "all", every topic that has an offset.
    pub topics: Vec<FetchedTopic>,
    /// The producer whose open transaction bars the first of them that is barred.
    pub barred_by: Option<i64>,
}

/// Committed offsets of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Its name; empty for an unknown id.
    pub name: Arc<str>,
    /// Its id as far as it is known, else zero.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<FetchedOffset>,
}

/// One committed offset, or that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition's index.
    pub partition: i32,
    /// The committed offset, -1 for none.
    pub offset: i64,
    /// The leader epoch that was committed with it, -1 for none.
    pub leader_epoch: i32,
    /// The client's note; `None` is written as "".
    pub metadata: Option<Arc<str>>,
    /// `UNKNOWN_TOPIC_ID`, `UNSTABLE_OFFSET_COMMIT` or none.
    pub error: ErrorCode,
}

impl FetchedOffset {
    /// No offset, for this reason or for none.
    pub fn absent(partition: i32, error: ErrorCode) -> Self {
        Self { partition, offset: -1, leader_epoch: -1, metadata: None, error }
    }
}

/// The states of a group, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupState {
    /// No members; maybe offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Joined; waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has an assignment.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// The name that Kafka reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// A group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeReply {
    /// [`GroupState::Dead`] for an unknown group: error 0 up to version 5; from version 6 the handler writes
    /// `GROUP_ID_NOT_FOUND` with the message `Group <id> not found.`
    pub state: GroupState,
    /// Its protocol type; empty if it never had a member.
    pub protocol_type: Arc<str>,
    /// The chosen protocol, in [`GroupState::Stable`] only.
    pub protocol_data: Arc<str>,
    /// Its members, sorted by id.
    pub members: Vec<DescribedMember>,
}

/// A member described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// The client id it joined with.
    pub client_id: Arc<str>,
    /// The address it joined from.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen protocol, in [`GroupState::Stable`] only; else empty.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A group in a list. The group type of every one is [`CLASSIC`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group: Arc<str>,
    /// Its protocol type; empty if it never had a member.
    pub protocol_type: Arc<str>,
    /// Its state (v4 and later).
    pub state: GroupState,
}

/// The name of the type of all groups of this machine (ListGroups v5 and later).
pub const CLASSIC: &str = "classic";

/// The answer to a deletion of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsetsReply {
    /// What went wrong with all (`INVALID_GROUP_ID`, `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`), or none.
    pub error: ErrorCode,
    /// Each topic of the request, those with a refused partition first as in Kafka; empty when `error` is set.
    pub topics: Vec<DeletedOffsets>,
}

/// How the deletion went for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedOffsets {
    /// Its name.
    pub name: Arc<str>,
    /// Partition and what went wrong with it, or none.
    pub partitions: Vec<(i32, ErrorCode)>,
}
