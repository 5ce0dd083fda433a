//! Removing the files of deleted topics, behind the answer to the client.
//!
//! The removal record is durable and the partitions are closed when a topic gets here. Its directories are renamed to
//! `…-delete`, unlinked, and the catalog is told, which then forgets the removal. A crash anywhere repeats it. A
//! directory is touched only if its `partition.metadata` names the deleted topic, and in the turn at its path: another
//! topic of the same name may have made its own meanwhile, or be about to.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cleaner::Cleaner;
use super::published::Published;
use crate::catalog::{CatalogMachine, Command, RemovedTopic};
use crate::coord::task::ShardHandle;
use crate::partition::set_deleted_aside;
use crate::partition::table::PartitionTable;
use crate::storage::layout::{deleted_dir, partition_dir, read_partition_metadata};
use crate::storage::manifest::Manifest;
use crate::types::TopicPartition;

/// How long until what could not be removed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Removes the files of deleted topics until the broker stops. What there is to do stands in the catalog, so that
/// nothing is lost however many topics are deleted at once.
pub(super) async fn run(
    published: Arc<Published>,
    partitions: Arc<PartitionTable>,
    manifest: Arc<Manifest>,
    cleaner: Arc<Cleaner>,
    catalog: ShardHandle<CatalogMachine>,
) {
    // Those the catalog was told of. It forgets them, but publishes no image for it.
    let mut told = HashSet::new();
    loop {
        let image = Arc::clone(&published.image());
        told.retain(|id| image.removed(*id).is_some());
        let mut is_done = true;
        for topic in image.removals().filter(|topic| !told.contains(&topic.id)).cloned().collect::<Vec<_>>() {
            let (id, name) = (topic.id, Arc::clone(&topic.name));
            let (table, manifest, cleaner) =
                (Arc::clone(&partitions), Arc::clone(&manifest), Arc::clone(&cleaner));
            let removing = tokio::task::spawn_blocking(move || {
                let forgotten = cleaner.forget(topic.id);
                remove(&table, &manifest, &topic)?;
                // On a full disk it is the removal that makes room for the word on it.
                forgotten.or_else(|_| cleaner.forget(topic.id))
            });
            match removing.await {
                Ok(Ok(())) if catalog.post_internal(Command::FilesRemoved(id)).is_ok() => {
                    told.insert(id);
                }
                // Its mailbox is full, or it has stopped.
                Ok(Ok(())) => is_done = false,
                Ok(Err(error)) => {
                    is_done = false;
                    tracing::error!(topic = %name, %error, "cannot remove the files of a deleted topic; it is tried again");
                }
                Err(_stopping) => return,
            }
        }
        drop(image);
        if is_done {
            published.removal_wanted().await;
        } else {
            // Whatever comes first.
            let _ = tokio::time::timeout(RETRY, published.removal_wanted()).await;
        }
    }
}

fn remove(table: &PartitionTable, manifest: &Manifest, topic: &RemovedTopic) -> io::Result<()> {
    let root = &table.environment().root;
    let mut is_changed = false;
    for partition in 0..topic.partitions {
        let id = TopicPartition { topic: topic.id, partition };
        let set_aside = table.in_turn(&topic.name, partition, || {
            table.unless_stopping(|| {
                table.delete(id);
                manifest.remove(id);
                set_aside(root, topic, partition)
            })
        });
        is_changed |= set_aside.unwrap_or_else(|| Err(io::Error::other("the broker stops")))?;
        // Nobody makes a file under this name, so it needs no turn.
        let aside = root.join(deleted_dir(&topic.name, partition, topic.id));
        match std::fs::remove_dir_all(&aside) {
            Ok(()) => is_changed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if is_changed {
        // A power cut must not bring back what the catalog has forgotten: it would be a stray for ever.
        std::fs::File::open(root)?.sync_all()?;
    }
    Ok(())
}

/// Renames the topic's directory, if there is one and it is this topic's; whether it did. Unreadable metadata is left for
/// the operator: `get_or_open` sets such a directory aside as a stray.
fn set_aside(root: &Path, topic: &RemovedTopic, partition: i32) -> io::Result<bool> {
    let dir = root.join(partition_dir(&topic.name, partition));
    match read_partition_metadata(&dir) {
        Ok(Some(id)) if id == topic.id => set_deleted_aside(root, &topic.name, partition, id).map(|()| true),
        _ => Ok(false),
    }
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
