//! More partitions and connections than the process may have files open: everything goes on, some of it slower, and
//! nothing is out of service afterwards.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::clients::{consumer, create};
use crate::scene::*;
use crate::support::raw::{self, Connection, Read};
use crate::support::{Broker, streamd};

/// Files that the broker may have open.
const LIMIT: usize = 256;
const PARTITIONS: i32 = 2000;
const CONNECTIONS: i32 = 60;
/// Partitions that one request names.
const AT_ONCE: i32 = 50;

fn limited(config: &str) -> Broker {
    let script = format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"");
    let launcher = ["/bin/sh".to_owned(), "-c".to_owned(), script];
    Broker::over(TempDir::new().expect("a temp dir"), config, &launcher)
}

/// Appends one record to each of these partitions in one request, again for those that are refused.
fn produce_to(connection: &mut Connection, partitions: &[i32], round: usize, acks: i16) {
    let mut left = partitions.to_vec();
    let began = Instant::now();
    while !left.is_empty() {
        assert!(began.elapsed() < 2 * PATIENCE, "refused for good: {left:?}");
        let batch = |partition: &i32| (*partition, raw::batch(&[format!("{partition}/{round}").as_bytes()]));
        let answer = connection.call(9, &raw::produce_to("t", left.iter().map(batch), acks));
        left.clear();
        for partition in &answer.responses[0].partition_responses {
            match partition.error_code {
                0 => {}
                STORAGE_ERROR => left.push(partition.index),
                other => panic!("partition {}: error {other}", partition.index),
            }
        }
    }
}

/// Reads these partitions whole, by requests that name all that are not at their end.
fn read_back(connection: &mut Connection, partitions: &[i32]) -> Vec<Vec<Read>> {
    let mut found: Vec<Vec<Read>> = vec![Vec::new(); partitions.len()];
    let mut left: Vec<usize> = (0..partitions.len()).collect();
    let began = Instant::now();
    while !left.is_empty() {
        assert!(began.elapsed() < PATIENCE, "not readable: {left:?}");
        let places = left.iter().map(|&nth| (partitions[nth], i64::try_from(found[nth].len()).unwrap()));
        let answer = connection.call(11, &raw::fetch_from("t", places));
        let parts = &answer.responses[0].partitions;
        let mut more = Vec::new();
        for (part, nth) in parts.iter().zip(left) {
            assert!([0, STORAGE_ERROR].contains(&part.error_code), "error {}", part.error_code);
            let next = i64::try_from(found[nth].len()).unwrap();
            found[nth].extend(raw::records(&part.records.clone().unwrap_or_default(), next));
            let at_end = i64::try_from(found[nth].len()).unwrap() >= part.high_watermark;
            if part.error_code != 0 || !at_end {
                more.push(nth);
            }
        }
        left = more;
    }
    found
}

