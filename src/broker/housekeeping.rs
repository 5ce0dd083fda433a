//! What must be done from time to time: retention when it falls due, expiry of producers, unlinking of files that left
//! their logs, a look at the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Broker;
use super::txn_shards::shown;
use crate::config::units::show_span;
use crate::partition::Partition;
use crate::partition::schedule::Schedule;
use crate::partition::transactions::HeldBack;
use crate::storage::log::SegmentInfo;
use crate::storage::manifest::PartitionRow;
use crate::storage::room::Room;

/// Removed segment files wait for their readers this many at most; more are unlinked at once.
const UNLINK_MAX_FILES: usize = 100_000;
/// How often the data directory is looked at, and due files are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked for transactions that are to be told of.
const HELD_BACK_LOOK: Duration = Duration::from_secs(10);
/// A transaction that is open for this long is told of.
const HELD_BACK_TOLD: Duration = Duration::from_secs(60);
/// How long its coordinator has to tell of it first: after a machine's sleep both find at once that the time is over.
const COORDINATORS_FIRST: Duration = Duration::from_secs(5);
/// The least time between two rounds.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// The time between two looks at a tight disk while retention makes room on it.
const FREEING_WAIT: Duration = Duration::from_millis(50);
/// The least time between two looks at a disk that gets tight.
const PRESSED_PAUSE: Duration = Duration::from_millis(10);

/// Files that left their logs, and when they may be unlinked (on the steady clock).
#[derive(Debug, Default)]
pub(super) struct Unlinks(Vec<(Duration, PathBuf)>);

/// Open transactions that hold partitions back, by producer id.
type HeldBacks = BTreeMap<i64, Vec<(Arc<Partition>, HeldBack)>>;

/// Runs until the broker is gone.
pub(super) async fn run(broker: Weak<Broker>) {
    let (mut ticked_at, mut told_at, mut expired_at) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let Some(strong) = broker.upgrade() else { return };
    let schedule = Arc::clone(&strong.partitions.environment().schedule);
    let health = Arc::clone(strong.data_dir.health());
    let first_look = tokio::task::spawn_blocking(move || strong.keep_disk(strong.clock.monotonic()));
    let Ok(mut disk) = first_look.await else { return };
    loop {
        let Some(wait) = broker.upgrade().map(|broker| broker.until_next(&schedule)) else { return };
        let wait = if disk.is_being_freed { wait.min(FREEING_WAIT) } else { wait };
        let is_pressed = tokio::select! {
            () = tokio::time::sleep(wait) => disk.is_being_freed,
            // Not at once: what falls due together is looked at together.
            () = sooner(&schedule) => false,
            // Who is refused already waits for the next tick as well.
            () = pressed(health.room()), if !disk.is_read_only => true,
        };
        let Some(broker) = broker.upgrade() else { return };
        let now = broker.clock.monotonic();
        let due_tick = now >= ticked_at + TICK;
        if due_tick {
            ticked_at = now;
            if broker.is_lost() {
                return;
            }
            broker.relieve_descriptors();
            if now >= told_at + HELD_BACK_LOOK {
                told_at = now;
                broker.tell_of_held_back();
            }
        }
        let due_expiry = now >= expired_at + broker.config.producers.id_expiration_check_interval;
        if due_expiry {
            expired_at = now;
        }
        let round = tokio::task::spawn_blocking(move || {
            broker.keeper.lock().round(&broker);
            if due_expiry {
                broker.expire_producers();
            }
            broker.unlinks.lock().unlink_due(now, broker.data_dir.health().room());
            (due_tick || is_pressed).then(|| broker.keep_disk(now))
        });
        let Ok(looked) = round.await else { return };
        disk = looked.unwrap_or(disk);
    }
}

/// Returns when a log is to be looked at earlier than was known, at most fifty times a second.
async fn sooner(schedule: &Schedule) {
    schedule.sooner().await;
    tokio::time::sleep(WAIT_MIN).await;
}

/// Returns when the disk gets tight, at most a hundred times a second.
async fn pressed(room: &Room) {
    tokio::time::sleep(PRESSED_PAUSE).await;
    room.wanted().await;
}

impl Broker {
    /// Looks whether the data directory is still in its place. If not, it is out of service from here on, and whoever
    /// runs the broker is told to stop it.
    fn is_lost(&self) -> bool {
        let health = self.data_dir.health();
        if let Err(why) = self.data_dir.check_place() {
            health.lose(&why);
        }
        if health.is_lost() {
            self.lost.notify_one();
        }
        health.is_lost()
    }

