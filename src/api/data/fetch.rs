//! Fetch (key 1), versions 4 to 18: reads record batches, waiting for more if there are too few.
//!
//! v4 the isolation level; v5 the log start offset; v7 incremental sessions (KIP-227); v9 the leader epoch that the
//! reader knows (KIP-320); v10 zstd; v11 the reader's rack; v12 the flexible form and the last epoch fetched; v13
//! topic ids in place of names; v15 the replica id in a tagged field; v16 leaders' addresses in the answer; v17 and v18
//! tagged fields that only metadata followers set, skipped here.
//!
//! The first partition with data gives at least one whole batch whatever the limits (S16); batches are never cut
//! (S17); sessions as S24 to S26; leader epochs are checked as S27, and who knows an old one is told the new one and
//! where to find it (S33), which spares it a Metadata request after every start of the broker.

use std::sync::Arc;
use std::time::Duration;

use super::fetch_request::TOPIC_IDS;
use super::fetch_session::{FetchContext, Wanted};
use super::mentions::keep_last_mentions;
use super::places::Places;
use crate::api::{Api, Call, Outcome, Responder, Slice, Started, done, errors, waits_while_open};
use crate::broker::read_cold;
use crate::partition::waiter::FetchWaiter;
use crate::partition::{Closed, Isolation, Partition as OpenPartition, PartitionRead, ReadRequest};
use crate::storage::log::{Place, ReadError};
use crate::storage::txn_index;
use crate::types::ErrorCode;
use crate::types::offset::non_negative;
use crate::wire::fetch_body::{
    self, AbortedTransaction, CurrentLeader, FetchResponse, FetchedPartition, FetchedTopic, NodeEndpoint,
};
use crate::wire::service::Peer;
use crate::wire::{ApiSpec, DecodeError, StrBytes};

pub use super::fetch_request::Request;

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 1, name: "Fetch", min: 4, max: 18, flexible_from: 12 };

/// Up to this version clients do not know `KAFKA_STORAGE_ERROR`.
const STORAGE_ERROR_UNKNOWN: i16 = 5;

/// From this version on a refused epoch comes with the leader and its address.
const LEADER_TOLD: i16 = 16;

/// How long an answer without records waits for a descriptor, over all its partitions, and how often it looks.
const SHORTAGE_MAX: Duration = Duration::from_secs(5);
const SHORTAGE_PAUSE: Duration = Duration::from_millis(5);

/// Reads what is there, and waits for more if that is too little.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let mut request = Request::decode(&mut call.body, call.version)?;
    keep_last_mentions(&mut request.topics);
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let by_id = call.version >= TOPIC_IDS;
    let (context, wanted) = match api.fetch_sessions.enter(&request, by_id) {
        Ok(entered) => entered,
        Err(error) => return Ok(done(answer(responder, error, 0, Vec::new(), Vec::new()))),
    };
    let mut fetch = Fetch {
        by_id,
        isolation: match request.isolation_level {
            1 => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        },
        bytes_max: non_negative(request.max_bytes).min(api.broker.config().fetch.max_bytes),
        places: Arc::clone(&call.session.places),
        told: (call.version >= LEADER_TOLD).then_some(call.session.peer),
        items: wanted.into_iter().map(Item::new).collect(),
        bytes: 0,
        api,
    };
    let min_bytes = non_negative(request.min_bytes).min(fetch.bytes_max);
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    Ok(waits_while_open(async move {
        fetch.find_partitions().await;
        let all: Vec<usize> = (0..fetch.items.len()).collect();
        fetch.read(&all).await;
        if !max_wait.is_zero() && !fetch.is_hopeless() && !fetch.is_enough(&all, min_bytes) {
            fetch.wait(min_bytes, max_wait).await;
        }
        let leaders = fetch.leaders();
        let (session_id, topics) = fetch.finish(&context);
        answer(responder, ErrorCode::None, session_id, topics, leaders)
    }))
}

fn answer(
    responder: Responder,
    error: ErrorCode,
    session_id: i32,
    mut topics: Vec<FetchedTopic<Slice>>,
    node_endpoints: Vec<NodeEndpoint>,
) -> Outcome {
    if responder.version <= STORAGE_ERROR_UNKNOWN {
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error = before_storage_errors(partition.error);
        }
    }
    let response = FetchResponse { throttle_time_ms: 0, error, session_id, topics, node_endpoints };
    Outcome::Reply(fetch_body::encode(responder.spec, responder.version, responder.correlation_id, response))
}

/// What clients that know no storage error are told of one (S32): that somebody else leads, so they look again.
fn before_storage_errors(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::KafkaStorageError => ErrorCode::NotLeaderOrFollower,
        other => other,
    }
}

