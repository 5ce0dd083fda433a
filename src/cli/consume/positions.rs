//! How far each partition is printed, what of that is committed, and where it is to stop.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::client::membership::Offsets;

/// A partition, by the name of its topic.
pub(super) type Name = (Arc<str>, i32);

/// Partitions that are being read.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// Where to stop; partitions without an entry go on for ever.
    stops: HashMap<Name, i64>,
    /// The next offset to print, where that has moved since the last commit.
    moved: BTreeMap<(String, i32), i64>,
}

impl Positions {
    /// Reads a partition from `next` on, and only to `stop` if there is one. Returns whether there is anything to read.
    pub(super) fn begin(&mut self, name: Name, next: i64, stop: Option<i64>) -> bool {
        match stop {
            Some(stop) if next >= stop => false,
            Some(stop) => {
                self.stops.insert(name, stop);
                true
            }
            None => true,
        }
    }

    /// Where a partition stops.
    pub(super) fn stop(&self, name: &Name) -> Option<i64> {
        self.stops.get(name).copied()
    }

    /// Everything before `next` is printed, or passed over. Returns whether that was the end.
    pub(super) fn reached(&mut self, name: &Name, next: i64) -> bool {
        self.moved.insert((name.0.to_string(), name.1), next);
        let over = self.stop(name).is_some_and(|stop| next >= stop);
        if over {
            self.stops.remove(name);
        }
        over
    }

    /// Whether no partition is left that stops somewhere.
    pub(super) fn is_over(&self) -> bool {
        self.stops.is_empty()
    }

    /// What is to be committed.
    pub(super) fn uncommitted(&self) -> &Offsets {
        &self.moved
    }

    /// It is committed.
    pub(super) fn committed(&mut self) {
        self.moved.clear();
    }

    /// All partitions are given up.
    pub(super) fn clear(&mut self) {
        self.stops.clear();
        self.moved.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_every_partition_has_reached_its_stop() {
        let mut positions = Positions::default();
        let name = |index| (Arc::from("t"), index);
        assert!(positions.begin(name(0), 5, Some(9)));
        assert!(positions.begin(name(1), 0, Some(1)));
        assert!(!positions.begin(name(2), 4, Some(4)), "nothing to read");
        assert!(!positions.reached(&name(0), 8));
        assert!(positions.reached(&name(1), 3), "a batch may go beyond");
        assert!(!positions.is_over());
        assert!(positions.reached(&name(0), 9));
        assert!(positions.is_over());
        let moved: Offsets = [(("t".to_owned(), 0), 9), (("t".to_owned(), 1), 3)].into();
        assert_eq!(*positions.uncommitted(), moved);
        positions.committed();
        assert!(positions.uncommitted().is_empty());
    }
}