fn commit(broker: &Broker, group: &str, offset: i64) {
    let consumer = consumer(broker, &[("group.id", group), ("enable.auto.commit", "false")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(offset)).expect("an offset");
    consumer.commit(&list, CommitMode::Sync).expect("the commit is taken");
}

/// Nothing was taken out of service, and nobody met the system's own limit.
fn assert_in_service(broker: &Broker) {
    let log = broker.log();
    for bad in ["takes no more", "out of service", "cannot accept", "\"ERROR\"", "a sync failed"] {
        assert!(!log.contains(bad), "{bad}\n{log}");
    }
}

async fn many_partitions_through_few_descriptors(config: &str, acks: i16) {
    let broker = limited(config);
    broker.wait_for_log("this process may have 256 files open");
    create(&broker, "t", PARTITIONS, &[("retention.ms", "-1")]).await;
    let rounds = 1;
    let (address, is_over) = (broker.address().to_owned(), AtomicBool::new(false));
    let chunks: Vec<Vec<i32>> =
        (0..PARTITIONS).collect::<Vec<_>>().chunks(AT_ONCE as usize).map(<[i32]>::to_vec).collect();
    thread::scope(|scope| {
        let commits = scope.spawn(|| {
            let mut taken = 0;
            while !is_over.load(Ordering::Relaxed) || taken == 0 {
                commit(&broker, &format!("group-{taken}"), 1);
                taken += 1;
            }
            taken
        });
        let work = Mutex::new((0..rounds).flat_map(|round| chunks.iter().map(move |chunk| (round, chunk))));
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS - 2 {
                scope.spawn(|| {
                    let mut connection = Connection::to(&address);
                    loop {
                        let Some((round, chunk)) = work.lock().next() else { return };
                        produce_to(&mut connection, chunk, round, acks);
                    }
                });
            }
        });
        is_over.store(true, Ordering::Relaxed);
        assert!(commits.join().unwrap() > 0);
    });
    // As one client does it that believes in errors: everything acknowledged, in its time.
    let producer = patient_producer(&broker);
    let all: Vec<_> =
        (0..PARTITIONS).map(|partition| (partition, vec![format!("{partition}/{rounds}")])).collect();
    futures_of(&producer, &all).await;
    let mut connection = Connection::to(&address);
    for chunk in &chunks {
        for (partition, mut read) in chunk.iter().zip(read_back(&mut connection, chunk)) {
            // Who tried again may have come after the next round.
            read.sort_by(|a, b| a.value.cmp(&b.value));
            let values: Vec<_> = read.iter().map(|read| String::from_utf8_lossy(&read.value)).collect();
            let wanted: Vec<_> = (0..=rounds).map(|round| format!("{partition}/{round}")).collect();
            assert_eq!(values, wanted);
        }
    }
    assert_in_service(&broker);
}

async fn futures_of(producer: &rdkafka::producer::FutureProducer, all: &[(i32, Vec<String>)]) {
    let sends = all.iter().map(|(partition, values)| send_all(producer, "t", *partition, values));
    let mut waiting: Vec<_> = sends.map(Box::pin).collect();
    // Each is begun before the first is waited for.
    std::future::poll_fn(|context| {
        waiting.retain_mut(|send| send.as_mut().poll(context).is_pending());
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_are_written_to_through_few_descriptors_when_acks_wait_for_the_disk() {
    many_partitions_through_few_descriptors("[durability]\nfsync = \"batch\"\n", -1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_are_written_to_through_few_descriptors_when_nobody_waits_for_the_disk() {
    many_partitions_through_few_descriptors("[durability]\nfsync = \"never\"\n", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_is_turned_away_and_those_there_are_go_on() {
    let broker = limited("");
    create(&broker, "t", 200, &[]).await;
    let mut early = Connection::to(broker.address());
    produce_to(&mut early, &(0..100).collect::<Vec<_>>(), 0, -1);
    let flood: Vec<_> = (0..600).filter_map(|_| Connection::try_to(broker.address()).ok()).collect();
    let line = broker.wait_for_log("connection refused");
    assert!(line.contains("ulimit -n"), "{line}");
    produce_to(&mut early, &(0..200).collect::<Vec<_>>(), 1, -1);
    let mut turned_away = 0;
    for mut connection in flood {
        connection.patience(Duration::from_millis(20));
        let end = connection.stream.read(&mut [0; 1]).map_err(|error| error.kind());
        turned_away += usize::from(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)));
    }
    assert!(turned_away > 400, "{turned_away} of 600");
    wait_for("there are places again", || {
        Connection::try_to(broker.address()).is_ok_and(|mut late| raw::is_served(&mut late))
    });
    assert_eq!(lines_with(&broker, "connection refused"), 1, "one line for all of them");
    commit(&broker, "late", 1);
    assert_in_service(&broker);
}

#[test]
fn too_few_descriptors_are_refused_with_what_to_do() {
    let dir = TempDir::new().expect("a temp dir");
    let data = dir.path().join("data");
    let script = format!(
        "ulimit -n 100; exec {} --data-dir {} --set listen.kafka=127.0.0.1:0",
        env!("CARGO_BIN_EXE_streamd"),
        data.display()
    );
    let ended = std::process::Command::new("/bin/sh").args(["-c", &script]).env_clear().output();
    let ended = ended.expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        !ended.status.success() && said.contains("only 100 files") && said.contains("LimitNOFILE="),
        "{said}"
    );
    assert!(!data.exists(), "nothing was made");
    assert_eq!(streamd(&["--version"], None).0, 0, "what is no broker needs none of them");
}
