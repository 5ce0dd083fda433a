//! What the log says of transactions that somebody ends or is refused: who it was, what it touched, what to do.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use crate::scene::Scene;
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
