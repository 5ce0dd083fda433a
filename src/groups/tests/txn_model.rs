//! A model run of pending offsets: commits inside and outside of transactions, markers, deletions, restarts and
//! compactions in any order, against Kafka's own rule. The model keeps what the machine does not: each commit's offset in
//! the log, the larger of which counts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::driver::*;
use crate::coord::BatchKind;
use crate::groups::*;
use crate::types::ErrorCode;

const GROUPS: [&str; 2] = ["g", "h"];
const PRODUCERS: i64 = 3;
const PARTITIONS: i32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Commit {
        group: usize,
        partition: i32,
        offset: i64,
    },
    Pend {
        producer: i64,
        group: usize,
        partition: i32,
        offset: i64,
    },
    /// Takes the coordinator's word, and commits when other things have happened.
    Ask {
        producer: i64,
        partition: i32,
        offset: i64,
    },
    Come {
        producer: i64,
    },
    End {
        producer: i64,
        commit: bool,
    },
    DeleteOffset {
        group: usize,
        partition: i32,
    },
    DeleteGroup {
        group: usize,
    },
    Restart,
    Compact {
        chance: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = 0..GROUPS.len();
    let producer = 0..PRODUCERS;
    let partition = 0..PARTITIONS;
    let offset = 0..1_000_i64;
    let step = prop_oneof![
        4 => (group.clone(), partition.clone(), offset.clone())
            .prop_map(|(group, partition, offset)| Step::Commit { group, partition, offset }),
        10 => (producer.clone(), group.clone(), partition.clone(), offset.clone())
            .prop_map(|(producer, group, partition, offset)| Step::Pend { producer, group, partition, offset }),
        2 => (producer.clone(), partition.clone(), offset)
            .prop_map(|(producer, partition, offset)| Step::Ask { producer, partition, offset }),
        2 => producer.clone().prop_map(|producer| Step::Come { producer }),
        5 => (producer, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        1 => (group.clone(), partition).prop_map(|(group, partition)| Step::DeleteOffset { group, partition }),
        1 => group.prop_map(|group| Step::DeleteGroup { group }),
        1 => Just(Step::Restart),
        2 => any::<u64>().prop_map(|chance| Step::Compact { chance }),
    ];
    prop::collection::vec(step, 1..120)
}

type Key = (usize, i32);
/// Where in the log a commit lies, and what it commits.
type Placed = (usize, i64);

struct Model {
    shard: Shard,
    /// Records that were ever written: the next one's place.
    next: usize,
    committed: BTreeMap<Key, Placed>,
    pending: BTreeMap<i64, BTreeMap<Key, Placed>>,
    /// Commits whose coordinator was asked. Whether a marker came since.
    asked: BTreeMap<i64, (TxnOffsetCommit, bool)>,
}

impl Model {
    fn new() -> Self {
        Self {
            shard: Shard::new(),
            next: 0,
            committed: BTreeMap::new(),
            pending: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Commit { group, partition, offset } => {
                let request =
                    CommitOffsets { group: GROUPS[group].into(), ..commit("", -1, partition, offset) };
                assert_eq!(self.shard.commit_one(request), ErrorCode::None);
                let place = self.place();
                self.committed.insert((group, partition), (place, offset));
            }
            Step::Pend { producer, group, partition, offset } => {
                let request =
                    TxnOffsetCommit { group: GROUPS[group].into(), ..pending(producer, partition, offset) };
                assert_eq!(self.shard.pend(request), ErrorCode::None);
                let place = self.place();
                self.pending.entry(producer).or_default().insert((group, partition), (place, offset));
            }
            Step::Ask { producer, partition, offset } => self.ask(producer, partition, offset),
            Step::Come { producer } => self.come(producer),
            Step::End { producer, commit } => self.end(producer, commit),
            Step::DeleteOffset { group, partition } => {
                let topics = vec![("t".into(), vec![partition])];
                let command = Command::DeleteOffsets(DeleteOffsets { group: GROUPS[group].into(), topics });
                self.shard.ask(command).delete_offsets().unwrap();
                self.forget(|key| *key == (group, partition));
            }
            Step::DeleteGroup { group } => {
                let command = Command::DeleteGroup { group: GROUPS[group].into() };
                self.shard.ask(command).delete_group().unwrap();
                self.forget(|(of, _)| *of == group);
            }
            Step::Restart => self.restart(),
            Step::Compact { chance } => self.compact(chance),
        }
    }

    /// The place of the record that was just written.
    fn place(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn forget(&mut self, gone: impl Fn(&Key) -> bool) {
        self.committed.retain(|key, _| !gone(key));
        for pending in self.pending.values_mut() {
            pending.retain(|key, _| !gone(key));
        }
    }

    fn ask(&mut self, producer: i64, partition: i32, offset: i64) {
        let mut request = pending(producer, partition, offset);
        match self.shard.ask(Command::TxnOffsetCommit(request.clone())).txn_offset_commit().unwrap() {
            TxnCommitReply::Unverified(guard) => {
                assert!(!self.pending.contains_key(&producer), "an open transaction was asked about");
                request.guard = Some(guard);
                self.asked.insert(producer, (request, true));
            }
            TxnCommitReply::Done(_) => {
                assert!(self.pending.contains_key(&producer), "nobody was asked");
                let place = self.place();
                self.pending.entry(producer).or_default().insert((0, partition), (place, offset));
            }
        }
    }

    fn come(&mut self, producer: i64) {
        let Some((request, holds)) = self.asked.remove(&producer) else { return };
        let partition = &request.topics[0].partitions[0];
        let (partition, offset) = (partition.partition, partition.offset);
        let is_open = self.pending.contains_key(&producer);
        match self.shard.ask(Command::TxnOffsetCommit(request)).txn_offset_commit().unwrap() {
            TxnCommitReply::Unverified(_) => assert!(!holds && !is_open, "a word that holds was not taken"),
            TxnCommitReply::Done(_) => {
                assert!(holds || is_open, "a transaction was opened behind its marker");
                let place = self.place();
                self.pending.entry(producer).or_default().insert((0, partition), (place, offset));
            }
        }
    }

    fn end(&mut self, producer: i64, commit: bool) {
        assert_eq!(self.shard.end(ended(producer, commit)), ErrorCode::None);
        self.place();
        if let Some((_, holds)) = self.asked.get_mut(&producer) {
            *holds = false;
        }
        for (key, placed) in self.pending.remove(&producer).unwrap_or_default() {
            let later = self.committed.get(&key).is_none_or(|committed| placed.0 > committed.0);
            if commit && later {
                self.committed.insert(key, placed);
            }
        }
    }

    fn restart(&mut self) {
        self.shard.advance(1);
        self.shard.restart();
        self.asked.clear();
    }

    /// Cleans the log as far as no transaction is open: of each key the last record that counts stays, of the others and
    /// of aborted ones as many as chance has it; a marker stays while any of its transaction's records does. Then the
    /// shard starts from what is left.
    fn compact(&mut self, mut chance: u64) {
        let mut lucky = || {
            chance = chance.rotate_left(1);
            chance & 1 == 1
        };
        let (log, kinds) = (&self.shard.log, &self.shard.kinds);
        let ends: Vec<_> = (0..log.len()).map(|at| end_of(kinds, at)).collect();
        let stable = ends.iter().position(|end| *end == End::Open).unwrap_or(log.len());
        let counting = (0..stable).filter(|at| matches!(ends[*at], End::Plain | End::Committed(_)));
        let last: BTreeMap<_, _> = counting.map(|at| (log[at].key.clone(), at)).collect();
        let last: BTreeSet<_> = last.into_values().collect();
        let mut kept: Vec<_> = (0..log.len())
            .map(|at| at >= stable || last.contains(&at) || (ends[at] != End::Marker && lucky()))
            .collect();
        for at in 0..stable {
            if let (true, End::Committed(marker) | End::Aborted(marker)) = (kept[at], ends[at]) {
                kept[marker] = true;
            }
        }
        let survives = |at: usize| kept[at];
        let (log, kinds): (Vec<_>, Vec<_>) =
            (0..log.len()).filter(|at| survives(*at)).map(|at| (log[at].clone(), kinds[at])).unzip();
        self.shard.hard = replay(log.iter().zip(&kinds));
        (self.shard.log, self.shard.kinds) = (log, kinds);
        self.restart();
    }

    fn check(&mut self) {
        for (group, name) in GROUPS.iter().enumerate() {
            let seen: Vec<_> =
                self.shard.offsets(name).into_iter().map(|(_, at, offset)| (at, offset)).collect();
            let expected = self.committed.iter().filter(|((of, _), _)| *of == group);
            let expected: Vec<_> = expected.map(|((_, at), (_, offset))| (*at, *offset)).collect();
            assert_eq!(seen, expected, "what {name} has committed");
        }
        for partition in 0..PARTITIONS {
            let barred = self.pending.values().any(|pending| pending.contains_key(&(0, partition)));
            let committed = self.committed.get(&(0, partition)).map_or(-1, |(_, offset)| *offset);
            let expected = match barred {
                true => (-1, ErrorCode::UnstableOffsetCommit),
                false => (committed, ErrorCode::None),
            };
            assert_eq!(self.shard.stable_offset(partition), expected);
        }
    }
}

/// What a record of the log is, in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Plain,
    Marker,
    /// Its transaction was committed, or aborted, by the marker at this place.
    Committed(usize),
    Aborted(usize),
    Open,
}

fn end_of(kinds: &[BatchKind], at: usize) -> End {
    let producer = match kinds[at] {
        BatchKind::Plain => return End::Plain,
        BatchKind::Marker { .. } => return End::Marker,
        BatchKind::Transactional { producer_id, .. } => producer_id,
    };
    for (marker, kind) in kinds.iter().enumerate().skip(at) {
        match kind {
            BatchKind::Marker { producer_id, commit: true, .. } if *producer_id == producer => {
                return End::Committed(marker);
            }
            BatchKind::Marker { producer_id, .. } if *producer_id == producer => return End::Aborted(marker),
            _ => {}
        }
    }
    End::Open
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn s60_what_is_told_is_what_kafkas_rule_gives_whatever_happens(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
            model.check();
        }
    }
}
