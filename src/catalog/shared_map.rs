//! A sorted map whose copies share all that they have in common: two levels of small sorted runs, copied when written.
//!
//! Every change of the catalog publishes an image, and a broker may have tens of thousands of topics: copying a map of
//! them for each would make creating topics one by one quadratic. Here a copy is one pointer, and a change copies one
//! run and the list of runs.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A run is split in two when it grows past this many entries.
const RUN_MAX_ENTRIES: usize = 128;

type Run<K, V> = Arc<Vec<(K, V)>>;

/// See the [module](self).
#[derive(Clone, PartialEq, Eq)]
pub struct SharedMap<K, V> {
    /// Sorted, and none is empty.
    runs: Arc<Vec<Run<K, V>>>,
    len: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { runs: Arc::default(), len: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.runs.iter().flat_map(|run| run.iter()).map(|(key, value)| (key, value)))
            .finish()
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key's value.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let run = self.runs.get(self.run_of(key))?;
        let at = position(run, key).ok()?;
        run.get(at).map(|(_, value)| value)
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.runs.iter().flat_map(|run| run.iter()).map(|(key, value)| (key, value))
    }

    /// The entries from the first key at or after this one, by key.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let first = self.run_of(key);
        let skip = self.runs.get(first).map_or(0, |run| position(run, key).unwrap_or_else(|at| at));
        let runs = self.runs.get(first..).unwrap_or_default();
        runs.iter().flat_map(|run| run.iter()).skip(skip).map(|(key, value)| (key, value))
    }

    /// Sets the key's value, and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.run_of(&key);
        let runs = Arc::make_mut(&mut self.runs);
        let Some(run) = runs.get_mut(index) else {
            runs.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let entries = Arc::make_mut(run);
        match position(entries, &key) {
            Ok(at) => entries.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value)),
            Err(at) => {
                entries.insert(at, (key, value));
                if entries.len() > RUN_MAX_ENTRIES {
                    let upper = entries.split_off(RUN_MAX_ENTRIES / 2);
                    runs.insert(index + 1, Arc::new(upper));
                }
                self.len += 1;
                None
            }
        }
    }

    /// Takes the key's value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.run_of(key);
        let at = position(self.runs.get(index)?, key).ok()?;
        let runs = Arc::make_mut(&mut self.runs);
        let entries = Arc::make_mut(runs.get_mut(index)?);
        let (_, value) = entries.remove(at);
        if entries.is_empty() {
            runs.remove(index);
        }
        self.len -= 1;
        Some(value)
    }

    /// The run that holds the key if any does: the last that begins at or before it, or the first.
    fn run_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let after =
            self.runs.partition_point(|run| run.first().is_some_and(|(first, _)| first.borrow() <= key));
        after.saturating_sub(1)
    }
}

fn position<K: Borrow<Q>, V, Q: Ord + ?Sized>(run: &[(K, V)], key: &Q) -> Result<usize, usize> {
    run.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_as_a_sorted_map_and_copies_stand_still(
            steps in prop::collection::vec((any::<bool>(), 0..600u32), 0..1_500),
            from in 0..600u32,
        ) {
            let mut map = SharedMap::default();
            let mut model = BTreeMap::new();
            let mut copies = Vec::new();
            for (n, (insert, key)) in steps.into_iter().enumerate() {
                if insert {
                    prop_assert_eq!(map.insert(key, n), model.insert(key, n));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                if n % 200 == 0 {
                    copies.push((map.clone(), model.clone()));
                }
            }
            copies.push((map, model));
            for (map, model) in copies {
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_from(&from).eq(model.range(from..)));
                for key in 0..600 {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                }
            }
        }
    }

    #[test]
    fn a_change_leaves_the_other_runs_shared() {
        let map: SharedMap<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        let mut changed = map.clone();
        changed.insert(5_000, 0);
        let shared =
            map.runs.iter().filter(|run| changed.runs.iter().any(|other| Arc::ptr_eq(run, other))).count();
        assert_eq!(shared, map.runs.len() - 1);
        assert!(map.runs.len() < 300, "{} runs", map.runs.len());
    }
}
