//! Kills while everything changes at once: topics of tiny segments that are compacted, retained by size and by age, and
//! trimmed by DeleteRecords, with the cleaner at full rate, idempotent producers, a reader and commits. After each start
//! everything is read, and what is not there must have been allowed to go.
//!
//! `CRASH_ROUNDS=1000 cargo test --test crash churn -- --nocapture` runs as many rounds as asked; `CRASH_SEED` repeats a
//! run's choices (not its timing).

mod check;
mod reading;
mod topics;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use streamd::record::batch::BatchView;

use self::check::{Known, Wrong};
use self::reading::{Contents, Follower, Trimmer, read_whole};
use self::topics::{TOPICS, Topic, deletes, key};
use crate::history::{Place, Sent};
use crate::load::{Member, Produced, Producer};
use crate::random::Random;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const CONFIG: &str = "[durability]\nfsync = \"batch\"\n[kafka]\n\"log.cleaner.backoff.ms\" = 15\n\
                      \"log.cleaner.threads\" = 2\n\"log.retention.check.interval.ms\" = 200\n\
                      \"offsets.topic.num.partitions\" = 2\n\"offsets.topic.segment.bytes\" = 8000\n";
/// How long a start may take.
const START_MAX: Duration = Duration::from_secs(15);
/// A reading that looks wrong is repeated so often: while it went on the cleaner may have taken a deletion whose key's
/// older record had been read before. What is lost stays lost.
const READINGS_MAX: usize = 3;

struct Churn {
    broker: Broker,
    seed: u64,
    random: Random,
    round: u64,
    producers: Vec<Producer>,
    follower: Follower,
    trimmer: Trimmer,
    member: Member,
    known: BTreeMap<Place, Known>,
    did: Did,
}

