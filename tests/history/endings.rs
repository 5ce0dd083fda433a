//! Crash images of a transaction's end: the logs of the coordinator, the partitions and the groups as a crash at each step
//! leaves them, put together from one run of a real broker. A start on any of them carries the end out: nothing hangs,
//! nothing is half visible, and the client that heard nothing asks again and goes on.

use std::time::{Duration, Instant};
use std::{iter, thread};

use crate::client::{Client, Plan};
use crate::image::{Files, batches, load, put};
use crate::record::{History, Outcome, Place, Reading};
use crate::support::Broker;
use crate::support::raw::{self, Connection};
use crate::wire::Line;

const CONFIG: &str = "[durability]\nfsync = \"batch\"\n[kafka]\n\"offsets.topic.num.partitions\" = 1\n\
     \"transaction.state.log.num.partitions\" = 1\n";
const PLACES: [Place; 2] = [("t", 0), ("t", 1)];
const COORDINATOR: &str = "__transaction_state-0/00000000000000000000.log";
/// Where markers go: the partitions, and the groups.
const MARKED: [&str; 3] = [
    "t-0/00000000000000000000.log",
    "t-1/00000000000000000000.log",
    "__consumer_offsets-0/00000000000000000000.log",
];
/// How long a broker may take to carry an end out by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has got into the logs of a transaction's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    is_prepared: bool,
    marked: [bool; 3],
    is_complete: bool,
}

/// All that a crash can leave: no marker comes before the outcome is decided, and nothing is complete without all.
fn steps() -> impl Iterator<Item = Step> {
    let none = Step { is_prepared: false, marked: [false; 3], is_complete: false };
    let some = (0..8).map(|bits| Step {
        is_prepared: true,
        marked: [0, 1, 2].map(|nth| bits >> nth & 1 == 1),
        is_complete: false,
    });
    let all = Step { is_prepared: true, marked: [true; 3], is_complete: true };
    iter::once(none).chain(some).chain([all])
}

/// What the images are made of.
struct Parts {
    broker: Broker,
    address: String,
    /// With the transaction open.
    before: Files,
    /// With its end in all logs.
    after: Files,
    /// The client, before it asks for the end.
    client: Client,
    commit: bool,
}

/// A transaction that writes a record to each partition, and copies offsets.
fn plan(offset: i64, commit: bool) -> Plan {
    Plan {
        writes: PLACES.iter().map(|place| (*place, None)).collect(),
        offsets: Some(("g", "t", [(0, offset)].into())),
        commit,
    }
}

impl Parts {
    /// One transaction is committed, and then one is ended by a client of the newer or the older protocol.
    fn gather(newer: bool, commit: bool) -> Self {
        let mut broker = Broker::with(CONFIG);
        let address = broker.address().to_owned();
        // Its records' times lie long ago, and their markers are to lie beside them.
        let settings = [("retention.ms", "-1"), ("segment.ms", "1000000000000")];
        raw::create(&mut Connection::to(&address), "t", 2, &settings);
        let mut client = Client::new(&address, &History::default().into(), 0, newer);
        assert_eq!(client.transact(&plan(1, true)), Outcome::Committed);
        client.begin(&plan(2, commit));
        // As it would be if it were killed here.
        broker.freeze();
        let before = load(&broker.data());
        broker.signal("CONT");
        client.again().end(commit).expect("it is ended");
        broker.kill();
        let after = load(&broker.data());
        for (log, steps) in iter::once((COORDINATOR, 2)).chain(MARKED.map(|log| (log, 1))) {
            let count = |files: &Files| batches(&files[log]).len();
            assert_eq!(count(&after) - count(&before), steps, "{log}");
        }
        Self { broker, address, before, after, client, commit }
    }

    fn image(&self, step: Step) -> Files {
        let mut image = self.before.clone();
        let coordinator = usize::from(step.is_prepared) + usize::from(step.is_complete);
        let marked = MARKED.iter().zip(step.marked.map(usize::from));
        for (log, more) in iter::once((&COORDINATOR, coordinator)).chain(marked) {
            let known = batches(&self.before[*log]).len();
            let bytes = batches(&self.after[*log])[..known + more].concat();
            image.insert((*log).to_owned(), bytes);
        }
        image
    }

