//! Crash images of a topic that is deleted and made again under its name: the catalog's log and the directories as a
//! crash at each step leaves them, put together from two runs of a real broker. One directory never holds two topics,
//! what was deleted goes, and what nobody knows is kept and not served.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{DeleteTopicsRequest, MetadataRequest};
use streamd::record::batch::{BatchHeader, BatchView, stamp};
use streamd::storage::layout::{
    MANIFEST, PARTITION_METADATA, deleted_dir, encode_partition_metadata, stray_dir,
};
use streamd::types::TopicId;
use uuid::Uuid;

use crate::image::{Files, batches, load, put};
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const CATALOG: &str = "__cluster_metadata-0/00000000000000000000.log";
const LIVE: &str = "t-0";

/// The files in a directory of an image.
fn inside(files: &Files, dir: &str) -> Files {
    let of = |(path, bytes): (&String, &Vec<u8>)| {
        Some((path.strip_prefix(dir)?.strip_prefix('/')?.to_owned(), bytes.clone()))
    };
    files.iter().filter_map(of).collect()
}

/// The kinds of the records in a batch of the catalog (KRaft's API keys, and ours from 10,000 on).
fn kinds(batch: &[u8]) -> Vec<u32> {
    let view = BatchView::parse(batch).unwrap();
    let kind = |value: &[u8]| {
        // The frame's version, then the kind as a varint.
        value[1..].iter().take(5).enumerate().try_fold(0, |kind, (nth, byte)| {
            let kind = kind | u32::from(byte & 0x7f) << (7 * nth);
            if byte & 0x80 == 0 { Err(kind) } else { Ok(kind) }
        })
    };
    let records = view.records(1 << 20).unwrap();
    records.into_iter().map(|record| kind(record.unwrap().value.unwrap()).unwrap_err()).collect()
}

const TOPIC: u32 = 2;
const REMOVE_TOPIC: u32 = 9;
const FILES_REMOVED: u32 = 10_004;

/// The records, or the error.
fn values(connection: &mut Connection) -> Result<Vec<String>, i16> {
    match raw::fetched(&connection.call(11, &raw::fetch("t", 0, 0, 0)), 0) {
        (0, _, records) => {
            Ok(records.into_iter().map(|read| String::from_utf8(read.value).unwrap()).collect())
        }
        (error, ..) => Err(error),
    }
}

fn append(connection: &mut Connection, value: &str) -> (i16, i64) {
    raw::produced(&connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[value.as_bytes()]))))
}

fn create(connection: &mut Connection) {
    raw::create(connection, "t", 1, &[("segment.bytes", "150")]);
}

fn delete(connection: &mut Connection) {
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![raw::name("t")]).with_timeout_ms(30_000);
    assert_eq!(connection.call(4, &request).responses[0].error_code, 0);
}

/// The topic's id, if there is such a topic.
fn id(connection: &mut Connection) -> Option<TopicId> {
    let topic = MetadataRequestTopic::default().with_name(Some(raw::name("t")));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    let topic = connection.call(12, &request).topics.remove(0);
    (topic.error_code == 0).then(|| of(topic.topic_id))
}

fn of(id: Uuid) -> TopicId {
    TopicId::from_bytes(*id.as_bytes())
}

