//! `streamd topic`.

use serde_json::Value;

use crate::scene::{Scene, cells};

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let scene = Scene::new();
    let name = scene.name("orders");
    let created = scene.ok(&["topic", "create", &name, "-p", "3", "-r", "1", "-c", "retention.ms=7d"]);
    assert_eq!(created, format!("created {name}: 3 partitions, replication factor 1\n"));

    let listed = scene.ok(&["topics", "list"]);
    let row = cells(&listed).into_iter().find(|row| row[0] == name).expect("it is listed");
    assert_eq!(row[1..], ["3", "1"]);
    assert!(scene.ok(&["topic", "list", "--quiet"]).lines().any(|line| line == name), "names only");

    let described = scene.ok(&["topic", "describe", &name]);
    let described = cells(&described);
    assert!(described.contains(&vec!["retention.ms", "604800000 (7d)", "topic"]), "{described:?}");
    let partitions: Vec<_> = described.iter().skip_while(|row| row.get(1) != Some(&"LEADER")).collect();
    assert_eq!(partitions[3][0], "2");
    assert_eq!(partitions[3][5..], ["0", "0"], "start and end");

    assert_eq!(scene.ok(&["topic", "delete", &name]), format!("deleted {name}\n"));
    assert!(!scene.ok(&["topic", "list", "-q"]).lines().any(|line| line == name));
}

#[test]
fn several_topics_are_made_by_one_command_as_kafkas_script_spells_it() {
    let scene = Scene::new();
    let (a, b) = (scene.name("a"), scene.name("b"));
    let brokers = scene.address().to_owned();
    let created = scene.ok(&[
        "topic",
        "create",
        "--bootstrap-server",
        &brokers,
        "--topic",
        &a,
        "--topic",
        &b,
        "--partitions",
        "2",
        "--replication-factor",
        "1",
        "--config",
        "cleanup.policy=compact",
        "--if-not-exists",
    ]);
    assert_eq!(created.lines().count(), 2);
    let described = scene.ok(&["topic", "describe", &a, &b]);
    assert_eq!(described.matches("\ncleanup.policy  compact ").count(), 2, "{described}");
    scene.ok(&["topic", "delete", &a, &b]);
}

#[test]
fn a_topic_that_exists_is_refused_unless_that_is_fine() {
    let scene = Scene::new();
    let name = scene.topic("orders", 1);
    let error = scene.fails(1, &["topic", "create", &name]);
    assert_eq!(
        error,
        format!("topic {name} exists already. Take another name, or say --if-not-exists to let it be.\n")
    );
    assert_eq!(scene.ok(&["topic", "create", &name, "--if-not-exists"]), format!("{name} exists already\n"));
    assert_eq!(scene.ok(&["topic", "create", &name, "--if-not-exists", "-q"]), "");
}

#[test]
fn what_the_broker_refuses_is_said_with_what_to_do() {
    let scene = Scene::new();
    let name = scene.name("orders");
    assert_eq!(
        scene.fails(1, &["topic", "create", &name, "-r", "3"]),
        "replication factor 3 needs 3 brokers, 1 is up. Use -r 1, or omit it.\n"
    );
    let error = scene.fails(1, &["topic", "create", &name, "-c", "retention.ms=-7"]);
    assert!(error.contains("-7 for configuration retention.ms") && error.contains("at least -1"), "{error}");
    let error = scene.fails(1, &["topic", "create", &name, "-c", "retention=7d"]);
    assert!(error.ends_with("Did you mean \"retention.ms\"?\n"), "{error}");
    let error = scene.fails(2, &["topic", "create", &name, "-c", "retention.ms=soon"]);
    assert!(
        error.contains("retention.ms=soon")
            && error.contains("a number of milliseconds, or a time such as \"7d\""),
        "{error}"
    );
    let error = scene.fails(1, &["topic", "create", "no/name"]);
    assert!(error.contains("is no topic name"), "{error}");
    let (dotted, underscored) = (scene.name("a.b"), scene.name("a_b"));
    scene.ok(&["topic", "create", &dotted]);
    let error = scene.fails(1, &["topic", "create", &underscored]);
    assert!(error.contains("collides with existing topic") && !error.contains("is no topic name"), "{error}");
    let outcome = scene.run(&["produce", &underscored], b"v\n");
    assert!(outcome.code == 1 && outcome.err.contains("differs only in '.' and '_'"), "{outcome:?}");
    let missing = scene.name("missing");
    assert_eq!(
        scene.fails(1, &["topic", "describe", &missing]),
        format!("topic {missing} does not exist. Create it: streamd topic create {missing}\n")
    );
    assert_eq!(
        scene.fails(1, &["topic", "delete", &missing]),
        format!("topic {missing} does not exist. streamd topic list shows those that do.\n")
    );
    assert_eq!(scene.ok(&["topic", "delete", &missing, "--if-exists"]), "");
}

