//! What the log says of a transaction that holds readers back for longer than a minute, and that doing what it says ends
//! it. The broker's clock is set forward.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::TransactionalId;
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;
use streamd::record::build::{BatchBuilder, NewRecord};

use crate::clock::{self, Clock};
use crate::scene::{Scene, cells};
use crate::support::raw::{self, Connection};
use crate::transactions::{committed, hanging, json};

/// Half of the time after which a transaction is told of.
const HALF: Duration = Duration::from_secs(31);
/// What the coordinator's line begins with, and the partition's.
const TOLD: &str = "a transaction holds read_committed consumers back";
const TOLD_BY_PARTITION: &str = "an open transaction that no coordinator tells of";

fn scene(config: &str) -> Option<(Scene, Clock)> {
    let (broker, clock) = clock::broker(config)?;
    Some((Scene::of(broker), clock))
}

/// Lets the broker look at its clock.
fn settle() {
    thread::sleep(Duration::from_millis(2_500));
}

/// How often the log has a line with these words.
fn count(scene: &mut Scene, words: &str) -> usize {
    let broker = scene.broker().expect("our own");
    broker.log().lines().filter(|line| line.contains(words)).count()
}

fn wait_for(scene: &mut Scene, words: &str) -> Value {
    scene.broker().expect("our own").wait_for_event(words)
}

/// Runs the command that a line of the log ends in.
fn do_as_told(scene: &Scene, told: &Value) -> String {
    let message = told["message"].as_str().expect("words");
    let (_, command) = message.rsplit_once("streamd ").expect("a command");
    scene.ok(&command.split(' ').collect::<Vec<_>>())
}

#[test]
fn the_log_says_who_holds_readers_back_since_when_and_where_and_what_ends_it() {
    let Some((mut scene, mut clock)) = scene("") else { return };
    let (topic, other) = (scene.topic("payments", 2), scene.topic("orders", 1));
    let _producer = hanging(&scene, "payments-1", &topic, &[0, 1]);
    scene.feed(&["produce", &topic, "-q", "-p", "1"], b"after\n");
    scene.feed(&["produce", &other, "-q"], b"elsewhere\n");
    clock.forward(HALF);
    settle();
    assert_eq!(count(&mut scene, TOLD), 0, "it may be a long one");
    clock.forward(HALF);
    let told = wait_for(&mut scene, TOLD);
    let described = json(&scene, &["txn", "describe", "payments-1"])[0].clone();
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["transactional_id"], "payments-1");
    assert_eq!(told["producer_id"], described["producer_id"]);
    assert_eq!(told["partitions"], "payments-0, payments-1");
    assert_eq!((&told["state"], &told["timeout_ms"]), (&"Ongoing".into(), &600_000.into()));
    let open_ms = told["open_ms"].as_i64().expect("a number");
    assert!((60_000..120_000).contains(&open_ms), "{told}");
    assert!(told["open_for"].as_str().is_some_and(|time| time.starts_with("1m")), "{told}");

    // Its partitions say it no second time, though they look every ten seconds and give the coordinator five.
    for _ in 0..2 {
        clock.forward(Duration::from_secs(11));
        settle();
    }
    assert_eq!((count(&mut scene, TOLD), count(&mut scene, TOLD_BY_PARTITION)), (1, 0));
    clock.forward(Duration::from_secs(300));
    settle();
    assert_eq!(count(&mut scene, TOLD), 2, "every five minutes it is said again");

    assert_eq!(committed(&scene, &topic), Vec::<String>::new());
    let done = do_as_told(&scene, &told);
    assert_eq!(done, "aborted the transaction of payments-1; its producer is fenced\n");
    assert_eq!(committed(&scene, &topic), ["after"]);
    clock.forward(Duration::from_secs(400));
    settle();
    assert_eq!(count(&mut scene, TOLD), 2, "it is over");
}

/// A batch of somebody who says to be in a transaction.
fn in_transaction(producer_id: i64, sequence: i32) -> Bytes {
    let mut batch = BatchBuilder::new().producer(producer_id, 0, sequence).transactional(true);
    batch.push(&NewRecord { timestamp: 1, value: Some(b"lost"), ..NewRecord::default() });
    batch.build().expect("a batch")
}

/// What producers before Kafka 3.6 left behind: without verification a batch opens a transaction of which nobody knows.
pub(crate) fn open_unknown(scene: &Scene, topic: &str, producer_id: i64) {
    open_unknown_in(scene, topic, 0, producer_id);
}