fn eventually(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > Duration::from_secs(10) {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// What the images are made of.
struct Parts {
    broker: Broker,
    /// With the old topic, before it is deleted.
    before: Files,
    /// With the new one, after its first append.
    after: Files,
    old: TopicId,
    new: TopicId,
    /// Batches of the catalog's log: up to before the old topic, that topic, what came until the deletion, and then what
    /// the deletion, its end and the new topic brought.
    empty: Vec<Vec<u8>>,
    made: Vec<Vec<u8>>,
    removed: Vec<Vec<u8>>,
    files_removed: Vec<Vec<u8>>,
    remade: Vec<Vec<u8>>,
}

const OLD: [&str; 4] = ["old 0", "old 1", "old 2", "old 3"];

impl Parts {
    fn gather() -> Self {
        let mut broker = Broker::start();
        let mut connection = Connection::to(broker.address());
        create(&mut connection);
        let old = id(&mut connection).unwrap();
        OLD[..3].iter().for_each(|value| assert_eq!(append(&mut connection, value).0, 0));
        // A stop makes a row of the manifest for it, which the crash then finds.
        broker.restart();
        assert_eq!(append(&mut Connection::to(broker.address()), OLD[3]), (0, 3));
        broker.kill();
        let before = load(&broker.data());
        broker.up();
        let mut connection = Connection::to(broker.address());
        delete(&mut connection);
        let data = broker.data();
        let is_removed = || {
            let log = fs::read(data.join(CATALOG)).unwrap();
            batches(&log).iter().any(|batch| kinds(batch).contains(&FILES_REMOVED))
        };
        assert!(eventually(is_removed), "the deletion does not come to its end");
        create(&mut connection);
        let new = id(&mut connection).unwrap();
        assert_eq!(append(&mut connection, "new 0"), (0, 0));
        broker.kill();
        let after = load(&broker.data());
        let all = batches(&after[CATALOG]);
        let nth = |kind: u32, from: usize| {
            from + all[from..].iter().position(|batch| kinds(batch).contains(&kind)).unwrap()
        };
        let known = batches(&before[CATALOG]).len();
        let (topic, remove) = (nth(TOPIC, 0), nth(REMOVE_TOPIC, known));
        let ended = nth(FILES_REMOVED, remove);
        assert!(ended > remove && nth(TOPIC, known) > ended, "each has a batch of its own");
        let part = |range: std::ops::Range<usize>| all[range].to_vec();
        Self {
            empty: part(0..topic),
            made: part(topic..known),
            removed: part(remove..ended),
            files_removed: part(ended..ended + 1),
            remade: part(ended + 1..all.len()),
            broker,
            before,
            after,
            old,
            new,
        }
    }

    /// An image with this catalog and these directories; all else is as before the deletion.
    fn image(&self, catalog: &[&[Vec<u8>]], dirs: &[(&str, &Files)]) -> Files {
        let mut files = self.before.clone();
        files.retain(|path, _| !path.starts_with(LIVE));
        let (mut log, mut next) = (Vec::new(), 0);
        for batch in catalog.iter().copied().flatten() {
            let mut batch = batch.clone();
            let header = BatchHeader::parse(&batch).unwrap();
            stamp(&mut batch, next, header.partition_leader_epoch);
            next += i64::from(header.last_offset_delta) + 1;
            log.extend(batch);
        }
        files.insert(CATALOG.to_owned(), log);
        for (dir, inside) in dirs {
            files.extend(inside.iter().map(|(name, bytes)| (format!("{dir}/{name}"), bytes.clone())));
        }
        files
    }

    /// Starts the broker over an image.
    fn start(&mut self, image: &Files) -> Connection {
        put(image, &self.broker.data());
        self.broker.up();
        Connection::to(self.broker.address())
    }

    fn dirs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.broker.data()).unwrap().map(|entry| entry.unwrap());
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("t-")).collect()
    }

    /// Starts the broker over an image, uses the topic, and kills it; says what is not as it has to be: the topic `id`
    /// with these records, and nothing left of any other.
    fn faults(&mut self, image: &Files, wanted: Option<TopicId>, held: &[&str]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut connection = self.start(image);
        if id(&mut connection) != wanted {
            faults.push(format!("the topic is {:?}", id(&mut connection)));
        }
        if wanted.is_none() {
            create(&mut connection);
        }
        let mut held: Vec<String> = held.iter().map(|value| (*value).to_owned()).collect();
        // One touches the topic at once, the other waits for what the start does behind it.
        for value in ["next", "behind a crash"] {
            let (found, end) = (values(&mut connection), append(&mut connection, value));
            if found.as_ref() != Ok(&held) || end != (0, i64::try_from(held.len()).unwrap()) {
                faults.push(format!("it holds {found:?}, and the next record is given {end:?}"));
            }
            held.push(value.to_owned());
            if !faults.is_empty() {
                self.broker.kill();
                return faults;
            }
            if !eventually(|| self.dirs() == [LIVE]) {
                faults.push(format!("directories are left: {:?}", self.dirs()));
            }
            self.broker.kill();
            self.broker.up();
            connection = Connection::to(self.broker.address());
        }
        if values(&mut connection).as_ref() != Ok(&held) {
            faults.push(format!("after a crash it holds {:?}", values(&mut connection)));
        }
        self.broker.kill();
        faults
    }
}

