//! What a restart may forget: who waits for an end, and timers.

use std::collections::HashMap;
use std::sync::Arc;

use super::effect::{Attempt, Effect, Markers};
use super::expiry::Sweep;
use super::transaction::{Outcome, Producer, Status, Transaction};
use super::world::World;
use crate::coord::{Context, Ticket};
use crate::types::Timestamp;
use crate::types::deadlines::Deadlines;

/// How long an EndTxn waits for its markers, in milliseconds. Then it is answered all the same: the outcome stands.
pub(super) const ANSWER_WAIT_MS: i64 = 5_000;
/// A transaction that holds stable offsets back for this long, in milliseconds, is reported.
pub(super) const HELD_BACK_MS: i64 = 60_000;
/// And again each time that this has passed.
pub(super) const HELD_BACK_AGAIN_MS: i64 = 300_000;
/// How long its end may take, once it is decided, before that is anything to report, in milliseconds.
const ENDING_MS: i64 = 10_000;

/// The soft state of one shard.
#[derive(Debug, Default)]
pub struct Soft {
    /// Everything that happens by itself.
    pub(super) timers: Deadlines<Timer>,
    /// EndTxn requests that wait for their markers: at most one for each transactional id in Prepare.
    pub(super) waiting: HashMap<Arc<str>, Waiter>,
    /// The last asking for markers of each transactional id in Prepare.
    attempts: HashMap<Arc<str>, Attempt>,
    /// The last asking of all.
    last_attempt: u64,
    /// Expiry of transactional ids.
    pub(super) sweep: Sweep,
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The transaction of this id has been open for its time-out.
    TimeOut(Arc<str>),
    /// The transaction of this id holds stable offsets back for long.
    HeldBack(Arc<str>),
    /// Whoever waits for the end of this id's transaction has waited long enough.
    Answer(Arc<str>),
}

/// An EndTxn that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    /// What it is told.
    pub(super) producer: Producer,
}

impl Soft {
    /// No timers but that of the sweep.
    pub(super) fn starting(context: &Context<'_, World>) -> Self {
        // Above all that a run before this one has counted up to: it took longer than a millionth of a millisecond each.
        let last_attempt = u64::try_from(context.now).unwrap_or(0) << 20;
        Self { sweep: Sweep::starting(context), last_attempt, ..Self::default() }
    }

    /// Sets the timers that a transaction of this state has. Those of one that began earlier run from its recorded time,
    /// and never longer than they would for one that begins now, whatever the wall clock has done since.
    pub(super) fn follow(&mut self, context: &Context<'_, World>, id: &Arc<str>, transaction: &Transaction) {
        let open_for = context.wall.saturating_sub(transaction.started_at).max(0);
        let after = |ms: i64| context.now.saturating_add(ms.saturating_sub(open_for).max(0));
        let (ongoing, held_back) = (Timer::TimeOut(Arc::clone(id)), Timer::HeldBack(Arc::clone(id)));
        match transaction.status {
            // The longest time-out is Kafka's mark of one that is ended from outside (KIP-939).
            Status::Ongoing if transaction.timeout_ms < i32::MAX => {
                self.timers.set(ongoing, after(i64::from(transaction.timeout_ms)));
            }
            _ => {
                self.timers.cancel(&ongoing);
            }
        }
        match transaction.status {
            Status::Ongoing => {
                if self.timers.get(&held_back).is_none() {
                    // One that its time-out ends before or at that moment is no trouble of anybody's.
                    let timeout_ms = i64::from(transaction.timeout_ms);
                    let ends_itself = timeout_ms <= HELD_BACK_MS;
                    let due = if ends_itself { timeout_ms + ENDING_MS } else { HELD_BACK_MS };
                    self.timers.set(held_back, after(due));
                }
            }
            Status::Prepare(_) => {
                let due = self.timers.get(&held_back).unwrap_or_else(|| after(HELD_BACK_MS));
                self.timers.set(held_back, due.max(context.now.saturating_add(ENDING_MS)));
            }
            Status::Empty | Status::Complete(_) => {
                self.timers.cancel(&held_back);
            }
        }
    }

    /// Asks for the markers of a transaction that is prepared.
    pub(super) fn ask_for_markers(
        &mut self,
        id: &Arc<str>,
        transaction: &Transaction,
        outcome: Outcome,
    ) -> Effect {
        self.last_attempt += 1;
        let attempt = Attempt(self.last_attempt);
        self.attempts.insert(Arc::clone(id), attempt);
        Effect::WriteMarkers(Markers::of(id, attempt, transaction, outcome))
    }

    /// Whether this is the asking that is open for the transactional id; if so, it is answered.
    pub(super) fn answers_attempt(&mut self, id: &str, attempt: Attempt) -> bool {
        let is_open = self.attempts.get(id) == Some(&attempt);
        if is_open {
            self.attempts.remove(id);
        }
        is_open
    }

    /// Takes note of who waits for the end of this id's transaction.
    pub(super) fn wait(&mut self, now: Timestamp, id: &Arc<str>, waiter: Waiter) {
        self.waiting.insert(Arc::clone(id), waiter);
        self.timers.set(Timer::Answer(Arc::clone(id)), now.saturating_add(ANSWER_WAIT_MS));
    }

    /// Who waits for the end of this id's transaction, and waits no more.
    pub(super) fn stop_waiting(&mut self, id: &Arc<str>) -> Option<Waiter> {
        self.timers.cancel(&Timer::Answer(Arc::clone(id)));
        self.waiting.remove(id)
    }
}
