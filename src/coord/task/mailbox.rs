//! What stands between a shard's callers, the shard in service and its task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::Instant;

use super::desk::Desk;
use super::{INTERNAL_LANE_MAX_COMMANDS, LOAD_WAIT_MAX, STEP_MAX_COMMANDS, ShardStatus};
use crate::coord::StateMachine;
use crate::coord::shard::Now;
use crate::types::offset::saturate_i64;
use crate::types::{Clock, ErrorCode, Timestamp};

/// Steps that one caller makes for others before it leaves the rest to the task.
const STEPS_BY_CALLER_MAX: usize = 4;

/// Shared by callers and the task.
pub(super) struct Mailbox<M: StateMachine> {
    pub(super) name: String,
    pub(super) lanes: Mutex<Lanes<M>>,
    /// The shard while it serves. Whoever holds this steps it, and looks into the lanes once more after it has let go:
    /// so one that posts and finds it taken may leave. Empty while the shard is loaded, and after a step that panicked.
    pub(super) desk: Mutex<Option<Box<Desk<M>>>>,
    /// Set when the task found the desk taken: who has it wakes the task when it has let go.
    pub(super) task_waits: AtomicBool,
    /// Something has changed that the task must look at: a lane, a flag, the log's durable end.
    pub(super) wake: Notify,
    /// Places in the client lane.
    pub(super) client_room: Semaphore,
    pub(super) status: watch::Sender<ShardStatus>,
    /// Carries out effects, in the order of the log.
    pub(super) effects: Box<dyn Fn(M::Effect) + Send + Sync>,
    pub(super) clock: Clock,
    /// Where the steady clock began, in both times.
    pub(super) started: Instant,
    pub(super) started_wall: Timestamp,
}

pub(super) struct Lanes<M: StateMachine> {
    pub(super) internal: VecDeque<M::Command>,
    pub(super) client: VecDeque<Posted<M>>,
    pub(super) world: Arc<M::World>,
    pub(super) load: bool,
    pub(super) stop: bool,
}

impl<M: StateMachine> Lanes<M> {
    pub(super) fn is_empty(&self) -> bool {
        self.client.is_empty() && self.internal.is_empty()
    }

    /// Whether a step would take anything out. Internal commands stay here while the shard has some that its log has no
    /// room for: those come first, when their deadline says so.
    pub(super) fn has_work(&self, is_blocked: bool) -> bool {
        !self.client.is_empty() || !is_blocked && !self.internal.is_empty()
    }
}

/// A client's command and where its answer goes.
pub(super) struct Posted<M: StateMachine> {
    pub(super) command: M::Command,
    pub(super) reply: oneshot::Sender<M::Reply>,
    pub(super) since: Instant,
}

/// What one step takes out of the lanes.
pub(super) struct Taken<M: StateMachine> {
    pub(super) client: Vec<Posted<M>>,
    pub(super) world: Arc<M::World>,
    /// There is more than one step takes.
    pub(super) more: bool,
    /// The shard is asked to stop.
    pub(super) stop: bool,
}

impl<M: StateMachine> Mailbox<M> {
    /// Leaves a command in the client lane. The caller sees to it that a step follows.
    pub(super) fn post_client(&self, posted: Posted<M>) -> bool {
        let mut lanes = self.lanes.lock();
        if lanes.stop {
            return false;
        }
        lanes.client.push_back(posted);
        true
    }

    /// Leaves a command in the internal lane. The caller sees to it that a step follows.
    pub(super) fn post_internal(&self, command: M::Command) -> Result<(), M::Command> {
        let mut lanes = self.lanes.lock();
        if lanes.stop || lanes.internal.len() >= INTERNAL_LANE_MAX_COMMANDS {
            return Err(command);
        }
        lanes.internal.push_back(command);
        Ok(())
    }

    /// Steps the shard on the caller's thread, unless somebody does already, who then takes the caller's command as
    /// well; leaves to the task whatever is not a step.
    pub(super) fn step_now(&self) {
        for _ in 0..STEPS_BY_CALLER_MAX {
            // Dropped behind the desk.
            let _tell = TellTask(self);
            let Some(mut place) = self.desk.try_lock() else { return };
            // Away while it steps: after a panic nobody goes on with what is half done.
            let Some(mut desk) = place.take() else { break };
            if desk.has_failed() {
                *place = Some(desk);
                break;
            }
            desk.step(self);
            let (is_for_task, oversleeps) = (desk.is_for_task(), desk.task_oversleeps());
            let is_blocked = desk.is_blocked();
            *place = Some(desk);
            drop(place);
            if is_for_task {
                break;
            }
            if !self.lanes.lock().has_work(is_blocked) {
                // Asked last: what one step waits for, the next may have.
                if !oversleeps {
                    return;
                }
                break;
            }
        }
        self.wake.notify_one();
    }

