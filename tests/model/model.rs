//! What must be readable, and what may be: a list of all records that were ever appended, each with a word on whether it
//! is there. No files, no segments, no threads.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::transactions::{Fate, Transactions};

/// A record as it was sent and as it must be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Whether a record is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Yes,
    No,
    /// A reader finds out, and then it stays so.
    Maybe,
}

#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) record: Record,
    /// A marker of the broker's own.
    pub(crate) control: bool,
    /// Whose transaction it is part of, or ends.
    pub(crate) producer: Option<i64>,
    /// Its batch, by the offset of the batch's first record.
    pub(crate) batch: i64,
    pub(crate) there: There,
    /// The broker's clock when it was appended.
    appended_at: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) next: i64,
    pub(crate) epoch: i32,
    /// Before this time no deletion and no marker of it may go (KIP-534); set by the first cleaning that meets one.
    horizon: Option<i64>,
}

/// A batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) sequence: i32,
    pub(crate) count: i32,
    pub(crate) base: i64,
    pub(crate) timestamp: i64,
}

/// What compaction and retention may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) retention_ms: i64,
    pub(crate) retention_bytes: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) min_lag_ms: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) policy: Policy,
    /// Every offset that was ever given, in order. Offsets that hold nothing have no record.
    known: BTreeMap<i64, Known>,
    pub(crate) batches: BTreeMap<i64, Batch>,
    /// The log's start is one of these or between them.
    pub(crate) start: (i64, i64),
    pub(crate) end: i64,
    /// Producers by id, with all that they have in the log.
    pub(crate) producers: BTreeMap<i64, Vec<Sent>>,
    /// Offsets that the disk has damaged, as a reader was told.
    pub(crate) damaged: Vec<(i64, i64)>,
    /// Keys of which the disk has lost a record: what the last one is nobody can say.
    unsure: HashSet<Vec<u8>>,
    pub(crate) transactions: Transactions,
    /// A power cut may have taken records of transactions that were deleted before they were on disk.
    pub(crate) has_torn_transactions: bool,
    /// Records have come back that were deleted when cleanings came by.
    has_old_start: bool,
}

