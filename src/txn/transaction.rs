//! One transactional id's state, and how it moves from one state to the next. What moves it, and whether it may, the
//! commands' own files say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::types::Timestamp;
use crate::types::offset::NO_PRODUCER_ID;

/// The epoch of a producer that has none.
pub(super) const NO_EPOCH: i16 = -1;
/// The highest epoch that a producer is ever told. One more is left, so that its holder can always be fenced.
pub(super) const LAST_EPOCH: i16 = i16::MAX - 1;
/// The time of a transaction that has not begun.
pub(super) const NOT_STARTED: Timestamp = -1;
/// `transaction.version` of transactions whose end raises the epoch (KIP-890); records and markers tell it.
pub(super) const VERSION_2: i16 = 2;

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Producer {
    /// The id; -1 for none.
    pub id: i64,
    /// The epoch; -1 for none.
    pub epoch: i16,
}

impl Producer {
    /// No producer, as answers without one have it.
    pub const NONE: Self = Self { id: NO_PRODUCER_ID, epoch: NO_EPOCH };

    /// A fresh id's first epoch.
    pub fn fresh(id: i64) -> Self {
        Self { id, epoch: 0 }
    }
}

/// Partitions by topic name.
pub type Partitions = BTreeMap<Arc<str>, BTreeSet<i32>>;

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// What it wrote is seen.
    Commit,
    /// What it wrote is never seen.
    Abort,
}

/// Where a transactional id stands; the numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// A producer is there, and no transaction.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// Its outcome is decided, markers are being written.
    Prepare(Outcome),
    /// Its markers are written.
    Complete(Outcome),
}

/// Every status with its number in the log and its name in answers.
const STATUSES: [(Status, i8, &str); 6] = [
    (Status::Empty, 0, "Empty"),
    (Status::Ongoing, 1, "Ongoing"),
    (Status::Prepare(Outcome::Commit), 2, "PrepareCommit"),
    (Status::Prepare(Outcome::Abort), 3, "PrepareAbort"),
    (Status::Complete(Outcome::Commit), 4, "CompleteCommit"),
    (Status::Complete(Outcome::Abort), 5, "CompleteAbort"),
];

/// The number of Dead, which Kafka never writes but reads: it stands for a transactional id that is gone.
pub(super) const DEAD: i8 = 6;

impl Status {
    /// The status of this number.
    pub(super) fn from_number(number: i8) -> Option<Self> {
        STATUSES.iter().find(|(_, known, _)| *known == number).map(|(status, ..)| *status)
    }

    /// Its number in the log.
    pub(super) fn number(self) -> i8 {
        STATUSES.iter().find(|(status, ..)| *status == self).map_or(DEAD, |(_, number, _)| *number)
    }

    /// The status of this name, as ListTransactions filters by it.
    pub fn from_name(name: &str) -> Option<Self> {
        STATUSES.iter().find(|(.., known)| *known == name).map(|(status, ..)| *status)
    }

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        STATUSES.iter().find(|(status, ..)| *status == self).map_or("Dead", |(.., name)| *name)
    }

    /// The outcome that markers are being written for.
    pub fn prepared(self) -> Option<Outcome> {
        match self {
            Self::Prepare(outcome) => Some(outcome),
            _ => None,
        }
    }
}

/// What the log says of one transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its producer; in Prepare with the epoch that the markers carry.
    pub producer: Producer,
    /// The producer id before the last change of state; another one than the present after a rotation.
    pub previous_id: i64,
    /// The id that takes the place of an exhausted one when the transaction is complete; -1 for none.
    pub next_id: i64,
    /// The epoch whose holder may come back for the present one (KIP-360); -1 for none.
    pub last_epoch: i16,
    /// How long a transaction of it may stay open.
    pub timeout_ms: i32,
    /// Where it stands.
    pub status: Status,
    /// The partitions of the transaction; none but in Ongoing and Prepare.
    pub partitions: Partitions,
    /// When it last changed, by the wall clock.
    pub updated_at: Timestamp,
    /// When the transaction began, by the wall clock; -1 without one.
    pub started_at: Timestamp,
    /// `transaction.version` of the client that brought it here.
    pub version: i16,
}

