//! Whether what a partition of the churn holds agrees with what was sent to it, given what its topic may forget.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::reading::{Contents, Entry};
use super::topics::{Topic, deletes, key};
use crate::history::Sent;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// An acknowledged record is not there, and nothing says that it may be gone.
    Lost { offset: i64, sent: Sent },
    /// Of this record's key neither it nor a later one is there.
    LostKey { sent: Sent },
    /// A key's last record is older than one that was acknowledged.
    Returned { sent: Sent, found: Sent },
    /// The log begins where nothing was asked or allowed to end.
    Start { first: i64, allowed: i64 },
    /// More left the log's front than its bytes ask for.
    TooMuchGone { first: i64, bytes: u64 },
    /// A record went that was not old enough.
    TooYoung { offset: i64 },
    /// Offsets do not rise.
    Offsets { offset: i64, before: i64 },
    /// A producer's record stands behind a later one, or twice.
    Order { sent: Sent, after: u32 },
    /// A record that nobody sent, or that is not as it was sent.
    Phantom { offset: i64 },
    /// Another record was acknowledged at this offset, or given to a reader.
    Changed { offset: i64 },
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// How many records each producer has sent, acknowledged or not.
    pub(crate) sent: HashMap<u32, u32>,
    /// When lives of the broker began, and how many records each producer had sent by then.
    begun: HashMap<u32, Vec<(u32, Instant)>>,
    /// Acknowledged records by their offsets.
    pub(crate) acknowledged: BTreeMap<i64, Sent>,
    /// What readers were given.
    pub(crate) given: BTreeMap<i64, u64>,
    /// The first offset when it was last looked at.
    pub(crate) first: i64,
    /// The largest start that was asked for, and the largest that was answered.
    pub(crate) trimmed: (i64, i64),
    /// The last acknowledged record of each key.
    last: HashMap<Vec<u8>, (i64, Sent)>,
}

impl Known {
    /// A record was acknowledged at this offset. `false` if another one was before.
    #[must_use]
    pub(crate) fn acknowledge(&mut self, offset: i64, sent: Sent) -> bool {
        let last = self.last.entry(key(sent)).or_insert((offset, sent));
        if sent.seq >= last.1.seq {
            *last = (offset, sent);
        }
        self.acknowledged.insert(offset, sent).is_none_or(|before| before == sent)
    }

    /// A life of the broker begins, and a producer has sent so many records before.
    pub(crate) fn begin(&mut self, producer: u32, sent: u32) {
        let begun = self.begun.entry(producer).or_default();
        begun.push((sent, Instant::now()));
        if begun.len() > LIVES_MAX {
            begun.remove(0);
        }
    }

    /// The most that a record's age can be.
    fn age_at_most(&self, sent: Sent) -> Option<Duration> {
        let mut lives = self.begun.get(&sent.producer)?.iter().rev();
        lives.find(|(count, _)| *count <= sent.seq).map(|(_, at)| at.elapsed())
    }

