//! `streamd txn`.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::scene::{Scene, cells, lines};

/// A producer with a transaction that it leaves open: some records in each of these partitions.
pub(crate) fn hanging(scene: &Scene, id: &str, topic: &str, partitions: &[i32]) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", scene.address())
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "600000")
        .create()
        .expect("a producer");
    producer.init_transactions(Duration::from_secs(30)).expect("it has an id");
    producer.begin_transaction().expect("it begins");
    for partition in partitions {
        for n in 0..3 {
            let payload = format!("{id} {n}");
            let record = BaseRecord::<(), str>::to(topic).partition(*partition).payload(&payload);
            producer.send(record).expect("it is queued");
        }
    }
    producer.flush(Duration::from_secs(30)).expect("they are written");
    producer
}

pub(crate) fn json(scene: &Scene, args: &[&str]) -> Value {
    serde_json::from_str(&scene.ok(&[args, &["-o", "json"]].concat())).expect("JSON")
}

/// What a reader of committed records sees.
pub(crate) fn committed(scene: &Scene, topic: &str) -> Vec<String> {
    let text = scene.ok(&["consume", topic, "-e", "-q", "--read-committed"]);
    lines(&text).into_iter().map(ToOwned::to_owned).collect()
}

#[test]
fn a_hanging_transaction_is_seen_and_ended() {
    let scene = Scene::new();
    let (topic, id) = (scene.topic("t", 2), scene.name("payments"));
    let _producer = hanging(&scene, &id, &topic, &[0]);
    scene.feed(&["produce", &topic, "-q", "-p", "0"], b"after\n");
    assert_eq!(committed(&scene, &topic), Vec::<String>::new(), "it holds back what follows it");
    let stopped = scene.run(&["consume", &topic, "-e", "--read-committed"], b"");
    let why = format!(
        "{topic}-0: committed records end at 0, and the partition at 4: an open transaction holds the rest back. \
         streamd txn list --topic {topic} shows whose\n"
    );
    assert_eq!((stopped.code, stopped.err), (0, why));
    let described = scene.ok(&["topic", "describe", &topic]);
    let rows = cells(&described);
    let at = rows.iter().position(|row| row.last() == Some(&"STABLE")).expect("a column");
    assert_eq!(rows[at + 1][5..], ["0", "4", "0"], "{described}");
    assert!(described.contains(&format!("streamd txn list --topic {topic}")), "{described}");

    let list = scene.ok(&["txn", "list", "--open"]);
    let row = cells(&list).into_iter().find(|row| row[0] == id).expect("it is listed");
    assert_eq!((row[1], row.last()), ("Ongoing", Some(&"1")), "{list}");
    assert!(!scene.ok(&["txn", "list", "--older-than", "1h", "-q"]).lines().any(|line| line == id));

    let view = json(&scene, &["txn", "describe", &id])[0].clone();
    assert_eq!((view["state"].as_str(), view["timeout_ms"].as_i64()), (Some("Ongoing"), Some(600_000)));
    let partition = &view["partitions"][0];
    assert_eq!((partition["topic"].as_str(), partition["partition"].as_i64()), (Some(&*topic), Some(0)));
    assert_eq!((partition["first_offset"].as_i64(), partition["holds_back"].as_i64()), (Some(0), Some(4)));
    let by_topic = json(&scene, &["txn", "list", "--open", "--topic", &topic]);
    assert_eq!(by_topic[0]["transactional_id"].as_str(), Some(&*id), "{by_topic}");
    assert_eq!(by_topic[0]["started_ms"], view["started_ms"], "its coordinator knows");
    assert!(view["open_for_ms"].as_i64().is_some_and(|ms| (0..600_000).contains(&ms)), "{view}");
    assert_eq!(by_topic[0]["end_with"].as_str(), Some(&*format!("streamd txn abort {id}")));
    let told = scene.run(&["txn", "describe", &id], b"").err;
    assert!(told.ends_with(&format!("end it: streamd txn abort {id}\n")), "{told}");

    let refused = scene.fails(1, &["txn", "abort", "--topic", &topic, "--partition", "0"]);
    assert!(refused.contains(&format!("streamd txn abort {id}")), "{refused}");
    let done = scene.ok(&["txn", "abort", &id]);
    assert_eq!(done, format!("aborted the transaction of {id}; its producer is fenced\n"));
    assert_eq!(committed(&scene, &topic), ["after"]);
    assert_eq!(scene.run(&["consume", &topic, "-e", "--read-committed"], b"").err, "");
    assert!(!scene.ok(&["topic", "describe", &topic]).contains("STABLE"));
    assert_eq!(json(&scene, &["txn", "describe", &id])[0]["state"], "Empty");
    let refused = scene.fails(1, &["txn", "abort", &id]);
    assert!(refused.contains("nothing to abort"), "{refused}");
}

