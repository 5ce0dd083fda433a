//! Transactions of one transactional id, request by request, for whoever measures brokers: as Kafka's own producer sends
//! them, in the protocol that the cluster has agreed on.
//!
//! In the first protocol (KIP-98) a partition is announced to the coordinator before it is written to. In the second
//! (KIP-890, `transaction.version` 2) the partition's leader announces it, and each end gives a new epoch.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId,
};
use tokio::time::sleep;

use super::batching::Batch;
use super::cluster::{At, Lane};
use super::connection::millis;
use super::coordinator::{self, Coordinated};
use super::load::{self, leader, written};
use super::metadata::{text, topic_name};
use super::producer::{self, Acks};
use super::retry::Backoff;
use super::{Ceilings, Client, Error, Options, Topic};
use crate::types::ErrorCode;
use crate::types::offset::{NO_PRODUCER_ID, sequence_after};

/// How long a transaction may be open before the broker ends it.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// How long Kafka's producer waits while the broker still ends the transaction before.
const STILL_ENDING: Duration = Duration::from_millis(20);
/// How often it tries then: for half a minute.
const ENDING_TRIES_MAX: u32 = 1_500;
/// The newest versions of the first protocol: Produce, AddPartitionsToTxn, EndTxn.
const FIRST_PROTOCOL: Ceilings = &[(0, 11), (24, 3), (26, 4)];
/// The feature that says which protocol a cluster has agreed on, and its level for the second one.
const FEATURE: (&str, i16) = ("transaction.version", 2);

/// Which protocol of transactions is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The partitions are announced by the client (KIP-98).
    First,
    /// The partitions are announced by their leaders (KIP-890).
    Second,
}

impl Protocol {
    /// The one that the cluster has agreed on.
    ///
    /// # Errors
    /// No answer.
    pub async fn of(client: &Client) -> Result<Self, Error> {
        let level = load::facts(client).await?.features.get(FEATURE.0).copied();
        Ok(if level.is_some_and(|level| level >= FEATURE.1) { Self::Second } else { Self::First })
    }

    /// Options of a client that speaks it.
    pub fn options(self, options: &Options) -> Options {
        let ceilings = if self == Self::First { FIRST_PROTOCOL } else { &[] };
        Options { ceilings, ..options.clone() }
    }

    /// Its number, as the feature counts.
    pub const fn number(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

/// Who writes: what a batch of the transaction has to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The producer id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of the next record in the partition.
    pub sequence: i32,
}

/// A transactional id that writes to one partition, one transaction after another.
#[derive(Debug)]
pub struct Transactor {
    client: Client,
    protocol: Protocol,
    name: String,
    coordinator: i32,
    topic: Topic,
    partition: i32,
    identity: Identity,
}

impl Transactor {
    /// Takes hold of a transactional id. The client is one that was connected with [`Protocol::options`].
    ///
    /// # Errors
    /// A refusal, or no answer for as long as the client waits.
    pub async fn start(
        client: Client,
        protocol: Protocol,
        name: String,
        topic: Topic,
        partition: i32,
    ) -> Result<Self, Error> {
        let mut backoff = Backoff::new(client.options().timeout);
        let (coordinator, id, epoch) = loop {
            match take(&client, &name).await {
                Err(error) if client.may_pass(&error) => sleep(backoff.after(error)?).await,
                done => break done?,
            }
        };
        let identity = Identity { id, epoch, sequence: 0 };
        Ok(Self { client, protocol, name, coordinator, topic, partition, identity })
    }

    /// The transactional id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the next batch has to carry.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// A whole transaction: one batch with this many records, committed.
    ///
    /// # Errors
    /// A refusal that will not pass, or no answer.
    pub async fn commit(&mut self, batch: Bytes, records: i32) -> Result<(), Error> {
        if self.protocol == Protocol::First {
            self.settled_announce().await?;
        }
        self.settled_write(&[Batch { partition: self.partition, bytes: batch, records }]).await?;
        let make = |_| {
            EndTxnRequest::default()
                .with_transactional_id(TransactionalId(text(&self.name)))
                .with_producer_id(ProducerId(self.identity.id))
                .with_producer_epoch(self.identity.epoch)
                .with_committed(true)
        };
        let answer = self.client.call(At::Broker(self.coordinator), Lane::Produces, make).await?;
        Error::check(format!("commit a transaction of {}", self.name), answer.error_code, None)?;
        self.identity.sequence = sequence_after(self.identity.sequence, records);
        if self.protocol == Protocol::Second && *answer.producer_id >= 0 {
            self.identity = Identity { id: *answer.producer_id, epoch: answer.producer_epoch, sequence: 0 };
        }
        Ok(())
    }

    async fn settled_announce(&self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let tried = self.announce().await;
            if !still_ending(&tried, &mut tries) {
                return tried;
            }
            sleep(STILL_ENDING).await;
        }
    }

    async fn settled_write(&self, batches: &[Batch]) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let tried = self.write(batches).await;
            if !still_ending(&tried, &mut tries) {
                return tried;
            }
            sleep(STILL_ENDING).await;
        }
    }

    async fn announce(&self) -> Result<(), Error> {
        let Identity { id, epoch, .. } = self.identity;
        let make = |_| {
            let topic = AddPartitionsToTxnTopic::default()
                .with_name(topic_name(&self.topic.name))
                .with_partitions(vec![self.partition]);
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(TransactionalId(text(&self.name)))
                .with_v3_and_below_producer_id(ProducerId(id))
                .with_v3_and_below_producer_epoch(epoch)
                .with_v3_and_below_topics(vec![topic])
        };
        let answer = self.client.call(At::Broker(self.coordinator), Lane::Produces, make).await?;
        let rows = answer.results_by_topic_v3_and_below.iter();
        for row in rows.flat_map(|topic| &topic.results_by_partition) {
            Error::check(format!("begin a transaction of {}", self.name), row.partition_error_code, None)?;
        }
        Ok(())
    }

    async fn write(&self, batches: &[Batch]) -> Result<(), Error> {
        let timeout = millis(self.client.options().timeout);
        let make = |version| {
            let topic = (self.topic.name.as_str(), self.topic.id);
            producer::request(version, topic, batches, Acks::All, timeout)
                .with_transactional_id(Some(TransactionalId(text(&self.name))))
        };
        let at = At::Broker(leader(&self.topic, self.partition)?);
        let answer = self.client.call(at, Lane::Produces, make).await?;
        written(&self.topic, self.partition, &answer)
    }
}

/// Whether the broker still ends the transaction before, and it is worth another try, as Kafka's producer makes one.
fn still_ending(tried: &Result<(), Error>, tries: &mut u32) -> bool {
    *tries += 1;
    let code = tried.as_ref().err().and_then(Error::code);
    code == Some(ErrorCode::ConcurrentTransactions) && *tries < ENDING_TRIES_MAX
}

/// The coordinator of a transactional id, and the producer id and epoch that it gives.
async fn take(client: &Client, name: &str) -> Result<(i32, i64, i16), Error> {
    let coordinator = coordinator::find(client, Coordinated::Transactions, name).await?;
    let make = |_| init_request(name);
    let answer = client.call(At::Broker(coordinator), Lane::Produces, make).await?;
    Error::check(format!("get a producer id for {name}"), answer.error_code, None)?;
    Ok((coordinator, *answer.producer_id, answer.producer_epoch))
}

fn init_request(name: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(name))))
        .with_transaction_timeout_ms(millis(OPEN_MAX))
        .with_producer_id(ProducerId(NO_PRODUCER_ID))
        .with_producer_epoch(-1)
}