    /// Compares all that a partition holds with what is known of it.
    pub(crate) fn check(&self, topic: &Topic, log: &Contents) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        self.check_entries(&log.entries, &mut wrong);
        self.check_front(topic, log, &mut wrong);
        let there: HashMap<i64, &Entry> = log.entries.iter().map(|entry| (entry.offset, entry)).collect();
        for (&offset, &sent) in &self.acknowledged {
            match there.get(&offset) {
                Some(entry) if entry.sent == Some(sent) => {}
                Some(_) => wrong.push(Wrong::Changed { offset }),
                None if offset < log.first => {
                    let age = topic.age.zip(self.age_at_most(sent));
                    if age.is_some_and(|(least, age)| age < least) {
                        wrong.push(Wrong::TooYoung { offset });
                    }
                }
                None if !topic.is_compacted => wrong.push(Wrong::Lost { offset, sent }),
                None if !deletes(sent) && !self.may_be_replaced(sent) => {
                    wrong.push(Wrong::Lost { offset, sent });
                }
                None => {}
            }
        }
        for (offset, given) in &self.given {
            if there.get(offset).is_some_and(|entry| entry.print != *given) {
                wrong.push(Wrong::Changed { offset: *offset });
            }
        }
        if topic.is_compacted {
            self.check_keys(log, &mut wrong);
        }
        wrong
    }

    fn check_entries(&self, entries: &[Entry], wrong: &mut Vec<Wrong>) {
        let mut last: HashMap<u32, u32> = HashMap::new();
        let mut before = -1;
        for entry in entries {
            if entry.offset <= before {
                wrong.push(Wrong::Offsets { offset: entry.offset, before });
            }
            before = entry.offset;
            let is_known = |sent: &Sent| self.sent.get(&sent.producer).is_some_and(|count| sent.seq < *count);
            let Some(sent) = entry.sent.filter(|sent| entry.is_whole && is_known(sent)) else {
                wrong.push(Wrong::Phantom { offset: entry.offset });
                continue;
            };
            let after = last.insert(sent.producer, sent.seq).filter(|after| *after >= sent.seq);
            wrong.extend(after.map(|after| Wrong::Order { sent, after }));
        }
    }

    /// What left the front had to.
    fn check_front(&self, topic: &Topic, log: &Contents, wrong: &mut Vec<Wrong>) {
        let first = log.first;
        let (asked, answered) = self.trimmed;
        let least = self.first.max(answered);
        if first < least {
            wrong.push(Wrong::Start { first, allowed: least });
        }
        let most = if topic.is_trimmed { asked.max(self.first) } else { 0 };
        if first > most && topic.bytes.is_none() && topic.age.is_none() {
            wrong.push(Wrong::Start { first, allowed: most });
        }
        // What is compacted may have shrunk since.
        let too_few = topic.bytes.is_some_and(|bytes| log.bytes < bytes) && !topic.is_compacted;
        if first > self.first && too_few {
            wrong.push(Wrong::TooMuchGone { first, bytes: log.bytes });
        }
    }

    /// Of each key the last acknowledged record is there, or one that was sent after it.
    fn check_keys(&self, log: &Contents, wrong: &mut Vec<Wrong>) {
        let found = last_of_keys(&log.entries);
        for (key, &(offset, sent)) in &self.last {
            match found.get(key) {
                Some(found) if found.seq >= sent.seq => {}
                Some(&found) if offset >= log.first => wrong.push(Wrong::Returned { sent, found }),
                None if offset >= log.first && !self.may_be_deleted(sent) => {
                    wrong.push(Wrong::LostKey { sent });
                }
                _ => {}
            }
        }
    }

    /// The records of a key that were sent from this one on, it included.
    fn later(&self, sent: Sent) -> impl Iterator<Item = Sent> {
        let count = self.sent.get(&sent.producer).copied().unwrap_or(0);
        let of_key = key(sent);
        (sent.seq..count).map(move |seq| Sent { seq, ..sent }).filter(move |later| key(*later) == of_key)
    }

    fn may_be_replaced(&self, sent: Sent) -> bool {
        self.later(sent).nth(1).is_some()
    }

    fn may_be_deleted(&self, sent: Sent) -> bool {
        self.later(sent).any(deletes)
    }

    /// Forgets what was checked and is gone, so that many rounds cost no more than few.
    pub(crate) fn forget_what_is_gone(&mut self, log: &Contents) {
        let there: HashSet<i64> = log.entries.iter().map(|entry| entry.offset).collect();
        let behind = log.entries.last().map_or(log.first, |entry| entry.offset);
        self.first = log.first;
        self.acknowledged.retain(|offset, _| there.contains(offset) || *offset > behind);
        self.given.retain(|offset, _| there.contains(offset) || *offset > behind);
        self.last.retain(|_, (offset, _)| *offset >= log.first);
    }
}

/// Lives of the broker whose beginnings are remembered: retention by age is far behind the first of them.
const LIVES_MAX: usize = 1000;

