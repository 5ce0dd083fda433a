//! EndTxn: deciding a transaction's outcome, and answering when it is visible (S53, S55, S56, S58; KIP-890).

use std::sync::Arc;

use super::command::EndTxn;
use super::effect::Attempt;
use super::hard::Hard;
use super::partitions::identify;
use super::reply::Reply;
use super::soft::{Soft, Waiter};
use super::transaction::{LAST_EPOCH, Outcome, Producer, Status, Transaction, VERSION_2};
use super::world::World;
use super::{Transactions, moved, told};
use crate::coord::{Context, Decision, Release, Ticket};
use crate::types::ErrorCode;
use crate::types::offset::NO_PRODUCER_ID;

/// What an EndTxn comes to.
enum Verdict {
    /// This outcome is to be prepared.
    Prepare,
    /// It was done before.
    Again,
    /// No.
    Refuse(ErrorCode),
}

/// Decides on an EndTxn request.
pub(super) fn end(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: EndTxn,
) -> Decision<Transactions> {
    let refuse = |error| Decision::reply(ticket, Reply::End(Err(error)));
    let Some(transaction) = hard.get(&request.transactional_id) else {
        return refuse(ErrorCode::InvalidProducerIdMapping);
    };
    let verdict =
        if request.raises_epoch { judge_v2(transaction, &request) } else { judge_v1(transaction, &request) };
    match verdict {
        Verdict::Refuse(error) => refuse(error),
        Verdict::Again => {
            let producer = if request.raises_epoch { transaction.producer } else { Producer::NONE };
            told(context, ticket, Reply::End(Ok(producer)))
        }
        Verdict::Prepare
            if request.raises_epoch && transaction.is_exhausted() && request.fresh_id.is_none() =>
        {
            Decision::reply(ticket, Reply::NeedsProducerId)
        }
        Verdict::Prepare => prepare(soft, context, ticket, &request, transaction),
    }
}

/// The first version: the epoch stays, so the state alone tells a retry from a mistake.
fn judge_v1(transaction: &Transaction, request: &EndTxn) -> Verdict {
    if let Err(error) = identify(transaction, request.producer.id) {
        return Verdict::Refuse(error);
    }
    if request.producer.epoch != transaction.producer.epoch {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    match transaction.status {
        Status::Ongoing => Verdict::Prepare,
        Status::Prepare(outcome) if outcome == request.outcome => {
            Verdict::Refuse(ErrorCode::ConcurrentTransactions)
        }
        Status::Complete(outcome) if outcome == request.outcome => Verdict::Again,
        Status::Empty | Status::Prepare(_) | Status::Complete(_) => {
            Verdict::Refuse(ErrorCode::InvalidTxnState)
        }
    }
}

/// The second version: an end raises the epoch, so a retry comes with the epoch before, and the present epoch means the
/// next transaction.
fn judge_v2(transaction: &Transaction, request: &EndTxn) -> Verdict {
    let Producer { id, epoch } = request.producer;
    let is_rotated = transaction.previous_id == id
        && transaction.producer.id != id
        && epoch == LAST_EPOCH
        && transaction.producer.epoch == 0;
    let is_retry = is_rotated
        || (transaction.producer.id == id && epoch.checked_add(1) == Some(transaction.producer.epoch));
    if !is_rotated && let Err(error) = identify(transaction, id) {
        return Verdict::Refuse(error);
    }
    let is_present = epoch == transaction.producer.epoch && !is_rotated;
    let is_valid = match transaction.status {
        Status::Empty | Status::Ongoing => is_present,
        Status::Prepare(_) => is_retry,
        Status::Complete(_) => is_present || is_retry,
    };
    if !is_valid {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    match (transaction.status, request.outcome) {
        (Status::Ongoing, _) | (Status::Empty, Outcome::Abort) => Verdict::Prepare,
        (Status::Prepare(outcome), wanted) if outcome == wanted => {
            Verdict::Refuse(ErrorCode::ConcurrentTransactions)
        }
        (Status::Complete(outcome), wanted) if is_retry && outcome == wanted => Verdict::Again,
        (Status::Complete(_), Outcome::Abort) if !is_retry => Verdict::Prepare,
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}

fn prepare(
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &EndTxn,
    transaction: &Transaction,
) -> Decision<Transactions> {
    let id = &request.transactional_id;
    let version = if request.raises_epoch { VERSION_2 } else { 0 };
    let rotates = request.raises_epoch && transaction.is_exhausted();
    let next_id = request.fresh_id.filter(|_| rotates).unwrap_or(NO_PRODUCER_ID);
    let prepared = transaction.prepared(request.outcome, version, next_id, context.wall);
    let producer = if request.raises_epoch { prepared.completed_producer() } else { Producer::NONE };
    if prepared.partitions.is_empty() {
        // Nothing is to be marked: the end is visible with its record.
        let mut out = moved(soft, context, id, prepared.completed(context.wall));
        out.replies.push((ticket, Reply::End(Ok(producer))));
        return out;
    }
    let markers = soft.ask_for_markers(id, &prepared, request.outcome);
    let mut out = moved(soft, context, id, prepared);
    out.effects.push(markers);
    soft.wait(context.now, id, Waiter { ticket, producer });
    out
}

/// All markers of a transaction are durable: it is complete, and whoever waits for its end is answered. Nobody waits for
/// this record to be durable, for a load that does not find it writes the markers once more, to no effect.
pub(super) fn markers_written(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
    attempt: Attempt,
) -> Decision<Transactions> {
    let prepared = hard.get(id).filter(|found| found.status.prepared().is_some());
    let (Some(transaction), true) = (prepared, soft.answers_attempt(id, attempt)) else {
        // Written twice; one time has counted, or will.
        return Decision::default();
    };
    let mut out = moved(soft, context, id, transaction.completed(context.wall));
    out.release = Release::Appended;
    if let Some(waiter) = soft.stop_waiting(id) {
        out.replies.push((waiter.ticket, Reply::End(Ok(waiter.producer))));
    }
    out
}

/// Markers take long. The outcome stands all the same, and that is what the client asked for.
pub(super) fn answer_late(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
) -> Decision<Transactions> {
    debug_assert!(hard.get(id).is_some_and(|transaction| transaction.status.prepared().is_some()));
    match soft.stop_waiting(id) {
        Some(waiter) => told(context, waiter.ticket, Reply::End(Ok(waiter.producer))),
        None => Decision::default(),
    }
}
