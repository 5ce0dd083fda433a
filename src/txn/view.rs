//! A transactional id as it is now: DescribeTransactions and ListTransactions (KIP-664).

use std::sync::Arc;

use super::command::ListTransactions;
use super::hard::Hard;
use super::reply::{DescribedTransaction, ListedTransaction};
use super::transaction::Transaction;
use crate::types::Timestamp;

/// Answers a DescribeTransactions request for one id.
pub(super) fn describe(hard: &Hard, id: &str) -> Option<DescribedTransaction> {
    let transaction = hard.get(id)?;
    Some(DescribedTransaction {
        status: transaction.status,
        timeout_ms: transaction.timeout_ms,
        started_at: transaction.started_at,
        producer: transaction.producer,
        partitions: transaction.partitions.clone(),
    })
}

/// Answers a ListTransactions request, sorted by id.
pub(super) fn list(hard: &Hard, wall: Timestamp, filter: &ListTransactions) -> Vec<ListedTransaction> {
    let wanted = |transaction: &Transaction| {
        let open_for = wall.saturating_sub(transaction.started_at);
        filter.statuses.as_ref().is_none_or(|statuses| statuses.contains(&transaction.status))
            && (filter.producer_ids.is_empty() || filter.producer_ids.contains(&transaction.producer.id))
            && (filter.longer_than_ms < 0 || open_for > filter.longer_than_ms)
    };
    let listed = hard.all().iter().filter(|(_, transaction)| wanted(transaction));
    listed
        .map(|(id, transaction)| ListedTransaction {
            transactional_id: Arc::clone(id),
            producer_id: transaction.producer.id,
            status: transaction.status,
        })
        .collect()
}
