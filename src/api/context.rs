//! What a handler sees: the broker, the connection's session, and the request at hand.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use kafka_protocol::protocol::Encodable;

use super::data::fetch_session::FetchSessions;
use super::data::places::Places;
use super::data::produce_transaction::Turn;
use super::{Outcome, Slice};
use crate::broker::Broker;
use crate::catalog::TopicImage;
use crate::partition::{OpenFault, Partition, off_worker};
use crate::telemetry::notices::Notices;
use crate::types::TopicPartition;
use crate::wire::encode::{self, EncodeError, RESPONSE_BYTES_MAX};
use crate::wire::header::ApiSpec;
use crate::wire::read::{Reader, StrBytes};
use crate::wire::service::{Peer, Started as ServiceStarted};
use crate::wire::write::Writer;

/// Partitions that one connection remembers.
const REMEMBERED_PARTITIONS_MAX: usize = 1024;

/// Characters of a client's id, or a transactional one, that a log line shows; it may have thousands.
const SHOWN_ID_MAX_CHARS: usize = 100;

/// What became of a request when it was started.
pub(crate) type Started = ServiceStarted<Slice>;

/// The Kafka front-end: everything that handlers share. Handlers hold no state between requests but what stands here
/// and in the session.
pub struct Api {
    /// The broker.
    pub(crate) broker: Arc<Broker>,
    /// Incremental fetch sessions (KIP-227), over all connections.
    pub(crate) fetch_sessions: FetchSessions,
    /// Who was told of because of batches that are not fit to append.
    refused_batches: Notices<Client>,
    /// Who was told of because of topics that a Metadata request could not make.
    not_created: Notices<Client>,
    /// Who was told of because of transactions that may last too long.
    refused_timeouts: Notices<Client>,
}

/// A client, for people: where it is, and what it calls itself.
type Client = (IpAddr, StrBytes);

/// A client, for log lines that are written when its request has left its connection.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    client: Client,
    /// As [`Session::describe`] names it.
    pub(crate) described: Arc<str>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// A front-end of this broker.
    pub fn new(broker: Arc<Broker>) -> Arc<Self> {
        let fetch_sessions = FetchSessions::new(broker.config().fetch.session_slots, broker.clock().clone());
        Arc::new(Self {
            broker,
            fetch_sessions,
            refused_batches: Notices::default(),
            not_created: Notices::default(),
            refused_timeouts: Notices::default(),
        })
    }

    /// Whether a line about this client is due: one that tries again and again is worth one now and then.
    fn is_due(&self, notices: &Notices<Client>, session: &Session) -> bool {
        notices.is_due(session.client(), self.broker.clock().monotonic())
    }

    /// Says in the log, now and then, that this client asks for transactions that may last longer than the broker lets
    /// them, or for no time at all.
    pub(crate) fn warn_of_refused_timeout(&self, who: &Who, transactional_id: &str, asked_ms: i32) {
        if !self.refused_timeouts.is_due(who.client.clone(), self.broker.clock().monotonic()) {
            return;
        }
        let limit_ms = self.broker.config().transactions.max_timeout_ms;
        let transactional_id = shortened(transactional_id);
        tracing::warn!(
            transactional_id,
            asked_ms,
            limit_ms,
            "client {} is refused as a transactional producer (INVALID_TRANSACTION_TIMEOUT): its transaction.timeout.ms \
             is {asked_ms}, and transaction.max.timeout.ms of this broker lets it be 1 to {limit_ms}. Set either",
            who.described
        );
    }

    /// Says in the log, now and then, which batches of this client are refused.
    pub(crate) fn warn_of_refused_batches(&self, session: &Session, what: &str) {
        if self.is_due(&self.refused_batches, session) {
            tracing::warn!("produce of client {} refused: {what}", session.describe());
        }
    }

    /// Says in the log, now and then, that this client asks for more new topics than one request may make.
    pub(crate) fn warn_of_uncreated(&self, session: &Session, topics: usize) {
        if self.is_due(&self.not_created, session) {
            tracing::warn!(
                "client {} asks for {topics} topics that do not exist: with their partitions more than one request \
                 may make. None was made",
                session.describe()
            );
        }
    }
}

