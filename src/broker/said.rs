//! Lines of the log that would come again and again: one and the same about one partition is said once a minute.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;

use crate::types::TopicPartition;

/// How long a line that was said need not be said again.
const PAUSE: Duration = Duration::from_secs(60);
/// Lines that are remembered. While there are so many, what is new is not said: one bad disk has all partitions fail.
const LINES_MAX: usize = 1024;

/// What was said, and when (on the steady clock).
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<HashMap<(TopicPartition, String), Duration>>);

impl Said {
    /// Whether this is to be said of this partition now.
    pub(super) fn may_say(&self, partition: TopicPartition, what: &dyn fmt::Display, now: Duration) -> bool {
        let mut said = self.0.lock();
        said.retain(|_, at| now < at.saturating_add(PAUSE));
        let key = (partition, what.to_string());
        if said.len() >= LINES_MAX || said.contains_key(&key) {
            return false;
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicId;

    fn partition(partition: i32) -> TopicPartition {
        TopicPartition { topic: TopicId::METADATA, partition }
    }

    #[test]
    fn the_same_of_the_same_partition_is_said_once_a_minute() {
        let said = Said::default();
        let at = Duration::from_secs;
        assert!(said.may_say(partition(0), &"no space", at(10)));
        assert!(!said.may_say(partition(0), &"no space", at(69)));
        assert!(said.may_say(partition(0), &"no permission", at(69)));
        assert!(said.may_say(partition(1), &"no space", at(69)));
        assert!(said.may_say(partition(0), &"no space", at(70)));
        assert!(!said.may_say(partition(0), &"no space", at(71)));
    }

    #[test]
    fn a_flood_is_bounded() {
        let said = Said::default();
        let count = |from, at| {
            let may = |n: &i32| said.may_say(partition(*n), &"no space", Duration::from_secs(at));
            (from..from + 5000).filter(may).count()
        };
        assert_eq!(count(0, 10), LINES_MAX);
        assert_eq!(count(5000, 20), 0);
        assert_eq!(count(5000, 70), LINES_MAX);
    }
}
