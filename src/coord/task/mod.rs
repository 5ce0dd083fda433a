//! The shell around a shard: its mailbox, the desk where it is stepped, its tokio task, and the handle that callers hold.
//!
//! A caller posts a command and, unless somebody steps the shard at that moment, steps it itself, with all that has
//! come: so a command costs no task hop, and what arrives while a step runs is decided together in the next. The task
//! loads the shard and steps it when nobody asks: for deadlines, for what has become durable, and for commands that
//! other shards' effects post. Nothing ever lingers.

mod desk;
mod handle;
mod mailbox;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

pub use handle::ShardHandle;

use self::desk::Desk;
use self::mailbox::{Lanes, Mailbox};
use super::log::Wake;
use super::shard::{self, Shard};
use super::{CoordLog, LogFault, StateMachine};
use crate::types::{Clock, ErrorCode};

/// How long a command waits for its shard to load before it is refused with `COORDINATOR_LOAD_IN_PROGRESS`.
pub const LOAD_WAIT_MAX: Duration = Duration::from_secs(1);
/// Commands of the internal lane that may stand in it. Each answers something outstanding, so this many are never
/// reached; the bound holds a fault back.
pub const INTERNAL_LANE_MAX_COMMANDS: usize = 65_536;
/// Client commands that one step takes; more wait for the next, which follows at once.
const STEP_MAX_COMMANDS: usize = 1_024;
/// How long a shard waits before it reads its log again, doubled with each failure in a row.
const RELOAD_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// See [`RELOAD_BACKOFF_MIN`].
const RELOAD_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The longest sleep; a deadline further off is looked at again then.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// What a shard is started with.
pub struct ShardSpec<M: StateMachine> {
    /// What log lines call it: `__consumer_offsets-7`.
    pub name: String,
    /// Its log.
    pub log: Arc<dyn CoordLog>,
    /// Its first surroundings.
    pub world: Arc<M::World>,
    /// Carries out effects, in the order of the log and before the replies that go with them. Called while the shard
    /// is stepped: it must neither block nor call a shard, only swap a snapshot, queue the work or post to a lane.
    pub effects: Box<dyn Fn(M::Effect) + Send + Sync>,
    /// The wall clock.
    pub clock: Clock,
    /// Client commands that may stand in the mailbox; more wait in their callers.
    pub client_lane_max_commands: usize,
    /// When the log is loaded.
    pub load: LoadWhen,
}

impl<M: StateMachine> fmt::Debug for ShardSpec<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardSpec")
            .field("name", &self.name)
            .field("log", &self.log)
            .field("client_lane_max_commands", &self.client_lane_max_commands)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

/// When a shard loads its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadWhen {
    /// As soon as it is started.
    AtStart,
    /// With its first command, or when [`ShardHandle::load`] asks for it.
    AtFirstUse,
}

/// What a shard is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardStatus {
    /// Nobody has asked for anything yet.
    Idle,
    /// Its log is being read, for the first time or after a fault.
    Loading,
    /// It serves.
    Serving,
    /// It has stopped for good over its own log, and this is why.
    Faulted(String),
    /// It was stopped.
    Stopped,
}

/// Starts the shard's task on the current runtime.
pub fn spawn<M: StateMachine>(spec: ShardSpec<M>) -> ShardHandle<M> {
    let mailbox = Arc::new(Mailbox {
        name: spec.name,
        lanes: Mutex::new(Lanes {
            internal: VecDeque::new(),
            client: VecDeque::new(),
            world: Arc::clone(&spec.world),
            load: spec.load == LoadWhen::AtStart,
            stop: false,
        }),
        desk: Mutex::new(None),
        task_waits: AtomicBool::new(false),
        wake: Notify::new(),
        client_room: Semaphore::new(spec.client_lane_max_commands.clamp(1, Semaphore::MAX_PERMITS)),
        status: watch::Sender::new(ShardStatus::Idle),
        effects: spec.effects,
        started: Instant::now(),
        started_wall: spec.clock.now_ms(),
        clock: spec.clock,
    });
    let task = ShardTask { mailbox: Arc::clone(&mailbox), log: spec.log, internal: VecDeque::new() };
    tokio::spawn(task.run());
    ShardHandle { mailbox }
}

/// The task's own side.
struct ShardTask<M: StateMachine> {
    mailbox: Arc<Mailbox<M>>,
    log: Arc<dyn CoordLog>,
    /// Internal commands that a shard whose log failed left undecided.
    internal: VecDeque<M::Command>,
}

/// Why the task stopped serving.
enum Ended {
    /// It was told to.
    Stop,
    /// Its log failed. `progress`: it had served before, so the fault is a new one.
    Fault { fault: LogFault, progress: bool },
}

impl<M: StateMachine> ShardTask<M> {
    async fn run(mut self) {
        self.mailbox.wait_for_need().await;
        let mut backoff = RELOAD_BACKOFF_MIN;
        loop {
            let ended = match self.load().await {
                Ok(Some(shard)) => self.serve(shard).await,
                Ok(None) => Ended::Stop,
                Err(fault) => Ended::Fault { fault, progress: false },
            };
            let Ended::Fault { fault, progress } = ended else { break };
            self.mailbox.status.send_replace(ShardStatus::Loading);
            if let LogFault::Corrupt { .. } = fault {
                self.stand_faulted(&fault).await;
                break;
            }
            backoff = if progress { RELOAD_BACKOFF_MIN } else { (backoff * 2).min(RELOAD_BACKOFF_MAX) };
            tracing::error!(shard = %self.mailbox.name, error = %fault, retry_ms = backoff.as_millis(),
                "the shard's log has failed; loading again");
            if self.mailbox.wait_loading(tokio::time::sleep(backoff)).await.is_none() {
                break;
            }
        }
        // What is left is answered when the task is dropped, which also covers a panic.
    }

