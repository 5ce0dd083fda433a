//! `streamd consume`.

use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::scene::{Scene, lines};

/// A topic with one partition and these values.
fn topic_with(scene: &Scene, values: &[&str]) -> String {
    let topic = scene.topic("t", 1);
    scene.feed(
        &["produce", &topic],
        values.iter().map(|value| format!("{value}\n")).collect::<String>().as_bytes(),
    );
    topic
}

#[test]
fn reading_begins_where_it_is_told_to() {
    let scene = Scene::new();
    let topic = topic_with(&scene, &["0", "1", "2", "3", "4"]);
    for (offset, expected) in [
        ("start", "0 1 2 3 4"),
        ("beginning", "0 1 2 3 4"),
        ("3", "3 4"),
        ("-2", "3 4"),
        ("+2", "2 3 4"),
        ("-10", "0 1 2 3 4"),
        ("100", ""),
        ("end", ""),
        ("@-5m", "0 1 2 3 4"),
        ("@2026-11-21", "0 1 2 3 4"),
        ("@2126-11-21T09:00", ""),
    ] {
        let out = scene.ok(&["consume", &topic, "-o", offset, "-e", "-f", "%v "]);
        assert_eq!(out.trim_end(), expected, "-o {offset}");
    }
    assert_eq!(scene.ok(&["cat", &topic, "--from-beginning", "--max-messages", "2"]), "0\n1\n");
    assert_eq!(scene.ok(&["consume", "-t", &topic, "-o", "1", "-c", "2"]), "1\n2\n");
    assert_eq!(scene.ok(&["consume", &topic, "-n", "0"]), "");
}

#[test]
fn an_offset_past_the_end_is_told_instead_of_waited_for_in_silence() {
    let scene = Scene::new();
    let topic = topic_with(&scene, &["0", "1"]);
    let waiting = scene.start_telling(&["consume", &topic, "-o", "100"]);
    let told = format!("{topic}-0: offset 100 is past the end, which is 2: waiting for the next record");
    assert_eq!(waiting.line(), told);
    scene.feed(&["produce", &topic], b"2\n");
    assert_eq!(waiting.line(), "2");
    waiting.interrupt();
    let outcome = scene.run(&["consume", &topic, "-o", "+9", "-e"], b"");
    assert_eq!(
        outcome.err,
        format!("{topic}-0: offset 9 is past the end, which is 3: nothing to read there\n")
    );
    let waiting = scene.start_telling(&["consume", &topic, "-o", "@2126-11-21T09:00:00Z"]);
    let told = format!("{topic}: no record at or after 2126-11-21T09:00:00Z: waiting for the next record");
    assert_eq!(waiting.line(), told);
    scene.feed(&["produce", &topic], b"3\n");
    assert_eq!(waiting.line(), "3");
    waiting.interrupt();
    let outcome = scene.run(&["consume", &topic, "-o", "@2126-11-21T09:00:00Z", "-e"], b"");
    let told = format!("{topic}: no record at or after 2126-11-21T09:00:00Z: nothing to read there\n");
    assert_eq!(outcome.err, told);
    // Told of some partitions, not of all.
    let wide = scene.topic("wide", 9);
    let outcome = scene.run(&["consume", &wide, "-o", "7", "-e"], b"");
    assert_eq!(outcome.err.lines().count(), 4, "{}", outcome.err);
    assert!(outcome.err.ends_with("the same in 6 more partitions\n"), "{}", outcome.err);
    assert_eq!(scene.run(&["consume", "-q", &topic, "-o", "100", "-e"], b"").err, "");
}

#[test]
fn a_time_finds_the_first_record_at_or_after_it() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let base = 1_795_000_000_000_i64;
    let input: String = (0..10).map(|n| format!("{} {n}\n", base + n * 60_000)).collect();
    scene.feed(&["produce", &topic, "-f", "%T %v"], input.as_bytes());
    let first = |time: String| scene.ok(&["consume", &topic, "-o", &time, "-n", "1"]);
    assert_eq!(first(format!("@{}", base + 120_000)), "2\n");
    assert_eq!(first(format!("@{}", base + 120_001)), "3\n");
    assert_eq!(first(format!("@{}", base / 1_000)), "0\n");
}

