//! Random transactions, rolls, checkpoints and crashes against a list of what was appended: whatever a crash leaves, the
//! stable offset, the aborted list and the open transactions are those that the log tells.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::ack::{Ack, AckSlot, AppendTicket};
use super::testing::*;
use super::transactions::{CoordinatorWord, FirstBatch};
use super::{Isolation, Partition, ReadRequest, TransactionMarker};
use crate::config::{Fsync, TopicSettings};
use crate::record::batch::BatchHeader;
use crate::record::build::{BatchBuilder, NewRecord};
use crate::record::check::CheckedBatch;
use crate::storage::files::FileCache;
use crate::storage::flush::CheckpointTarget as _;
use crate::storage::layout::{FileKind, segment_file};
use crate::storage::manifest::{PartitionRow, SegmentRow};
use crate::types::TopicId;

const TOPIC: TopicId = id(1);

/// What is done to the partition. Producers go by small numbers.
#[derive(Debug, Clone)]
enum Step {
    Write {
        producer: i64,
        records: i32,
    },
    /// Ends the producer's transaction, open or not; with a bump as a coordinator of V2 does it.
    End {
        producer: i64,
        commit: bool,
        bump: bool,
    },
    Plain,
    Roll,
    Checkpoint,
    Crash(Crash),
}

/// What a crash leaves.
#[derive(Debug, Clone, Default)]
struct Crash {
    /// Batches behind the checkpoint that are gone.
    lost: usize,
    /// Whether the manifest is gone with its row.
    manifest_lost: bool,
    /// Entries of unsynced `.txnindex` files that are gone, and what stands in their place.
    entries_lost: usize,
    garbage: usize,
    /// What has happened to a `.txnindex`, synced or not.
    rot: Option<Rot>,
    /// Whether the broker had stopped in order: then nothing is lost behind the checkpoint.
    clean: bool,
}

/// What a disk, or somebody, does to one of the `.txnindex` files, counted from the oldest.
#[derive(Debug, Clone)]
struct Rot {
    file: prop::sample::Index,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Gone,
    Short(prop::sample::Index),
    Flipped(prop::sample::Index),
    /// It is what another segment's was.
    Others(prop::sample::Index),
}

impl Rot {
    /// Befalls one of these segments.
    fn befall(&self, bases: &[i64], files: &mut BTreeMap<String, Vec<u8>>) {
        let names: Vec<String> = bases.iter().map(|base| segment_file(*base, FileKind::TxnIndex)).collect();
        if names.is_empty() {
            return;
        }
        let name = self.file.get(&names);
        let len = files[name].len();
        match &self.what {
            What::Gone => drop(files.remove(name)),
            What::Short(to) => files.get_mut(name).unwrap().truncate(to.index(len + 1)),
            What::Flipped(at) if len > 0 => files.get_mut(name).unwrap()[at.index(len)] ^= 0x10,
            What::Flipped(_) => {}
            What::Others(of) => {
                let other = files[of.get(&names)].clone();
                files.insert(name.clone(), other);
            }
        }
    }
}

fn rot() -> impl Strategy<Value = Option<Rot>> {
    let index = any::<prop::sample::Index>;
    let what = prop_oneof![
        Just(What::Gone),
        index().prop_map(What::Short),
        index().prop_map(What::Flipped),
        index().prop_map(What::Others),
    ];
    prop::option::of((index(), what).prop_map(|(file, what)| Rot { file, what }))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let producer = 1_i64..4;
    let step = prop_oneof![
        8 => (producer.clone(), 1_i32..4).prop_map(|(producer, records)| Step::Write { producer, records }),
        5 => (producer, any::<bool>(), any::<bool>())
            .prop_map(|(producer, commit, bump)| Step::End { producer, commit, bump }),
        2 => Just(Step::Plain),
        1 => Just(Step::Roll),
        1 => Just(Step::Checkpoint),
        1 => (0_usize..4, proptest::bool::weighted(0.3), 0_usize..3, 0_usize..60, rot(), any::<bool>()).prop_map(
            |(lost, manifest_lost, entries_lost, garbage, rot, clean)| {
                Step::Crash(Crash { lost, manifest_lost, entries_lost, garbage, rot, clean })
            }
        ),
    ];
    proptest::collection::vec(step, 1..60)
}

/// One batch of the log.
#[derive(Debug, Clone, Copy)]
struct Entry {
    base: i64,
    next: i64,
    len: usize,
    producer: i64,
    /// `Some(commit)` for a marker.
    end: Option<bool>,
    epoch: i16,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    stable: i64,
    /// Producer, first offset, marker.
    aborted: Vec<(i64, i64, i64)>,
    /// First offset and producer.
    open: BTreeMap<i64, i64>,
}

