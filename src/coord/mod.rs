//! Coordinators: the driver that turns a pure state machine and a log into a service.
//!
//! A machine decides; it never acts. [`StateMachine::decide`] looks at the hard state, may change the soft state, and
//! returns records, replies and effects. The shard appends the records, applies them to the hard state and only then
//! releases replies and effects, so nothing outside a shard sees state that is not in its log. The catalog, the groups
//! and the transactions run on it; share groups will.

mod batches;
mod kind;
pub mod log;
pub mod shard;
pub mod task;

use bytes::Bytes;

use crate::types::{ErrorCode, Timestamp};

pub use kind::BatchKind;
pub use log::{CoordLog, LogFault};
pub use task::{LoadWhen, ShardHandle, ShardSpec, ShardStatus};

/// Names one waiting caller. A machine never sees the caller's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

impl Ticket {
    /// What internal commands carry: an answer to it goes nowhere.
    pub const NOBODY: Self = Self(0);
}

/// What a decision may look at besides the machine's own state.
#[derive(Debug)]
pub struct Context<'a, W> {
    /// When the step began, on a clock that never jumps: the wall clock when the shard started, plus monotonic time
    /// since. Deadlines are in these milliseconds, so a jump of the wall clock fires nothing early.
    pub now: Timestamp,
    /// When the step began by the wall clock: for times that are written down and outlive the process.
    pub wall: Timestamp,
    /// The machine's surroundings: settings and, above the catalog, its image.
    pub world: &'a W,
}

/// When the replies and effects of a decision may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Release {
    /// As soon as the records are in the log.
    #[default]
    Appended,
    /// When they, and all that the shard appended before, are durable as the configured durability says.
    Durable,
}

/// What a machine decided on one command. One decision with records becomes one batch or part of one, so a torn
/// tail never splits it.
#[derive(Debug)]
pub struct Decision<M: StateMachine + ?Sized> {
    /// How the records lie in the log. A marker comes without records: the batch itself is the change.
    pub batch: BatchKind,
    /// Changes of hard state, in order.
    pub records: Vec<M::Record>,
    /// When what follows may be seen.
    pub release: Release,
    /// Answers to callers; not only to the one whose command this was.
    pub replies: Vec<(Ticket, M::Reply)>,
    /// What others must do now.
    pub effects: Vec<M::Effect>,
}

impl<M: StateMachine + ?Sized> Default for Decision<M> {
    fn default() -> Self {
        Self {
            batch: BatchKind::Plain,
            records: Vec::new(),
            release: Release::Appended,
            replies: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl<M: StateMachine + ?Sized> Decision<M> {
    /// A decision that only answers.
    pub fn reply(ticket: Ticket, reply: M::Reply) -> Self {
        Self { replies: vec![(ticket, reply)], ..Self::default() }
    }
}

/// A record of the shard's log as key and value bytes; a `None` value is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The key; catalog records have none.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
}

/// A record of a shard's own log that cannot be understood: the shard stops rather than guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CorruptRecord(pub String);

/// What a record of the log is to the machine that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded<R> {
    /// One of its own.
    Own(R),
    /// One that changes nothing.
    Nothing,
    /// One that this machine never wrote, with the reason: of a kind that other brokers have, or produced into the topic
    /// by a client. It is whole, as its batch's checksum says, and while it was appended no state was made of it; so
    /// none is when it is read back. The load says once how many there were.
    NotOurs(String),
}

/// A pure state machine over a log.
///
/// Rules: hard state changes only in [`StateMachine::apply`], and replaying the log gives the same hard state; soft
/// state (waiting members, timers, tickets) is rebuilt by [`StateMachine::on_load`]; no clock, socket, file or
/// randomness inside: time comes in the context and random ids inside commands.
pub trait StateMachine: Send + 'static {
    /// State that the log holds.
    type Hard: Default + Send + 'static;
    /// State that a restart may forget.
    type Soft: Send + 'static;
    /// What callers ask.
    type Command: Send + 'static;
    /// One change of hard state.
    type Record: Send + 'static;
    /// What callers are told.
    type Reply: Send + 'static;
    /// What other parts of the broker must do.
    type Effect: Send + 'static;
    /// Surroundings that decisions depend on: an immutable snapshot, swapped as a whole.
    type World: Send + Sync + 'static;

    /// Decides on one command. Every ticket is answered exactly once, now or by a later decision.
    fn decide(
        hard: &Self::Hard,
        soft: &mut Self::Soft,
        context: &Context<'_, Self::World>,
        ticket: Ticket,
        command: Self::Command,
    ) -> Decision<Self>;

    /// Decides on what is due at `context.now`. Called when [`StateMachine::next_deadline`] has passed; called again
    /// until no deadline is due, so that one call may handle one matter.
    fn on_deadline(
        hard: &Self::Hard,
        soft: &mut Self::Soft,
        context: &Context<'_, Self::World>,
    ) -> Decision<Self>;

    /// When [`StateMachine::on_deadline`] wants to run next.
    fn next_deadline(soft: &Self::Soft) -> Option<Timestamp>;

    /// Applies one record to the hard state, live and in replay alike.
    fn apply(hard: &mut Self::Hard, record: &Self::Record);

    /// Builds the soft state after the log was replayed, with every timer started anew, and the effects that a crash
    /// may have cut short.
    fn on_load(hard: &Self::Hard, context: &Context<'_, Self::World>) -> (Self::Soft, Vec<Self::Effect>);

    /// The effect that shows readers outside the shard the state as it is now, if it has changed for them. Called once
    /// after every load and after every step that wrote records; released when that step is durable, before
    /// its replies and effects.
    fn publish(
        _hard: &Self::Hard,
        _soft: &mut Self::Soft,
        _context: &Context<'_, Self::World>,
    ) -> Option<Self::Effect> {
        None
    }

    /// All of the hard state as records that stand for it by themselves and do no harm when they are applied over it,
    /// or `None` when the log is kept short by cleaning (keyed records). With this the shard replaces a log that
    /// has outgrown its state.
    fn snapshot(_hard: &Self::Hard) -> Option<Vec<Self::Record>> {
        None
    }

    /// Bytes of records that deciding on this command may write at most, as far as can be told before; 0 for one that
    /// never writes. So much room is reserved in the log first, and a command without room is refused untouched.
    fn room(command: &Self::Command) -> u64;

    /// The answer to a command that the shard cannot serve now (`COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`,
    /// `COORDINATOR_NOT_AVAILABLE`, `KAFKA_STORAGE_ERROR`).
    fn refuse(error: ErrorCode) -> Self::Reply;

    /// The record as it lies in the log.
    fn encode(record: &Self::Record) -> LogRecord;

    /// The record back from the log, where it lies in a batch of this kind: one that is plain or transactional.
    ///
    /// # Errors
    /// The record is one of this machine's and says what it cannot understand.
    fn decode(record: &LogRecord, batch: &BatchKind) -> Result<Decoded<Self::Record>, CorruptRecord>;

    /// The change that a marker makes, live and in replay alike; `None` when it makes none.
    fn marker(_batch: &BatchKind) -> Option<Self::Record> {
        None
    }
}
