//! `streamd import kafka`, on a directory that Apache Kafka 4.3.1 wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use streamd::record::batch::{BatchHeader, stamp};
use streamd::record::{BatchBuilder, NewRecord};
use streamd::types::TopicId;

use crate::kafka_data::{KafkaData, read_all};
use crate::scene::{Outcome, Scene};
use crate::support::Broker;

/// Runs `streamd import kafka` into a scene's data directory.
fn import(scene: &mut Scene, kafka: &Path, more: &[&str]) -> Outcome {
    let data = scene.broker().expect("our own broker").data();
    let mut args = vec!["import", "kafka", kafka.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    args.extend(more);
    scene.run(&args, b"")
}

/// A scene whose broker has not kept anything yet.
fn fresh() -> Scene {
    let mut scene = Scene::with("");
    let broker = scene.broker().expect("our own broker");
    broker.stop();
    fs::remove_dir_all(broker.data()).unwrap();
    scene
}

fn up(scene: &mut Scene) -> &mut Broker {
    let address = scene.address().to_owned();
    let broker = scene.broker().expect("our own broker");
    broker.up_at(&address);
    broker
}

fn consumer(broker: &Broker, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", group)
        .set("check.crcs", "true")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()
        .unwrap()
}

/// Everything that librdkafka reads of these partitions, in order: partition, offset, key, value.
type Read = Vec<(i32, i64, Option<String>, Option<String>)>;

fn poll_all(consumer: &BaseConsumer) -> Read {
    let (mut read, mut silent) = (Vec::new(), 0);
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    while silent < 3 {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                silent = 0;
                read.push((
                    message.partition(),
                    message.offset(),
                    text(message.key()),
                    text(message.payload()),
                ));
            }
            Some(Err(error)) => panic!("{error}"),
            None => silent += 1,
        }
    }
    read.sort();
    read
}

fn read_from_start(broker: &Broker, topic: &str, partitions: i32) -> Read {
    let consumer = consumer(broker, "reader");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    poll_all(&consumer)
}

/// What `Make.java` wrote into `orders`.
fn orders() -> Read {
    let mut all = Vec::new();
    for (nth, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
        for n in 0..20 {
            let offset = 10 * i64::try_from(nth).unwrap() + n / 2;
            let key = (n % 3 != 0).then(|| format!("k{n}"));
            let value = (n != 7).then(|| format!("{codec}-{n}-{}", "x".repeat(40)));
            all.push((i32::try_from(n % 2).unwrap(), offset, key, value));
        }
    }
    let last = (0..3).map(|n| (0, 50 + n, Some(format!("p{n}")), Some("idempotent".to_owned())));
    all.extend(last);
    all.sort();
    all
}

