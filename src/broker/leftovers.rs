//! After an unclean stop: directories that no topic of the catalog has. A crash leaves some, people and restores leave
//! others.
//!
//! One that was renamed for unlinking is unlinked: its topic is deleted, whether or not the catalog still knows it. One
//! of an import that was cut short is unlinked, too: it is a copy. One of an unknown topic, or whose metadata cannot be
//! read, is renamed `…-stray` and reported; it is never served and never unlinked. Those of living topics are the business of whoever opens them, those of removed ones of the removal.

use std::io;
use std::sync::Arc;

use super::Broker;
use crate::storage::dir::{FoundDir, holds_a_partition, remove_partition_dir};
use crate::storage::layout::{DirKind, IMPORTING, read_partition_metadata};
use crate::types::TopicId;

/// Looks through the data directory. Blocks.
pub(super) fn put_aside(broker: &Broker) {
    let found = match broker.data_dir.partition_dirs() {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "cannot look for directories that belong to no topic");
            return;
        }
    };
    for dir in found {
        let outcome = match dir.kind {
            DirKind::Deleted => remove_partition_dir(&dir.path),
            DirKind::Live => put_aside_if_stray(broker, &dir),
            DirKind::Stray | DirKind::Future => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(directory = %dir.path.display(), %error, "cannot put away what belongs to no topic");
        }
    }
}

fn put_aside_if_stray(broker: &Broker, dir: &FoundDir) -> io::Result<()> {
    // Whoever makes a topic of this name meanwhile opens it before or behind this.
    broker.partitions.in_turn(&Arc::from(dir.topic.as_str()), dir.partition, || {
        let image = broker.image();
        let id = read_partition_metadata(&dir.path).ok().flatten();
        let is_known = |id: TopicId| {
            id == TopicId::METADATA || image.topic_by_id(id).is_some() || image.removed(id).is_some()
        };
        if image.topic(&dir.topic).is_some() || id.is_some_and(is_known) {
            return Ok(());
        }
        if dir.path.join(IMPORTING).exists() {
            // A copy, whose original stands where it stood.
            tracing::info!(directory = %dir.path.display(), "what an import left that was cut short is removed");
            return remove_partition_dir(&dir.path);
        }
        if !holds_a_partition(&dir.path) {
            return Ok(());
        }
        let to = broker.data_dir.retire_stray(&dir.topic, dir.partition, id.unwrap_or(TopicId::ZERO))?;
        if let Some(to) = to {
            tracing::warn!(
                directory = %dir.path.display(),
                renamed_to = %to.display(),
                "a directory of an unknown topic was set aside: it is kept, and not served"
            );
        }
        Ok(())
    })
}
