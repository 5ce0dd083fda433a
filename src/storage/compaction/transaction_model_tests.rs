//! Transactions against the list of all that was ever written: whatever is appended, ended, cleaned and waited for, a
//! reader of committed records sees the same last values, and a marker is there while what it decides on is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::testing::*;
use crate::record::control::{ControlType, Marker, build_marker};
use crate::record::{BatchBuilder, BatchView, NewRecord};
use crate::storage::testing::*;
use crate::storage::txn_index::AbortedTransaction;

#[derive(Debug, Clone)]
enum Step {
    /// A batch of a producer: records of these keys, `true` with a value. It begins a transaction, goes on with one, or
    /// is outside of any.
    Append(u8, bool, Vec<(u8, bool)>),
    /// The end of a producer's transaction, `true` commits.
    End(u8, bool),
    Roll,
    /// A cleaning, whose key map holds about so many keys.
    Clean(u8),
    /// Time passes, in hours.
    Wait(i64),
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let records = prop::collection::vec((0..8_u8, prop::bool::weighted(0.7)), 1..5);
    prop_oneof![
        12 => (0..3_u8, any::<bool>(), records).prop_map(|(p, begins, r)| Step::Append(p, begins, r)),
        7 => (0..3_u8, any::<bool>()).prop_map(|(p, commits)| Step::End(p, commits)),
        4 => Just(Step::Roll),
        5 => (11..30_u8).prop_map(Step::Clean),
        2 => (1..40_i64).prop_map(Step::Wait),
        1 => Just(Step::Kill),
    ]
}

