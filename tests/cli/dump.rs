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
    assert!(offsets.out.contains(": group billing is at offset "), "{}", offsets.out);
    assert_eq!(kafka.content(), before);
}

#[test]
fn damage_is_told_with_its_bytes_and_offsets_and_in_the_exit_status() {
    let kafka = KafkaData::unpack();
    let log = kafka.path().join("orders-0/00000000000000000000.log");
    let kept = kafka.path().join("copy");
    fs::copy(&log, &kept).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    // A record in the second batch, which only its checksum tells, and the magic of the fourth.
    bytes[741 + 100] ^= 1;
    bytes[1_200 + 16] = 0x77;
    bytes[1_200 + 90] ^= 1;
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
    // What stands outside the checksum: a length and two epochs.
    let mut bytes = fs::read(&kept).unwrap();
    bytes[741 + 11] ^= 1;
    bytes[12] ^= 1;
    bytes[1_200 + 13] ^= 1;
    fs::write(&log, bytes).unwrap();
    let told = dump(&log, &["--verify"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.out.matches("No record is lost").count(), 3, "{}", told.out);
    assert!(told.out.contains("the batch at byte 1200: its leader epoch was 0"), "{}", told.out);
    // The files beside it.
    let dir = kafka.path().join("__consumer_offsets-1");
    let wrong = |name: &str, content: &[u8], code: i32, expected: &str| {
        fs::write(dir.join(name), content).unwrap();
        let told = dump(&dir.join(name), &["--verify"]);
        assert!(told.code == code && told.out.contains(expected), "{name}: {told:?}");
        assert!(code == 1 || told.out.contains("no record depends on it"), "{name}: {told:?}");
    };
    // Helps: that they are wrong is told, and is no damage.
    wrong("00000000000000000000.index", &[0, 0, 0, 9, 0, 0, 0, 50], 0, "it leads to no batch");
    wrong("00000000000000000000.timeindex", &[9; 13], 0, "1 byte behind the last whole entry");
    wrong("00000000000000000073.snapshot", &[0, 1, 9, 9], 0, "WRONG");
    wrong("leader-epoch-checkpoint", b"0\n7\n", 0, "WRONG");
    wrong("partition.metadata", b"?", 1, "DAMAGED");
}

#[test]
fn our_own_directory_is_read_while_its_broker_runs() {
    let mut scene = Scene::with("");
    let topic = scene.topic("orders", 1);
    scene.feed(&["produce", &topic], b"a\nb\n");
    let data = scene.broker().unwrap().data();
    let all = dump(&data, &["-r"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.out.contains("value \"b\"") && all.out.contains(": topic orders, id "), "{}", all.out);
    scene.broker().unwrap().stop();
    let manifest = dump(&data.join("streamd.manifest"), &[]);
    assert!(manifest.out.contains("orders-0: starts at 0, right up to offset 2"), "{}", manifest.out);
    assert!(manifest.out.contains("stopped in order"), "{}", manifest.out);
    // Whoever has seen enough closes the pipe, and that is no error.
    let mut child = Command::new(env!("CARGO_BIN_EXE_streamd"))
        .args(["dump", "-r"])
        .arg(&data)
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let nothing = dump(&data.join("nothing"), &[]);
    assert!(nothing.code == 1 && nothing.err.contains("cannot read"), "{nothing:?}");
    fs::create_dir(data.join("lost+found")).unwrap();
    let empty = dump(&data.join("lost+found"), &["--verify"]);
    assert!(empty.code == 2 && empty.err.contains("holds no file of a data directory"), "{empty:?}");
    fs::write(data.join("notes.txt"), b"mine").unwrap();
    let strange = dump(&data.join("notes.txt"), &[]);
    assert!(strange.code == 2 && strange.err.contains("no file of a data directory"), "{strange:?}");
    assert_eq!(dump(&data, &["--verify"]).code, 0, "and in a directory it is nobody's");
    let aside = data.join("orders-0/00000000000000000000.log.aside");
    fs::copy(data.join("orders-0/00000000000000000000.log"), &aside).unwrap();
    assert!(dump(&aside, &["-r"]).out.contains("value \"b\""));
}

/// A sequence that looks random and is the same each time (xorshift).
struct Rolls(u64);

impl Rolls {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// What a disk may make of a file: flipped bytes, large numbers, a lost end, a piece of zeros, a piece twice.
fn spoil(bytes: &mut Vec<u8>, rolls: &mut Rolls) {
    let at = rolls.below(bytes.len());
    match rolls.below(6) {
        0 => (0..4).for_each(|_| {
            let at = rolls.below(bytes.len());
            bytes[at] ^= 1 << rolls.below(8);
        }),
        1 => bytes[at..].iter_mut().take(4).zip([0x7f, 0xff, 0xff, 0xff]).for_each(|(b, to)| *b = to),
        2 => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0xff),
        3 => bytes.truncate(at),
        4 => bytes[at..].iter_mut().take(500).for_each(|b| *b = 0),
        _ => {
            let again = bytes[at..].to_vec();
            bytes.extend(again);
        }
    }
}

#[test]
fn whatever_a_file_holds_it_is_shown_or_said_to_be_damaged_with_little_memory_and_soon() {
    let kafka = KafkaData::unpack();
    let files: Vec<_> = kafka.content().into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let temp = tempfile::tempdir().unwrap();
    let mut rolls = Rolls(0x9e37_79b9_7f4a_7c15);
    for round in 0..120 {
        let (path, bytes) = &files[rolls.below(files.len())];
        let mut bytes = bytes.clone();
        spoil(&mut bytes, &mut rolls);
        let dir = temp.path().join(path.parent().unwrap().file_name().unwrap());
        fs::create_dir_all(&dir).unwrap();
        let spoilt = dir.join(path.file_name().unwrap());
        fs::write(&spoilt, bytes).unwrap();
        let option = ["--verify", "-r", "-ojson"][round % 3];
        // At most a gigabyte of addresses, of which a program that does nothing takes a part.
        let limited = "ulimit -v 1000000; exec timeout 20 \"$@\"";
        let output = Command::new("sh")
            .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_streamd"), "dump", option])
            .arg(&spoilt)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(
            matches!(code, Some(0..=2)) && !said.contains("panicked"),
            "round {round}, {option} {}: {code:?} {said}",
            path.display()
        );
        fs::remove_file(spoilt).unwrap();
    }
}
