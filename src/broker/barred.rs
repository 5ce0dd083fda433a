//! Groups that wait for offsets which an open transaction is to commit (S60, KIP-447): their consumers cannot start, and
//! their clients do not say why. That is so for a moment with every transaction; where it lasts the log says who it is.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::txn_shards::advice;
use super::{Broker, CONSUMER_OFFSETS, partition_of};
use crate::config::units::show_span;
use crate::telemetry::notices::Notices;
use crate::txn::{Command, DescribedTransaction, ListTransactions, Reply};

/// A transaction that is open for this long and bars a group is told of.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// The groups that wait.
#[derive(Debug, Default)]
pub(super) struct Barred {
    /// Groups and producers that were looked at lately.
    looked: Notices<(Arc<str>, i64)>,
}

/// What coordinators know of a producer.
enum Known {
    /// Its transaction is under way.
    UnderWay(Arc<str>, Box<DescribedTransaction>),
    /// None of them has a transaction of it under way.
    Nothing,
}

impl Broker {
    /// Takes note that somebody was told to wait for offsets of this group, because of this producer's open transaction.
    /// If that transaction is an old one, or gets old, the log says so.
    pub fn note_barred(self: &Arc<Self>, group: &str, producer_id: i64) {
        let group: Arc<str> = group.into();
        if self.barred.looked.is_due((Arc::clone(&group), producer_id), self.clock.monotonic()) {
            tokio::spawn(look(Arc::downgrade(self), group, producer_id));
        }
    }

    /// What the coordinators know of this producer; `None` if one of them cannot tell now.
    async fn known_of(self: &Arc<Self>, producer_id: i64) -> Option<Known> {
        let filter =
            ListTransactions { producer_ids: vec![producer_id], longer_than_ms: -1, ..Default::default() };
        for shard in self.all_transaction_shards().await.ok()? {
            let Reply::List(listed) = shard.call(Command::List(filter.clone())).await else { return None };
            for one in listed {
                let transactional_id = Arc::clone(&one.transactional_id);
                let described = shard.call(Command::Describe { transactional_id }).await;
                if let Reply::Describe(Some(described)) = described
                    && !described.partitions.is_empty()
                {
                    return Some(Known::UnderWay(one.transactional_id, Box::new(described)));
                }
            }
        }
        Some(Known::Nothing)
    }

    /// Whether this producer has a transaction open in the partition that holds the group's offsets, and which that is.
    async fn open_where(self: &Arc<Self>, group: &str, producer_id: i64) -> Option<i32> {
        let topic = self.image().topic(CONSUMER_OFFSETS).cloned()?;
        let index = partition_of(group, topic.partitions);
        let partition = self.partition(&topic, index).await.ok()?;
        partition.has_open_transaction(producer_id).then_some(index)
    }
}

/// Looks at the transaction now, and again when it would be old.
async fn look(broker: Weak<Broker>, group: Arc<str>, producer_id: i64) {
    let began = match known_of(&broker, producer_id).await {
        Some((Known::UnderWay(_, transaction), _)) => Some(transaction.started_at),
        Some((Known::Nothing, _)) => None,
        None => return,
    };
    let age = |now: i64| began.map_or(0, |began| u64::try_from(now.saturating_sub(began)).unwrap_or(0));
    let Some(now) = broker.upgrade().map(|broker| broker.clock.now_ms()) else { return };
    tokio::time::sleep(TOLD_AFTER.saturating_sub(Duration::from_millis(age(now)))).await;
    let Some((known, broker)) = known_of(&broker, producer_id).await else { return };
    match (known, began) {
        (Known::UnderWay(id, transaction), Some(began)) if transaction.started_at == began => {
            let open_ms = broker.clock.now_ms().saturating_sub(began);
            tracing::warn!(
                %group, transactional_id = %id, producer_id, state = transaction.status.name(), open_ms,
                open_for = show_span(open_ms), timeout_ms = transaction.timeout_ms,
                "consumers of a group wait for offsets that an open transaction is to commit, and cannot start \
                 (UNSTABLE_OFFSET_COMMIT). {}",
                advice(&id, transaction.status)
            );
        }
        (Known::Nothing, None) => {
            let Some(index) = broker.open_where(&group, producer_id).await else { return };
            tracing::warn!(
                %group, producer_id,
                "consumers of a group wait for offsets of an open transaction that no coordinator knows, and cannot \
                 start (UNSTABLE_OFFSET_COMMIT). Nobody else will end it: \
                 streamd txn abort --topic {CONSUMER_OFFSETS} --partition {index} --producer {producer_id}"
            );
        }
        // It has ended, and perhaps another has begun.
        _ => {}
    }
}

async fn known_of(broker: &Weak<Broker>, producer_id: i64) -> Option<(Known, Arc<Broker>)> {
    let broker = broker.upgrade()?;
    let known = broker.known_of(producer_id).await?;
    Some((known, broker))
}
