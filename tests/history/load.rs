//! The load: writers, workers that copy one topic to another, rivals for one transactional id, readers, and one who asks
//! for ends and offsets; all of them until they are told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::error::KafkaError;

use crate::client::{Client, Plan};
use crate::librdkafka;
use crate::random::Random;
use crate::record::{History, Outcome, Place, Reading, Told};
use crate::wire::Line;

/// Where writers write, and workers read.
pub(crate) const INPUT: &str = "in";
/// Groups of workers and where they write.
pub(crate) const GROUPS: [(&str, &str); 2] = [("raw", "out"), ("librdkafka", "other")];
pub(crate) const PARTITIONS: i32 = 3;
const RECORDS_MAX: u64 = 6;
const PAUSE: Duration = Duration::from_millis(2);
/// Records that librdkafka copies in a transaction, if it keeps up with the writers, and at most.
const COPIED_FEW: usize = 10;
const COPIED_MAX: usize = 300;

/// What all of them share.
pub(crate) struct Load {
    pub(crate) address: String,
    pub(crate) seed: u64,
    pub(crate) history: Arc<History>,
    /// Writers stop; workers when they have copied all.
    pub(crate) writers_stop: AtomicBool,
    /// Whoever only looks stops.
    pub(crate) watchers_stop: AtomicBool,
}

impl Load {
    fn writing(&self) -> bool {
        !self.writers_stop.load(Ordering::Relaxed)
    }

    fn watching(&self) -> bool {
        !self.watchers_stop.load(Ordering::Relaxed)
    }

    /// A writer that speaks the protocol itself. Some of its transactions it aborts.
    pub(crate) fn write(&self, id: u32, newer: bool) {
        let mut client = Client::new(&self.address, &self.history, id, newer);
        let mut random = Random::new(self.seed, u64::from(id));
        while self.writing() {
            let plan = Plan { writes: writes(&mut random), offsets: None, commit: random.below(5) > 0 };
            client.transact(&plan);
        }
        client.finish();
    }

    /// One of two that have the same transactional id. Each takes it from the other now and then.
    pub(crate) fn rival(&self, id: u32, newer: bool) {
        let mut client = Client::rival(&self.address, &self.history, id, newer);
        let mut random = Random::new(self.seed, u64::from(id));
        while self.writing() {
            client.init();
            for _ in 0..random.below(4) {
                let plan = Plan { writes: writes(&mut random), offsets: None, commit: true };
                client.transact(&plan);
            }
            thread::sleep(Duration::from_millis(random.below(20)));
        }
        client.finish();
    }

    /// A worker that speaks the protocol itself: copies some partitions, offsets and all.
    pub(crate) fn copy(&self, id: u32, newer: bool, partitions: &[i32]) {
        let (group, output) = GROUPS[0];
        let mut client = Client::new(&self.address, &self.history, id, newer);
        let mut line = Line::to(&self.address);
        let mut random = Random::new(self.seed, u64::from(id));
        loop {
            let last_look = !self.writing();
            let mut idle = true;
            for &partition in partitions {
                let committed = line.offsets(group, INPUT, PARTITIONS, true)[&partition];
                let mut reading = Reading { next: committed.max(0), ..Reading::default() };
                line.read_on((INPUT, partition), &mut reading, 5, || 0);
                let Some(last) = reading.seen.last() else { continue };
                idle = false;
                let writes =
                    reading.seen.iter().map(|seen| ((output, partition), Some((partition, seen.offset))));
                let plan = Plan {
                    writes: writes.collect(),
                    offsets: Some((group, INPUT, [(partition, last.offset + 1)].into())),
                    commit: random.below(5) > 0,
                };
                client.transact(&plan);
            }
            if idle && last_look {
                client.finish();
                return;
            }
        }
    }

    /// librdkafka as a writer.
    pub(crate) fn write_with_librdkafka(&self, id: u32) {
        let mut client = librdkafka::Client::new(&self.address, &self.history, id);
        let mut random = Random::new(self.seed, u64::from(id));
        while self.writing() {
            let commit = random.below(5) > 0;
            client.transact(&writes(&mut random), None, commit);
        }
    }

