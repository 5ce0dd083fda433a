//! Reading the churn's topics: all the time, and whole after each start; and the one who deletes their oldest records.

use std::io;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, FetchRequest, FetchResponse, ListOffsetsRequest};
use streamd::record::batch::BatchView;

use super::topics::{Topic, identity, key};
use crate::history::{Place, Sent, fingerprint};
use crate::random::Random;
use crate::support::raw::{self, Connection};

/// `OFFSET_OUT_OF_RANGE`: what was asked for left the log's front.
const OUT_OF_RANGE: i16 = 1;
/// `NOT_LEADER_OR_FOLLOWER`: the broker is being stopped.
const STOPPING: i16 = 6;
const EARLIEST: i64 = -2;

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    /// Whose it says it is.
    pub(crate) sent: Option<Sent>,
    /// Its key and value, in short.
    pub(crate) print: u64,
    /// Whether key and value are those that were sent.
    pub(crate) is_whole: bool,
}

impl Entry {
    /// A record as it must be read.
    #[cfg(test)]
    pub(crate) fn of(topic: &Topic, offset: i64, sent: Sent) -> Self {
        let print = print(&key(sent), topic.value(sent).as_deref());
        Self { offset, sent: Some(sent), print, is_whole: true }
    }
}

fn print(key: &[u8], value: Option<&[u8]>) -> u64 {
    fingerprint(&[key, &[u8::from(value.is_some())], value.unwrap_or_default()].concat())
}

/// What a partition holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) first: i64,
    pub(crate) entries: Vec<Entry>,
    /// Bytes of all batches.
    pub(crate) bytes: u64,
}

/// The error, the high watermark and the records from `offset` on, with their batches' bytes and the offset behind
/// them. Every batch must be whole and sound.
fn fetched(response: &FetchResponse, topic: &Topic, offset: i64) -> (i16, i64, Vec<Entry>, u64, i64) {
    let partition = &response.responses[0].partitions[0];
    let all = partition.records.clone().unwrap_or_default();
    let (mut entries, mut rest, mut next) = (Vec::new(), &all[..], offset);
    while !rest.is_empty() {
        let view = BatchView::parse(rest).expect("a whole batch");
        assert!(view.crc_ok(), "a batch with a wrong CRC at {}", view.header().base_offset);
        for record in &view.records(1 << 20).expect("records") {
            let record = record.expect("a sound record");
            if record.offset < offset {
                continue;
            }
            let headers =
                record.headers.map(|header| (header.key.to_vec(), header.value.unwrap_or_default().to_vec()));
            let sent = identity(headers);
            let is_whole = sent.is_some_and(|sent| {
                record.key == Some(&key(sent)) && record.value == topic.value(sent).as_deref()
            });
            let print = print(record.key.unwrap_or_default(), record.value);
            entries.push(Entry { offset: record.offset, sent, print, is_whole });
        }
        next = view.header().next_offset();
        rest = &rest[view.bytes().len()..];
    }
    (partition.error_code, partition.high_watermark, entries, all.len() as u64, next)
}

/// A partition's first offset.
pub(crate) fn first_offset(connection: &mut Connection, place: Place) -> io::Result<i64> {
    let row = ListOffsetsPartition::default().with_partition_index(place.1).with_timestamp(EARLIEST);
    let topic = ListOffsetsTopic::default().with_name(raw::name(place.0)).with_partitions(vec![row]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let row = &connection.ask(5, &request)?.topics[0].partitions[0];
    assert!(row.error_code == 0 || row.error_code == STOPPING, "the first offset of {place:?}: {row:?}");
    Ok(row.offset)
}

/// Reads a partition from its first offset to its end. Begins anew when its front leaves meanwhile.
pub(crate) fn read_whole(connection: &mut Connection, place: Place) -> Contents {
    let topic = Topic::by_name(place.0);
    'anew: loop {
        let first = first_offset(connection, place).expect("an answer");
        let mut contents = Contents { first, ..Contents::default() };
        let mut next = first;
        loop {
            let response = connection.call::<FetchRequest>(11, &raw::fetch(place.0, place.1, next, 0));
            let (error, end, entries, bytes, behind) = fetched(&response, topic, next);
            if error == OUT_OF_RANGE && topic.may_move_its_start() {
                continue 'anew;
            }
            assert_eq!(error, 0, "fetch of {place:?} at {next}");
            contents.entries.extend(entries);
            contents.bytes += bytes;
            if bytes == 0 {
                assert!(next >= end, "nothing of {place:?} at {next}, below the high watermark {end}");
                break;
            }
            assert!(behind > next, "a read of {place:?} at {next} does not get on");
            next = behind;
        }
        // What left while it was read is not to be missed.
        if first_offset(connection, place).expect("an answer") == first {
            return contents;
        }
    }
}

