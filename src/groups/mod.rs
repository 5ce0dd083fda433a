//! Consumer groups and their committed offsets: a pure state machine.

mod command;
mod effect;
mod reply;
mod world;

pub use command::{
    Command, CommitOffsets, CommitPartition, CommitTopic, DeleteOffsets, FetchOffsets, FetchTopic, Heartbeat,
    JoinGroup, LeaveGroup, Leaver, ListGroups, Protocol, SyncGroup, TopicKey,
};
pub use effect::Effect;
pub use reply::{
    CLASSIC, CommitReply, CommittedTopic, DeleteOffsetsReply, DeletedOffsets, DescribeReply, DescribedMember,
    FetchReply, FetchedOffset, FetchedTopic, GroupState, JoinReply, JoinedMember, LeaveReply, LeftMember,
    ListedGroup, Reply, SyncReply,
};
pub use world::{GroupSettings, InitialDelay, World};
