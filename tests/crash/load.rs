//! The load: producers that keep several batches under way and send again what was not acknowledged, a consumer that
//! remembers what it was given, and a group member that commits. Each lives through many lives of the broker: a round
//! ends for it when its connection does.

use std::collections::VecDeque;
use std::io;

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FetchRequest, GroupId, InitProducerIdRequest, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    ProduceRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::history::{Commit, Place, Sent, fingerprint};
use crate::random::Random;
use crate::support::raw::{self, Connection};

/// Batches of one partition that may be under way: what the broker remembers of an idempotent producer.
const UNDER_WAY_MAX: usize = 5;
/// `NOT_LEADER_OR_FOLLOWER`: the broker is being stopped.
const STOPPING: i16 = 6;
const PRODUCE: i16 = 9;

/// A producer.
#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) id: u32,
    pub(crate) topic: &'static str,
    pub(crate) idempotent: bool,
    /// The broker's id and epoch for it.
    pub(crate) known_as: Option<(i64, i16)>,
    pub(crate) partitions: Vec<Sending>,
    /// Makes a batch of records, of the broker's producer if there is one, from this sequence on.
    pub(crate) build: Build,
    random: Random,
}

/// What makes a batch: the broker's id and epoch for the producer, the base sequence, the records.
pub(crate) type Build = fn(Option<(i64, i16)>, i32, &[Sent]) -> bytes::Bytes;

/// Batches of values alone.
fn values(known_as: Option<(i64, i16)>, sequence: i32, records: &[Sent]) -> bytes::Bytes {
    let values: Vec<Vec<u8>> = records.iter().map(|sent| sent.value()).collect();
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    match known_as {
        Some((id, epoch)) => raw::batch_of(id, epoch, sequence, &values),
        None => raw::batch(&values),
    }
}

/// What a producer has sent to one partition.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// Records sent so far, acknowledged or not.
    pub(crate) sent: u32,
    /// Batches that are not acknowledged.
    pub(crate) open: VecDeque<Batch>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    first: u32,
    count: u32,
}

/// What came of one round of a producer.
#[derive(Debug, Default)]
pub(crate) struct Produced {
    pub(crate) acknowledged: Vec<(Place, i64, Sent)>,
    pub(crate) sent_again: Vec<(Place, Sent)>,
}

impl Producer {
    pub(crate) fn new(id: u32, topic: &'static str, partitions: usize, idempotent: bool, seed: u64) -> Self {
        Self {
            id,
            topic,
            idempotent,
            known_as: None,
            partitions: (0..partitions).map(|_| Sending::default()).collect(),
            build: values,
            random: Random::new(seed, u64::from(id)),
        }
    }

    /// Produces until the connection ends.
    pub(crate) fn run(&mut self, address: &str) -> Produced {
        let mut produced = Produced::default();
        let ended =
            Connection::try_to(address).and_then(|connection| self.produce(connection, &mut produced));
        if let Err(error) = ended {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "an answer does not come");
        }
        produced
    }

    fn produce(&mut self, mut connection: Connection, produced: &mut Produced) -> io::Result<()> {
        if self.idempotent && self.known_as.is_none() {
            let response = connection.ask(
                4,
                &InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(-1),
            )?;
            assert_eq!(response.error_code, 0);
            self.known_as = Some((response.producer_id.0, response.producer_epoch));
        }
        let window = 1 + usize::try_from(self.random.below(12)).expect("small");
        let mut under_way = VecDeque::new();
        // What the last life of the broker left open is sent again first, in the same batches and order.
        for partition in 0..self.partitions.len() {
            for batch in self.partitions[partition].open.clone() {
                if !self.idempotent {
                    let place = self.place(partition);
                    produced.sent_again.extend(self.records(partition, batch).map(|sent| (place, sent)));
                }
                self.send(&mut connection, partition, batch)?;
                under_way.push_back((partition, batch));
            }
        }
        loop {
            while under_way.len() < window {
                let partition =
                    usize::try_from(self.random.below(self.partitions.len() as u64)).expect("small");
                let count = 1 + u32::try_from(self.random.below(8)).expect("small");
                let sending = &mut self.partitions[partition];
                if sending.open.len() == UNDER_WAY_MAX {
                    break;
                }
                let batch = Batch { first: sending.sent, count };
                sending.sent += count;
                sending.open.push_back(batch);
                self.send(&mut connection, partition, batch)?;
                under_way.push_back((partition, batch));
            }
            let (_, response) = connection.answer::<ProduceRequest>(PRODUCE)?;
            let (partition, batch) = under_way.pop_front().expect("something was asked");
            match raw::produced(&response) {
                (0, base_offset) => {
                    let place = self.place(partition);
                    let records = (base_offset..).zip(self.records(partition, batch));
                    produced.acknowledged.extend(records.map(|(offset, sent)| (place, offset, sent)));
                    self.partitions[partition].open.pop_front();
                }
                (STOPPING, _) => return Ok(()),
                (error, _) => panic!("{self:?}: error {error} for {batch:?} of partition {partition}"),
            }
        }
    }

    fn send(&self, connection: &mut Connection, partition: usize, batch: Batch) -> io::Result<()> {
        let records: Vec<Sent> = self.records(partition, batch).collect();
        let records = (self.build)(self.known_as, i32::try_from(batch.first).expect("few"), &records);
        let (topic, partition) = self.place(partition);
        connection.send(PRODUCE, &raw::produce(topic, partition, -1, records)).map(|_| ())
    }

    pub(crate) fn place(&self, partition: usize) -> Place {
        (self.topic, i32::try_from(partition).expect("few"))
    }

    fn records(&self, partition: usize, batch: Batch) -> impl Iterator<Item = Sent> + use<> {
        let (producer, (_, partition)) = (self.id, self.place(partition));
        (batch.first..batch.first + batch.count).map(move |seq| Sent { producer, partition, seq })
    }
}