#[test]
fn kafkas_topics_records_and_offsets_are_adopted_and_its_directory_is_left_alone() {
    let kafka = KafkaData::unpack();
    let before = kafka.content();
    let mut scene = fresh();
    let done = import(&mut scene, &kafka.path(), &[]);
    assert_eq!(done.code, 0, "{done:?}");
    for part in
        ["6 topics, 9 partitions", "3 groups, 5 committed offsets", "SCRAM users: 1", "__transaction_state"]
    {
        assert!(done.out.contains(part), "{}", done.out);
    }
    assert_eq!(kafka.content(), before);
    let broker = up(&mut scene);
    assert_eq!(broker.cluster_id, "5L6g3nShT-eMCtK--X86sw", "clients see the cluster that they know");
    assert_eq!(read_from_start(broker, "orders", 2), orders());
    let states = read_from_start(broker, "states", 1);
    let last: BTreeMap<_, _> = states.iter().map(|(_, _, key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(last.len(), 5);
    assert!(last.iter().all(|(key, value)| match key.as_deref() {
        Some("key4") => value.is_none(),
        _ => value.as_deref() == Some("v19"),
    }));
    assert!(states[0].1 > 0, "compacted");
    let trimmed = read_from_start(broker, "trimmed", 1);
    let offsets: Vec<i64> = trimmed.iter().map(|row| row.1).collect();
    assert_eq!(offsets, (17..30).collect::<Vec<_>>());
    let committed = read_from_start(broker, "committed", 1);
    assert_eq!(committed.len(), 12, "markers are no records");
    assert_eq!(
        read_from_start(broker, "aborted", 1),
        [],
        "what was aborted is kept from those who read what is committed"
    );
    let index = "aborted-0/00000000000000000000.txnindex";
    let ours = fs::read(broker.data().join(index)).unwrap();
    assert_eq!(
        ours,
        fs::read(kafka.path().join(index)).unwrap(),
        "made from the log, byte for byte as Kafka made it"
    );
    // Each group goes on where it was.
    for (group, at) in [("billing", [20, 40]), ("shipping", [20, 40])] {
        let consumer = consumer(broker, group);
        consumer.subscribe(&["orders"]).unwrap();
        let expected: Read =
            orders().into_iter().filter(|row| row.1 >= at[usize::try_from(row.0).unwrap()]).collect();
        assert_eq!(poll_all(&consumer), expected, "{group}");
    }
    let lag = scene.ok(&["group", "describe", "in-transaction", "-o", "json"]);
    assert!(lag.contains("11"), "committed in a transaction: {lag}");
    assert!(!scene.ok(&["group", "list"]).contains("deleted"));
    // It is a topic like any other: it grows, survives, and its settings count.
    scene.feed(&["produce", "orders", "-p", "0"], b"after\n");
    let broker = scene.broker().unwrap();
    broker.kill();
    let broker = up(&mut scene);
    let mut all = orders();
    all.push((0, 53, None, Some("after".to_owned())));
    all.sort();
    assert_eq!(read_from_start(broker, "orders", 2), all);
    assert_eq!(kafka.content(), before, "not even by what was appended since");
    // Its producer ids are not given out again.
    let catalog = scene.broker().unwrap().data().join("__cluster_metadata-0");
    let dump = scene.ok(&["dump", "-r", catalog.to_str().unwrap()]);
    assert!(dump.contains("producer ids below 1000 are given"), "{dump}");
}

#[test]
fn an_import_joins_what_is_there_already() {
    let kafka = KafkaData::unpack();
    let mut scene = Scene::with("");
    scene.topic("mine", 2);
    scene.feed(&["produce", "mine", "-p", "0"], b"a\nb\nc\n");
    // A group of the same name, with an offset of its own.
    assert_eq!(scene.ok(&["consume", "mine", "-g", "billing", "-o", "start", "-n", "2"]), "a\nb\n");
    let refused = import(&mut scene, &kafka.path(), &["-t", "orders"]);
    assert!(refused.code == 1 && refused.err.contains("is locked by streamd pid"), "{refused:?}");
    scene.broker().unwrap().stop();
    let done = import(&mut scene, &kafka.path(), &["-t", "orders,trimmed", "--copy", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["partitions"], &told["linked_bytes"]), (&3.into(), &0.into()));
    up(&mut scene);
    assert_eq!(scene.ok(&["topic", "list", "-o", "json"]).matches("\"name\"").count(), 3);
    assert_eq!(scene.ok(&["consume", "mine", "-g", "billing", "-e"]), "c\n", "its own offset stands");
    let broker = scene.broker().unwrap();
    assert_eq!(read_from_start(broker, "orders", 2), orders());
    let consumer = consumer(broker, "billing");
    consumer.subscribe(&["orders"]).unwrap();
    assert_eq!(poll_all(&consumer).len(), 33 + 10);
    drop(consumer);
    // The same again clashes.
    scene.broker().unwrap().stop();
    let again = import(&mut scene, &kafka.path(), &["-t", "orders"]);
    assert!(again.code == 1 && again.err.contains("topic orders exists here already"), "{again:?}");
}

#[test]
fn what_cannot_be_taken_is_refused_and_leaves_nothing() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &[&str], &str); 9] = [
        (
            "unclean",
            |dir| fs::remove_file(dir.join(".kafka_cleanshutdown")).unwrap(),
            &[],
            "not shut down cleanly",
        ),
        ("no such topic", |_| {}, &["-t", "nobody"], "has no topic nobody"),
        (
            "not Kafka's",
            |dir| fs::remove_file(dir.join("meta.properties")).unwrap(),
            &[],
            "no data directory of Apache Kafka",
        ),
        (
            "ZooKeeper",
            |dir| fs::write(dir.join("meta.properties"), "version=0\nbroker.id=1\ncluster.id=x\n").unwrap(),
            &[],
            "with ZooKeeper",
        ),
        (
            "no metadata",
            |dir| fs::remove_dir_all(dir.join("__cluster_metadata-0")).unwrap(),
            &[],
            "there is no __cluster_metadata-0",
        ),
        (
            "a partition elsewhere",
            |dir| fs::remove_dir_all(dir.join("orders-1")).unwrap(),
            &["-t", "orders"],
            "orders-1 is not in",
        ),
        (
            "a flipped bit",
            |dir| flip(&dir.join("orders-0/00000000000000000000.log"), 800),
            &["-t", "orders"],
            "is damaged at byte 741: the CRC does not match. Restore it from a copy, or leave the topic out: --except orders",
        ),
        (
            "a cut file",
            |dir| cut(&dir.join("orders-0/00000000000000000050.log"), 100),
            &["-t", "orders"],
            "does not end with a whole batch",
        ),
        (
            "an old format",
            |dir| set(&dir.join("orders-1/00000000000000000000.log"), 16, 1),
            &["-t", "orders"],
            "format 1",
        ),
    ];
    for (what, spoil, args, expected) in cases {
        let kafka = KafkaData::unpack();
        spoil(&kafka.path());
        let before = kafka.content();
        let mut scene = fresh();
        let refused = import(&mut scene, &kafka.path(), args);
        assert!(refused.code == 1 && refused.err.contains(expected), "{what}: {refused:?}");
        assert_eq!(kafka.content(), before, "{what}");
        let data = scene.broker().unwrap().data();
        assert!(!data.exists() || fs::read_dir(&data).unwrap().count() == 0, "{what}");
        // The directory is as good as new.
        up(&mut scene);
        assert_eq!(scene.ok(&["topic", "list", "-q"]), "", "{what}");
    }
    // Ours is no Kafka's.
    let mut scene = Scene::with("");
    scene.broker().unwrap().stop();
    let data = scene.broker().unwrap().data();
    let refused = import(&mut fresh(), &data, &[]);
    assert!(refused.code == 1 && refused.err.contains("a data directory of streamd"), "{refused:?}");
    // A failure half-way leaves an existing directory with what it had.
    up(&mut scene);
    scene.topic("mine", 1);
    scene.broker().unwrap().stop();
    let mut before = BTreeMap::new();
    read_all(&data, &mut before);
    let kafka = KafkaData::unpack();
    flip(&kafka.path().join("orders-0/00000000000000000000.log"), 800);
    let refused = import(&mut scene, &kafka.path(), &[]);
    assert!(refused.code == 1 && refused.err.contains("nothing was imported"), "{refused:?}");
    up(&mut scene);
    assert_eq!(scene.ok(&["topic", "list", "-q"]), "mine\n");
    assert!(!data.join("orders-0").exists());
}

