//! Transactional ids that nobody uses are forgotten (S59), in slices, so that a shard with many of them goes on serving.

use std::ops::Bound;
use std::sync::Arc;

use super::Transactions;
use super::effect::Effect;
use super::hard::{Hard, Record};
use super::soft::Soft;
use super::transaction::{Status, Transaction};
use super::world::World;
use crate::coord::{Context, Decision};
use crate::types::Timestamp;

/// Transactional ids that one slice looks at.
const SLICE_IDS: usize = 512;

/// Where the expiry stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next slice is due.
    pub(super) due: Timestamp,
    /// The last id that was looked at in this round.
    done: Option<Arc<str>>,
}

impl Sweep {
    /// A sweep whose first round begins an interval from now.
    pub(super) fn starting(context: &Context<'_, World>) -> Self {
        Self { due: next_round(context), done: None }
    }
}

fn next_round(context: &Context<'_, World>) -> Timestamp {
    context.now.saturating_add(context.world.settings.expiry_check_interval_ms.max(1))
}

/// Looks at the next ids, and buries those that are too old.
pub(super) fn sweep(hard: &Hard, soft: &mut Soft, context: &Context<'_, World>) -> Decision<Transactions> {
    let from = soft.sweep.done.take().map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = hard.all().range::<Arc<str>, _>((from, Bound::Unbounded));
    let mut looked_at = 0;
    let mut out = Decision::<Transactions>::default();
    for (id, transaction) in rest.by_ref().take(SLICE_IDS) {
        looked_at += 1;
        if is_over(transaction, context) {
            out.records.push(Record { transactional_id: Arc::clone(id), value: None });
        }
        soft.sweep.done = Some(Arc::clone(id));
    }
    if looked_at == SLICE_IDS && rest.next().is_some() {
        soft.sweep.due = context.now;
    } else {
        soft.sweep.due = next_round(context);
        soft.sweep.done = None;
    }
    if let Some(first) = out.records.first() {
        let first = Arc::clone(&first.transactional_id);
        out.effects.push(Effect::Expired { count: out.records.len(), first });
    }
    out
}

fn is_over(transaction: &Transaction, context: &Context<'_, World>) -> bool {
    let unused_for = context.wall.saturating_sub(transaction.updated_at);
    matches!(transaction.status, Status::Empty | Status::Complete(_))
        && unused_for >= context.world.settings.id_expiration_ms
}