#[test]
fn lists_and_descriptions_come_as_columns_as_more_columns_as_names_and_as_json() {
    let scene = Scene::with("");
    let topic = scene.topic("t", 2);
    let _first = hanging(&scene, "first", &topic, &[0, 1]);
    let _second = hanging(&scene, "second", &topic, &[1]);
    let list = scene.ok(&["txn", "ls"]);
    let rows = cells(&list);
    assert_eq!(rows[0], ["TRANSACTIONAL ID", "STATE", "OPEN FOR", "PARTITIONS"]);
    assert_eq!((rows[1][0], rows[1][1], rows[1][3]), ("first", "Ongoing", "2"));
    assert_eq!((rows[2][0], rows[2][1], rows[2][3]), ("second", "Ongoing", "1"));
    let wide = scene.ok(&["txn", "list", "-o", "wide"]);
    let rows = cells(&wide);
    assert_eq!(rows[0][4..], ["STARTED", "TIMEOUT", "PRODUCER", "EPOCH", "COORDINATOR"]);
    assert_eq!((rows[1][5], rows[1][7], rows[1][8]), ("10m", "0", "1"), "{wide}");
    assert_eq!(scene.ok(&["txn", "list", "-q"]), "first\nsecond\n");
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(scene.ok(&["txn", "list", "--older-than", "1s", "-q"]), "first\nsecond\n");
    let listed = json(&scene, &["txn", "list"]);
    assert_eq!((&listed[0]["under_way"], &listed[1]["transactional_id"]), (&true.into(), &"second".into()));
    assert_eq!(listed[0]["partitions"].as_array().map(Vec::len), Some(2));

    let described = scene.ok(&["txn", "desc", "first", "second"]);
    let held: Vec<_> = cells(&described).into_iter().filter(|row| row.first() == Some(&"t")).collect();
    let held: Vec<_> = held.iter().map(|row| (row[1], row[2], row[4], row[5])).collect();
    // What the first has in partition 1 begins before the second there.
    assert_eq!(held, [("0", "first", "0", "3"), ("1", "first", "0", "6"), ("1", "second", "3", "-")]);
    let done = scene.ok(&["txn", "abort", "first", "second"]);
    assert_eq!(done.lines().count(), 2, "{done}");
    assert_eq!(scene.ok(&["txn", "list", "--open", "-q"]), "");
    assert_eq!(scene.ok(&["txn", "list", "-q"]), "first\nsecond\n", "their ids stay");
}

#[test]
fn of_several_ids_the_bad_ones_are_told_of_and_the_good_ones_are_seen_to() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let (first, last, nobody) = (scene.name("first"), scene.name("last"), scene.name("nobody"));
    let _producers = [hanging(&scene, &first, &topic, &[0]), hanging(&scene, &last, &topic, &[0])];
    let all = [&*nobody, &first, "nobody-else", &last];
    let described = scene.run(&[&["txn", "describe", "-o", "json"], &all[..]].concat(), b"");
    assert_eq!(described.code, 1, "{described:?}");
    let views: Value = serde_json::from_str(&described.out).expect("JSON");
    let ids: Vec<_> =
        views.as_array().expect("rows").iter().map(|view| view["transactional_id"].as_str()).collect();
    assert_eq!(ids, [Some(&*first), Some(&*last)]);
    let missing =
        |id: &str| format!("transactional id {id} does not exist. streamd txn list shows those that do.\n");
    let both = missing(&nobody) + &missing("nobody-else");
    assert!(described.err.ends_with(&both), "{described:?}");

    let aborted = scene.run(&[&["txn", "abort"], &all[..]].concat(), b"");
    let done = |id: &str| format!("aborted the transaction of {id}; its producer is fenced\n");
    assert_eq!((aborted.code, aborted.out), (1, done(&first) + &done(&last)));
    assert_eq!(aborted.err, both);
    let again = scene.run(&["txn", "abort", "-o", "json", &first], b"");
    assert_eq!((again.code, &*again.out), (1, "[]\n"));
}

#[test]
fn an_abort_tells_programs_what_it_ended_and_leaves_the_time_limit_on_record() {
    let scene = Scene::new();
    let (topic, id) = (scene.topic("t", 1), scene.name("payments"));
    let _producer = hanging(&scene, &id, &topic, &[0]);
    let before = json(&scene, &["txn", "describe", &id])[0].clone();
    let done = json(&scene, &["txn", "abort", &id]);
    assert_eq!(done.as_array().map(Vec::len), Some(1));
    assert_eq!((&done[0]["transactional_id"], &done[0]["outcome"]), (&(&*id).into(), &"aborted".into()));
    assert_eq!(done[0]["producer_id"], before["producer_id"]);
    let after = json(&scene, &["txn", "describe", &id])[0].clone();
    assert_eq!((after["state"].as_str(), after["timeout_ms"].as_i64()), (Some("Empty"), Some(600_000)));
}

