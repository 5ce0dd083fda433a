//! Reads assigned partitions: one fetch per leader under way at any time, the next one sent before the last one's
//! records are handled.
//!
//! Where a partition stands is kept here alone. Leaders that move, connections that end and offsets that retention has
//! taken are dealt with here too; the caller hears of them as events.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::{At, Lane};
use super::connection::millis;
use super::fetched::Aborted;
use super::metadata::topic_name;
use super::offsets::{self, Isolation, Place};
use super::retry::Backoff;
use super::{Client, Error, FetchedPartition, Metadata, Topic, Wanted};
use crate::types::{ErrorCode, TopicId};
use crate::wire::uuid;

/// How long a broker waits for records before it answers that there are none.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// What one answer may hold, one large batch apart.
const FETCH_BYTES_MAX: i32 = 16 * 1024 * 1024;
/// What one answer may hold of one partition, one large batch apart.
const PARTITION_BYTES_MAX: i32 = 4 * 1024 * 1024;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// Records came.
    Records(Vec<FetchedPartition>),
    /// The records between two offsets are gone: reading goes on at the second.
    Skipped {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset that was to be read.
        from: i64,
        /// The offset that is read instead.
        to: i64,
    },
    /// A broker does not answer as it should. It is asked again.
    Waiting(Error),
}

/// A reader of partitions.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    isolation: Isolation,
    /// Those that are waited for longest stand first: brokers fill their answers in this order.
    positions: Vec<Position>,
    tasks: JoinSet<Done>,
    /// Leaders with a fetch under way.
    busy: HashSet<i32>,
    /// Whether leaders are being looked up.
    looking: bool,
    backoff: Backoff,
    events: VecDeque<Event>,
}

/// How far one partition is read.
#[derive(Debug)]
struct Position {
    topic: Arc<str>,
    id: TopicId,
    partition: i32,
    next: i64,
    /// The broker to read it from; it has to be looked up when there is none.
    leader: Option<i32>,
    /// Whether its bounds are being looked up: `next` is outside of them.
    held: bool,
}

/// A task's outcome.
#[derive(Debug)]
enum Done {
    Fetched { leader: i32, answer: Result<FetchResponse, Error> },
    LookedUp(Result<Metadata, Error>),
    Bounds { topic: Arc<str>, partition: i32, bounds: Result<(i64, i64), Error> },
}

impl Consumer {
    /// A consumer without partitions.
    pub fn new(client: Client, isolation: Isolation) -> Self {
        let backoff = Backoff::new(client.options().timeout);
        Self {
            client,
            isolation,
            positions: Vec::new(),
            tasks: JoinSet::new(),
            busy: HashSet::new(),
            looking: false,
            backoff,
            events: VecDeque::new(),
        }
    }

    /// Reads one more partition, from this offset on.
    pub fn assign(&mut self, topic: &Topic, partition: i32, offset: i64) {
        let leader = topic.partitions.iter().find(|row| row.index == partition).and_then(|row| row.leader);
        self.positions.push(Position {
            topic: topic.name.as_str().into(),
            id: topic.id,
            partition,
            next: offset,
            leader,
            held: false,
        });
    }

    /// Reads one partition no more. Records of it that are on their way are forgotten.
    pub fn release(&mut self, topic: &str, partition: i32) {
        self.positions.retain(|position| *position.topic != *topic || position.partition != partition);
    }

    /// Reads nothing any more. Records on their way are forgotten.
    pub fn revoke(&mut self) {
        self.positions.clear();
        self.events.clear();
        self.busy.clear();
        self.looking = false;
        self.tasks = JoinSet::new();
    }

    /// The next thing that happens; never, without partitions. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// A refusal that will not pass, records that cannot be read, or no answer for as long as the client waits.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.start_fetches();
            let Some(done) = self.tasks.join_next().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match done {
                Ok(Done::Fetched { leader, answer }) => self.fetched(leader, answer)?,
                Ok(Done::LookedUp(metadata)) => self.looked_up(metadata)?,
                Ok(Done::Bounds { topic, partition, bounds }) => self.bounded(&topic, partition, bounds)?,
                Err(stopped) if stopped.is_cancelled() => {}
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
    }

