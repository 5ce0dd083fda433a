//! The rig: one broker, the load on it, and round after round of an end and a new start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use crate::history::{Partition, Place, Violation};
use crate::load::{Consumer, Member, Produced, Producer};
use crate::random::Random;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

type Settings = &'static [(&'static str, &'static str)];

/// A topic with segments so small that every round rolls some, and one whose segments live for several rounds.
const TOPICS: [(&str, i32, Settings); 2] = [
    (
        "small",
        3,
        &[("segment.bytes", "20000"), ("segment.index.bytes", "1200"), ("index.interval.bytes", "500")],
    ),
    ("large", 2, &[("segment.bytes", "2000000"), ("index.interval.bytes", "4096")]),
];
/// How many records behind the last check are checked again in every round.
const OVERLAP: i64 = 500;
/// Every so many rounds everything is checked from the first offset on.
const FULL_CHECK_EVERY: u64 = 10;
/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Rig {
    pub(crate) broker: Broker,
    seed: u64,
    random: Random,
    round: u64,
    producers: Vec<Producer>,
    producer_ids: HashSet<i64>,
    consumer: Consumer,
    members: Vec<Member>,
    pub(crate) known: BTreeMap<Place, Partition>,
    checked_to: HashMap<Place, i64>,
    cluster_id: String,
    topic_ids: BTreeMap<String, uuid::Uuid>,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(
            seed,
            "[durability]\nfsync = \"batch\"\n\
             [kafka]\n\"offsets.topic.num.partitions\" = 3\n\"offsets.topic.segment.bytes\" = 20000\n",
        )
    }

    pub(crate) fn with(seed: u64, config: &str) -> Self {
        let broker = Broker::with(config);
        let mut connection = Connection::to(broker.address());
        let mut places = Vec::new();
        for (topic, partitions, settings) in TOPICS {
            raw::create(&mut connection, topic, partitions, settings);
            places.extend((0..partitions).map(|partition| (topic, partition)));
        }
        let cluster_id = broker.cluster_id.clone();
        let mut rig = Self {
            broker,
            seed,
            random: Random::new(seed, u64::MAX),
            round: 0,
            producers: vec![
                Producer::new(0, "small", 3, true, seed),
                Producer::new(1, "small", 3, false, seed),
                Producer::new(2, "large", 2, true, seed),
            ],
            producer_ids: HashSet::new(),
            consumer: Consumer { next: places.iter().map(|&place| (place, 0)).collect() },
            members: ["one", "two"].map(|group| Member::new(group, places.clone())).into(),
            known: places.into_iter().map(|place| (place, Partition::default())).collect(),
            checked_to: HashMap::new(),
            cluster_id,
            topic_ids: BTreeMap::new(),
        };
        rig.topic_ids = topic_ids(&mut connection);
        rig
    }

    /// Load, a sudden end, a new start, and the check.
    pub(crate) fn round(&mut self) {
        self.round += 1;
        let life = Duration::from_micros(self.random.below(250_000));
        let end = self.random.below(8);
        self.live(life, |broker| if end == 0 { broker.stop() } else { broker.kill() });
        if end == 1 {
            // The end may come in the middle of a recovery, too.
            self.broker.spawn("127.0.0.1:0");
            thread::sleep(Duration::from_micros(self.random.below(60_000)));
            self.broker.kill();
        }
        let began = Instant::now();
        self.broker.up();
        assert!(began.elapsed() < START_MAX, "{}: the start took {:?}", self.describe(), began.elapsed());
        self.check(self.round.is_multiple_of(FULL_CHECK_EVERY));
        if self.random.below(6) == 0 {
            self.replace_a_producer();
        }
    }

    /// A last stop in order, a start, and the check of everything: records, files.
    pub(crate) fn finish(mut self) {
        self.broker.restart();
        self.check(true);
        self.broker.stop();
        for &(topic, partition) in self.known.keys() {
            let dir = self.broker.data().join(format!("{topic}-{partition}"));
            crate::files::check(&dir).unwrap_or_else(|error| panic!("{}: {error}", self.describe()));
        }
        let records: usize = self.known.values().map(|partition| partition.acknowledged.len()).sum();
        let commits: i64 =
            self.members.iter().flat_map(|member| &member.commits).map(|(_, c)| c.acknowledged).sum();
        let joined: u32 = self.members.iter().map(|member| member.joined).sum();
        eprintln!(
            "{}: {records} records and {commits} commits were acknowledged; the members joined {joined} times",
            self.describe()
        );
        assert!(records > 0 && commits > 0, "nothing was tried");
    }

    /// Runs the load for a while, then ends the broker, then gathers what the clients know.
    pub(crate) fn live(&mut self, life: Duration, end: impl FnOnce(&mut Broker)) {
        let address = self.broker.address().to_owned();
        self.live_at(&address, life, end);
    }

    /// As [`Rig::live`], with the load on another address than the broker's own.
    pub(crate) fn live_at(&mut self, address: &str, life: Duration, end: impl FnOnce(&mut Broker)) {
        let name = format!("made-in-round-{}", self.round);
        let broker = &mut self.broker;
        let (produced, given) = thread::scope(|scope| {
            let producers: Vec<_> = self
                .producers
                .iter_mut()
                .map(|producer| scope.spawn(move || producer.run(address)))
                .collect();
            let consumer = scope.spawn(|| self.consumer.run(address));
            let members: Vec<_> =
                self.members.iter_mut().map(|member| scope.spawn(move || member.run(address))).collect();
            let mut connection = Connection::to(address);
            raw::create(&mut connection, &name, 1, &[]);
            self.topic_ids.extend(topic_ids(&mut connection));
            thread::sleep(life);
            end(broker);
            let produced: Vec<Produced> =
                producers.into_iter().map(|thread| thread.join().unwrap()).collect();
            members.into_iter().for_each(|thread| thread.join().unwrap());
            (produced, consumer.join().unwrap())
        });
        self.remember(produced, given);
    }

    fn remember(&mut self, produced: Vec<Produced>, given: Vec<(Place, i64, u64)>) {
        for producer in &self.producers {
            for (index, sending) in producer.partitions.iter().enumerate() {
                let known = self.known.get_mut(&producer.place(index)).expect("a known partition");
                known.sent.insert(producer.id, sending.sent);
            }
        }
        for produced in produced {
            for (place, offset, sent) in produced.acknowledged {
                let known = self.known.get_mut(&place).expect("a known partition");
                let before = known.acknowledged.insert(offset, sent);
                assert!(
                    before.is_none_or(|before| before == sent),
                    "{place:?}: {offset} was given to {before:?} and {sent:?}"
                );
            }
            for (place, sent) in produced.sent_again {
                self.known.get_mut(&place).expect("a known partition").maybe_twice.insert(sent);
            }
        }
        for (place, offset, value) in given {
            self.known.get_mut(&place).expect("a known partition").consumed.insert(offset, value);
        }
    }

    /// Another producer takes a producer's place. What the old one has under way stays unknown.
    fn replace_a_producer(&mut self) {
        let index = usize::try_from(self.random.below(self.producers.len() as u64)).expect("small");
        let old = &self.producers[index];
        if let Some((id, _)) = old.known_as {
            assert!(self.producer_ids.insert(id), "{}: producer id {id} was given twice", self.describe());
        }
        let id = 100 + u32::try_from(self.round).expect("few");
        self.producers[index] = Producer::new(id, old.topic, old.partitions.len(), old.idempotent, self.seed);
    }

    fn check(&mut self, full: bool) {
        let violations = self.violations(full);
        assert!(
            violations.is_empty(),
            "{}: {} violations, the first of them:\n{}",
            self.describe(),
            violations.len(),
            violations.iter().take(20).map(Violation::to_string).collect::<Vec<_>>().join("\n")
        );
        assert_eq!(self.broker.cluster_id, self.cluster_id, "{}", self.describe());
        let mut connection = Connection::to(self.broker.address());
        let topics = topic_ids(&mut connection);
        for (topic, id) in &self.topic_ids {
            assert_eq!(topics.get(topic), Some(id), "{}: topic {topic} is gone or another", self.describe());
        }
    }

    /// What the broker holds against what is known.
    pub(crate) fn violations(&mut self, full: bool) -> Vec<Violation> {
        let mut connection = Connection::to(self.broker.address());
        let mut violations = Vec::new();
        for (&place, known) in &self.known {
            let checked = self.checked_to.entry(place).or_default();
            let from = if full { 0 } else { (*checked - OVERLAP).max(0) };
            let log = raw::read_from(&mut connection, place.0, place.1, from);
            violations.extend(known.check(place, from, &log));
            *checked = log.last().map_or(from, |read| read.offset + 1);
        }
        for member in &self.members {
            for (place, commit, found) in member.committed(&mut connection) {
                violations.extend(commit.check(&member.group, place, found));
            }
        }
        violations
    }

    pub(crate) fn describe(&self) -> String {
        format!("CRASH_SEED={} round {}", self.seed, self.round)
    }
}

/// The topics that there are.
fn topic_ids(connection: &mut Connection) -> BTreeMap<String, uuid::Uuid> {
    let response =
        connection.call(12, &MetadataRequest::default().with_topics(None::<Vec<MetadataRequestTopic>>));
    let topics = response.topics.into_iter();
    topics.map(|topic| (topic.name.expect("a name").to_string(), topic.topic_id)).collect()
}
