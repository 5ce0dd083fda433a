//! Partitions whose committed records end before the partition does: an open transaction holds the rest back, and who
//! reads to the end is told so.

use std::collections::BTreeMap;

use crate::client::offsets::{self, Isolation, Place};
use crate::client::{Client, Error};

/// Partitions that are told of; more are counted.
const TOLD_MAX: usize = 3;

/// What is held back of the partitions that are read.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    /// By topic and partition: where reading stops, and where the partition ends.
    held: BTreeMap<(String, i32), (i64, i64)>,
}

impl HeldBack {
    /// Compares where reading stops in these partitions of a topic, which is where the committed records end, with the
    /// partitions' ends.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        topic: &str,
        stops: &BTreeMap<i32, i64>,
    ) -> Result<(), Error> {
        let partitions: Vec<i32> = stops.keys().copied().collect();
        let ends = offsets::list(client, topic, &partitions, Place::End, Isolation::ReadUncommitted).await?;
        self.compare(topic, stops, &ends);
        Ok(())
    }

    fn compare(&mut self, topic: &str, stops: &BTreeMap<i32, i64>, ends: &BTreeMap<i32, i64>) {
        for (partition, stop) in stops {
            let place = (topic.to_owned(), *partition);
            match ends.get(partition).filter(|end| *end > stop) {
                Some(end) => self.held.insert(place, (*stop, *end)),
                None => self.held.remove(&place),
            };
        }
    }

    /// What to say of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |((topic, partition), (stop, end)): (&(String, i32), &(i64, i64))| {
            format!(
                "{topic}-{partition}: committed records end at {stop}, and the partition at {end}: an open transaction \
                 holds the rest back. streamd txn list --topic {topic} shows whose"
            )
        };
        let mut notes: Vec<String> = self.held.iter().take(TOLD_MAX).map(note).collect();
        if let Some(more) = self.held.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            notes.push(format!("the same in {more} more partition{}", if more == 1 { "" } else { "s" }));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_partitions_are_told_of() {
        let mut held_back = HeldBack::default();
        let stops: BTreeMap<i32, i64> = (0..6).map(|partition| (partition, 5)).collect();
        let ends: BTreeMap<i32, i64> =
            (0..6).map(|partition| (partition, 5 + i64::from(partition))).collect();
        held_back.compare("t", &stops, &ends);
        let notes = held_back.notes();
        assert_eq!(notes.len(), 4);
        assert!(
            notes[0].starts_with("t-1: committed records end at 5, and the partition at 6:"),
            "{notes:?}"
        );
        assert_eq!(notes[3], "the same in 2 more partitions");
        held_back.compare("t", &stops, &stops);
        assert!(held_back.notes().is_empty(), "it has ended meanwhile");
    }
}
