//! Writes records to one topic: one request per leader under way at any time, and what comes meanwhile goes into the
//! next one. So order is kept without numbers, and batches grow with the load and need no timer.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::batching::{Batch, Batching, ProducerId};
use super::cluster::{At, Lane};
use super::connection::millis;
use super::metadata::topic_name;
use super::partitioner::Partitioner;
use super::retry::{Backoff, retry};
use super::{Client, Error, Metadata, Topic, Wanted, topics};
use crate::config::topic::Compression;
use crate::record::{BatchError, NewRecord};
use crate::types::offset::saturate_i32;
use crate::types::{Codec, ErrorCode, TopicId};
use crate::wire::uuid;

/// Bytes of records after which a batch is closed, before compression.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Bytes of batches in one request, one large batch apart.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of records that may wait to be sent.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Who has to have a record before it counts as written.
    pub acks: Acks,
    /// How batches are compressed.
    pub codec: Codec,
    /// Whether the broker is to recognise batches that come twice, since an answer was lost. Needs [`Acks::All`].
    pub idempotent: bool,
}

/// Who has to have a record before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the broker does not answer.
    None,
    /// The leader.
    Leader,
    /// The leader and all that keep up with it; with streamd, the disk.
    All,
}

impl Acks {
    const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What has been written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Records that the broker has acknowledged; with [`Acks::None`], that were sent.
    pub records: u64,
}

/// A writer to one topic.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    topic: String,
    id: TopicId,
    is_topic_new: bool,
    /// Who leads each partition; `None` has to be looked up.
    leaders: Vec<Option<i32>>,
    settings: Settings,
    partitioner: Partitioner,
    batching: Batching,
    tasks: JoinSet<Done>,
    /// Leaders with a request under way.
    busy: HashSet<i32>,
    /// Partitions with a batch under way: the next one waits, wherever the leader is by then.
    under_way: HashSet<i32>,
    looking: bool,
    backoff: Backoff,
    written: Written,
}

/// A task's outcome.
#[derive(Debug)]
enum Done {
    Answered { leader: i32, batches: Vec<Batch>, answer: Result<ProduceResponse, Error> },
    LookedUp(Result<Metadata, Error>),
}

impl Producer {
    /// A producer for a topic, which may come into being with this where the brokers are set to create topics.
    ///
    /// # Errors
    /// The topic does not exist, or no broker answers.
    pub async fn start(client: Client, topic: &str, settings: Settings) -> Result<Self, Error> {
        let (Topic { name, id, partitions, .. }, is_topic_new) =
            topics::find_or_create(&client, topic).await?;
        let producer = if settings.idempotent { producer_id(&client).await? } else { None };
        let compression = Compression { codec: settings.codec, level: level(settings.codec) };
        let seed = getrandom::u64().unwrap_or(1);
        Ok(Self {
            topic: name,
            id,
            is_topic_new,
            leaders: partitions.iter().map(|partition| partition.leader).collect(),
            settings,
            partitioner: Partitioner::new(saturate_i32(partitions.len()), seed),
            batching: Batching::new(partitions.len(), compression, producer, BATCH_BYTES_MAX),
            tasks: JoinSet::new(),
            busy: HashSet::new(),
            under_way: HashSet::new(),
            looking: false,
            backoff: Backoff::new(client.options().timeout),
            written: Written::default(),
            client,
        })
    }

