//! Retention carried out: what is due is looked at when it is due, whether anybody writes or not.
//!
//! Every partition has its next time in the [`Schedule`]: from its oldest segment and its settings, set anew by the first
//! append to a segment, a roll, changed settings, deleted records, and every look. A look costs what its log's segment
//! list costs; nothing walks over all partitions but the check every `log.retention.check.interval.ms`, in case a time was
//! missed. Partitions that nobody has opened are judged by their rows, and opened when there is something to drop.
//!
//! Times are the wall clock's, as records' are. When it jumps, nothing goes by age for ten minutes (see [`ClockGuard`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Broker, housekeeping};
use crate::config::TopicSettings;
use crate::partition::schedule::Schedule;
use crate::partition::{OpenFault, Partition, Trimmed};
use crate::storage::manifest::PartitionRow;
use crate::storage::retention::{self, ClockGuard, Reason, RetentionPlan};
use crate::storage::room::Pressure;
use crate::telemetry::notices::Notices;
use crate::types::{Clock, Timestamp, TopicId, TopicPartition};

/// Partitions whose rows are made durable by one sync of the manifest.
const BATCH_PARTITIONS_MAX: usize = 256;
/// How soon a log is looked at again that waits for a sync or a checkpoint.
const SOON_MS: i64 = 100;
/// The same when the last look could do nothing at all.
const LATER_MS: i64 = 1_000;
/// The same after an error.
const AFTER_ERROR_MS: i64 = 5_000;

/// What retention remembers between its rounds.
#[derive(Debug)]
pub(super) struct Keeper {
    guard: ClockGuard,
    still: bool,
    checked_at: Duration,
    /// The disk is short: what may go goes now.
    pressed: bool,
    said: Notices<(TopicPartition, String)>,
}

/// Whether a log is to be looked at closely.
enum Judged {
    Open(Arc<Partition>),
    NotBefore(Option<Timestamp>),
}

/// What a look at a log came to.
#[derive(Default)]
struct Looked {
    trimmed: Option<Trimmed>,
    next: Option<Timestamp>,
    /// Whether something is due that has to wait for a sync or a checkpoint.
    waits: bool,
}

