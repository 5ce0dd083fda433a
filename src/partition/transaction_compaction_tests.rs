//! Transactions in a compacted log: whatever is cleaned, and whatever a crash leaves, a reader of what is committed ends
//! with the last committed value of each key.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::testing::*;
use super::{Isolation, Partition, ReadRequest, TransactionMarker};
use crate::config::{Fsync, TopicSettings};
use crate::record::batch::BatchView;
use crate::record::build::{BatchBuilder, NewRecord};
use crate::record::control::{ControlType, read_marker};
use crate::storage::compaction::plan::{Situation, dirty_from, plan};
use crate::storage::compaction::{Cleaned, Cleaning, MapLimits, Pace, clean};
use crate::storage::files::FileCache;
use crate::storage::flush::CheckpointTarget as _;
use crate::storage::manifest::{Checkpoint, PartitionRow};
use crate::storage::txn_index::AbortedTransaction;
use crate::types::{Clock, TopicId};

const TOPIC: TopicId = id(1);

type Values = BTreeMap<u8, Option<Vec<u8>>>;

#[derive(Debug, Clone)]
enum Step {
    /// Keys with or without a value, by a producer in its transaction, or by nobody.
    Write(Option<i64>, Vec<(u8, bool)>),
    End(i64, bool),
    Clean,
    /// Time passes, in hours.
    Wait(i64),
    Crash(Lost),
}

/// What a crash, or a disk that rots, takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Nothing,
    Manifest,
    /// Our producer files: Kafka's are older.
    Producers,
    /// All of both kinds.
    AllProducers,
    /// The lists of aborted transactions.
    Aborted,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = proptest::collection::vec((0_u8..5, proptest::bool::weighted(0.8)), 1..4);
    let step = prop_oneof![
        8 => (proptest::option::weighted(0.8, 1_i64..4), records).prop_map(|(p, r)| Step::Write(p, r)),
        5 => (1_i64..4, any::<bool>()).prop_map(|(p, commit)| Step::End(p, commit)),
        3 => Just(Step::Clean),
        1 => (1_i64..40).prop_map(Step::Wait),
        1 => proptest::sample::select(&[
            Lost::Nothing, Lost::Manifest, Lost::Producers, Lost::AllProducers, Lost::Aborted,
        ][..]).prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..50)
}

/// One record as it was appended.
struct Written {
    offset: i64,
    producer: Option<i64>,
    key: u8,
    value: Option<Vec<u8>>,
}

struct World {
    rig: Rig,
    partition: Arc<Partition>,
    written: Vec<Written>,
    /// Producer, marker's offset, whether it committed.
    ends: Vec<(i64, i64, bool)>,
    row: Option<Arc<PartitionRow>>,
    clean_to: Option<i64>,
    now: i64,
    /// Cleans without knowing what was aborted.
    ignorant: bool,
}

fn settings() -> TopicSettings {
    TopicSettings {
        compact: true,
        delete: false,
        min_cleanable_dirty_ratio: 0.0,
        segment_bytes: 1_500,
        index_interval_bytes: 200,
        ..TopicSettings::default()
    }
}

/// Checkpoints are made when the test says so, by nobody else.
fn rig() -> Rig {
    let rig = Rig::with(settings(), FileCache::new(64, 8), Fsync::Never);
    rig.table.environment().checkpointer.stop();
    rig
}

impl World {
    fn new() -> Self {
        let rig = rig();
        let partition = rig.open("t", TOPIC);
        let (written, ends) = (Vec::new(), Vec::new());
        Self { rig, partition, written, ends, row: None, clean_to: None, now: NOW, ignorant: false }
    }

    fn write(&mut self, producer: Option<i64>, records: &[(u8, bool)]) {
        let base = self.partition.reader().end();
        let mut builder = BatchBuilder::new();
        if let Some(id) = producer {
            // As coordinators write: their sequences are not looked at.
            builder = builder.producer(id, 0, -1).transactional(true);
        }
        for ((key, live), offset) in records.iter().zip(base..) {
            let value = live.then(|| offset.to_be_bytes().to_vec());
            let record =
                NewRecord { timestamp: self.now, key: Some(&[*key]), value: value.as_deref(), headers: &[] };
            builder.push(&record);
            self.written.push(Written { offset, producer, key: *key, value });
        }
        self.partition.append_own(&[headed(builder.build().unwrap())]).unwrap();
    }

