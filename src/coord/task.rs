//! The shell around a shard: its mailbox, the tokio task that drains it, and the handle that callers hold.
//!
//! A caller posts a command and waits; the task wakes, hands all that came to the shard in one step, and answers. So
//! a command costs two task hops, and what arrives together is appended together; nothing ever lingers.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::Instant;

use super::log::Wake;
use super::shard::{self, Now, Output, Shard};
use super::{CoordLog, LogFault, StateMachine, Ticket};
use crate::types::offset::saturate_i64;
use crate::types::{Clock, ErrorCode, Timestamp};

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
        self.mailbox.lanes.lock().world = world;
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
    /// Something has changed that the task must look at: a lane, a flag, the log's durable end.
    wake: Notify,
    /// Places in the client lane.
    client_room: Semaphore,
    status: watch::Sender<ShardStatus>,
}

struct Lanes<M: StateMachine> {
    internal: VecDeque<M::Command>,
    client: VecDeque<Posted<M>>,
    world: Arc<M::World>,
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

    /// Refuses the client commands that were posted before `before`, and says when the oldest of the rest was posted.
    fn refuse_older(&self, before: Option<Instant>, error: ErrorCode) -> Option<Instant> {
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
    async fn wait_for_need(&self) {
        loop {
            {
                let lanes = self.lanes.lock();
                if lanes.load || lanes.stop || !lanes.client.is_empty() || !lanes.internal.is_empty() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Waits for `until`; meanwhile commands that have waited long enough are refused. `None` when the shard was
    /// stopped first.
    async fn wait_loading<F: Future>(&self, until: F) -> Option<F::Output> {
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
        wake: Notify::new(),
        client_room: Semaphore::new(spec.client_lane_max_commands.clamp(1, Semaphore::MAX_PERMITS)),
        status: watch::Sender::new(ShardStatus::Idle),
    });
    let task = ShardTask {
        mailbox: Arc::clone(&mailbox),
        log: spec.log,
        effects: spec.effects,
        clock: spec.clock.clone(),
        started: Instant::now(),
        started_wall: spec.clock.now_ms(),
        waiting: HashMap::new(),
        tickets: 0,
        internal: VecDeque::new(),
    };
    tokio::spawn(task.run());
    ShardHandle { mailbox }
}

/// The task's own side.
struct ShardTask<M: StateMachine> {
    mailbox: Arc<Mailbox<M>>,
    log: Arc<dyn CoordLog>,
    effects: Box<dyn Fn(M::Effect) + Send + Sync>,
    clock: Clock,
    /// Where the steady clock began, in both times.
    started: Instant,
    started_wall: Timestamp,
    /// Callers whose commands the shard has taken and not yet answered.
    waiting: HashMap<Ticket, oneshot::Sender<M::Reply>>,
    /// The last ticket given out.
    tickets: u64,
    /// Internal commands taken out of the mailbox and not yet decided.
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
            self.refuse_waiting();
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
        let shard = Shard::new(Arc::clone(&self.log), replayed, wake, self.now(), &world);
        let took_ms = began.elapsed().as_millis();
        tracing::debug!(shard = %self.mailbox.name, end = shard.end(), took_ms, "the shard is loaded");
        Ok(Some(shard))
    }

    /// Steps the shard until it is stopped or its log fails.
    async fn serve(&mut self, mut shard: Shard<M>) -> Ended {
        self.mailbox.status.send_replace(ShardStatus::Serving);
        let loaded_end = shard.end();
        loop {
            let stepped = self.step(&mut shard);
            let Step { more, stop } = match stepped {
                Ok(step) => step,
                Err(fault) => return Ended::Fault { fault, progress: shard.end() > loaded_end },
            };
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            if stop && !shard.is_holding() {
                return Ended::Stop;
            }
            match shard.next_deadline() {
                Some(at) => {
                    let wait = at.saturating_sub(self.now().steady);
                    let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(SLEEP_MAX);
                    tokio::select! {
                        // In this order: a command that waits already costs no timer.
                        biased;
                        () = self.mailbox.wake.notified() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                None => self.mailbox.wake.notified().await,
            }
        }
    }

    /// Takes what the mailbox holds, hands it to the shard, and carries out what the shard lets out.
    fn step(&mut self, shard: &mut Shard<M>) -> Result<Step, LogFault> {
        let mut client = Vec::new();
        let (world, more, stop) = {
            let mut lanes = self.mailbox.lanes.lock();
            if self.internal.is_empty() {
                std::mem::swap(&mut self.internal, &mut lanes.internal);
            }
            let taken = lanes.client.len().min(STEP_MAX_COMMANDS);
            client.extend(lanes.client.drain(..taken));
            (Arc::clone(&lanes.world), !lanes.client.is_empty(), lanes.stop)
        };
        self.mailbox.client_room.add_permits(client.len());
        let (waiting, tickets) = (&mut self.waiting, &mut self.tickets);
        let commands = client.into_iter().map(|posted| {
            *tickets += 1;
            waiting.insert(Ticket(*tickets), posted.reply);
            (Ticket(*tickets), posted.command)
        });
        let now = Now { steady: steady(self.started, self.started_wall), wall: self.clock.now_ms() };
        let outputs = shard.step(now, &world, &mut self.internal, commands)?;
        self.carry_out(outputs);
        let due = shard.next_deadline().is_some_and(|at| at <= now.steady);
        Ok(Step { more: more || due, stop })
    }

    fn carry_out(&mut self, outputs: Vec<Output<M>>) {
        for output in outputs {
            match output {
                Output::Effect(effect) => (self.effects)(effect),
                Output::Reply(ticket, reply) => match self.waiting.remove(&ticket) {
                    // A caller that has gone away needs no answer.
                    Some(caller) => drop(caller.send(reply)),
                    None => {
                        debug_assert!(false, "{}: {ticket:?} is answered twice", self.mailbox.name);
                        tracing::error!(shard = %self.mailbox.name, ?ticket, "a command was answered twice");
                    }
                },
            }
        }
    }

    /// Answers every caller whose command died with the shard's state.
    fn refuse_waiting(&mut self) {
        for (_, caller) in self.waiting.drain() {
            let _ = caller.send(M::refuse(ErrorCode::NotCoordinator));
        }
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

    fn now(&self) -> Now {
        Now { steady: steady(self.started, self.started_wall), wall: self.clock.now_ms() }
    }
}

/// However the task ends, nobody waits for it for ever.
impl<M: StateMachine> Drop for ShardTask<M> {
    fn drop(&mut self) {
        self.mailbox.lanes.lock().stop = true;
        self.mailbox.client_room.close();
        for (_, caller) in self.waiting.drain() {
            let _ = caller.send(M::refuse(ErrorCode::CoordinatorNotAvailable));
        }
        self.mailbox.refuse_older(None, ErrorCode::CoordinatorNotAvailable);
        self.mailbox.status.send_replace(ShardStatus::Stopped);
    }
}

/// What a step left.
struct Step {
    /// The mailbox holds more, or a deadline is due already.
    more: bool,
    /// The shard is asked to stop.
    stop: bool,
}

/// The steady clock: the wall clock when the shard started, plus tokio's time since, which tests can pause.
fn steady(started: Instant, started_wall: Timestamp) -> Timestamp {
    started_wall.saturating_add(saturate_i64(started.elapsed().as_millis()))
}
