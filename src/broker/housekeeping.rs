//! What must be done from time to time: retention, expiry of producers, unlinking of files that left their logs, a look
//! at the disk.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Broker;
use crate::partition::{OpenFault, Partition};
use crate::storage::log::SegmentInfo;
use crate::storage::manifest::PartitionRow;
use crate::storage::retention;
use crate::storage::room::Room;

/// Removed segment files wait for their readers this many at most; more are unlinked at once.
const UNLINK_MAX_FILES: usize = 100_000;
/// How often due files are looked for.
const TICK: Duration = Duration::from_secs(1);
/// The least time between two looks at a disk that gets tight.
const PRESSED_PAUSE: Duration = Duration::from_millis(10);

/// Files that left their logs, and when they may be unlinked (on the steady clock).
#[derive(Debug, Default)]
pub(super) struct Unlinks(Vec<(Duration, PathBuf)>);

/// Runs until the broker is gone.
pub(super) async fn run(broker: Weak<Broker>) {
    let (mut retained_at, mut expired_at) = (Duration::ZERO, Duration::ZERO);
    let Some(strong) = broker.upgrade() else { return };
    let health = Arc::clone(strong.data_dir.health());
    let first_look = tokio::task::spawn_blocking(move || strong.keep_disk(strong.clock.monotonic()));
    let mut is_read_only = first_look.await.unwrap_or(false);
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            // Who is refused already waits for the next tick as well.
            () = pressed(health.room()), if !is_read_only => {}
        }
        let Some(broker) = broker.upgrade() else { return };
        if broker.is_lost() {
            return;
        }
        let now = broker.clock.monotonic();
        let due_retention = now >= retained_at + broker.config.storage.retention_check_interval;
        let due_expiry = now >= expired_at + broker.config.producers.id_expiration_check_interval;
        if due_retention {
            retained_at = now;
        }
        if due_expiry {
            expired_at = now;
        }
        broker.relieve_descriptors();
        let round = tokio::task::spawn_blocking(move || {
            let again = due_retention && broker.retain(now);
            if due_expiry {
                broker.expire_producers();
            }
            broker.unlinks.lock().unlink_due(now);
            (again, broker.keep_disk(now))
        });
        let Ok((again, short)) = round.await else { return };
        is_read_only = short;
        if again {
            retained_at = Duration::ZERO;
        }
    }
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

    /// Drops the segments of every open partition that are too old or too many (S90). `true` if some are to follow as
    /// soon as a checkpoint allows.
    pub(super) fn retain(&self, now: Duration) -> bool {
        let mut again = false;
        self.open_what_is_due();
        for partition in self.partitions.all() {
            if !partition.settings().delete || partition.closed().is_some() {
                continue;
            }
            let Some(retained) = self.partitions.unless_stopping(|| self.retain_partition(&partition, now))
            else {
                return false;
            };
            match retained {
                Ok(more) => again |= more,
                // Deleted meanwhile: its files go as a whole.
                Err(_) if partition.closed().is_some() => {}
                Err(error) => tracing::error!(
                    topic = %partition.topic(),
                    partition = partition.id().partition,
                    error,
                    "retention failed; it is tried again"
                ),
            }
        }
        again
    }

    /// Opens the partitions that nobody has touched since the start and that hold segments to be dropped.
    fn open_what_is_due(&self) {
        let image = self.image();
        for row in self.partitions.unopened() {
            let Some(topic) = image.topic_by_id(row.id.topic) else { continue };
            let plan = retention::plan(
                &segments(&row),
                &topic.settings,
                row.log_start,
                self.clock.now_ms(),
                row.checkpoint.offset,
            );
            if plan.drop_before.is_some()
                && let Err(OpenFault::Storage(error)) = self.partition_blocking(topic, row.id.partition)
            {
                tracing::error!(topic = %topic.name, partition = row.id.partition, %error, "retention cannot open a partition");
            }
        }
    }

    fn retain_partition(&self, partition: &Arc<Partition>, now: Duration) -> Result<bool, String> {
        let settings = partition.settings();
        let plan = retention::plan(
            &partition.reader().segments(),
            &settings,
            partition.log_start(),
            self.clock.now_ms(),
            partition.high_watermark().min(partition.reader().durable()),
        );
        let (Some(keep_from), Some(why)) = (plan.drop_before, plan.why) else { return Ok(false) };
        if plan.roll {
            // The new segment's name carries the next offset. The old ones go when a checkpoint has reached it.
            partition.roll_segment().map_err(|error| error.to_string())?;
        }
        let files =
            partition.drop_segments_below(keep_from, &self.manifest).map_err(|error| error.to_string())?;
        tracing::info!(
            topic = %partition.topic(),
            partition = partition.id().partition,
            log_start = keep_from,
            files = files.len(),
            reason = ?why,
            "old segments removed"
        );
        let delay = u64::try_from(settings.file_delete_delay_ms).unwrap_or(0);
        self.unlinks.lock().add(files, now + Duration::from_millis(delay));
        Ok(plan.roll)
    }

    /// Has everything synced when more descriptors stand open than should, because they hold unsynced bytes.
    fn relieve_descriptors(&self) {
        if self.partitions.environment().files.is_over() {
            for partition in self.partitions.all() {
                partition.request_sync();
            }
        }
    }

    fn expire_producers(&self) {
        let before = self.clock.now_ms().saturating_sub(self.config.producers.id_expiration_ms);
        for partition in self.partitions.all() {
            partition.expire_producers(before);
        }
    }
}

/// The segments that a row knows, as retention looks at them.
fn segments(row: &PartitionRow) -> Vec<SegmentInfo> {
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
    fn add(&mut self, files: Vec<PathBuf>, due: Duration) {
        self.0.extend(files.into_iter().map(|file| (due, file)));
        if self.0.len() > UNLINK_MAX_FILES {
            let extra = self.0.len() - UNLINK_MAX_FILES;
            self.0.drain(..extra).for_each(|(_, file)| unlink(&file));
        }
    }

    /// Unlinks everything now: the broker stops, and nobody reads any more.
    pub(super) fn unlink_all(&mut self) {
        self.0.drain(..).for_each(|(_, file)| unlink(&file));
    }

    fn unlink_due(&mut self, now: Duration) {
        self.0.retain(|(due, file)| {
            if *due <= now {
                unlink(file);
            }
            *due > now
        });
    }
}

fn unlink(file: &PathBuf) {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "cannot unlink a removed segment file");
        }
        _ => {}
    }
}
