//! Which partitions a transaction covers: adding them (S53) and asking for them (S54).

use std::sync::Arc;

use super::command::{AddPartitions, VerifyPartitions};
use super::hard::Hard;
use super::reply::Reply;
use super::soft::Soft;
use super::transaction::{Producer, Status, Transaction};
use super::world::World;
use super::{Transactions, moved, told};
use crate::coord::{Context, Decision, Ticket};
use crate::types::ErrorCode;

/// Adds partitions; the transaction begins with the first.
pub(super) fn add(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &AddPartitions,
) -> Decision<Transactions> {
    let id = &request.transactional_id;
    let transaction = match find(hard, id, request.producer) {
        Ok(transaction) => transaction,
        Err(error) => return Decision::reply(ticket, Reply::Add(Err(error))),
    };
    let reply = Reply::Add(Ok(()));
    if transaction.status == Status::Ongoing && transaction.has_all(&request.partitions) {
        return told(context, ticket, reply);
    }
    let more = transaction.with(&request.partitions, request.version, context.wall);
    let mut out = moved(soft, context, id, more);
    out.replies.push((ticket, reply));
    out
}

/// Says which of the partitions are part of the open transaction.
pub(super) fn verify(
    hard: &Hard,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &VerifyPartitions,
) -> Decision<Transactions> {
    let found = find(hard, &request.transactional_id, request.producer);
    let verdict = found.map(|transaction| {
        let asked = request.partitions.iter();
        asked.map(|(topic, partition)| transaction.has(topic, *partition)).collect()
    });
    told(context, ticket, Reply::Verify(verdict))
}

/// The transaction that this producer may add to.
fn find<'a>(hard: &'a Hard, id: &str, producer: Producer) -> Result<&'a Arc<Transaction>, ErrorCode> {
    let transaction = hard.get(id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
    identify(transaction, producer.id)?;
    if producer.epoch != transaction.producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    match transaction.status {
        Status::Prepare(_) => Err(ErrorCode::ConcurrentTransactions),
        _ => Ok(transaction),
    }
}

/// Whether this is the transactional id's producer id. The one that takes an exhausted id's place may be known to its
/// producer before the transaction is complete: it comes again.
pub(super) fn identify(transaction: &Transaction, producer_id: i64) -> Result<(), ErrorCode> {
    if producer_id == transaction.producer.id {
        Ok(())
    } else if producer_id >= 0 && producer_id == transaction.next_id {
        Err(ErrorCode::ConcurrentTransactions)
    } else {
        Err(ErrorCode::InvalidProducerIdMapping)
    }
}
