//! The boundary between the command line and the broker: from a config to a broker that serves.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinHandle;

use crate::api::{Api, KafkaService};
use crate::broker::{Broker, Descriptors, StopFault, Stopped};
use crate::config::{Config, HostPort, NetworkLimits};
use crate::net::{
    BindError, ByteBudget, ConnectionLimits, Drain, Listener, ListenerLimits, ShutdownHandle, SocketOptions,
    bind, shutdown,
};
use crate::types::Clock;
use crate::wire::frame::FrameLimits;

/// How long connections may take to finish what they have begun when the broker stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long connections may take to close when they are cut: those that are in the midst of opening a partition go on
/// until it is open.
const CUT_MAX: Duration = Duration::from_secs(5);

/// A broker that serves clients.
#[derive(Debug)]
pub(super) struct Running {
    /// The cluster's id.
    pub(super) cluster_id: String,
    /// Whether the data directory was made by this start.
    pub(super) is_new: bool,
    /// What the listeners are bound to, in the order of [`Config::listeners`].
    pub(super) bound: Vec<SocketAddr>,
    broker: Arc<Broker>,
    shutdown: ShutdownHandle,
    listeners: Vec<JoinHandle<()>>,
}

/// Opens the data, starts the broker and listens. When this returns, a produce succeeds.
pub(super) async fn start(config: Config, clock: Clock) -> anyhow::Result<Running> {
    let network = config.network.clone();
    // Before the data is touched: a port that is taken is the commonest mistake, and clients that come early wait in
    // the backlog instead of being refused.
    let options = SocketOptions {
        backlog: i32::try_from(network.listen_backlog).unwrap_or(i32::MAX),
        send_buffer_bytes: network.send_buffer_bytes,
        receive_buffer_bytes: network.receive_buffer_bytes,
    };
    let mut listeners = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let address = resolve(&listener.bind).await?;
        let bound = match bind(address, index, options) {
            // No IPv6 on this machine: then the interfaces that there are.
            Err(BindError::Other { .. }) if listener.bind.host.is_empty() => {
                bind((Ipv4Addr::UNSPECIFIED, listener.bind.port).into(), index, options)
            }
            bound => bound,
        };
        listeners.push(bound?);
    }
    let bound: Vec<SocketAddr> = listeners.iter().map(Listener::address).collect();
    let broker = Broker::start(config, clock).await?;
    broker.listening_on(bound.clone());
    let (shutdown, drain) = shutdown();
    let listeners = serve(&broker, listeners, &network, &drain).await;
    Ok(Running {
        cluster_id: broker.cluster_id().to_owned(),
        is_new: broker.data_dir().is_new(),
        bound,
        broker,
        shutdown,
        listeners,
    })
}

async fn serve(
    broker: &Arc<Broker>,
    listeners: Vec<Listener>,
    network: &NetworkLimits,
    drain: &Drain,
) -> Vec<JoinHandle<()>> {
    let service = Arc::new(KafkaService(Api::new(Arc::clone(broker))));
    let overrides = addresses(&network.connections_per_ip_overrides).await;
    let seats = Arc::new(ListenerLimits::new(
        network.connections_max,
        network.connections_per_ip_max,
        overrides,
        Descriptors::of_process().connections_max,
    ));
    let limits = ConnectionLimits {
        frame: FrameLimits {
            frame_bytes_max: network.produce_request_max_bytes,
            other_bytes_max: network.request_max_bytes,
        },
        inflight_bytes_max: network.connection_in_flight_max_bytes,
        inflight_requests_max: network.connection_in_flight_max_requests,
        idle_max: network.idle_max,
        budget: ByteBudget::new(network.total_in_flight_max_bytes as u64),
    };
    listeners
        .into_iter()
        .map(|listener| {
            let (service, seats) = (Arc::clone(&service), Arc::clone(&seats));
            tokio::spawn(listener.serve(service, seats, limits.clone(), drain.clone()))
        })
        .collect()
}

impl Running {
    /// Returns when the data directory is gone or another: then there is nothing left to serve.
    pub(super) async fn lost(&self) {
        self.broker.lost().await;
    }

    /// Drains: refuses new connections, answers what has been asked, writes everything to disk.
    ///
    /// # Errors
    /// Not everything is on disk. The broker is stopped all the same.
    pub(super) async fn stop(self) -> Result<Stopped, StopFault> {
        self.shutdown.begin();
        for listener in self.listeners {
            if listener.await.is_err() {
                tracing::error!("a listener ended before it was told to");
            }
        }
        if tokio::time::timeout(DRAIN_MAX, self.shutdown.finished()).await.is_err() {
            // Whoever waits now would be told of a broker that leads nothing any more (S100).
            self.shutdown.cut();
            tracing::warn!("connections that were not done after {} s are cut", DRAIN_MAX.as_secs());
            if tokio::time::timeout(CUT_MAX, self.shutdown.finished()).await.is_err() {
                tracing::warn!("connections are still at work after {} s more", CUT_MAX.as_secs());
            }
        }
        self.broker.stop().await
    }
}

/// The address to bind: the first that the host's name has. No host is every interface in both protocols, as in Kafka.
async fn resolve(wanted: &HostPort) -> anyhow::Result<SocketAddr> {
    if wanted.host.is_empty() {
        return Ok((Ipv6Addr::UNSPECIFIED, wanted.port).into());
    }
    let found = tokio::net::lookup_host((&*wanted.host, wanted.port)).await;
    let mut found =
        found.with_context(|| format!("cannot listen on {}: the name is not known", wanted.host))?;
    match found.next() {
        Some(address) => Ok(address),
        None => bail!("cannot listen on {}: the name has no address", wanted.host),
    }
}

/// The per-address limits, with names looked up.
async fn addresses(overrides: &[(String, usize)]) -> HashMap<IpAddr, usize> {
    let mut limits = HashMap::new();
    for (host, max) in overrides {
        match tokio::net::lookup_host((&**host, 0)).await {
            Ok(found) => limits.extend(found.map(|address| (address.ip().to_canonical(), *max))),
            Err(error) => {
                tracing::warn!(host, %error, "max.connections.per.ip.overrides: unknown host ignored")
            }
        }
    }
    limits
}