    /// Starts the broker over an image and says what is not as it has to be. `alone` waits for the broker to carry the
    /// end out before the client asks for it.
    fn faults(&mut self, step: Step, alone: bool) -> Vec<String> {
        put(&self.image(step), &self.broker.data());
        self.broker.up_at(&self.address);
        let mut line = Line::to(&self.address);
        let ended = if self.commit { (2, 2) } else { (1, 1) };
        let mut faults = Vec::new();
        let mut expect = |what: &str, found: Vec<String>| {
            faults.extend(found.into_iter().map(|fault| format!("{what}: {fault}")));
        };
        if !step.is_prepared {
            expect("open", open(&mut line));
        } else if alone {
            let began = Instant::now();
            let mut found = differences(&mut line, ended);
            while !found.is_empty() && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(2));
                found = differences(&mut line, ended);
            }
            expect("after the start", found);
        }
        let mut client = self.client.again();
        if let Err(refused) = client.end(self.commit) {
            expect("the end, asked for again", vec![format!("{refused:?}")]);
        }
        expect("after the client's retry", differences(&mut line, ended));
        if faults.is_empty() {
            let outcome = client.transact(&plan(9, true));
            let next = (ended.0 + 1, 9);
            let mut found = differences(&mut line, next);
            found.extend((outcome != Outcome::Committed).then(|| format!("{outcome:?}")));
            self.broker.kill();
            self.broker.up_at(&self.address);
            found.extend(differences(&mut line, next));
            faults.extend(found.into_iter().map(|fault| format!("the next transaction: {fault}")));
        }
        self.broker.kill();
        faults
    }
}

/// What is not as it is with a transaction open behind the first one.
fn open(line: &mut Line) -> Vec<String> {
    let mut found = Vec::new();
    for place in PLACES {
        let (ends, count) = (line.ends(place), count(line, place));
        if ends.stable >= ends.high || count != 1 {
            found.push(format!("{place:?} shows {count} records up to {} of {}", ends.stable, ends.high));
        }
    }
    found
}

/// What is not as it is with nothing open, this many records in each partition, and this offset.
fn differences(line: &mut Line, (records, offset): (usize, i64)) -> Vec<String> {
    let mut found = Vec::new();
    for place in PLACES {
        let (ends, count) = (line.ends(place), count(line, place));
        if ends.stable != ends.high || count != records {
            found.push(format!("{place:?} shows {count} records up to {} of {}", ends.stable, ends.high));
        }
    }
    // Also what is pending is not as it has to be; who asks for stable offsets only would wait for it.
    let told = line.offsets("g", "t", 1, false)[&0];
    if told != offset {
        found.push(format!("the offset is {told}"));
    }
    found
}

/// How many records readers of committed records see.
fn count(line: &mut Line, place: Place) -> usize {
    let mut reading = Reading::default();
    let end = line.ends(place).stable;
    while reading.next < end {
        let before = reading.next;
        line.read_on(place, &mut reading, 0, || 0);
        assert!(reading.next > before, "nothing of {place:?} at {before}, below {end}");
    }
    reading.seen.len()
}

fn all_steps_are_safe(newer: bool, commit: bool) {
    let mut parts = Parts::gather(newer, commit);
    for step in steps() {
        assert_eq!(parts.faults(step, true), [""; 0], "{step:?}");
    }
    // Negative controls: who completes before all markers are written leaves a transaction open, or offsets pending.
    for missing in 0..2 {
        let mut step = Step { is_prepared: true, marked: [true; 3], is_complete: true };
        step.marked[missing] = false;
        assert_ne!(parts.faults(step, false), [""; 0], "{step:?}");
    }
}

#[test]
fn s58_a_crash_at_any_step_of_a_commit_leaves_it_whole() {
    all_steps_are_safe(true, true);
}

#[test]
fn s58_a_crash_at_any_step_of_an_abort_leaves_it_whole() {
    all_steps_are_safe(true, false);
}

#[test]
fn s58_a_crash_at_any_step_of_an_older_clients_commit_leaves_it_whole() {
    all_steps_are_safe(false, true);
}

#[test]
fn s58_a_crash_at_any_step_of_an_older_clients_abort_leaves_it_whole() {
    all_steps_are_safe(false, false);
}
