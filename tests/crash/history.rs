//! What was sent, acknowledged, read and committed; and the check that what a broker holds agrees with it.
//!
//! The checks are those of Jepsen's Kafka tests for one node: nothing acknowledged is lost (C1), nothing idempotent is
//! there twice (C2), order (C3), nothing is there that nobody sent (C4), offsets are contiguous and never change their
//! record (C5), commits never go back (C8).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};

use crate::support::raw::Read;

/// A partition by topic and index.
pub(crate) type Place = (&'static str, i32);

/// One record: the `seq`-th that a producer sent to a partition. Its value says so and can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) producer: u32,
    pub(crate) partition: i32,
    pub(crate) seq: u32,
}

impl Sent {
    /// The record's bytes: who it is, and a body whose length and content follow from that.
    pub(crate) fn value(self) -> Vec<u8> {
        let mut state = u64::from(self.producer) << 48
            ^ u64::from(self.seq) << 8
            ^ u64::from(self.partition.unsigned_abs());
        let mut value = format!("{}/{}/{}:", self.producer, self.partition, self.seq).into_bytes();
        let body = 20 + usize::try_from(crate::random::mix(&mut state) % 900).expect("small");
        while value.len() < body {
            value.extend_from_slice(&crate::random::mix(&mut state).to_le_bytes());
        }
        value
    }

    /// Reads back what [`Sent::value`] wrote; `None` when a single byte differs.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let head = value.split(|byte| *byte == b':').next()?;
        let mut numbers = std::str::from_utf8(head).ok()?.split('/');
        let sent = Self {
            producer: numbers.next()?.parse().ok()?,
            partition: numbers.next()?.parse().ok()?,
            seq: numbers.next()?.parse().ok()?,
        };
        (sent.value() == value).then_some(sent)
    }
}

/// A short form of a value: two that differ have different ones.
pub(crate) fn fingerprint(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// What is wrong with what a broker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// C1: an acknowledged record is not at its offset.
    Lost { place: Place, offset: i64, sent: Sent },
    /// C2: a record is there twice and should not be.
    Twice { place: Place, sent: Sent, offsets: [i64; 2] },
    /// C3: a producer's record comes after a later one.
    Reordered { place: Place, sent: Sent, after: u32 },
    /// C4: a record that nobody sent there, or whose bytes are not those that were sent.
    Phantom { place: Place, offset: i64 },
    /// C5: offsets leave something out, or go back.
    Gap { place: Place, wanted: i64, found: i64 },
    /// C5: a consumer was given another record at this offset before.
    Changed { place: Place, offset: i64 },
    /// C8: a group's committed offset is behind one that was acknowledged, or was never sent.
    Commit { group: String, place: Place, acknowledged: i64, attempted: i64, found: i64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// How many records each producer has sent, acknowledged or not.
    pub(crate) sent: HashMap<u32, u32>,
    /// Acknowledged records by their offsets. A record that was sent again may stand at two.
    pub(crate) acknowledged: BTreeMap<i64, Sent>,
    /// Records that were sent again without knowing whether the first attempt had worked, by producers that are not
    /// idempotent: only these may be there twice.
    pub(crate) maybe_twice: HashSet<Sent>,
    /// What consumers were given, as fingerprints.
    pub(crate) consumed: BTreeMap<i64, u64>,
}

/// What is known of one group's offset in one partition.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Commit {
    pub(crate) acknowledged: i64,
    pub(crate) attempted: i64,
}

impl Partition {
    /// Compares everything that the broker holds in this partition, from `from` on, with what is known of it.
    pub(crate) fn check(&self, place: Place, from: i64, log: &[Read]) -> Vec<Violation> {
        let mut violations = Vec::new();
        let records: Vec<Option<Sent>> = log.iter().map(|read| Sent::parse(&read.value)).collect();
        for (wanted, read) in (from..).zip(log) {
            if read.offset != wanted {
                violations.push(Violation::Gap { place, wanted, found: read.offset });
                break;
            }
        }
        let at = |offset: i64| {
            log.binary_search_by_key(&offset, |read| read.offset)
                .ok()
                .map(|index| (&log[index], records[index]))
        };
        for (&offset, &sent) in self.acknowledged.range(from..) {
            if at(offset).and_then(|(_, found)| found) != Some(sent) {
                violations.push(Violation::Lost { place, offset, sent });
            }
        }
        for (&offset, &given) in self.consumed.range(from..) {
            if at(offset).is_none_or(|(read, _)| fingerprint(&read.value) != given) {
                violations.push(Violation::Changed { place, offset });
            }
        }
        self.check_order(place, from, log, &records, &mut violations);
        violations
    }