    /// The desk, for the task. If another has it, that one wakes the task when it has let go: to wait for it here would
    /// hold up everything else on this thread.
    pub(super) fn desk_for_task(&self) -> Option<MutexGuard<'_, Option<Box<Desk<M>>>>> {
        if let Some(place) = self.desk.try_lock() {
            return Some(place);
        }
        self.task_waits.store(true, Ordering::Relaxed);
        // Either this sees the desk free, or who lets go of it sees the flag.
        fence(Ordering::SeqCst);
        let place = self.desk.try_lock()?;
        self.task_waits.store(false, Ordering::Relaxed);
        Some(place)
    }

    /// Takes commands out for one step; internal ones go to `internal` when that is empty.
    pub(super) fn take(&self, internal: &mut VecDeque<M::Command>) -> Taken<M> {
        let mut lanes = self.lanes.lock();
        if internal.is_empty() {
            std::mem::swap(internal, &mut lanes.internal);
        }
        let taken = lanes.client.len().min(STEP_MAX_COMMANDS);
        let client: Vec<_> = lanes.client.drain(..taken).collect();
        let (more, stop, world) = (!lanes.client.is_empty(), lanes.stop, Arc::clone(&lanes.world));
        drop(lanes);
        self.client_room.add_permits(client.len());
        Taken { client, world, more, stop }
    }

    /// Refuses the client commands that were posted before `before`, and says when the oldest of the rest was posted.
    pub(super) fn refuse_older(&self, before: Option<Instant>, error: ErrorCode) -> Option<Instant> {
        let mut refused = Vec::new();
        let mut lanes = self.lanes.lock();
        while let Some(posted) =
            lanes.client.pop_front_if(|posted| before.is_none_or(|before| posted.since <= before))
        {
            refused.push(posted);
        }
        let oldest = lanes.client.front().map(|posted| posted.since);
        drop(lanes);
        self.client_room.add_permits(refused.len());
        for posted in refused {
            // A caller that has gone away needs no answer.
            let _ = posted.reply.send(M::refuse(error));
        }
        oldest
    }

    /// Sleeps until the shard is asked for anything.
    pub(super) async fn wait_for_need(&self) {
        loop {
            {
                let lanes = self.lanes.lock();
                if lanes.load || lanes.stop || !lanes.is_empty() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Waits for `until`; meanwhile commands that have waited long enough are refused. `None` when the shard was
    /// stopped first.
    pub(super) async fn wait_loading<F: Future>(&self, until: F) -> Option<F::Output> {
        tokio::pin!(until);
        loop {
            let overdue = Instant::now().checked_sub(LOAD_WAIT_MAX);
            let oldest = match overdue {
                Some(overdue) => self.refuse_older(Some(overdue), ErrorCode::CoordinatorLoadInProgress),
                None => None,
            };
            if self.lanes.lock().stop {
                return None;
            }
            let next_refusal = oldest.unwrap_or_else(Instant::now) + LOAD_WAIT_MAX;
            tokio::select! {
                biased;
                output = &mut until => return Some(output),
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(next_refusal) => {}
            }
        }
    }

    /// The two clocks now. The steady one is the wall clock when the shard started, plus tokio's time since, which tests
    /// can pause.
    pub(super) fn now(&self) -> Now {
        let since = saturate_i64(self.started.elapsed().as_millis());
        Now { steady: self.started_wall.saturating_add(since), wall: self.clock.now_ms() }
    }
}

/// Wakes the task when a caller has let go of the desk, if the task waits for it, or if the step has panicked: others may
/// have left their commands to it.
struct TellTask<'a, M: StateMachine>(&'a Mailbox<M>);

impl<M: StateMachine> Drop for TellTask<'_, M> {
    fn drop(&mut self) {
        fence(Ordering::SeqCst);
        if self.0.task_waits.swap(false, Ordering::Relaxed) || std::thread::panicking() {
            self.0.wake.notify_one();
        }
    }
}
