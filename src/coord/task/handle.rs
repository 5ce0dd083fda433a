//! Where callers reach a shard.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ShardStatus;
use super::mailbox::{Mailbox, Posted};
use crate::coord::StateMachine;
use crate::types::ErrorCode;

/// Where callers reach one shard. Cheap to clone.
pub struct ShardHandle<M: StateMachine> {
    pub(super) mailbox: Arc<Mailbox<M>>,
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
    /// Asks the shard and waits for its answer. If nobody else steps the shard at this moment the caller does, with its
    /// own command and whatever else has come; so a command that waits for nothing is answered before this yields. A
    /// full mailbox holds the caller back. A caller that goes away leaves its command behind: it is carried out, and
    /// answered into the void.
    ///
    /// A shard that cannot serve answers [`StateMachine::refuse`]: with `COORDINATOR_LOAD_IN_PROGRESS` after
    /// [`LOAD_WAIT_MAX`](super::LOAD_WAIT_MAX) of loading, `COORDINATOR_NOT_AVAILABLE` without room in its log or once
    /// stopped, and `NOT_COORDINATOR` when its log has failed.
    pub async fn call(&self, command: M::Command) -> M::Reply {
        let since = Instant::now();
        let Ok(permit) = self.mailbox.client_room.acquire().await else {
            return M::refuse(ErrorCode::CoordinatorNotAvailable);
        };
        // Given back when a step takes the command out.
        permit.forget();
        let (reply, answer) = oneshot::channel();
        if !self.mailbox.post_client(Posted { command, reply, since }) {
            return M::refuse(ErrorCode::CoordinatorNotAvailable);
        }
        self.mailbox.step_now();
        answer.await.unwrap_or_else(|_| M::refuse(ErrorCode::NotCoordinator))
    }

    /// Posts a command nobody waits for: a change of topics, or what another shard's effect asks. It goes before clients'
    /// commands. Never waits and never steps the shard: its task does.
    ///
    /// # Errors
    /// The command comes back when the shard has stopped or the lane is full; what depends on it is done again after
    /// the next load.
    pub fn post_internal(&self, command: M::Command) -> Result<(), M::Command> {
        self.mailbox.post_internal(command)?;
        self.mailbox.wake.notify_one();
        Ok(())
    }

    /// Posts the outcome of an effect as [`ShardHandle::post_internal`] does, and steps the shard at once unless somebody
    /// does already: for tasks, which have nothing else to do.
    ///
    /// # Errors
    /// As [`ShardHandle::post_internal`].
    pub fn tell(&self, command: M::Command) -> Result<(), M::Command> {
        self.mailbox.post_internal(command)?;
        self.mailbox.step_now();
        Ok(())
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