/// One fetch under way.
struct Fetch {
    api: Arc<Api>,
    by_id: bool,
    isolation: Isolation,
    /// What the whole answer should stay below.
    bytes_max: usize,
    places: Arc<Places>,
    /// The client, if it can be told who leads.
    told: Option<Peer>,
    items: Vec<Item>,
    /// Bytes that all items have read.
    bytes: usize,
}

/// One partition of it.
struct Item {
    wanted: Wanted,
    found: Result<Arc<OpenPartition>, ErrorCode>,
    /// There was no such partition when the fetch began.
    unknown: bool,
    read: Option<PartitionRead>,
    /// There is more to read, and what the whole answer may hold left no room for it.
    cut: bool,
    /// Who leads, for a reader that believes in an older epoch.
    leader: Option<CurrentLeader>,
}

impl Item {
    fn new(wanted: Wanted) -> Self {
        let found = Err(ErrorCode::UnknownTopicOrPartition);
        Self { wanted, found, unknown: false, read: None, cut: false, leader: None }
    }

    fn bytes(&self) -> usize {
        self.read.as_ref().map_or(0, |read| read.batches.bytes)
    }
}

impl Fetch {
    async fn find_partitions(&mut self) {
        let image = self.api.broker.image();
        let unknown = self.gone();
        for item in &mut self.items {
            let key = &item.wanted.key;
            let topic = if self.by_id { image.topic_by_id(key.id) } else { image.topic(&key.name) };
            item.found = match topic {
                None => Err(unknown),
                Some(topic) => self
                    .api
                    .broker
                    .partition(topic, key.index)
                    .await
                    .map_err(|fault| errors::open_fault(&fault)),
            };
            item.unknown =
                matches!(item.found, Err(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId));
            if let Ok(partition) = &item.found
                && let Err(error) = partition.check_epoch(item.wanted.partition.current_leader_epoch)
            {
                item.leader = (error == ErrorCode::FencedLeaderEpoch && self.told.is_some()).then(|| {
                    let leader_id = self.api.broker.node_id();
                    CurrentLeader { leader_id, leader_epoch: partition.leader_epoch() }
                });
                item.found = Err(error);
            }
            if let Ok(partition) = &item.found
                && item.wanted.hint.is_none()
            {
                item.wanted.hint = self.places.get(partition.id(), item.wanted.partition.fetch_offset);
            }
        }
    }

    /// Reads the partitions of these slots, within what the others have left of the budget.
    async fn read(&mut self, slots: &[usize]) {
        let before = |&slot: &usize| self.items.get(slot).map_or(0, Item::bytes);
        let others = self.bytes - slots.iter().map(before).sum::<usize>();
        let mut left = self.bytes_max.saturating_sub(others);
        let mut nothing_yet = others == 0;
        let gone = self.gone();
        let give_up = tokio::time::Instant::now() + SHORTAGE_MAX;
        for &slot in slots {
            let isolation = self.isolation;
            let Some(item) = self.items.get_mut(slot) else { continue };
            let Ok(partition) = &item.found else { continue };
            let wanted = &item.wanted.partition;
            let request = ReadRequest {
                from: wanted.fetch_offset,
                hint: item.wanted.hint,
                max_bytes: non_negative(wanted.max_bytes).min(left),
                at_least_one: nothing_yet,
                isolation,
            };
            item.cut = false;
            match read_patiently(partition, request, give_up).await {
                Ok(read) => {
                    let end = match isolation {
                        Isolation::ReadUncommitted => read.high_watermark,
                        Isolation::ReadCommitted => read.last_stable_offset,
                    };
                    item.cut = left < non_negative(wanted.max_bytes) && read.batches.next.offset() < end;
                    left = left.saturating_sub(read.batches.bytes);
                    nothing_yet &= read.batches.bytes == 0;
                    self.bytes = self.bytes - item.bytes() + read.batches.bytes;
                    item.read = Some(read);
                }
                // What was read before it goes out, and gives its descriptors back.
                Err(Unread::Short) if !nothing_yet => {
                    self.bytes -= item.bytes();
                    item.cut = true;
                    item.read = Some(partition.read_nothing(wanted.fetch_offset));
                }
                Err(error) => {
                    let error = error.code();
                    self.bytes -= item.bytes();
                    item.read = None;
                    let is_gone = error == ErrorCode::UnknownTopicOrPartition;
                    item.found = Err(if is_gone { gone } else { error });
                }
            }
        }
    }

    /// Whether there is nothing to wait for.
    fn is_hopeless(&self) -> bool {
        self.items.iter().all(|item| item.unknown)
    }