    /// Sends a fetch to each leader that has none under way.
    fn start_fetches(&mut self) {
        let leaders: BTreeSet<i32> = self.positions.iter().filter_map(Position::to_ask).collect();
        for leader in leaders {
            if self.busy.insert(leader) {
                self.start_fetch(leader);
            }
        }
    }

    fn start_fetch(&mut self, leader: i32) {
        let wanted: Vec<_> = self
            .positions
            .iter()
            .filter(|position| position.to_ask() == Some(leader))
            .map(|position| (Arc::clone(&position.topic), position.id, position.partition, position.next))
            .collect();
        let (client, isolation) = (self.client.clone(), self.isolation);
        self.tasks.spawn(async move {
            let limit = WAIT_MAX + client.options().timeout;
            let make = |version| request(version, &wanted, isolation);
            let answer = client.call_within(At::Broker(leader), Lane::Fetches, limit, make).await;
            Done::Fetched { leader, answer }
        });
    }

    fn fetched(&mut self, leader: i32, answer: Result<FetchResponse, Error>) -> Result<(), Error> {
        self.busy.remove(&leader);
        let answer = answer.and_then(|answer| {
            Error::check("fetch", answer.error_code, None)?;
            Ok(answer)
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.may_pass() => {
                for position in self.positions.iter_mut().filter(|position| position.leader == Some(leader)) {
                    position.leader = None;
                }
                return self.look_up(error);
            }
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        let mut failed = None;
        for topic in answer.responses {
            for row in topic.partitions {
                let found = self.positions.iter().position(|position| {
                    let is_topic = if topic.topic_id.is_nil() {
                        *position.topic == **topic.topic
                    } else {
                        uuid(position.id) == topic.topic_id
                    };
                    is_topic && position.partition == row.partition_index
                });
                let Some(index) = found else { continue };
                match self.take(index, row)? {
                    Taken::Nothing => {}
                    Taken::Records(fetched) => records.push(fetched),
                    Taken::Failed(error) => failed = Some(error),
                }
            }
        }
        if !records.is_empty() {
            self.events.push_back(Event::Records(records));
        }
        match failed {
            Some(error) => self.look_up(error),
            None => {
                self.backoff.reset();
                Ok(())
            }
        }
    }

    /// Takes in what a fetch says about one partition.
    fn take(&mut self, index: usize, row: PartitionData) -> Result<Taken, Error> {
        let isolation = self.isolation;
        let Some(position) = self.positions.get_mut(index) else { return Ok(Taken::Nothing) };
        let name = (Arc::clone(&position.topic), position.partition);
        let checked = Error::check(format!("read {}-{}", name.0, name.1), row.error_code, None);
        match checked {
            Ok(()) => {}
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                position.held = true;
                self.look_for_bounds(name.0, name.1);
                return Ok(Taken::Nothing);
            }
            Err(error) if error.is_transient() => {
                position.leader = None;
                return Ok(Taken::Failed(error));
            }
            Err(error) => return Err(error),
        }
        let (end, aborted) = match isolation {
            Isolation::ReadUncommitted => (row.high_watermark, Vec::new()),
            Isolation::ReadCommitted => {
                (row.last_stable_offset, row.aborted_transactions.unwrap_or_default())
            }
        };
        let aborted = aborted
            .iter()
            .map(|one| Aborted { producer_id: *one.producer_id, first_offset: one.first_offset })
            .collect();
        let bytes = row.records.unwrap_or_default();
        let fetched = FetchedPartition::new(name, position.next, end, bytes, aborted)?;
        position.next = fetched.next;
        if fetched.is_empty() {
            return Ok(Taken::Nothing);
        }
        // Whoever was served goes to the end of the line.
        let served = self.positions.remove(index);
        self.positions.push(served);
        Ok(Taken::Records(fetched))
    }

    /// Looks up leaders after a failure, unless that is under way.
    fn look_up(&mut self, error: Error) -> Result<(), Error> {
        if self.looking {
            return Ok(());
        }
        let told = error.clone();
        let pause = self.backoff.after(error)?;
        // The first failure is commonly an idle connection that the broker has closed.
        if self.backoff.failures() == 2 {
            self.events.push_back(Event::Waiting(told));
        }
        self.looking = true;
        let names: BTreeSet<Arc<str>> =
            self.positions.iter().map(|position| Arc::clone(&position.topic)).collect();
        let client = self.client.clone();
        self.tasks.spawn(async move {
            sleep(pause).await;
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            Done::LookedUp(client.metadata_once(Wanted::Named(&names), false).await)
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
        let mut failed = None;
        let mut anew = Vec::new();
        for position in self.positions.iter_mut().filter(|position| position.leader.is_none()) {
            let doing = || format!("read {}-{}", position.topic, position.partition);
            let topic = metadata.topics.get(&*position.topic);
            let row =
                topic.and_then(|topic| topic.partitions.iter().find(|row| row.index == position.partition));
            match (topic, row.and_then(|row| row.leader)) {
                (Some(topic), Some(leader)) => {
                    // Another topic of the same name: its records are all new.
                    if position.id != topic.id && !position.id.is_zero() {
                        let (name, partition, from) = (&position.topic, position.partition, position.next);
                        anew.push(Event::Skipped { topic: Arc::clone(name), partition, from, to: 0 });
                        position.next = 0;
                    }
                    position.id = topic.id;
                    position.leader = Some(leader);
                }
                (topic, _) => {
                    let code = topic.and_then(|topic| topic.error).unwrap_or(ErrorCode::LeaderNotAvailable);
                    failed = Some(Error::refused(doing(), code.code(), None));
                }
            }
        }
        self.events.extend(anew);
        match failed {
            Some(error) if !self.backoff.bears(&error) => Err(error),
            Some(error) => self.look_up(error),
            None => Ok(()),
        }
    }

    fn look_for_bounds(&mut self, topic: Arc<str>, partition: i32) {
        let (client, isolation) = (self.client.clone(), self.isolation);
        self.tasks.spawn(async move {
            let bounds = bounds(&client, &topic, partition, isolation).await;
            Done::Bounds { topic, partition, bounds }
        });
    }

    fn bounded(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        bounds: Result<(i64, i64), Error>,
    ) -> Result<(), Error> {
        let mut of = self.positions.iter_mut();
        let Some(position) = of.find(|position| position.topic == *topic && position.partition == partition)
        else {
            return Ok(());
        };
        position.held = false;
        let (start, end) = match bounds {
            Ok(bounds) => bounds,
            Err(error) if error.may_pass() => {
                position.leader = None;
                return self.look_up(error);
            }
            Err(error) => return Err(error),
        };
        let (from, to) = (position.next, position.next.clamp(start, end.max(start)));
        position.next = to;
        if from != to {
            self.events.push_back(Event::Skipped { topic: Arc::clone(topic), partition, from, to });
        }
        Ok(())
    }
}

/// A partition's first offset and its end.
async fn bounds(
    client: &Client,
    topic: &str,
    partition: i32,
    isolation: Isolation,
) -> Result<(i64, i64), Error> {
    let start = offsets::list_once(client, topic, &[partition], Place::Start, isolation).await?;
    let end = offsets::list_once(client, topic, &[partition], Place::End, isolation).await?;
    let of = |found: &BTreeMap<i32, i64>| found.get(&partition).copied().unwrap_or(0);
    Ok((of(&start), of(&end)))
}

/// What became of a partition's part of an answer.
enum Taken {
    Nothing,
    Records(FetchedPartition),
    Failed(Error),
}

impl Position {
    /// The broker to fetch from, if it is time to.
    fn to_ask(&self) -> Option<i32> {
        self.leader.filter(|_| !self.held)
    }
}

/// A fetch outside of any session: it names every partition. Partitions are given with topic, topic id and offset.
pub(super) fn request(
    version: i16,
    wanted: &[(Arc<str>, TopicId, i32, i64)],
    isolation: Isolation,
) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let mut last = None;
    for (name, id, partition, offset) in wanted {
        let row = FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(PARTITION_BYTES_MAX);
        // Neighbours of one topic share a row; a topic may come twice.
        if last != Some(name) {
            let topic = FetchTopic::default();
            topics.push(if version < 13 {
                topic.with_topic(topic_name(name))
            } else {
                topic.with_topic_id(uuid(*id))
            });
            last = Some(name);
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(row);
        }
    }
    let request = FetchRequest::default()
        .with_max_wait_ms(millis(WAIT_MAX))
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES_MAX)
        .with_isolation_level(isolation.code())
        .with_topics(topics);
    let request = if version < 15 { request.with_replica_id(BrokerId(-1)) } else { request };
    if version < 7 { request } else { request.with_session_epoch(-1) }
}
