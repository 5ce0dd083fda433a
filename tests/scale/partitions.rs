//! Tens of thousands of partitions: made, stopped and killed with, written to and read from.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Broker;
use crate::support::raw::{self, Connection};
use crate::{broker, broker_with_files, size, timed};

/// How many there are.
const PARTITIONS: usize = 2000;
/// Partitions of all topics but the first, which has half of all or as many as one can be made with.
const PER_TOPIC: usize = 500;
/// The most partitions that one request may make.
const WIDE_MAX: usize = 10_000;
/// Partitions that one request names: what a client's batch for a broker holds.
const AT_ONCE: usize = 100;
const CONNECTIONS: usize = 4;
/// Files for a broker that has too few for what is asked of it.
const FEW_FILES: usize = 256;
/// Descriptors beside those of segments and connections.
const OTHER_FILES_MAX: usize = 64;

/// Topics, and how many partitions each has.
fn topics(partitions: usize) -> Vec<(String, usize)> {
    let wide = (partitions / 2).min(WIDE_MAX);
    let mut all = vec![("wide".to_owned(), wide)];
    let mut left = partitions - wide;
    while left > 0 {
        let next = left.min(PER_TOPIC);
        all.push((format!("topic-{:03}", all.len()), next));
        left -= next;
    }
    all
}

/// Stretches of partitions that one request names.
fn stretches(topics: &[(String, usize)]) -> Vec<(&str, Vec<i32>)> {
    let of = |(name, count): &'_ (String, usize)| -> Vec<Vec<i32>> {
        let all: Vec<i32> = (0..i32::try_from(*count).unwrap()).collect();
        assert!(!name.is_empty());
        all.chunks(AT_ONCE).map(<[i32]>::to_vec).collect()
    };
    topics.iter().flat_map(|topic| of(topic).into_iter().map(|chunk| (&*topic.0, chunk))).collect()
}

/// Does `work` with each stretch, over a few connections at once.
fn over_all(address: &str, topics: &[(String, usize)], work: impl Fn(&mut Connection, &str, &[i32]) + Sync) {
    let all = stretches(topics);
    thread::scope(|scope| {
        for nth in 0..CONNECTIONS {
            let (all, work) = (&all, &work);
            scope.spawn(move || {
                let mut connection = Connection::to(address);
                connection.patience(Duration::from_secs(120));
                for (topic, partitions) in all.iter().skip(nth).step_by(CONNECTIONS) {
                    work(&mut connection, topic, partitions);
                }
            });
        }
    });
}

fn produce_round(broker: &Broker, topics: &[(String, usize)], round: i64) {
    over_all(broker.address(), topics, |connection, topic, partitions| {
        let batch =
            |partition: &i32| (*partition, raw::batch(&[format!("{topic}-{partition}-{round}").as_bytes()]));
        let answer = connection.call(9, &raw::produce_to(topic, partitions.iter().map(batch), -1));
        for partition in &answer.responses[0].partition_responses {
            assert_eq!(
                (partition.error_code, partition.base_offset),
                (0, round),
                "{topic}-{}",
                partition.index
            );
        }
    });
}

/// Reads every record of these rounds in every partition.
fn read_rounds(broker: &Broker, topics: &[(String, usize)], rounds: i64) {
    over_all(broker.address(), topics, |connection, topic, partitions| {
        let mut next: Vec<(i32, i64)> = partitions.iter().map(|partition| (*partition, 0)).collect();
        let began = Instant::now();
        while !next.is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60), "{topic}: not all is there: {next:?}");
            let answer = connection.call(11, &raw::fetch_from(topic, next.iter().copied()));
            let parts = answer.responses[0].partitions.iter();
            for (place, part) in next.iter_mut().zip(parts) {
                assert_eq!((part.partition_index, part.error_code), (place.0, 0), "{topic}");
                for read in raw::records(&part.records.clone().unwrap_or_default(), place.1) {
                    let value = format!("{topic}-{}-{}", place.0, place.1);
                    assert_eq!((read.offset, read.value), (place.1, value.into_bytes()));
                    place.1 += 1;
                }
            }
            next.retain(|place| place.1 < rounds);
        }
    });
}

fn first_ack(broker: &Broker, topics: &[(String, usize)], offset: i64) {
    let (topic, count) = topics.last().unwrap();
    let partition = i32::try_from(*count).unwrap() - 1;
    let mut connection = Connection::to(broker.address());
    let batch = raw::batch(&[format!("{topic}-{partition}-{offset}").as_bytes()]);
    let produced = raw::produced(&connection.call(9, &raw::produce(topic, partition, -1, batch)));
    assert_eq!(produced, (0, offset));
}

