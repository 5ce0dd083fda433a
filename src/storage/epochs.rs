//! The leader epochs of one log and the offset each began at (KIP-101, KIP-320), kept in `leader-epoch-checkpoint`.
//!
//! The history answers consumers that ask where an epoch ended (S87). The file is a help: every batch carries its
//! epoch, so what the file lacks is found again by reading the log.

use std::io;
use std::path::Path;

use super::checkpoint::encode_epochs;
use super::layout::LEADER_EPOCHS;
use super::put::put;
use crate::types::offset::NO_EPOCH;

/// Epochs and their first offsets, both rising.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    entries: Vec<(i32, i64)>,
}

impl Epochs {
    /// The epochs of a file that was read, or none.
    pub(super) fn new(entries: Vec<(i32, i64)>) -> Self {
        Self { entries }
    }

    /// The epoch of the last batch.
    pub(super) fn last(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The first epoch, and where it begins: where the log does, if what was before was deleted.
    pub(super) fn first(&self) -> Option<(i32, i64)> {
        self.entries.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A batch of `epoch` stands at `offset`, behind all that was noted before. Whether that was news.
    pub(super) fn note(&mut self, epoch: i32, offset: i64) -> bool {
        if epoch == NO_EPOCH || self.last().is_some_and(|last| epoch <= last) {
            return false;
        }
        // An epoch under which nothing was appended has the offset of its successor, which takes its place.
        while self.entries.last().is_some_and(|(_, start)| *start >= offset) {
            self.entries.pop();
        }
        self.entries.push((epoch, offset));
        true
    }

    /// The largest epoch at or below `epoch` and the offset after its last record (S87), by the rules of Kafka's
    /// `LeaderEpochFileCache.endOffsetFor`; `None` for an epoch that is not known.
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch == NO_EPOCH {
            return None;
        }
        if self.last() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let above = self.entries.partition_point(|(e, _)| *e <= epoch);
        let (_, end) = self.entries.get(above)?;
        // Below the first epoch known, Kafka answers with the epoch that was asked for.
        let floor = above.checked_sub(1).and_then(|n| self.entries.get(n)).map_or(epoch, |(e, _)| *e);
        Some((floor, *end))
    }

    /// The epoch of the batch at `offset`.
    pub(super) fn at(&self, offset: i64) -> Option<i32> {
        let count = self.entries.partition_point(|(_, start)| *start <= offset);
        count.checked_sub(1).and_then(|n| self.entries.get(n)).map(|(epoch, _)| *epoch)
    }

    /// Forgets what begins at or past `end`. Whether something did.
    pub(super) fn truncate_end(&mut self, end: i64) -> bool {
        let kept = self.entries.partition_point(|(_, start)| *start < end);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Forgets epochs that ended at or before `start`; the one that holds it now begins there. Whether that is news.
    pub(super) fn truncate_start(&mut self, start: i64) -> bool {
        let gone = self.entries.partition_point(|(_, first)| *first <= start).saturating_sub(1);
        let moved = self.entries.get(gone).is_some_and(|(_, first)| *first < start);
        self.entries.drain(..gone);
        if moved && let Some((_, first)) = self.entries.first_mut() {
            *first = start;
        }
        gone > 0 || moved
    }

    /// Puts the file in place of the old one, not yet synced: whoever relies on it syncs it and its directory.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        put(&dir.join(LEADER_EPOCHS), encode_epochs(&self.entries).as_bytes())
    }
}

/// Finds the epochs of a log by its batches, one after the other.
///
/// A batch's epoch stands outside its checksum. So one that rises is noted when the next batch does not show that it
/// cannot be, and one that falls is no news.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// The epoch of the last batch, if it is higher than what is noted, and the batch's offset.
    held: Option<(i32, i64)>,
    /// Where the log begins if the epochs of its first batches were not believed.
    first: Option<i64>,
    /// Whether one was not believed.
    pub(super) is_odd: bool,
}

impl Sieve {
    /// The next batch is of this epoch, and begins at this offset.
    pub(super) fn note(&mut self, epochs: &mut Epochs, epoch: i32, offset: i64) {
        let known = epochs.last().unwrap_or(NO_EPOCH);
        if let Some((held, at)) = self.held.take() {
            if held <= epoch || epoch < known {
                epochs.note(held, self.first.take().unwrap_or(at));
            } else {
                self.is_odd = true;
                if epochs.is_empty() {
                    self.first.get_or_insert(at);
                }
            }
        }
        let known = epochs.last().unwrap_or(NO_EPOCH);
        self.is_odd |= epoch < known;
        if epoch > known {
            self.held = Some((epoch, offset));
        }
    }

    /// There are no more batches. No epoch is higher than `now`.
    pub(super) fn end(&mut self, epochs: &mut Epochs, now: i32) {
        match self.held.take() {
            Some((held, at)) if held <= now => {
                epochs.note(held, self.first.take().unwrap_or(at));
            }
            held => self.is_odd |= held.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::checkpoint::read_epochs;

    fn epochs() -> Epochs {
        Epochs::new(vec![(0, 0), (2, 100), (5, 250)])
    }

    #[test]
    fn s87_an_epoch_ends_where_the_next_one_begins() {
        let e = epochs();
        assert_eq!(e.end_of(0, 400), Some((0, 100)));
        assert_eq!(e.end_of(1, 400), Some((0, 100)), "the largest epoch at or below");
        assert_eq!(e.end_of(3, 400), Some((2, 250)));
        assert_eq!(e.end_of(5, 400), Some((5, 400)), "the last one goes on to the log's end");
        assert_eq!(e.end_of(6, 400), None);
        assert_eq!(e.end_of(-1, 400), None);
        assert_eq!(Epochs::default().end_of(0, 0), None);
        assert_eq!(
            Epochs::new(vec![(3, 50)]).end_of(1, 90),
            Some((1, 50)),
            "below the first, as Kafka answers"
        );
    }

    #[test]
    fn a_batch_belongs_to_the_epoch_that_began_last() {
        let e = epochs();
        assert_eq!(e.at(0), Some(0));
        assert_eq!(e.at(99), Some(0));
        assert_eq!(e.at(100), Some(2));
        assert_eq!(e.at(9_999), Some(5));
        assert_eq!(Epochs::new(vec![(3, 50)]).at(49), None);
    }

    #[test]
    fn only_a_higher_epoch_is_news() {
        let mut e = epochs();
        assert!(!e.note(5, 300));
        assert!(!e.note(4, 300));
        assert!(!e.note(NO_EPOCH, 300));
        assert!(e.note(6, 300));
        assert!(e.note(9, 300), "nothing was appended under 6");
        assert_eq!(e, Epochs::new(vec![(0, 0), (2, 100), (5, 250), (9, 300)]));
    }

    #[test]
    fn cutting_either_end_keeps_what_is_left_true() {
        let mut e = epochs();
        assert!(e.truncate_end(250));
        assert_eq!(e.last(), Some(2));
        assert!(!e.truncate_end(250));
        let mut e = epochs();
        assert!(e.truncate_start(120));
        assert_eq!(e, Epochs::new(vec![(2, 120), (5, 250)]));
        assert!(!e.truncate_start(120));
        assert!(e.truncate_start(1_000));
        assert_eq!(e, Epochs::new(vec![(5, 1_000)]));
    }

    #[test]
    fn the_file_is_what_kafka_reads() {
        let dir = tempfile::tempdir().unwrap();
        epochs().write(dir.path()).unwrap();
        let read = read_epochs(&dir.path().join(LEADER_EPOCHS)).unwrap().unwrap();
        assert_eq!(Epochs::new(read), epochs());
    }
}