/// State of one connection.
#[derive(Debug)]
pub struct Session {
    /// Who is at the other end.
    pub(crate) peer: Peer,
    /// What the client called itself in its last request.
    pub(crate) client_id: StrBytes,
    /// What the client said its software is (KIP-511).
    pub(crate) software: Option<(StrBytes, StrBytes)>,
    /// Partitions whose queues got something since the last settle.
    touched: Vec<Arc<Partition>>,
    /// Partitions that this connection used, as of one catalog version. It keeps none of them alive: a connection that
    /// does nothing may last for days, and their topics may be deleted.
    pub(super) partitions: HashMap<TopicPartition, Weak<Partition>>,
    pub(super) catalog_version: u64,
    /// Ends when the last produce request that had to wait for a transaction coordinator has queued its batches.
    produce_turn: Option<Turn>,
    /// Where this connection's last reads ended.
    pub(crate) places: Arc<Places>,
}

/// What was queued is appended, whatever became of the connection.
impl Drop for Session {
    fn drop(&mut self) {
        self.touched.iter().for_each(Partition::drain);
    }
}

impl Session {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            client_id: StrBytes::default(),
            software: None,
            touched: Vec::new(),
            partitions: HashMap::new(),
            catalog_version: 0,
            produce_turn: None,
            places: Arc::default(),
        }
    }

    /// The partition, opened on this thread if nobody has: what was started on this connection before must not be
    /// overtaken by what comes after, so the connection waits, while the runtime's other tasks move to another thread.
    pub(crate) fn partition(
        &mut self,
        broker: &Broker,
        topic: &TopicImage,
        index: i32,
    ) -> Result<Arc<Partition>, OpenFault> {
        let version = broker.image_version();
        if self.catalog_version != version {
            self.partitions.clear();
            self.catalog_version = version;
        }
        let id = TopicPartition { topic: topic.id, partition: index };
        if let Some(known) = self.partitions.get(&id).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let partition = match broker.open_partition(id) {
            Some(open) => open,
            None => off_worker(|| broker.partition_blocking(topic, index))?,
        };
        if self.partitions.len() < REMEMBERED_PARTITIONS_MAX {
            self.partitions.insert(id, Arc::downgrade(&partition));
        }
        Ok(partition)
    }

    /// What a produce request has to wait for before it queues its batches, if anything.
    pub(crate) fn produce_turn(&mut self) -> Option<Turn> {
        let is_over = self.produce_turn.as_ref().is_some_and(|turn| turn.has_changed().is_err());
        if is_over {
            self.produce_turn = None;
        }
        self.produce_turn.clone()
    }

    /// The next produce request waits for this one.
    pub(crate) fn set_produce_turn(&mut self, turn: Turn) {
        self.produce_turn = Some(turn);
    }

    /// Takes note that a partition's queue got something.
    pub(crate) fn touch(&mut self, partition: &Arc<Partition>) {
        // Repeats are usual and found at once if they come in a row; the others are found in the end.
        if self.touched.last().is_none_or(|last| !Arc::ptr_eq(last, partition)) {
            self.touched.push(Arc::clone(partition));
        }
    }

    /// The partitions whose queues got something since the last call, each once.
    pub(super) fn take_touched(&mut self) -> impl Iterator<Item = Arc<Partition>> {
        if self.touched.len() > 1 {
            self.touched.sort_unstable_by_key(Arc::as_ptr);
            self.touched.dedup_by(|one, other| Arc::ptr_eq(one, other));
        }
        self.touched.drain(..)
    }

    /// Takes note of what the client calls itself.
    pub(super) fn call_client(&mut self, id: &StrBytes) {
        if self.client_id != *id {
            // A copy: a slice would keep this request's memory for as long as the connection lives.
            self.client_id = StrBytes::from_string(id.to_string());
        }
    }

    fn client(&self) -> Client {
        (self.peer.address.ip(), self.client_id.clone())
    }

    /// Names the client for log lines of later.
    pub(crate) fn who(&self) -> Who {
        Who { client: self.client(), described: self.describe().into() }
    }

    /// Names the client for a log line: `"billing" (librdkafka 2.16) from 10.0.0.4:5123`.
    pub(crate) fn describe(&self) -> String {
        let software =
            self.software.as_ref().map_or_else(String::new, |(name, version)| format!(" ({name} {version})"));
        let id = shortened(&self.client_id);
        let cut = if id.len() < self.client_id.len() { "..." } else { "" };
        format!("{id:?}{cut}{software} from {}", self.peer.address)
    }
}