    fn end(&mut self, producer: i64, commit: bool) {
        let marker = TransactionMarker {
            producer_id: producer,
            producer_epoch: 0,
            coordinator_epoch: 0,
            commit,
            v2: false,
            is_own: true,
        };
        let end = self.partition.append_marker(marker).unwrap();
        self.ends.push((producer, end - 1, commit));
    }

    fn checkpoint(&mut self) {
        if let Some(note) = self.partition.prepare().unwrap() {
            self.partition.checkpointed(&note.row);
            self.row = Some(note.row);
        }
    }

    /// Closes the active segment and cleans what may be cleaned.
    fn clean(&mut self) -> Option<Cleaned> {
        self.partition.roll_segment().unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        let end = self.partition.reader().end();
        self.partition.when_durable(end, Arc::new(move || told.send(()).unwrap_or_default()));
        tell.recv().unwrap();
        self.checkpoint();
        let (reader, settings) = (self.partition.reader(), settings());
        let segments = reader.segments();
        let situation = Situation {
            segments: &segments,
            dirty_from: dirty_from(self.clean_to, reader.start(), reader.end()),
            bound: self.partition.compaction_bound(),
            oldest_dirty: None,
            replayed: false,
            pressure: self.partition.room().pressure(),
            now: self.now,
        };
        let work = plan(&situation, &settings).work?;
        let aborted = reader.aborted(0, i64::MAX, true).unwrap();
        let cleaned = clean(&Cleaning {
            log: self.partition.log(),
            settings: &settings,
            work,
            producers: &self.partition.active_producers(),
            aborted: if self.ignorant { &[] } else { &aborted },
            manifest: self.rig.manifest(),
            is_own: false,
            pace: &Pace::new(Clock::manual(0), f64::MAX),
            map: MapLimits { bytes: 1 << 20, load: 0.9, secret: [5, 6] },
            read_bytes: 1 << 10,
            now: self.now,
        });
        assert!(cleaned.fault.is_none(), "{cleaned:?}");
        self.clean_to = cleaned.clean_to;
        // The row with the new segments.
        self.checkpoint();
        Some(cleaned)
    }

    fn crash(&mut self, what: Lost) {
        if !self.rig.dir("t").is_dir() {
            return;
        }
        let manifest_lost = what == Lost::Manifest;
        let mut files = files_of(&self.rig.dir("t"));
        let endings: &[&str] = match what {
            Lost::Nothing | Lost::Manifest => &[],
            Lost::Producers => &[".producers"],
            Lost::AllProducers => &[".producers", ".snapshot"],
            Lost::Aborted => &[".txnindex"],
        };
        files.retain(|name, _| !endings.iter().any(|ending| name.ends_with(ending)));
        self.rig = rig();
        fs::create_dir(self.rig.dir("t")).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(self.rig.dir("t").join(name), bytes).unwrap());
        let row = self.row.take().map(|row| if manifest_lost { lost(&row) } else { row });
        if let Some(row) = row {
            self.rig.table.environment().rows.lock().insert(row.id, Arc::clone(&row));
            // One that says that nobody knows stays until a checkpoint.
            self.row = Some(row);
        }
        self.partition = self.rig.open("t", TOPIC);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(producer, records) => self.write(*producer, records),
            Step::End(producer, commit) => self.end(*producer, *commit),
            Step::Clean => drop(self.clean()),
            Step::Wait(hours) => self.now += hours * 3_600_000,
            Step::Crash(lost) => self.crash(*lost),
        }
    }

    /// Where what is decided ends.
    fn stable(&self) -> i64 {
        let is_open = |record: &&Written| {
            let ended = |producer| self.ends.iter().any(|(id, at, _)| *id == producer && *at > record.offset);
            record.producer.is_some_and(|producer| !ended(producer))
        };
        let first = self.written.iter().find(is_open).map(|record| record.offset);
        first.unwrap_or_else(|| self.partition.reader().end())
    }

    /// The last committed value of each key below the stable offset; deleted ones are left out.
    fn committed(&self) -> Values {
        let stable = self.partition.last_stable_offset();
        let mut values = Values::new();
        for record in self.written.iter().filter(|record| record.offset < stable) {
            let ended = |producer: i64| {
                let mut ends = self.ends.iter().filter(|(id, at, _)| *id == producer && *at > record.offset);
                ends.next().is_some_and(|(_, _, commit)| *commit)
            };
            if record.producer.is_none_or(ended) {
                values.insert(record.key, record.value.clone());
            }
        }
        values.retain(|_, value| value.is_some());
        values
    }

    /// What a consumer makes of the log that goes by what Fetch tells it, as Kafka's clients do.
    fn consumed(&self) -> Values {
        let mut values = Values::new();
        let mut from = 0;
        while from < self.partition.last_stable_offset() {
            let request = ReadRequest {
                from,
                hint: None,
                max_bytes: 700,
                at_least_one: true,
                isolation: Isolation::ReadCommitted,
            };
            let read = self.partition.read_blocking(&request).unwrap();
            let mut bytes = Vec::new();
            for slice in &read.batches.slices {
                let at = bytes.len();
                bytes.resize(at + slice.len(), 0);
                slice.read_into(0, &mut bytes[at..]).unwrap();
            }
            consume(&bytes, read.aborted, &mut values);
            assert!(read.batches.next.offset() > from);
            from = read.batches.next.offset();
        }
        values.retain(|_, value| value.is_some());
        values
    }
}