#[test]
fn partitions_can_be_chosen() {
    let scene = Scene::new();
    let topic = scene.topic("t", 3);
    for partition in ["0", "1", "2"] {
        scene.feed(&["produce", &topic, "-p", partition], format!("in {partition}\n").as_bytes());
    }
    assert_eq!(scene.ok(&["consume", &topic, "-p", "1", "-e"]), "in 1\n");
    let mut both: Vec<_> =
        scene.ok(&["consume", &topic, "-p", "0,2", "-e"]).lines().map(ToOwned::to_owned).collect();
    both.sort();
    assert_eq!(both, ["in 0", "in 2"]);
    let error = scene.fails(2, &["consume", &topic, "-p", "3"]);
    assert_eq!(error, format!("topic {topic} has 3 partitions, and none with the number 3.\n"));
}

#[test]
fn several_topics_are_read_at_once() {
    let scene = Scene::new();
    let (a, b) = (scene.topic("a", 2), scene.topic("b", 1));
    scene.feed(&["produce", &a], b"from a\n");
    scene.feed(&["produce", &b], b"from b\n");
    let out = scene.ok(&["consume", &a, &b, "-e", "-f", "%t %v\\n"]);
    let mut out = lines(&out);
    out.sort_unstable();
    assert_eq!(out, [format!("{a} from a"), format!("{b} from b")]);
}

#[test]
fn only_what_matches_is_shown_and_counted() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let input: String = (0..200).map(|n| format!("user-{}:event {n}\n", n % 10)).collect();
    scene.feed(&["produce", &topic, "-K", ":"], input.as_bytes());
    let out = scene.ok(&["consume", &topic, "-e", "--grep", "^event 1[0-9]5$", "--key", "5$"]);
    assert_eq!(lines(&out).len(), 10);
    let out = scene.ok(&["consume", &topic, "-n", "2", "--key", "^user-7$"]);
    assert_eq!(out, "event 7\nevent 17\n");
    let error = scene.fails(2, &["consume", &topic, "--grep", "("]);
    assert!(error.starts_with("--grep: regex parse error"), "{error}");
}

#[test]
fn records_are_shown_as_they_come_until_ctrl_c() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let consumer = scene.start(&["consume", &topic, "-o", "end", "-f", "%o=%v\\n"]);
    assert_eq!(consumer.line_within(Duration::from_millis(700)), None);
    for n in 0..3 {
        scene.feed(&["produce", &topic, "-q"], format!("v{n}\n").as_bytes());
        assert_eq!(consumer.line(), format!("{n}=v{n}"));
    }
    assert_eq!(consumer.interrupt(), (0, Vec::new()));
}

#[test]
fn the_end_is_that_of_the_beginning() {
    let scene = Scene::new();
    let empty = scene.topic("empty", 4);
    assert_eq!(scene.ok(&["consume", &empty, "-e"]), "");
    let topic = topic_with(&scene, &["a"]);
    assert_eq!(scene.ok(&["consume", &topic, "-e", "-o", "1"]), "");
    assert_eq!(scene.ok(&["consume", &empty, &topic, "-e"]), "a\n");
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let scene = Scene::new();
    let topic = topic_with(&scene, &["0123456789"; 2_000]);
    let consumer = std::process::Command::new(env!("CARGO_BIN_EXE_streamd"))
        .args(["consume", &topic, "-b", scene.address()])
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut consumer = consumer.unwrap();
    let mut first = [0; 11];
    let mut out = consumer.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    // Whatever is written next meets the closed pipe.
    scene.feed(&["produce", &topic, "-q"], b"more\n");
    assert!(consumer.wait().unwrap().success());
    let mut err = String::new();
    consumer.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((&first[..], err.as_str()), (&b"0123456789\n"[..], ""));
}