    /// Whether the topic came into being when this producer asked for it.
    pub fn is_topic_new(&self) -> bool {
        self.is_topic_new
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> i32 {
        saturate_i32(self.leaders.len())
    }

    /// Takes a record, for one of the topic's partitions or for that of its key.
    ///
    /// # Errors
    /// It does not fit the record format.
    pub fn push(&mut self, partition: Option<i32>, record: &NewRecord<'_>) -> Result<(), Error> {
        let chosen = partition.unwrap_or_else(|| self.partitioner.choose(record.key));
        let closed = self.batching.push(chosen, record).map_err(|error| self.unbuildable(&error))?;
        if closed && partition.is_none() && record.key.is_none() {
            self.partitioner.turn();
        }
        Ok(())
    }

    /// Whether there is room for more records. Without, [`Producer::progress`] makes some.
    pub fn has_room(&self) -> bool {
        self.batching.held_bytes() < HELD_BYTES_MAX
    }

    /// Sends what can be sent and waits for an answer; for ever, when there is nothing to send. May be dropped while
    /// it waits.
    ///
    /// # Errors
    /// A refusal that will not pass, or no answer for as long as the client waits.
    pub async fn progress(&mut self) -> Result<(), Error> {
        self.start_requests()?;
        let Some(done) = self.tasks.join_next().await else {
            std::future::pending::<()>().await;
            return Ok(());
        };
        match done {
            Ok(Done::Answered { leader, batches, answer }) => self.answered(leader, batches, answer),
            Ok(Done::LookedUp(metadata)) => self.looked_up(metadata),
            Err(stopped) if stopped.is_cancelled() => Ok(()),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Waits until everything that was taken is written.
    ///
    /// # Errors
    /// As [`Producer::progress`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        while !self.tasks.is_empty() || self.batching.waiting().next().is_some() {
            self.progress().await?;
        }
        Ok(())
    }

    /// What has been written so far.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Sends a request to each leader that has none under way, if there is anything for it.
    fn start_requests(&mut self) -> Result<(), Error> {
        let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let mut lost = None;
        for partition in self.batching.waiting().filter(|partition| !self.under_way.contains(partition)) {
            match usize::try_from(partition).ok().and_then(|index| self.leaders.get(index).copied().flatten())
            {
                Some(leader) if !self.busy.contains(&leader) => {
                    by_leader.entry(leader).or_default().push(partition)
                }
                Some(_) => {}
                None => lost = Some(partition),
            }
        }
        for (leader, partitions) in by_leader {
            let batches = self.gather(&partitions)?;
            self.start_request(leader, batches);
        }
        match lost {
            Some(partition) => {
                let doing = format!("produce to {}-{partition}", self.topic);
                self.look_up(Error::refused(doing, ErrorCode::LeaderNotAvailable.code(), None))
            }
            None => Ok(()),
        }
    }

    /// One batch for each partition, as many as a request may hold.
    fn gather(&mut self, partitions: &[i32]) -> Result<Vec<Batch>, Error> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for &partition in partitions {
            let taken = self.batching.take(partition).map_err(|error| self.unbuildable(&error))?;
            let Some(batch) = taken else { continue };
            bytes += batch.bytes.len();
            if bytes > REQUEST_BYTES_MAX && !batches.is_empty() {
                self.batching.put_back(batch);
                break;
            }
            if partition == self.partitioner.choose(None) {
                self.partitioner.turn();
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    fn start_request(&mut self, leader: i32, batches: Vec<Batch>) {
        self.busy.insert(leader);
        self.under_way.extend(batches.iter().map(|batch| batch.partition));
        let (client, topic, id, acks) =
            (self.client.clone(), self.topic.clone(), self.id, self.settings.acks);
        self.tasks.spawn(async move {
            let timeout = millis(client.options().timeout);
            let make = |version| request(version, (&topic, id), &batches, acks, timeout);
            let at = At::Broker(leader);
            let answer = match acks {
                Acks::None => match client.connection(at, Lane::Produces).await {
                    Ok(connection) => connection.post(make).await.map(|()| ProduceResponse::default()),
                    Err(error) => Err(error),
                },
                Acks::Leader | Acks::All => client.call(at, Lane::Produces, make).await,
            };
            Done::Answered { leader, batches, answer }
        });
    }

    fn answered(
        &mut self,
        leader: i32,
        batches: Vec<Batch>,
        answer: Result<ProduceResponse, Error>,
    ) -> Result<(), Error> {
        self.busy.remove(&leader);
        for batch in &batches {
            self.under_way.remove(&batch.partition);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.may_pass() => {
                for row in self.leaders.iter_mut().filter(|row| **row == Some(leader)) {
                    *row = None;
                }
                batches.into_iter().for_each(|batch| self.batching.put_back(batch));
                return self.look_up(error);
            }
            Err(error) => return Err(error),
        };
        let rows: Vec<_> = answer.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
        let mut failed = None;
        for batch in batches {
            let row = rows.iter().find(|row| row.index == batch.partition).copied();
            if let Some(error) = self.settle(batch, row)? {
                failed = Some(error);
            }
        }
        match failed {
            Some(error) => self.look_up(error),
            None => {
                self.backoff.reset();
                Ok(())
            }
        }
    }

    /// What an answer means for one batch: written, to be sent again (then with the reason), or refused for good.
    fn settle(
        &mut self,
        batch: Batch,
        row: Option<&PartitionProduceResponse>,
    ) -> Result<Option<Error>, Error> {
        let code = match row {
            Some(row) => row.error_code,
            None if self.settings.acks == Acks::None => 0,
            None => ErrorCode::UnknownServerError.code(),
        };
        let told = row.and_then(|row| {
            let of_record =
                row.record_errors.iter().find_map(|error| error.batch_index_error_message.as_ref());
            of_record.or(row.error_message.as_ref())
        });
        let doing = format!("produce to {}-{}", self.topic, batch.partition);
        let Err(error) = Error::check(doing, code, told.map(|told| &**told)) else {
            self.written.records += u64::from(batch.records.unsigned_abs());
            return Ok(None);
        };
        match error.code() {
            // It came twice: the first time counts (S49).
            Some(ErrorCode::DuplicateSequenceNumber) => {
                self.written.records += u64::from(batch.records.unsigned_abs());
                Ok(None)
            }
            Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) => {
                let halves = self.batching.split(&batch).map_err(|error| self.unbuildable(&error))?;
                let Some([first, second]) = halves else { return Err(error) };
                self.batching.put_back(second);
                self.batching.put_back(first);
                Ok(None)
            }
            _ if error.is_transient() => {
                if let Some(leader) =
                    usize::try_from(batch.partition).ok().and_then(|index| self.leaders.get_mut(index))
                {
                    *leader = None;
                }
                self.batching.put_back(batch);
                Ok(Some(error))
            }
            _ => Err(error),
        }
    }

    /// Looks up leaders after a failure, unless that is under way.
    fn look_up(&mut self, error: Error) -> Result<(), Error> {
        if self.looking {
            return Ok(());
        }
        let pause = self.backoff.after(error)?;
        self.looking = true;
        let (client, topic) = (self.client.clone(), self.topic.clone());
        self.tasks.spawn(async move {
            sleep(pause).await;
            Done::LookedUp(client.metadata_once(Wanted::Named(&[&topic]), false).await)
        });
        Ok(())
    }

    fn looked_up(&mut self, metadata: Result<Metadata, Error>) -> Result<(), Error> {
        self.looking = false;
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) if error.may_pass() => return self.look_up(error),
            Err(error) => return Err(error),
        };
        let Some(topic) = metadata.topics.get(&self.topic) else { return Ok(()) };
        if let Some(code) = topic.error {
            let error = Error::refused(format!("produce to {}", self.topic), code.code(), None);
            return if self.backoff.bears(&error) { self.look_up(error) } else { Err(error) };
        }
        self.id = topic.id;
        for row in &topic.partitions {
            if let Some(leader) =
                usize::try_from(row.index).ok().and_then(|index| self.leaders.get_mut(index))
            {
                *leader = row.leader;
            }
        }
        Ok(())
    }