    /// How long nothing is to be done.
    fn until_next(&self, schedule: &Schedule) -> Duration {
        let next = schedule.next().map(|next| next.saturating_sub(self.clock.now_ms()));
        let next = next.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        next.map_or(TICK, |next| next.clamp(WAIT_MIN, TICK))
    }

    /// Has everything synced when more descriptors stand open than should, because they hold unsynced bytes.
    fn relieve_descriptors(&self) {
        if self.partitions.environment().files.is_over() {
            for partition in self.partitions.all() {
                partition.request_sync();
            }
        }
    }

    /// Says once of each transaction that it keeps those waiting who read what is committed, where no coordinator does.
    fn tell_of_held_back(self: &Arc<Self>) {
        let mut held: HeldBacks = BTreeMap::new();
        for partition in self.partitions.all() {
            if let Some(one) = partition.held_back(HELD_BACK_TOLD) {
                held.entry(one.producer_id).or_default().push((partition, one));
            }
        }
        if !held.is_empty() {
            let broker = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(COORDINATORS_FIRST).await;
                if let Some(broker) = broker.upgrade() {
                    broker.tell_of_unknown(held);
                }
            });
        }
    }

    fn tell_of_unknown(&self, held: HeldBacks) {
        for (producer_id, mut places) in held {
            places.retain(|(partition, one)| partition.last_stable_offset() <= one.first_offset);
            let Some((partition, first)) = places.first() else { continue };
            if !self.transactions.is_to_be_told_of(producer_id) {
                continue;
            }
            let (topic, number) = (partition.topic(), partition.id().partition);
            let mut all = self.partitions.all();
            all.retain(|partition| partition.has_open_transaction(producer_id));
            let mut all: Vec<_> = all.iter().map(|one| (&**one.topic(), one.id().partition)).collect();
            all.sort_unstable();
            let each = if all.len() > 1 { ", and so in the others" } else { "" };
            let open_ms = i64::try_from(first.for_at_least.as_millis()).unwrap_or(i64::MAX);
            tracing::warn!(
                producer_id, %topic, partition = number, first_offset = first.first_offset,
                open_ms, open_for = show_span(open_ms), partitions = %shown(all.iter().copied()),
                "an open transaction that no coordinator tells of keeps read_committed consumers from all that follows. \
                 streamd txn list --hung shows all that no coordinator knows; one that nobody else would end is ended \
                 here{each} by: streamd txn abort --topic {topic} --partition {number} --producer {producer_id}"
            );
        }
    }

    fn expire_producers(&self) {
        let before = self.clock.now_ms().saturating_sub(self.config.producers.id_expiration_ms);
        for partition in self.partitions.all() {
            partition.expire_producers(before);
        }
    }
}

/// The segments that a row knows, as retention and compaction look at them.
pub(super) fn segments(row: &PartitionRow) -> Vec<SegmentInfo> {
    let ends = row.segments.iter().skip(1).map(|segment| segment.base).chain([row.checkpoint.offset]);
    row.segments
        .iter()
        .zip(ends)
        .map(|(segment, next)| SegmentInfo {
            base: segment.base,
            next,
            bytes: segment.bytes,
            max_timestamp: segment.max_timestamp,
            appended_at: segment.appended_at,
        })
        .collect()
}

impl Unlinks {
    /// Has these files unlinked when `due` has come.
    pub(super) fn add(&mut self, files: Vec<PathBuf>, due: Duration, room: &Room) {
        self.0.extend(files.into_iter().map(|file| (due, file)));
        if self.0.len() > UNLINK_MAX_FILES {
            let extra = self.0.len() - UNLINK_MAX_FILES;
            self.0.drain(..extra).for_each(|(_, file)| unlink(&file, room));
        }
    }

    /// Unlinks everything now: room is needed, or the broker stops.
    pub(super) fn unlink_all(&mut self, room: &Room) {
        self.0.drain(..).for_each(|(_, file)| unlink(&file, room));
    }

    fn unlink_due(&mut self, now: Duration, room: &Room) {
        self.0.retain(|(due, file)| {
            if *due <= now {
                unlink(file, room);
            }
            *due > now
        });
    }
}

fn unlink(file: &Path, room: &Room) {
    if let Err(error) = room.unlink(file) {
        tracing::warn!(file = %file.display(), %error, "cannot unlink a removed segment file");
    }
}
