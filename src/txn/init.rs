//! InitProducerId with a transactional id: who may write under it from now on (S51, S52; KIP-98, KIP-360).

use std::sync::Arc;

use super::command::InitProducer;
use super::effect::Effect;
use super::hard::Hard;
use super::reply::{InitReply, Reply};
use super::soft::Soft;
use super::transaction::{LAST_EPOCH, NO_EPOCH, Outcome, Producer, Status, Transaction, VERSION_2};
use super::world::World;
use super::{Transactions, moved};
use crate::coord::{Context, Decision, Ticket};
use crate::types::ErrorCode;
use crate::types::offset::NO_PRODUCER_ID;

/// Decides on an InitProducerId request.
pub(super) fn init(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &InitProducer,
) -> Decision<Transactions> {
    let refuse = |error| Decision::reply(ticket, Reply::Init(InitReply::Refused(error)));
    if !(1..=context.world.settings.max_timeout_ms).contains(&request.timeout_ms) {
        return refuse(ErrorCode::InvalidTransactionTimeout);
    }
    let id = &request.transactional_id;
    let Some(transaction) = hard.get(id) else {
        // Whatever the producer held before has expired.
        let Some(fresh_id) = request.fresh_id else { return needs_producer_id(ticket) };
        let first = Transaction::first(fresh_id, request.timeout_ms, context.wall);
        return give(soft, context, ticket, id, first);
    };
    if request.held.is_some_and(|held| !is_holder(transaction, held)) {
        return refuse(ErrorCode::ProducerFenced);
    }
    match transaction.status {
        Status::Prepare(_) => refuse(ErrorCode::ConcurrentTransactions),
        Status::Ongoing => {
            if request.held.is_some_and(|held| held.epoch != transaction.producer.epoch) {
                return refuse(ErrorCode::ProducerFenced);
            }
            if transaction.is_exhausted() && request.fresh_id.is_none() {
                return needs_producer_id(ticket);
            }
            let mut out = fence(soft, context, id, transaction, request.fresh_id);
            out.effects.push(Effect::Fenced {
                transactional_id: Arc::clone(id),
                transaction: Arc::clone(transaction),
                client: Arc::clone(&request.client),
            });
            let reply = Reply::Init(InitReply::Refused(ErrorCode::ConcurrentTransactions));
            out.replies.push((ticket, reply));
            out
        }
        Status::Empty | Status::Complete(_) => renew(soft, context, ticket, request, transaction),
    }
}

/// Whether a producer that holds this id may be the one that the transactional id is at: the id is the present one, or
/// it is the exhausted one before a rotation that the producer was not told of.
fn is_holder(transaction: &Transaction, held: Producer) -> bool {
    held.id == transaction.producer.id || (held.id == transaction.previous_id && held.epoch >= LAST_EPOCH)
}

/// The next epoch, a fresh id, or the present producer once more for one that was not told of it.
fn renew(
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &InitProducer,
    transaction: &Transaction,
) -> Decision<Transactions> {
    let Producer { id: producer_id, epoch } = transaction.producer;
    let held = request.held.map(|held| held.epoch);
    let (producer, last_epoch) = if transaction.is_exhausted() && held.is_none_or(|held| held == epoch) {
        let Some(fresh_id) = request.fresh_id else { return needs_producer_id(ticket) };
        (Producer::fresh(fresh_id), held.map_or(NO_EPOCH, |_| epoch))
    } else {
        let next = Producer { id: producer_id, epoch: epoch.saturating_add(1) };
        match held {
            None => (next, NO_EPOCH),
            Some(held) if held == epoch => (next, epoch),
            Some(held) if held == transaction.last_epoch => (transaction.producer, held),
            Some(_) => {
                return Decision::reply(ticket, Reply::Init(InitReply::Refused(ErrorCode::ProducerFenced)));
            }
        }
    };
    let next = transaction.initialised(producer, last_epoch, request.timeout_ms, context.wall);
    give(soft, context, ticket, &request.transactional_id, next)
}

fn give(
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    id: &Arc<str>,
    transaction: Transaction,
) -> Decision<Transactions> {
    let reply = Reply::Init(InitReply::Given(transaction.producer));
    let mut out = moved(soft, context, id, transaction);
    out.replies.push((ticket, reply));
    out
}

fn needs_producer_id(ticket: Ticket) -> Decision<Transactions> {
    Decision::reply(ticket, Reply::Init(InitReply::NeedsProducerId))
}

/// Aborts an open transaction under an epoch that its producer does not have. Broker-made ends follow the protocol's
/// second version whoever began: the raised epoch is on every partition, so nothing of the old one can come late.
pub(super) fn fence(
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
    transaction: &Transaction,
    fresh_id: Option<i64>,
) -> Decision<Transactions> {
    let next_id = fresh_id.filter(|_| transaction.is_exhausted()).unwrap_or(NO_PRODUCER_ID);
    let prepared = transaction.prepared(Outcome::Abort, VERSION_2, next_id, context.wall);
    let markers = soft.ask_for_markers(id, &prepared, Outcome::Abort);
    let mut out = moved(soft, context, id, prepared);
    out.effects.push(markers);
    out
}
