//! Transactions: a pure state machine, one instance per partition of `__transaction_state`.
//!
//! A handler makes a [`Command`]; the shard decides on it here, appends the [`Record`]s, applies them and releases the
//! [`Reply`]s and [`Effect`]s. Hard state is one [`Transaction`] per transactional id, as the log has it. Soft state is
//! who waits for an end, and timers.
//!
//! # States
//!
//! | from | event | to | and |
//! |---|---|---|---|
//! | none, Empty, Complete | InitProducerId | Empty | the epoch rises, or a fresh id begins at 0 |
//! | Empty, Complete, Ongoing | partitions added | Ongoing | the transaction begins with the first of them |
//! | Ongoing | EndTxn | Prepare | V2: the epoch rises; markers are to be written |
//! | Ongoing | InitProducerId, or its time-out is over | PrepareAbort | fenced: the epoch rises |
//! | Empty, Complete | EndTxn V2, abort | CompleteAbort | the epoch rises; there is nothing to mark |
//! | Prepare | all markers are durable | Complete | a rotated id takes its place |
//! | Empty, Complete | not used for `transactional.id.expiration.ms` | none | a tombstone |
//!
//! Once an outcome is prepared nothing but its completion follows, whatever anybody asks.
//!
//! # Answers
//!
//! InitProducerId (S51, S52), with the id and epoch that the producer says it has, if it says any:
//!
//! | state | condition | answer |
//! |---|---|---|
//! | any | time-out not in 1 to `transaction.max.timeout.ms` | 50 |
//! | any | another id than the present one, and no retry of a rotation | 90 |
//! | Prepare | | 51 |
//! | Ongoing | an epoch that is not the present one | 90: a zombie ends nothing |
//! | Ongoing | | 51, and the transaction is fenced and aborted |
//! | Empty, Complete | the epoch is the present one, or none was said | the next epoch; at 32766 a fresh id |
//! | Empty, Complete | the epoch before, and nobody else came between | the present id and epoch: a retry |
//! | Empty, Complete | any other epoch | 90 |
//!
//! Adding partitions (S53) and asking for them (S54): 49 for an unknown transactional id or another producer id, 90 for
//! another epoch, 51 in Prepare, else success; asked-for partitions that are not part of it get 120.
//!
//! EndTxn V1 (to version 4): 49, 90 as above; Ongoing: done; Prepare with the same outcome: 51; Complete with the same
//! outcome: success; everything else: 48.
//!
//! EndTxn V2 (version 5, S56), *retry* being the epoch before the present one, or the id before a rotation:
//!
//! | state | abort | abort, retry | commit | commit, retry |
//! |---|---|---|---|---|
//! | Ongoing | done | 90 | done | 90 |
//! | PrepareAbort | 90 | 51 | 90 | 48 |
//! | PrepareCommit | 90 | 48 | 90 | 51 |
//! | Empty | done | 90 | 48 | 90 |
//! | CompleteAbort | done | success again | 48 | 48 |
//! | CompleteCommit | done | 48 | 48 | success again |
//!
//! An end is answered when it is visible: its markers are written and Complete is in the log (S58), or after
//! five seconds, for the outcome stands.

mod command;
mod effect;
mod end;
mod expiry;
mod hard;
mod init;
mod partitions;
mod records;
mod reply;
mod soft;
mod timeouts;
mod transaction;
mod view;
mod world;

#[cfg(test)]
mod tests;

pub use command::{AddPartitions, Command, EndTxn, InitProducer, ListTransactions, VerifyPartitions};
pub use effect::{Attempt, Effect, Markers};
pub use hard::{Hard, Record};
pub use reply::{DescribedTransaction, InitReply, ListedTransaction, Reply};
pub use soft::Soft;
pub use transaction::{Outcome, Partitions, Producer, Status, Transaction};
pub use world::{TxnSettings, World};

use std::sync::Arc;

use soft::Timer;

use crate::coord::{BatchKind, Context, CorruptRecord, Decision, Decoded, LogRecord, StateMachine, Ticket};
use crate::types::{ErrorCode, Timestamp};

/// The machine of one shard.
#[derive(Debug)]
pub struct Transactions;

impl StateMachine for Transactions {
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
        match command {
            Command::Init(request) => init::init(hard, soft, context, ticket, &request),
            Command::Add(request) => partitions::add(hard, soft, context, ticket, &request),
            Command::Verify(request) => partitions::verify(hard, context, ticket, &request),
            Command::End(request) => end::end(hard, soft, context, ticket, request),
            Command::Describe { transactional_id } => {
                Decision::reply(ticket, Reply::Describe(view::describe(hard, &transactional_id)))
            }
            Command::List(filter) => {
                Decision::reply(ticket, Reply::List(view::list(hard, context.wall, &filter)))
            }
            Command::MarkersWritten { transactional_id, attempt } => {
                end::markers_written(hard, soft, context, &transactional_id, attempt)
            }
            Command::ProducerIdFound { transactional_id, producer, fresh_id } => {
                timeouts::producer_id_found(hard, soft, context, &transactional_id, producer, fresh_id)
            }
        }
    }

    fn on_deadline(hard: &Hard, soft: &mut Soft, context: &Context<'_, World>) -> Decision<Self> {
        match soft.timers.pop_due(context.now) {
            Some(Timer::TimeOut(id)) => timeouts::timed_out(hard, soft, context, &id),
            Some(Timer::HeldBack(id)) => timeouts::held_back(hard, soft, context, &id),
            Some(Timer::Answer(id)) => end::answer_late(hard, soft, context, &id),
            None if soft.sweep.due <= context.now => expiry::sweep(hard, soft, context),
            None => Decision::default(),
        }
    }

    fn next_deadline(soft: &Soft) -> Option<Timestamp> {
        [soft.timers.next(), Some(soft.sweep.due)].into_iter().flatten().min()
    }

    fn apply(hard: &mut Hard, record: &Record) {
        hard.apply(record);
    }

    fn on_load(hard: &Hard, context: &Context<'_, World>) -> (Soft, Vec<Effect>) {
        let mut soft = Soft::starting(context);
        let mut effects = Vec::new();
        for (id, transaction) in hard.all() {
            soft.follow(context, id, transaction);
            if let Some(outcome) = transaction.status.prepared() {
                effects.push(soft.ask_for_markers(id, transaction, outcome));
            }
        }
        (soft, effects)
    }

    fn room(command: &Command) -> u64 {
        command.room()
    }

    fn refuse(error: ErrorCode) -> Reply {
        Reply::Refused(error)
    }

    fn encode(record: &Record) -> LogRecord {
        records::encode(record)
    }

    fn decode(record: &LogRecord, batch: &BatchKind) -> Result<Decoded<Record>, CorruptRecord> {
        match batch {
            BatchKind::Plain => records::decode(record),
            _ => Ok(Decoded::NotOurs("it lies in a transaction".to_owned())),
        }
    }
}

/// A decision that moves one transaction on: its record, and the timers that go with its new state.
fn moved(
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
    transaction: Transaction,
) -> Decision<Transactions> {
    soft.follow(context, id, &transaction);
    Decision {
        records: vec![Record { transactional_id: Arc::clone(id), value: Some(Arc::new(transaction)) }],
        release: context.world.settings.release,
        ..Decision::default()
    }
}

/// A decision that only answers, when everything it relies on is as durable as the settings ask.
fn told(context: &Context<'_, World>, ticket: Ticket, reply: Reply) -> Decision<Transactions> {
    Decision { release: context.world.settings.release, ..Decision::reply(ticket, reply) }
}
