//! Damage in a data directory: what readers are told, and what `streamd repair` gives up.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::scene::{Outcome, Scene};
use crate::support::Broker;

/// A stopped broker whose topic has 20 batches of one record, values "0" to "19".
fn stopped_with_records(scene: &mut Scene) -> (String, PathBuf) {
    let topic = scene.topic("orders", 1);
    for n in 0..20 {
        scene.feed(&["produce", &topic], format!("{n}\n").as_bytes());
    }
    let broker = scene.broker().expect("our own broker");
    broker.stop();
    (topic.clone(), broker.data().join(format!("{topic}-0/00000000000000000000.log")))
}

/// Starts the broker again where commands look for it.
fn up(scene: &mut Scene) -> &mut Broker {
    let address = scene.address().to_owned();
    let broker = scene.broker().expect("our own broker");
    broker.up_at(&address);
    broker
}

/// Where each batch begins.
fn starts(log: &Path) -> Vec<u64> {
    let bytes = fs::read(log).unwrap();
    let (mut starts, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        starts.push(at as u64);
        at += 12 + usize::try_from(i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap())).unwrap();
    }
    starts
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// What librdkafka reads from `offset` on, until nothing comes any more.
fn read_from(broker: &Broker, topic: &str, offset: i64) -> Vec<(i64, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", "reader")
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    consumer.assign(&from).unwrap();
    let mut read = Vec::new();
    let mut silent = 0;
    while silent < 4 {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                let value = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                read.push((message.offset(), value));
                silent = 0;
            }
            // What librdkafka makes of damaged bytes.
            Some(Err(_)) | None => silent += 1,
        }
    }
    read
}

fn records(offsets: impl Iterator<Item = i64>) -> Vec<(i64, String)> {
    offsets.map(|n| (n, n.to_string())).collect()
}

fn repair(scene: &Scene, data: &Path, args: &[&str]) -> Outcome {
    let mut line = vec!["repair"];
    line.extend(args);
    line.extend(["--data-dir", data.to_str().unwrap()]);
    scene.run(&line, b"")
}