/// What the log tells.
fn told(log: &[Entry]) -> Told {
    let mut told = Told::default();
    for entry in log.iter().filter(|entry| entry.producer > 0) {
        let open = told.open.iter().find(|(_, producer)| **producer == entry.producer);
        let open = open.map(|(first, _)| *first);
        match (entry.end, open) {
            (None, None) => drop(told.open.insert(entry.base, entry.producer)),
            (Some(commit), Some(first)) => {
                told.open.remove(&first);
                if !commit {
                    told.aborted.push((entry.producer, first, entry.base));
                }
            }
            _ => {}
        }
    }
    let end = log.last().map_or(0, |entry| entry.next);
    told.stable = told.open.keys().next().copied().unwrap_or(end);
    told
}

struct World {
    rig: Rig,
    partition: Arc<Partition>,
    log: Vec<Entry>,
    row: Option<Arc<PartitionRow>>,
    /// Base of the segment that grows.
    active: i64,
}

/// Checkpoints are made when the test says so, by nobody else.
fn rig() -> Rig {
    rig_after(false)
}

/// A rig, after a stop in order or any other.
fn rig_after(clean: bool) -> Rig {
    let rig = Rig::after(clean, TopicSettings::default(), FileCache::new(64, 8), Fsync::Never);
    rig.table.environment().checkpointer.stop();
    rig
}

impl World {
    fn new() -> Self {
        let rig = rig();
        let partition = rig.open("t", TOPIC);
        Self { rig, partition, log: Vec::new(), row: None, active: 0 }
    }

    fn end(&self) -> i64 {
        self.log.last().map_or(0, |entry| entry.next)
    }

    /// Epoch and next sequence of a producer.
    fn state_of(&self, producer: i64) -> (i16, i32) {
        let mine = || self.log.iter().filter(|entry| entry.producer == producer);
        let epoch = mine().next_back().map_or(0, |entry| entry.epoch);
        let records = mine().filter(|entry| entry.end.is_none() && entry.epoch == epoch);
        (epoch, i32::try_from(records.map(|entry| entry.next - entry.base).sum::<i64>()).unwrap())
    }

    fn append(&mut self, producer: i64, records: i32) {
        let (epoch, sequence) = self.state_of(producer);
        let mut builder = BatchBuilder::new();
        if producer > 0 {
            builder = builder.producer(producer, epoch, sequence).transactional(true);
        }
        for _ in 0..records {
            builder.push(&NewRecord { timestamp: NOW, value: Some(b"v"), ..NewRecord::default() });
        }
        let (bytes, header) = headed(builder.build().unwrap());
        let (len, base) = (bytes.len(), self.end());
        let ticket = AppendTicket::new(1);
        let ack = Ack::Leader(AckSlot { ticket: Arc::clone(&ticket), slot: 0 });
        let batch = CheckedBatch { bytes, header, log_append_time: -1 };
        let first = FirstBatch {
            producer_id: producer,
            producer_epoch: epoch,
            base_sequence: sequence,
            is_v2: false,
        };
        let word = (producer > 0).then(|| self.partition.transactional_ticket(&first).unwrap()).flatten();
        let said = word.map_or(CoordinatorWord::NotAsked, CoordinatorWord::Given);
        self.partition.enqueue_said(batch, ack, said);
        self.partition.drain();
        assert_eq!(offset(answer(&ticket)), base);
        let next = base + i64::from(records);
        self.log.push(Entry { base, next, len, producer, end: None, epoch });
    }

    fn finish(&mut self, producer: i64, commit: bool, bump: bool) {
        let epoch = self.state_of(producer).0 + i16::from(bump);
        let marker = TransactionMarker {
            producer_id: producer,
            producer_epoch: epoch,
            coordinator_epoch: 3,
            commit,
            v2: bump,
            is_own: true,
        };
        let (base, next) = (self.end(), self.partition.append_marker(marker).unwrap());
        assert_eq!(next, base + 1);
        self.log.push(Entry { base, next, len: MARKER_LEN, producer, end: Some(commit), epoch });
    }

    fn checkpoint(&mut self) {
        if let Some(note) = self.partition.prepare().unwrap() {
            self.partition.checkpointed(&note.row);
            self.row = Some(note.row);
        }
    }