/// A transaction, from its first offset to its marker's.
#[derive(Debug, Clone, Copy)]
struct Transaction {
    producer: u8,
    first: i64,
    /// `None` while it is open.
    end: Option<(i64, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Data {
    offset: i64,
    producer: i64,
    key: u8,
    value: Option<Vec<u8>>,
}

struct Model {
    log: Log,
    all: Vec<Data>,
    transactions: Vec<Transaction>,
    sequences: BTreeMap<u8, i32>,
    clean_to: i64,
}

impl Model {
    fn new() -> Self {
        let log = Log::new(eager(1_000));
        let (all, transactions, sequences) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { log, all, transactions, sequences, clean_to: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(producer, begins, records) => self.append(producer, begins, &records),
            Step::End(producer, commits) => self.end(producer, commits),
            Step::Roll => self.log.roll(),
            Step::Clean(keys) => self.clean(keys),
            Step::Wait(hours) => self.log.now += hours * 3_600_000,
            Step::Kill => self.log.reopen(false),
        }
        self.check();
    }

    fn open(&mut self, producer: u8) -> Option<&mut Transaction> {
        self.transactions.iter_mut().find(|each| each.producer == producer && each.end.is_none())
    }

    fn append(&mut self, producer: u8, begins: bool, records: &[(u8, bool)]) {
        let base = self.log.opened.writer.end();
        let is_open = self.open(producer).is_some();
        if begins && !is_open {
            self.transactions.push(Transaction { producer, first: base, end: None });
        }
        let sequence = self.sequences.entry(producer).or_insert(0);
        let mut builder =
            BatchBuilder::new().producer(producer.into(), 0, *sequence).transactional(begins || is_open);
        *sequence += i32::try_from(records.len()).unwrap();
        for ((key, live), offset) in records.iter().zip(base..) {
            let value = live.then(|| offset.to_be_bytes().to_vec());
            let (timestamp, bytes) = (self.log.now, [*key]);
            builder.push(&NewRecord { timestamp, key: Some(&bytes), value: value.as_deref(), headers: &[] });
            self.all.push(Data { offset, producer: producer.into(), key: *key, value });
        }
        append_rolling(&mut self.log.opened.writer, builder.build().unwrap());
    }

    fn end(&mut self, producer: u8, commits: bool) {
        let (offset, now) = (self.log.opened.writer.end(), self.log.now);
        let Some(open) = self.open(producer) else { return };
        open.end = Some((offset, commits));
        let kind = if commits { ControlType::Commit } else { ControlType::Abort };
        let marker = Marker { kind, coordinator_epoch: 0 };
        append_rolling(&mut self.log.opened.writer, build_marker(marker, producer.into(), 0, now).unwrap());
    }

    /// Where the first open transaction begins, or the end.
    fn stable(&self) -> i64 {
        let open = self.transactions.iter().filter(|each| each.end.is_none()).map(|each| each.first);
        open.min().unwrap_or_else(|| self.log.reader().end())
    }

    fn aborted(&self) -> Vec<AbortedTransaction> {
        let aborted = self.transactions.iter().filter_map(|each| {
            let (last_offset, _) = each.end.filter(|(_, commits)| !commits)?;
            Some(AbortedTransaction {
                producer_id: each.producer.into(),
                first_offset: each.first,
                last_offset,
                last_stable_offset: last_offset + 1,
            })
        });
        aborted.collect()
    }

    fn clean(&mut self, keys: u8) {
        self.log.map.bytes = 0;
        self.log.map.load = f64::from(keys) / 1_024.0 + 0.000_1;
        self.log.aborted = self.aborted();
        self.log.stable = Some(self.stable());
        if let Some(cleaned) = self.log.clean() {
            self.clean_to = cleaned.clean_to.unwrap();
        }
    }

    /// The transaction that a producer's record at this offset is part of, by its batch's word.
    fn of(&self, producer: i64, offset: i64) -> Option<&Transaction> {
        let is_in = |each: &&Transaction| each.end.is_none_or(|(end, _)| offset < end);
        let own = self.transactions.iter().filter(|each| i64::from(each.producer) == producer);
        own.filter(|each| each.first <= offset).find(is_in)
    }

    fn check(&self) {
        let (mut left, mut markers, mut decided_by) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut each = |batch: &BatchView<'_>| {
            let header = *batch.header();
            for record in &batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                if header.attributes.is_control() {
                    markers.insert(record.offset);
                    continue;
                }
                let data = Data {
                    offset: record.offset,
                    producer: header.producer_id,
                    key: record.key.unwrap()[0],
                    value: record.value.map(<[u8]>::to_vec),
                };
                let of = self
                    .of(header.producer_id, record.offset)
                    .filter(|_| header.attributes.is_transactional());
                let is_aborted = of.is_some_and(|each| each.end.is_some_and(|(_, commits)| !commits));
                assert!(!is_aborted || record.offset >= self.clean_to, "{data:?} was aborted");
                decided_by.extend(of.and_then(|each| each.end).map(|(end, _)| end));
                if !is_aborted {
                    left.push(data);
                }
            }
            true
        };
        self.log.reader().for_each_batch(0, i64::MAX, &mut each).unwrap();
        let lost: Vec<_> = decided_by.difference(&markers).collect();
        assert!(lost.is_empty(), "markers at {lost:?} are gone before what they decide on");
        let aborted = self.aborted();
        let is_aborted = |data: &&Data| {
            aborted.iter().any(|each| {
                data.producer == each.producer_id
                    && (each.first_offset..each.last_offset).contains(&data.offset)
            })
        };
        let committed: Vec<_> = self.all.iter().filter(|data| !is_aborted(data)).cloned().collect();
        for data in &left {
            assert!(committed.contains(data), "{data:?} was never written");
        }
        assert_eq!(last_values(&left), last_values(&committed));
    }
}

fn last_values(records: &[Data]) -> BTreeMap<u8, Vec<u8>> {
    let mut last = BTreeMap::new();
    for data in records {
        match &data.value {
            Some(value) => drop(last.insert(data.key, value.clone())),
            None => drop(last.remove(&data.key)),
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
    fn s94_committed_values_stay_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        // In the end all is decided, everything due goes, and only what is needed is left.
        for producer in 0..3 {
            model.take(Step::End(producer, true));
        }
        for _ in 0..3 {
            model.take(Step::Append(0, false, vec![(9, true)]));
            model.take(Step::Roll);
            model.take(Step::Clean(29));
            model.take(Step::Wait(25));
        }
    }
}