    /// Replays the log on a thread that may block. `None` when the shard was stopped meanwhile.
    async fn load(&mut self) -> Result<Option<Shard<M>>, LogFault> {
        self.mailbox.status.send_replace(ShardStatus::Loading);
        let began = Instant::now();
        let replayed = if self.log.is_empty() {
            shard::replay(&*self.log)?
        } else {
            let log = Arc::clone(&self.log);
            let replaying = tokio::task::spawn_blocking(move || shard::replay::<M>(&*log));
            match self.mailbox.wait_loading(replaying).await {
                None => return Ok(None),
                Some(Ok(replayed)) => replayed?,
                // The replay panicked, or the runtime is going down.
                Some(Err(_)) => return Err(LogFault::Closed),
            }
        };
        let mailbox = Arc::downgrade(&self.mailbox);
        let wake: Wake = Arc::new(move || {
            if let Some(mailbox) = mailbox.upgrade() {
                mailbox.wake.notify_one();
            }
        });
        let world = Arc::clone(&self.mailbox.lanes.lock().world);
        let shard = Shard::new(Arc::clone(&self.log), replayed, wake, self.mailbox.now(), &world);
        let took_ms = began.elapsed().as_millis();
        tracing::debug!(shard = %self.mailbox.name, end = shard.end(), took_ms, "the shard is loaded");
        Ok(Some(shard))
    }

    /// Puts the shard where callers step it, and steps it when nobody asks, until it is stopped or its log fails.
    async fn serve(&mut self, shard: Shard<M>) -> Ended {
        let loaded_end = shard.end();
        let internal = std::mem::take(&mut self.internal);
        *self.mailbox.desk.lock() = Some(Box::new(Desk::new(shard, internal)));
        self.mailbox.status.send_replace(ShardStatus::Serving);
        loop {
            let wait = match self.look(loaded_end) {
                Ok(wait) => wait,
                Err(ended) => return ended,
            };
            if wait.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                // In this order: a command that waits already costs no timer.
                biased;
                () = self.mailbox.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Steps the shard once. How long the task may sleep then if nobody wakes it.
    fn look(&mut self, loaded_end: i64) -> Result<Duration, Ended> {
        let Some(mut place) = self.mailbox.desk_for_task() else { return Ok(SLEEP_MAX) };
        // Empty after a step that panicked. Those whose commands it held were refused as it went; the log is as it was.
        let panicked = Ended::Fault { fault: LogFault::Closed, progress: false };
        let Some(mut desk) = place.take() else { return Err(panicked) };
        if !desk.has_failed() && catch_unwind(AssertUnwindSafe(|| desk.step(&self.mailbox))).is_err() {
            drop(place);
            drop(desk);
            return Err(panicked);
        }
        if let Some(fault) = desk.take_fault() {
            drop(place);
            let progress = desk.end() > loaded_end;
            self.internal = desk.end_with(ErrorCode::NotCoordinator);
            return Err(Ended::Fault { fault, progress });
        }
        if desk.stop && !desk.more && !desk.is_holding() {
            *place = Some(desk);
            return Err(Ended::Stop);
        }
        let (more, is_blocked, deadline) = (desk.more, desk.is_blocked(), desk.next_look());
        *place = Some(desk);
        drop(place);
        if more || self.mailbox.lanes.lock().has_work(is_blocked) {
            return Ok(Duration::ZERO);
        }
        let Some(at) = deadline else { return Ok(SLEEP_MAX) };
        let wait = at.saturating_sub(self.mailbox.now().steady);
        // A deadline of this very millisecond is handled by the next step, not by a timer.
        Ok(Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(SLEEP_MAX))
    }

    /// Refuses everything until the shard is stopped: its own log says what it cannot understand, and to guess would
    /// lose more.
    async fn stand_faulted(&mut self, fault: &LogFault) {
        tracing::error!(
            shard = %self.mailbox.name,
            error = %fault,
            "the shard's own log is damaged or newer than this version; it serves nothing. Run the version that wrote \
             it, or stop the broker and restore the partition's directory from a copy"
        );
        self.mailbox.status.send_replace(ShardStatus::Faulted(fault.to_string()));
        loop {
            self.mailbox.refuse_older(None, ErrorCode::NotCoordinator);
            self.mailbox.lanes.lock().internal.clear();
            if self.mailbox.lanes.lock().stop {
                return;
            }
            self.mailbox.wake.notified().await;
        }
    }
}

/// However the task ends, nobody waits for it for ever.
impl<M: StateMachine> Drop for ShardTask<M> {
    fn drop(&mut self) {
        self.mailbox.lanes.lock().stop = true;
        self.mailbox.client_room.close();
        if let Some(desk) = self.mailbox.desk.lock().take() {
            desk.end_with(ErrorCode::CoordinatorNotAvailable);
        }
        self.mailbox.refuse_older(None, ErrorCode::CoordinatorNotAvailable);
        self.mailbox.status.send_replace(ShardStatus::Stopped);
    }
}