#[test]
fn one_refusal_among_several_does_not_hide_what_was_done() {
    let scene = Scene::new();
    let (old, new) = (scene.topic("old", 1), scene.name("new"));
    let outcome = scene.run(&["topic", "create", &old, &new], b"");
    assert_eq!(outcome.code, 1);
    assert!(outcome.out.starts_with(&format!("created {new}")), "{outcome:?}");
    assert!(outcome.err.starts_with(&format!("topic {old} exists already")), "{outcome:?}");
}

#[test]
fn programs_get_json() {
    let scene = Scene::new();
    let name = scene.name("orders");
    let parse = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let created = parse(scene.ok(&["topic", "create", &name, "-p", "2", "-o", "json"]));
    assert_eq!((&created[0]["created"], &created[0]["partitions"]), (&true.into(), &2.into()));
    let listed = parse(scene.ok(&["topic", "list", "-o", "json"]));
    let listed = listed.as_array().expect("an array");
    let row = listed.iter().find(|row| row["name"] == name.as_str()).expect("it is listed");
    assert_eq!(row["id"], created[0]["id"]);
    let described = parse(scene.ok(&["topic", "describe", &name, "-o", "json"]));
    assert_eq!(described[0]["partitions"][1]["end"], 0);
    let settings = described[0]["settings"].as_array().expect("settings");
    assert!(settings.iter().any(|row| row["name"] == "cleanup.policy" && row["set_by"] == "default"));
}

#[test]
fn settings_are_changed_and_taken_back() {
    let scene = Scene::new();
    let name = scene.topic("orders", 1);
    let changed = scene.ok(&["topic", "config", &name, "-c", "retention.ms=7d", "-c", "flush.ms=1s"]);
    assert_eq!(changed, format!("changed {name}: retention.ms=604800000 (7d), flush.ms=1000 (1s)\n"));
    let own = |scene: &Scene| {
        let described = scene.ok(&["topic", "describe", &name]);
        let own = cells(&described).into_iter().filter(|row| row.get(2) == Some(&"topic"));
        own.map(|row| format!("{}={}", row[0], row[1])).collect::<Vec<_>>()
    };
    assert_eq!(own(&scene), ["flush.ms=1000 (1s)", "retention.ms=604800000 (7d)"]);
    scene.ok(&["topic", "alter", &name, "--delete-config", "flush.ms", "--append", "cleanup.policy=compact"]);
    assert_eq!(own(&scene), ["cleanup.policy=delete,compact", "retention.ms=604800000 (7d)"]);
    scene.ok(&["topic", "config", "-t", &name, "--subtract", "cleanup.policy=delete", "-q"]);
    assert_eq!(own(&scene), ["cleanup.policy=compact", "retention.ms=604800000 (7d)"]);

    let error = scene.fails(1, &["topic", "config", &name, "-c", "retention=7d"]);
    assert!(error.ends_with("Did you mean \"retention.ms\"?\n"), "{error}");
    let error = scene.fails(1, &["topic", "config", &name, "-c", "retention.ms=-7"]);
    assert!(error.contains("at least -1"), "{error}");
    let error =
        scene.fails(2, &["topic", "config", &name, "-c", "flush.ms=1", "--delete-config", "flush.ms"]);
    assert_eq!(error, "flush.ms is named twice. Say once what it is to be.\n");
    for (wrong, meant) in [
        ("log.retention.ms", "retention.ms"),
        ("retention.mss", "retention.ms"),
        ("log.roll.hours", "segment.ms"),
    ] {
        let error = scene.fails(1, &["topic", "config", &name, "-c", &format!("{wrong}=1")]);
        assert!(error.ends_with(&format!("Did you mean \"{meant}\"?\n")), "{error}");
    }
    let missing = scene.name("missing");
    let error = scene.fails(1, &["topic", "config", &missing, "-c", "flush.ms=1"]);
    assert!(error.starts_with(&format!("topic {missing} does not exist")), "{error}");
}

