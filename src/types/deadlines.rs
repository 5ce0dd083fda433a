//! Timers by key: set, moved, cancelled, and taken out in the order they fall due. Nothing fires by itself; who owns them
//! asks.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::time::Timestamp;

/// At most one deadline per key.
#[derive(Debug, Clone)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Timestamp, K)>,
    by_key: HashMap<K, Timestamp>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: HashMap::new() }
    }
}

impl<K: Clone + Ord + Hash> Deadlines<K> {
    /// Sets the key's deadline, in place of the one it had.
    pub fn set(&mut self, key: K, at: Timestamp) {
        if let Some(previous) = self.by_key.insert(key.clone(), at) {
            if previous == at {
                return;
            }
            self.by_time.remove(&(previous, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Takes the key's deadline away, and says when it was.
    pub fn cancel(&mut self, key: &K) -> Option<Timestamp> {
        let at = self.by_key.remove(key)?;
        self.by_time.remove(&(at, key.clone()));
        Some(at)
    }

    /// The key's deadline.
    pub fn get(&self, key: &K) -> Option<Timestamp> {
        self.by_key.get(key).copied()
    }

    /// Takes out the earliest deadline that is `now` or before; of several at one time the smallest key.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no key has one.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_fires_once_at_its_last_deadline() {
        let mut deadlines = Deadlines::default();
        deadlines.set("a", 10);
        deadlines.set("b", 20);
        deadlines.set("a", 30);
        assert_eq!(deadlines.next(), Some(20));
        assert_eq!(deadlines.pop_due(19), None);
        assert_eq!(deadlines.pop_due(40), Some("b"));
        assert_eq!(deadlines.pop_due(40), Some("a"));
        assert_eq!(deadlines.pop_due(40), None);
        assert!(deadlines.is_empty());
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_map_scanned_for_its_least(steps in prop::collection::vec((0..4u8, 0..6u8, 0..50i64), 0..80)) {
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            for (what, key, at) in steps {
                match what {
                    0 | 1 => {
                        deadlines.set(key, at);
                        model.insert(key, at);
                    }
                    2 => prop_assert_eq!(deadlines.cancel(&key), model.remove(&key)),
                    _ => {
                        let due = model.iter().map(|(key, at)| (*at, *key)).min().filter(|(due, _)| *due <= at);
                        prop_assert_eq!(deadlines.pop_due(at), due.map(|(_, key)| key));
                        due.and_then(|(_, key)| model.remove(&key));
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
                prop_assert_eq!(deadlines.len(), model.len());
            }
        }
    }
}