fn say_size(broker: &Broker, limit: usize) {
    let files = fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("its descriptors").count();
    eprintln!("    {:.0} MiB resident, {files} descriptors", broker.resident() as f64 / f64::from(1 << 20));
    let files_max = limit / 2 + OTHER_FILES_MAX;
    assert!(files <= files_max, "{files} descriptors of {limit}");
}

/// What the file system takes for the same: a directory, three small files in it, and one sync for all.
fn ceiling(dir: &Path, partitions: usize) {
    fs::create_dir_all(dir).unwrap();
    for partition in 0..partitions {
        let dir = dir.join(format!("ceiling-{partition}"));
        fs::create_dir(&dir).unwrap();
        for name in ["partition.metadata", "00000000000000000000.log", "leader-epoch-checkpoint"] {
            File::create(dir.join(name)).unwrap().write_all(&[1; 80]).unwrap();
        }
    }
    rustix::fs::syncfs(File::open(dir).unwrap()).unwrap();
}

/// The files that a process may have open here, if it asks for all.
fn files_max() -> usize {
    rlimit::Resource::NOFILE.get_hard().unwrap().try_into().unwrap()
}

/// `limit` is how many files the broker may have open.
fn many_partitions(mut broker: Broker, partitions: usize, limit: usize) {
    let topics = topics(partitions);
    eprintln!("\n{partitions} partitions, {limit} files");
    timed("create", || {
        let mut connection = Connection::to(broker.address());
        topics.iter().for_each(|(name, count)| {
            raw::create(&mut connection, name, i32::try_from(*count).unwrap(), &[("retention.ms", "-1")])
        });
    });
    say_size(&broker, limit);
    timed("stop", || broker.stop());
    timed("start to first ack", || {
        broker.up();
        first_ack(&broker, &topics[1..2], 0);
    });
    // The one that has its first record goes its own way.
    let last = topics[1].clone();
    let rest: Vec<_> = topics.iter().filter(|topic| **topic != last).cloned().collect();
    timed("a first batch to each", || produce_round(&broker, &rest, 0));
    say_size(&broker, limit);
    if partitions > PARTITIONS {
        timed("    the same files without a broker", || ceiling(&broker.path("ceiling"), partitions));
        fs::remove_dir_all(broker.path("ceiling")).unwrap();
    }
    timed("a second batch to each", || produce_round(&broker, &rest, 1));
    timed("read all", || read_rounds(&broker, &rest, 2));
    say_size(&broker, limit);
    broker.kill();
    timed("start after kill -9 to first ack", || {
        broker.up();
        first_ack(&broker, &topics[1..2], 1);
    });
    timed("    to all of them recovered", || {
        let began = Instant::now();
        while !broker.log().contains("recovered after an unclean stop") {
            assert!(began.elapsed() < Duration::from_secs(300), "nothing is said of the recovery");
            thread::sleep(Duration::from_millis(20));
        }
    });
    timed("read all", || read_rounds(&broker, &rest, 2));
    say_size(&broker, limit);
    timed("stop with all open", || broker.stop());
    timed("start after a stop to first ack", || {
        broker.up();
        first_ack(&broker, &topics[1..2], 2);
    });
    timed("read all, opened one by one", || read_rounds(&broker, &rest, 2));
    say_size(&broker, limit);
    for bad in ["\"ERROR\"", "takes no more"] {
        assert!(!broker.log().contains(bad), "{}", broker.log());
    }
}

#[test]
fn many_partitions_keep_what_is_acknowledged_when_acks_wait_for_the_disk() {
    let broker = broker("[durability]\nfsync = \"batch\"\n");
    many_partitions(broker, size("SCALE_PARTITIONS", PARTITIONS), files_max());
}

#[test]
fn many_partitions_keep_what_is_acknowledged_when_acks_do_not_wait() {
    let broker = broker("[durability]\nfsync = \"interval(1s)\"\n");
    many_partitions(broker, size("SCALE_PARTITIONS", PARTITIONS), files_max());
}

/// One answer alone would hold more files open than there may be.
#[test]
fn with_few_descriptors_clients_wait_and_nothing_fails() {
    let broker = broker_with_files("[durability]\nfsync = \"batch\"\n", FEW_FILES);
    many_partitions(broker, PARTITIONS, FEW_FILES);
}
