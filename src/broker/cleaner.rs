//! The cleaner: threads that look for the dirtiest compacted log, clean it, and look again (S92).
//!
//! What is to be done is planned by [`plan`], how it is done stands in [`crate::storage::compaction`]; here partitions
//! are looked at, opened when there is work, and the result is told in one line for each cleaning.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::group_shards::CONSUMER_OFFSETS;
use super::txn_shards::TRANSACTION_STATE;
use super::{Broker, housekeeping, random};
use crate::catalog::{CatalogImage, TopicImage};
use crate::config::{CleanerRules, TopicSettings, units};
use crate::partition::{OpenFault, Partition};
use crate::storage::compaction::plan::{Plan, Situation, Work, dirty_from, plan};
use crate::storage::compaction::{CleanFault, CleanPoints, Cleaned, Cleaning, MapLimits, Pace, clean};
use crate::storage::manifest::PartitionRow;
use crate::storage::retention::ClockGuard;
use crate::storage::room::{Pressure, Room};
use crate::telemetry::notices::Notices;
use crate::types::{Clock, Timestamp, TopicId, TopicPartition};

/// The cleaner's threads and what they share.
#[derive(Debug)]
pub(super) struct Cleaner {
    rules: CleanerRules,
    pace: Pace,
    points: CleanPoints,
    /// Logs that a thread is cleaning. Held while the next one is chosen.
    taken: Mutex<HashSet<TopicPartition>>,
    /// Logs with a damaged segment, by its number: left alone while it is there.
    damaged: Mutex<HashMap<TopicPartition, u32>>,
    /// Logs whose cleaning failed, and when it is tried again (on the steady clock): others have their turn first.
    resting: Mutex<HashMap<TopicPartition, Duration>>,
    /// Logs that had no room to be cleaned in at the last try.
    cramped: Mutex<HashSet<TopicPartition>>,
    guard: Mutex<ClockGuard>,
    /// Whether more may be won: nobody has looked since room was needed, or the last look found something.
    hopes: AtomicBool,
    /// Threads that are cleaning.
    at_work: AtomicUsize,
    said: Notices<(TopicPartition, String)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A log that is to be cleaned.
struct Chosen {
    topic: Arc<TopicImage>,
    partition: i32,
    work: Work,
}

impl Cleaner {
    /// A cleaner that knows up to where the topics of this image were cleaned.
    pub(super) fn new(rules: &CleanerRules, clock: &Clock, root: &Path, image: &CatalogImage) -> Self {
        // While files of a deleted topic are left, lines under its name may be its own.
        let removed: HashSet<&str> = image.removals().map(|topic| &*topic.name).collect();
        let known = |name: &str| image.topic(name).filter(|_| !removed.contains(name)).map(|topic| topic.id);
        Self {
            rules: rules.clone(),
            pace: Pace::new(clock.clone(), rules.io_max_bytes_per_second),
            points: CleanPoints::open(root, known),
            taken: Mutex::default(),
            damaged: Mutex::default(),
            resting: Mutex::default(),
            cramped: Mutex::default(),
            guard: Mutex::new(ClockGuard::new(clock)),
            hopes: AtomicBool::new(false),
            at_work: AtomicUsize::new(0),
            said: Notices::default(),
            threads: Mutex::default(),
        }
    }

    /// Starts the threads. They end when the broker is gone.
    pub(super) fn start(self: &Arc<Self>, broker: &Arc<Broker>) -> io::Result<()> {
        let mut threads = self.threads.lock();
        for nth in 0..self.rules.threads {
            let (cleaner, broker) = (Arc::clone(self), Arc::downgrade(broker));
            let named = std::thread::Builder::new().name(format!("cleaner-{nth}"));
            threads.push(named.spawn(move || cleaner.run(&broker))?);
        }
        Ok(())
    }

    /// Has logs compacted early, because room is needed; or no longer.
    pub(super) fn press(&self, room: &Room, pressure: Pressure) {
        if room.set_pressure(pressure) < pressure {
            self.hopes.store(true, Ordering::Release);
            self.pace.wake();
        }
    }

    /// Whether compaction is making room, or may yet.
    pub(super) fn makes_room(&self) -> bool {
        self.hopes.load(Ordering::Acquire) || self.at_work.load(Ordering::Acquire) > 0
    }

    /// Ends what is being cleaned. What is not complete is dropped, and the threads end.
    pub(super) fn end(&self) {
        self.pace.stop();
    }