#[test]
fn a_crash_at_any_step_of_deleting_and_making_a_topic_again_leaves_one_of_them_and_whole() {
    let mut parts = Parts::gather();
    let (old_dir, new_dir) = (inside(&parts.before, LIVE), inside(&parts.after, LIVE));
    assert!(
        old_dir.len() > 4 && new_dir.contains_key(PARTITION_METADATA),
        "several segments, or little is tried"
    );
    let aside = deleted_dir("t", 0, parts.old);
    let halfway: Files = old_dir.clone().into_iter().skip(2).collect();
    let begun: Files = new_dir
        .iter()
        .map(|(name, bytes)| (name.clone(), if name == PARTITION_METADATA { bytes.clone() } else { vec![] }))
        .collect();
    let only_metadata: Files =
        new_dir.clone().into_iter().filter(|(name, _)| name == PARTITION_METADATA).collect();
    let (in_place, renamed, unlinking) = ((LIVE, &old_dir), (&*aside, &old_dir), (&*aside, &halfway));
    let (empty, made, removed) = (parts.empty.clone(), parts.made.clone(), parts.removed.clone());
    let (ended, remade) = (parts.files_removed.clone(), parts.remade.clone());
    let (old, new) = (Some(parts.old), Some(parts.new));

    let image = parts.image(&[&empty, &made], &[in_place]);
    assert_eq!(parts.faults(&image, old, &OLD), [""; 0], "the removal record was not durable");

    // The removal record is durable; the directory is where it was, renamed, half gone, gone.
    let old_steps: [&[(&str, &Files)]; 4] = [&[in_place], &[renamed], &[unlinking], &[]];
    for (step, dirs) in old_steps.iter().enumerate() {
        let image = parts.image(&[&empty, &made, &removed], dirs);
        assert_eq!(parts.faults(&image, None, &[]), [""; 0], "deleted, step {step}");
        let image = parts.image(&[&empty, &made, &removed, &remade], dirs);
        assert_eq!(parts.faults(&image, new, &[]), [""; 0], "made again, step {step}");
    }
    // The new topic's first append has begun, or is there, whatever is left of the old one.
    for (step, dirs) in old_steps[1..].iter().enumerate() {
        for (fresh, held) in [(&only_metadata, &[][..]), (&begun, &[]), (&new_dir, &["new 0"])] {
            let dirs = [dirs, &[(LIVE, fresh)][..]].concat();
            let image = parts.image(&[&empty, &made, &removed, &remade], &dirs);
            assert_eq!(parts.faults(&image, new, held), [""; 0], "appended to, step {step}");
        }
    }
    // The catalog has forgotten the removal. A power cut may bring back what was renamed and unlinked before it.
    for dirs in [&[][..], &[renamed], &[unlinking]] {
        let image = parts.image(&[&empty, &made, &removed, &ended], dirs);
        assert_eq!(parts.faults(&image, None, &[]), [""; 0], "the removal is over");
        let image =
            parts.image(&[&empty, &made, &removed, &ended, &remade], &[dirs, &[(LIVE, &new_dir)]].concat());
        assert_eq!(parts.faults(&image, new, &["new 0"]), [""; 0], "the removal is over");
    }

    // Negative controls. Files that go before the removal record is durable take the topic's records with them.
    for dirs in [&[renamed][..], &[unlinking], &[]] {
        let image = parts.image(&[&empty, &made], dirs);
        assert_ne!(parts.faults(&image, old, &OLD), [""; 0]);
    }
    // A new topic that takes over the directory instead of renaming it shows the old one's records.
    let mut mixed = old_dir.clone();
    mixed.insert(PARTITION_METADATA.to_owned(), encode_partition_metadata(parts.new).into_bytes());
    let image = parts.image(&[&empty, &made, &removed, &remade], &[(LIVE, &mixed)]);
    assert_ne!(parts.faults(&image, new, &[]), [""; 0]);
}

#[test]
fn a_directory_that_nobody_knows_is_kept_beside_and_never_served() {
    let mut parts = Parts::gather();
    let (empty, made, removed) = (parts.empty.clone(), parts.made.clone(), parts.removed.clone());
    let strange = inside(&parts.before, LIVE);
    let mut unreadable = strange.clone();
    unreadable.insert(PARTITION_METADATA.to_owned(), b"version: 0\ntopic".to_vec());
    let mut without = strange.clone();
    without.remove(PARTITION_METADATA);
    let cases = [(&strange, parts.old), (&unreadable, TopicId::ZERO), (&without, TopicId::ZERO)];
    for (files, known_as) in cases {
        let stray = stray_dir("t", 0, known_as);
        let mut image = parts.image(&[&empty], &[(LIVE, files)]);
        // It vouches for more of the catalog than this one has.
        image.remove(MANIFEST).unwrap();
        let mut connection = parts.start(&image);
        // Whether somebody makes a topic of that name at once, or nobody does.
        if known_as == TopicId::ZERO {
            create(&mut connection);
            assert_eq!(append(&mut connection, "mine"), (0, 0));
            assert_eq!(values(&mut connection), Ok(vec!["mine".to_owned()]));
        }
        assert!(eventually(|| parts.dirs().contains(&stray)), "{:?}", parts.dirs());
        parts.broker.wait_for_log("set aside");
        parts.broker.kill();
        parts.broker.up();
        let mut connection = Connection::to(parts.broker.address());
        match id(&mut connection) {
            Some(_) => delete(&mut connection),
            None => assert_eq!(parts.dirs(), [&*stray], "nobody is served from it"),
        }
        parts.broker.restart();
        assert!(eventually(|| parts.dirs() == [&*stray]), "{:?}", parts.dirs());
        let kept = inside(&load(&parts.broker.data()), &stray);
        let logs = |files: &Files| -> Files {
            files.clone().into_iter().filter(|(name, _)| name.ends_with(".log")).collect()
        };
        assert_eq!(logs(&kept), logs(files), "not a byte of the records is lost");
        parts.broker.kill();
    }
    // Negative control: the same directory goes if the catalog knows that its topic was deleted.
    let image = parts.image(&[&empty, &made, &removed], &[(LIVE, &strange)]);
    drop(parts.start(&image));
    assert!(eventually(|| parts.dirs().is_empty()), "{:?}", parts.dirs());
}
