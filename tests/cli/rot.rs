//! What happens to files while nobody looks: kinds of damage, one by one, to the files of a stopped broker, and bits
//! that flip under a running one. For each: what readers are told, what the log says, and that all else goes on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use crate::kafka_data::read_all;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// `KAFKA_STORAGE_ERROR`.
const STORAGE_ERROR: i16 = 56;
/// Segments of two records each, all but the last sealed.
const SETTINGS: &[(&str, &str)] = &[("segment.bytes", "20000"), ("retention.ms", "-1")];
/// Records of a topic.
const COUNT: i64 = 9;
/// Nothing is lost.
const NONE: [i64; 0] = [];
/// Where the second segment's second batch begins, and a byte of its value.
const SECOND: u64 = 9_072;

fn produce(broker: &Broker, topic: &str, n: i64) -> (i16, i64) {
    let value = vec![u8::try_from(n).unwrap(); 9_000];
    let request = raw::produce(topic, 0, -1, raw::batch(&[&value]));
    raw::produced(&Connection::to(broker.address()).call(9, &request))
}

fn fill(broker: &Broker, topic: &str) {
    raw::create(&mut Connection::to(broker.address()), topic, 1, SETTINGS);
    for n in 0..COUNT {
        assert_eq!(produce(broker, topic, n), (0, n));
    }
}

/// Asks for each offset by itself: those that are answered with an error. All others give their own record.
fn lost(broker: &Broker, topic: &str, count: i64) -> Vec<i64> {
    let mut connection = Connection::to(broker.address());
    let mut lost = Vec::new();
    for offset in 0..count {
        let response = connection.call(11, &raw::fetch(topic, 0, offset, 0));
        let (error, _, records) = raw::fetched(&response, offset);
        match error {
            0 => {
                let first = &records[0];
                let expected = vec![u8::try_from(offset).unwrap(); 9_000];
                assert!(first.offset == offset && first.value == expected, "{topic} at {offset}");
            }
            STORAGE_ERROR => lost.push(offset),
            other => panic!("{topic} at {offset}: error {other}"),
        }
    }
    lost
}