/// What the broker did, so that a run which tried nothing is none.
#[derive(Debug, Default)]
struct Did {
    acknowledged: u64,
    compacted: usize,
    removed: usize,
    trimmed_to: i64,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let broker = Broker::with(CONFIG);
        let mut connection = Connection::to(broker.address());
        let mut places: Vec<Place> = Vec::new();
        for topic in &TOPICS {
            raw::create(&mut connection, topic.name, topic.partitions, topic.settings);
            places.extend((0..topic.partitions).map(|partition| (topic.name, partition)));
        }
        let producer = |(id, topic): (u32, &Topic)| {
            let partitions = usize::try_from(topic.partitions).expect("few");
            let mut producer = Producer::new(id, topic.name, partitions, true, seed);
            producer.build = topic.build();
            producer
        };
        // Two of them write to the first topic.
        let producers = (0..).zip(TOPICS.iter().chain(&TOPICS[..1])).map(producer).collect();
        Self {
            broker,
            seed,
            random: Random::new(seed, u64::MAX),
            round: 0,
            producers,
            follower: Follower { next: places.iter().map(|&place| (place, 0)).collect(), overtaken: 0 },
            trimmer: Trimmer { place: ("trimmed", 0), random: Random::new(seed, 77), answered: 0, asked: 0 },
            member: Member::new("group", places.clone()),
            known: places.into_iter().map(|place| (place, Known::default())).collect(),
            did: Did::default(),
        }
    }

    /// Load, a sudden end, a new start, and the check.
    fn round(&mut self) {
        self.round += 1;
        // Longer than the pause between two checkpoints, mostly: what lies behind one is not compacted.
        let life = Duration::from_micros(20_000 + self.random.below(700_000));
        let end = self.random.below(10);
        self.live(life, |broker| if end == 0 { broker.stop() } else { broker.kill() });
        self.count();
        if end == 1 {
            // The end may come in the middle of a recovery, too.
            self.broker.spawn("127.0.0.1:0");
            thread::sleep(Duration::from_micros(self.random.below(60_000)));
            self.broker.kill();
        }
        let began = Instant::now();
        self.broker.up();
        assert!(began.elapsed() < START_MAX, "{}: the start took {:?}", self.describe(), began.elapsed());
        let wrong = self.check();
        assert!(
            wrong.is_empty(),
            "{}: {} things are wrong: {:#?}",
            self.describe(),
            wrong.len(),
            &wrong[..wrong.len().min(20)]
        );
    }

    /// Takes note of what the broker's log tells, and lets it begin a new one.
    fn count(&mut self) {
        let log = self.broker.log();
        self.did.compacted += log.matches("\"compacted\"").count();
        self.did.removed += log.matches("old records removed").count();
        let panic = log.lines().find(|line| line.contains("panicked") || line.contains("\"ERROR\""));
        assert_eq!(panic, None, "{}", self.describe());
        fs::write(self.broker.path("log"), "").expect("the log can be cut");
    }

    fn live(&mut self, life: Duration, end: impl FnOnce(&mut Broker)) {
        let address = self.broker.address().to_owned();
        let address = &*address;
        for producer in &self.producers {
            for (index, sending) in producer.partitions.iter().enumerate() {
                let known = self.known.get_mut(&producer.place(index)).expect("a known partition");
                known.begin(producer.id, sending.sent);
            }
        }
        let (broker, follower, trimmer) = (&mut self.broker, &mut self.follower, &mut self.trimmer);
        let (member, producers) = (&mut self.member, &mut self.producers);
        let (produced, given) = thread::scope(|scope| {
            let producing: Vec<_> =
                producers.iter_mut().map(|producer| scope.spawn(move || producer.run(address))).collect();
            let following = scope.spawn(|| follower.run(address));
            let others = [scope.spawn(|| trimmer.run(address)), scope.spawn(|| member.run(address))];
            thread::sleep(life);
            end(broker);
            let produced: Vec<Produced> =
                producing.into_iter().map(|thread| thread.join().unwrap()).collect();
            others.into_iter().for_each(|thread| thread.join().unwrap());
            (produced, following.join().unwrap())
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
        for (place, offset, sent) in produced.into_iter().flat_map(|produced| produced.acknowledged) {
            self.did.acknowledged += 1;
            let known = self.known.get_mut(&place).expect("a known partition");
            assert!(known.acknowledge(offset, sent), "{place:?}: {offset} was given twice");
        }
        for (place, offset, print) in given {
            let before = self.known.get_mut(&place).expect("a known partition").given.insert(offset, print);
            assert!(before.is_none_or(|before| before == print), "{place:?}: {offset} was another record");
        }
        let trimmed = self.known.get_mut(&self.trimmer.place).expect("a known partition");
        trimmed.trimmed = (self.trimmer.asked, self.trimmer.answered);
        self.did.trimmed_to = self.trimmer.answered;
    }

    /// What the broker holds against what is known.
    fn check(&mut self) -> Vec<(Place, Wrong)> {
        let mut connection = Connection::to(self.broker.address());
        let mut all = Vec::new();
        for (&place, known) in &mut self.known {
            let topic = Topic::by_name(place.0);
            let mut read = || -> (Contents, Vec<Wrong>) {
                let log = read_whole(&mut connection, place);
                let wrong = known.check(topic, &log);
                (log, wrong)
            };
            let readings = std::iter::repeat_with(&mut read).take(READINGS_MAX);
            let mut last = None;
            for reading in readings {
                let is_sound = reading.1.is_empty();
                last = Some(reading);
                if is_sound {
                    break;
                }
            }
            let (log, wrong) = last.expect("it was read");
            known.forget_what_is_gone(&log);
            all.extend(wrong.into_iter().map(|wrong| (place, wrong)));
        }
        for (place, commit, found) in self.member.committed(&mut connection) {
            let violation = commit.check(&self.member.group, place, found);
            assert_eq!(violation, None, "{}", self.describe());
        }
        all
    }

    /// A last stop in order and a start; says what was done, which must be something of everything.
    fn finish(mut self) {
        self.broker.restart();
        let wrong = self.check();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", self.describe());
        self.broker.stop();
        self.count();
        eprintln!(
            "{}: {:?}, and the reader was overtaken {} times",
            self.describe(),
            self.did,
            self.follower.overtaken
        );
        let Did { acknowledged, compacted, removed, trimmed_to } = self.did;
        assert!(acknowledged > 0 && compacted > 0 && removed > 0 && trimmed_to > 0, "nothing was tried");
    }

    fn describe(&self) -> String {
        format!("CRASH_SEED={} round {}", self.seed, self.round)
    }
}

#[test]
fn kills_amid_compaction_retention_and_rolls_lose_nothing_that_was_to_stay() {
    let (seed, rounds) = crate::asked(12);
    let began = Instant::now();
    let mut churn = Churn::new(seed);
    for _ in 0..rounds {
        churn.round();
        if churn.round.is_multiple_of(50) {
            eprintln!("{} after {:?}: {:?}", churn.describe(), began.elapsed(), churn.did);
        }
    }
    churn.finish();
    eprintln!("{rounds} rounds took {:?}", began.elapsed());
}

/// Negative control: a compaction that had dropped the last value of a key, and left no trace of it.
#[test]
fn a_last_value_that_is_gone_from_a_compacted_log_is_noticed() {
    let mut churn = Churn::new(7);
    // Sealed segments may all be old news at the moment of a stop.
    let lost = (0..10).find_map(|_| {
        churn.live(Duration::from_millis(1500), Broker::stop);
        let lost = lose_a_last_value(&churn);
        churn.broker.up();
        lost
    });
    let lost = lost.expect("no sealed segment holds a last value");
    let wrong = churn.check();
    let is_it = |(place, wrong): &(Place, Wrong)| {
        *place == ("latest", 0)
            && matches!(wrong, Wrong::LostKey { sent } | Wrong::Returned { sent, .. } if *sent == lost)
    };
    assert!(wrong.iter().any(is_it), "{lost:?} is missing, and what was found wrong is {wrong:?}");
}

/// Takes the last value of a key out of a log of the stopped broker, as a compaction would take an older one out.
/// `None` if none of its sealed segments holds one.
fn lose_a_last_value(churn: &Churn) -> Option<Sent> {
    let dir = churn.broker.data().join("latest-0");
    let mut logs: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let _active = logs.pop();
    let known = &churn.known[&("latest", 0)];
    for path in logs.iter().rev() {
        let bytes = fs::read(path).unwrap();
        let mut at = 0;
        while let Ok(view) = BatchView::parse(&bytes[at..]) {
            let len = view.bytes().len();
            let is_last = at + len == bytes.len();
            if !is_last && let Some(lost) = a_last_value(&view, known) {
                let left = [&bytes[..at], &bytes[at + len..]].concat();
                fs::write(path, left).unwrap();
                // Everything is read anew, so that nothing but the record is missing.
                fs::remove_file(churn.broker.data().join("streamd.manifest")).unwrap();
                ["index", "timeindex"].iter().for_each(|kind| {
                    let _ = fs::remove_file(path.with_extension(kind));
                });
                return Some(lost);
            }
            at += len;
        }
    }
    None
}

/// A record of the batch that is the last that was sent of its key, and has a value.
fn a_last_value(view: &BatchView<'_>, known: &Known) -> Option<Sent> {
    let is_last = |sent: &Sent| {
        let count = known.sent.get(&sent.producer).copied().unwrap_or(0);
        let mut later = (sent.seq + 1..count).map(|seq| Sent { seq, ..*sent });
        !deletes(*sent) && later.all(|later| key(later) != key(*sent))
    };
    let acknowledged = |offset| known.acknowledged.get(&offset).copied();
    let header = view.header();
    (header.base_offset..header.next_offset()).filter_map(acknowledged).find(is_last)
}
