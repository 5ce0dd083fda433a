//! The boundary between the command line and the broker: from a config to a broker that serves.

use std::net::SocketAddr;

use crate::config::Config;
use crate::types::Clock;

/// A broker that serves clients.
#[derive(Debug)]
pub(super) struct Running {
    /// The cluster's id.
    pub(super) cluster_id: String,
    /// Whether the data directory was made by this start.
    pub(super) is_new: bool,
    /// What the listeners are bound to, in the order of [`Config::listeners`].
    pub(super) bound: Vec<SocketAddr>,
}

/// Opens the data, starts the broker and listens. When this returns, a produce succeeds.
pub(super) async fn start(config: Config, clock: Clock) -> anyhow::Result<Running> {
    let _ = (config, clock);
    anyhow::bail!("the broker is not part of this build")
}

impl Running {
    /// Drains: refuses new connections, answers what has been asked, writes everything to disk.
    pub(super) async fn stop(self) {}
}