#[test]
fn half_of_a_directory_is_not_taken_for_the_whole() {
    type Spoil = fn(&Path);
    const ENDS: &str = "recovery-point-offset-checkpoint";
    const SEEN: &str = "replication-offset-checkpoint";
    const STARTS: &str = "log-start-offset-checkpoint";
    let empty = |path: &Path| fs::write(path, b"").unwrap();
    let cases: [(&str, Spoil, &str, &str); 20] = [
        (
            "an emptied log",
            |dir| cut(&log(dir, "orders-1", 0), 0),
            "orders-1: recovery-point-offset-checkpoint says that its log ends at offset 50, but what is there ends at 0",
            "--except orders",
        ),
        (
            "a log that is gone",
            |dir| remove(&log(dir, "orders-1", 0)),
            "ends at offset 50",
            "--except orders",
        ),
        (
            "an emptied sealed segment",
            |dir| cut(&log(dir, "trimmed-0", 20), 0),
            "trimmed-0: offsets 20 to 28 are not there",
            "--except trimmed",
        ),
        (
            "a sealed segment that is gone",
            |dir| remove(&log(dir, "trimmed-0", 20)),
            "trimmed-0: offsets 20 to 28 are not there",
            "--except trimmed",
        ),
        (
            "the last segment gone",
            |dir| remove(&log(dir, "orders-0", 50)),
            "orders-0: recovery-point-offset-checkpoint says that its log ends at offset 53, but what is there ends at 50",
            "--except orders",
        ),
        (
            "the last batch gone",
            |dir| cut_last_batch(&log(dir, "orders-1", 0)),
            "orders-1: recovery-point-offset-checkpoint says that its log ends at offset 50, but what is there ends at 40",
            "--except orders",
        ),
        (
            "the last batch of a sealed segment gone",
            |dir| cut_last_batch(&log(dir, "orders-0", 0)),
            "orders-0: offsets 40 to 49 are not there",
            "--except orders",
        ),
        (
            "the first segment gone",
            |dir| remove(&log(dir, "orders-0", 0)),
            "orders-0: leader-epoch-checkpoint says that its log begins at offset 0, but its first segment begins at 50",
            "--except orders",
        ),
        (
            "the first segment gone behind deleted records",
            |dir| remove(&log(dir, "trimmed-0", 10)),
            "trimmed-0: log-start-offset-checkpoint says that its log begins at offset 17, but its first segment begins \
             at 18",
            "--except trimmed",
        ),
        (
            "the end of a compacted log gone",
            |dir| cut_last_batch(&log(dir, "states-0", 75)),
            "states-0: recovery-point-offset-checkpoint says that its log ends at offset 100",
            "--except states",
        ),
        (
            "committed offsets emptied",
            |dir| [0, 73].iter().for_each(|base| cut(&log(dir, "__consumer_offsets-1", *base), 0)),
            "__consumer_offsets-1: recovery-point-offset-checkpoint says that its log ends at offset 89",
            "--except __consumer_offsets. Then no committed offsets are taken",
        ),
        (
            "an end that only consumers have seen",
            |dir| {
                cut_last_batch(&log(dir, "orders-1", 0));
                say(&dir.join(ENDS), "orders 1 50", "orders 1 40");
            },
            "replication-offset-checkpoint says that its log ends at offset 50, but what is there ends at 40",
            "--except orders",
        ),
        (
            "the end of the metadata gone",
            |dir| cut_last_batch(&log(dir, "__cluster_metadata-0", 0)),
            "to 156 of the metadata are not there",
            "Restore the directory",
        ),
        (
            "the metadata emptied",
            |dir| cut(&log(dir, "__cluster_metadata-0", 0), 0),
            "offsets 0 to 156 of the metadata are not there",
            "Restore the directory",
        ),
        (
            "a hole in the metadata",
            |dir| take_out_second_batch(&log(dir, "__cluster_metadata-0", 0)),
            "of the metadata are not there",
            "Restore the directory",
        ),
        (
            "no ends",
            |dir| remove(&dir.join(ENDS)),
            "recovery-point-offset-checkpoint is missing",
            "restore it",
        ),
        (
            "garbled ends",
            |dir| say(&dir.join(ENDS), "orders 1 50", "orders 1 5x"),
            "\"orders 1 5x\" is no entry",
            "restore it",
        ),
        (
            "no end of one",
            |dir| say(&dir.join(ENDS), "orders 1 50", "others 1 50"),
            "recovery-point-offset-checkpoint does not say where the log of orders-1 ends",
            "--except orders",
        ),
        (
            "no starts",
            |dir| remove(&dir.join(STARTS)),
            "log-start-offset-checkpoint is missing",
            "restore it",
        ),
        (
            "emptied starts",
            |dir| cut(&dir.join(STARTS), 0),
            "log-start-offset-checkpoint is empty",
            "restore it",
        ),
    ];
    let mut scene = fresh();
    let data = scene.broker().unwrap().data();
    for (what, spoil, expected, to_do) in cases {
        let kafka = KafkaData::unpack();
        spoil(&kafka.path());
        let before = kafka.content();
        let refused = import(&mut scene, &kafka.path(), &["--except", "aborted"]);
        assert!(refused.code == 1 && refused.err.contains(expected), "{what}: {refused:?}");
        assert!(refused.err.contains(to_do), "{what}: {refused:?}");
        assert_eq!(kafka.content(), before, "{what}");
        assert!(!data.exists() || fs::read_dir(&data).unwrap().count() == 0, "{what}");
    }
    // What says no more than another file does is not needed, and what is left out is not looked at.
    let kafka = KafkaData::unpack();
    remove(&kafka.path().join(SEEN));
    empty(&kafka.path().join("cleaner-offset-checkpoint"));
    cut(&log(&kafka.path(), "orders-1", 0), 0);
    [0, 73].iter().for_each(|base| empty(&log(&kafka.path(), "__consumer_offsets-1", *base)));
    let done = import(&mut scene, &kafka.path(), &["--except", "aborted,orders,__consumer_offsets"]);
    assert!(done.code == 0 && done.out.contains("0 groups, 0 committed offsets"), "{done:?}");
    assert!(
        done.out.contains("committed offsets (__consumer_offsets): every group begins where"),
        "{done:?}"
    );
    up(&mut scene);
    assert_eq!(scene.ok(&["topic", "list", "-q"]), "committed\nempty\nstates\ntrimmed\n");
}

