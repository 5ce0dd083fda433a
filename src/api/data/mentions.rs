//! Partitions that one request names more than once: the last mention counts, and it alone is answered, for Kafka
//! gathers the partitions of a Produce or Fetch request in a map.
//!
//! It also keeps what a request costs in proportion to what it names: each mention of a partition in a long poll would
//! be one more that the partition has to tell.

use std::collections::{HashMap, HashSet};

use crate::types::TopicId;
use crate::wire::StrBytes;

/// One topic of a Produce or Fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic<P> {
    /// Its name; empty from v13 of either.
    pub name: StrBytes,
    /// Its id; zero before v13 of either.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<P>,
}

/// What a request says of one partition.
pub(super) trait Mention {
    /// Which one is meant.
    fn index(&self) -> i32;
}

/// Leaves the last mention of each partition.
pub(super) fn keep_last_mentions<P: Mention>(topics: &mut [Topic<P>]) {
    let rise = topics.iter().all(|topic| rises(&topic.partitions));
    if rise && topics.len() < 2 {
        return;
    }
    let numbers = numbers(topics);
    // Nearly all requests name each topic once, and its partitions in order.
    if rise && numbers.iter().enumerate().all(|(place, number)| place == *number) {
        return;
    }
    let mut seen = HashSet::new();
    for (number, topic) in numbers.into_iter().zip(topics).rev() {
        topic.partitions.reverse();
        topic.partitions.retain(|partition| seen.insert((number, partition.index())));
        topic.partitions.reverse();
    }
}

/// A number for each topic, the same where they are the same, so that a long name is not hashed for each partition. Where
/// all differ it is the topic's place.
fn numbers<P>(topics: &[Topic<P>]) -> Vec<usize> {
    let mut numbers = HashMap::with_capacity(topics.len());
    topics
        .iter()
        .map(|topic| {
            let next = numbers.len();
            *numbers.entry((&*topic.name, topic.id)).or_insert(next)
        })
        .collect()
}

/// Whether partitions rise, from wherever a client began: then each is named once.
fn rises<P: Mention>(partitions: &[P]) -> bool {
    let indexes = || partitions.iter().map(P::index);
    // Round in a circle there is one step down, and none on the spot.
    let mut down = 0;
    partitions.len() < 2
        || indexes().zip(indexes().cycle().skip(1)).all(|(index, next)| {
            down += usize::from(next < index);
            next != index && down < 2
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An index, and which mention of all it is.
    impl Mention for (i32, usize) {
        fn index(&self) -> i32 {
            self.0
        }
    }

    #[test]
    fn partitions_may_rise_from_anywhere() {
        let rises = |indexes: &[i32]| {
            let mentions: Vec<_> = indexes.iter().map(|index| (*index, 0)).collect();
            rises(&mentions)
        };
        for once_each in [&[][..], &[3], &[0, 1, 2], &[3, 4, 0, 1], &[5, 0]] {
            assert!(rises(once_each), "{once_each:?}");
        }
        for other in [&[1, 1][..], &[3, 4, 3], &[3, 4, 0, 4], &[0, 1, 0, 1], &[2, 1, 0]] {
            assert!(!rises(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn the_last_mention_of_each_stays_in_its_place(
            named in prop::collection::vec((0..4_u8, prop::collection::vec(0..6_i32, 0..6)), 0..4)
        ) {
            let mut nth = 0..;
            let mut number = |index: &i32| (*index, nth.next().unwrap());
            let mut topics: Vec<_> = named
                .iter()
                .map(|(topic, indexes)| Topic {
                    name: StrBytes::from_string((topic % 2).to_string()),
                    id: TopicId::from_bytes([topic / 2; 16]),
                    partitions: indexes.iter().map(&mut number).collect(),
                })
                .collect();
            let all = |topics: &[Topic<(i32, usize)>]| -> Vec<((StrBytes, TopicId), i32, usize)> {
                let mentions = |topic: &Topic<(i32, usize)>| {
                    let which = (topic.name.clone(), topic.id);
                    topic.partitions.clone().into_iter().map(move |(index, nth)| (which.clone(), index, nth))
                };
                topics.iter().flat_map(mentions).collect()
            };
            let before = all(&topics);
            let is_last = |(which, index, nth): &((StrBytes, TopicId), i32, usize)| {
                !before.iter().any(|other| other.0 == *which && other.1 == *index && other.2 > *nth)
            };
            let wanted: Vec<_> = before.iter().filter(|mention| is_last(mention)).cloned().collect();
            keep_last_mentions(&mut topics);
            prop_assert_eq!(all(&topics), wanted);
        }
    }
}
