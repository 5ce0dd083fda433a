//! Guards: how a shard lets a transaction in that the transaction coordinator was asked about (KIP-890).
//!
//! Between the coordinator's word and the commit that relies on it the transaction may end, and a commit that comes behind
//! the marker would be pending for ever. So the guard is taken before the coordinator is asked, a marker takes it back,
//! and a commit without a guard that holds is told to ask again.

use std::collections::{BTreeMap, HashMap};

use crate::types::Timestamp;

/// Producers that may hold a guard at a time in one shard. Past it the oldest are taken back, which costs who holds it
/// another question.
const GUARDS_MAX: usize = 16_384;

/// A guard that the shard has given out for one producer. It means nothing to anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// When the shard was loaded: a load takes back all that were given out before it.
    loaded: Timestamp,
    serial: u64,
}

/// The guards of one shard that hold, one for each producer.
#[derive(Debug, Default)]
pub(super) struct Guards {
    loaded: Timestamp,
    given: u64,
    by_producer: HashMap<i64, u64>,
    /// The same, the oldest first.
    by_age: BTreeMap<u64, i64>,
}

impl Guards {
    /// None yet, in a shard that is loaded now by its steady clock.
    pub(super) fn starting(loaded: Timestamp) -> Self {
        Self { loaded, ..Self::default() }
    }

    /// The guard for a producer: the one that holds already, or a new one.
    pub(super) fn give(&mut self, producer_id: i64) -> Guard {
        let serial = match self.by_producer.get(&producer_id) {
            Some(serial) => *serial,
            None => self.make(producer_id),
        };
        Guard { loaded: self.loaded, serial }
    }

    fn make(&mut self, producer_id: i64) -> u64 {
        self.given += 1;
        self.by_producer.insert(producer_id, self.given);
        self.by_age.insert(self.given, producer_id);
        if self.by_age.len() > GUARDS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_producer.remove(&oldest);
        }
        self.given
    }

    /// Whether the producer's guard still holds.
    pub(super) fn holds(&self, producer_id: i64, guard: Guard) -> bool {
        guard.loaded == self.loaded && self.by_producer.get(&producer_id) == Some(&guard.serial)
    }

    /// Takes a producer's guard back.
    pub(super) fn take_back(&mut self, producer_id: i64) {
        if let Some(serial) = self.by_producer.remove(&producer_id) {
            self.by_age.remove(&serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_holds_until_it_is_taken_back_or_the_shard_is_loaded_again() {
        let mut guards = Guards::starting(1);
        let guard = guards.give(7);
        assert_eq!(guards.give(7), guard);
        assert!(guards.holds(7, guard) && !guards.holds(8, guard));
        guards.take_back(7);
        assert!(!guards.holds(7, guard));
        assert!(!guards.holds(7, guard) && guards.give(7) != guard);
        let mut reloaded = Guards::starting(2);
        reloaded.give(7);
        assert!(!reloaded.holds(7, guard));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut guards = Guards::starting(1);
        let first = guards.give(0);
        let rest: Vec<_> = (1..=GUARDS_MAX as i64).map(|id| guards.give(id)).collect();
        assert!(!guards.holds(0, first), "the oldest makes room");
        assert!(guards.holds(1, rest[0]));
        assert_eq!((guards.by_age.len(), guards.by_producer.len()), (GUARDS_MAX, GUARDS_MAX));
    }
}