    /// The files as a crash leaves them, or a stop in order: that has synced and checkpointed everything before it says
    /// so, and nothing is lost but to rot.
    fn crash(&mut self, crash: &Crash) {
        if self.log.is_empty() {
            // No file was made.
            return;
        }
        let mut crash = crash.clone();
        if crash.clean {
            self.checkpoint();
            crash = Crash { lost: 0, entries_lost: 0, garbage: 0, ..crash };
        }
        let crash = &crash;
        let mut files = files_of(&self.rig.dir("t"));
        let synced = self.row.as_ref().map_or(0, |row| row.checkpoint.offset);
        // Only what lies behind the checkpoint, in the last segment, is cut.
        let losable = self.log.iter().filter(|entry| entry.base >= synced.max(self.active)).count();
        for _ in 0..crash.lost.min(losable) {
            let entry = self.log.pop().unwrap();
            let bytes = files.get_mut(&segment_file(self.active, FileKind::Log)).unwrap();
            bytes.truncate(bytes.len() - entry.len);
        }
        let checkpointed = self.row.as_ref().map_or(0, |row| row.checkpoint.segment);
        for base in [checkpointed, self.active] {
            let Some(bytes) = files.get_mut(&segment_file(base, FileKind::TxnIndex)) else { continue };
            let vouched =
                told(&self.log).aborted.iter().filter(|(_, _, at)| *at >= base && *at < synced).count();
            let entries = (bytes.len() / 34).saturating_sub(crash.entries_lost).max(vouched);
            bytes.truncate(entries * 34);
            bytes.extend(vec![0xa5; crash.garbage]);
        }
        let row = self.row.take().filter(|_| !crash.manifest_lost);
        if let Some(rot) = &crash.rot {
            let segments = self.partition.reader().segments().into_iter().map(|segment| segment.base);
            let is_known = |base: &i64| match &row {
                // Files that only a crash can leave are not looked for among those that a row vouches for.
                Some(row) if *base <= row.checkpoint.segment => {
                    row.segments.iter().any(|listed| listed.base == *base && listed.aborted.is_some())
                }
                _ => true,
            };
            let has_file = |base: &i64| files.contains_key(&segment_file(*base, FileKind::TxnIndex));
            let bases: Vec<i64> = segments.filter(|base| has_file(base) && is_known(base)).collect();
            rot.befall(&bases, &mut files);
        }
        self.open(&files, row, crash);
    }

    fn open(&mut self, files: &BTreeMap<String, Vec<u8>>, row: Option<Arc<PartitionRow>>, crash: &Crash) {
        let Crash { manifest_lost: lost, clean, .. } = *crash;
        self.rig = rig_after(clean);
        fs::create_dir(self.rig.dir("t")).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(self.rig.dir("t").join(name), bytes).unwrap());
        self.row.clone_from(&row);
        let row = row.or_else(|| lost.then(lost_row));
        if let Some(row) = row {
            self.rig.table.environment().rows.lock().insert(row.id, row);
        }
        self.partition = self.rig.open("t", TOPIC);
        self.active = self.partition.reader().segments().last().map_or(0, |segment| segment.base);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { producer, records } => self.append(*producer, *records),
            Step::End { producer, commit, bump } => self.finish(*producer, *commit, *bump),
            Step::Plain => self.append(-1, 1),
            Step::Roll => {
                self.partition.roll_segment().unwrap();
                self.active = self.partition.reader().segments().last().map_or(0, |segment| segment.base);
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Crash(crash) => self.crash(crash),
        }
    }

    fn seen(&self) -> Told {
        let aborted = self.partition.reader().aborted(0, i64::MAX, true).unwrap();
        let open = self.partition.with_writer(|writer| {
            writer.producers.open().map(|(first, producer, _)| (first, producer)).collect()
        });
        Told {
            stable: self.partition.last_stable_offset(),
            aborted: aborted.iter().map(|t| (t.producer_id, t.first_offset, t.last_offset)).collect(),
            open,
        }
    }

    /// Every read names exactly the aborted transactions that have something in it.
    fn check_reads(&self) {
        let all = told(&self.log).aborted;
        for from in 0..self.partition.last_stable_offset() {
            for max_bytes in [1, 400] {
                let isolation = Isolation::ReadCommitted;
                let request = ReadRequest { from, hint: None, max_bytes, at_least_one: true, isolation };
                let read = self.partition.read_blocking(&request).unwrap();
                let next = read.batches.next.offset();
                assert!(next <= read.last_stable_offset);
                let named: Vec<_> =
                    read.aborted.iter().map(|t| (t.producer_id, t.first_offset, t.last_offset)).collect();
                let overlap = all.iter().filter(|(_, first, last)| *last >= from && *first < next);
                assert_eq!(named, overlap.copied().collect::<Vec<_>>(), "{from}..{next}");
            }
        }
    }
}

