//! Reaching the transaction coordinators: for the handlers of their APIs, and for the data plane, which asks whether a
//! batch may go into a partition as part of a transaction (KIP-890).

use std::sync::Arc;

use super::Broker;
use super::group_shards::partition_of;
use super::txn_shards::TRANSACTION_STATE;
use crate::catalog::{InternalTopic, TopicImage};
use crate::coord::task::{LoadWhen, ShardHandle};
use crate::txn::{
    AddPartitions, Command, EndTxn, InitProducer, InitReply, Producer, Reply, Transactions, VerifyPartitions,
};
use crate::types::ErrorCode;

/// `transaction.version` of clients whose partitions Produce and TxnOffsetCommit add.
const VERSION_2: i16 = 2;

/// A producer's wish that its open transaction covers these partitions.
#[derive(Debug, Clone)]
pub struct JoinTransaction {
    /// The producer's transactional id, which picks the coordinator (S77).
    pub transactional_id: Arc<str>,
    /// Its producer id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The partitions, which exist: topic names and indexes.
    pub partitions: Vec<(Arc<str>, i32)>,
    /// Adds them (Produce from version 12, TxnOffsetCommit from version 5); otherwise only asks whether they are part of
    /// the transaction already (S54).
    pub add: bool,
}

impl Broker {
    /// Asks the coordinator of this transactional id, and answers per partition, in their order. A partition that was
    /// added is in the coordinator's log when this returns, as durable as the settings ask.
    ///
    /// Refusals: 42 without a transactional id, 49 for an id that is not the coordinator's, 47 for an epoch that is not, 51 while an end is being
    /// carried out, and 14, 15 and 16 while the coordinator cannot serve. A partition outside the transaction, when
    /// nothing is added, gets `TRANSACTION_ABORTABLE` (120), which producers below version 11 of Produce know as
    /// `INVALID_TXN_STATE` (48). With `transaction.partition.verification.enable` off everything is taken for part of it.
    pub async fn join_transaction(self: &Arc<Self>, request: JoinTransaction) -> Vec<Result<(), ErrorCode>> {
        let JoinTransaction { transactional_id, producer_id, producer_epoch, partitions, add } = request;
        let count = partitions.len();
        if !add && !self.config.transactions.verifies_partitions {
            return vec![Ok(()); count];
        }
        if transactional_id.is_empty() {
            return vec![Err(ErrorCode::InvalidRequest); count];
        }
        let producer = Producer { id: producer_id, epoch: producer_epoch };
        let verdict = if add {
            let version = VERSION_2;
            let added = AddPartitions { transactional_id, producer, partitions, version };
            self.add_to_transaction(added).await.map(|()| vec![true; count])
        } else {
            self.verify_in_transaction(VerifyPartitions { transactional_id, producer, partitions }).await
        };
        match verdict {
            Ok(parts) => {
                let part =
                    |is_part: bool| if is_part { Ok(()) } else { Err(ErrorCode::TransactionAbortable) };
                parts.into_iter().map(part).collect()
            }
            // What produces knows the fence by this name (S49).
            Err(ErrorCode::ProducerFenced) => vec![Err(ErrorCode::InvalidProducerEpoch); count],
            Err(error) => vec![Err(error); count],
        }
    }

    /// Gives a transactional id's next producer (InitProducerId).
    ///
    /// # Errors
    /// As the machine refuses, or the coordinator cannot serve now.
    pub async fn init_transactional(
        self: &Arc<Self>,
        mut request: InitProducer,
    ) -> Result<Producer, ErrorCode> {
        let shard = self.transaction_shard(&request.transactional_id).await?;
        loop {
            match shard.call(Command::Init(request.clone())).await {
                Reply::Init(InitReply::Given(producer)) => return Ok(producer),
                Reply::Init(InitReply::NeedsProducerId) if request.fresh_id.is_none() => {
                    request.fresh_id = Some(self.next_producer_id().await?);
                }
                Reply::Init(InitReply::Refused(error)) | Reply::Refused(error) => return Err(error),
                _ => return Err(ErrorCode::UnknownServerError),
            }
        }
    }