impl Keeper {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            guard: ClockGuard::new(clock),
            still: false,
            checked_at: clock.monotonic(),
            pressed: false,
            said: Notices::default(),
        }
    }

    /// Looks at every partition whose time has come. Blocks. Whether more goes as soon as a checkpoint allows.
    pub(super) fn round(&mut self, broker: &Broker) -> bool {
        self.look_at_the_clock(broker);
        let schedule = broker.partitions.environment().schedule.as_ref();
        let now = broker.clock.now_ms();
        let mut again = false;
        loop {
            let due: Vec<_> =
                std::iter::from_fn(|| schedule.pop_due(now)).take(BATCH_PARTITIONS_MAX).collect();
            if due.is_empty() {
                return again;
            }
            again |= self.look_at_all(broker, schedule, due, now);
        }
    }

    /// Looks at every partition there is, and lets nothing stay that the settings allow to go.
    fn round_of_all(&mut self, broker: &Broker) -> bool {
        let schedule = &broker.partitions.environment().schedule;
        let open = broker.partitions.all().into_iter().map(|partition| partition.id());
        for id in open.chain(broker.partitions.unopened().iter().map(|row| row.id)) {
            schedule.at_latest(id, Timestamp::MIN);
        }
        self.pressed = true;
        let again = self.round(broker);
        self.pressed = false;
        again
    }

    /// Sees whether the clock may be believed, and whether it is time to check every partition.
    fn look_at_the_clock(&mut self, broker: &Broker) {
        let clock = &broker.clock;
        let jumped = self.guard.look(clock);
        if let Some(by_ms) = jumped {
            tracing::warn!(
                by_ms,
                "the wall clock has jumped against the monotonic one: nothing is deleted because of its age for ten \
                 minutes"
            );
        }
        let was_still = std::mem::replace(&mut self.still, self.guard.stands_still(clock));
        if was_still && !self.still {
            tracing::info!("the wall clock is believed again: records are deleted by their age");
        }
        let steady = clock.monotonic();
        let check_due = steady >= self.checked_at + broker.config.storage.retention_check_interval;
        if jumped.is_some() || was_still != self.still || check_due {
            self.checked_at = steady;
            broker.schedule_all();
        }
    }

    fn look_at_all(
        &self,
        broker: &Broker,
        schedule: &Schedule,
        due: Vec<TopicPartition>,
        now: Timestamp,
    ) -> bool {
        let look_again = |id, next: Option<Timestamp>| {
            if let Some(next) = next {
                schedule.at_latest(id, next.max(now + SOON_MS));
            }
        };
        let failed = |id: TopicPartition, error: &dyn std::fmt::Display| {
            let image = broker.image();
            let topic = image
                .topic_by_id(id.topic)
                .map_or_else(|| id.topic.to_string(), |topic| topic.name.to_string());
            if self.said.is_due((id, error.to_string()), broker.clock.monotonic()) {
                tracing::error!(topic, partition = id.partition, %error, "retention failed; it is tried again");
            }
            look_again(id, Some(now + AFTER_ERROR_MS));
        };
        let mut open = Vec::new();
        for id in due {
            match self.open_if_due(broker, id, now) {
                Ok(Judged::Open(partition)) => open.push(partition),
                Ok(Judged::NotBefore(next)) => look_again(id, next),
                Err(error) => failed(id, &error),
            }
        }
        // A stop finds logs, rows and files as they belong together.
        let again = broker.partitions.unless_stopping(|| {
            let mut trimmed = Vec::new();
            let mut again = false;
            for partition in open {
                match self.look_at(broker, &partition, now) {
                    Ok(looked) => {
                        again |= looked.waits;
                        trimmed.extend(looked.trimmed);
                        look_again(partition.id(), looked.next);
                    }
                    // Deleted meanwhile: its files go as a whole.
                    Err(_) if partition.closed().is_some() => {}
                    Err(error) => failed(partition.id(), &error),
                }
            }
            // What went wrong was said; the files go at the next start.
            let _ = broker.finish(trimmed);
            again
        });
        again.unwrap_or(false)
    }

    /// The partition if it is open, or if its row says that it holds what is to go.
    fn open_if_due(&self, broker: &Broker, id: TopicPartition, now: Timestamp) -> Result<Judged, OpenFault> {
        if id.topic == TopicId::METADATA {
            // The catalog's shard keeps its log itself.
            return Ok(Judged::NotBefore(None));
        }
        if let Some(partition) = broker.partitions.get(id) {
            return Ok(Judged::Open(partition));
        }
        let image = broker.image();
        let (Some(row), Some(topic)) = (broker.partitions.unopened_row(id), image.topic_by_id(id.topic))
        else {
            return Ok(Judged::NotBefore(None));
        };
        let settings = self.in_force(&topic.settings);
        let segments = housekeeping::segments(&row);
        let plan = retention::plan(&segments, &settings, row.log_start, now, row.checkpoint.offset);
        if plan.drop_before.is_none() {
            let next = retention::outlook(&segments, &settings, row.log_start).due;
            return Ok(Judged::NotBefore(next.map(|next| next.max(now + LATER_MS))));
        }
        match broker.partition_blocking(topic, id.partition) {
            Ok(partition) => Ok(Judged::Open(partition)),
            Err(OpenFault::Unknown | OpenFault::Stopping) => Ok(Judged::NotBefore(None)),
            Err(error) => Err(error),
        }
    }

    fn look_at(&self, broker: &Broker, partition: &Arc<Partition>, now: Timestamp) -> io::Result<Looked> {
        if partition.closed().is_some() || partition.has_failed() {
            return Ok(Looked::default());
        }
        if !self.still {
            match partition.roll_if_idle(now) {
                // Those that have the descriptors now give them back.
                Err(error) if error.is_shortage() => {
                    let next = Some(now + AFTER_ERROR_MS);
                    return Ok(Looked { next, ..Looked::default() });
                }
                rolled => rolled.map_err(io::Error::other)?,
            };
        }
        let settings = self.in_force(&partition.settings());
        let bound = partition.high_watermark().min(partition.reader().durable());
        let plan =
            retention::plan(&partition.reader().segments(), &settings, partition.log_start(), now, bound);
        let trimmed = self.drop_old(broker, partition, plan)?;
        let mut next = partition.next_look(!self.still);
        let waits = next.is_some_and(|next| next <= now);
        if trimmed.is_none() && waits {
            // What is due is not durable yet, or not behind a checkpoint.
            partition.request_sync();
            next = Some(now + if plan.roll { SOON_MS } else { LATER_MS });
        }
        Ok(Looked { trimmed, next, waits })
    }

    fn drop_old(
        &self,
        broker: &Broker,
        partition: &Arc<Partition>,
        plan: RetentionPlan,
    ) -> io::Result<Option<Trimmed>> {
        let (Some(keep_from), Some(why)) = (plan.drop_before, plan.why) else { return Ok(None) };
        if plan.roll {
            // The new segment's name carries the next offset. The old ones go when a checkpoint has reached it.
            match partition.roll_segment() {
                Err(error) if error.is_shortage() => return Ok(None),
                rolled => rolled.map_err(io::Error::other)?,
            };
        }
        let trimmed = partition.trim(keep_from.max(partition.log_start()), &broker.manifest)?;
        if trimmed.is_some() && why != Reason::LogStart {
            tracing::info!(
                topic = %partition.topic(),
                partition = partition.id().partition,
                log_start = keep_from,
                reason = ?why,
                "old records removed"
            );
        }
        Ok(trimmed)
    }

    /// The settings as they count now: without an age limit while the clock is not believed, and without time for
    /// readers while the disk is short.
    fn in_force(&self, settings: &Arc<TopicSettings>) -> Arc<TopicSettings> {
        if !self.still && !self.pressed {
            return Arc::clone(settings);
        }
        let mut changed = TopicSettings::clone(settings);
        if self.still {
            changed.retention_ms = -1;
        }
        if self.pressed {
            changed.retention_grace_ms = 0;
        }
        Arc::new(changed)
    }
}

