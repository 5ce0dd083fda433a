//! Consumer groups and their committed offsets: a pure state machine, one instance per partition of
//! `__consumer_offsets`.
//!
//! A handler makes a [`Command`]; the shard decides on it here, appends the [`Record`]s, applies them and releases the
//! [`Reply`]s. The classic protocol is complete: dynamic and static members (KIP-345), ids given out before joining
//! (KIP-394), cooperative rebalancing, which needs nothing but exact bytes, and KIP-814. The initial rebalance delay is
//! adaptive unless it is set (`rebalance.rs` says how).
//!
//! Offsets may go with a transaction (S60): they are pending until its marker is in the log.
//!
//! Hard state is what the log says: recorded generations and offsets. Soft state is the rest:
//! members while they are members, who waits for what, and timers.

mod answers;
mod classic;
mod command;
mod commit;
mod effect;
mod fetch;
mod guards;
mod hard;
mod join;
mod leave;
mod members;
mod pending;
mod rebalance;
mod records;
mod removal;
mod reply;
mod room;
mod session;
mod soft;
mod subscription;
mod sweep;
mod sync;
mod transactions;
mod view;
mod world;

#[cfg(test)]
mod tests;

pub use command::{
    Command, CommitOffsets, CommitPartition, CommitTopic, DeleteOffsets, EndTransaction, FetchOffsets,
    FetchTopic, Heartbeat, JoinGroup, LeaveGroup, Leaver, ListGroups, Protocol, SyncGroup, TopicKey,
    TxnOffsetCommit,
};
pub use effect::Effect;
pub use guards::Guard;
pub use hard::{CommittedOffset, GroupMetadata, Hard, MemberMetadata, Record, StoredGroup};
pub use pending::{PendingOffset, PendingOffsets};
pub use reply::{
    CLASSIC, CommitReply, CommittedTopic, DeleteOffsetsReply, DeletedOffsets, DescribeReply, DescribedMember,
    FetchReply, FetchedOffset, FetchedTopic, GroupState, JoinReply, JoinedMember, LeaveReply, LeftMember,
    ListedGroup, Reply, SyncReply, TxnCommitReply,
};
pub use soft::Soft;
pub use world::{GroupSettings, InitialDelay, World};

use std::sync::Arc;

use classic::ClassicGroup;
use soft::Timer;

use crate::coord::{BatchKind, Context, CorruptRecord, Decision, Decoded, LogRecord, StateMachine, Ticket};
use crate::types::{ErrorCode, Timestamp};

/// The machine of one shard.
#[derive(Debug)]
pub struct Groups;

impl StateMachine for Groups {
    type Hard = Hard;
    type Soft = Soft;
    type Command = Command;
    type Record = Record;
    type Reply = Reply;
    type Effect = Effect;
    type World = World;

    fn decide(
        hard: &Hard,
        soft: &mut Soft,
        context: &Context<'_, World>,
        ticket: Ticket,
        command: Command,
    ) -> Decision<Self> {
        let answer = |reply| Decision::reply(ticket, reply);
        match command {
            Command::Join(request) => join::join(hard, soft, context, ticket, &request),
            Command::Sync(request) => sync::sync(soft, context, ticket, &request),
            Command::Heartbeat(request) => session::heartbeat(soft, context, ticket, &request),
            Command::Leave(request) => leave::leave(soft, context, ticket, &request),
            Command::Commit(request) => commit::commit(hard, soft, context, ticket, request),
            Command::TxnOffsetCommit(request) => transactions::commit(hard, soft, context, ticket, request),
            Command::EndTransaction(end) => transactions::end(hard, soft, ticket, end),
            Command::Fetch(request) => answer(Reply::Fetch(fetch::fetch(hard, context.world, &request))),
            Command::Describe { group } => answer(Reply::Describe(view::describe(hard, soft, &group))),
            Command::List(filter) => answer(Reply::List(view::list(hard, soft, &filter))),
            Command::DeleteGroup { group } => removal::delete_group(hard, soft, ticket, &group),
            Command::DeleteOffsets(request) => removal::delete_offsets(hard, soft, context, ticket, &request),
            Command::TopicsDeleted { topics } => {
                sweep::topics_deleted(hard, soft, topics);
                answer(Reply::TopicsDeleted)
            }
        }
    }

    fn on_deadline(hard: &Hard, soft: &mut Soft, context: &Context<'_, World>) -> Decision<Self> {
        match soft.timers.pop_due(context.now) {
            Some(timer) => on_timer(soft, context, &timer),
            None if !soft.deleted_topics.is_empty() => sweep::clean_deleted_topic(hard, soft),
            None if soft.sweep.due <= context.now => sweep::sweep(hard, soft, context),
            None => Decision::default(),
        }
    }

    fn next_deadline(soft: &Soft) -> Option<Timestamp> {
        let overdue = (!soft.deleted_topics.is_empty()).then_some(0);
        [overdue, soft.timers.next(), Some(soft.sweep.due)].into_iter().flatten().min()
    }

    fn apply(hard: &mut Hard, record: &Record) {
        hard.apply(record);
    }

    fn on_load(hard: &Hard, context: &Context<'_, World>) -> (Soft, Vec<Effect>) {
        let mut soft = Soft::starting(context);
        let mut effects = Vec::new();
        for (id, stored) in hard.groups() {
            let Some(metadata) = stored.metadata.as_deref().filter(|metadata| !metadata.members.is_empty())
            else {
                continue;
            };
            let group = ClassicGroup::new(Arc::clone(id), Some(metadata), context.wall);
            soft.groups.insert(Arc::clone(id), group);
            let resumed = soft.with_live(context, id, ClassicGroup::resume);
            effects.extend(resumed.into_iter().flat_map(|decided| decided.effects));
        }
        (soft, effects)
    }

    fn room(command: &Command) -> u64 {
        room::of(command)
    }

    fn refuse(error: ErrorCode) -> Reply {
        Reply::Refused(error)
    }

    fn encode(record: &Record) -> LogRecord {
        records::encode(record)
    }

    fn decode(record: &LogRecord, batch: &BatchKind) -> Result<Decoded<Record>, CorruptRecord> {
        records::decode(record, batch)
    }

    fn marker(batch: &BatchKind) -> Option<Record> {
        match *batch {
            BatchKind::Marker { producer_id, commit, .. } => {
                Some(Record::EndTransaction { producer_id, commit })
            }
            BatchKind::Plain | BatchKind::Transactional { .. } => None,
        }
    }
}

fn on_timer(soft: &mut Soft, context: &Context<'_, World>, timer: &Timer) -> Decision<Groups> {
    let decided = match timer {
        Timer::Member { group, member } => {
            soft.with_live(context, group, |group, turn| group.on_member_timer(turn, member))
        }
        Timer::Join(group) => soft.with_live(context, group, ClassicGroup::on_join_timer),
        Timer::Sync(group) => soft.with_live(context, group, ClassicGroup::on_sync_timer),
    };
    decided.unwrap_or_default()
}
