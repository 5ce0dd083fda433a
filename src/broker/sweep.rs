//! After an unclean stop: opens in the background every partition that may need recovery, so that the first client to
//! touch it does not have to wait, and says in one line what was found.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Broker, CONSUMER_OFFSETS, leftovers};
use crate::catalog::TopicImage;
use crate::config::Fsync;
use crate::coord::task::LoadWhen;
use crate::partition::OpenFault;
use crate::types::{TopicId, TopicPartition};

/// Opens what may be dirty, and starts the coordinators that have something to load.
pub(super) async fn run(broker: Weak<Broker>, clean: bool) {
    let Some(strong) = broker.upgrade() else { return };
    forget_unknown_rows(&strong);
    load_coordinators(&strong).await;
    if clean {
        return;
    }
    if !blocking(&strong, leftovers::put_aside).await {
        return;
    }
    let began = strong.clock.monotonic();
    let work: Vec<(Arc<TopicImage>, i32)> = strong
        .image()
        .topics()
        .flat_map(|topic| (0..topic.partitions).map(|partition| (Arc::clone(topic), partition)))
        .filter(|(topic, partition)| strong.partitions.may_hold_files(topic.id, &topic.name, *partition))
        .collect();
    if work.is_empty() {
        strong.recovered.store(true, Ordering::Release);
        return;
    }
    if work.len() > FEW && !blocking(&strong, settle).await {
        return;
    }
    let threads = strong.config.storage.recovery_threads.max(1);
    drop(strong);
    let work = Arc::new(work);
    let next = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (broker, work) = (broker.clone(), Arc::clone(&work));
            let (next, failed) = (Arc::clone(&next), Arc::clone(&failed));
            tokio::task::spawn_blocking(move || {
                while let Some((topic, partition)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(broker) = broker.upgrade() else { return };
                    match open(&broker, topic, *partition) {
                        // If it is unknown its topic was deleted meanwhile, and nothing of it needs recovery.
                        Ok(_) | Err(OpenFault::Unknown) => {}
                        Err(error) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            tracing::error!(topic = %topic.name, partition, %error, "cannot recover a partition");
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        if worker.await.is_err() {
            return;
        }
    }
    let Some(broker) = broker.upgrade() else { return };
    if failed.load(Ordering::Relaxed) == 0 {
        broker.recovered.store(true, Ordering::Release);
    }
    let totals = broker.partitions.environment().recovered.totals();
    tracing::info!(
        partitions = work.len(),
        scanned_bytes = totals.scanned_bytes,
        batches = totals.batches,
        truncated_bytes = totals.truncated_bytes,
        failed = failed.load(Ordering::Relaxed),
        took_ms = (broker.clock.monotonic() - began).as_millis(),
        "recovered after an unclean stop"
    );
}

/// Does work that waits for the disk; `false` if the broker stops.
async fn blocking<T: Send + 'static>(broker: &Arc<Broker>, work: fn(&Broker) -> T) -> bool {
    let broker = Arc::clone(broker);
    tokio::task::spawn_blocking(move || work(&broker)).await.is_ok()
}

/// Has one sync stand for those of all partitions that are opened from here on. Nothing of an unopened partition has
/// been written since the start, so what is on disk now is all that recovery will find; pages that a failed write-back
/// left behind are not written by it, and are dropped before they are read (architecture 2.2).
fn settle(broker: &Broker) {
    let waits_for_disk = matches!(broker.config.fsync, Fsync::Always | Fsync::Batch);
    let tells = broker.data_dir.capabilities().syncfs_tells;
    if waits_for_disk && tells && broker.committer.sync_file_system() {
        broker.partitions.environment().settled.store(true, Ordering::Release);
    }
}

/// Opens a partition, and tries again while there is no descriptor for it: clients may take them all for a while.
fn open(broker: &Broker, topic: &TopicImage, partition: i32) -> Result<(), OpenFault> {
    let mut tries = 0;
    loop {
        match broker.partition_blocking(topic, partition) {
            Err(OpenFault::Storage(fault)) if fault.is_shortage() && tries < SHORTAGE_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(SHORTAGE_PAUSE);
            }
            opened => return opened.map(|_| ()),
        }
    }
}

/// Drops the manifest's rows of topics that the catalog does not have (a crash can leave them behind a deletion), but
/// not those of topics whose files are still being removed: that ends with their rows.
fn forget_unknown_rows(broker: &Broker) {
    let image = broker.image();
    for row in broker.partitions.unopened() {
        let topic = row.id.topic;
        if topic != TopicId::METADATA && image.topic_by_id(topic).is_none() && image.removed(topic).is_none()
        {
            broker.partitions.delete(row.id);
            broker.manifest.remove(row.id);
        }
    }
}

/// Transactions first: they hold readers back, and groups' offsets.
async fn load_coordinators(broker: &Arc<Broker>) {
    broker.load_transactions().await;
    let Some(topic) = broker.image().topic(CONSUMER_OFFSETS).cloned() else { return };
    for partition in 0..topic.partitions {
        let id = TopicPartition { topic: topic.id, partition };
        if broker.partitions.may_hold_files(id.topic, &topic.name, partition)
            && let Err(error) = broker.shard_over(&topic, partition, LoadWhen::AtStart).await
        {
            tracing::error!(partition, %error, "a group coordinator cannot start");
        }
    }
}

/// So many partitions are as soon synced one by one.
const FEW: usize = 8;
/// About ten seconds.
const SHORTAGE_TRIES_MAX: u32 = 100;
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