#[test]
fn damage_is_never_served_and_a_repair_lets_readers_pass_over_it() {
    let mut scene = Scene::with("");
    let (topic, log) = stopped_with_records(&mut scene);
    let name = format!("{topic}-0");
    let at = starts(&log);
    // A header, which a reader notices, and a value, which only its checksum tells.
    overwrite(&log, at[5] + 16, &[9; 5]);
    overwrite(&log, at[12] + 66, &[b'#'; 2]);
    let before = fs::read(&log).unwrap();
    let broker = up(&mut scene);
    assert_eq!(read_from(broker, &topic, 0), records(0..5));
    assert_eq!(read_from(broker, &topic, 6)[..6], records(6..12));
    let line = broker.wait_for_log("damage was found");
    assert!(
        [
            "orders",
            "\"first_offset\":5",
            "\"next_offset\":6",
            "00000000000000000000.log",
            "streamd repair orders-0"
        ]
        .iter()
        .all(|part| line.contains(part)),
        "{line}"
    );
    let data = broker.data();
    // Not while the broker runs.
    let refused = repair(&scene, &data, &[&name]);
    assert!(refused.code == 1 && refused.err.contains("is locked by streamd pid"), "{refused:?}");
    scene.feed(&["produce", &topic], b"20\n");
    scene.broker().unwrap().stop();
    assert_eq!(&fs::read(&log).unwrap()[..before.len()], before, "nothing of it was changed");

    let shown = repair(&scene, &data, &[&name]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.out.contains("2 stretches are damaged"), "{}", shown.out);
    assert!(shown.out.contains("offset 5: ") && shown.out.contains("offset 12: "), "{}", shown.out);
    assert!(shown.err.contains("nothing was given up") && shown.err.contains("--yes"), "{}", shown.err);
    let done = repair(&scene, &data, &[&name, "--yes", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let lost = |nth: usize, field: &str| told["given_up"][nth][field].clone();
    assert_eq!((lost(0, "first_offset"), lost(1, "first_offset")), (5.into(), 12.into()));
    assert_eq!(lost(0, "bytes"), serde_json::Value::from(at[6] - at[5]));
    let kept = fs::read(lost(1, "kept").as_str().unwrap()).unwrap();
    assert_eq!(kept, before[usize::try_from(at[12]).unwrap()..usize::try_from(at[13]).unwrap()]);
    let again = repair(&scene, &data, &[&name]);
    assert!(again.code == 0 && again.out.contains("nothing is damaged"), "{again:?}");

    let broker = up(&mut scene);
    let all = records((0..=20).filter(|n| ![5, 12].contains(n)));
    assert_eq!(read_from(broker, &topic, 0), all);
    broker.kill();
    broker.up();
    assert_eq!(read_from(broker, &topic, 5), all[5..]);
}

#[test]
fn known_damage_is_told_again_and_the_command_that_is_told_gives_it_up() {
    let mut scene = Scene::with("[disk]\nscrub_interval = \"200ms\"\n");
    let (topic, log) = stopped_with_records(&mut scene);
    let at = starts(&log);
    overwrite(&log, at[5] + 66, &[b'#'; 2]);
    overwrite(&log, at[12] + 66, &[b'#'; 2]);
    let broker = up(&mut scene);
    broker.wait_for_log("\"first_offset\":12");
    broker.stop();
    let before = broker.log().len();
    let began = Instant::now();
    let broker = up(&mut scene);
    let line = broker.wait_for_log_from(before, "damaged since before this start");
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let message = told["message"].as_str().unwrap().to_owned();
    assert_eq!(
        (&told["level"], &told["topic"], &told["stretches"]),
        (&"WARN".into(), &"orders".into(), &2.into())
    );
    assert!(
        message.contains("offset 5 (the CRC does not match); offset 12 (the CRC does not match)"),
        "{message}"
    );
    broker.wait_for_log_from(before, "\"damaged\":0,\"known_before\":2");
    // Readers come again and again: nothing more is said of it within a minute.
    for _ in 0..2 {
        assert_eq!(read_from(broker, &topic, 5), []);
        assert_eq!(read_from(broker, &topic, 12), []);
    }
    let said = broker.log()[before..].to_owned();
    let spoken = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    assert_eq!(spoken("since before this start"), 1, "{said}");
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap();
    assert!(spoken("\"first_offset\":12") <= minutes, "{said}");
    let shown = scene.ok(&["topic", "describe", &topic]);
    for part in ["DAMAGED OFFSETS", "5   ", "12  ", "the CRC does not match", "streamd repair orders-0"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let shown: serde_json::Value =
        serde_json::from_str(&scene.ok(&["topic", "describe", &topic, "-o", "json"])).unwrap();
    assert_eq!(shown[0]["partitions"][0]["damage"][1]["first_offset"], 12, "{shown}");
    let refused = scene.run(&["consume", &topic, "-o", "5", "-n", "1", "--timeout", "2s"], b"");
    assert_ne!(refused.code, 0, "{refused:?}");
    for part in ["records are damaged", "streamd topic describe", "-o OFFSET", "streamd repair"] {
        assert!(refused.err.contains(part), "no {part:?} in {refused:?}");
    }
    scene.broker().unwrap().stop();
    // As it stands in the log.
    let command = message.rsplit_once("streamd repair").unwrap().1;
    let mut line = vec!["repair"];
    line.extend(command.split(' ').filter(|word| !word.is_empty()));
    assert!(line.contains(&"--yes") && line.contains(&"--data-dir"), "{message}");
    let done = scene.run(&line, b"");
    assert!(done.code == 0 && done.out.contains("gave up 2 offsets"), "{done:?}");
    let before = scene.broker().unwrap().log().len();
    let broker = up(&mut scene);
    assert_eq!(read_from(broker, &topic, 0), records((0..20).filter(|n| ![5, 12].contains(n))));
    broker.stop();
    let said = broker.log()[before..].to_owned();
    for text in ["recovered after", "do not fit a clean stop", "damaged since"] {
        assert!(!said.contains(text), "{said}");
    }
    assert!(!scene.broker().unwrap().data().join("orders-0/damaged-ranges").exists());
}

#[test]
fn a_repair_says_what_is_wrong_with_its_arguments() {
    let mut scene = Scene::with("");
    let (topic, log) = stopped_with_records(&mut scene);
    let data = scene.broker().unwrap().data();
    let text = |args: &[&str], code: i32| {
        let outcome = repair(&scene, &data, args);
        assert_eq!(outcome.code, code, "{outcome:?}");
        outcome.err
    };
    assert!(text(&["orders"], 2).contains("write TOPIC-N"));
    assert!(text(&["nobody-0"], 1).contains("no such partition"));
    assert!(text(&[&format!("{topic}-1")], 1).contains("no such partition"));
    assert!(text(&["__cluster_metadata-0"], 1).contains("from a copy"));
    let nowhere = data.join("nowhere");
    let outcome = repair(&scene, &nowhere, &[&format!("{topic}-0")]);
    assert!(outcome.code == 1 && outcome.err.contains("no data directory of streamd"), "{outcome:?}");
    assert!(!nowhere.exists());
    // All of it gone.
    fs::remove_dir_all(log.parent().unwrap()).unwrap();
    assert!(text(&[&format!("{topic}-0")], 1).contains("nothing was given up"));
    let outcome = repair(&scene, &data, &[&format!("{topic}-0"), "--yes"]);
    assert!(outcome.code == 0 && outcome.out.contains("offsets 0 to 19"), "{outcome:?}");
    up(&mut scene);
    scene.feed(&["produce", &topic], b"20\n");
    assert_eq!(read_from(scene.broker().unwrap(), &topic, 20), records(20..21));
}

#[test]
fn a_repair_that_is_killed_is_finished_by_the_next() {
    let mut scene = Scene::with("[disk]\nscrub_rate = 0\n");
    let topic = scene.topic("orders", 1);
    let line = [b"x".repeat(1_000), b"\n".to_vec()].concat();
    scene.feed(&["produce", &topic], &line.repeat(20_000));
    scene.broker().unwrap().stop();
    let data = scene.broker().unwrap().data();
    let log = data.join(format!("{topic}-0/00000000000000000000.log"));
    let middle = fs::metadata(&log).unwrap().len() / 2;
    overwrite(&log, middle, b"########");
    let name = format!("{topic}-0");
    let shown = repair(&scene, &data, &[&name, "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    let (first, next) = (&told["damage"][0]["first_offset"], &told["damage"][0]["next_offset"]);
    let lost = next.as_i64().unwrap() - first.as_i64().unwrap();
    for ms in [30, 60, 90, 120, 150, 180, 220, 260] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_streamd"))
            .args(["repair", &name, "--yes", "--data-dir"])
            .arg(&data)
            .env_clear()
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(repair(&scene, &data, &[&name, "--yes"]).code, 0);
    let sound = repair(&scene, &data, &[&name]);
    assert!(sound.code == 0 && sound.out.contains("offsets 0 to 20000 were read whole"), "{sound:?}");
    let kept =
        log.with_file_name(format!("00000000000000000000.log.{}.damaged", told["damage"][0]["position"]));
    assert!(fs::read(&kept).unwrap().windows(8).any(|bytes| bytes == b"########"), "{}", kept.display());
    up(&mut scene);
    let read = scene.ok(&["consume", &topic, "-o", "start", "-e"]);
    assert_eq!(i64::try_from(read.lines().count()).unwrap(), 20_000 - lost);
}
