//! When partitions are to be looked at: the queue between those who make something fall due (appends, rolls, changed
//! settings, deleted records) and housekeeping, which looks.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::types::deadlines::Deadlines;
use crate::types::{Timestamp, TopicPartition};

/// One time per partition, on the wall clock, since records' ages are. It may be too early, never too late: whoever
/// looks and finds nothing to do asks for the next time.
#[derive(Debug, Default)]
pub struct Schedule {
    deadlines: Mutex<Deadlines<TopicPartition>>,
    sooner: Notify,
}

impl Schedule {
    /// Has the partition looked at by this time.
    pub fn at_latest(&self, id: TopicPartition, at: Timestamp) {
        let mut deadlines = self.deadlines.lock();
        if deadlines.get(&id).is_some_and(|known| known <= at) {
            return;
        }
        let is_first = deadlines.next().is_none_or(|next| at < next);
        deadlines.set(id, at);
        drop(deadlines);
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// Forgets a partition: it is gone.
    pub fn cancel(&self, id: TopicPartition) {
        self.deadlines.lock().cancel(&id);
    }

    /// Takes out a partition whose time has come.
    pub fn pop_due(&self, now: Timestamp) -> Option<TopicPartition> {
        self.deadlines.lock().pop_due(now)
    }

    /// The earliest time.
    pub fn next(&self) -> Option<Timestamp> {
        self.deadlines.lock().next()
    }

    /// Returns when the earliest time has become an earlier one. For one waiter.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicId;

    #[test]
    fn a_time_only_ever_moves_forward_until_somebody_has_looked() {
        let schedule = Schedule::default();
        let id = |partition| TopicPartition { topic: TopicId::from_bytes([1; 16]), partition };
        schedule.at_latest(id(0), 50);
        schedule.at_latest(id(0), 90);
        schedule.at_latest(id(1), 70);
        assert_eq!(schedule.next(), Some(50));
        schedule.at_latest(id(1), 40);
        assert_eq!(schedule.pop_due(45), Some(id(1)));
        assert_eq!(schedule.pop_due(45), None);
        schedule.at_latest(id(1), 90);
        schedule.cancel(id(0));
        assert_eq!(schedule.pop_due(100), Some(id(1)));
        assert_eq!(schedule.next(), None);
    }
}