fn lost(row: &PartitionRow) -> Arc<PartitionRow> {
    let row = PartitionRow::clone(row);
    Arc::new(PartitionRow { checkpoint: Checkpoint::NONE, segments: Vec::new(), producers: false, ..row })
}

/// One fetched answer, as Kafka's consumer reads it.
fn consume(mut bytes: &[u8], mut aborted: Vec<AbortedTransaction>, values: &mut Values) {
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut skipped = HashSet::new();
    while !bytes.is_empty() {
        let batch = BatchView::parse(bytes).unwrap();
        bytes = &bytes[batch.bytes().len()..];
        let header = batch.header();
        while let Some(begun) = aborted.next_if(|next| next.first_offset <= header.last_offset()) {
            skipped.insert(begun.producer_id);
        }
        if header.attributes.is_control() {
            let kind = (header.records_count > 0).then(|| read_marker(&batch).unwrap().unwrap().kind);
            if kind == Some(ControlType::Abort) {
                skipped.remove(&header.producer_id);
            }
            continue;
        }
        if header.attributes.is_transactional() && skipped.contains(&header.producer_id) {
            continue;
        }
        for record in &batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            values.insert(record.key.unwrap()[0], record.value.map(<[u8]>::to_vec));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn s94_readers_of_what_is_committed_end_with_the_last_committed_values(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            prop_assert_eq!(world.consumed(), world.committed(), "{:?}", step);
            prop_assert_eq!(world.partition.last_stable_offset(), world.stable(), "{:?}", step);
        }
        for producer in 1..4 {
            world.end(producer, false);
        }
        for _ in 0..4 {
            world.clean();
            world.now += 25 * 3_600_000;
            world.write(None, &[(9, true)]);
            prop_assert_eq!(world.consumed(), world.committed());
        }
        world.crash(Lost::Nothing);
        prop_assert_eq!(world.consumed(), world.committed());
    }
}

/// Negative control: a cleaner that does not know what was aborted takes an aborted value for the last one.
#[test]
fn an_aborted_value_that_displaces_a_committed_one_is_noticed_by_this_test() {
    for ignorant in [false, true] {
        let mut world = World::new();
        world.ignorant = ignorant;
        world.write(None, &[(1, true)]);
        world.write(Some(1), &[(1, true)]);
        world.end(1, false);
        world.clean().unwrap();
        assert_eq!(world.consumed() == world.committed(), !ignorant);
    }
}

#[test]
fn s94_an_aborted_transaction_goes_with_its_marker_and_its_entry() {
    let mut world = World::new();
    world.write(Some(1), &[(1, true)]);
    world.end(1, false);
    let index = world.rig.dir("t").join("00000000000000000000.txnindex");
    world.clean().unwrap();
    assert_eq!(fs::metadata(&index).unwrap().len(), 34, "frames of it are left, or were when this was read");
    for _ in 0..3 {
        world.now += 25 * 3_600_000;
        world.write(Some(1), &[(2, true)]);
        world.end(1, true);
        world.clean().unwrap();
    }
    assert_eq!(fs::metadata(&index).unwrap().len(), 0);
    let reader = world.partition.reader();
    let mut controls = 0;
    reader
        .for_each_batch(0, i64::MAX, &mut |batch: &BatchView<'_>| {
            let is_abort = batch.header().attributes.is_control()
                && batch.header().records_count > 0
                && read_marker(batch).unwrap().unwrap().kind == ControlType::Abort;
            controls += usize::from(is_abort);
            true
        })
        .unwrap();
    assert_eq!(controls, 0);
    assert_eq!(reader.aborted(0, i64::MAX, true).unwrap(), []);
}