/// As much of a name that a client has chosen as a log line shows.
fn shortened(name: &str) -> &str {
    let end = name.char_indices().nth(SHOWN_ID_MAX_CHARS).map_or(name.len(), |(end, _)| end);
    name.get(..end).unwrap_or(name)
}

/// One request being started.
pub(crate) struct Call<'a> {
    pub(crate) api: &'a Arc<Api>,
    pub(crate) session: &'a mut Session,
    pub(crate) version: i16,
    pub(crate) body: Reader<'a>,
    pub(crate) responder: Responder,
}

/// Frames the answer to one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Responder {
    pub(crate) spec: &'static ApiSpec,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// Who asked.
    pub(crate) client: SocketAddr,
}

impl Responder {
    /// An answer that the protocol crate encodes. One that its version cannot carry is a bug: it is logged, and the
    /// connection closes, since an answer that is left out would shift all that follow.
    pub(crate) fn reply<T: Encodable>(&self, body: &T) -> Outcome {
        match encode::response(self.spec, self.version, self.correlation_id, body) {
            Ok(frame) => Outcome::Reply(frame.into()),
            Err(EncodeError::TooLarge(_)) => self.too_large(),
            Err(error) => {
                tracing::error!(%error, "an answer could not be encoded; closing the connection");
                Outcome::Close
            }
        }
    }

    /// An answer whose body is written by hand; `size` is a guess that spares growing the buffer.
    pub(crate) fn reply_with(&self, size: usize, body: impl FnOnce(&mut Writer<'_>)) -> Outcome {
        let frame = encode::response_with(self.spec, self.version, self.correlation_id, size, body);
        if frame.len() > RESPONSE_BYTES_MAX { self.too_large() } else { Outcome::Reply(frame.into()) }
    }

    /// The end of a connection that asked for more than one answer may have. Handlers whose answers can grow far beyond
    /// what is in memory anyway count with an [`AnswerRoom`] while they build them.
    pub(crate) fn too_large(&self) -> Outcome {
        tracing::warn!(
            client = %self.client,
            "closing the connection: the answer to its {} v{} request would have more than {} MB",
            self.spec.name,
            self.version,
            RESPONSE_BYTES_MAX / 1_000_000
        );
        Outcome::Close
    }
}

/// What is left of [`RESPONSE_BYTES_MAX`] while an answer is being built.
#[derive(Debug)]
pub(crate) struct AnswerRoom(usize);

impl AnswerRoom {
    /// All of it.
    pub(crate) const fn new() -> Self {
        Self(RESPONSE_BYTES_MAX)
    }

    /// Counts bytes; `None` when they do not fit any more: the answer is [`Responder::too_large`].
    pub(crate) fn take(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
}

/// A request that is answered at once.
pub(crate) fn done(outcome: Outcome) -> Started {
    Started::Done(outcome)
}

/// A request whose answer takes time and that is carried out even if the peer goes away.
pub(crate) fn waits(outcome: impl Future<Output = Outcome> + Send + 'static) -> Started {
    Started::Waits(Box::pin(outcome))
}

/// A request that is given up when the peer goes away.
pub(crate) fn waits_while_open(outcome: impl Future<Output = Outcome> + Send + 'static) -> Started {
    Started::WaitsWhileOpen(Box::pin(outcome))
}