/// A segment of Kafka's.
fn log(dir: &Path, partition: &str, base: i64) -> PathBuf {
    dir.join(partition).join(format!("{base:020}.log"))
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// Takes a segment's last batch away, and nothing else.
fn cut_last_batch(log: &Path) {
    let bytes = fs::read(log).unwrap();
    let (mut last, mut at) = (0, 0);
    while let Ok(header) = BatchHeader::parse(&bytes[at..]) {
        (last, at) = (at, at + header.total_len());
    }
    assert!(last > 0 && at == bytes.len());
    cut(log, last);
}

/// Takes a segment's second batch away, and nothing else.
fn take_out_second_batch(log: &Path) {
    let mut bytes = fs::read(log).unwrap();
    let first = BatchHeader::parse(&bytes).unwrap().total_len();
    let second = BatchHeader::parse(&bytes[first..]).unwrap().total_len();
    bytes.drain(first..first + second);
    fs::write(log, bytes).unwrap();
}

/// Writes one thing in place of another.
fn say(path: &Path, one: &str, other: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches(one).count(), 1);
    fs::write(path, text.replace(one, other)).unwrap();
}

#[test]
fn an_import_that_was_killed_leaves_nothing_in_the_way_of_the_next() {
    let kafka = KafkaData::unpack();
    let before = kafka.content();
    let mut scene = fresh();
    let data = scene.broker().unwrap().data();
    for ms in [0, 30, 60, 90, 120, 160, 200, 250] {
        let (from, to) = (kafka.path(), data.clone());
        let mut child = Command::new(env!("CARGO_BIN_EXE_streamd"))
            .args(["import", "kafka", from.to_str().unwrap(), "--except", "aborted", "--data-dir"])
            .arg(&to)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(ms));
        // The last one has at least made the directory its own: what follows is about such a directory.
        let deadline = Instant::now() + Duration::from_secs(60);
        while ms == 250 && !data.join("meta.properties").exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "an import makes no data directory");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(data.join("meta.properties").exists(), "no import came as far as that");
    // What one leaves that is killed in the midst of it, and what somebody else has left.
    for (name, mark) in [("orders-0", true), ("__consumer_offsets-8", true), ("trimmed-0", false)] {
        let dir = data.join(name);
        if dir.exists() {
            // One of them has come that far, or was through: then it bears no mark.
            continue;
        }
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("00000000000000000000.log"), b"half of it").unwrap();
        if mark {
            fs::write(dir.join("import-not-finished"), b"").unwrap();
        }
    }
    let done = import(&mut scene, &kafka.path(), &["--except", "aborted"]);
    let is_done_before = done.err.contains("exists here already");
    assert!(done.code == 0 || is_done_before, "{done:?}");
    let broker = up(&mut scene);
    assert_eq!(read_from_start(broker, "orders", 2), orders());
    broker.kill();
    // A start removes them, too.
    let left = data.join("left-0");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("00000000000000000000.log"), b"half of it").unwrap();
    fs::write(left.join("import-not-finished"), b"").unwrap();
    let broker = up(&mut scene);
    broker.wait_for_log("what an import left that was cut short is removed");
    assert_eq!(read_from_start(broker, "orders", 2), orders());
    let names: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let strays = names.iter().filter(|name| name.to_string_lossy().ends_with("-stray"));
    assert!(strays.clone().all(|name| !name.to_string_lossy().starts_with("left-0")), "{names:?}");
    assert!(!left.exists());
    for name in ["orders-0", "orders-1", "trimmed-0", "states-0"] {
        assert!(!data.join(name).join("import-not-finished").exists(), "{name}");
    }
    assert_eq!(kafka.content(), before);
}

