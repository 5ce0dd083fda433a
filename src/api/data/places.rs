//! Where a connection's last reads ended, so that a reader without a session goes on without an index lookup.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::storage::log::Place;
use crate::types::TopicPartition;

/// Partitions that one connection remembers.
const PLACES_MAX: usize = 1024;

/// The places of one connection. A place is a hint: one that no longer fits is found anew.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<HashMap<TopicPartition, Place>>);

impl Places {
    /// The place of this offset, if the last read of the partition ended there.
    pub(crate) fn get(&self, id: TopicPartition, offset: i64) -> Option<Place> {
        self.0.lock().get(&id).copied().filter(|place| place.offset() == offset)
    }

    /// Remembers where a read ended.
    pub(crate) fn put(&self, id: TopicPartition, place: Place) {
        let mut places = self.0.lock();
        if places.len() < PLACES_MAX || places.contains_key(&id) {
            places.insert(id, place);
        }
    }
}
