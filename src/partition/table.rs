//! The open partitions of a data directory, by topic id. Partitions are opened when they are first touched.
//!
//! A directory is named after its topic, so that of a deleted topic and that of the next one of this name are at one
//! path. Who opens a partition, and who takes a deleted one's directory away, has the turn at that path. In it a
//! partition of an older topic that is still open gives the path up for good before the files of the new one are
//! touched; and a topic that was deleted meanwhile is not opened, or not shown to anybody.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Partition;
use super::open::{Environment, OpenFault, OpenPartition, Whose};
use crate::storage::flush::CheckpointTarget as _;
use crate::storage::layout;
use crate::storage::manifest::PartitionRow;
use crate::types::{TopicId, TopicPartition};

/// A partition's path in the data directory: the topic's name and the index.
type Place = (Arc<str>, i32);

/// All open partitions.
#[derive(Debug)]
pub struct PartitionTable {
    environment: Environment,
    open: RwLock<Open>,
    /// Whether the broker stops: held while something changes that a stop in order must find at rest.
    stopping: RwLock<bool>,
    /// One lock per path that somebody is at.
    turns: Mutex<HashMap<Place, Arc<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Open {
    partitions: HashMap<TopicPartition, Arc<Partition>>,
    /// Whose partition is open at a path.
    places: HashMap<Place, TopicPartition>,
}

impl Open {
    fn take(&mut self, id: TopicPartition) -> Option<Arc<Partition>> {
        let taken = self.partitions.remove(&id)?;
        let place = place(taken.topic(), id.partition);
        if self.places.get(&place) == Some(&id) {
            self.places.remove(&place);
        }
        Some(taken)
    }
}

fn place(topic: &Arc<str>, partition: i32) -> Place {
    (Arc::clone(topic), partition)
}

impl PartitionTable {
    /// A table in which nothing is open.
    pub fn new(environment: Environment) -> Self {
        Self { environment, open: RwLock::default(), stopping: RwLock::default(), turns: Mutex::default() }
    }

    /// What the partitions share.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The partition, if it is open.
    pub fn get(&self, id: TopicPartition) -> Option<Arc<Partition>> {
        self.open.read().partitions.get(&id).cloned()
    }

    /// The partition, opened if it is not. Blocks while it recovers. `whose` tells what the catalog knows at the moment
    /// of the call; a topic that is not [`Whose::Living`] has no partitions.
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
        self.in_turn(&wanted.topic, wanted.id.partition, || match self.get(wanted.id) {
            Some(partition) => Ok(partition),
            None => self.open(wanted, whose),
        })
    }

    /// Opens a partition whose path it is the caller's turn at.
    fn open(
        &self,
        wanted: &OpenPartition,
        whose: &dyn Fn(TopicId) -> Whose,
    ) -> Result<Arc<Partition>, OpenFault> {
        let place = place(&wanted.topic, wanted.id.partition);
        let older = self.open.read().places.get(&place).copied();
        if whose(wanted.id.topic) != Whose::Living {
            return Err(OpenFault::Unknown);
        }
        if let Some(older) = older {
            // This topic lives, so that one does not, though its deletion is not carried out yet.
            self.delete(older);
        }
        let opened = self.environment.open(wanted, whose);
        let mut open = self.open.write();
        // Whoever deletes the topic later finds the partition in the table.
        if whose(wanted.id.topic) != Whose::Living {
            drop(open);
            if let Ok(partition) = opened {
                partition.delete();
            }
            return Err(OpenFault::Unknown);
        }
        let partition = opened?;
        self.unless_stopping(|| {
            open.partitions.insert(wanted.id, Arc::clone(&partition));
            open.places.insert(place, wanted.id);
            partition
        })
        .ok_or(OpenFault::Stopping)
    }

    /// Does `work`, which changes the manifest or logs on nobody's behalf, unless the broker stops: then `None`. A stop
    /// waits for it, so it should not take long.
    pub fn unless_stopping<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let stopping = self.stopping.read();
        (!*stopping).then(work)
    }

    /// Does `work` while nobody else opens a partition at this path or takes its directory away. Blocks.
    pub fn in_turn<T>(&self, topic: &Arc<str>, partition: i32, work: impl FnOnce() -> T) -> T {
        let place = place(topic, partition);
        let turn = Arc::clone(self.turns.lock().entry(place.clone()).or_default());
        let outcome = {
            let _turn = turn.lock();
            work()
        };
        let mut turns = self.turns.lock();
        // Whoever still waits for this turn holds it, too, and takes it away in the end: removed before that, a third
        // caller would get a turn of its own, and two would be at the path at once.
        if Arc::strong_count(&turn) == 2 {
            turns.remove(&place);
        }
        outcome
    }

    /// Takes a partition of a deleted topic out and closes it; what waits on it is told that it does not exist.
    pub fn delete(&self, id: TopicPartition) {
        self.environment.rows.lock().remove(&id);
        self.environment.schedule.cancel(id);
        let taken = self.open.write().take(id);
        if let Some(partition) = taken {
            partition.delete();
        }
    }

    /// The manifest's rows of partitions that nobody has opened yet.
    pub fn unopened(&self) -> Vec<Arc<PartitionRow>> {
        self.environment.rows.lock().values().cloned().collect()
    }

    /// The manifest's row of a partition that nobody has opened yet.
    pub fn unopened_row(&self, id: TopicPartition) -> Option<Arc<PartitionRow>> {
        self.environment.rows.lock().get(&id).cloned()
    }

    /// Whether a partition that is not open may have files: opening it may then take long.
    pub fn may_hold_files(&self, topic: TopicId, name: &str, partition: i32) -> bool {
        let id = TopicPartition { topic, partition };
        self.environment.rows.lock().contains_key(&id)
            || self.environment.found.contains(&layout::partition_dir(name, partition))
    }

    /// Closes every partition in order, and lets none be opened any more: appends are refused, logs are completed, and what is appended is synced, which
    /// acknowledges it. What is behind its checkpoint is checkpointed when the checkpointer stops.
    ///
    /// # Errors
    /// The first log that could not be closed well, or the failed sync; the others were closed.
    pub fn close_all(&self) -> Result<(), Arc<io::Error>> {
        *self.stopping.write() = true;
        let partitions = self.all();
        for partition in &partitions {
            partition.stop();
        }
        let mut first_error = None;
        for partition in &partitions {
            if let Err(error) = partition.finish() {
                first_error.get_or_insert_with(|| Arc::new(error));
            }
        }
        let behind = |partition: &&Arc<Partition>| partition.reader().durable() < partition.reader().end();
        let behind: Vec<_> =
            partitions.iter().filter(behind).map(|partition| partition.sync_target()).collect();
        let synced = self.environment.committer.sync(&behind);
        first_error.map_or(synced, Err)
    }

    /// Open logs that go on behind their checkpoints.
    pub fn not_checkpointed(&self) -> usize {
        self.all().iter().filter(|partition| !partition.log().is_checkpointed()).count()
    }

    /// All open partitions, in no order.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.open.read().partitions.values().cloned().collect()
    }
}
