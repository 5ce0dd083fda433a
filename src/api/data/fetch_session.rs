//! Incremental fetch sessions (KIP-227; S24 to S26): what a consumer reads, remembered between its requests, so that it
//! names only what changed and is told only what moved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::fetch::{Partition, Request};
use crate::storage::log::Place;
use crate::types::{Clock, ErrorCode, TopicId};
use crate::wire::StrBytes;
use crate::wire::fetch_body::FetchedPartition;

/// A session that was not used for this long makes room for a new one.
const EVICT_AFTER: Duration = Duration::from_secs(120);
/// The session id of requests outside of any session.
const NO_SESSION: i32 = 0;
/// The epoch of requests outside of any session.
const FINAL_EPOCH: i32 = -1;
/// The epoch of the first request of a session.
const INITIAL_EPOCH: i32 = 0;

/// All sessions of the broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots_max: usize,
    clock: Clock,
    sessions: Mutex<HashMap<i32, Slot>>,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<FetchSession>>,
    used_at: Duration,
    partitions: usize,
}

/// What one consumer reads.
#[derive(Debug)]
pub(crate) struct FetchSession {
    id: i32,
    /// The epoch that the next request must carry.
    next_epoch: i32,
    uses_topic_ids: bool,
    entries: HashMap<Key, Entry>,
    /// The order of answers; partitions that gave data move to its end.
    order: BTreeMap<u64, Key>,
    next_turn: u64,
}

/// A partition by what the request calls it: a name below v13, an id from there on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Empty when the topic goes by its id.
    pub(crate) name: StrBytes,
    /// Zero when the topic goes by its name.
    pub(crate) id: TopicId,
    /// The partition.
    pub(crate) index: i32,
}

#[derive(Debug)]
struct Entry {
    turn: u64,
    wanted: Partition,
    high_watermark: i64,
    log_start: i64,
    place: Option<Place>,
}

/// One partition to read.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) partition: Partition,
    pub(crate) hint: Option<Place>,
}

/// How a request reads and how its answer is to be filtered.
#[derive(Debug)]
pub(crate) enum FetchContext {
    /// Outside of any session.
    Sessionless,
    /// In a session; `full` answers tell everything, others only what changed.
    Session { session: Arc<Mutex<FetchSession>>, id: i32, full: bool },
}

impl FetchSessions {
    /// No sessions; at most `slots_max` of them (`max.incremental.fetch.session.cache.slots`).
    pub(crate) fn new(slots_max: usize, clock: Clock) -> Self {
        Self { slots_max, clock, sessions: Mutex::default() }
    }

    /// Where a request stands: its context and everything that it wants read, in order.
    ///
    /// # Errors
    /// The top-level error that answers it.
    pub(crate) fn enter(
        &self,
        request: &Request,
        by_id: bool,
    ) -> Result<(FetchContext, Vec<Wanted>), ErrorCode> {
        match request.session_epoch {
            INITIAL_EPOCH | FINAL_EPOCH => {
                if request.session_id != NO_SESSION {
                    self.sessions.lock().remove(&request.session_id);
                }
                let context = match request.session_epoch {
                    INITIAL_EPOCH => self.create(request, by_id),
                    _ => None,
                };
                Ok((context.unwrap_or(FetchContext::Sessionless), wanted(request).collect()))
            }
            epoch => self.go_on(request, epoch, by_id),
        }
    }

    fn create(&self, request: &Request, by_id: bool) -> Option<FetchContext> {
        let partitions = wanted(request).count();
        let now = self.clock.monotonic();
        let mut sessions = self.sessions.lock();
        if partitions == 0 || !make_room(&mut sessions, self.slots_max, now, partitions) {
            return None;
        }
        let id = fresh_id(&sessions);
        let mut session = FetchSession {
            id,
            next_epoch: 1,
            uses_topic_ids: by_id,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next_turn: 0,
        };
        wanted(request).for_each(|wanted| session.put(wanted.key, wanted.partition));
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id, Slot { session: Arc::clone(&session), used_at: now, partitions });
        Some(FetchContext::Session { session, id, full: true })
    }

    fn go_on(
        &self,
        request: &Request,
        epoch: i32,
        by_id: bool,
    ) -> Result<(FetchContext, Vec<Wanted>), ErrorCode> {
        let mut sessions = self.sessions.lock();
        let slot = sessions.get_mut(&request.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let shared = Arc::clone(&slot.session);
        let mut session = shared.lock();
        if session.uses_topic_ids != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.change(request);
        slot.used_at = self.clock.monotonic();
        slot.partitions = session.entries.len();
        if session.entries.is_empty() {
            sessions.remove(&request.session_id);
            return Ok((FetchContext::Sessionless, Vec::new()));
        }
        let wanted = session.wanted();
        let id = session.id;
        drop(session);
        Ok((FetchContext::Session { session: shared, id, full: false }, wanted))
    }
}

