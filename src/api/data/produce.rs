//! Produce (key 0), versions 3 to 13: appends record batches to partitions.
//!
//! v3 the transactional id; v5 the log start offset in the answer; v7 zstd; v8 errors per record; v9 the flexible
//! form; v10 the current leader with error 6; v12 transactions V2; v13 topic ids in place of names. Versions 0 to 2
//! are offered, since old librdkafka looks for 0, and refused (S4).
//!
//! Each partition holds exactly one v2 batch (S35); `acks` other than -1, 0 and 1 is refused for every partition
//! (S34); `acks` 0 gets no answer, and a failure then closes the connection (S8). Topics are never created here (S46).
//! A partition that is named twice takes the last of its batches. Batches of transactions need their transactional id
//! in the request, and wait for the disk as with `acks` -1 whatever it says: `produce_transaction` has the rest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::mentions::{self, Mention, keep_last_mentions};
use super::produce_transaction::{self, Ready};
use crate::api::{Call, Outcome, Responder, Started, errors, waits};
use crate::catalog::TopicImage;
use crate::config::topic::set_by;
use crate::partition::ack::{Ack, AckSlot, AppendResult, AppendTicket, Appended};
use crate::partition::{NotAppended, Partition as OpenPartition, off_worker};
use crate::record::batch::BatchHeader;
use crate::record::check::{self, CheckRules, CheckedBatch, Refusal};
use crate::types::{Codec, ErrorCode, TopicId};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes, Writer};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 0, name: "Produce", min: 3, max: 13, flexible_from: 9 };

/// From this version on topics go by their ids.
const TOPIC_IDS: i16 = 13;

/// A Produce request. Names and records are slices of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The transaction that the records belong to, if any.
    pub transactional_id: Option<StrBytes>,
    /// Who must have the records before the answer: 0 nobody and no answer, 1 the leader, -1 all in sync.
    pub acks: i16,
    /// How long the answer may wait for that.
    pub timeout_ms: i32,
    /// Topics in the order of the request.
    pub topics: Vec<Topic>,
}

/// One topic of a Produce request.
pub type Topic = mentions::Topic<Partition>;

/// One partition of a Produce request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// What to append, unchecked.
    pub records: Option<Bytes>,
}

impl Mention for Partition {
    fn index(&self) -> i32 {
        self.index
    }
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            transactional_id: r.nullable_string()?,
            acks: r.i16()?,
            timeout_ms: r.i32()?,
            topics: r.array(|r| Topic::decode(r, version))?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let (name, id) = r.name_or_id(version >= TOPIC_IDS)?;
        let topic = Self { name, id, partitions: r.array(Partition::decode)? };
        r.end()?;
        Ok(topic)
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let partition = Self { index: r.i32()?, records: r.records()? };
        r.end()?;
        Ok(partition)
    }
}

/// The shortest wait for the disk. In Kafka the one replica has a batch when it is appended, so that no timeout, however
/// short, can pass; here the wait is for the sync, and a client that allows no time for it means Kafka's.
const ACK_WAIT_MIN: Duration = Duration::from_secs(1);
/// Compressed batches above this many bytes take long enough to check that other connections should not wait.
const LONG_CHECK_BYTES: usize = 64 * 1024;
/// So do records that take more than this many bytes decompressed, however small the batch; and, when a request has
/// batches for many partitions, more than their share of a few times that.
const LONG_INFLATED_BYTES: usize = 512 * 1024;
const LONG_INFLATED_ALL_BYTES: usize = 4 * LONG_INFLATED_BYTES;
/// A share is never smaller than this, in bytes: to move a check off the worker takes time, too.
const SHORT_INFLATED_BYTES: usize = 16 * 1024;