#[test]
fn records_that_retention_took_are_passed_over_with_a_note() {
    let scene = Scene::with("[kafka]\n\"log.retention.check.interval.ms\" = 200\n");
    scene.ok(&["topic", "create", "t", "-c", "segment.bytes=20000", "-c", "retention.bytes=20000"]);
    scene.feed(&["produce", "t"], b"first\nsecond\n");
    assert_eq!(scene.ok(&["consume", "t", "-g", "g", "-n", "1"]), "first\n");
    // Batches of their own, so that segments roll.
    let value = "x".repeat(15_000);
    for _ in 0..5 {
        scene.feed(&["produce", "t"], format!("{value}\n").as_bytes());
    }
    let began = Instant::now();
    let start = loop {
        let described = scene.ok(&["topic", "describe", "t", "-o", "json"]);
        let described: serde_json::Value = serde_json::from_str(&described).expect("JSON");
        let start = described[0]["partitions"][0]["start"].as_i64().expect("a start");
        if start > 1 {
            break start;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nothing is deleted");
        std::thread::sleep(Duration::from_millis(50));
    };
    // The round after may take another segment before the consumer asks.
    let outcome = scene.run(&["consume", "t", "-g", "g", "-n", "1", "-f", "%o"], b"");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.parse::<i64>().expect("an offset") >= start, "{} < {start}", outcome.out);
    assert!(outcome.err.contains("t-0: offset 1 is gone, reading goes on at "), "{}", outcome.err);
}

#[test]
fn a_broker_that_comes_back_goes_on_where_it_stopped() {
    let mut scene = Scene::new();
    let topic = scene.topic("t", 1);
    let address = scene.address().to_owned();
    let consumer = scene.start(&["consume", &topic, "-q"]);
    for round in 0..2 {
        scene.feed(&["produce", &topic, "-q"], format!("round {round}\n").as_bytes());
        assert_eq!(consumer.line(), format!("round {round}"));
        let Some(broker) = scene.broker() else { return };
        broker.stop();
        broker.up_at(&address);
    }
    assert_eq!(consumer.interrupt(), (0, Vec::new()));
}

#[test]
fn a_broker_that_stays_away_is_given_up() {
    let mut scene = Scene::new();
    let topic = topic_with(&scene, &["a"]);
    if scene.broker().is_none() {
        return;
    }
    let consumer = scene.start(&["consume", &topic, "-q", "--timeout", "1s"]);
    assert_eq!(consumer.line(), "a");
    scene.broker().unwrap().stop();
    assert_eq!(consumer.close(), 3, "nobody is there");
}

#[test]
fn a_topic_that_is_deleted_ends_the_reading_and_one_made_again_is_read_from_its_start() {
    let scene = Scene::new();
    let topic = topic_with(&scene, &["a", "b"]);
    let consumer = scene.start(&["consume", &topic, "-q"]);
    assert_eq!(consumer.take(2), ["a", "b"]);
    scene.ok(&["topic", "delete", &topic]);
    scene.ok(&["topic", "create", &topic]);
    scene.feed(&["produce", &topic, "-q"], b"anew\n");
    assert_eq!(consumer.line(), "anew");
    scene.ok(&["topic", "delete", &topic]);
    assert_eq!(consumer.close(), 1, "it is gone for good");
}

#[test]
fn partitions_that_a_topic_gets_later_are_read_too() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let eager = ["-q", "-X", "metadata.max.age.ms=200"];
    let alone = scene.start(&[&["consume", &topic][..], &eager].concat());
    let group = scene.name("g");
    let member = scene.start(&[&["consume", &topic, "-g", &group][..], &eager].concat());
    scene.feed(&["produce", &topic, "-q"], b"before\n");
    assert_eq!((alone.line(), member.line()), ("before".to_owned(), "before".to_owned()));
    scene.grow(&topic, 3);
    scene.feed(&["produce", &topic, "-q", "-p", "2"], b"after\n");
    assert_eq!((alone.line(), member.line()), ("after".to_owned(), "after".to_owned()));
    assert_eq!((alone.interrupt(), member.interrupt()), ((0, Vec::new()), (0, Vec::new())));
}