#[test]
fn a_kafka_that_runs_or_has_replicas_elsewhere_is_refused() {
    let kafka = KafkaData::unpack();
    // Kafka holds a lock of this kind on this file as long as it runs.
    let lock = fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(kafka.path().join(".lock"))
        .unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = import(&mut fresh(), &kafka.path(), &[]);
    let holder = format!("in use by pid {}. Stop that Kafka first", std::process::id());
    assert!(refused.code == 1 && refused.err.contains(&holder), "{refused:?}");
    drop(lock);
    // The topic's first partition is assigned to three brokers.
    let metadata = kafka.path().join("__cluster_metadata-0");
    let log = metadata.join("00000000000000000000.log");
    let bytes = fs::read(&log).unwrap();
    let orders = fs::read_to_string(kafka.path().join("orders-0/partition.metadata")).unwrap();
    let id: TopicId =
        orders.lines().find_map(|line| line.strip_prefix("topic_id: ")).unwrap().parse().unwrap();
    fs::write(&log, [bytes, replicas_changed(&log, id)].concat()).unwrap();
    let refused = import(&mut fresh(), &kafka.path(), &["-t", "orders"]);
    assert!(refused.code == 1 && refused.err.contains("orders-0 is on brokers 1,2,3: only"), "{refused:?}");
    assert!(refused.err.contains("--except orders"), "{refused:?}");
    let done = import(&mut fresh(), &kafka.path(), &["--except", "orders,aborted"]);
    assert_eq!(done.code, 0, "{done:?}");
}

