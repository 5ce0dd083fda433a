//! Incremental fetch sessions (KIP-227; S24 to S26): what a consumer reads, remembered between its requests, so that it
//! names only what changed and is told only what moved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::fetch_request::{Partition, Request};
use crate::storage::log::Place;
use crate::types::{Clock, ErrorCode, TopicId, topic_name};
use crate::wire::StrBytes;
use crate::wire::fetch_body::FetchedPartition;

/// Partitions that all sessions together remember, some 350 bytes each. A fetch that would go above is served without
/// a session, which costs only speed.
const ENTRIES_MAX: usize = 250_000;
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
    clock: Clock,
    cache: Mutex<Cache>,
}

/// The sessions by id, within their bounds.
#[derive(Debug)]
struct Cache {
    slots_max: usize,
    entries_max: usize,
    slots: HashMap<i32, Slot>,
    /// The partitions of all slots.
    entries: usize,
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
        Self::bounded(slots_max, ENTRIES_MAX, clock)
    }

    fn bounded(slots_max: usize, entries_max: usize, clock: Clock) -> Self {
        let cache = Cache { slots_max, entries_max, slots: HashMap::new(), entries: 0 };
        Self { clock, cache: Mutex::new(cache) }
    }

    /// Where a request stands: its context and everything that it wants read, in order. Without a session the names
    /// are slices of the request.
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
                    self.cache.lock().remove(request.session_id);
                }
                let context = match request.session_epoch {
                    INITIAL_EPOCH => self.create(request, by_id),
                    _ => None,
                };
                let wanted = wanted(request, StrBytes::clone).collect();
                Ok((context.unwrap_or(FetchContext::Sessionless), wanted))
            }
            epoch => self.go_on(request, epoch, by_id),
        }
    }

    fn create(&self, request: &Request, by_id: bool) -> Option<FetchContext> {
        let partitions = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if partitions == 0 || !is_fit(request) {
            return None;
        }
        let now = self.clock.monotonic();
        let mut cache = self.cache.lock();
        if !cache.make_room(now, partitions) {
            return None;
        }
        let id = cache.fresh_id();
        let mut session = FetchSession {
            next_epoch: 1,
            uses_topic_ids: by_id,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next_turn: 0,
        };
        session.change(request);
        let partitions = session.entries.len();
        let session = Arc::new(Mutex::new(session));
        cache.entries += partitions;
        cache.slots.insert(id, Slot { session: Arc::clone(&session), used_at: now, partitions });
        Some(FetchContext::Session { session, id, full: true })
    }

    fn go_on(
        &self,
        request: &Request,
        epoch: i32,
        by_id: bool,
    ) -> Result<(FetchContext, Vec<Wanted>), ErrorCode> {
        let id = request.session_id;
        let mut cache = self.cache.lock();
        let slot = cache.slots.get(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let shared = Arc::clone(&slot.session);
        let mut session = shared.lock();
        if session.uses_topic_ids != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        let fits = is_fit(request);
        if fits {
            session.change(request);
        }
        if !fits || !cache.resize(id, session.entries.len(), self.clock.monotonic()) {
            // The client begins again, with a request that says everything, and gets no session then.
            cache.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        if session.entries.is_empty() {
            cache.remove(id);
            return Ok((FetchContext::Sessionless, Vec::new()));
        }
        drop(cache);
        let wanted = session.wanted();
        drop(session);
        Ok((FetchContext::Session { session: shared, id, full: false }, wanted))
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(slot) = self.slots.remove(&id) {
            self.entries -= slot.partitions;
        }
    }

    /// Takes note of how many partitions a session has now; `false` when they are more than fit.
    fn resize(&mut self, id: i32, partitions: usize, now: Duration) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else { return false };
        self.entries = self.entries - slot.partitions + partitions;
        (slot.partitions, slot.used_at) = (partitions, now);
        self.entries <= self.entries_max
    }

    /// Sees that one more session fits: the longest unused one goes if it was idle long enough, or, for want of a slot,
    /// the smallest if it is smaller.
    fn make_room(&mut self, now: Duration, partitions: usize) -> bool {
        if partitions > self.entries_max {
            return false;
        }
        loop {
            let slot_free = self.slots.len() < self.slots_max;
            if slot_free && self.entries + partitions <= self.entries_max {
                return true;
            }
            let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.used_at);
            let stale = oldest.filter(|(_, slot)| now.saturating_sub(slot.used_at) >= EVICT_AFTER);
            let smaller = || {
                let smallest = self.slots.iter().min_by_key(|(_, slot)| slot.partitions);
                smallest.filter(|(_, slot)| !slot_free && slot.partitions < partitions)
            };
            match stale.or_else(smaller).map(|(&id, _)| id) {
                Some(id) => self.remove(id),
                None => return false,
            }
        }
    }

    /// A positive id that no session has. Random, so that a client of another connection cannot guess it.
    fn fresh_id(&self) -> i32 {
        loop {
            let id = i32::from_be_bytes(crate::broker::random::bytes()) & i32::MAX;
            if id != NO_SESSION && !self.slots.contains_key(&id) {
                return id;
            }
        }
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
        for wanted in wanted(request, own) {
            self.put(wanted.key, wanted.partition);
        }
        for topic in &request.forgotten {
            for &index in &topic.partitions {
                let key = Key { name: topic.name.clone(), id: topic.id, index };
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

/// The partitions that a request names, in its order. Those of one topic share its name.
fn wanted<'a>(
    request: &'a Request,
    name: impl Fn(&StrBytes) -> StrBytes + 'a,
) -> impl Iterator<Item = Wanted> + 'a {
    request.topics.iter().flat_map(move |topic| {
        let name = name(&topic.name);
        topic.partitions.iter().map(move |&partition| Wanted {
            key: Key { name: name.clone(), id: topic.id, index: partition.index },
            partition,
            hint: None,
        })
    })
}

/// Whether a session may hold what this request names: what is too long for a topic's name is not worth remembering.
fn is_fit(request: &Request) -> bool {
    request.topics.iter().all(|topic| topic.name.len() <= topic_name::MAX_BYTES)
}

/// A name that does not keep its request's frame alive.
fn own(name: &StrBytes) -> StrBytes {
    if name.is_empty() { StrBytes::new() } else { StrBytes::from_string(name.to_string()) }
}

#[cfg(test)]
#[path = "fetch_session_tests.rs"]
mod tests;
