//! Transactions that hang: open in partitions, and known to no coordinator.

use std::thread;
use std::time::Duration;

use rdkafka::producer::Producer as _;

use crate::held_back::{UNVERIFIED, open_unknown};
use crate::scene::{Scene, cells};
use crate::transactions::{committed, hanging, json};

#[test]
fn those_that_no_coordinator_knows_are_found_in_all_topics_and_ended_by_the_commands_of_the_list() {
    let scene = Scene::with(UNVERIFIED);
    let (payments, orders) = (scene.topic("payments", 2), scene.topic("orders", 1));
    let _known = hanging(&scene, "known", &orders, &[0]);
    assert_eq!(scene.ok(&["txn", "list", "--hung", "-o", "json"]), "[]\n", "a coordinator knows that one");
    let told = scene.run(&["txn", "list"], b"").err;
    assert!(!told.contains("--hung"), "{told}");

    open_unknown(&scene, &payments, 4_711);
    open_unknown(&scene, &orders, 4_712);
    let list = scene.run(&["txn", "list", "--open"], b"");
    assert!(list.out.contains("known") && !list.out.contains("4711"), "{list:?}");
    assert!(
        list.err.contains("2 more transactions") && list.err.ends_with("streamd txn list --hung\n"),
        "{list:?}"
    );
    let hung = scene.ok(&["txn", "list", "--hung"]);
    let rows = cells(&hung);
    assert_eq!(rows[0].last(), Some(&"END WITH"));
    let places: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1], row[2], row[3])).collect();
    assert_eq!(places, [("orders", "0", "-", "4712"), ("payments", "0", "-", "4711")], "{hung}");
    assert_eq!(scene.ok(&["txn", "list", "--hung", "-q"]), "orders-0\npayments-0\n");
    assert_eq!(scene.ok(&["txn", "list", "--hung", "-t", &payments, "-q"]), "payments-0\n");
    let row = json(&scene, &["txn", "list", "--hung"])[1].clone();
    // The time of its first record, which the test has set.
    assert_eq!((&row["started_ms"], &row["hangs"]), (&1.into(), &true.into()), "{row}");

    for row in &rows[1..] {
        let command = row.last().and_then(|told| told.strip_prefix("streamd ")).expect("a command");
        scene.ok(&command.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(scene.ok(&["txn", "list", "--hung", "-o", "json"]), "[]\n");
    scene.feed(&["produce", &payments, "-q", "-p", "0"], b"after\n");
    assert_eq!(committed(&scene, &payments), ["after"]);
}

#[test]
fn how_long_a_transaction_is_open_counts_for_those_of_a_topic_too() {
    let scene = Scene::new();
    let (topic, id) = (scene.topic("t", 1), scene.name("payments"));
    let producer = hanging(&scene, &id, &topic, &[0]);
    thread::sleep(Duration::from_millis(1_100));
    let older = |than| scene.ok(&["txn", "list", "--topic", &topic, "--older-than", than, "-q"]);
    assert_eq!((older("1s"), older("1h")), (format!("{id}\n"), String::new()));
    let list = scene.ok(&["txn", "list", "--topic", &topic]);
    assert_eq!(cells(&list)[0][6], "OPEN FOR");
    assert!(cells(&list)[1][6].ends_with('s'), "{list}");
    let told = || scene.run(&["txn", "list", "--topic", &topic], b"").err;
    let only = format!("If its producer does not come back, end it: streamd txn abort {id}\n");
    assert_eq!(told(), only);
    let other = hanging(&scene, &scene.name("orders"), &topic, &[0]);
    assert_eq!(told(), format!("The command that ends each: streamd txn list --topic {topic} -o wide\n"));
    other.abort_transaction(Duration::from_secs(30)).expect("it is aborted");
    producer.abort_transaction(Duration::from_secs(30)).expect("it is aborted");
    assert_eq!(told(), "");
}