/// A batch for the end of the metadata's log that puts partition 0 of a topic on brokers 1, 2 and 3
/// (`PartitionChangeRecord`, tag 2).
fn replicas_changed(log: &Path, topic: TopicId) -> Vec<u8> {
    let bytes = fs::read(log).unwrap();
    let (mut at, mut last) = (0, None);
    while let Ok(header) = BatchHeader::parse(&bytes[at..]) {
        at += header.total_len();
        last = Some(header);
    }
    let last = last.unwrap();
    // Frame 1, kind 5, version 0; the partition, the topic; one tagged field of 13 bytes: four in a compact array.
    let mut value = vec![1, 5, 0, 0, 0, 0, 0];
    value.extend(topic.as_bytes());
    value.extend([1, 2, 13, 4]);
    value.extend([1, 2, 3].into_iter().flat_map(i32::to_be_bytes));
    let mut builder = BatchBuilder::new();
    builder.push(&NewRecord { timestamp: last.max_timestamp, value: Some(&value), ..NewRecord::default() });
    let mut batch = builder.build().unwrap().to_vec();
    stamp(&mut batch, last.next_offset(), last.partition_leader_epoch);
    batch
}

#[test]
fn another_file_system_gets_copies() {
    let (kafka, mut scene) = (KafkaData::unpack(), fresh());
    let device = |path: &Path| fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::dev(&found));
    let shared = Path::new("/dev/shm");
    if !device(shared).is_ok_and(|shared| shared != device(&kafka.path()).unwrap()) {
        eprintln!("SKIPPED: there is no second file system at /dev/shm");
        return;
    }
    let elsewhere = tempfile::TempDir::new_in(shared).unwrap();
    let data = elsewhere.path().join("data");
    let done = import(&mut scene, &kafka.path(), &["--except", "aborted", "-o", "json"]);
    let linked: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let args = [
        "import",
        "kafka",
        kafka.path().to_str().unwrap(),
        "--except",
        "aborted",
        "-o",
        "json",
        "--data-dir",
    ]
    .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).chain([data.to_str().unwrap()]).collect();
    let done = scene.run(&args, b"");
    assert_eq!(done.code, 0, "{done:?}");
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["linked_bytes"], &told["bytes"]), (&0.into(), &linked["bytes"]), "{told}");
    assert_ne!(linked["linked_bytes"], 0, "{linked}");
    assert_eq!(scene.run(&["dump", "--verify", data.to_str().unwrap()], b"").code, 0);
}

fn set(path: &Path, at: usize, value: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] = value;
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, at: usize) {
    let byte = fs::read(path).unwrap()[at];
    set(path, at, byte ^ 4);
}

fn cut(path: &Path, len: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..len]).unwrap();
}
