//! Partitions that one request names more than once: the last mention counts, and it alone is answered, for Kafka
//! gathers the partitions of a Produce or Fetch request in a map.
//!
//! It also keeps what a request costs in proportion to what it names: each mention of a partition in a long poll would
//! be one more that the partition has to tell.

use std::collections::{HashMap, HashSet};

use crate::types::TopicId;
use crate::wire::StrBytes;

/// A topic of a request: what it goes by, and its partitions.
pub(super) trait Mentions {
    /// A partition of it.
    type Partition;

    /// Its name and its id, of which one may be nothing.
    fn topic(&self) -> (&StrBytes, TopicId);

    /// What is said of its partitions.
    fn partitions(&self) -> &[Self::Partition];

    /// The same, to take some out.
    fn partitions_mut(&mut self) -> &mut Vec<Self::Partition>;

    /// Which one is meant.
    fn index(partition: &Self::Partition) -> i32;
}

/// Leaves the last mention of each partition.
pub(super) fn keep_last_mentions<T: Mentions>(topics: &mut [T]) {
    let mentions = topics.iter().map(|topic| topic.partitions().len()).sum();
    if mentions < 2 || is_plainly_once_each(topics) {
        return;
    }
    let mut seen = HashSet::with_capacity(mentions);
    for (number, topic) in numbers(topics).into_iter().zip(topics).rev() {
        let partitions = topic.partitions_mut();
        partitions.reverse();
        partitions.retain(|partition| seen.insert((number, T::index(partition))));
        partitions.reverse();
    }
}

/// A number for each topic, the same where they are the same, so that a long name is not hashed for each partition.
fn numbers<T: Mentions>(topics: &[T]) -> Vec<usize> {
    let mut numbers = HashMap::with_capacity(topics.len());
    let number = |topic| {
        let (name, id) = T::topic(topic);
        let next = numbers.len();
        *numbers.entry((&**name, id)).or_insert(next)
    };
    topics.iter().map(number).collect()
}

/// Whether it is one topic with partitions that rise, from wherever a client began: nearly all requests are like that.
fn is_plainly_once_each<T: Mentions>(topics: &[T]) -> bool {
    let [topic] = topics else { return false };
    let indexes = topic.partitions().iter().map(T::index);
    let next = indexes.clone().cycle().skip(1);
    // Round in a circle there is one step down, and none on the spot.
    let mut down = 0;
    indexes.zip(next).all(|(index, next)| {
        down += usize::from(next < index);
        next != index && down <= 1
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Topic(StrBytes, Vec<(i32, usize)>);

    impl Mentions for Topic {
        type Partition = (i32, usize);

        fn topic(&self) -> (&StrBytes, TopicId) {
            (&self.0, TopicId::ZERO)
        }

        fn partitions(&self) -> &[(i32, usize)] {
            &self.1
        }

        fn partitions_mut(&mut self) -> &mut Vec<(i32, usize)> {
            &mut self.1
        }

        fn index(partition: &(i32, usize)) -> i32 {
            partition.0
        }
    }

    proptest! {
        #[test]
        fn the_last_mention_of_each_stays_in_its_place(
            named in prop::collection::vec((0..3_u8, prop::collection::vec(0..6_i32, 0..6)), 0..4)
        ) {
            let mut nth = 0..;
            let mut number = |index: &i32| (*index, nth.next().unwrap());
            let mut topics: Vec<_> = named
                .iter()
                .map(|(name, indexes)| {
                    Topic(StrBytes::from_string(name.to_string()), indexes.iter().map(&mut number).collect())
                })
                .collect();
            let all = |topics: &[Topic]| -> Vec<(StrBytes, i32, usize)> {
                let mentions = |topic: &Topic| {
                    let name = topic.0.clone();
                    topic.1.clone().into_iter().map(move |(index, nth)| (name.clone(), index, nth))
                };
                topics.iter().flat_map(mentions).collect()
            };
            let before = all(&topics);
            let is_last = |(name, index, nth): &(StrBytes, i32, usize)| {
                !before.iter().any(|other| other.0 == *name && other.1 == *index && other.2 > *nth)
            };
            let wanted: Vec<_> = before.iter().filter(|mention| is_last(mention)).cloned().collect();
            keep_last_mentions(&mut topics);
            prop_assert_eq!(all(&topics), wanted);
        }
    }
}
