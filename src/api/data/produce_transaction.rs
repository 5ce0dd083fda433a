//! Produce for transactions: batches that may have to wait for the coordinator's word (S54, KIP-890).
//!
//! A partition that has the transaction open takes the next batch at once. Before the first one the coordinator is
//! asked, up to version 11 whether the partition was added to the transaction, from 12 on to add it. Mostly it answers on
//! the spot. If it does not, that takes a task of its own, and so do the produce requests that come behind it on the same
//! connection until its batches stand in their queues: nothing overtakes, and everything else on the connection goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::{Call, errors};
use crate::broker::{Broker, JoinTransaction, at_once};
use crate::partition::Partition as OpenPartition;
use crate::partition::ack::{Ack, AckSlot};
use crate::partition::transactions::{CoordinatorWord, FirstBatch, TransactionTicket};
use crate::record::check::CheckedBatch;
use crate::types::ErrorCode;
use crate::wire::StrBytes;

/// From this version on the batch adds its partition to the transaction (transactions V2).
const ADDS: i16 = 12;
/// How long, and how often, the coordinator is asked again while it ends the transaction before
/// (`add.partitions.to.txn.retry.backoff.max.ms` and `.backoff.ms`): sooner than the client would.
const ENDING_WAIT_MAX: Duration = Duration::from_millis(100);
const ENDING_WAIT: Duration = Duration::from_millis(20);

/// Until the batches of a produce request stand in their queues; then its other end is dropped.
pub(crate) type Turn = watch::Receiver<()>;

/// A checked batch and where it goes.
pub(super) struct Ready {
    pub(super) target: Arc<OpenPartition>,
    pub(super) batch: CheckedBatch,
    pub(super) ack: Ack,
    pub(super) place: AckSlot,
}

impl Ready {
    /// The producer of the transaction that it is part of, and its epoch.
    fn producer(&self) -> Option<(i64, i16)> {
        let header = &self.batch.header;
        let is_in_one = header.attributes.is_transactional() && header.has_producer_id();
        is_in_one.then_some((header.producer_id, header.producer_epoch))
    }

    fn enqueue(self, said: CoordinatorWord) {
        self.target.enqueue_said(self.batch, self.ack, said);
    }

    /// What to say after the coordinator's refusal. A zombie is told that it is one, though its transactional id may be
    /// gone or at another producer id: that code lets it begin anew (S49).
    fn refused(&self, code: ErrorCode, ticket: TransactionTicket, version: i16) -> ErrorCode {
        let header = &self.batch.header;
        if errors::is_final_for_transaction(code) {
            self.target.give_ticket_up(header.producer_id, ticket);
        }
        if self.target.is_fenced(header.producer_id, header.producer_epoch) {
            return ErrorCode::InvalidProducerEpoch;
        }
        errors::not_joined(code, version)
    }
}

/// What a partition asks for before it takes a batch: nothing, or a ticket to be given back with it.
type Ticket = Result<Option<TransactionTicket>, ErrorCode>;

/// Queues the batches of a request that is part of a transaction, or that comes behind one that has not queued its own.
pub(super) fn enqueue(call: &mut Call<'_>, transactional_id: Option<StrBytes>, ready: Vec<Ready>) {
    let mut producers = ready.iter().filter_map(Ready::producer);
    let first = producers.next();
    if producers.any(|other| Some(other) != first) {
        for ready in ready {
            ready.place.answer(Err(ErrorCode::InvalidProducerIdMapping.into()));
        }
        return;
    }
    let before = call.session.produce_turn();
    let is_v2 = call.version >= ADDS;
    let taken = before.is_none().then(|| tickets(&ready, is_v2));
    if taken.as_ref().is_some_and(|tickets| tickets.iter().all(|ticket| *ticket == Ok(None))) {
        for ready in ready {
            call.session.touch(&ready.target);
            ready.enqueue(CoordinatorWord::NotAsked);
        }
        return;
    }
    let (broker, version) = (Arc::clone(&call.api.broker), call.version);
    let join = first.map(|(producer_id, producer_epoch)| JoinTransaction {
        transactional_id: Arc::from(transactional_id.as_deref().unwrap_or_default()),
        producer_id,
        producer_epoch,
        partitions: Vec::new(),
        add: is_v2,
    });
    let mut joining = Box::pin(async move { join_and_queue(&broker, join, version, taken, ready).await });
    if before.is_none()
        && let Some(targets) = at_once(joining.as_mut())
    {
        targets.iter().for_each(|target| call.session.touch(target));
        return;
    }
    let (queued, turn) = watch::channel(());
    call.session.set_produce_turn(turn);
    tokio::spawn(async move {
        if let Some(mut before) = before {
            // Ends when the other end is dropped.
            let _ = before.changed().await;
        }
        let targets = joining.await;
        targets.iter().for_each(|target| target.drain());
        drop(queued);
    });
}

