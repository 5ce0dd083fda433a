//! `streamd consume -g` and `streamd group`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scene::{Scene, cells, lines};

fn described(scene: &Scene, group: &str) -> Value {
    let text = scene.ok(&["group", "describe", group, "-o", "json"]);
    serde_json::from_str::<Value>(&text).expect("JSON")[0].clone()
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let scene = Scene::new();
    let (topic, group) = (scene.topic("t", 1), scene.name("g"));
    let input: String = (0..10).map(|n| format!("{n}\n")).collect();
    scene.feed(&["produce", &topic], input.as_bytes());
    assert_eq!(scene.ok(&["consume", &topic, "-g", &group, "-n", "4"]), "0\n1\n2\n3\n");
    assert_eq!(scene.ok(&["consume", &topic, "-g", &group, "-n", "2"]), "4\n5\n");
    let outcome = scene.run(&["consume", &topic, "-g", &group, "-e", "-o", "start"], b"");
    assert_eq!(outcome.out, "6\n7\n8\n9\n");
    assert!(outcome.err.contains("goes on where it stopped"), "{outcome:?}");
    assert_eq!(scene.ok(&["consume", &topic, "-g", &group, "-e"]), "");
}

#[test]
fn a_new_group_begins_where_it_is_told_to() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    scene.feed(&["produce", &topic], b"a\nb\nc\n");
    let group = |name: &str| scene.name(name);
    assert_eq!(scene.ok(&["consume", &topic, "-g", &group("from-start"), "-e"]), "a\nb\nc\n");
    assert_eq!(scene.ok(&["consume", &topic, "-g", &group("from-end"), "-e", "-o", "end"]), "");
    assert_eq!(scene.ok(&["consume", &topic, "-g", &group("last"), "-e", "-o", "-1"]), "c\n");
}

#[test]
fn ctrl_c_commits_and_leaves() {
    let scene = Scene::new();
    let (topic, group) = (scene.topic("t", 1), scene.name("g"));
    let consumer = scene.start(&["consume", &topic, "-g", &group]);
    scene.feed(&["produce", &topic], b"a\nb\n");
    assert_eq!(consumer.take(2), ["a", "b"]);
    let before = described(&scene, &group);
    assert_eq!(
        (before["state"].as_str(), before["members"].as_array().map(Vec::len)),
        (Some("Stable"), Some(1))
    );
    assert_eq!(before["members"][0]["assignment"][&topic], Value::from(vec![0]));
    assert_eq!(consumer.interrupt(), (0, Vec::new()));
    let after = described(&scene, &group);
    assert_eq!(
        (after["state"].as_str(), after["members"].as_array().map(Vec::len)),
        (Some("Empty"), Some(0))
    );
    assert_eq!(after["partitions"][0]["committed"], 2);
    assert_eq!(after["lag"], 0);
}

#[test]
fn lag_is_what_is_not_committed_yet() {
    let scene = Scene::new();
    let (topic, group) = (scene.topic("t", 2), scene.name("g"));
    for partition in ["0", "1"] {
        scene.feed(&["produce", &topic, "-p", partition], b"a\nb\nc\n");
    }
    scene.ok(&["consume", &topic, "-g", &group, "-e"]);
    scene.feed(&["produce", &topic, "-p", "1"], b"d\ne\n");
    let table = scene.ok(&["groups", "describe", &group]);
    let rows = cells(&table);
    assert!(rows.contains(&vec![topic.as_str(), "0", "3", "3", "0", "-", "-"]), "{table}");
    assert!(rows.contains(&vec![topic.as_str(), "1", "3", "5", "2", "-", "-"]), "{table}");
    assert_eq!(rows[1][4], "2", "the group's lag");
    let wide = scene.ok(&["group", "list", "-o", "wide"]);
    let row = cells(&wide).into_iter().find(|row| row[0] == group).expect("it is listed");
    assert_eq!((row[1], row[3]), ("Empty", "consumer"));
    assert!(scene.ok(&["group", "list", "-q"]).lines().any(|line| line == group));
}

#[test]
fn offsets_of_a_deleted_topic_do_not_disturb_the_view() {
    let scene = Scene::new();
    let (kept, gone, group) = (scene.topic("kept", 1), scene.topic("gone", 1), scene.name("g"));
    for topic in [&kept, &gone] {
        scene.feed(&["produce", topic], b"a\n");
    }
    scene.ok(&["consume", &kept, &gone, "-g", &group, "-e"]);
    scene.ok(&["topic", "delete", &gone]);
    let view = described(&scene, &group);
    let rows = view["partitions"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["topic"] == kept.as_str() && row["lag"] == 0), "{view}");
    assert!(rows.iter().all(|row| row["topic"] != gone.as_str() || row["lag"].is_null()), "{view}");
}

