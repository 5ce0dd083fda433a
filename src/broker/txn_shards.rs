//! The transaction coordinators: one shard per partition of `__transaction_state`. Those that hold anything start with
//! the broker, for open transactions hold readers back and have time-outs; the others when they are needed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::coord_log::PartitionLog;
use super::marker_writers::MarkerWriters;
use super::{Broker, markers};
use crate::config::units::show_span;
use crate::config::{Config, Fsync};
use crate::coord::Release;
use crate::coord::task::{LoadWhen, ShardHandle, ShardSpec, ShardStatus, spawn};
use crate::partition::Partition;
use crate::storage::manifest::Manifest;
use crate::telemetry::notices::Notices;
use crate::txn::{Command, Effect, Producer, Status, Transaction, Transactions, TxnSettings, World};
use crate::types::Clock;
use crate::types::shell::in_shell;

/// The name of the topic that holds transactions.
pub(super) const TRANSACTION_STATE: &str = crate::catalog::names::TRANSACTION_STATE;
/// Commands of clients that may stand in one shard's mailbox.
const CLIENT_LANE_MAX_COMMANDS: usize = 10_000;
/// How long an outcome waits for room in the lane of a shard that has too much to do.
const LANE_FULL_PAUSE: Duration = Duration::from_millis(20);
/// Producers that are remembered as told of.
const TOLD_MAX: usize = 10_000;
/// Partitions that a log line names.
const SHOWN_PARTITIONS: usize = 5;

/// The shards that were started.
#[derive(Debug)]
pub(super) struct TxnShards {
    world: Arc<World>,
    clock: Clock,
    manifest: Arc<Manifest>,
    shards: Mutex<HashMap<i32, ShardHandle<Transactions>>>,
    /// The partitions that held records when the broker started.
    held: OnceLock<BTreeSet<i32>>,
    /// Producers whose open transaction the log has told of.
    told: Mutex<HashSet<i64>>,
    /// Producers whose open transaction partitions have told of.
    told_by_partitions: Notices<i64>,
    marker_writers: Arc<MarkerWriters>,
    stopping: AtomicBool,
}

