//! Tells a group's coordinator in the background that a member lives, and hears from it when the group rebalances.

use std::time::Duration;

use kafka_protocol::messages::{GroupId, HeartbeatRequest};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::cluster::{At, Lane};
use super::coordinator::{self, Committer, Coordinated};
use super::metadata::text;
use super::retry::Backoff;
use super::{Client, Error};
use crate::types::ErrorCode;

/// What a member hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pulse {
    /// All is well.
    Steady,
    /// Members come or go: join again.
    Rebalance,
    /// The group went on without this member: join again, as a new one if the coordinator forgot it.
    Dropped {
        /// Whether the member's id is worth nothing any more.
        forgotten: bool,
    },
    /// There is no hope.
    Failed(Error),
}

/// The task that sends heartbeats; ends with this value.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pulse: watch::Receiver<Pulse>,
    task: AbortHandle,
}

impl Heartbeat {
    /// Begins. `coordinator` is where the member joined.
    pub(super) fn start(
        client: Client,
        group: String,
        committer: Committer,
        coordinator: i32,
        interval: Duration,
    ) -> Self {
        let (tell, pulse) = watch::channel(Pulse::Steady);
        let task = tokio::spawn(async move {
            let outcome = beat(&client, &group, &committer, coordinator, interval).await;
            let _nobody_listens = tell.send(outcome);
        });
        Self { pulse, task: task.abort_handle() }
    }

    /// Waits until there is something to hear. May be dropped while it waits.
    pub(super) async fn disturbed(&mut self) -> Pulse {
        match self.pulse.wait_for(|pulse| *pulse != Pulse::Steady).await {
            Ok(pulse) => pulse.clone(),
            // Only when the runtime ends.
            Err(_) => Pulse::Rebalance,
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends heartbeats until one is answered with news.
async fn beat(
    client: &Client,
    group: &str,
    committer: &Committer,
    mut coordinator: i32,
    interval: Duration,
) -> Pulse {
    let mut backoff = Backoff::new(client.options().timeout);
    let mut pause = interval;
    loop {
        sleep(pause).await;
        let error = match once(client, group, committer, coordinator).await {
            Ok(()) => {
                backoff.reset();
                pause = interval;
                continue;
            }
            Err(error) => error,
        };
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => return Pulse::Rebalance,
            Some(ErrorCode::UnknownMemberId) => return Pulse::Dropped { forgotten: true },
            Some(ErrorCode::IllegalGeneration) => return Pulse::Dropped { forgotten: false },
            _ if error.may_pass() => {}
            _ => return Pulse::Failed(error),
        }
        pause = match backoff.after(error) {
            Ok(pause) => pause.min(interval),
            Err(error) => return Pulse::Failed(error),
        };
        if let Ok(found) = coordinator::find(client, Coordinated::Group, group).await {
            coordinator = found;
        }
    }
}

async fn once(client: &Client, group: &str, committer: &Committer, coordinator: i32) -> Result<(), Error> {
    let answer = client.call(At::Broker(coordinator), Lane::Group, |_| request(group, committer)).await?;
    Error::check(format!("stay in group {group}"), answer.error_code, None)
}

pub(super) fn request(group: &str, committer: &Committer) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(committer.generation)
        .with_member_id(committer.member_id.clone())
}