#[test]
fn settings_are_shown_when_nothing_is_to_be_changed() {
    let scene = Scene::new();
    let (name, plain) = (scene.name("orders"), scene.topic("plain", 1));
    scene.ok(&["topic", "create", &name, "-c", "retention.ms=7d", "-c", "segment.bytes=1 GiB"]);
    let told = scene.ok(&["topic", "config", &name, &plain]);
    assert_eq!(
        cells(&told),
        [
            vec!["TOPIC", "SETTING", "VALUE", "SET BY"],
            vec![&name, "retention.ms", "604800000 (7d)", "topic"],
            vec![&name, "segment.bytes", "1073741824 (1 GiB)", "topic"],
            vec![&format!("{plain} has the default for every setting; -o wide shows them")],
        ]
    );
    let told = scene.ok(&["topic", "config", &plain, "-o", "wide"]);
    assert!(cells(&told).contains(&vec![plain.as_str(), "cleanup.policy", "delete", "default"]), "{told}");
    let told: Value =
        serde_json::from_str(&scene.ok(&["topic", "config", &name, "-o", "json"])).expect("JSON");
    let settings = told[0]["settings"].as_array().expect("settings");
    let found = settings.iter().find(|row| row["name"] == "retention.ms").expect("it is there");
    assert_eq!((&found["value"], &found["set_by"]), (&"604800000".into(), &"topic".into()));
    let missing = scene.name("missing");
    let error = scene.fails(1, &["topic", "config", &missing]);
    assert!(error.starts_with(&format!("topic {missing} does not exist")), "{error}");
}

#[test]
fn a_change_that_changes_nothing_is_not_told_as_one() {
    let mut scene = Scene::new();
    let name = scene.topic("orders", 1);
    for retention in ["1h", "1h", "2h"] {
        scene.ok(&["topic", "config", &name, "-c", &format!("retention.ms={retention}")]);
    }
    if let Some(broker) = scene.broker() {
        broker.wait_for_log("7200000");
        assert_eq!(broker.log().matches("topic settings changed").count(), 2);
    }
}