impl Broker {
    /// Carries retention out at once, because the disk is short. Blocks. Whether more goes as soon as a checkpoint allows.
    pub(super) fn retain(&self) -> bool {
        self.keeper.lock().round_of_all(self)
    }

    /// Has every partition looked at when it falls due, as things are now.
    pub(super) fn schedule_all(&self) {
        let schedule = &self.partitions.environment().schedule;
        for partition in self.partitions.all() {
            partition.schedule_look();
        }
        let image = self.image();
        for row in self.partitions.unopened() {
            if let Some(topic) = image.topic_by_id(row.id.topic) {
                schedule_row(schedule, &row, &topic.settings);
            }
        }
    }

    /// Moves the first readable offset of these partitions (S88): durable when this returns. Blocks.
    ///
    /// # Errors
    /// For each partition: the data directory has failed, or the broker stops.
    pub fn delete_records(&self, wanted: &[(Arc<Partition>, i64)]) -> Vec<io::Result<()>> {
        let deleted = self.partitions.unless_stopping(|| {
            let mut trimmed = Vec::new();
            let outcomes: Vec<io::Result<()>> = wanted
                .iter()
                .map(|(partition, offset)| {
                    trimmed.extend(partition.trim(*offset, &self.manifest)?);
                    Ok(())
                })
                .collect();
            match self.finish(trimmed) {
                Ok(()) => outcomes,
                Err(kind) => wanted.iter().map(|_| Err(kind.into())).collect(),
            }
        });
        for (partition, _) in wanted {
            // Segments that lie below go with the next checkpoint.
            self.partitions.environment().schedule.at_latest(partition.id(), Timestamp::MIN);
        }
        let stopping = || Err(io::Error::other("the broker stops"));
        deleted.unwrap_or_else(|| wanted.iter().map(|_| stopping()).collect())
    }

    /// Makes rows durable, and then lets go of the files that they no longer have.
    fn finish(&self, trimmed: Vec<Trimmed>) -> Result<(), io::ErrorKind> {
        if trimmed.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.manifest.sync() {
            tracing::error!(%error, "the manifest cannot be written: removed segments' files stay until the next start");
            return Err(error.kind());
        }
        let (now, room) = (self.clock.monotonic(), self.data_dir.health().room());
        for one in trimmed {
            let delay = u64::try_from(one.partition().settings().file_delete_delay_ms).unwrap_or(0);
            // Readers have their time, unless room is needed.
            let delay = if room.pressure() == Pressure::None { delay } else { 0 };
            let (topic, partition) = (Arc::clone(one.partition().topic()), one.partition().id().partition);
            let files = one.finish();
            if !files.is_empty() {
                tracing::info!(%topic, partition, files = files.len(), delay_ms = delay, "segment files removed from the log");
            }
            self.unlinks.lock().add(files, now + Duration::from_millis(delay), room);
        }
        Ok(())
    }
}

fn schedule_row(schedule: &Schedule, row: &PartitionRow, settings: &TopicSettings) {
    let outlook = retention::outlook(&housekeeping::segments(row), settings, row.log_start);
    if let Some(due) = outlook.due {
        schedule.at_latest(row.id, due);
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