/// Takes the tickets that the batches need.
fn tickets(ready: &[Ready], is_v2: bool) -> Vec<Ticket> {
    let ticket = |ready: &Ready| match ready.producer() {
        None => Ok(None),
        Some((producer_id, producer_epoch)) => ready.target.transactional_ticket(&FirstBatch {
            producer_id,
            producer_epoch,
            base_sequence: ready.batch.header.base_sequence,
            is_v2,
        }),
    };
    ready.iter().map(ticket).collect()
}

/// Asks the coordinator for those that need its word, queues what may go and answers the rest. The partitions to drain.
async fn join_and_queue(
    broker: &Arc<Broker>,
    join: Option<JoinTransaction>,
    version: i16,
    taken: Option<Vec<Ticket>>,
    ready: Vec<Ready>,
) -> Vec<Arc<OpenPartition>> {
    let (tickets, words) = ask(broker, join, taken, &ready).await;
    let mut targets = Vec::with_capacity(ready.len());
    let mut words = words.into_iter();
    for (ready, ticket) in ready.into_iter().zip(tickets) {
        let said = match ticket {
            Ok(None) => Ok(CoordinatorWord::NotAsked),
            Ok(Some(ticket)) => match words.next().unwrap_or(Err(ErrorCode::CoordinatorNotAvailable)) {
                Ok(()) => Ok(CoordinatorWord::Given(ticket)),
                Err(code) => Err(ready.refused(code, ticket, version)),
            },
            Err(code) => Err(code),
        };
        match said {
            Ok(said) => {
                targets.push(Arc::clone(&ready.target));
                ready.enqueue(said);
            }
            Err(code) => ready.place.answer(Err(code.into())),
        }
    }
    targets
}

/// The tickets, and the coordinator's word for each that there is. `taken` are those that nobody has asked about yet.
async fn ask(
    broker: &Arc<Broker>,
    join: Option<JoinTransaction>,
    mut taken: Option<Vec<Ticket>>,
    ready: &[Ready],
) -> (Vec<Ticket>, Vec<Result<(), ErrorCode>>) {
    let Some(join) = join else { return (vec![Ok(None); ready.len()], Vec::new()) };
    let began = broker.clock().monotonic();
    loop {
        // Before the coordinator is asked: a marker that comes in between voids them.
        let tickets = taken.take().unwrap_or_else(|| tickets(ready, join.add));
        let asked = ready.iter().zip(&tickets).filter(|(_, ticket)| matches!(ticket, Ok(Some(_))));
        let partitions: Vec<(Arc<str>, i32)> =
            asked.map(|(ready, _)| (Arc::clone(ready.target.topic()), ready.target.id().partition)).collect();
        if partitions.is_empty() {
            return (tickets, Vec::new());
        }
        let words = broker.join_transaction(JoinTransaction { partitions, ..join.clone() }).await;
        let is_ending = join.add && words.contains(&Err(ErrorCode::ConcurrentTransactions));
        if !is_ending || broker.clock().monotonic().saturating_sub(began) >= ENDING_WAIT_MAX {
            return (tickets, words);
        }
        tokio::time::sleep(ENDING_WAIT).await;
    }
}
