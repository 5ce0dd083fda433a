//! The open partitions of a data directory, by topic id. Partitions are opened when they are first touched.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Partition;
use super::open::{Environment, OpenFault, OpenPartition, Whose};
use crate::storage::layout;
use crate::storage::manifest::PartitionRow;
use crate::types::{ErrorCode, TopicId, TopicPartition};

/// All open partitions.
#[derive(Debug)]
pub struct PartitionTable {
    environment: Environment,
    open: RwLock<HashMap<TopicPartition, Arc<Partition>>>,
    /// One lock per partition that is being opened, so that nobody opens a log twice.
    opening: Mutex<HashMap<TopicPartition, Arc<Mutex<()>>>>,
}

impl PartitionTable {
    /// A table in which nothing is open.
    pub fn new(environment: Environment) -> Self {
        Self { environment, open: RwLock::default(), opening: Mutex::default() }
    }

    /// What the partitions share.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The partition, if it is open.
    pub fn get(&self, id: TopicPartition) -> Option<Arc<Partition>> {
        self.open.read().get(&id).cloned()
    }

    /// The partition, opened if it is not. Blocks while it recovers.
    ///
    /// # Errors
    /// [`OpenFault`].
    pub fn get_or_open(
        &self,
        wanted: &OpenPartition,
        whose: &dyn Fn(TopicId) -> Whose,
    ) -> Result<Arc<Partition>, OpenFault> {
        if let Some(partition) = self.get(wanted.id) {
            return Ok(partition);
        }
        let turn = Arc::clone(self.opening.lock().entry(wanted.id).or_default());
        let outcome = {
            let _turn = turn.lock();
            match self.get(wanted.id) {
                Some(partition) => Ok(partition),
                None => self.environment.open(wanted, whose).inspect(|partition| {
                    self.open.write().insert(wanted.id, Arc::clone(partition));
                }),
            }
        };
        let mut opening = self.opening.lock();
        // Whoever still waits for this turn holds it, too, and takes it away in the end: removed before that, a third
        // caller would get a turn of its own, and two would open the log at once if this attempt failed.
        if Arc::strong_count(&turn) == 2 {
            opening.remove(&wanted.id);
        }
        drop(opening);
        outcome
    }

    /// Takes a partition of a deleted topic out and closes it; what waits on it is told that it does not exist.
    pub fn delete(&self, id: TopicPartition) {
        self.environment.rows.lock().remove(&id);
        let taken = self.open.write().remove(&id);
        if let Some(partition) = taken {
            partition.delete();
        }
    }

    /// The manifest's rows of partitions that nobody has opened yet.
    pub fn unopened(&self) -> Vec<Arc<PartitionRow>> {
        self.environment.rows.lock().values().cloned().collect()
    }

    /// Whether a partition that is not open may have files: opening it may then take long.
    pub fn may_hold_files(&self, topic: TopicId, name: &str, partition: i32) -> bool {
        let id = TopicPartition { topic, partition };
        self.environment.rows.lock().contains_key(&id)
            || self.environment.found.contains(&layout::partition_dir(name, partition))
    }

    /// Closes every partition in order: appends are refused and logs are completed. What is behind its checkpoint is
    /// checkpointed when the checkpointer stops.
    ///
    /// # Errors
    /// The first log that could not be closed well; the others were.
    pub fn close_all(&self) -> Result<(), Arc<io::Error>> {
        let partitions = self.all();
        let mut first_error = None;
        for partition in &partitions {
            partition.close(ErrorCode::NotLeaderOrFollower);
            if let Err(error) = partition.finish() {
                first_error.get_or_insert_with(|| Arc::new(error));
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// All open partitions, in no order.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.open.read().values().cloned().collect()
    }
}
