//! Fetches that a cleaning overtakes: a session whose offset lies in a batch that is gone, and a wait at the log's end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use streamd::record::batch::BatchView;

use crate::support::Broker;
use crate::support::raw::{self, Connection};
use crate::updates::Updates;
use crate::{EAGER, clean_to, create, wait_until_clean};

const VERSION: i16 = 11;
const KEYS: usize = 50;

/// A fetch session over partition 0 of one topic.
struct Session {
    connection: Connection,
    id: i32,
    epoch: i32,
    next: i64,
    /// The last value of each key that was read.
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Session {
    /// Opens one that reads from `next` on, and forgets what it is given.
    fn open(broker: &Broker, next: i64) -> Self {
        let mut connection = Connection::to(broker.address());
        let request = raw::fetch("t", 0, next, 0).with_session_epoch(0);
        let response = connection.call(VERSION, &request);
        assert_eq!((response.error_code, response.responses[0].partitions[0].error_code), (0, 0));
        assert_ne!(response.session_id, 0);
        Self { connection, id: response.session_id, epoch: 1, next, values: BTreeMap::new() }
    }

    /// Asks again; `moved` names the partition with its new offset, else the session knows it. Answered later.
    fn send(&mut self, moved: bool, max_wait_ms: i32) {
        let mut request = raw::fetch("t", 0, self.next, max_wait_ms)
            .with_session_id(self.id)
            .with_session_epoch(self.epoch);
        if !moved {
            request.topics.clear();
        }
        request.max_bytes = 20_000;
        self.connection.send(VERSION, &request).expect("a request");
        self.epoch += 1;
    }

    /// The answer: whether there was anything in it.
    fn receive(&mut self) -> bool {
        let (_, response) = self.connection.answer::<FetchRequest>(VERSION).expect("an answer");
        assert_eq!((response.error_code, response.session_id), (0, self.id));
        let Some(topic) = response.responses.first() else { return false };
        let partition = &topic.partitions[0];
        assert_eq!(partition.error_code, 0, "at {}", self.next);
        let bytes = partition.records.clone().unwrap_or_default();
        let before = self.next;
        let mut rest = &bytes[..];
        // The last batch may be cut.
        while let Ok(batch) = BatchView::parse(rest) {
            assert!(batch.crc_ok());
            let header = *batch.header();
            assert!(
                header.last_offset() >= self.next,
                "{} comes again at {}",
                header.last_offset(),
                self.next
            );
            for record in &batch.records(1 << 20).expect("records") {
                let record = record.expect("a record");
                if record.offset >= self.next {
                    let value = record.value.map(<[u8]>::to_vec);
                    self.values.insert(record.key.expect("a key").to_vec(), value);
                }
            }
            self.next = header.next_offset();
            rest = &rest[header.total_len()..];
        }
        self.next > before
    }

    /// Reads to `end`.
    fn read_to(&mut self, end: i64) {
        let mut moved = false;
        while self.next < end {
            self.send(moved, 0);
            moved = self.receive();
            assert!(moved, "nothing at {}, before {end}", self.next);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_where_its_offset_was_compacted_away() {
    let broker = Broker::with(EAGER);
    create(&broker, "t", &[("segment.bytes", "50000")]).await;
    let mut updates = Updates::new(&broker, "t", KEYS, 6_000, "lz4");
    updates.send(3_000);
    updates.wait();
    let mut sessions: Vec<Session> = (0..30).map(|nth| Session::open(&broker, nth * 97)).collect();
    updates.send(3_000);
    let end = updates.wait();
    wait_until_clean(&broker, "t", 0, end);
    let opened: i64 = sessions.iter().map(|session| session.next).sum();
    for session in &mut sessions {
        session.read_to(end);
        let live = session.values.iter().filter_map(|(key, value)| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            Some((text(key), text(value.as_deref()?)))
        });
        assert_eq!(live.collect::<BTreeMap<_, _>>(), updates.last_values(0));
    }
    assert!(opened < 30 * 3_000, "all began in what was compacted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_at_the_end_outlives_a_cleaning_and_ends_with_the_next_record() {
    let broker = Broker::with(EAGER);
    create(&broker, "t", &[("segment.bytes", "50000")]).await;
    let mut updates = Updates::new(&broker, "t", KEYS, 2_001, "none");
    updates.send(2_000);
    let end = updates.wait();
    let mut waiting = Session::open(&broker, end);
    assert!(clean_to(&broker, "t", 0).is_none_or(|to| to < end));
    waiting.send(false, 25_000);
    // The segment in which it waits is closed, cleaned and replaced.
    wait_until_clean(&broker, "t", 0, end);
    let began = Instant::now();
    updates.send(1);
    updates.wait();
    assert!(waiting.receive());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!((waiting.next, waiting.values.len()), (end + 1, 1));
}