    /// [`Cleaner::end`], and waits for the threads.
    pub(super) fn stop(&self) {
        self.end();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a cleaner thread ended badly");
            }
        }
    }

    /// Forgets a deleted topic; durable when this returns.
    pub(super) fn forget(&self, topic: TopicId) -> io::Result<()> {
        self.damaged.lock().retain(|id, _| id.topic != topic);
        self.resting.lock().retain(|id, _| id.topic != topic);
        self.cramped.lock().retain(|id| id.topic != topic);
        self.points.forget(topic)
    }

    fn run(&self, broker: &Weak<Broker>) {
        // Clients go first. On Linux this is the thread's own niceness; where it cannot be set, it is as others are.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        while !self.pace.is_stopping() {
            let seen = self.pace.news();
            let Some(broker) = broker.upgrade() else { return };
            let (chosen, next) = self.choose(&broker);
            let again = chosen.is_some_and(|chosen| self.clean(&broker, &chosen));
            let mut wait = self.wait(next, broker.clock.now_ms());
            if broker.data_dir.health().room().pressure() > Pressure::None {
                wait = wait.min(PRESSED_WAIT);
            }
            drop(broker);
            if !again && self.pace.sleep(wait, seen).is_err() {
                return;
            }
        }
    }

    /// How long to wait when there is nothing to do.
    fn wait(&self, next: Option<Timestamp>, now: Timestamp) -> Duration {
        let until = next.map(|next| u64::try_from(next.saturating_sub(now)).unwrap_or(0));
        let until = until.map(|ms| Duration::from_millis(ms.saturating_add(1)));
        until.map_or(self.rules.backoff, |until| until.max(WAIT_MIN).min(self.rules.backoff))
    }

    /// Whether the wall clock is to be believed: lags and delete horizons are told by it.
    fn believes_clock(&self, clock: &Clock) -> bool {
        let mut guard = self.guard.lock();
        if let Some(by_ms) = guard.look(clock) {
            tracing::warn!(by_ms, "the wall clock has jumped: nothing is compacted for ten minutes");
        }
        !guard.stands_still(clock)
    }

    /// Takes the dirtiest log of those that are dirty enough. Else says when there may be one.
    fn choose(&self, broker: &Broker) -> (Option<Chosen>, Option<Timestamp>) {
        if !self.believes_clock(&broker.clock) {
            self.hopes.store(false, Ordering::Release);
            return (None, None);
        }
        let mut taken = self.taken.lock();
        let began = broker.clock.monotonic();
        let pressure = broker.data_dir.health().room().pressure();
        // There is room for one at a time to work in.
        if pressure == Pressure::Short && !taken.is_empty() {
            return (None, None);
        }
        let mut hopes = false;
        let (mut best, mut next): (Option<Chosen>, Option<Timestamp>) = (None, None);
        for topic in broker.image().topics().filter(|topic| topic.settings.compact) {
            for partition in 0..topic.partitions {
                let id = TopicPartition { topic: topic.id, partition };
                if taken.contains(&id) || self.is_resting(id, began) {
                    continue;
                }
                let Some(plan) = self.look_at(broker, topic, id) else { continue };
                hopes |= plan.work.is_some() || plan.roll || plan.waits;
                // A segment that was just closed can be cleaned when a checkpoint has passed it.
                let rolled = plan.roll.then(|| broker.clock.now_ms().saturating_add(CHECKPOINT_MS));
                next = [next, plan.next, rolled].into_iter().flatten().min();
                if let Some(work) = plan.work
                    && best.as_ref().is_none_or(|best| work.ratio > best.work.ratio)
                {
                    best = Some(Chosen { topic: Arc::clone(topic), partition, work });
                }
            }
        }
        if let Some(best) = &best {
            taken.insert(TopicPartition { topic: best.topic.id, partition: best.partition });
            self.at_work.fetch_add(1, Ordering::AcqRel);
        }
        self.hopes.store(hopes, Ordering::Release);
        (best, next)
    }

    /// What is to be done with a log, whether it is open or not. Closes its active segment if that is part of it.
    fn look_at(&self, broker: &Broker, topic: &TopicImage, id: TopicPartition) -> Option<Plan> {
        let now = broker.clock.now_ms();
        let Some(partition) = broker.partitions.get(id) else {
            return self.look_at_row(broker, topic, id, now);
        };
        if partition.closed().is_some() || partition.has_failed() || self.is_damaged(&partition) {
            return None;
        }
        let plan = self.plan(&partition, now);
        if plan.roll
            && let Err(error) = partition.roll_segment()
            && self.said.is_due((id, error.to_string()), broker.clock.monotonic())
        {
            tracing::warn!(topic = %topic.name, partition = id.partition, %error, "cannot close a segment for compaction");
        }
        Some(plan)
    }

    fn plan(&self, partition: &Partition, now: Timestamp) -> Plan {
        let settings = partition.settings();
        let reader = partition.reader();
        let segments = reader.segments();
        let dirty_from = self.dirty_from(partition.id(), partition.topic(), reader.start(), || reader.end());
        let has_lag = settings.max_compaction_lag_ms < i64::MAX;
        let oldest_dirty = has_lag.then(|| reader.oldest_first_record(dirty_from)).flatten();
        let situation = Situation {
            segments: &segments,
            dirty_from,
            bound: partition.compaction_bound(),
            oldest_dirty,
            replayed: is_own(partition),
            pressure: partition.room().pressure(),
            now,
        };
        plan(&situation, &settings)
    }

    /// The same for a log that nobody has opened.
    fn look_at_row(
        &self,
        broker: &Broker,
        topic: &TopicImage,
        id: TopicPartition,
        now: Timestamp,
    ) -> Option<Plan> {
        let row = broker.partitions.unopened_row(id)?;
        let is_dirty = self.points.get(id).unwrap_or(row.log_start) < row.checkpoint.offset;
        if topic.settings.max_compaction_lag_ms == i64::MAX || !is_dirty {
            let pressure = broker.data_dir.health().room().pressure();
            let plan = self.plan_row(&row, topic, pressure, now);
            // Its last segment can be closed when the log is open.
            if !plan.roll || plan.work.is_some() {
                return Some(plan);
            }
        }
        // The lag counts from first records, and only the log tells of them.
        self.open(broker, topic, id).map(|partition| self.plan(&partition, now))
    }

    fn open(&self, broker: &Broker, topic: &TopicImage, id: TopicPartition) -> Option<Arc<Partition>> {
        match broker.partition_blocking(topic, id.partition) {
            Ok(partition) => Some(partition),
            Err(OpenFault::Unknown | OpenFault::Stopping) => None,
            Err(error) => {
                if self.said.is_due((id, error.to_string()), broker.clock.monotonic()) {
                    tracing::error!(topic = %topic.name, partition = id.partition, %error, "cannot open a log to compact it");
                }
                None
            }
        }
    }

    /// What a row tells of a log.
    fn plan_row(&self, row: &PartitionRow, topic: &TopicImage, pressure: Pressure, now: Timestamp) -> Plan {
        let segments = housekeeping::segments(row);
        let end = row.checkpoint.offset;
        let settings: &TopicSettings = &topic.settings;
        let situation = Situation {
            segments: &segments,
            dirty_from: self.dirty_from(row.id, &topic.name, row.log_start, || end),
            bound: row.checkpoint.segment,
            oldest_dirty: None,
            replayed: false,
            pressure,
            now,
        };
        plan(&situation, settings)
    }

    /// The first offset of a log that no cleaning has covered.
    fn dirty_from(&self, id: TopicPartition, topic: &str, start: i64, end: impl Fn() -> i64) -> i64 {
        let cleaned_to = self.points.get(id);
        // Asked for after the point, which may move on with it.
        let end = end();
        if let Some(at) = cleaned_to.filter(|at| *at > end) {
            tracing::warn!(%topic, partition = id.partition, cleaned_to = at, end, "a log ends before the offset up to which it was compacted: it is compacted from its start");
            if let Err(error) = self.points.set_back(id, start) {
                tracing::warn!(%error, "up to where logs were compacted is not written");
            }
        }
        dirty_from(cleaned_to, start, end)
    }

    fn is_damaged(&self, partition: &Partition) -> bool {
        let mut damaged = self.damaged.lock();
        match damaged.get(&partition.id()) {
            Some(serial) if partition.reader().has_segment(*serial) => true,
            Some(_) => damaged.remove(&partition.id()).is_none(),
            None => false,
        }
    }

    fn is_resting(&self, id: TopicPartition, now: Duration) -> bool {
        let mut resting = self.resting.lock();
        match resting.get(&id) {
            Some(until) if *until > now => true,
            Some(_) => resting.remove(&id).is_none(),
            None => false,
        }
    }

    /// Cleans a log that was taken, and gives it back. Whether it is worth looking for more at once.
    fn clean(&self, broker: &Broker, chosen: &Chosen) -> bool {
        let id = TopicPartition { topic: chosen.topic.id, partition: chosen.partition };
        let opened = self.open(broker, &chosen.topic, id);
        let cleaned = opened.is_some_and(|partition| self.clean_partition(broker, &partition));
        self.taken.lock().remove(&id);
        self.at_work.fetch_sub(1, Ordering::AcqRel);
        cleaned
    }

    fn clean_partition(&self, broker: &Broker, partition: &Arc<Partition>) -> bool {
        let now = broker.clock.now_ms();
        // The plan may have been made from a row, before the log was opened.
        let Some(work) = self.plan(partition, now).work else { return false };
        let began = broker.clock.monotonic();
        let settings = Arc::clone(&partition.settings());
        let aborted = match partition.reader().aborted(i64::MIN, i64::MAX, true) {
            Ok(aborted) => aborted,
            Err(error) => {
                let file = partition.log().dir().to_path_buf();
                let fault = CleanFault::Io { file, error: io::Error::other(error) };
                return self.tell_fault(partition, &fault, began);
            }
        };
        let mut cleaned = clean(&Cleaning {
            log: partition.log(),
            settings: &settings,
            work,
            producers: &partition.active_producers(),
            aborted: &aborted,
            manifest: &broker.manifest,
            is_own: is_own(partition),
            pace: &self.pace,
            map: MapLimits {
                bytes: self.rules.map_bytes,
                load: self.rules.map_load,
                secret: [random::bytes(), random::bytes()].map(u64::from_le_bytes),
            },
            read_bytes: self.rules.read_bytes,
            now,
        });
        let ended = broker.clock.monotonic();
        let delay = Duration::from_millis(u64::try_from(settings.file_delete_delay_ms).unwrap_or(0));
        let removed = std::mem::take(&mut cleaned.removed);
        broker.unlinks.lock().add(removed, ended + delay, partition.room());
        let took = ended.saturating_sub(began);
        match (&cleaned.clean_to, &cleaned.fault) {
            (Some(clean_to), None) => {
                tell(partition, &work, &cleaned, *clean_to, took);
                self.remember(partition, *clean_to);
                self.cramped.lock().remove(&partition.id());
                true
            }
            (_, Some(fault)) => self.tell_fault(partition, fault, ended),
            (None, None) => false,
        }
    }

    fn remember(&self, partition: &Partition, clean_to: i64) {
        if let Err(error) = self.points.set(partition.id(), partition.topic(), clean_to) {
            tracing::warn!(%error, "up to where logs were compacted is not written: a restart compacts them again");
        }
    }

    /// Says why a cleaning ended early. Whether to look for more at once.
    fn tell_fault(&self, partition: &Partition, fault: &CleanFault, now: Duration) -> bool {
        let (id, topic, number) = (partition.id(), partition.topic(), partition.id().partition);
        match fault {
            CleanFault::Damaged { file, serial, position, why } => {
                self.damaged.lock().insert(id, *serial);
                let file = file.display();
                tracing::error!(%topic, partition = number, %file, position, why, "a damaged segment: the partition is not compacted until it is repaired or the broker starts anew; nothing was dropped");
                true
            }
            CleanFault::NoRoom { bytes } => {
                self.resting.lock().insert(id, now + REST_FOR_ROOM);
                // Once may be bad luck: what others have just taken they may give back.
                let again = !self.cramped.lock().insert(id);
                if again && self.said.is_due((id, "no room".to_owned()), now) {
                    let needed = units::show_rounded(*bytes);
                    tracing::error!(%topic, partition = number, needed, "no room to compact in: what is compacted stands beside the old segment until it is whole. Free some space, or raise disk.limit if that is what is reached");
                }
                true
            }
            CleanFault::Io { .. } => {
                self.resting.lock().insert(id, now + REST);
                if self.said.is_due((id, fault.to_string()), now) {
                    tracing::error!(%topic, partition = number, error = %fault, retry_after = ?REST, "compaction failed; it is tried again");
                }
                true
            }
            CleanFault::Overtaken => {
                tracing::debug!(%topic, partition = number, "retention or a deletion was faster than compaction");
                false
            }
            CleanFault::Stopping => false,
        }
    }
}