fn log(dir: &Path, base: i64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

fn side(dir: &Path, base: i64, kind: &str) -> PathBuf {
    dir.join(format!("{base:020}.{kind}"))
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Flips a bit of the byte at `at`.
fn flip(path: &Path, at: u64) {
    let byte = fs::read(path).unwrap()[usize::try_from(at).unwrap()];
    overwrite(path, at, &[byte ^ 1]);
}

/// A kind of damage to a partition.
struct Kind {
    name: &'static str,
    harm: fn(&Path),
    /// Offsets that cannot be had any more.
    lost: &'static [i64],
    /// What a line of the log about this partition says, and at which level; empty if there is nothing to say.
    line: (&'static str, &'static str),
}

const KINDS: &[Kind] = &[
    Kind {
        name: "a-flipped-bit-of-a-value",
        harm: |dir| overwrite(&log(dir, 2), SECOND + 500, &[0x77]),
        lost: &[3],
        line: ("ERROR", "the CRC does not match"),
    },
    Kind {
        name: "a-flipped-bit-of-a-header",
        harm: |dir| overwrite(&log(dir, 2), SECOND + 22, &[0x77]),
        lost: &[3],
        line: ("ERROR", "the CRC does not match"),
    },
    Kind {
        name: "a-flipped-offset",
        harm: |dir| flip(&log(dir, 2), 7),
        lost: &[],
        line: ("WARN", "the front of a batch, outside its checksum"),
    },
    Kind {
        name: "a-flipped-length",
        harm: |dir| flip(&log(dir, 2), SECOND + 10),
        lost: &[],
        line: ("WARN", "the front of a batch, outside its checksum"),
    },
    Kind {
        name: "a-flipped-magic",
        harm: |dir| flip(&log(dir, 2), SECOND + 16),
        lost: &[],
        line: ("WARN", "the front of a batch, outside its checksum"),
    },
    Kind {
        name: "a-leader-epoch-that-rose",
        harm: |dir| flip(&log(dir, 2), 12),
        lost: &[],
        line: ("WARN", "another leader epoch than they were written with"),
    },
    Kind {
        name: "a-leader-epoch-of-the-last-batch",
        harm: |dir| flip(&log(dir, 2), SECOND + 15),
        lost: &[],
        line: ("WARN", "another leader epoch than they were written with"),
    },
    Kind {
        name: "a-page-of-zeros",
        harm: |dir| overwrite(&log(dir, 4), 8_192, &[0; 4096]),
        lost: &[4, 5],
        line: ("ERROR", "damage was found"),
    },
    Kind {
        name: "a-sealed-file-that-was-cut",
        harm: |dir| {
            fs::OpenOptions::new().write(true).open(log(dir, 2)).unwrap().set_len(SECOND + 7).unwrap()
        },
        lost: &[3],
        line: ("ERROR", "damage was found"),
    },
    Kind {
        name: "a-sealed-file-that-is-gone",
        harm: |dir| fs::remove_file(log(dir, 2)).unwrap(),
        lost: &[2, 3],
        line: ("ERROR", "the file is missing"),
    },
    Kind {
        name: "a-flipped-bit-in-the-last-segment",
        harm: |dir| overwrite(&log(dir, 8), 500, &[0x77]),
        lost: &[8],
        line: ("ERROR", "the CRC does not match"),
    },
    Kind {
        name: "an-index-that-is-gone",
        harm: |dir| fs::remove_file(side(dir, 2, "index")).unwrap(),
        lost: &[],
        line: ("", ""),
    },
    Kind {
        name: "indexes-of-garbage",
        harm: |dir| {
            for kind in ["index", "timeindex"] {
                // Offset 2 at byte 77, and no whole number of entries.
                fs::write(side(dir, 2, kind), [0, 0, 0, 0, 0, 0, 0, 77]).unwrap();
                fs::write(side(dir, 8, kind), [0xa5; 25]).unwrap();
            }
        },
        lost: &[],
        line: ("WARN", "the indexes of a segment were missing or wrong and were made again"),
    },
    Kind {
        name: "epochs-of-garbage",
        harm: |dir| fs::write(dir.join("leader-epoch-checkpoint"), b"what?").unwrap(),
        lost: &[],
        line: ("WARN", "finding the leader epochs by reading the log"),
    },
    Kind {
        name: "epochs-that-are-gone",
        harm: |dir| fs::remove_file(dir.join("leader-epoch-checkpoint")).unwrap(),
        lost: &[],
        line: ("WARN", "the files do not fit a clean stop: recovering"),
    },
    Kind {
        name: "a-list-of-damage-of-garbage",
        harm: |dir| fs::write(dir.join("damaged-ranges"), b"0\n1\nnothing at all\n").unwrap(),
        lost: &[],
        line: ("ERROR", "the list of damaged stretches is lost"),
    },
    Kind {
        name: "an-owner-that-is-gone",
        harm: |dir| fs::remove_file(dir.join("partition.metadata")).unwrap(),
        lost: &[],
        line: ("", ""),
    },
    Kind {
        name: "files-that-are-nobodys",
        harm: |dir| {
            fs::create_dir(dir.join("lost+found")).unwrap();
            fs::write(dir.join("lost+found/00000000000000000000.log"), b"what fsck found").unwrap();
            fs::write(dir.join("notes.txt"), b"mine").unwrap();
            fs::write(dir.join("00000000000000000004.log.bak"), b"mine, too").unwrap();
        },
        lost: &[],
        line: ("", ""),
    },
];

#[test]
fn each_kind_of_damage_costs_what_is_damaged_and_nothing_else() {
    // Nobody looks before the readers do.
    let mut broker = Broker::with("[disk]\nscrub_rate = 0\n");
    fill(&broker, "whole");
    for kind in KINDS {
        fill(&broker, kind.name);
    }
    broker.stop();
    let dir = |name: &str| broker.data().join(format!("{name}-0"));
    let mut strays = BTreeMap::new();
    for kind in KINDS {
        (kind.harm)(&dir(kind.name));
    }
    fs::create_dir(broker.data().join("lost+found")).unwrap();
    fs::write(broker.data().join("lost+found/orders-0"), b"what fsck found").unwrap();
    fs::write(broker.data().join("notes.txt"), b"mine").unwrap();
    read_all(&broker.data().join("lost+found"), &mut strays);
    broker.up();
    for kind in KINDS {
        assert_eq!(lost(&broker, kind.name, COUNT), kind.lost, "{}", kind.name);
        assert_eq!(produce(&broker, kind.name, COUNT), (0, COUNT), "{} is appended to", kind.name);
        let (level, text) = kind.line;
        let said = broker.log();
        let lines: Vec<&str> =
            said.lines().filter(|line| line.contains(kind.name) && !line.contains("\"INFO\"")).collect();
        if text.is_empty() {
            assert!(lines.is_empty(), "{}: {lines:?}", kind.name);
        } else {
            let level = format!("\"{level}\"");
            assert!(
                lines.iter().any(|line| line.contains(text) && line.contains(&level)),
                "{}: {lines:?}",
                kind.name
            );
        }
    }
    assert_eq!(lost(&broker, "whole", COUNT), NONE, "others are served");
    // The same after kill -9 and after another stop: what is damaged is known, and nothing of it was cut.
    for ends in [Broker::kill, Broker::stop] {
        ends(&mut broker);
        broker.up();
        for kind in KINDS {
            assert_eq!(lost(&broker, kind.name, COUNT + 1), kind.lost, "{}", kind.name);
        }
    }
    let mut after = BTreeMap::new();
    read_all(&broker.data().join("lost+found"), &mut after);
    assert_eq!(after, strays);
}

/// Its name, how it is done, and what is said of it.
type Whole = (&'static str, fn(&Path), &'static str);

/// Damage that shows only beside the manifest, or in what says whose a directory is.
const WHOLE: &[Whole] = &[
    (
        "a sealed file that was emptied",
        |data| fs::write(log(&data.join("t-0"), 2), b"").unwrap(),
        "it is empty",
    ),
    (
        "a file that ends with a batch",
        |data| {
            fs::OpenOptions::new()
                .write(true)
                .open(log(&data.join("t-0"), 2))
                .unwrap()
                .set_len(SECOND)
                .unwrap()
        },
        "offset 3: the file is shorter than it was",
    ),
    (
        "the last file cut",
        |data| fs::write(log(&data.join("t-0"), 8), b"").unwrap(),
        "offset 8: the file is shorter than it was",
    ),
    (
        "a sealed file that is gone",
        |data| fs::remove_file(log(&data.join("t-0"), 4)).unwrap(),
        "offsets 4 to 5: the file is missing",
    ),
    (
        "the last file gone",
        |data| fs::remove_file(log(&data.join("t-0"), 8)).unwrap(),
        "offset 8: the file is missing",
    ),
    (
        "a partition that is gone",
        |data| fs::remove_dir_all(data.join("t-0")).unwrap(),
        "offsets 6 to 7: the file is missing",
    ),
    (
        "another topic's directory",
        |data| {
            fs::copy(data.join("other-0/partition.metadata"), data.join("t-0/partition.metadata")).unwrap();
        },
        "and the manifest knows this partition as",
    ),
    (
        "meta.properties cut",
        |data| {
            let path = data.join("meta.properties");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, &text[..text.find("streamd.format").unwrap()]).unwrap();
        },
        "it does not say that streamd wrote it",
    ),
    (
        "meta.properties cut early",
        |data| fs::write(data.join("meta.properties"), b"cluster.id=a").unwrap(),
        "version is missing",
    ),
    (
        "meta.properties gone",
        |data| fs::remove_file(data.join("meta.properties")).unwrap(),
        "does not start without it",
    ),
];

fn copy_all(from: &Path, to: &Path) {
    let mut files = BTreeMap::new();
    read_all(from, &mut files);
    for (path, bytes) in files {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

#[test]
fn a_dump_that_verifies_misses_nothing_that_the_broker_notices() {
    let mut broker = Broker::with("[disk]\nscrub_rate = 0\n");
    fill(&broker, "t");
    fill(&broker, "other");
    let dump = |data: &Path| {
        let streamd = env!("CARGO_BIN_EXE_streamd");
        let output =
            Command::new(streamd).arg("dump").arg(data).arg("--verify").env_clear().output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(dump(&broker.data()).0, Some(0), "while it runs");
    broker.stop();
    let harmed = |harm: &dyn Fn(&Path)| {
        let temp = tempfile::tempdir().unwrap();
        copy_all(&broker.data(), temp.path());
        harm(temp.path());
        dump(temp.path())
    };
    assert_eq!(harmed(&|_| {}).0, Some(0));
    for (name, harm, expected) in WHOLE {
        let (code, said) = harmed(harm);
        assert!(code == Some(1) && said.contains(expected), "{name}: {code:?} {said}");
    }
    for kind in KINDS {
        let (code, said) = harmed(&|data| (kind.harm)(&data.join("t-0")));
        // Helps are no damage, and of what can be put right it is said.
        let mendable = kind.line.1.contains("put right")
            || kind.name.contains("flipped")
            || kind.name.contains("epoch-");
        let expected = !kind.lost.is_empty() || mendable;
        assert_eq!(code, Some(i32::from(expected)), "{}: {said}", kind.name);
        assert_eq!(
            kind.lost.is_empty() && expected,
            said.contains("No record is lost"),
            "{}: {said}",
            kind.name
        );
    }
}

/// A kind of damage to what the data directory itself keeps.
struct Central {
    name: &'static str,
    harm: fn(&Path),
    line: &'static str,
}

const CENTRAL: &[Central] = &[
    Central {
        name: "a manifest that is gone",
        harm: |data| fs::remove_file(data.join("streamd.manifest")).unwrap(),
        line: "the manifest is missing; every log is read from its start",
    },
    Central {
        name: "a manifest of garbage",
        harm: |data| fs::write(data.join("streamd.manifest"), [0xa5; 5_000]).unwrap(),
        line: "the manifest is damaged",
    },
    Central {
        name: "a flipped bit in the manifest",
        harm: |data| {
            let path = data.join("streamd.manifest");
            let middle = fs::metadata(&path).unwrap().len() / 2;
            overwrite(&path, middle, &[0x77; 40]);
        },
        line: "the manifest is damaged",
    },
    Central {
        name: "a cleaner's file of garbage",
        harm: |data| fs::write(data.join("cleaner-offset-checkpoint"), b"what?").unwrap(),
        line: "cleaner-offset-checkpoint",
    },
];

#[test]
fn damage_to_what_is_kept_about_the_logs_costs_no_record() {
    let mut broker = Broker::with("[disk]\nscrub_rate = 0\n");
    fill(&broker, "t");
    for (count, central) in (COUNT..).zip(CENTRAL) {
        broker.stop();
        (central.harm)(&broker.data());
        let before = broker.log().len();
        broker.up();
        assert_eq!(lost(&broker, "t", count), NONE, "{}", central.name);
        assert_eq!(produce(&broker, "t", count), (0, count), "{}", central.name);
        let said = broker.log()[before..].to_owned();
        assert!(
            said.lines().any(|line| line.contains(central.line) && line.contains("\"WARN\"")),
            "{}: {said}",
            central.name
        );
    }
}

#[test]
fn with_the_manifest_lost_what_is_cut_off_a_log_is_kept_and_told() {
    let mut broker = Broker::with("");
    fill(&broker, "t");
    broker.stop();
    let file = log(&broker.data().join("t-0"), 8);
    overwrite(&file, 500, &[0x77]);
    let whole = fs::read(&file).unwrap();
    fs::remove_file(broker.data().join("streamd.manifest")).unwrap();
    broker.up();
    assert_eq!(lost(&broker, "t", 8), NONE, "nobody knows whether there was more");
    assert_eq!(produce(&broker, "t", 8), (0, 8));
    let told = broker.wait_for_event("the log ends before its files do");
    assert_eq!(
        (&told["level"], &told["topic"], &told["end"]),
        (&"WARN".into(), &"t".into(), &8.into()),
        "{told}"
    );
    assert_eq!(fs::read(side(file.parent().unwrap(), 8, "log.0.cut")).unwrap(), whole);
}

#[test]
fn with_the_manifest_lost_deleted_records_stay_deleted_as_far_as_the_epochs_tell() {
    let mut broker = Broker::with("");
    fill(&broker, "t");
    let row = DeleteRecordsPartition::default().with_partition_index(0).with_offset(3);
    let topic = DeleteRecordsTopic::default().with_name(raw::name("t")).with_partitions(vec![row]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let answer = Connection::to(broker.address()).call(2, &request);
    assert_eq!(answer.topics[0].partitions[0].low_watermark, 3);
    let begins = |broker: &Broker| {
        let fetch = |offset| Connection::to(broker.address()).call(11, &raw::fetch("t", 0, offset, 0));
        (0..COUNT).find(|offset| raw::fetched(&fetch(*offset), *offset).0 == 0)
    };
    broker.restart();
    assert_eq!(begins(&broker), Some(3));
    broker.stop();
    fs::remove_file(broker.data().join("streamd.manifest")).unwrap();
    broker.up();
    assert_eq!(begins(&broker), Some(3));
    // Without that file either, a log begins with its first segment.
    broker.stop();
    fs::remove_file(broker.data().join("streamd.manifest")).unwrap();
    fs::remove_file(broker.data().join("t-0/leader-epoch-checkpoint")).unwrap();
    broker.up();
    assert_eq!(begins(&broker), Some(2));
}

/// A format that only a later release knows.
struct Newer {
    name: &'static str,
    harm: fn(&Path),
    says: &'static [&'static str],
}

const NEWER: &[Newer] = &[
    Newer {
        name: "meta.properties",
        harm: |data| {
            let path = data.join("meta.properties");
            let text = fs::read_to_string(&path).unwrap();
            let format = text.lines().find(|line| line.starts_with("streamd.format=")).unwrap().to_owned();
            fs::write(path, text.replace(&format, "streamd.format=99")).unwrap();
        },
        says: &["format 99", "a later streamd", "Nothing was changed"],
    },
    Newer {
        name: "the manifest",
        harm: |data| {
            // Its header: a mark, the version, 12 bytes, and their checksum.
            let path = data.join("streamd.manifest");
            let mut head = fs::read(&path).unwrap()[..28].to_vec();
            head[8] = 99;
            let crc = crc32c::crc32c(&head[..24]);
            head[24..].copy_from_slice(&crc.to_le_bytes());
            overwrite(&path, 0, &head);
        },
        says: &["streamd.manifest was written by a later streamd", "Nothing was changed"],
    },
];

#[test]
fn a_later_releases_files_are_refused_and_left_alone() {
    for newer in NEWER {
        let mut broker = Broker::with("");
        fill(&broker, "t");
        broker.stop();
        let mut intact = BTreeMap::new();
        read_all(&broker.data(), &mut intact);
        (newer.harm)(&broker.data());
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        read_all(&broker.data(), &mut before);
        before.remove(&broker.data().join(".lock"));
        assert_ne!(before, intact);
        broker.spawn("127.0.0.1:0");
        assert_eq!(broker.wait().code(), Some(1), "{}", newer.name);
        let said = broker.log();
        let last = said.lines().last().unwrap();
        for part in newer.says {
            assert!(last.contains(part), "{}: no {part:?} in {last}", newer.name);
        }
        read_all(&broker.data(), &mut after);
        // Who held it last.
        after.remove(&broker.data().join(".lock"));
        assert!(before == after, "{}: files were changed", newer.name);
        for (path, bytes) in intact {
            fs::write(path, bytes).unwrap();
        }
        broker.up();
        assert_eq!(lost(&broker, "t", COUNT), NONE);
    }
}

#[test]
fn a_leader_epoch_that_flipped_past_the_checkpoint_cuts_nothing_off() {
    let mut broker = Broker::with("[disk]\nscrub_rate = 0\n");
    // A later epoch, so that one may fall.
    broker.restart();
    fill(&broker, "t");
    broker.kill();
    let whole: Vec<_> = [2, 4, 8].map(|base| fs::read(log(&broker.data().join("t-0"), base)).unwrap()).into();
    // Nobody has put a checkpoint: all is read, and the last one has nobody behind it.
    fs::remove_file(broker.data().join("streamd.manifest")).unwrap();
    flip(&log(&broker.data().join("t-0"), 2), 12);
    flip(&log(&broker.data().join("t-0"), 4), SECOND + 15);
    flip(&log(&broker.data().join("t-0"), 8), 13);
    broker.up();
    assert_eq!(lost(&broker, "t", COUNT), NONE);
    assert_eq!(produce(&broker, "t", COUNT), (0, COUNT));
    let now: Vec<_> = [2, 4].map(|base| fs::read(log(&broker.data().join("t-0"), base)).unwrap()).into();
    assert!(now == whole[..2], "they are put right");
}

#[test]
fn a_partition_of_a_later_release_is_refused_alone_and_left_alone() {
    let mut broker = Broker::with("");
    fill(&broker, "newer");
    fill(&broker, "t");
    broker.stop();
    let dir = broker.data().join("newer-0");
    let path = dir.join("partition.metadata");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("version: 0", "version: 7")).unwrap();
    // Whose a directory is, is asked after an unclean stop.
    broker.up();
    broker.kill();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    read_all(&dir, &mut before);
    broker.up();
    let (error, _) = produce(&broker, "newer", 0);
    assert_eq!(error, STORAGE_ERROR);
    let line = broker.wait_for_log("later");
    assert!(line.contains("newer-0") && line.contains("partition.metadata"), "{line}");
    assert_eq!(lost(&broker, "t", COUNT), NONE, "others are served");
    assert_eq!(produce(&broker, "t", COUNT), (0, COUNT));
    read_all(&dir, &mut after);
    assert!(before == after, "files were changed");
}

#[test]
fn bits_that_flip_under_a_running_broker_are_found_before_somebody_asks() {
    let mut broker = Broker::with("[disk]\nscrub_interval = \"200ms\"\n");
    fill(&broker, "rotting");
    fill(&broker, "t");
    assert_eq!(lost(&broker, "rotting", COUNT), NONE);
    overwrite(&log(&broker.data().join("rotting-0"), 2), SECOND + 500, &[0x77]);
    let told = broker.wait_for_event("damage was found: the CRC does not match");
    assert_eq!(
        (&told["topic"], &told["first_offset"], &told["next_offset"]),
        (&"rotting".into(), &3.into(), &4.into())
    );
    assert!(told["message"].as_str().unwrap().contains("streamd repair rotting-0"), "{told}");
    assert_eq!(lost(&broker, "rotting", COUNT), [3]);
    assert_eq!(lost(&broker, "t", COUNT), NONE);
    assert_eq!(produce(&broker, "rotting", COUNT), (0, COUNT));
    // Both logs have five segments, and the catalog has one.
    broker.wait_for_log("\"segments\":11,\"damaged\":0,");
    // A log that nobody has opened since the start is looked through all the same, and one look finds all of it.
    broker.stop();
    overwrite(&log(&broker.data().join("t-0"), 4), 500, &[0x77]);
    overwrite(&log(&broker.data().join("t-0"), 8), 500, &[0x77]);
    broker.set_config("");
    broker.up();
    for first in [4, 8] {
        broker.wait_for_log(&format!("\"first_offset\":{first},"));
    }
    assert_eq!(lost(&broker, "t", COUNT), [4, 8]);
    assert_eq!(lost(&broker, "rotting", COUNT + 1), [3], "what was found before is known");
}