#[test]
fn members_share_the_partitions_and_take_over_from_each_other() {
    let scene = Scene::new();
    let (topic, group) = (scene.topic("t", 4), scene.name("g"));
    let args = ["consume", &topic, "-g", &group, "-f", "%p %v\\n", "-q"];
    let first = scene.start(&args);
    await_members(&scene, &group, 1);
    let second = scene.start(&args);
    await_members(&scene, &group, 2);
    let mut expected = BTreeSet::new();
    for partition in 0..4 {
        scene.feed(
            &["produce", &topic, "-q", "-p", &partition.to_string()],
            format!("a{partition}\n").as_bytes(),
        );
        expected.insert(format!("{partition} a{partition}"));
    }
    let (one, two) = (first.take(2), second.take(2));
    assert_eq!(one.iter().chain(&two).cloned().collect::<BTreeSet<_>>(), expected, "each record once");

    assert_eq!(second.interrupt(), (0, Vec::new()));
    await_members(&scene, &group, 1);
    for partition in 0..4 {
        scene.feed(&["produce", &topic, "-q", "-p", &partition.to_string()], b"b\n");
    }
    let rest: BTreeSet<_> = first.take(4).into_iter().collect();
    assert_eq!(
        rest,
        (0..4).map(|partition| format!("{partition} b")).collect(),
        "none of the first ones again"
    );
    assert_eq!(first.interrupt(), (0, Vec::new()));
}

#[test]
fn a_member_that_dies_is_replaced_and_its_records_come_again() {
    let scene = Scene::new();
    let (topic, group) = (scene.topic("t", 2), scene.name("g"));
    let args = ["consume", &topic, "-g", &group, "-q"];
    let victim = scene.start(&args);
    scene.feed(&["produce", &topic, "-q"], b"a\n");
    assert_eq!(victim.line(), "a");
    victim.kill();
    let heir = scene.start(&args);
    // Nothing was committed, and nobody said goodbye: the session of 10 s has to run out.
    assert_eq!(heir.line(), "a");
    assert_eq!(heir.interrupt(), (0, Vec::new()));
}

#[test]
fn a_group_survives_its_broker() {
    let mut scene = Scene::new();
    let (topic, group) = (scene.topic("t", 1), scene.name("g"));
    let address = scene.address().to_owned();
    let consumer = scene.start(&["consume", &topic, "-g", &group, "-q"]);
    for round in 0..3 {
        scene.feed(&["produce", &topic, "-q"], format!("{round}\n").as_bytes());
        assert_eq!(consumer.line(), round.to_string());
        let Some(broker) = scene.broker() else { return };
        broker.kill();
        broker.up_at(&address);
    }
    assert_eq!(consumer.interrupt().0, 0);
    assert_eq!(described(&scene, &group)["partitions"][0]["committed"], 3);
}

#[test]
fn what_contradicts_itself_or_does_not_exist_is_refused() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    assert!(scene.fails(2, &["consume", &topic, "-g", "g", "-p", "0"]).contains("cannot be used with"));
    assert_eq!(scene.fails(2, &["consume", &topic, "-g", ""]), "-g: a group needs a name.\n");
    let group = scene.name("missing");
    assert_eq!(
        scene.fails(1, &["group", "describe", &group]),
        format!("group {group} does not exist. streamd group list shows those that do.\n")
    );
}

#[test]
fn a_broker_without_groups_lists_none() {
    let mut scene = Scene::new();
    if scene.broker().is_some() {
        assert_eq!(lines(&scene.ok(&["group", "list"])), ["GROUP  STATE"]);
        assert_eq!(scene.ok(&["group", "list", "-o", "json"]), "[]\n");
    }
}

/// Waits until a group has so many members and is at rest.
fn await_members(scene: &Scene, group: &str, count: usize) {
    let began = Instant::now();
    loop {
        let outcome = scene.run(&["group", "describe", group, "-o", "json"], b"");
        let view: Value = serde_json::from_str(&outcome.out).unwrap_or_default();
        let members = view[0]["members"].as_array().map(Vec::len);
        if view[0]["state"] == "Stable" && members == Some(count) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{group}: {view}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