    /// Whether the answer may go now that these slots were read (S18): enough bytes, as many as it may hold, or an
    /// error that the client must see. Partitions that do not exist do not hurry the others: their client would ask
    /// again at once.
    fn is_enough(&self, read: &[usize], min_bytes: usize) -> bool {
        let hurries = |item: &Item| item.cut || item.found.is_err() && !item.unknown;
        self.bytes >= min_bytes || read.iter().filter_map(|&slot| self.items.get(slot)).any(hurries)
    }

    /// Waits until there is enough or the time is over.
    async fn wait(&mut self, min_bytes: usize, max_wait: Duration) {
        let deadline = tokio::time::Instant::now() + max_wait;
        let registered = Registered::new(&self.items, self.isolation);
        // What moved between the read and the registration made no signal.
        let mut moved: Vec<usize> = (0..self.items.len()).filter(|&slot| self.has_moved(slot)).collect();
        self.read(&moved).await;
        while !self.is_enough(&moved, min_bytes) {
            let ready = tokio::time::timeout_at(deadline, registered.waiter.ready()).await;
            let read = self.items.iter_mut().filter_map(|item| item.read.as_mut());
            read.flat_map(|read| &mut read.batches.slices).for_each(Slice::has_waited);
            let Ok(ready) = ready else { return };
            moved = ready;
            for &slot in &moved {
                self.refuse_closed(slot);
            }
            self.read(&moved).await;
        }
    }

    fn has_moved(&self, slot: usize) -> bool {
        let Some(Item { found: Ok(partition), read: Some(read), .. }) = self.items.get(slot) else {
            return false;
        };
        let seen = match self.isolation {
            Isolation::ReadUncommitted => read.high_watermark,
            Isolation::ReadCommitted => read.last_stable_offset,
        };
        partition.visible_end(self.isolation) > seen || partition.closed().is_some()
    }

    /// A partition that was closed under the wait: its topic is gone, or the broker stops.
    fn refuse_closed(&mut self, slot: usize) {
        let gone = self.gone();
        let Some(item) = self.items.get_mut(slot) else { return };
        let Some(closed) = item.found.as_ref().ok().and_then(|partition| partition.closed()) else { return };
        let error = match closed {
            Closed::Deleted => gone,
            Closed::Stopping => ErrorCode::NotLeaderOrFollower,
        };
        self.bytes -= item.bytes();
        (item.found, item.read) = (Err(error), None);
    }

    /// What the reader of a topic that is not there is told.
    fn gone(&self) -> ErrorCode {
        if self.by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition }
    }

    /// The addresses of the leaders that are named in the answer: this broker's, if any is.
    fn leaders(&self) -> Vec<NodeEndpoint> {
        let Some(peer) = self.told.filter(|_| self.items.iter().any(|item| item.leader.is_some())) else {
            return Vec::new();
        };
        let broker = &self.api.broker;
        let endpoint = broker.endpoint(&peer);
        vec![NodeEndpoint {
            node_id: broker.node_id(),
            host: StrBytes::from_string(endpoint.host),
            port: endpoint.port,
            rack: broker.config().rack.clone().map(StrBytes::from_string),
        }]
    }

    /// The answer's topics, as the session wants them.
    fn finish(self, context: &FetchContext) -> (i32, Vec<FetchedTopic<Slice>>) {
        let (mut session, session_id, full) = match context {
            FetchContext::Sessionless => (None, 0, true),
            FetchContext::Session { session, id, full } => (Some(session.lock()), *id, *full),
        };
        let mut topics: Vec<FetchedTopic<Slice>> = Vec::new();
        for item in self.items {
            let key = item.wanted.key.clone();
            let (partition, place) = finish_item(item, self.isolation, &self.places);
            let shown = session.as_mut().is_none_or(|session| session.note(&key, &partition, place));
            if !shown && !full {
                continue;
            }
            match topics.last_mut() {
                Some(topic) if topic.name == key.name && topic.id == key.id => {
                    topic.partitions.push(partition)
                }
                _ => topics.push(FetchedTopic { name: key.name, id: key.id, partitions: vec![partition] }),
            }
        }
        (session_id, topics)
    }
}