    /// Adds partitions to a transaction.
    ///
    /// # Errors
    /// As the machine refuses, or the coordinator cannot serve now.
    pub async fn add_to_transaction(self: &Arc<Self>, request: AddPartitions) -> Result<(), ErrorCode> {
        let shard = self.transaction_shard(&request.transactional_id).await?;
        match shard.call(Command::Add(request)).await {
            Reply::Add(verdict) => verdict,
            Reply::Refused(error) => Err(error),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Says which of these partitions are part of the open transaction.
    ///
    /// # Errors
    /// As the machine refuses, or the coordinator cannot serve now.
    pub async fn verify_in_transaction(
        self: &Arc<Self>,
        request: VerifyPartitions,
    ) -> Result<Vec<bool>, ErrorCode> {
        let shard = self.transaction_shard(&request.transactional_id).await?;
        match shard.call(Command::Verify(request)).await {
            Reply::Verify(verdict) => verdict,
            Reply::Refused(error) => Err(error),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Ends a transaction; returns when the end is visible, with the producer to go on with.
    ///
    /// # Errors
    /// As the machine refuses, or the coordinator cannot serve now.
    pub async fn end_transaction(self: &Arc<Self>, mut request: EndTxn) -> Result<Producer, ErrorCode> {
        let shard = self.transaction_shard(&request.transactional_id).await?;
        loop {
            match shard.call(Command::End(request.clone())).await {
                Reply::End(verdict) => return verdict,
                Reply::NeedsProducerId if request.fresh_id.is_none() => {
                    request.fresh_id = Some(self.next_producer_id().await?);
                }
                Reply::Refused(error) => return Err(error),
                _ => return Err(ErrorCode::UnknownServerError),
            }
        }
    }

    /// The coordinator of this transactional id, started if it was not.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` and the like: the client tries again.
    pub async fn transaction_shard(
        self: &Arc<Self>,
        transactional_id: &str,
    ) -> Result<ShardHandle<Transactions>, ErrorCode> {
        let topic = self.transaction_state().await?;
        let partition = partition_of(transactional_id, topic.partitions);
        self.transaction_shard_over(&topic, partition, LoadWhen::AtFirstUse).await
    }

    /// The coordinators of all transactional ids: those of every partition that holds records.
    ///
    /// # Errors
    /// As [`Broker::transaction_shard`].
    pub async fn all_transaction_shards(
        self: &Arc<Self>,
    ) -> Result<Vec<ShardHandle<Transactions>>, ErrorCode> {
        let mut shards = Vec::new();
        let Some(topic) = self.image().topic(TRANSACTION_STATE).cloned() else { return Ok(shards) };
        for partition in self.transactions.in_use() {
            shards.push(self.transaction_shard_over(&topic, partition, LoadWhen::AtFirstUse).await?);
        }
        Ok(shards)
    }

    /// Notes which coordinators have something to load. To be called before anybody opens a partition: of one that is
    /// open it cannot be told any more.
    pub(super) fn note_transactions(&self) {
        let image = self.image();
        let Some(topic) = image.topic(TRANSACTION_STATE) else { return };
        let holds = |at: &i32| self.partitions.may_hold_files(topic.id, &topic.name, *at);
        self.transactions.note_held((0..topic.partitions).filter(holds).collect());
    }

    /// Starts the coordinators that have something to load.
    pub(super) async fn load_transactions(self: &Arc<Self>) {
        let Some(topic) = self.image().topic(TRANSACTION_STATE).cloned() else { return };
        for partition in self.transactions.held() {
            if let Err(error) = self.transaction_shard_over(&topic, partition, LoadWhen::AtStart).await {
                tracing::error!(partition, %error, "a transaction coordinator cannot start");
            }
        }
    }

    async fn transaction_shard_over(
        self: &Arc<Self>,
        topic: &Arc<TopicImage>,
        partition: i32,
        load: LoadWhen,
    ) -> Result<ShardHandle<Transactions>, ErrorCode> {
        if let Some(shard) = self.transactions.get(partition) {
            return Ok(shard);
        }
        match self.partition(topic, partition).await {
            Ok(partition) => Ok(self.transactions.start(Arc::downgrade(self), &partition, load)),
            Err(error) => {
                tracing::error!(topic = %topic.name, partition, %error, "a transaction coordinator cannot start");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        }
    }

    /// `__transaction_state`, made at its first use.
    async fn transaction_state(&self) -> Result<Arc<TopicImage>, ErrorCode> {
        self.internal_topic(InternalTopic::TransactionState, TRANSACTION_STATE, "for transactions").await
    }
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;