/// Reads partitions to their ends, again and again.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Where it stands in each partition.
    pub(crate) next: Vec<(Place, i64)>,
}

impl Consumer {
    /// Consumes until the connection ends; returns what it was given.
    pub(crate) fn run(&mut self, address: &str) -> Vec<(Place, i64, u64)> {
        let mut given = Vec::new();
        let ended = Connection::try_to(address).and_then(|connection| self.consume(connection, &mut given));
        if let Err(error) = ended {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "an answer does not come");
        }
        given
    }

    fn consume(&mut self, mut connection: Connection, given: &mut Vec<(Place, i64, u64)>) -> io::Result<()> {
        loop {
            for (place, next) in &mut self.next {
                let response =
                    connection.ask::<FetchRequest>(11, &raw::fetch(place.0, place.1, *next, 20))?;
                let (error, end, records) = raw::fetched(&response, *next);
                if error == STOPPING {
                    return Ok(());
                }
                // Error 1 (OFFSET_OUT_OF_RANGE) would mean that what was given is there no more.
                assert_eq!(error, 0, "fetch of {place:?} at {next}");
                assert!(end >= *next, "the high watermark of {place:?} went back to {end} behind {next}");
                for record in records {
                    given.push((*place, record.offset, fingerprint(&record.value)));
                    *next = record.offset + 1;
                }
            }
        }
    }
}

/// A group of one member, which commits higher and higher offsets.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) group: String,
    pub(crate) commits: Vec<(Place, Commit)>,
    member_id: StrBytes,
    generation: i32,
    /// How often it had to join.
    pub(crate) joined: u32,
}

impl Member {
    pub(crate) fn new(group: &str, places: Vec<Place>) -> Self {
        Self {
            group: group.to_owned(),
            commits: places.into_iter().map(|place| (place, Commit::default())).collect(),
            member_id: StrBytes::default(),
            generation: -1,
            joined: 0,
        }
    }

    fn group_id(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.group.clone()))
    }

    /// Commits until the connection ends.
    pub(crate) fn run(&mut self, address: &str) {
        let ended = Connection::try_to(address).and_then(|connection| self.commit_all(connection));
        if let Err(error) = ended {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "an answer does not come");
        }
    }

    fn commit_all(&mut self, mut connection: Connection) -> io::Result<()> {
        loop {
            for index in 0..self.commits.len() {
                if self.generation < 0 && !self.join(&mut connection)? {
                    continue;
                }
                match self.commit(&mut connection, index)? {
                    0 => self.commits[index].1.acknowledged = self.commits[index].1.attempted,
                    // Loading or stopping: the next attempt tells.
                    14..=16 => {}
                    // The broker does not know this membership.
                    22 | 25 | 27 => self.generation = -1,
                    error => panic!("a commit got error {error}"),
                }
            }
        }
    }

    fn commit(&mut self, connection: &mut Connection, index: usize) -> io::Result<i16> {
        let (place, commit) = &mut self.commits[index];
        commit.attempted += 1;
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(place.1)
            .with_committed_offset(commit.attempted);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(raw::name(place.0))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.member_id.clone())
            .with_topics(vec![topic]);
        Ok(connection.ask(7, &request)?.topics[0].partitions[0].error_code)
    }

    fn join(&mut self, connection: &mut Connection) -> io::Result<bool> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"))
            .with_metadata(bytes::Bytes::from_static(&[0, 0, 0, 0, 0, 0]));
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(60_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        let joined = connection.ask(3, &request)?;
        if joined.error_code != 0 {
            assert!(matches!(joined.error_code, 14..=16), "{joined:?}");
            return Ok(false);
        }
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(bytes::Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_assignments(vec![assignment]);
        let synced = connection.ask(2, &request)?;
        if synced.error_code != 0 {
            assert!(matches!(synced.error_code, 14..=16 | 22 | 25 | 27), "{synced:?}");
            return Ok(false);
        }
        (self.member_id, self.generation) = (joined.member_id, joined.generation_id);
        self.joined += 1;
        Ok(true)
    }

    /// The offset that the broker holds for each place, -1 for none.
    pub(crate) fn committed(&self, connection: &mut Connection) -> Vec<(Place, Commit, i64)> {
        self.commits
            .iter()
            .map(|&(place, commit)| {
                let topic = OffsetFetchRequestTopic::default()
                    .with_name(raw::name(place.0))
                    .with_partition_indexes(vec![place.1]);
                let request = OffsetFetchRequest::default()
                    .with_group_id(self.group_id())
                    .with_topics(Some(vec![topic]));
                loop {
                    let response = connection.call(5, &request);
                    if response.error_code == 14 {
                        continue;
                    }
                    assert_eq!(response.error_code, 0);
                    let partition = &response.topics[0].partitions[0];
                    assert_eq!(partition.error_code, 0);
                    return (place, commit, partition.committed_offset);
                }
            })
            .collect()
    }
}
