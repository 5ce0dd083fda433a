//! What the log says of transactions that somebody ends or is refused: who it was, what it touched, what to do.

use std::time::Duration;

use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, ProducerId, TransactionalId, TxnOffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::held_back::UNVERIFIED;
use crate::scene::Scene;
use crate::support::raw::Connection;
use crate::transactions::hanging;

const WAIT: Duration = Duration::from_secs(30);

fn event(scene: &mut Scene, words: &str) -> Value {
    scene.broker().expect("our own").wait_for_event(words)
}

fn producer(scene: &Scene, client: &str, id: &str, timeout_ms: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", scene.address())
        .set("client.id", client)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", timeout_ms)
        .create()
        .expect("a producer")
}

#[test]
fn who_ends_the_transaction_of_another_is_named() {
    let mut scene = Scene::with("");
    let topic = scene.topic("t", 2);
    let _ended = hanging(&scene, "payments", &topic, &[0, 1]);
    scene.ok(&["txn", "abort", "payments"]);
    let by_operator = event(&mut scene, "\"streamd txn abort\"");
    assert_eq!(by_operator["transactional_id"], "payments");
    assert_eq!(by_operator["partitions"], "t-0, t-1");
    let words = by_operator["message"].as_str().expect("words");
    assert!(words.contains("takes this transactional id") && words.contains(" from 127.0.0.1:"), "{words}");

    let _fenced = hanging(&scene, "orders", &topic, &[0]);
    let _second = producer(&scene, "second", "orders", "60000").init_transactions(WAIT);
    let by_producer = event(&mut scene, "\"second\"");
    assert_eq!(
        (&by_producer["transactional_id"], &by_producer["partitions"]),
        (&"orders".into(), &"t-0".into())
    );
}

#[test]
fn a_time_out_names_the_partitions_that_it_ends_the_transaction_in() {
    let mut scene = Scene::with("");
    let topic = scene.topic("t", 1);
    let short = producer(&scene, "short", "short", "1000");
    short.init_transactions(WAIT).expect("an id");
    short.begin_transaction().expect("a transaction");
    short.send(BaseRecord::<(), str>::to(&topic).payload("x")).map_err(|(error, _)| error).expect("room");
    short.flush(WAIT).expect("it is written");
    let told = event(&mut scene, "longer than its time-out");
    assert_eq!((&told["level"], &told["partitions"]), (&"WARN".into(), &"t-0".into()));
    assert_eq!((&told["transactional_id"], &told["timeout_ms"]), (&"short".into(), &1_000.into()));
}

#[test]
fn a_time_limit_that_is_refused_is_told_of_once_with_what_to_set() {
    let mut scene = Scene::with("");
    for _ in 0..2 {
        let refused = producer(&scene, "flink", "sink-0", "3600000").init_transactions(WAIT);
        assert!(refused.is_err(), "it is above the limit");
    }
    let told = event(&mut scene, "INVALID_TRANSACTION_TIMEOUT");
    assert_eq!((&told["level"], &told["transactional_id"]), (&"WARN".into(), &"sink-0".into()));
    assert_eq!((&told["asked_ms"], &told["limit_ms"]), (&3_600_000.into(), &900_000.into()));
    let words = told["message"].as_str().expect("words");
    for word in ["\"flink\"", "127.0.0.1", "transaction.timeout.ms", "transaction.max.timeout.ms"] {
        assert!(words.contains(word), "{words}");
    }
    let log = scene.broker().expect("our own").log();
    assert_eq!(log.matches("INVALID_TRANSACTION_TIMEOUT").count(), 1, "{log}");
}

/// A topic with some records, and a group that has committed the first of them.
fn group_with_offset(scene: &Scene, topic: &str, group: &str) -> String {
    let topic = scene.topic(topic, 1);
    scene.feed(&["produce", &topic, "-q"], b"a\nb\nc\n");
    assert_eq!(scene.ok(&["consume", &topic, "-g", group, "-n", "1", "-q"]), "a\n");
    topic
}

#[test]
fn a_group_that_waits_for_an_open_transaction_is_told_of_with_what_ends_it() {
    let mut scene = Scene::with("");
    let topic = group_with_offset(&scene, "t", "g");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", scene.address())
        .set("group.id", "g")
        .create()
        .expect("a consumer");
    let stuck = hanging(&scene, "copier", &topic, &[0]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(2)).expect("an offset");
    let metadata = consumer.group_metadata().expect("its group");
    stuck.send_offsets_to_transaction(&offsets, &metadata, WAIT).expect("it is taken");

    let short = scene.fails(4, &["consume", &topic, "-g", "g", "-n", "1", "--timeout", "2"]);
    assert!(short.contains("UNSTABLE_OFFSET_COMMIT") && short.contains("streamd txn list --open"), "{short}");
    let waiting = scene.start(&["consume", &topic, "-g", "g", "-n", "1", "-q", "--timeout", "60"]);
    let told = event(&mut scene, "consumers of a group wait for offsets");
    assert_eq!((&told["level"], &told["group"]), (&"WARN".into(), &"g".into()));
    assert_eq!((&told["transactional_id"], &told["state"]), (&"copier".into(), &"Ongoing".into()));
    assert!(told["open_for"].as_str().is_some_and(|time| time.ends_with('s')), "{told}");
    let words = told["message"].as_str().expect("words");
    assert!(words.ends_with("end it: streamd txn abort copier"), "{words}");
    scene.ok(&["txn", "abort", "copier"]);
    assert_eq!(waiting.line(), "b", "the offset before");
}

#[test]
fn a_group_that_waits_for_a_transaction_that_no_coordinator_knows_is_told_of_too() {
    let mut scene = Scene::with(UNVERIFIED);
    let topic = group_with_offset(&scene, "t", "g");
    let name = StrBytes::from_string(topic.clone());
    let place = TxnOffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(2);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(StrBytes::from_static_str("nobody")))
        .with_group_id(GroupId(StrBytes::from_static_str("g")))
        .with_producer_id(ProducerId(4_711))
        .with_producer_epoch(0)
        .with_generation_id(-1)
        .with_topics(vec![
            TxnOffsetCommitRequestTopic::default().with_name(name.into()).with_partitions(vec![place]),
        ]);
    let answer = Connection::to(scene.address()).call(3, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    let waiting = scene.start(&["consume", &topic, "-g", "g", "-n", "1", "-q", "--timeout", "60"]);
    let told = event(&mut scene, "no coordinator knows, and cannot");
    assert_eq!((&told["group"], &told["producer_id"]), (&"g".into(), &4_711.into()));
    let words = told["message"].as_str().expect("words");
    let (_, command) = words.rsplit_once("streamd ").expect("a command");
    scene.ok(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(waiting.line(), "b");
}