#[test]
fn a_transaction_is_described_without_the_partitions_that_went_with_their_topic() {
    let scene = Scene::new();
    let (stays, goes, id) = (scene.topic("stays", 1), scene.topic("goes", 2), scene.name("half-gone"));
    let producer = hanging(&scene, &id, &stays, &[0]);
    for partition in 0..2 {
        let record = BaseRecord::<(), str>::to(&goes).partition(partition).payload("v");
        producer.send(record).expect("it is queued");
    }
    producer.flush(Duration::from_secs(30)).expect("they are written");
    scene.ok(&["topic", "delete", &goes]);
    // Without waiting for what does not come back.
    let text = scene.ok(&["txn", "describe", &id, "--timeout", "20s"]);
    assert!(text.contains(&format!("Part of it, no longer there: {goes}-0, {goes}-1\n")), "{text}");
    let row = cells(&text).into_iter().find(|row| row.first() == Some(&&*stays)).expect("the other topic's");
    assert_eq!(row[1], "0", "{text}");
    let view = json(&scene, &["txn", "describe", &id])[0].clone();
    assert_eq!(view["partitions"].as_array().map(Vec::len), Some(3), "{view}");
    scene.ok(&["txn", "abort", &id]);
}

#[test]
fn the_fenced_producer_hears_of_it() {
    let scene = Scene::new();
    let (topic, id) = (scene.topic("t", 1), scene.name("payments"));
    let producer = hanging(&scene, &id, &topic, &[0]);
    scene.ok(&["txn", "abort", &id, "-q"]);
    let began = Instant::now();
    let error = producer.commit_transaction(Duration::from_secs(30)).expect_err("its transaction is over");
    assert!(began.elapsed() < Duration::from_secs(30), "{error}");
    assert_eq!(committed(&scene, &topic), Vec::<String>::new());
}

#[test]
fn what_does_not_exist_is_said_to() {
    let scene = Scene::new();
    let (topic, id) = (scene.topic("t", 1), scene.name("nobody"));
    let said = format!("transactional id {id} does not exist. streamd txn list shows those that do.\n");
    assert_eq!(scene.fails(1, &["txn", "describe", &id]), said);
    assert_eq!(scene.fails(1, &["txn", "abort", &id]), said, "and does not come into being by that");
    assert!(!scene.ok(&["txn", "list", "-q"]).lines().any(|line| line == id));
    let none = scene.fails(1, &["txn", "abort", "--topic", &topic, "--partition", "0"]);
    assert!(none.starts_with(&format!("no transaction is open in {topic}-0: there is nothing")), "{none}");
    let began = Instant::now();
    let none = scene.fails(1, &["txn", "abort", "--topic", &topic, "--partition", "9"]);
    assert!(
        none.starts_with(&format!("topic {topic} has 1 partition, and none with the number 9.")),
        "{none}"
    );
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for a partition to come");
    for verb in ["abort", "describe"] {
        let empty = scene.fails(2, &["txn", verb, ""]);
        assert!(empty.contains("a transactional id has at least one character"), "{empty}");
    }
    assert_eq!(scene.ok(&["txn", "list", "--topic", &topic, "-o", "json"]), "[]\n");
}

#[test]
fn s60_offsets_of_a_transaction_are_the_groups_when_it_is_committed() {
    let scene = Scene::new();
    let (topic, id, group) = (scene.topic("t", 1), scene.name("copier"), scene.name("g"));
    scene.feed(&["produce", &topic, "-q"], b"a\nb\nc\n");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", scene.address())
        .set("group.id", &group)
        .create()
        .expect("a consumer");
    let metadata = consumer.group_metadata().expect("its group");
    let patience = Duration::from_secs(30);
    let producer = hanging(&scene, &id, &topic, &[0]);
    let send = |offset| {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, Offset::Offset(offset)).expect("an offset");
        producer.send_offsets_to_transaction(&offsets, &metadata, patience).expect("it is taken");
    };
    let seen = || json(&scene, &["group", "describe", &group])[0]["partitions"][0]["committed"].clone();
    send(1);
    assert_eq!(seen(), Value::Null, "not before the transaction is committed");
    producer.commit_transaction(patience).expect("it is committed");
    assert_eq!(seen(), 1);
    producer.begin_transaction().expect("the next one");
    send(2);
    producer.abort_transaction(patience).expect("it is aborted");
    assert_eq!(seen(), 1);
    producer.begin_transaction().expect("the one after");
    send(3);
    producer.commit_transaction(patience).expect("it is committed");
    assert_eq!(seen(), 3);
}