/// Checks the batches, queues them at their partitions and waits for what `acks` asks.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let mut request = Request::decode(&mut call.body, call.version)?;
    keep_last_mentions(&mut request.topics);
    let slots: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let ticket = AppendTicket::new(slots);
    let mut answer = Answer {
        responder: call.responder,
        ticket: Arc::clone(&ticket),
        acks: request.acks,
        topics: Vec::with_capacity(request.topics.len()),
    };
    let is_transactional = has_transactional(&request.topics);
    // Whoever writes in the name of a transactional id has to name it.
    let is_nameless = is_transactional && request.transactional_id.is_none();
    // Such a request may have to wait, and nothing behind it on this connection overtakes it.
    let waits_its_turn = is_transactional || call.session.produce_turn().is_some();
    let mut ready = Vec::new();
    let image = call.api.broker.image();
    let mut refused = RefusedBatches::default();
    let mut slot = 0;
    for topic in request.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        let found =
            if call.version >= TOPIC_IDS { image.topic_by_id(topic.id) } else { image.topic(&topic.name) };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.index;
            let place = AckSlot { ticket: Arc::clone(&ticket), slot };
            let checked = match is_nameless {
                true => Err(plain(ErrorCode::TransactionalIdAuthorizationFailed)),
                false => check_partition(call, found, partition, request.acks, (place, slots)),
            };
            let refusal = match checked {
                Ok(batch) if waits_its_turn => {
                    ready.push(batch);
                    None
                }
                Ok(Ready { target, batch, ack, .. }) => {
                    call.session.touch(&target);
                    target.enqueue(batch, ack);
                    None
                }
                Err(refusal) => {
                    ticket.answer(slot, Err(refusal.code.into()));
                    refused.note(found, index, &refusal);
                    Some(Box::new(refusal))
                }
            };
            partitions.push((index, refusal));
            slot += 1;
        }
        answer.topics.push(AnswerTopic { name: topic.name, id: topic.id, partitions });
    }
    if waits_its_turn {
        produce_transaction::enqueue(call, request.transactional_id, ready);
    }
    if let Some(line) = refused.line() {
        call.api.warn_of_refused_batches(call.session, &line);
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).max(ACK_WAIT_MIN);
    Ok(waits(async move {
        if !ticket.is_done() && tokio::time::timeout(timeout, ticket.done()).await.is_err() {
            tracing::debug!(?timeout, "a produce request was not acknowledged in its time");
        }
        answer.outcome()
    }))
}

/// Whether a batch says that it is part of a transaction. It is checked later.
fn has_transactional(topics: &[Topic]) -> bool {
    let mut records = topics.iter().flat_map(|topic| &topic.partitions).flat_map(|p| &p.records);
    records.any(|records| BatchHeader::parse(records).is_ok_and(|h| h.attributes.is_transactional()))
}