/// Whether a coordinator writes this log, and replays it when it loads.
fn is_own(partition: &Partition) -> bool {
    matches!(&**partition.topic(), CONSUMER_OFFSETS | TRANSACTION_STATE)
}

/// One line for each cleaning.
fn tell(partition: &Partition, work: &Work, cleaned: &Cleaned, clean_to: i64, took: Duration) {
    tracing::info!(
        topic = %partition.topic(),
        partition = partition.id().partition,
        dirty_from = work.dirty_from,
        clean_to,
        forced = work.forced,
        segments_before = cleaned.segments.0,
        segments_after = cleaned.segments.1,
        bytes_before = cleaned.bytes.0,
        bytes_after = cleaned.bytes.1,
        records_before = cleaned.records.0,
        records_after = cleaned.records.1,
        keys = cleaned.keys,
        took_ms = took.as_millis(),
        "compacted"
    );
}

/// How far the threads of the cleaner and the scrub stand back for others: as far as it goes. With both cores of two busy, 5 lets a cleaning
/// more than double the p99 of those who produce, and is hardly faster.
pub(super) const NICENESS: i32 = 19;
/// How long a log rests whose cleaning failed.
const REST: Duration = Duration::from_secs(30);
/// The same when all that was wanting was room.
const REST_FOR_ROOM: Duration = Duration::from_secs(5);
/// How soon a checkpoint follows a closed segment, about.
const CHECKPOINT_MS: i64 = 500;
/// The time between two looks at all logs while room is needed.
const PRESSED_WAIT: Duration = Duration::from_secs(1);
/// The least time between two looks at all logs.
const WAIT_MIN: Duration = Duration::from_millis(100);