impl TxnShards {
    pub(super) fn new(config: &Config, clock: Clock, manifest: Arc<Manifest>) -> Self {
        let world = Arc::new(World { settings: settings(config) });
        Self {
            world,
            clock,
            manifest,
            shards: Mutex::default(),
            held: OnceLock::new(),
            told: Mutex::default(),
            told_by_partitions: Notices::default(),
            marker_writers: Arc::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The shard of this partition, if it was started.
    pub(super) fn get(&self, partition: i32) -> Option<ShardHandle<Transactions>> {
        self.shards.lock().get(&partition).cloned()
    }

    /// Notes which partitions hold records. Only the first call counts.
    pub(super) fn note_held(&self, held: BTreeSet<i32>) {
        if self.held.set(held).is_err() {
            tracing::debug!("what transactions were there was told twice");
        }
    }

    /// The partitions that held records when the broker started.
    pub(super) fn held(&self) -> impl Iterator<Item = i32> {
        self.held.get().into_iter().flatten().copied()
    }

    /// The partitions whose shard knows transactional ids, or has them to load.
    pub(super) fn in_use(&self) -> BTreeSet<i32> {
        self.held().chain(self.shards.lock().keys().copied()).collect()
    }

    /// The shard over this partition, started if it was not.
    pub(super) fn start(
        &self,
        broker: Weak<Broker>,
        partition: &Arc<Partition>,
        load: LoadWhen,
    ) -> ShardHandle<Transactions> {
        let mut shards = self.shards.lock();
        let index = partition.id().partition;
        if let Some(shard) = shards.get(&index) {
            return shard.clone();
        }
        let coordinator = Coordinator { broker, partition: index, epoch: partition.leader_epoch() };
        let shard = spawn(ShardSpec {
            name: format!("{TRANSACTION_STATE}-{index}"),
            log: Arc::new(PartitionLog {
                partition: Arc::clone(partition),
                manifest: Arc::clone(&self.manifest),
            }),
            world: Arc::clone(&self.world),
            effects: Box::new(move |effect| coordinator.carry_out(effect)),
            clock: self.clock.clone(),
            client_lane_max_commands: CLIENT_LANE_MAX_COMMANDS,
            load,
        });
        shards.insert(index, shard.clone());
        shard
    }

    /// Whether a partition that this producer's open transaction holds back is to say so: not where a coordinator has, and
    /// once for all partitions, which the line names, though they come of age one after the other.
    pub(super) fn is_to_be_told_of(&self, producer_id: i64) -> bool {
        !self.told.lock().contains(&producer_id)
            && self.told_by_partitions.is_due(producer_id, self.clock.monotonic())
    }

    fn note_told(&self, producer_id: i64) {
        let mut told = self.told.lock();
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(producer_id);
    }

    /// Whether the broker stops: nothing is tried again any more.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let shards: Vec<_> = self.shards.lock().values().cloned().collect();
        for shard in shards {
            shard.stop().await;
        }
    }
}

fn settings(config: &Config) -> TxnSettings {
    let rules = &config.transactions;
    TxnSettings {
        max_timeout_ms: rules.max_timeout_ms,
        id_expiration_ms: rules.id_expiration_ms,
        expiry_check_interval_ms: i64::try_from(rules.id_expiration_check_interval.as_millis())
            .unwrap_or(i64::MAX),
        release: match config.fsync {
            Fsync::Always | Fsync::Batch => Release::Durable,
            Fsync::Interval(_) | Fsync::Never => Release::Appended,
        },
    }
}

/// One shard as its effects see it.
#[derive(Debug, Clone)]
pub(super) struct Coordinator {
    pub(super) broker: Weak<Broker>,
    /// Its partition of `__transaction_state`.
    pub(super) partition: i32,
    /// Its partition's leader epoch in this start: markers carry it.
    pub(super) epoch: i32,
}

impl Coordinator {
    /// Tells the shard, again and again while its lane is full. One that has stopped needs nothing, and one that loads
    /// anew asks again.
    pub(super) async fn tell(&self, mut command: Command) {
        loop {
            let shard = self.broker.upgrade().and_then(|broker| broker.transactions.get(self.partition));
            let Some(shard) = shard else { return };
            match shard.tell(command) {
                Ok(()) => return,
                Err(_) if shard.status() == ShardStatus::Stopped => break,
                Err(back) => command = back,
            }
            tokio::time::sleep(LANE_FULL_PAUSE).await;
        }
        tracing::debug!(partition = self.partition, "a stopped transaction shard was told nothing");
    }