/// Checks one partition's batch, or says why it is refused.
fn check_partition(
    call: &mut Call<'_>,
    topic: Option<&Arc<TopicImage>>,
    partition: Partition,
    acks: i16,
    (place, slots): (AckSlot, usize),
) -> Result<Ready, Refusal> {
    let acked: fn(AckSlot) -> Ack = match acks {
        -1 => Ack::All,
        0 => Ack::None,
        1 => Ack::Leader,
        _ => return Err(plain(ErrorCode::InvalidRequiredAcks)),
    };
    let unknown = if call.version >= TOPIC_IDS {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    let topic = topic.ok_or_else(|| plain(unknown))?;
    if topic.internal {
        return Err(plain(ErrorCode::InvalidTopicException));
    }
    let target = call
        .session
        .partition(&call.api.broker, topic, partition.index)
        .map_err(|fault| plain(errors::open_fault(&fault)))?;
    let batch = check_batch(call, topic, &target, partition, slots)?;
    // What a commit covers is durable before it, whatever the client asks for.
    let acked = if batch.header.attributes.is_transactional() { Ack::All } else { acked };
    Ok(Ready { target, batch, ack: acked(place.clone()), place })
}

fn check_batch(
    call: &Call<'_>,
    topic: &TopicImage,
    target: &OpenPartition,
    partition: Partition,
    slots: usize,
) -> Result<CheckedBatch, Refusal> {
    let inflated_max_bytes =
        (LONG_INFLATED_ALL_BYTES / slots.max(1)).clamp(SHORT_INFLATED_BYTES, LONG_INFLATED_BYTES);
    let settings = target.settings();
    let rules = CheckRules::new(&settings, &topic.name, partition.index, call.version);
    let now = call.api.broker.clock().now_ms();
    let is_compressed = partition.records.as_ref().is_some_and(|records| {
        BatchHeader::parse(records).is_ok_and(|h| h.attributes.codec() != Some(Codec::None))
    });
    let size = partition.records.as_ref().map_or(0, Bytes::len);
    let check = |rules, records| check::check(records, &rules, now);
    if size > LONG_CHECK_BYTES && (is_compressed || settings.compression.is_some()) {
        off_worker(|| check(rules, partition.records))
    } else if is_compressed {
        let short = check(rules.inflating_at_most(inflated_max_bytes), partition.records.clone());
        match short {
            // It may be that there was not the time to see that it is small enough.
            Err(refusal) if refusal.code == ErrorCode::MessageTooLarge => {
                off_worker(|| check(rules, partition.records))
            }
            checked => checked,
        }
    } else {
        check(rules, partition.records)
    }
}

/// The batches of one request that were not fit to append, for one line in the log.
#[derive(Debug, Default)]
struct RefusedBatches {
    count: usize,
    first: String,
}

impl RefusedBatches {
    fn note(&mut self, topic: Option<&Arc<TopicImage>>, partition: i32, refusal: &Refusal) {
        let Some(topic) = topic.filter(|_| !refusal.detail.is_empty()) else { return };
        if self.count == 0 {
            let set_by = refusal.setting.map(|setting| format!(" ({})", set_by(setting, &topic.overrides)));
            self.first = format!(
                "{}-{partition}: {}: {}{}",
                topic.name,
                refusal.code.name(),
                refusal.detail,
                set_by.unwrap_or_default()
            );
        }
        self.count += 1;
    }

    fn line(&self) -> Option<String> {
        match self.count {
            0 => None,
            1 => Some(self.first.clone()),
            more => Some(format!("{} (and {} more)", self.first, more - 1)),
        }
    }
}

/// A refusal with Kafka's standard text.
fn plain(code: ErrorCode) -> Refusal {
    Refusal { code, message: None, record_errors: Vec::new(), detail: String::new(), setting: None }
}

/// What is needed to answer when the ticket is done.
struct Answer {
    responder: Responder,
    ticket: Arc<AppendTicket>,
    acks: i16,
    topics: Vec<AnswerTopic>,
}

struct AnswerTopic {
    name: StrBytes,
    id: TopicId,
    partitions: Vec<(i32, Option<Box<Refusal>>)>,
}

impl Answer {
    fn outcome(self) -> Outcome {
        if self.acks != 0 {
            let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
            return self.responder.reply_with(64 * self.topics.len() + 48 * partitions, |w| self.write(w));
        }
        let slots = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let failed = (0..slots).any(|slot| matches!(self.ticket.result(slot), Some(Err(_))));
        if failed { Outcome::Close } else { Outcome::Silent }
    }

    fn write(&self, w: &mut Writer<'_>) {
        let version = self.responder.version;
        let mut slot = 0;
        w.array(self.topics.len());
        for topic in &self.topics {
            w.name_or_id(version >= TOPIC_IDS, &topic.name, topic.id);
            w.array(topic.partitions.len());
            for (index, refusal) in &topic.partitions {
                let late = NotAppended::Refused(ErrorCode::RequestTimedOut);
                let result = self.ticket.result(slot).unwrap_or(Err(late));
                write_partition(w, version, *index, result, refusal.as_deref());
                slot += 1;
            }
            w.end();
        }
        w.i32(0);
        w.end();
    }
}

fn write_partition(
    w: &mut Writer<'_>,
    version: i16,
    index: i32,
    result: AppendResult,
    refusal: Option<&Refusal>,
) {
    const NOWHERE: Appended = Appended { base_offset: -1, log_append_time: -1, log_start: -1 };
    let (error, at) = match result {
        Ok(at) => (ErrorCode::None, at),
        Err(why) => (errors::not_appended(why), NOWHERE),
    };
    w.i32(index);
    w.i16(error.code());
    w.i64(at.base_offset);
    w.i64(at.log_append_time);
    if version >= 5 {
        w.i64(at.log_start);
    }
    if version >= 8 {
        let record_errors = refusal.map_or(&[][..], |refusal| &refusal.record_errors);
        w.array(record_errors.len());
        for (index, message) in record_errors {
            w.i32(*index);
            w.nullable_string(message.as_deref());
            w.end();
        }
        w.nullable_string(refusal.and_then(|refusal| refusal.message.as_deref()));
    }
    w.end();
}
