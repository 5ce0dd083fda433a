//! What the log says of transactional ids. Changed by [`Hard::apply`] alone, record by record, so that replay and life
//! give the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::transaction::Transaction;

/// One change of a shard's hard state; in the log it has Kafka's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The transactional id.
    pub transactional_id: Arc<str>,
    /// Its state; `None` is a tombstone.
    pub value: Option<Arc<Transaction>>,
}

/// The hard state of one shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hard {
    transactions: BTreeMap<Arc<str>, Arc<Transaction>>,
}

impl Hard {
    /// All transactional ids, sorted.
    pub(super) fn all(&self) -> &BTreeMap<Arc<str>, Arc<Transaction>> {
        &self.transactions
    }

    /// One transactional id's state.
    pub(super) fn get(&self, transactional_id: &str) -> Option<&Arc<Transaction>> {
        self.transactions.get(transactional_id)
    }

    /// Makes the record's change.
    pub(super) fn apply(&mut self, record: &Record) {
        match &record.value {
            Some(value) => {
                self.transactions.insert(Arc::clone(&record.transactional_id), Arc::clone(value));
            }
            None => {
                self.transactions.remove(&record.transactional_id);
            }
        }
    }
}
