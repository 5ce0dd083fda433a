//! Which targets are dirty, how urgently, and which of them the next round takes. No I/O, no clock of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{SyncTarget, When};

/// The committer's queue. Times are [`crate::types::Clock::monotonic`].
#[derive(Default)]
pub(super) struct Queue {
    /// Targets of the next urgent round.
    urgent: Vec<Arc<dyn SyncTarget>>,
    /// When the urgent round starts: at once if somebody waits.
    urgent_due: Option<Duration>,
    /// Dirty targets nobody waits for, by the address of the target.
    later: HashMap<usize, Later>,
    /// The earliest deadline in `later`; may be too early, never too late.
    later_due: Option<Duration>,
    /// Whether background targets are to be synced whatever their deadline.
    pub(super) write_back: bool,
    /// The last round was urgent: then the background has its turn, so that a stream of acks does not starve it.
    was_urgent: bool,
    /// The number of the urgent round that is gathering. The first is 1.
    pub(super) gathering: u64,
}

struct Later {
    target: Arc<dyn SyncTarget>,
    /// `None`: only with write-back or at a stop.
    due: Option<Due>,
}

#[derive(Clone, Copy)]
struct Due {
    at: Duration,
    /// The whole time the target was given; past half of it, it joins a round that runs anyway.
    within: Duration,
}

/// What a round syncs.
pub(super) struct Batch {
    pub(super) targets: Vec<Arc<dyn SyncTarget>>,
    /// The number of the round, if it was urgent.
    pub(super) number: Option<u64>,
}

impl Queue {
    /// Queues a target unless it stands there at least as urgently. Whether the committer has to look again.
    pub(super) fn push(&mut self, target: Arc<dyn SyncTarget>, when: When, now: Duration) -> bool {
        let level = when.level();
        let mark = target.mark();
        let present = mark.level();
        if present >= level {
            return false;
        }
        mark.set_level(level);
        let key = address(&target);
        let before = self.next_due();
        let due = match when {
            When::Now | When::Soon => {
                let mut due = if when == When::Now { now } else { now + SOON };
                if present < When::Soon.level() {
                    // What it was promised before holds all the same.
                    let promised = self.later.remove(&key).and_then(|later| later.due);
                    due = promised.map_or(due, |promised| promised.at.min(due));
                    self.urgent.push(target);
                }
                self.urgent_due = Some(self.urgent_due.map_or(due, |d| d.min(due)));
                return before.is_none_or(|before| due < before);
            }
            When::Within(within) => Some(Due { at: now + within, within }),
            When::Someday => None,
        };
        self.later.insert(key, Later { target, due });
        self.bring_forward(due.map(|due| due.at), before)
    }

    /// A background target holds so much that it is due now.
    pub(super) fn hurry(&mut self, target: &Arc<dyn SyncTarget>, now: Duration) -> bool {
        let before = self.next_due();
        let Some(Later { due: Some(due), .. }) = self.later.get_mut(&address(target)) else { return false };
        due.at = due.at.min(now);
        let at = due.at;
        self.bring_forward(Some(at), before)
    }

    fn bring_forward(&mut self, due: Option<Duration>, before: Option<Duration>) -> bool {
        let Some(due) = due else { return false };
        self.later_due = Some(self.later_due.map_or(due, |d| d.min(due)));
        before.is_none_or(|before| due < before)
    }

    /// When the next round is due; `None` if nothing is.
    pub(super) fn next_due(&self) -> Option<Duration> {
        if self.write_back && !self.later.is_empty() {
            return Some(Duration::ZERO);
        }
        match (self.urgent_due, self.later_due) {
            (Some(urgent), Some(later)) => Some(urgent.min(later)),
            (urgent, later) => urgent.or(later),
        }
    }

    /// Takes the next round if one is due.
    pub(super) fn take(&mut self, now: Duration) -> Option<Batch> {
        let urgent = self.urgent_due.is_some_and(|due| due <= now);
        let later = self.later_due.is_some_and(|due| due <= now) || self.write_back;
        if urgent && !(later && self.was_urgent && !self.later.is_empty()) {
            return Some(self.take_urgent());
        }
        if later {
            let targets = self.take_later(now);
            if !targets.is_empty() {
                self.was_urgent = false;
                return Some(Batch { targets, number: None });
            }
        }
        urgent.then(|| self.take_urgent())
    }

    /// Takes everything, for a stop or a failure.
    pub(super) fn take_all(&mut self) -> Batch {
        let mut batch = self.take_urgent();
        batch.targets.extend(self.later.drain().map(|(_, later)| later.target));
        self.later_due = None;
        self.write_back = false;
        clear_marks(&batch.targets);
        batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.later.is_empty() && self.urgent_due.is_none()
    }

    fn take_urgent(&mut self) -> Batch {
        self.urgent_due = None;
        self.was_urgent = true;
        let targets = std::mem::take(&mut self.urgent);
        clear_marks(&targets);
        let number = Some(self.gathering);
        self.gathering += 1;
        Batch { targets, number }
    }

    /// One slice of the background's due targets: those with the most bytes if there are too many bytes, else those that
    /// waited longest. A slice is small, since an ack that comes meanwhile waits for it.
    fn take_later(&mut self, now: Duration) -> Vec<Arc<dyn SyncTarget>> {
        let mut candidates: Vec<(u64, Duration, usize)> = Vec::new();
        for (key, later) in &self.later {
            let bytes = later.target.mark().unsynced_bytes();
            match later.due {
                _ if self.write_back => candidates.push((u64::MAX - bytes, Duration::ZERO, *key)),
                Some(due) if due.at <= now + due.within / 2 => candidates.push((0, due.at, *key)),
                _ => {}
            }
        }
        candidates.sort_unstable();
        let mut targets = Vec::new();
        let mut bytes = 0;
        for (_, _, key) in candidates {
            if bytes >= SLICE_BYTES_MAX || targets.len() >= SLICE_TARGETS_MAX {
                break;
            }
            if let Some(later) = self.later.remove(&key) {
                bytes += later.target.mark().unsynced_bytes();
                targets.push(later.target);
            }
        }
        self.write_back &= !self.later.is_empty();
        self.later_due = self.later.values().filter_map(|later| later.due.map(|due| due.at)).min();
        clear_marks(&targets);
        targets
    }
}

/// From here on an append queues its target anew, so a note that is taken after this misses nothing.
fn clear_marks(targets: &[Arc<dyn SyncTarget>]) {
    for target in targets {
        target.mark().set_level(0);
    }
}

fn address(target: &Arc<dyn SyncTarget>) -> usize {
    Arc::as_ptr(target).addr()
}

/// The longest that [`When::Soon`] waits for a round.
const SOON: Duration = Duration::from_millis(10);
/// Bytes of one background slice, about 30 ms of a common disk.
const SLICE_BYTES_MAX: u64 = 32 << 20;
/// Targets of one background slice.
const SLICE_TARGETS_MAX: usize = 256;

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