/// Reads all partitions to their ends, again and again, through all of the broker's lives.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Where it stands in each partition.
    pub(crate) next: Vec<(Place, i64)>,
    /// How often it had to go to a partition's new front.
    pub(crate) overtaken: u64,
}

impl Follower {
    /// Reads until the connection ends; returns what it was given.
    pub(crate) fn run(&mut self, address: &str) -> Vec<(Place, i64, u64)> {
        let mut given = Vec::new();
        let ended = Connection::try_to(address).and_then(|connection| self.follow(connection, &mut given));
        if let Err(error) = ended {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "an answer does not come");
        }
        given
    }

    fn follow(&mut self, mut connection: Connection, given: &mut Vec<(Place, i64, u64)>) -> io::Result<()> {
        loop {
            for (place, next) in &mut self.next {
                let topic = Topic::by_name(place.0);
                let response = connection.ask::<FetchRequest>(11, &raw::fetch(place.0, place.1, *next, 5))?;
                let (error, end, entries, _, behind) = fetched(&response, topic, *next);
                match error {
                    STOPPING => return Ok(()),
                    OUT_OF_RANGE if topic.may_move_its_start() => {
                        let first = first_offset(&mut connection, *place)?;
                        assert!(
                            first == -1 || first > *next,
                            "{place:?} begins at {first}, and {next} is out of it"
                        );
                        *next = first.max(*next);
                        self.overtaken += 1;
                        continue;
                    }
                    _ => assert_eq!(error, 0, "fetch of {place:?} at {next}"),
                }
                assert!(end >= *next, "the high watermark of {place:?} went back to {end} behind {next}");
                for entry in entries {
                    assert!(entry.offset >= *next, "{place:?}: {} behind {next}", entry.offset);
                    given.push((*place, entry.offset, entry.print));
                }
                *next = behind;
            }
        }
    }
}

/// Deletes the oldest records of partitions, to within a few of what is there.
#[derive(Debug)]
pub(crate) struct Trimmer {
    pub(crate) place: Place,
    pub(crate) random: Random,
    /// The largest start that was answered, and the largest that was asked for.
    pub(crate) answered: i64,
    pub(crate) asked: i64,
}

impl Trimmer {
    /// Deletes until the connection ends.
    pub(crate) fn run(&mut self, address: &str) {
        let ended = Connection::try_to(address).and_then(|connection| self.trim(connection));
        if let Err(error) = ended {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "an answer does not come");
        }
    }

    fn trim(&mut self, mut connection: Connection) -> io::Result<()> {
        loop {
            let (topic, index) = self.place;
            let response = connection.ask::<FetchRequest>(11, &raw::fetch(topic, index, self.answered, 5))?;
            let partition = &response.responses[0].partitions[0];
            match partition.error_code {
                STOPPING => return Ok(()),
                // A deletion that was asked for in the last life was done, and nobody has said so.
                OUT_OF_RANGE if self.asked > self.answered => {
                    self.answered = first_offset(&mut connection, self.place)?.max(self.answered);
                    continue;
                }
                error => assert_eq!(error, 0, "fetch of {topic} at {}", self.answered),
            }
            let keep = i64::try_from(self.random.below(60)).expect("small");
            let to = (partition.high_watermark - keep).max(self.answered);
            self.asked = self.asked.max(to);
            let row = DeleteRecordsPartition::default().with_partition_index(index).with_offset(to);
            let topic = DeleteRecordsTopic::default().with_name(raw::name(topic)).with_partitions(vec![row]);
            let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
            let row = connection.ask(2, &request)?.topics.remove(0).partitions.remove(0);
            if row.error_code == STOPPING {
                return Ok(());
            }
            assert_eq!(row.error_code, 0, "records below {to} are to be deleted");
            assert!(row.low_watermark >= to);
            self.answered = row.low_watermark;
        }
    }
}
