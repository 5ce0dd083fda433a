//! TxnOffsetCommit, and the ends of the transactions that it belongs to (S60).
//!
//! ```text
//!   TxnOffsetCommit ──▶ open here? ── no ──▶ answered with a guard: ask the coordinator, come again
//!                          │ yes, or the guard holds
//!                          ▼
//!                     pending in the log and in the hard state
//!   marker ──────────▶ committed, or dropped; the guard is taken back
//! ```

use std::sync::Arc;

use super::Groups;
use super::answers::Refusals;
use super::command::{EndTransaction, TxnOffsetCommit};
use super::commit::{Terms, admit_to_empty, sort_out, told};
use super::hard::{Hard, Record};
use super::pending::PendingOffset;
use super::reply::{CommitReply, Reply, TxnCommitReply};
use super::soft::Soft;
use super::world::World;
use crate::coord::{BatchKind, Context, Decision, Ticket};
use crate::types::ErrorCode;

/// Decides on a TxnOffsetCommit request. As in Kafka, what exists is asked first, then the transaction, then the group.
pub(super) fn commit(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    mut request: TxnOffsetCommit,
) -> Decision<Groups> {
    let answer = |reply| Decision::reply(ticket, Reply::TxnOffsetCommit(reply));
    let mut refused = Refusals::default();
    let image = &context.world.image;
    let topics = std::mem::take(&mut request.topics).into_iter();
    let known: Vec<_> = topics.filter_map(|topic| sort_out(image, topic, &mut refused)).collect();
    let verdict = match is_open(hard, soft, &request) {
        _ if known.is_empty() => Ok(()),
        Ok(true) => admit(hard, soft, &request),
        Ok(false) => return answer(TxnCommitReply::Unverified(soft.guards.give(request.producer_id))),
        Err(error) => Err(error),
    };
    let terms = Terms::of(context, None);
    let mut records = Vec::new();
    let mut answers = Vec::with_capacity(known.len());
    for (topic, offsets) in known {
        answers.push(match verdict {
            Ok(()) => terms.take(&topic, offsets, |partition, value| {
                let (producer_id, producer_epoch) = (request.producer_id, request.producer_epoch);
                records.push(Record::PendingOffset {
                    group: Arc::clone(&request.group),
                    topic: Arc::clone(&topic.name),
                    partition,
                    pending: PendingOffset { producer_id, producer_epoch, value },
                });
            }),
            Err(error) => told(&topic, offsets.iter().map(|offset| (offset.partition, error)).collect()),
        });
    }
    let mut out = answer(TxnCommitReply::Done(CommitReply { topics: refused.and(answers) }));
    if !records.is_empty() {
        let (producer_id, producer_epoch) = (request.producer_id, request.producer_epoch);
        out.batch = BatchKind::Transactional { producer_id, producer_epoch };
        out.release = context.world.settings.transaction_release;
        out.records = records;
        soft.guards.take_back(producer_id);
    }
    out
}

/// Whether the producer's transaction is known to be open: it has offsets here already, or the coordinator was asked.
fn is_open(hard: &Hard, soft: &Soft, request: &TxnOffsetCommit) -> Result<bool, ErrorCode> {
    if request.group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let open = hard.transaction(request.producer_id).map(|transaction| transaction.producer_epoch);
    if open.is_some_and(|epoch| request.producer_epoch < epoch) {
        return Err(ErrorCode::InvalidProducerEpoch);
    }
    let verified = request.guard.is_some_and(|guard| soft.guards.holds(request.producer_id, guard));
    Ok(verified || open == Some(request.producer_epoch))
}

/// Whether the group takes the offsets (KIP-447): from anybody who names no member, whatever the group does; from a
/// member of the present generation. Unlike a plain commit it renews no session.
fn admit(hard: &Hard, soft: &Soft, request: &TxnOffsetCommit) -> Result<(), ErrorCode> {
    let (member, instance) = (&request.member_id, request.instance_id.as_deref());
    match soft.groups.get(&request.group) {
        Some(group) => group.check_pending_commit(member, instance, request.generation),
        None => admit_to_empty(hard, &request.group, request.generation),
    }
}

/// Decides on the end of a producer's transaction. A marker is written even if nothing is pending: the log's own
/// bookkeeping may know of the transaction, and a marker for a transaction that is over changes nothing.
pub(super) fn end(hard: &Hard, soft: &mut Soft, ticket: Ticket, end: EndTransaction) -> Decision<Groups> {
    let EndTransaction { producer_id, producer_epoch, coordinator_epoch, commit, v2 } = end;
    let answer = |error| Decision::reply(ticket, Reply::EndTransaction(error));
    if hard.transaction(producer_id).is_some_and(|open| {
        let epoch = open.producer_epoch;
        producer_epoch < epoch || (v2 && producer_epoch == epoch && epoch != i16::MAX)
    }) {
        return answer(ErrorCode::InvalidProducerEpoch);
    }
    soft.guards.take_back(producer_id);
    Decision {
        batch: BatchKind::Marker { producer_id, producer_epoch, coordinator_epoch, commit },
        ..answer(ErrorCode::None)
    }
}
