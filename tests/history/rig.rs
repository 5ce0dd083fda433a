//! The rig: topics, the load on them, and the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::librdkafka;
use crate::load::{GROUPS, INPUT, Load, PARTITIONS};
use crate::record::{History, Outcome, Place, Reading};
use crate::rules::{Final, Groups, Violation, check};
use crate::support::raw::{self, Connection};
use crate::wire::Line;

/// Logs so small that every few restarts meet segments and snapshots of all ages.
pub(crate) const CONFIG: &str = "[durability]\nfsync = \"batch\"\n[kafka]\n\"offsets.topic.num.partitions\" = 3\n\
     \"offsets.topic.segment.bytes\" = 20000\n\"transaction.state.log.num.partitions\" = 3\n\
     \"transaction.state.log.segment.bytes\" = 20000\n";
/// How long clients may take to finish once nothing disturbs them any more.
const FINISH_MAX: Duration = Duration::from_secs(120);

/// How much longer than asked a run may take on a slow machine until enough was tried.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    All,
    /// Only clients that speak the protocol themselves, and no rivals.
    Raw,
}

pub(crate) fn topics() -> [&'static str; 3] {
    [INPUT, GROUPS[0].1, GROUPS[1].1]
}

fn places() -> Vec<Place> {
    topics().into_iter().flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition))).collect()
}

pub(crate) fn make_topics(address: &str) {
    let mut connection = Connection::to(address);
    for topic in topics() {
        // Their times lie long ago.
        let small = [("retention.ms", "-1"), ("segment.bytes", "1048576"), ("index.interval.bytes", "500")];
        raw::create(&mut connection, topic, PARTITIONS, &small);
    }
}

/// Runs the load until `faults` returns and everybody has finished.
pub(crate) fn run(address: &str, seed: u64, who: Who, faults: impl FnOnce(&History)) -> Arc<History> {
    let history = Arc::new(History::default());
    let load = Load {
        address: address.to_owned(),
        seed,
        history: Arc::clone(&history),
        writers_stop: AtomicBool::new(false),
        watchers_stop: AtomicBool::new(false),
    };
    let load = &load;
    let began = Instant::now();
    let healed = thread::scope(|scope| {
        // Whatever goes wrong here, the others end.
        let _stop = Stop(load);
        let mut clients: Vec<ScopedJoinHandle<'_, ()>> = vec![
            scope.spawn(|| load.write(0, true)),
            scope.spawn(|| load.write(1, false)),
            scope.spawn(|| load.copy(2, true, &[0, 2])),
            scope.spawn(|| load.copy(3, false, &[1])),
        ];
        if who == Who::All {
            clients.push(scope.spawn(|| load.rival(4, true)));
            clients.push(scope.spawn(|| load.rival(5, false)));
            clients.push(scope.spawn(|| load.write_with_librdkafka(6)));
            clients.push(scope.spawn(|| load.copy_with_librdkafka(7)));
        }
        for topic in topics() {
            scope.spawn(move || load.read(topic));
        }
        scope.spawn(|| load.watch(&places()));
        faults(&history);
        load.writers_stop.store(true, Ordering::Relaxed);
        let healed = Instant::now();
        for client in clients {
            assert!(client.join().is_ok(), "a client ended in a panic");
        }
        assert!(healed.elapsed() < FINISH_MAX, "clients took {:?} to finish", healed.elapsed());
        eprintln!("{:?} of load, {:?} until clients had finished", healed - began, healed.elapsed());
        healed
    });
    eprintln!("{:?} until readers had, too", healed.elapsed());
    history
}

/// Ends the load with it.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.writers_stop.store(true, Ordering::Relaxed);
        self.0.watchers_stop.store(true, Ordering::Relaxed);
    }
}

/// What the broker holds in the end.
pub(crate) fn last_look(address: &str) -> Final {
    let mut line = Line::to(address);
    let mut end = Final::default();
    for place in places() {
        let ends = line.ends(place);
        let mut reading = Reading::default();
        while reading.next < ends.stable {
            let before = reading.next;
            line.read_on(place, &mut reading, 0, || 0);
            assert!(reading.next > before, "nothing of {place:?} at {before}, below {}", ends.stable);
        }
        let records = reading.seen.into_iter().map(|seen| (seen.offset, seen.value)).collect();
        end.visible.insert(place, records);
        end.ends.push(ends);
    }
    end
}

pub(crate) fn violations(address: &str, history: &History) -> Vec<Violation> {
    check(history, &last_look(address), &Groups { input: INPUT, outputs: GROUPS.to_vec() })
}

/// Fails if a rule that counts is broken, or if nothing was tried.
pub(crate) fn judge(address: &str, history: &History, counts: impl Fn(&Violation) -> bool) {
    let [committed, aborted, unknown] = counts_of(history);
    let records: usize = history.readings.lock().iter().map(|(_, reading)| reading.seen.len()).sum();
    eprintln!("{committed} committed, {aborted} aborted, {unknown} unknown; {records} records read");
    let began = Instant::now();
    let end = last_look(address);
    let read = began.elapsed();
    let mut found = check(history, &end, &Groups { input: INPUT, outputs: GROUPS.to_vec() });
    eprintln!("{read:?} to read all back, {:?} to hold it against the rules", began.elapsed() - read);
    found.retain(counts);
    assert!(
        found.is_empty(),
        "{} violations, the first of them:\n{}",
        found.len(),
        found.iter().take(20).map(|found| format!("{found:?}\n")).collect::<String>()
    );
    let began = Instant::now();
    for topic in topics() {
        for (partition, records) in librdkafka::read_all(address, topic, PARTITIONS) {
            assert_eq!(
                records,
                end.visible[&(topic, partition)],
                "{topic}-{partition} as librdkafka reads it"
            );
        }
    }
    eprintln!("{:?} to read it with librdkafka", began.elapsed());
    assert!(is_enough(history), "little was tried");
}

/// Transactions that were committed, aborted, and of unknown outcome.
fn counts_of(history: &History) -> [usize; 3] {
    let transactions = history.transactions.lock();
    let count = |outcome| transactions.iter().filter(|txn| txn.outcome == outcome).count();
    [Outcome::Committed, Outcome::Aborted, Outcome::Unknown].map(count)
}

/// Whether enough was tried for a verdict to mean something.
pub(crate) fn is_enough(history: &History) -> bool {
    let [committed, aborted, _] = counts_of(history);
    committed > 50 && aborted > 5
}

/// Lets the load run for this long, and until enough was tried.
pub(crate) fn rest(history: &History, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time || !is_enough(history) {
        assert!(began.elapsed() < time + PATIENCE, "little comes of {time:?}: {:?}", counts_of(history));
        thread::sleep(Duration::from_millis(10));
    }
}
