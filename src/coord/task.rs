//! The shell around a shard: its mailbox, the tokio task that drains it, and the handle that callers hold.
//!
//! A caller posts a command and waits; the task wakes, hands all that came to the shard in one step, and answers. So
//! a command costs two task hops, and what arrives together is appended together; nothing ever lingers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::Instant;

use super::{CoordLog, StateMachine};
use crate::types::{Clock, ErrorCode};

/// How long a command waits for its shard to load before it is refused with `COORDINATOR_LOAD_IN_PROGRESS`.
pub const LOAD_WAIT_MAX: Duration = Duration::from_secs(1);
/// Commands of the internal lane that may stand in it. Each answers something outstanding, so this many are never
/// reached; the bound holds a fault back.
pub const INTERNAL_LANE_MAX_COMMANDS: usize = 65_536;

/// What a shard is started with.
pub struct ShardSpec<M: StateMachine> {
    /// What log lines call it: `__consumer_offsets-7`.
    pub name: String,
    /// Its log.
    pub log: Arc<dyn CoordLog>,
    /// Its first surroundings.
    pub world: Arc<M::World>,
    /// Carries out effects, in the order of the log and before the replies that go with them. Called on the shard's
    /// task: it must neither block nor call the shard back, only swap a snapshot or queue the work.
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

/// Where callers reach one shard. Cheap to clone.
pub struct ShardHandle<M: StateMachine> {
    mailbox: Arc<Mailbox<M>>,
}

impl<M: StateMachine> Clone for ShardHandle<M> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox) }
    }
}

impl<M: StateMachine> fmt::Debug for ShardHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardHandle({})", self.mailbox.name)
    }
}

impl<M: StateMachine> ShardHandle<M> {
    /// Asks the shard and waits for its answer. A full mailbox holds the caller back. A caller that goes away leaves
    /// its command behind: it is carried out, and answered into the void.
    ///
    /// A shard that cannot serve answers [`StateMachine::refuse`]: with `COORDINATOR_LOAD_IN_PROGRESS` after
    /// [`LOAD_WAIT_MAX`] of loading, `COORDINATOR_NOT_AVAILABLE` without room in its log or once stopped, and
    /// `NOT_COORDINATOR` when its log has failed.
    pub async fn call(&self, command: M::Command) -> M::Reply {
        let since = Instant::now();
        let Ok(permit) = self.mailbox.client_room.acquire().await else {
            return M::refuse(ErrorCode::CoordinatorNotAvailable);
        };
        // Given back when the task takes the command out.
        permit.forget();
        let (reply, answer) = oneshot::channel();
        if !self.mailbox.post_client(Posted { command, reply, since }) {
            return M::refuse(ErrorCode::CoordinatorNotAvailable);
        }
        answer.await.unwrap_or_else(|_| M::refuse(ErrorCode::NotCoordinator))
    }

    /// Posts a command nobody waits for: the outcome of an effect, a change of topics. It goes before clients'
    /// commands. Never waits.
    ///
    /// # Errors
    /// The command comes back when the shard has stopped or the lane is full; what depends on it is done again after
    /// the next load.
    pub fn post_internal(&self, command: M::Command) -> Result<(), M::Command> {
        self.mailbox.post_internal(command)
    }

    /// Replaces the surroundings that the next decisions look at.
    pub fn set_world(&self, world: Arc<M::World>) {
        self.mailbox.lanes.lock().world = Some(world);
        self.mailbox.wake.notify_one();
    }

    /// Begins loading, if that has not begun.
    pub fn load(&self) {
        self.mailbox.lanes.lock().load = true;
        self.mailbox.wake.notify_one();
    }

    /// What the shard is doing now.
    pub fn status(&self) -> ShardStatus {
        self.mailbox.status.borrow().clone()
    }

    /// Stops the shard: it takes no more commands, finishes those it has as far as the log allows, refuses those that
    /// wait for others, and ends. Returns when it has; again and concurrently without harm.
    pub async fn stop(&self) {
        self.mailbox.lanes.lock().stop = true;
        self.mailbox.client_room.close();
        self.mailbox.wake.notify_one();
        let mut status = self.mailbox.status.subscribe();
        // An error means that the task is gone, which is what we wait for.
        let _ = status.wait_for(|status| *status == ShardStatus::Stopped).await;
    }
}

/// What stands between callers and the task.
struct Mailbox<M: StateMachine> {
    name: String,
    lanes: Mutex<Lanes<M>>,
    wake: Notify,
    client_room: Semaphore,
    status: watch::Sender<ShardStatus>,
}

struct Lanes<M: StateMachine> {
    internal: VecDeque<M::Command>,
    client: VecDeque<Posted<M>>,
    world: Option<Arc<M::World>>,
    load: bool,
    stop: bool,
}

/// A client's command and where its answer goes.
struct Posted<M: StateMachine> {
    command: M::Command,
    reply: oneshot::Sender<M::Reply>,
    since: Instant,
}

impl<M: StateMachine> Mailbox<M> {
    fn post_client(&self, posted: Posted<M>) -> bool {
        let mut lanes = self.lanes.lock();
        if lanes.stop {
            return false;
        }
        lanes.client.push_back(posted);
        drop(lanes);
        self.wake.notify_one();
        true
    }

    fn post_internal(&self, command: M::Command) -> Result<(), M::Command> {
        let mut lanes = self.lanes.lock();
        if lanes.stop || lanes.internal.len() >= INTERNAL_LANE_MAX_COMMANDS {
            return Err(command);
        }
        lanes.internal.push_back(command);
        drop(lanes);
        self.wake.notify_one();
        Ok(())
    }
}