fn last_of_keys(entries: &[Entry]) -> HashMap<Vec<u8>, Sent> {
    entries.iter().filter_map(|entry| entry.sent).map(|sent| (key(sent), sent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: u32 = 3;
    const RECORDS: u32 = 60;

    fn sent(seq: u32) -> Sent {
        Sent { producer: PRODUCER, partition: 0, seq }
    }

    /// Some records, all acknowledged and read, and the log that holds them.
    fn sound(topic: &str) -> (Known, Contents) {
        let topic = Topic::by_name(topic);
        let mut known = Known { sent: HashMap::from([(PRODUCER, RECORDS)]), ..Known::default() };
        known.begin(PRODUCER, 0);
        let mut log = Contents { bytes: 100_000, ..Contents::default() };
        for (offset, seq) in (0..).zip(0..RECORDS) {
            let entry = Entry::of(topic, offset, sent(seq));
            assert!(known.acknowledge(offset, sent(seq)));
            known.given.insert(offset, entry.print);
            log.entries.push(entry);
        }
        (known, log)
    }

    fn check(topic: &str, known: &Known, log: &Contents) -> Vec<Wrong> {
        known.check(Topic::by_name(topic), log)
    }

    /// Compacts a log as far as it goes; deletions go, too.
    fn compact(log: &mut Contents) {
        let last = last_of_keys(&log.entries);
        log.entries.retain(|entry| {
            let sent = entry.sent.unwrap();
            last[&key(sent)] == sent && !deletes(sent)
        });
    }

    #[test]
    fn a_sound_log_passes_compacted_or_not() {
        let (known, mut log) = sound("latest");
        assert_eq!(check("latest", &known, &log), []);
        compact(&mut log);
        assert!(log.entries.len() < 20);
        assert_eq!(check("latest", &known, &log), []);
        for topic in ["both", "sized", "aged", "trimmed"] {
            let (known, log) = sound(topic);
            assert_eq!(check(topic, &known, &log), []);
        }
    }

    #[test]
    fn a_last_value_that_is_missing_is_detected() {
        let (known, mut log) = sound("latest");
        compact(&mut log);
        let gone = log.entries.remove(2);
        let found = check("latest", &known, &log);
        assert!(found.contains(&Wrong::LostKey { sent: gone.sent.unwrap() }), "{found:?}");
        assert!(found.contains(&Wrong::Lost { offset: gone.offset, sent: gone.sent.unwrap() }), "{found:?}");
    }

    #[test]
    fn a_value_that_comes_back_is_detected() {
        let (known, log) = sound("latest");
        // Of a key that was deleted at last, and had a value before, the deletion is gone and the value is not.
        let last = last_of_keys(&log.entries);
        let deleted =
            last.values().copied().find(|sent| deletes(*sent)).expect("a deletion that is a key's last");
        let mut log = log;
        log.entries.retain(|entry| entry.sent != Some(deleted));
        let found = check("latest", &known, &log);
        assert!(
            found.iter().any(|wrong| matches!(wrong, Wrong::Returned { sent, .. } if *sent == deleted)),
            "{found:?}"
        );
    }

    #[test]
    fn what_no_policy_takes_is_lost() {
        let (known, mut log) = sound("sized");
        let gone = log.entries.remove(7);
        assert_eq!(check("sized", &known, &log), [Wrong::Lost { offset: 7, sent: gone.sent.unwrap() }]);
        let (known, mut log) = sound("latest");
        (log.first, log.entries) = (3, log.entries.split_off(3));
        assert!(check("latest", &known, &log).contains(&Wrong::Start { first: 3, allowed: 0 }));
    }

    #[test]
    fn more_than_the_policy_takes_is_detected() {
        let (known, mut log) = sound("sized");
        (log.first, log.entries) = (3, log.entries.split_off(3));
        assert_eq!(check("sized", &known, &log), []);
        log.bytes = 29_999;
        assert_eq!(check("sized", &known, &log), [Wrong::TooMuchGone { first: 3, bytes: 29_999 }]);
        let (known, mut log) = sound("aged");
        (log.first, log.entries) = (1, log.entries.split_off(1));
        assert_eq!(check("aged", &known, &log), [Wrong::TooYoung { offset: 0 }]);
    }

    #[test]
    fn deleted_records_stay_deleted_and_no_others_go() {
        let (mut known, mut log) = sound("trimmed");
        known.trimmed = (6, 4);
        assert_eq!(check("trimmed", &known, &log), [Wrong::Start { first: 0, allowed: 4 }]);
        (log.first, log.entries) = (5, log.entries.split_off(5));
        assert_eq!(check("trimmed", &known, &log), []);
        (log.first, log.entries) = (7, log.entries.split_off(2));
        assert_eq!(check("trimmed", &known, &log), [Wrong::Start { first: 7, allowed: 6 }]);
    }

    #[test]
    fn order_phantoms_and_changed_records_are_detected() {
        let (known, mut log) = sound("sized");
        (log.entries[3].sent, log.entries[4].sent) = (log.entries[4].sent, log.entries[3].sent);
        let found = check("sized", &known, &log);
        assert!(found.contains(&Wrong::Order { sent: sent(3), after: 4 }), "{found:?}");
        assert!(found.contains(&Wrong::Changed { offset: 3 }), "{found:?}");
        let (known, mut log) = sound("sized");
        log.entries[3].is_whole = false;
        log.entries[9].print ^= 1;
        log.entries[20].offset = 19;
        let found = check("sized", &known, &log);
        assert!(found.contains(&Wrong::Phantom { offset: 3 }), "{found:?}");
        assert!(found.contains(&Wrong::Changed { offset: 9 }), "{found:?}");
        assert!(found.contains(&Wrong::Offsets { offset: 19, before: 19 }), "{found:?}");
    }

    #[test]
    fn what_is_gone_for_good_reason_is_not_asked_for_again() {
        let (mut known, mut log) = sound("latest");
        compact(&mut log);
        known.forget_what_is_gone(&log);
        assert_eq!(known.acknowledged.len(), log.entries.len());
        assert_eq!(check("latest", &known, &log), []);
        log.entries.remove(0);
        assert!(!check("latest", &known, &log).is_empty(), "what was there last time");
    }
}
