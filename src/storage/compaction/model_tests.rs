//! A compacted log against the list of all that was ever appended to it, through random appends, rolls, cleanings,
//! removals, restarts, kills and lost manifests.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::record::BatchView;
use crate::storage::testing::*;
use crate::types::Codec;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

#[derive(Debug, Clone)]
enum Step {
    /// Records of these keys, `true` with a value; a codec, and a producer or none.
    Append(Vec<(u8, bool)>, usize, Option<u8>),
    Roll,
    /// A cleaning, whose key map holds about so many keys.
    Clean(u8),
    AdvanceStart(u16),
    /// Time passes, in hours.
    Wait(i64),
    /// A producer is forgotten.
    Expire(u8),
    Restart,
    Kill,
    ManifestLost,
}

fn step() -> impl Strategy<Value = Step> {
    let records = prop::collection::vec((0..12_u8, prop::bool::weighted(0.7)), 1..6);
    prop_oneof![
        12 => (records, 0..5_usize, prop::option::of(0..3_u8)).prop_map(|(r, c, p)| Step::Append(r, c, p)),
        4 => Just(Step::Roll),
        5 => (1..30_u8).prop_map(Step::Clean),
        1 => any::<u16>().prop_map(Step::AdvanceStart),
        2 => (1..40_i64).prop_map(Step::Wait),
        1 => (0..3_u8).prop_map(Step::Expire),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        1 => Just(Step::ManifestLost),
    ]
}

struct Model {
    log: Log,
    /// All that was ever appended.
    all: Vec<Record>,
    start: i64,
    /// Producers by number: the next sequence and the last offset.
    producers: HashMap<u8, (i32, i64)>,
    /// Below here at most one record of each key is left.
    clean_to: i64,
}

impl Model {
    fn new() -> Self {
        let log = Log::new(eager(1_500));
        Self { log, all: Vec::new(), start: 0, producers: HashMap::new(), clean_to: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(records, codec, producer) => self.append(&records, CODECS[codec], producer),
            Step::Roll => self.log.roll(),
            Step::Clean(keys) => self.clean(keys),
            Step::AdvanceStart(n) => self.advance_start(n),
            Step::Wait(hours) => self.log.now += hours * 3_600_000,
            Step::Expire(producer) => drop(self.producers.remove(&producer)),
            Step::Restart => self.log.reopen(true),
            Step::Kill => self.log.reopen(false),
            // A partition without files has no row to lose.
            Step::ManifestLost if !self.log.rig.dir.is_dir() => {}
            Step::ManifestLost => {
                self.log.rig.lose_manifest();
                self.log.rig.log_start = self.start;
                self.log.reopen(false);
            }
        }
        self.check();
    }

    fn append(&mut self, records: &[(u8, bool)], codec: Codec, producer: Option<u8>) {
        let base = self.log.opened.writer.end();
        let records: Vec<_> = (base..)
            .zip(records)
            .map(|(offset, (key, live))| (vec![*key; 3], live.then(|| offset.to_be_bytes().to_vec())))
            .collect();
        let count = i32::try_from(records.len()).unwrap();
        let end = base + i64::from(count);
        let known = producer.map(|number| {
            let entry = self.producers.entry(number).or_insert((0, -1));
            let sequence = entry.0;
            *entry = (sequence + count, end - 1);
            (i64::from(number), sequence)
        });
        append_rolling(&mut self.log.opened.writer, keyed(&records, codec, self.log.now, known));
        for ((offset, (key, value)), n) in (base..).zip(records).zip(0..) {
            self.all.push(Record { offset, timestamp: self.log.now + n, key: Some(key), value });
        }
    }

    fn clean(&mut self, keys: u8) {
        // 1,024 slots: so loaded, this many keys fit.
        self.log.map.bytes = 0;
        self.log.map.load = f64::from(keys.max(11)) / 1_024.0 + 0.000_1;
        let last = |(number, (_, last)): (&u8, &(i32, i64))| {
            (i64::from(*number), LastOfProducer { epoch: 0, last_offset: Some(*last) })
        };
        self.log.producers = self.producers.iter().map(last).collect();
        if let Some(cleaned) = self.log.clean() {
            self.clean_to = cleaned.clean_to.unwrap();
        }
    }