    fn unbuildable(&self, error: &BatchError) -> Error {
        Error::Malformed { address: format!("topic {}", self.topic), reason: error.to_string() }
    }
}

/// Kafka's default levels.
const fn level(codec: Codec) -> i32 {
    match codec {
        Codec::Gzip => -1,
        Codec::Lz4 => 9,
        Codec::Zstd => 3,
        Codec::None | Codec::Snappy => 0,
    }
}

/// An id for idempotence, unless the cluster does not give this user one: then the producer does without.
async fn producer_id(client: &Client) -> Result<Option<ProducerId>, Error> {
    let asked = retry(client, async || {
        let answer = client.call(At::Any, Lane::Questions, |_| id_request()).await?;
        Error::check("get a producer id", answer.error_code, None)?;
        Ok(ProducerId { id: *answer.producer_id, epoch: answer.producer_epoch })
    })
    .await;
    match asked {
        Ok(id) => Ok(Some(id)),
        Err(error) if error.code() == Some(ErrorCode::ClusterAuthorizationFailed) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn id_request() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000)
}

pub(super) fn request(
    version: i16,
    (topic, id): (&str, TopicId),
    batches: &[Batch],
    acks: Acks,
    timeout_ms: i32,
) -> ProduceRequest {
    let row = |batch: &Batch| {
        PartitionProduceData::default().with_index(batch.partition).with_records(Some(batch.bytes.clone()))
    };
    let data = TopicProduceData::default().with_partition_data(batches.iter().map(row).collect());
    let data = if version < 13 { data.with_name(topic_name(topic)) } else { data.with_topic_id(uuid(id)) };
    ProduceRequest::default().with_acks(acks.code()).with_timeout_ms(timeout_ms).with_topic_data(vec![data])
}