fn finish_item(
    item: Item,
    isolation: Isolation,
    places: &Places,
) -> (FetchedPartition<Slice>, Option<Place>) {
    let index = item.wanted.key.index;
    let (partition, read) = match (item.found, item.read) {
        (Ok(partition), Some(read)) => (partition, read),
        (Err(error), _) => {
            let aborted = item.unknown.then(Vec::new);
            let current_leader = item.leader;
            let refused = FetchedPartition::refused(index, error);
            return (FetchedPartition { aborted, current_leader, ..refused }, None);
        }
        (Ok(_), None) => return (FetchedPartition::refused(index, ErrorCode::KafkaStorageError), None),
    };
    let place = (read.batches.bytes > 0).then_some(read.batches.next);
    if let Some(place) = place {
        places.put(partition.id(), place);
    }
    let answer = FetchedPartition {
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start,
        aborted: (isolation == Isolation::ReadCommitted).then(|| aborted(&read)),
        records: read.batches.slices,
        records_len: read.batches.bytes,
        ..FetchedPartition::refused(index, ErrorCode::None)
    };
    (answer, place)
}

/// The aborted transactions among the batches, as the wire has them.
fn aborted(read: &PartitionRead) -> Vec<AbortedTransaction> {
    let wire = |transaction: &txn_index::AbortedTransaction| AbortedTransaction {
        producer_id: transaction.producer_id,
        first_offset: transaction.first_offset,
    };
    read.aborted.iter().map(wire).collect()
}

/// Reads; as long as an answer has no records it waits for a descriptor if there is none: those that have them give them
/// back when their answers are sent.
async fn read_patiently(
    partition: &Arc<OpenPartition>,
    request: ReadRequest,
    give_up: tokio::time::Instant,
) -> Result<PartitionRead, Unread> {
    loop {
        match read_partition(partition, request).await {
            Err(Unread::Short) if request.at_least_one && tokio::time::Instant::now() < give_up => {
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
            read => return read,
        }
    }
}

/// Reads at once if the place is in memory, else on a thread that may wait for the disk.
async fn read_partition(
    partition: &Arc<OpenPartition>,
    request: ReadRequest,
) -> Result<PartitionRead, Unread> {
    let outcome = match partition.read(&request) {
        Err(ReadError::NotResident) => {
            let partition = Arc::clone(partition);
            match read_cold(move || partition.read_blocking(&request)).await {
                Ok(outcome) => outcome,
                Err(_stopping) => return Err(Unread::Refused(ErrorCode::KafkaStorageError)),
            }
        }
        outcome => outcome,
    };
    outcome.map_err(|error| {
        if error.is_shortage() {
            return Unread::Short;
        }
        // The log itself tells of damage, and not each time.
        let is_told = matches!(error, ReadError::OutOfRange { .. } | ReadError::Gone | ReadError::Damaged { .. });
        if !is_told {
            tracing::error!(topic = %partition.topic(), partition = partition.id().partition, %error, "fetch failed");
        }
        Unread::Refused(errors::read_fault(&error))
    })
}

/// Why a partition was not read.
#[derive(Debug, Clone, Copy)]
enum Unread {
    /// There is no descriptor for its file now.
    Short,
    Refused(ErrorCode),
}

impl Unread {
    fn code(self) -> ErrorCode {
        match self {
            Self::Short => ErrorCode::KafkaStorageError,
            Self::Refused(code) => code,
        }
    }
}

/// A waiter's registrations; dropped with the fetch, whether it is answered or given up.
struct Registered {
    waiter: Arc<FetchWaiter>,
    partitions: Vec<Arc<OpenPartition>>,
}

impl Registered {
    fn new(items: &[Item], isolation: Isolation) -> Self {
        let waiter = FetchWaiter::new();
        let mut partitions = Vec::with_capacity(items.len());
        for (slot, item) in items.iter().enumerate() {
            if let Ok(partition) = &item.found {
                partition.watch(&waiter, slot, isolation);
                partitions.push(Arc::clone(partition));
            }
        }
        Self { waiter, partitions }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.unwatch(&self.waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicId;

    #[test]
    fn s32_a_failed_disk_is_told_to_old_clients_as_another_leader() {
        for (version, code) in [(4, 6_i16), (5, 6), (6, 56), (12, 56)] {
            let partition = FetchedPartition::refused(0, ErrorCode::KafkaStorageError);
            let topic =
                FetchedTopic { name: StrBytes::new(), id: TopicId::ZERO, partitions: vec![partition] };
            let client = ([127, 0, 0, 1], 1).into();
            let responder = Responder { spec: &SPEC, version, correlation_id: 0, client };
            let Outcome::Reply(reply) = answer(responder, ErrorCode::None, 0, vec![topic], Vec::new()) else {
                panic!("no answer")
            };
            // The partition, its error and its high watermark.
            let told = [&[0, 0, 0, 0][..], &code.to_be_bytes(), &(-1_i64).to_be_bytes()].concat();
            let found = reply.head.windows(told.len()).any(|window| window == told);
            assert!(found, "v{version}: {:?}", reply.head);
        }
    }
}