    /// Begins what an effect asks for, or says what it tells. Called while the shard is stepped; returns at once.
    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::WriteMarkers(wanted) => {
                let Some(broker) = self.broker.upgrade() else { return };
                let (id, attempt) = (Arc::clone(&wanted.transactional_id), wanted.attempt);
                let writers = &broker.transactions.marker_writers;
                writers.begin(&id, attempt, markers::write(self.clone(), wanted));
            }
            Effect::WantProducerId { transactional_id, producer } => {
                tokio::spawn(find_producer_id(self.clone(), transactional_id, producer));
            }
            Effect::TimedOut { transactional_id, transaction } => tracing::warn!(
                %transactional_id,
                producer_id = transaction.producer.id,
                producer_epoch = transaction.producer.epoch,
                timeout_ms = transaction.timeout_ms,
                partitions = %shown(transaction.places()),
                "a transaction was open for longer than its time-out and is aborted"
            ),
            Effect::Fenced { transactional_id, transaction, client } => tracing::info!(
                %transactional_id,
                producer_id = transaction.producer.id,
                producer_epoch = transaction.producer.epoch,
                partitions = %shown(transaction.places()),
                "client {client} takes this transactional id: the producer that had it is fenced, and its open \
                 transaction aborted. A producer that starts does so, and who aborts a transaction by its id"
            ),
            Effect::HeldBack { transactional_id, transaction, for_ms } => {
                self.tell_of_held_back(&transactional_id, &transaction, for_ms);
            }
            Effect::Expired { count, first } => {
                tracing::info!(count, %first, "transactional ids that nobody uses are forgotten");
            }
        }
    }

    fn tell_of_held_back(&self, transactional_id: &str, transaction: &Transaction, for_ms: i64) {
        if let Some(broker) = self.broker.upgrade() {
            broker.transactions.note_told(transaction.producer.id);
        }
        tracing::warn!(
            transactional_id,
            producer_id = transaction.producer.id,
            state = transaction.status.name(),
            open_ms = for_ms,
            open_for = show_span(for_ms),
            timeout_ms = transaction.timeout_ms,
            partitions = %shown(transaction.places()),
            "a transaction holds read_committed consumers back. {}",
            advice(transactional_id, transaction.status)
        );
    }
}

/// Draws a producer id for a shard.
async fn find_producer_id(coordinator: Coordinator, transactional_id: Arc<str>, producer: Producer) {
    let Some(broker) = coordinator.broker.upgrade() else { return };
    let found = broker.next_producer_id().await;
    // What waits for room does not keep the broker.
    drop(broker);
    match found {
        Ok(fresh_id) => {
            coordinator.tell(Command::ProducerIdFound { transactional_id, producer, fresh_id }).await;
        }
        // It asks again.
        Err(error) => tracing::warn!(%transactional_id, %error, "no producer id for a transaction to end"),
    }
}

/// What to do about a transaction that holds readers back.
pub(super) fn advice(transactional_id: &str, status: Status) -> String {
    if status.prepared().is_some() {
        return "Its end is decided; an earlier line says why its partitions do not take it".to_owned();
    }
    format!("If its producer does not come back, end it: streamd txn abort {}", in_shell(transactional_id))
}

/// Partitions for a log line: `orders-0, orders-1 and 7 more`.
pub(super) fn shown<'a>(partitions: impl Iterator<Item = (&'a str, i32)>) -> String {
    let mut all = partitions.map(|(topic, at)| format!("{topic}-{at}"));
    let first: Vec<_> = all.by_ref().take(SHOWN_PARTITIONS).collect();
    let first = first.join(", ");
    match all.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::Outcome;

    #[test]
    fn who_reads_of_a_transaction_that_hangs_is_told_the_command_that_ends_it() {
        let told = |id: &str| advice(id, Status::Ongoing);
        assert!(told("payments-1").ends_with("end it: streamd txn abort payments-1"));
        assert!(told("it's mine").ends_with(r"streamd txn abort -- 'it'\''s mine'"));
        assert!(told("-q").ends_with("streamd txn abort -- '-q'"));
        for outcome in [Outcome::Commit, Outcome::Abort] {
            assert!(!advice("payments-1", Status::Prepare(outcome)).contains("abort"), "it ends already");
        }
    }

    #[test]
    fn a_log_line_names_the_first_of_many_partitions() {
        let mut transaction = Transaction {
            producer: Producer::fresh(1),
            previous_id: -1,
            next_id: -1,
            last_epoch: -1,
            timeout_ms: 1,
            status: Status::Ongoing,
            partitions: [("a".into(), [0, 2].into()), ("b".into(), [1].into())].into(),
            updated_at: 0,
            started_at: 0,
            version: 0,
        };
        assert_eq!(shown(transaction.places()), "a-0, a-2, b-1");
        transaction.partitions.insert("c".into(), (0..9).collect());
        assert_eq!(shown(transaction.places()), "a-0, a-2, b-1, c-0, c-1 and 7 more");
    }
}