#[test]
fn a_compacted_topic_tells_what_is_compacted_and_when() {
    let scene = Scene::new();
    let name = scene.name("latest");
    scene.ok(&["topic", "create", &name, "-c", "cleanup.policy=compact", "-c", "min.compaction.lag.ms=1m"]);
    scene.feed(&["produce", &name, "-K", ":"], b"k:v\n");
    let told = scene.ok(&["topic", "describe", &name]);
    assert!(told.contains("superseded records, by compaction: cleanup.policy=compact"), "{told}");
    for part in ["min.cleanable.dirty.ratio=0.5", "segment.bytes=1 GiB", "min.compaction.lag.ms=1m"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn records_are_deleted_up_to_a_place_and_altogether() {
    let scene = Scene::new();
    let name = scene.topic("orders", 2);
    scene.feed(&["produce", &name, "-p", "0"], b"a\nb\nc\nd\n");
    scene.feed(&["produce", &name, "-p", "1"], b"e\nf\n");
    let trimmed = scene.ok(&["topic", "trim", &name, "-o", "3", "-p", "0"]);
    assert_eq!(cells(&trimmed)[1..], [[name.as_str(), "0", "0", "3"]]);
    let trimmed = scene.ok(&["topic", "trim", &name, "-o", "-1", "-O", "json"]);
    let trimmed: Value = serde_json::from_str(&trimmed).expect("JSON");
    assert_eq!((&trimmed[0]["begins_at"], &trimmed[1]["begins_at"]), (&3.into(), &1.into()));
    assert_eq!(scene.ok(&["consume", &name, "-p", "1", "-e"]), "f\n");
    let error = scene.fails(1, &["topic", "trim", &name, "-o", "9", "-p", "1"]);
    assert_eq!(
        error,
        format!(
            "partition 1 of {name} ends at 2, before 9: nothing was deleted. -o end deletes all there is.\n"
        )
    );
    let emptied = scene.ok(&["topic", "empty", &name]);
    assert_eq!(cells(&emptied)[1..], [[name.as_str(), "0", "3", "4"], [name.as_str(), "1", "1", "2"]]);
    assert_eq!(scene.ok(&["consume", &name, "-e"]), "");
    let compacted = scene.name("compacted");
    scene.ok(&["topic", "create", &compacted, "-c", "cleanup.policy=compact"]);
    let error = scene.fails(1, &["topic", "empty", &compacted]);
    assert!(
        error.contains("-c cleanup.policy=compact,delete -c retention.ms=-1 -c retention.bytes=-1"),
        "{error}"
    );
    assert!(error.contains("but then records expire as well"), "{error}");
}

#[test]
fn a_description_says_what_becomes_of_the_records() {
    let scene = Scene::new();
    let name = scene.name("orders");
    scene.ok(&["topic", "create", &name, "-p", "2", "-c", "retention.ms=1h", "-c", "retention.bytes=1 GiB"]);
    scene.feed(&["produce", &name, "-p", "1"], b"a\nb\n");
    let described = scene.ok(&["topic", "describe", &name]);
    let rows = cells(&described);
    let outlook: Vec<_> = rows.iter().skip_while(|row| row.get(1) != Some(&"SIZE")).collect();
    assert_eq!(outlook[0][..], ["PARTITION", "SIZE", "OLDEST RECORD", "DELETED NEXT"]);
    assert_eq!(outlook[1][0], "0");
    assert_eq!(outlook[1].last(), Some(&"nothing: it is empty"));
    assert!(outlook[2][2].ends_with("s old"), "{outlook:?}");
    assert!(outlook[2][3].starts_with("oldest segment in 59m "), "{outlook:?}");
    assert!(outlook[2][3].ends_with("retention.ms=1h, or beyond retention.bytes=1 GiB"), "{outlook:?}");
    let told: Value =
        serde_json::from_str(&scene.ok(&["topic", "describe", &name, "-o", "json"])).expect("JSON");
    let partition = &told[0]["partitions"][1];
    assert!(partition["size_bytes"].as_i64().is_some_and(|bytes| bytes > 0), "{partition}");
    let oldest = partition["oldest_timestamp"].as_i64().expect("a time");
    assert_eq!(partition["deleted_next"]["not_before"], oldest + 3_600_000);
    assert_eq!(partition["deleted_next"]["why"][1], "retention.bytes");
}

#[test]
fn wide_tables_have_ids_and_every_setting() {
    let scene = Scene::new();
    let name = scene.topic("orders", 1);
    let listed = scene.ok(&["topic", "list", "-o", "wide"]);
    let row = cells(&listed).into_iter().find(|row| row[0] == name).expect("it is listed");
    assert_eq!((row[3], row[4].len(), row[5]), ("0", 22, "no"));
    let described = scene.ok(&["topic", "describe", &name, "-o", "wide"]);
    assert!(cells(&described).contains(&vec!["cleanup.policy", "delete", "default"]), "{described}");
}
