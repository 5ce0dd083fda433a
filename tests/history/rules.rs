//! What must hold of a history, given what a broker holds in the end (Jepsen's rules for Kafka, for one broker):
//!
//! - nothing committed is lost, nor moved; nothing is there twice; nothing of an aborted transaction is ever given to a
//!   reader of committed records, nor anything before its commit was asked for; a transaction is visible as a whole or
//!   not at all; a client's transactions keep their order; nobody is given what is not there later, or misses a record;
//! - offsets of groups come with their transaction: never before, never without it, never back; each input below them
//!   has been processed exactly once, none above;
//! - ends of partitions never go back, and nothing holds the stable end back when all is over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::record::{Ends, History, Outcome, Place, Reading, Refusal, Told, Transaction, TxnId, Word};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A record of a committed transaction is not there, or not where its acknowledgement said.
    Lost { place: Place, word: Word, offset: Option<i64> },
    /// A record is there twice.
    Twice { place: Place, word: Word, offsets: [i64; 2] },
    /// A reader was given a record of a transaction that nobody asked to commit.
    AbortedRead { place: Place, word: Word },
    /// A reader was given a record before its commit was asked for.
    EarlyRead { place: Place, word: Word },
    /// Some of a transaction's records are visible and some are not.
    Torn { txn: TxnId, visible: usize, of: usize },
    /// A record of a client's transaction stands behind one of a later transaction.
    Reordered { place: Place, word: Word, behind: Word },
    /// A record that nobody wrote there.
    Phantom { place: Place, offset: i64 },
    /// A reader was given a record that is not there in the end.
    Changed { place: Place, offset: i64 },
    /// A reader passed a record without being given it.
    Missed { place: Place, offset: i64 },
    /// An input was processed twice, or never although the group's offset says so, or although it does not say so.
    Processed { group: &'static str, input: (i32, i64), times: usize },
    /// A group's offset was seen that no transaction had asked to commit by then.
    EarlyOffset { group: &'static str, partition: i32, offset: i64 },
    /// A group's offset is not as far as a commit that was acknowledged before it was asked for.
    StaleOffset { group: &'static str, partition: i32, offset: i64, acknowledged: i64 },
    /// A group's offset went back.
    OffsetBack { group: &'static str, partition: i32, from: i64, to: i64 },
    /// An end of a partition went back, or the stable one lies beyond the other.
    EndBack { place: Place, what: &'static str, from: i64, to: i64 },
    /// Nothing is under way any more, and still readers are held back.
    HeldBack { place: Place, stable: i64, high: i64 },
    /// A client was refused what nobody had taken from it.
    Refused(Refusal),
}

/// What a broker holds when all is over.
#[derive(Debug, Default)]
pub(crate) struct Final {
    /// What readers of committed records are given, in order of offsets.
    pub(crate) visible: BTreeMap<Place, Vec<(i64, Vec<u8>)>>,
    pub(crate) ends: Vec<Ends>,
}

/// What a history's groups are: where their input lies.
pub(crate) struct Groups {
    pub(crate) input: &'static str,
    /// Each group with the topic that its output goes to.
    pub(crate) outputs: Vec<(&'static str, &'static str)>,
}

type Transactions = HashMap<TxnId, Transaction>;

/// Everything that is wrong with a history.
pub(crate) fn check(history: &History, end: &Final, groups: &Groups) -> Vec<Violation> {
    let transactions: Transactions =
        history.transactions.lock().iter().map(|txn| (txn.id, txn.clone())).collect();
    let mut found: Vec<Violation> = history.refusals.lock().iter().cloned().map(Violation::Refused).collect();
    for (place, records) in &end.visible {
        check_place(*place, records, &transactions, &mut found);
    }
    check_transactions(&transactions, end, &mut found);
    for (place, reading) in history.readings.lock().iter() {
        check_reading(*place, reading, end, &transactions, &mut found);
    }
    let told = history.told.lock();
    for (group, output) in &groups.outputs {
        check_offsets(group, &told, &transactions, &mut found);
        check_processing(group, groups.input, output, &told, end, &mut found);
    }
    check_ends(&history.ends.lock(), &mut found);
    for ends in end.ends.iter().filter(|ends| ends.stable != ends.high) {
        found.push(Violation::HeldBack { place: ends.place, stable: ends.stable, high: ends.high });
    }
    found
}

/// What is visible of one partition in the end: who wrote it, how often, in which order.
fn check_place(
    place: Place,
    records: &[(i64, Vec<u8>)],
    transactions: &Transactions,
    found: &mut Vec<Violation>,
) {
    let mut first: HashMap<Word, i64> = HashMap::new();
    let mut last: HashMap<u32, Word> = HashMap::new();
    for (offset, value) in records {
        let written = Word::parse(value).and_then(|word| {
            let txn = transactions.get(&word.txn)?;
            let write = txn.writes.get(usize::try_from(word.index).ok()?)?;
            (write.place == place && write.word == word).then_some((word, txn))
        });
        let Some((word, txn)) = written else {
            found.push(Violation::Phantom { place, offset: *offset });
            continue;
        };
        if txn.outcome == Outcome::Aborted {
            found.push(Violation::AbortedRead { place, word });
        }
        if let Some(before) = first.insert(word, *offset) {
            found.push(Violation::Twice { place, word, offsets: [before, *offset] });
            continue;
        }
        let before = last.insert(word.txn.client, word);
        if let Some(behind) = before.filter(|b| (b.txn, b.index) > (word.txn, word.index)) {
            found.push(Violation::Reordered { place, word, behind });
        }
    }
}

/// Committed transactions are there as they were acknowledged; of others all is there or nothing.
fn check_transactions(transactions: &Transactions, end: &Final, found: &mut Vec<Violation>) {
    let mut offsets: HashMap<(Place, Word), BTreeSet<i64>> = HashMap::new();
    for (place, records) in &end.visible {
        for (offset, value) in records {
            if let Some(word) = Word::parse(value) {
                offsets.entry((*place, word)).or_default().insert(*offset);
            }
        }
    }
    let mut ordered: Vec<&Transaction> = transactions.values().collect();
    ordered.sort_by_key(|txn| txn.id);
    for txn in ordered {
        let stands = |write: &&crate::record::Write| {
            offsets
                .get(&(write.place, write.word))
                .is_some_and(|at| write.offset.is_none_or(|offset| at.contains(&offset)))
        };
        let visible = txn.writes.iter().filter(stands).count();
        match txn.outcome {
            Outcome::Committed => {
                for write in txn.writes.iter().filter(|write| !stands(write)) {
                    let (place, word, offset) = (write.place, write.word, write.offset);
                    found.push(Violation::Lost { place, word, offset });
                }
            }
            Outcome::Unknown if visible != 0 && visible != txn.writes.len() => {
                found.push(Violation::Torn { txn: txn.id, visible, of: txn.writes.len() });
            }
            Outcome::Unknown | Outcome::Aborted => {}
        }
    }
}

/// What a reader was given while clients wrote and the broker died.
fn check_reading(
    place: Place,
    reading: &Reading,
    end: &Final,
    transactions: &Transactions,
    found: &mut Vec<Violation>,
) {
    let empty = Vec::new();
    let there: BTreeMap<i64, &Vec<u8>> =
        end.visible.get(&place).unwrap_or(&empty).iter().map(|(offset, value)| (*offset, value)).collect();
    let mut given = BTreeSet::new();
    for seen in &reading.seen {
        given.insert(seen.offset);
        let txn = Word::parse(&seen.value).and_then(|word| Some((word, transactions.get(&word.txn)?)));
        let Some((word, txn)) = txn else {
            found.push(Violation::Phantom { place, offset: seen.offset });
            continue;
        };
        match txn.ending {
            _ if txn.outcome == Outcome::Aborted => found.push(Violation::AbortedRead { place, word }),
            Some(ending) if ending > seen.at => found.push(Violation::EarlyRead { place, word }),
            _ => {}
        }
        if there.get(&seen.offset) != Some(&&seen.value) {
            found.push(Violation::Changed { place, offset: seen.offset });
        }
    }
    let passed = there.keys().take_while(|offset| **offset < reading.next);
    found.extend(
        passed.filter(|offset| !given.contains(offset)).map(|&offset| Violation::Missed { place, offset }),
    );
}

/// A group's offsets as they were told over time.
fn check_offsets(
    group: &'static str,
    told: &[Told],
    transactions: &Transactions,
    found: &mut Vec<Violation>,
) {
    let mut last: HashMap<i32, i64> = HashMap::new();
    let commits = Commits::of(group, transactions);
    for told in told.iter().filter(|told| told.group == group) {
        let (partition, offset) = (told.partition, told.offset);
        let before = last.insert(partition, offset).unwrap_or(-1);
        if before > offset {
            found.push(Violation::OffsetBack { group, partition, from: before, to: offset });
        }
        if offset >= 0 && !commits.asked_for(partition, offset, told.at) {
            found.push(Violation::EarlyOffset { group, partition, offset });
        }
        let acknowledged = commits.acknowledged(partition, told.asked);
        if let Some(acknowledged) = acknowledged.filter(|acknowledged| *acknowledged > offset) {
            found.push(Violation::StaleOffset { group, partition, offset, acknowledged });
        }
    }
}

/// A group's commits in an order to look them up by: there are as many as transactions, and they are looked up as often
/// as somebody asked for offsets.
struct Commits {
    /// When a commit of this partition and offset was first asked for.
    asked_for: HashMap<(i32, i64), u64>,
    /// By partition, and by when it was acknowledged: the highest offset that was acknowledged by then.
    acknowledged: HashMap<i32, BTreeMap<u64, i64>>,
}

impl Commits {
    fn of(group: &'static str, transactions: &Transactions) -> Self {
        let mut asked_for: HashMap<(i32, i64), u64> = HashMap::new();
        let mut acknowledged: HashMap<i32, BTreeMap<u64, i64>> = HashMap::new();
        for txn in transactions.values() {
            let Some((_, offsets)) = txn.offsets.as_ref().filter(|(of, _)| *of == group) else { continue };
            for (partition, offset) in offsets {
                if let Some(ending) = txn.ending.filter(|_| txn.outcome != Outcome::Aborted) {
                    let first = asked_for.entry((*partition, *offset)).or_insert(ending);
                    *first = ending.min(*first);
                }
                if let Some(done) = txn.done {
                    acknowledged.entry(*partition).or_default().insert(done, *offset);
                }
            }
        }
        for offsets in acknowledged.values_mut() {
            let mut highest = i64::MIN;
            for offset in offsets.values_mut() {
                highest = highest.max(*offset);
                *offset = highest;
            }
        }
        Self { asked_for, acknowledged }
    }

    fn asked_for(&self, partition: i32, offset: i64, before: u64) -> bool {
        self.asked_for.get(&(partition, offset)).is_some_and(|ending| *ending < before)
    }

    fn acknowledged(&self, partition: i32, before: u64) -> Option<i64> {
        let (_, highest) = self.acknowledged.get(&partition)?.range(..before).next_back()?;
        Some(*highest)
    }
}

/// Each input below the group's last offset has come out once, none above it.
fn check_processing(
    group: &'static str,
    input: &'static str,
    output: &'static str,
    told: &[Told],
    end: &Final,
    found: &mut Vec<Violation>,
) {
    let mut times: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    for ((_, _), records) in end.visible.iter().filter(|((topic, _), _)| *topic == output) {
        for from in records.iter().filter_map(|(_, value)| Word::parse(value)?.input) {
            *times.entry(from).or_default() += 1;
        }
    }
    let committed = |partition: i32| {
        let last = told.iter().rev().find(|told| told.group == group && told.partition == partition);
        last.map_or(-1, |told| told.offset)
    };
    for ((_, partition), records) in end.visible.iter().filter(|((topic, _), _)| *topic == input) {
        let committed = committed(*partition);
        for (offset, _) in records {
            let times = times.remove(&(*partition, *offset)).unwrap_or_default();
            if times != usize::from(*offset < committed) {
                found.push(Violation::Processed { group, input: (*partition, *offset), times });
            }
        }
    }
    // Inputs that are not there.
    found.extend(times.into_iter().map(|(input, times)| Violation::Processed { group, input, times }));
}

fn check_ends(ends: &[Ends], found: &mut Vec<Violation>) {
    let mut last: HashMap<Place, (i64, i64)> = HashMap::new();
    for Ends { place, stable, high } in ends.iter().copied() {
        let (stable_before, high_before) = last.insert(place, (stable, high)).unwrap_or((0, 0));
        for (what, from, to) in [
            ("stable end", stable_before, stable),
            ("end", high_before, high),
            ("stable end beyond the end", stable, high),
        ] {
            if to < from {
                found.push(Violation::EndBack { place, what, from, to });
            }
        }
    }
}