    fn check_order(
        &self,
        place: Place,
        from: i64,
        log: &[Read],
        records: &[Option<Sent>],
        found: &mut Vec<Violation>,
    ) {
        let mut first: HashMap<Sent, i64> = HashMap::new();
        let mut last: HashMap<u32, u32> = HashMap::new();
        for (read, sent) in log.iter().zip(records) {
            let known = sent.filter(|sent| {
                sent.partition == place.1
                    && self.sent.get(&sent.producer).is_some_and(|count| sent.seq < *count)
            });
            let Some(sent) = known else {
                found.push(Violation::Phantom { place, offset: read.offset });
                continue;
            };
            if let Some(&before) = first.get(&sent) {
                if !self.maybe_twice.contains(&sent) {
                    found.push(Violation::Twice { place, sent, offsets: [before, read.offset] });
                }
                continue;
            }
            first.insert(sent, read.offset);
            if from > 0 && self.maybe_twice.contains(&sent) {
                // Its first copy may stand before what was read.
                continue;
            }
            let after = last.insert(sent.producer, sent.seq);
            if let Some(after) = after.filter(|after| *after > sent.seq) {
                found.push(Violation::Reordered { place, sent, after });
            }
        }
    }
}

impl Commit {
    /// Compares a committed offset, -1 for none, with what is known of it.
    pub(crate) fn check(self, group: &str, place: Place, found: i64) -> Option<Violation> {
        let Self { acknowledged, attempted } = self;
        let fits = found.max(0) >= acknowledged && found <= attempted;
        (!fits).then(|| Violation::Commit { group: group.to_owned(), place, acknowledged, attempted, found })
    }
}

mod tests {
    use super::*;

    const PLACE: Place = ("t", 1);

    fn sent(producer: u32, seq: u32) -> Sent {
        Sent { producer, partition: PLACE.1, seq }
    }

    /// Ten records of two producers, all acknowledged and consumed, and the log that holds them.
    fn sound() -> (Partition, Vec<Read>) {
        let mut partition = Partition::default();
        let mut log = Vec::new();
        for (offset, n) in (0..10).enumerate() {
            let (sent, offset) = (sent(n % 2, n / 2), i64::try_from(offset).unwrap());
            partition.acknowledged.insert(offset, sent);
            partition.consumed.insert(offset, fingerprint(&sent.value()));
            partition.sent.insert(sent.producer, sent.seq + 1);
            log.push(Read { offset, value: sent.value() });
        }
        (partition, log)
    }

    #[test]
    fn a_sound_log_passes() {
        let (mut partition, mut log) = sound();
        assert_eq!(partition.check(PLACE, 0, &log), []);
        // One more was sent and may or may not be there.
        partition.sent.insert(0, 6);
        assert_eq!(partition.check(PLACE, 0, &log), []);
        log.push(Read { offset: 10, value: sent(0, 5).value() });
        assert_eq!(partition.check(PLACE, 0, &log), []);
    }

    #[test]
    fn an_acknowledged_record_that_is_missing_is_detected() {
        let (mut partition, mut log) = sound();
        partition.consumed.clear();
        log.pop();
        assert_eq!(
            partition.check(PLACE, 0, &log),
            [Violation::Lost { place: PLACE, offset: 9, sent: sent(1, 4) }]
        );
    }

    #[test]
    fn a_record_that_is_there_twice_is_detected() {
        let (mut partition, mut log) = sound();
        log.push(Read { offset: 10, value: sent(1, 4).value() });
        let twice = Violation::Twice { place: PLACE, sent: sent(1, 4), offsets: [9, 10] };
        assert_eq!(partition.check(PLACE, 0, &log), [twice]);
        partition.maybe_twice.insert(sent(1, 4));
        assert_eq!(partition.check(PLACE, 0, &log), [], "a producer that is not idempotent sent it again");
    }

    #[test]
    fn reordered_records_are_detected() {
        let (mut partition, mut log) = sound();
        (partition.acknowledged, partition.consumed) = Default::default();
        let value = log[7].value.clone();
        log[7].value = std::mem::replace(&mut log[5].value, value);
        let found = partition.check(PLACE, 0, &log);
        assert_eq!(found, [Violation::Reordered { place: PLACE, sent: sent(1, 2), after: 3 }]);
    }

    #[test]
    fn a_gap_a_phantom_and_a_changed_byte_are_detected() {
        let (partition, mut log) = sound();
        log.remove(4);
        let found = partition.check(PLACE, 0, &log);
        assert!(found.contains(&Violation::Gap { place: PLACE, wanted: 4, found: 5 }), "{found:?}");
        let (partition, mut log) = sound();
        log.push(Read { offset: 10, value: sent(1, 5).value() });
        assert_eq!(partition.check(PLACE, 0, &log), [Violation::Phantom { place: PLACE, offset: 10 }]);
        let (partition, mut log) = sound();
        *log[3].value.last_mut().unwrap() ^= 1;
        let found = partition.check(PLACE, 0, &log);
        assert!(found.contains(&Violation::Phantom { place: PLACE, offset: 3 }), "{found:?}");
        assert!(found.contains(&Violation::Changed { place: PLACE, offset: 3 }), "{found:?}");
    }

    #[test]
    fn a_commit_that_goes_back_or_was_never_sent_is_detected() {
        let commit = Commit { acknowledged: 5, attempted: 7 };
        for found in 5..=7 {
            assert_eq!(commit.check("g", PLACE, found), None);
        }
        assert!(commit.check("g", PLACE, 4).is_some());
        assert!(commit.check("g", PLACE, 8).is_some());
        assert!(commit.check("g", PLACE, -1).is_some(), "no offset at all");
        assert_eq!(Commit::default().check("g", PLACE, -1), None);
    }
}
