//! `streamd dump`, on Kafka's files and on our own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::kafka_data::KafkaData;
use crate::scene::{Outcome, Scene};

fn dump(path: &Path, more: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamd"));
    let output = command.arg("dump").args(more).arg(path).env_clear().output().expect("streamd runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The lines of a JSON dump that have this field.
fn lines(outcome: &Outcome, field: &str) -> Vec<Value> {
    let all = outcome.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter_map(|line| line.get(field).cloned()).collect()
}

#[test]
fn kafkas_own_directory_is_read_whole_and_nothing_is_wrong_with_it() {
    let kafka = KafkaData::unpack();
    let before = kafka.content();
    let whole = dump(&kafka.path(), &["--verify"]);
    assert_eq!(whole.code, 0, "{whole:?}");
    assert!(
        whole.out.contains(
            "orders-0/00000000000000000000.log\n  5 batches, 50 records, 1653 bytes, next offset 50"
        ),
        "{}",
        whole.out
    );
    let all = dump(&kafka.path(), &["--records", "-o", "json"]);
    assert_eq!(all.code, 0);
    let kinds: Vec<String> =
        lines(&all, "kind").iter().map(|kind| kind.as_str().unwrap().to_owned()).collect();
    for kind in [
        "log",
        "index",
        "timeindex",
        "txnindex",
        "producers",
        "leader epochs",
        "partition.metadata",
        "meta.properties",
        "offsets",
    ] {
        assert!(kinds.iter().any(|found| found == kind), "{kind} in {kinds:?}");
    }
    let orders = dump(&kafka.path().join("orders-1"), &["-r", "-o", "json"]);
    let (batches, records) = (lines(&orders, "batch"), lines(&orders, "record"));
    assert_eq!((batches.len(), records.len()), (5, 50));
    let codecs: Vec<&str> = batches.iter().map(|batch| batch["codec"].as_str().unwrap()).collect();
    assert_eq!(codecs, ["uncompressed", "gzip", "snappy", "lz4", "zstd"]);
    assert_eq!((&records[3]["key"], &records[3]["value"]), (&"k7".into(), &Value::Null));
    assert_eq!(records[24]["value"], format!("snappy-9-{}", "x".repeat(40)));
    assert_eq!(records[23]["headers"][0]["value"], "snappy");
    let offsets = dump(&kafka.path().join("__consumer_offsets-1"), &["-r"]);
    assert!(offsets.out.contains("Offset { group: \"billing\""), "{}", offsets.out);
    assert_eq!(kafka.content(), before);
}

#[test]
fn damage_is_told_with_its_bytes_and_offsets_and_in_the_exit_status() {
    let kafka = KafkaData::unpack();
    let log = kafka.path().join("orders-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    // A record in the second batch, which only its checksum tells, and the magic of the fourth.
    bytes[741 + 100] ^= 1;
    bytes[1_200 + 16] = 0x77;
    fs::write(&log, bytes).unwrap();
    let plain = dump(&log, &["-o", "json"]);
    assert_eq!(plain.code, 1, "{plain:?}");
    assert_eq!(lines(&plain, "damage").len(), 1, "headers only");
    let verified = dump(&log, &["--verify", "-o", "json"]);
    let damage = lines(&verified, "damage");
    let place = |nth: usize| {
        let field = |name: &str| damage[nth][name].as_i64().unwrap();
        (field("position"), field("end"), field("first_offset"), field("next_offset"))
    };
    assert_eq!((place(0), place(1)), ((741, 955, 10, 20), (1_200, 1_441, 30, 40)));
    assert!(verified.err.contains("2 damaged places were found"), "{}", verified.err);
    let text = dump(&kafka.path(), &["--verify"]);
    assert!(
        text.code == 1 && text.out.contains("DAMAGED bytes 741 to 955, offsets 10 to 19"),
        "{}",
        text.out
    );
    // The files beside it.
    let dir = kafka.path().join("__consumer_offsets-1");
    let wrong = |name: &str, content: &[u8], expected: &str| {
        fs::write(dir.join(name), content).unwrap();
        let told = dump(&dir.join(name), &["--verify"]);
        assert!(told.code == 1 && told.out.contains(expected), "{name}: {told:?}");
    };
    wrong("00000000000000000000.index", &[0, 0, 0, 9, 0, 0, 0, 50], "it leads to no batch");
    wrong("00000000000000000000.timeindex", &[9; 13], "1 byte behind the last whole entry");
    wrong("00000000000000000073.snapshot", &[0, 1, 9, 9], "DAMAGED");
    wrong("leader-epoch-checkpoint", b"0\n7\n", "DAMAGED");
    wrong("partition.metadata", b"?", "DAMAGED");
}

#[test]
fn our_own_directory_is_read_while_its_broker_runs() {
    let mut scene = Scene::with("");
    let topic = scene.topic("orders", 1);
    scene.feed(&["produce", &topic], b"a\nb\n");
    let data = scene.broker().unwrap().data();
    let all = dump(&data, &["-r"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.out.contains("value \"b\"") && all.out.contains("Topic { name: \"orders\""), "{}", all.out);
    scene.broker().unwrap().stop();
    let manifest = dump(&data.join("streamd.manifest"), &[]);
    assert!(manifest.out.contains("orders-0: starts at 0, right up to offset 2"), "{}", manifest.out);
    assert!(manifest.out.contains("stopped in order"), "{}", manifest.out);
    // Whoever has seen enough closes the pipe, and that is no error.
    let mut child = Command::new(env!("CARGO_BIN_EXE_streamd"))
        .args(["dump", "-r"])
        .arg(&data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let nothing = dump(&data.join("nothing"), &[]);
    assert!(nothing.code == 1 && nothing.err.contains("cannot read"), "{nothing:?}");
    fs::write(data.join("notes.txt"), b"mine").unwrap();
    let strange = dump(&data.join("notes.txt"), &[]);
    assert!(strange.code == 2 && strange.err.contains("no file of a data directory"), "{strange:?}");
    assert_eq!(dump(&data, &["--verify"]).code, 0, "and in a directory it is nobody's");
    let aside = data.join("orders-0/00000000000000000000.log.aside");
    fs::copy(data.join("orders-0/00000000000000000000.log"), &aside).unwrap();
    assert!(dump(&aside, &["-r"]).out.contains("value \"b\""));
}