impl Model {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            known: BTreeMap::new(),
            batches: BTreeMap::new(),
            start: (0, 0),
            end: 0,
            producers: BTreeMap::new(),
            damaged: Vec::new(),
            unsure: HashSet::new(),
            transactions: Transactions::default(),
            has_torn_transactions: false,
            has_old_start: false,
        }
    }

    /// A batch was appended, of a transaction if there is a producer. Its records have their offsets.
    pub(crate) fn append(
        &mut self,
        records: &[Record],
        control: bool,
        producer: Option<i64>,
        epoch: i32,
        now: i64,
    ) {
        let (base, next) = (self.end, self.end + i64::try_from(records.len()).expect("few"));
        self.batches.insert(base, Batch { next, epoch, horizon: None });
        if let Some(producer) = producer.filter(|_| !control) {
            self.transactions.write(producer, base);
        }
        for record in records {
            let (record, there) = (record.clone(), There::Yes);
            let known = Known { record, control, producer, batch: base, there, appended_at: now };
            self.known.insert(known.record.offset, known);
        }
        self.end = next;
    }

    pub(crate) fn from(&self, offset: i64) -> impl DoubleEndedIterator<Item = &Known> {
        self.known.range(offset..).map(|(_, known)| known)
    }

    /// What readers of committed records are to make of it.
    pub(crate) fn fate(&self, known: &Known) -> Fate {
        match known.producer {
            Some(producer) if !known.control => self.transactions.fate(producer, known.record.offset),
            _ => Fate::Committed,
        }
    }

    /// The first record of an open transaction of this producer that is there for sure, from `first` on.
    pub(crate) fn first_written(&self, producer: i64, first: i64) -> Option<i64> {
        let mut left = self.from(first.max(self.start.1));
        let is_its = |known: &&Known| known.producer == Some(producer) && !known.control;
        left.find(|known| is_its(known) && known.there == There::Yes).map(|known| known.record.offset)
    }

    pub(crate) fn at(&self, offset: i64) -> Option<&Known> {
        self.known.get(&offset)
    }

    /// A batch with a record that is there for sure, with its offsets: one below `below`, by a number.
    pub(crate) fn a_batch_there(&self, below: i64, nth: usize) -> Option<(i64, i64)> {
        let there = self.known.range(self.start.1..below).filter(|(_, known)| known.there == There::Yes);
        // What is lost of a transaction changes what the rest of it means.
        let there = there.filter(|(_, known)| known.producer.is_none());
        let bases: Vec<i64> =
            there.map(|(_, known)| known.batch).filter(|base| *base >= self.start.1).collect();
        let base = *bases.get(nth.checked_rem(bases.len())?)?;
        let next = self.batches.get(&base)?.next;
        (next <= below).then_some((base, next))
    }

    /// A cleaning of what lies below `end` is about to begin, or has got that far (`done`), or has ended early.
    pub(crate) fn clean(&mut self, end: i64, done: bool, now: i64) {
        let mut last: HashMap<Vec<u8>, i64> = HashMap::new();
        let mut decided_by = HashSet::new();
        for (offset, known) in self.known.range(..end).filter(|(_, known)| known.there != There::No) {
            if known.control || self.fate(known) != Fate::Committed {
                continue;
            }
            decided_by.extend(known.producer.and_then(|id| self.transactions.marker_of(id, *offset)));
            if let Some(key) = &known.record.key {
                last.insert(key.clone(), *offset);
            }
        }
        let horizon = now + self.policy.delete_retention_ms;
        let mut met = Vec::new();
        let aborted: HashSet<i64> = {
            let cleaned = self.known.range(..end).map(|(_, known)| known);
            cleaned
                .filter(|known| self.fate(known) == Fate::Aborted)
                .map(|known| known.record.offset)
                .collect()
        };
        for (offset, known) in self.known.range_mut(..end).filter(|(_, known)| known.there != There::No) {
            let is_last = |key| last.get(key).is_none_or(|last| last == offset);
            let is_replaced = !known.control && known.record.key.as_ref().is_some_and(|key| !is_last(key));
            if is_replaced || aborted.contains(offset) {
                let young = known.record.timestamp.min(known.appended_at) + self.policy.min_lag_ms > now;
                assert!(
                    !young || *offset < self.start.1,
                    "{offset} is compacted before min.compaction.lag.ms"
                );
                // What lies below the start is in nobody's map.
                let must_go = done && *offset >= self.start.1 && !self.has_old_start;
                known.there = if must_go { There::No } else { There::Maybe };
            } else if known.control || known.record.value.is_none() {
                let batch = self.batches.get(&known.batch).expect("its batch");
                // What a marker decides on needs it.
                let is_needed = known.control && decided_by.contains(offset);
                if batch.horizon.is_some_and(|horizon| horizon <= now) && !is_needed {
                    known.there = There::Maybe;
                }
                met.push(known.batch);
            }
        }
        for base in met {
            let batch = self.batches.get_mut(&base).expect("its batch");
            batch.horizon.get_or_insert(horizon);
        }
    }

    /// Retention moved the log's start to `start`, when `spans` (base, next) were its segments. What went had to.
    pub(crate) fn retained(&mut self, start: i64, spans: &[(i64, i64)], left: u64, now: i64) {
        let Policy { retention_ms, retention_bytes, .. } = self.policy;
        let size_max = u64::try_from(retention_bytes).ok();
        for (base, _) in spans.iter().filter(|(base, next)| *next > self.start.1 && *base < start) {
            let is_size = size_max.is_some_and(|max| left >= max);
            for known in self.from((*base).max(self.start.1)).take_while(|known| known.record.offset < start)
            {
                let age = now - known.record.timestamp.min(known.appended_at);
                let is_time = retention_ms >= 0 && age > retention_ms;
                assert!(
                    is_size || is_time || known.there == There::No,
                    "retention took {} ({age} ms old), and left {left} bytes from {start} on",
                    known.record.offset
                );
            }
        }
        self.start = (start, start);
    }

    /// What a crash may leave if it came while this became `after`.
    pub(crate) fn or(&self, after: &Self) -> Self {
        let mut either = after.clone();
        for (offset, known) in &mut either.known {
            if self.at(*offset).is_some_and(|before| before.there != known.there) {
                known.there = There::Maybe;
            }
        }
        either.start = (self.start.0.min(after.start.0), self.start.1.max(after.start.1));
        either
    }

    /// It was opened again, and begins and ends here. At least up to `least` everything had to be there.
    pub(crate) fn reopened(&mut self, start: i64, end: i64, least: i64) {
        if start == end {
            // What was deleted before it was on disk is lost with its producers.
            self.producers.retain(|_, sent| sent.last().is_none_or(|sent| sent.base < least));
        }
        assert!(end >= least.min(self.end), "the log ends at {end}, and was durable up to {least}");
        assert!(end <= self.end, "the log ends at {end}, and {} was never reached", self.end);
        let (low, high) = (self.start.0.min(end), self.start.1.min(end));
        // Of a log of which nothing was durable a later segment may be all that is left of the names.
        let was_nothing = start == end && least <= self.start.0;
        let is_start = (low..=high).contains(&start) || was_nothing;
        assert!(is_start, "the log begins at {start}, not in {low} to {high}");
        let is_boundary = end == self.end || self.batches.contains_key(&end) || end == start;
        assert!(is_boundary, "the log ends at {end}, inside of a batch");
        self.start = (start, start);
        // What was deleted before it was on disk may have been cut off all the same.
        for (_, known) in self.known.range_mut(least.min(start)..start) {
            known.there = There::Maybe;
            self.unsure.extend(known.record.key.clone());
            self.has_torn_transactions |= known.producer.is_some();
        }
        // A start past all that is left is the next offset, even inside a batch that is gone.
        let gone_from = match self.batches.range(..end).next_back() {
            Some((base, batch)) if batch.next > end => *base,
            _ => end,
        };
        self.known.retain(|offset, _| *offset < gone_from);
        self.batches.retain(|base, _| *base < gone_from);
        self.end = end;
        self.transactions.cut(gone_from);
        for sent in self.producers.values_mut() {
            sent.retain(|sent| sent.base < gone_from);
        }
    }

    /// Everything was read, but for what is damaged.
    pub(crate) fn was_read(&mut self, found: &[(Record, bool)], end: i64) {
        let mut offsets = HashSet::new();
        for (record, control) in found {
            let known = self.at(record.offset).unwrap_or_else(|| panic!("{record:?} was never appended"));
            assert_eq!(
                (&known.record, known.control),
                (record, *control),
                "a record that stays is what it was"
            );
            assert_ne!(known.there, There::No, "{record:?} was gone");
            offsets.insert(record.offset);
        }
        let damaged = self.damaged.clone();
        let is_damaged = |offset| damaged.iter().any(|(first, next)| (*first..*next).contains(&offset));
        for (offset, known) in self.known.range_mut(self.start.1..end) {
            let is_there = offsets.contains(offset);
            match known.there {
                There::Maybe if is_there => known.there = There::Yes,
                There::Maybe if !is_damaged(*offset) => known.there = There::No,
                There::Yes => assert!(is_there || is_damaged(*offset), "{:?} is missing", known.record),
                _ => {}
            }
        }
        self.check_last_values(found, end);
    }

    /// Of each key the last value is there: whatever cleaned when, and not by this model's own account of it.
    fn check_last_values(&self, found: &[(Record, bool)], end: i64) {
        fn last<'a>(records: impl Iterator<Item = &'a Record>) -> HashMap<&'a Vec<u8>, &'a Record> {
            records.filter_map(|record| Some((record.key.as_ref()?, record))).collect()
        }
        let is_committed =
            |record: &Record| self.at(record.offset).is_some_and(|known| self.fate(known) == Fate::Committed);
        let all = self.known.range(self.start.1..end).map(|(_, known)| known);
        let all = all.filter(|known| !known.control).map(|known| &known.record);
        let wanted = last(all.filter(|record| is_committed(record)));
        let found = found.iter().filter(|(_, control)| !control).map(|(record, _)| record);
        let found = last(found.filter(|record| is_committed(record)));
        for (key, record) in wanted {
            let is_damaged =
                self.damaged.iter().any(|(first, next)| (*first..*next).contains(&record.offset));
            if is_damaged || self.unsure.contains(key) {
                continue;
            }
            match found.get(key) {
                Some(last) => assert_eq!(*last, record, "another record is the last of its key"),
                None => assert_eq!(record.value, None, "the last record of its key is missing: {record:?}"),
            }
        }
    }

    /// What was damaged was given up.
    pub(crate) fn given_up(&mut self, first: i64, next: i64) {
        for (_, known) in self.known.range_mut(first..next) {
            if known.there != There::No {
                self.unsure.extend(known.record.key.clone());
            }
            known.there = There::No;
        }
    }

    /// The manifest is lost, and with it where the log began inside its first segment.
    pub(crate) fn start_is_lost(&mut self, first: i64) {
        for (_, known) in self.known.range_mut(first..self.start.1.max(first)) {
            if known.there == There::Yes {
                known.there = There::Maybe;
            }
        }
        self.has_old_start |= first < self.start.1;
        self.start.0 = self.start.0.min(first);
    }
}
