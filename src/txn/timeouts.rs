//! What happens to a transaction by itself: its time-out ends it (S59), and one that holds others back is reported.

use std::sync::Arc;

use super::Transactions;
use super::effect::Effect;
use super::hard::Hard;
use super::init::fence;
use super::soft::{HELD_BACK_AGAIN_MS, Soft, Timer};
use super::transaction::{Producer, Status, Transaction};
use super::world::World;
use crate::coord::{Context, Decision};

/// How long a fresh producer id is waited for before it is asked for again, in milliseconds.
const WANT_AGAIN_MS: i64 = 1_000;

/// A transaction has been open for its time-out: it is aborted under an epoch that its producer does not have. If the
/// epochs are used up a fresh id is asked for first.
pub(super) fn timed_out(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
) -> Decision<Transactions> {
    let Some(transaction) = open(hard, id) else { return Decision::default() };
    if transaction.is_exhausted() {
        soft.timers.set(Timer::TimeOut(Arc::clone(id)), context.now.saturating_add(WANT_AGAIN_MS));
        let producer = transaction.producer;
        let effect = Effect::WantProducerId { transactional_id: Arc::clone(id), producer };
        return Decision { effects: vec![effect], ..Decision::default() };
    }
    abort(soft, context, id, transaction, None)
}

/// The fresh id for a transaction that is past its time-out.
pub(super) fn producer_id_found(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
    producer: Producer,
    fresh_id: i64,
) -> Decision<Transactions> {
    match open(hard, id).filter(|transaction| transaction.producer == producer) {
        Some(transaction) if transaction.is_exhausted() => {
            abort(soft, context, id, transaction, Some(fresh_id))
        }
        _ => Decision::default(),
    }
}

fn open<'a>(hard: &'a Hard, id: &str) -> Option<&'a Arc<Transaction>> {
    hard.get(id).filter(|transaction| transaction.status == Status::Ongoing)
}

fn abort(
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
    transaction: &Arc<Transaction>,
    fresh_id: Option<i64>,
) -> Decision<Transactions> {
    let mut out = fence(soft, context, id, transaction, fresh_id);
    let effect = Effect::TimedOut { transactional_id: Arc::clone(id), transaction: Arc::clone(transaction) };
    out.effects.push(effect);
    out
}

/// Readers of committed records wait behind this transaction.
pub(super) fn held_back(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    id: &Arc<str>,
) -> Decision<Transactions> {
    let Some(transaction) = hard.get(id) else { return Decision::default() };
    if matches!(transaction.status, Status::Empty | Status::Complete(_)) {
        return Decision::default();
    }
    soft.timers.set(Timer::HeldBack(Arc::clone(id)), context.now.saturating_add(HELD_BACK_AGAIN_MS));
    let effect = Effect::HeldBack {
        transactional_id: Arc::clone(id),
        transaction: Arc::clone(transaction),
        for_ms: context.wall.saturating_sub(transaction.started_at),
    };
    Decision { effects: vec![effect], ..Decision::default() }
}
