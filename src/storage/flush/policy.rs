//! What `fsync`, `flush.messages` and `flush.ms` ask for, as one rule for each append. Pure.

use std::time::Duration;

use super::When;
use crate::config::{Fsync, TopicSettings};

/// A partition's rule: the broker's `fsync` with the topic's own settings over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushPolicy {
    fsync: Fsync,
    /// A sync nobody waits for, after so many records.
    messages: i64,
    /// A sync nobody waits for, after so long.
    age: Option<Duration>,
}

impl FlushPolicy {
    /// The rule for a topic. `flush.messages=1` is how Kafka's users ask for a sync with every ack: it means `always`.
    pub fn new(fsync: Fsync, topic: &TopicSettings) -> Self {
        let fsync = if topic.flush_messages == 1 { Fsync::Always } else { fsync };
        let age = u64::try_from(topic.flush_ms).ok().filter(|_| topic.flush_ms != i64::MAX);
        Self { fsync, messages: topic.flush_messages.max(1), age: age.map(Duration::from_millis) }
    }

    /// How soon an append is to be durable. `waited_for` is acks=all, or whatever else is answered only when durable;
    /// `unsynced_records` are those since the last sync, with these.
    pub fn when(&self, waited_for: bool, unsynced_records: i64) -> When {
        match self.fsync {
            Fsync::Always => When::Now,
            Fsync::Batch if waited_for => When::Now,
            Fsync::Batch => When::Soon,
            _ if unsynced_records >= self.messages => When::Now,
            Fsync::Interval(interval) => When::Within(self.age.map_or(interval, |age| age.min(interval))),
            Fsync::Never => self.age.map_or(When::Someday, When::Within),
        }
    }

    /// Whether the high watermark is the durable end, so that nobody reads what a power cut can erase. Otherwise it is
    /// the end of the log.
    pub fn shows_only_durable(&self) -> bool {
        matches!(self.fsync, Fsync::Always | Fsync::Batch)
    }

    /// Whether an ack waits until its records are durable. `all` is acks=all; acks=1 and plain offset commits wait only
    /// in `always`.
    pub fn ack_waits(&self, all: bool) -> bool {
        match self.fsync {
            Fsync::Always => true,
            Fsync::Batch => all,
            Fsync::Interval(_) | Fsync::Never => false,
        }
    }

    /// Whether appends count towards a checkpoint. Under `never` only a roll or a stop makes one.
    pub fn checkpoints_by_size(&self) -> bool {
        self.fsync != Fsync::Never || self.age.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(fsync: Fsync, messages: i64, ms: i64) -> FlushPolicy {
        FlushPolicy::new(
            fsync,
            &TopicSettings { flush_messages: messages, flush_ms: ms, ..TopicSettings::default() },
        )
    }

    #[test]
    fn batch_syncs_at_once_for_who_waits_and_soon_for_who_does_not() {
        let batch = policy(Fsync::Batch, i64::MAX, i64::MAX);
        assert_eq!((batch.when(true, 1), batch.when(false, 1)), (When::Now, When::Soon));
        assert!(batch.shows_only_durable() && batch.ack_waits(true) && !batch.ack_waits(false));
    }

    #[test]
    fn always_waits_for_every_ack_and_flush_messages_1_means_it() {
        for always in [policy(Fsync::Always, i64::MAX, i64::MAX), policy(Fsync::Never, 1, i64::MAX)] {
            assert_eq!((always.when(true, 1), always.when(false, 1)), (When::Now, When::Now));
            assert!(always.shows_only_durable() && always.ack_waits(false));
        }
    }

    #[test]
    fn interval_and_never_show_all_and_wait_for_nothing() {
        let interval = policy(Fsync::Interval(SECOND), i64::MAX, i64::MAX);
        assert_eq!(interval.when(true, 1), When::Within(SECOND));
        let never = policy(Fsync::Never, i64::MAX, i64::MAX);
        assert_eq!(never.when(true, i64::MAX - 1), When::Someday);
        for policy in [interval, never] {
            assert!(!policy.shows_only_durable() && !policy.ack_waits(true));
        }
        assert!(interval.checkpoints_by_size() && !never.checkpoints_by_size());
    }

    #[test]
    fn flush_settings_bring_a_sync_forward_that_nobody_waits_for() {
        let by_count = policy(Fsync::Interval(SECOND), 100, i64::MAX);
        assert_eq!(by_count.when(false, 99), When::Within(SECOND));
        assert_eq!(by_count.when(false, 100), When::Now);
        assert!(!by_count.ack_waits(true));
        let by_age = policy(Fsync::Never, i64::MAX, 50);
        assert_eq!(by_age.when(false, 1), When::Within(Duration::from_millis(50)));
        let longer = policy(Fsync::Interval(SECOND), i64::MAX, 5000);
        assert_eq!(longer.when(false, 1), When::Within(SECOND), "the shorter of the two");
    }
}