fn lost_row() -> Arc<PartitionRow> {
    let id = crate::types::TopicPartition { topic: TOPIC, partition: 0 };
    Arc::new(PartitionRow {
        id,
        topic: "t".into(),
        log_start: 0,
        checkpoint: crate::storage::manifest::Checkpoint::NONE,
        segments: Vec::new(),
        producers: false,
    })
}

/// Bytes of a marker's batch.
const MARKER_LEN: usize = 78;

#[test]
fn a_markers_length_is_known() {
    let marker = crate::record::control::Marker {
        kind: crate::record::control::ControlType::Abort,
        coordinator_epoch: 3,
    };
    let bytes = crate::record::control::build_marker(marker, 1, 0, NOW).unwrap();
    assert_eq!(BatchHeader::parse(&bytes).unwrap().total_len(), MARKER_LEN);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn transactions_are_those_that_the_log_tells(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            prop_assert_eq!(world.seen(), told(&world.log), "{:?}", step);
        }
        world.check_reads();
        world.crash(&Crash { entries_lost: 1, garbage: 7, ..Crash::default() });
        prop_assert_eq!(world.seen(), told(&world.log));
        world.check_reads();
    }
}

/// A log with an aborted transaction in each of its three segments, checkpointed at its end; and its files.
fn thrice_aborted() -> (World, BTreeMap<String, Vec<u8>>) {
    let mut world = World::new();
    for producer in 1..4 {
        world.append(producer, 1);
        world.append(producer + 3, 1);
        world.finish(producer, false, false);
        world.finish(producer + 3, true, false);
        if producer < 3 {
            world.step(&Step::Roll);
        }
    }
    world.checkpoint();
    let files = files_of(&world.rig.dir("t"));
    (world, files)
}

/// An aborted record that is shown, or a committed one that is not: nothing else in the files tells.
#[test]
fn a_txnindex_that_is_not_what_was_written_is_made_again() {
    for clean in [false, true] {
        let (mut world, files) = thrice_aborted();
        let row = world.row.clone();
        let crash = Crash { clean, ..Crash::default() };
        let bases: Vec<i64> =
            world.partition.reader().segments().iter().map(|segment| segment.base).collect();
        assert_eq!(bases, [0, 4, 8]);
        for (base, n) in bases.into_iter().zip(1..) {
            let name = segment_file(base, FileKind::TxnIndex);
            assert_eq!(files[&name].len(), 34);
            // The producer's id, in its last byte: of a sound entry of another producer.
            for spoilt in [None, Some(vec![]), Some(vec![0; 34]), Some(files[&name][..20].to_vec()), {
                let mut other = files[&name].clone();
                other[9] = n + 3;
                Some(other)
            }] {
                let mut spoilt_files = files.clone();
                match spoilt.clone() {
                    Some(bytes) => drop(spoilt_files.insert(name.clone(), bytes)),
                    None => drop(spoilt_files.remove(&name)),
                }
                world.open(&spoilt_files, row.clone(), &crash);
                assert_eq!(world.seen(), told(&world.log), "{name} {spoilt:?} {clean}");
                world.check_reads();
                assert_eq!(files_of(&world.rig.dir("t"))[&name], files[&name], "written again");
            }
        }
    }
}

/// What was not vouched for is not doubted, and what a checkpoint finds in RAM alone counts as well.
#[test]
fn the_sum_of_a_txnindex_goes_on_over_restarts() {
    let (mut world, _) = thrice_aborted();
    for round in 0..3 {
        world.crash(&Crash { clean: round == 1, ..Crash::default() });
        world.append(1, 1);
        world.finish(1, false, false);
        world.checkpoint();
        let row = world.row.clone().unwrap();
        let sums: Vec<u64> = row.segments.iter().map(|segment| segment.aborted.unwrap().entries).collect();
        assert_eq!(sums, [1, 1, 2 + round]);
    }
}

/// Negative control: what stands in no row is believed, as it is of a partition that an earlier release checkpointed.
#[test]
fn a_txnindex_of_which_no_row_speaks_is_taken_as_it_is() {
    let (mut world, mut files) = thrice_aborted();
    files.remove(&segment_file(4, FileKind::TxnIndex));
    let row = world.row.clone().unwrap();
    let segments = row.segments.iter().map(|segment| SegmentRow { aborted: None, ..*segment }).collect();
    let silent = Arc::new(PartitionRow { segments, ..PartitionRow::clone(&row) });
    world.open(&files, Some(silent), &Crash::default());
    assert_ne!(world.seen(), told(&world.log));
    // Nothing is vouched for: the log tells.
    world.open(&files, None, &Crash { manifest_lost: true, ..Crash::default() });
    assert_eq!(world.seen(), told(&world.log));
}