impl FetchSession {
    fn put(&mut self, key: Key, wanted: Partition) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted = wanted;
            return;
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.order.insert(turn, key.clone());
        self.entries.insert(key, Entry { turn, wanted, high_watermark: -1, log_start: -1, place: None });
    }

    fn change(&mut self, request: &Request) {
        for wanted in wanted(request) {
            self.put(wanted.key, wanted.partition);
        }
        for topic in &request.forgotten {
            for &index in &topic.partitions {
                let key = Key { name: own(&topic.name), id: topic.id, index };
                if let Some(entry) = self.entries.remove(&key) {
                    self.order.remove(&entry.turn);
                }
            }
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        self.order
            .values()
            .filter_map(|key| {
                let entry = self.entries.get(key)?;
                Some(Wanted { key: key.clone(), partition: entry.wanted, hint: entry.place })
            })
            .collect()
    }

    /// Takes note of what a partition's answer says, and tells whether an incremental answer must show it (S26).
    pub(crate) fn note<S>(&mut self, key: &Key, answer: &FetchedPartition<S>, place: Option<Place>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        let failed = !answer.error.is_none();
        let shown = failed
            || answer.records_len > 0
            || entry.high_watermark != answer.high_watermark
            || entry.log_start != answer.log_start_offset;
        // After an error the partition is told once more when it has recovered.
        entry.high_watermark = if failed { -1 } else { answer.high_watermark };
        entry.log_start = answer.log_start_offset;
        entry.place = place.or(entry.place);
        if answer.records_len > 0 {
            self.order.remove(&entry.turn);
            entry.turn = self.next_turn;
            self.next_turn += 1;
            self.order.insert(entry.turn, key.clone());
        }
        shown
    }
}

/// The partitions that a request names, in its order.
fn wanted(request: &Request) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|&partition| Wanted {
            key: Key { name: own(&topic.name), id: topic.id, index: partition.index },
            partition,
            hint: None,
        })
    })
}

/// A name that does not keep its request's frame alive.
fn own(name: &StrBytes) -> StrBytes {
    if name.is_empty() { StrBytes::new() } else { StrBytes::from_string(name.to_string()) }
}

/// Sees that one more session fits: the longest unused one goes if it was idle long enough or is smaller.
fn make_room(sessions: &mut HashMap<i32, Slot>, slots_max: usize, now: Duration, partitions: usize) -> bool {
    if sessions.len() < slots_max {
        return true;
    }
    let oldest = sessions.iter().min_by_key(|(_, slot)| slot.used_at).map(|(&id, slot)| (id, slot.used_at));
    let stale = oldest.filter(|(_, used_at)| now.saturating_sub(*used_at) >= EVICT_AFTER).map(|(id, _)| id);
    let smaller = || {
        let smallest = sessions.iter().min_by_key(|(_, slot)| slot.partitions);
        smallest.filter(|(_, slot)| slot.partitions < partitions).map(|(&id, _)| id)
    };
    match stale.or_else(smaller) {
        Some(id) => sessions.remove(&id).is_some(),
        None => false,
    }
}

/// A positive id that no session has. Random, so that a client of another connection cannot guess it.
fn fresh_id(sessions: &HashMap<i32, Slot>) -> i32 {
    loop {
        let id = i32::from_be_bytes(crate::broker::random::bytes()) & i32::MAX;
        if id != NO_SESSION && !sessions.contains_key(&id) {
            return id;
        }
    }
}

#[cfg(test)]
#[path = "fetch_session_tests.rs"]
mod tests;