    /// librdkafka as a worker, with a consumer and a producer.
    pub(crate) fn copy_with_librdkafka(&self, id: u32) {
        let (group, output) = GROUPS[1];
        let mut client = librdkafka::Client::new(&self.address, &self.history, id);
        let consumer = librdkafka::consumer(&self.address, group);
        let mut line = Line::to(&self.address);
        let mut random = Random::new(self.seed, u64::from(id));
        let mut next = line.offsets(group, INPUT, PARTITIONS, true);
        librdkafka::assign(&consumer, INPUT, &next);
        loop {
            let last_look = !self.writing();
            let (mut writes, mut quiet) = (Vec::new(), 0);
            while writes.len() < COPIED_MAX && quiet < 2 {
                // More than a few only if they are there: whoever falls behind catches up with larger transactions.
                let wait = if writes.len() < COPIED_FEW { Duration::from_millis(20) } else { Duration::ZERO };
                match consumer.poll(wait) {
                    Some(Ok(message)) => {
                        let from = (message.partition(), message.offset());
                        writes.push(((output, from.0), Some(from)));
                        next.insert(from.0, from.1 + 1);
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) | None => quiet += 1,
                    Some(Err(_)) => thread::sleep(PAUSE),
                }
            }
            if !writes.is_empty() {
                let copied: BTreeMap<i32, i64> = writes
                    .iter()
                    .filter_map(|(_, from)| from.map(|(partition, _)| (partition, next[&partition])))
                    .collect();
                let commit = random.below(5) > 0;
                let outcome = client.transact(&writes, Some((group, &consumer, INPUT, copied)), commit);
                if outcome == Outcome::Committed {
                    continue;
                }
            } else if last_look && self.copied(&mut line, group) {
                return;
            } else if !last_look {
                continue;
            }
            next = line.offsets(group, INPUT, PARTITIONS, true);
            librdkafka::assign(&consumer, INPUT, &next);
        }
    }

    /// Whether a group has nothing left to copy.
    fn copied(&self, line: &mut Line, group: &str) -> bool {
        let committed = line.offsets(group, INPUT, PARTITIONS, true);
        committed.into_iter().all(|(partition, offset)| {
            let mut reading = Reading { next: offset.max(0), ..Reading::default() };
            let end = line.ends((INPUT, partition)).stable;
            while reading.seen.is_empty() && reading.next < end {
                line.read_on((INPUT, partition), &mut reading, 0, || 0);
            }
            reading.seen.is_empty()
        })
    }

    /// Reads a topic from its start on, as it grows.
    pub(crate) fn read(&self, topic: &'static str) {
        let mut line = Line::to(&self.address);
        let mut readings: Vec<(Place, Reading)> =
            (0..PARTITIONS).map(|partition| ((topic, partition), Reading::default())).collect();
        loop {
            let last_look = !self.watching();
            for (place, reading) in &mut readings {
                loop {
                    let before = reading.next;
                    line.read_on(*place, reading, 5, || self.history.tick());
                    if !last_look || reading.next == before {
                        break;
                    }
                }
            }
            if last_look {
                self.history.readings.lock().extend(readings);
                return;
            }
        }
    }

    /// Asks for the ends of all partitions and the offsets of all groups, again and again.
    pub(crate) fn watch(&self, places: &[Place]) {
        let mut line = Line::to(&self.address);
        loop {
            let last_look = !self.watching();
            for place in places {
                let ends = line.ends(*place);
                self.history.ends.lock().push(ends);
            }
            for (group, _) in GROUPS {
                let asked = self.history.tick();
                let offsets = line.offsets(group, INPUT, PARTITIONS, last_look);
                let at = self.history.tick();
                let told = |(partition, offset)| Told { group, partition, offset, asked, at };
                self.history.told.lock().extend(offsets.into_iter().map(told));
            }
            if last_look {
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// A few records, some of them to the same partition.
fn writes(random: &mut Random) -> Vec<(Place, Option<(i32, i64)>)> {
    let partitions = u64::try_from(PARTITIONS).expect("few");
    let count = 1 + random.below(RECORDS_MAX);
    let place = |_| (INPUT, i32::try_from(random.below(partitions)).expect("few"));
    (0..count).map(place).map(|place| (place, None)).collect()
}
