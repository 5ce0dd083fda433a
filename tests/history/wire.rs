//! Requests sent until they are answered: a broker that is killed, paused or starting is asked again.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    FetchRequest, FindCoordinatorRequest, GroupId, ListOffsetsRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use streamd::record::batch::BatchView;

use crate::record::{Ends, Place, Reading, Seen};
use crate::support::raw::{self, Connection};

/// How long a broker may take to answer, its restarts included: then it is not alive.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
const FETCH: i16 = 11;
const READ_COMMITTED: i8 = 1;
/// Where the length of a batch ends in it.
const LENGTH_END: usize = 12;

/// Refusals of a broker that is starting, stopping or busy with an end: ask again.
pub(crate) fn is_passing(code: i16) -> bool {
    // Loading, not available, not coordinator, not leader, timed out, not enough replicas, concurrent transactions.
    matches!(code, 14 | 15 | 16 | 6 | 5 | 7 | 19 | 20 | 51)
}

/// A connection that comes back.
pub(crate) struct Line {
    address: String,
    connection: Option<Connection>,
}

impl Line {
    pub(crate) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), connection: None }
    }

    /// Another to the same broker.
    pub(crate) fn again(&self) -> Self {
        Self::to(&self.address)
    }

    /// The answer, however often it takes to ask.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let began = Instant::now();
        loop {
            if self.connection.is_none() {
                self.connection = Connection::try_to(&self.address).ok();
            }
            if let Some(connection) = &mut self.connection
                && let Ok(response) = connection.ask(version, request)
            {
                return response;
            }
            self.connection = None;
            assert!(began.elapsed() < PATIENCE, "no answer to API {}", R::KEY);
            thread::sleep(PAUSE);
        }
    }

    /// An answer whose code is not one to ask again for.
    pub(crate) fn settle<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> R::Response {
        let began = Instant::now();
        loop {
            let response = self.ask(version, request);
            if !is_passing(code(&response)) {
                return response;
            }
            assert!(began.elapsed() < PATIENCE, "API {}: error {}", R::KEY, code(&response));
            thread::sleep(PAUSE);
        }
    }

    /// Has the transaction coordinators made, as clients do when they look for theirs.
    pub(crate) fn find_coordinator(&mut self, transactional_id: &str) {
        let key = StrBytes::from_string(transactional_id.to_owned());
        let request = FindCoordinatorRequest::default().with_key(key).with_key_type(1);
        self.settle(2, &request, |response| response.error_code);
    }

    /// The ends of a partition.
    pub(crate) fn ends(&mut self, place: Place) -> Ends {
        let mut end = |isolation: i8| {
            let partition = ListOffsetsPartition::default().with_partition_index(place.1).with_timestamp(-1);
            let topic = ListOffsetsTopic::default().with_name(raw::name(place.0));
            let request = ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_isolation_level(isolation)
                .with_topics(vec![topic.with_partitions(vec![partition])]);
            let response = self.settle(5, &request, |r| r.topics[0].partitions[0].error_code);
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.error_code, 0, "{response:?}");
            partition.offset
        };
        // In this order: what lies between the two answers cannot put the first beyond the second.
        let stable = end(READ_COMMITTED);
        Ends { place, stable, high: end(0) }
    }

    /// A group's offsets, -1 for none: with `stable`, none that a transaction under way may replace.
    pub(crate) fn offsets(
        &mut self,
        group: &str,
        topic: &str,
        partitions: i32,
        stable: bool,
    ) -> BTreeMap<i32, i64> {
        let named = OffsetFetchRequestTopic::default()
            .with_name(raw::name(topic))
            .with_partition_indexes((0..partitions).collect());
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
            .with_topics(Some(vec![named]))
            .with_require_stable(stable);
        let began = Instant::now();
        loop {
            let response = self.settle(7, &request, |response| response.error_code);
            assert_eq!(response.error_code, 0, "{response:?}");
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            // 88: a transaction holds an offset.
            if partitions.clone().all(|partition| partition.error_code == 0) {
                return partitions.map(|p| (p.partition_index, p.committed_offset)).collect();
            }
            let pending = |code: i16| code == 0 || stable && code == 88;
            assert!(partitions.clone().all(|p| pending(p.error_code)), "{response:?}");
            assert!(began.elapsed() < PATIENCE, "{response:?}");
            thread::sleep(PAUSE);
        }
    }

    /// One more fetch of what is committed; what came is added with this time.
    pub(crate) fn read_on(
        &mut self,
        place: Place,
        reading: &mut Reading,
        wait_ms: i32,
        now: impl Fn() -> u64,
    ) {
        let mut request = raw::fetch(place.0, place.1, reading.next, wait_ms);
        request.isolation_level = READ_COMMITTED;
        request.topics[0].partitions[0].partition_max_bytes = 20_000;
        let response = self.settle::<FetchRequest>(FETCH, &request, |response| {
            response.responses.first().map_or(response.error_code, |topic| topic.partitions[0].error_code)
        });
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "fetch of {place:?} at {}", reading.next);
        let at = now();
        let from = reading.next;
        let records = committed(partition, &mut reading.next);
        let records = records.into_iter().filter(|(offset, _)| *offset >= from);
        reading.seen.extend(records.map(|(offset, value)| Seen { offset, value, at }));
    }
}

/// What a batch's header says of the bytes behind its own length.
fn length(batch: &[u8]) -> usize {
    let length = batch[8..LENGTH_END].try_into().expect("four bytes");
    usize::try_from(i32::from_be_bytes(length)).expect("a length")
}

/// The records of an answer that its list of aborted transactions leaves, as clients take them; `next` moves behind all.
fn committed(partition: &PartitionData, next: &mut i64) -> Vec<(i64, Vec<u8>)> {
    let bytes = partition.records.clone().unwrap_or_default();
    let mut rest: &[u8] = &bytes;
    let mut aborted: Vec<(i64, i64)> = partition
        .aborted_transactions
        .iter()
        .flatten()
        .map(|one| (one.first_offset, one.producer_id.0))
        .collect();
    aborted.sort_unstable_by_key(|one| std::cmp::Reverse(*one));
    let (mut under_way, mut found) = (Vec::new(), Vec::new());
    // Brokers may cut the last batch.
    while rest.len() >= LENGTH_END && rest.len() >= LENGTH_END + length(rest) {
        let view = BatchView::parse(rest).expect("a whole batch");
        assert!(view.crc_ok(), "a batch with a wrong CRC at {}", view.header().base_offset);
        let header = *view.header();
        while let Some((_, producer)) = aborted.pop_if(|(first, _)| *first <= header.last_offset()) {
            under_way.push(producer);
        }
        let records = view.records(64 << 20).expect("records");
        for record in &records {
            let record = record.expect("a sound record");
            if header.attributes.is_control() {
                // The key's second number: 0 for an abort.
                if record.key.is_some_and(|key| key.get(2..4) == Some(&[0, 0])) {
                    under_way.retain(|producer| *producer != header.producer_id);
                }
            } else if !header.attributes.is_transactional() || !under_way.contains(&header.producer_id) {
                found.push((record.offset, record.value.unwrap_or_default().to_vec()));
            }
        }
        *next = header.next_offset().max(*next);
        rest = &rest[header.total_len()..];
    }
    found
}