    fn advance_start(&mut self, n: u16) {
        let to = self.start + i64::from(n) % (self.log.reader().end() - self.start + 1);
        let removal = self.log.opened.log.advance_start(to);
        if let Some(row) = removal.row().unwrap() {
            self.log.rig.row = Some(row);
        }
        drop(removal.rename());
        self.start = to;
    }

    fn check(&self) {
        let reader = self.log.reader();
        assert_eq!((reader.start(), reader.end()), (self.start, i64::try_from(self.all.len()).unwrap()));
        let left = records(reader);
        assert!(left.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets rise");
        for record in &left {
            let was = &self.all[usize::try_from(record.offset).unwrap()];
            assert_eq!(record, was, "a record that stays is what it was");
        }
        let readable: Vec<_> =
            self.all.iter().filter(|record| record.offset >= self.start).cloned().collect();
        assert_eq!(last_values(&left), last_values(&readable));
        let dirty = |records: &[Record]| -> Vec<i64> {
            records.iter().map(|record| record.offset).filter(|offset| *offset >= self.clean_to).collect()
        };
        assert_eq!(dirty(&left), dirty(&readable), "what was not cleaned is all there");
        let mut clean: Vec<_> = left.iter().filter(|r| r.offset < self.clean_to).map(|r| &r.key).collect();
        let count = clean.len();
        clean.sort();
        clean.dedup();
        assert_eq!(clean.len(), count, "one record of each key is left below {}", self.clean_to);
        self.check_frames();
    }

    /// The last batch of each producer is there, with its last sequence, and every cleaned segment says where it ends.
    fn check_frames(&self) {
        let mut lasts = HashMap::new();
        let mut next = 0;
        let reader = self.log.reader();
        let mut ends = Vec::new();
        reader
            .for_each_batch(self.start, i64::MAX, &mut |batch: &BatchView<'_>| {
                let header = batch.header();
                lasts.insert(header.producer_id, (header.last_sequence() + 1, header.last_offset()));
                next = header.next_offset();
                ends.push(next);
                true
            })
            .unwrap();
        for (number, (sequence, last)) in &self.producers {
            if *last >= self.start {
                assert_eq!(lasts.get(&i64::from(*number)), Some(&(*sequence, *last)));
            }
        }
        if self.start < reader.end() {
            assert_eq!(next, reader.end(), "the last batch tells the next offset");
        }
        let segments = reader.segments();
        for segment in segments.iter().filter(|segment| segment.bytes > 0 && segment.next > self.start) {
            assert!(ends.contains(&segment.next), "{segment:?} in {ends:?}");
        }
    }
}

fn last_values(records: &[Record]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut last = BTreeMap::new();
    for record in records {
        let key = record.key.clone().unwrap();
        match &record.value {
            Some(value) => drop(last.insert(key, value.clone())),
            None => drop(last.remove(&key)),
        }
    }
    last
}

fn cases() -> u32 {
    std::env::var("STREAMD_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn a_compacted_log_holds_the_last_of_each_key_whatever_happens(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
    }
}

/// Negative control: a log that is taken for cleaned and is not loses its tombstone before what that deletes, and what a
/// reader makes of it is wrong.
#[test]
fn a_deleted_key_that_comes_back_is_seen() {
    for lies in [false, true] {
        let mut model = Model::new();
        for live in [true, false] {
            model.append(&[(1, live)], Codec::None, None);
            model.log.roll();
        }
        model.log.clean_to = lies.then_some(2);
        for _ in 0..3 {
            model.append(&[(2, true)], Codec::None, None);
            model.log.roll();
            model.clean(29);
            model.log.now += 25 * 3_600_000;
        }
        let is_right = last_values(&records(model.log.reader())) == last_values(&model.all);
        assert_eq!(is_right, !lies);
    }
}