fn open_unknown_in(scene: &Scene, topic: &str, partition: i32, producer_id: i64) {
    let mut connection = Connection::to(scene.address());
    let id = TransactionalId(StrBytes::from_static_str("nobody"));
    let request =
        raw::produce(topic, partition, -1, in_transaction(producer_id, 0)).with_transactional_id(Some(id));
    assert_eq!(raw::produced(&connection.call(9, &request)).0, 0);
}

/// Settings with which a partition asks no coordinator.
pub(crate) const UNVERIFIED: &str = "[kafka]\n\"transaction.partition.verification.enable\" = false\n";

#[test]
fn the_log_says_where_a_transaction_hangs_that_no_coordinator_knows_and_what_ends_it() {
    let Some((mut scene, mut clock)) = scene(UNVERIFIED) else { return };
    let topic = scene.topic("payments", 2);
    scene.feed(&["produce", &topic, "-q", "-p", "0"], b"before\n");
    open_unknown(&scene, &topic, 4_711);
    scene.feed(&["produce", &topic, "-q", "-p", "0"], b"after\n");
    assert_eq!(committed(&scene, &topic), ["before"]);
    clock.forward(HALF);
    settle();
    assert_eq!(count(&mut scene, TOLD_BY_PARTITION), 0);
    // Comes of age later, and is in the line all the same.
    open_unknown_in(&scene, &topic, 1, 4_711);
    clock.forward(HALF);
    let told = wait_for(&mut scene, TOLD_BY_PARTITION);
    assert_eq!(told["level"], "WARN");
    assert_eq!((&told["topic"], &told["partition"]), (&"payments".into(), &0.into()));
    assert_eq!((&told["producer_id"], &told["first_offset"]), (&4_711.into(), &1.into()));
    assert_eq!(told["partitions"], "payments-0, payments-1");
    assert!(told["open_for"].as_str().is_some_and(|time| time.starts_with("1m")), "{told}");
    for _ in 0..3 {
        clock.forward(Duration::from_secs(15));
        settle();
    }
    assert_eq!(count(&mut scene, TOLD_BY_PARTITION), 1, "once is enough, for all partitions");

    let done = do_as_told(&scene, &told);
    assert_eq!(done, "aborted the transaction of producer 4711 in payments-0, from 1\n");
    assert_eq!(committed(&scene, &topic), ["before", "after"]);
    let gone = scene.fails(1, &["txn", "abort", "--topic", &topic, "--partition", "0"]);
    assert!(gone.starts_with("no transaction is open in payments-0: there is nothing to abort."), "{gone}");
}

#[test]
fn of_several_that_hang_in_a_partition_the_one_that_is_named_is_ended() {
    let scene = Scene::with(UNVERIFIED);
    let topic = scene.topic("payments", 1);
    open_unknown(&scene, &topic, 4_711);
    open_unknown(&scene, &topic, 4_712);
    let listed = scene.ok(&["txn", "list", "--topic", &topic]);
    let rows = cells(&listed);
    assert_eq!(rows[1][..6], ["payments", "0", "-", "4711", "0", "2"], "{listed}");
    assert_eq!(rows[2][..6], ["payments", "0", "-", "4712", "1", "-"], "the first one holds it all back");
    let wide = scene.ok(&["txn", "list", "--topic", &topic, "-o", "wide"]);
    assert_eq!(cells(&wide)[1][8..12], ["0", "-1", "0", "2"], "{wide}");
    assert_eq!(scene.ok(&["txn", "list", "--topic", &topic, "-q"]), "payments-0\npayments-0\n");

    let abort = ["txn", "abort", "--topic", &topic, "--partition", "0"];
    let which = scene.fails(1, &abort);
    assert!(which.starts_with("say which one with --producer; these are open in payments-0:\n"), "{which}");
    assert!(which.contains("4711") && which.contains("4712"), "{which}");
    let other = scene.fails(1, &[&abort[..], &["--producer", "4713"]].concat());
    let told = "no transaction of producer 4713 is open in payments-0. Take the producer of one of these:\n";
    assert!(other.starts_with(told) && other.contains("4711") && other.contains("4712"), "{other}");
    assert_eq!(scene.ok(&[&abort[..], &["--producer", "4712", "-q"]].concat()), "");
    let left = scene.ok(&abort);
    assert_eq!(left, "aborted the transaction of producer 4711 in payments-0, from 0\n");
    assert_eq!(committed(&scene, &topic), Vec::<String>::new(), "what they wrote is not seen");
    scene.feed(&["produce", &topic, "-q"], b"after\n");
    assert_eq!(committed(&scene, &topic), ["after"]);
}