impl Transaction {
    /// A transactional id's first producer.
    pub(super) fn first(id: i64, timeout_ms: i32, wall: Timestamp) -> Self {
        Self {
            producer: Producer::fresh(id),
            previous_id: id,
            next_id: NO_PRODUCER_ID,
            last_epoch: NO_EPOCH,
            timeout_ms,
            status: Status::Empty,
            partitions: Partitions::new(),
            updated_at: wall,
            started_at: NOT_STARTED,
            version: 0,
        }
    }

    /// Whether the epoch can rise no further for a producer's use.
    pub(super) fn is_exhausted(&self) -> bool {
        self.producer.epoch >= LAST_EPOCH
    }

    /// Whether markers carry the raised epoch and replace it (KIP-890 part 2).
    pub(super) fn is_version_2(&self) -> bool {
        self.version >= VERSION_2
    }

    /// InitProducerId has given this producer; `last_epoch` may come back for it.
    pub(super) fn initialised(
        &self,
        producer: Producer,
        last_epoch: i16,
        timeout_ms: i32,
        wall: Timestamp,
    ) -> Self {
        Self {
            producer,
            previous_id: self.producer.id,
            last_epoch,
            timeout_ms,
            status: Status::Empty,
            partitions: Partitions::new(),
            updated_at: wall,
            started_at: NOT_STARTED,
            ..self.clone()
        }
    }

    /// The transaction with more partitions; it begins if it was not open.
    pub(super) fn with(&self, added: &[(Arc<str>, i32)], version: i16, wall: Timestamp) -> Self {
        let mut partitions = self.partitions.clone();
        for (topic, partition) in added {
            match partitions.get_mut(topic) {
                Some(known) => {
                    known.insert(*partition);
                }
                None => {
                    partitions.insert(Arc::clone(topic), BTreeSet::from([*partition]));
                }
            }
        }
        let started_at = if self.status == Status::Ongoing { self.started_at } else { wall };
        Self {
            previous_id: self.producer.id,
            status: Status::Ongoing,
            partitions,
            updated_at: wall,
            started_at,
            version,
            ..self.clone()
        }
    }

    /// Its partitions, one by one.
    pub fn places(&self) -> impl Iterator<Item = (&str, i32)> {
        let places = self.partitions.iter();
        places.flat_map(|(topic, partitions)| partitions.iter().map(move |at| (&**topic, *at)))
    }

    /// Whether all of these are part of the transaction.
    pub(super) fn has_all(&self, partitions: &[(Arc<str>, i32)]) -> bool {
        partitions.iter().all(|(topic, partition)| self.has(topic, *partition))
    }

    /// Whether this partition is part of the transaction.
    pub(super) fn has(&self, topic: &str, partition: i32) -> bool {
        self.partitions.get(topic).is_some_and(|known| known.contains(&partition))
    }

    /// The outcome is decided. V2 raises the epoch, and `next_id` follows an exhausted one; V1 changes neither.
    pub(super) fn prepared(&self, outcome: Outcome, version: i16, next_id: i64, wall: Timestamp) -> Self {
        let raised = version >= VERSION_2;
        let epoch = if raised { self.producer.epoch.saturating_add(1) } else { self.producer.epoch };
        let last_epoch = if raised { self.producer.epoch } else { self.last_epoch };
        // An abort of nothing (V2) begins and ends now.
        let started_at = if self.status == Status::Ongoing { self.started_at } else { wall };
        Self {
            producer: Producer { epoch, ..self.producer },
            previous_id: self.producer.id,
            next_id,
            last_epoch,
            status: Status::Prepare(outcome),
            updated_at: wall,
            started_at,
            version,
            ..self.clone()
        }
    }

    /// All markers are written. Meant for Prepare; another state stays what it is.
    pub(super) fn completed(&self, wall: Timestamp) -> Self {
        let Status::Prepare(outcome) = self.status else { return self.clone() };
        Self {
            producer: self.completed_producer(),
            previous_id: self.producer.id,
            next_id: NO_PRODUCER_ID,
            status: Status::Complete(outcome),
            partitions: Partitions::new(),
            updated_at: wall,
            ..self.clone()
        }
    }

    /// The producer as it goes on when this end is complete.
    pub(super) fn completed_producer(&self) -> Producer {
        if self.is_version_2() && self.next_id != NO_PRODUCER_ID {
            Producer::fresh(self.next_id)
        } else {
            self.producer
        }
    }
}
