//! Listening sockets: bind, accept, limits, back-off.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::port_owner::port_owner;
use super::{ConnectionLimits, Drain, serve_connection};
use crate::storage::log::LogSlice;
use crate::wire::service::{Peer, Service};

/// How long to wait after `accept` failed for want of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {address}: in use{}. Stop it, or use --port {} (--port 0 picks a free one).",
        owner.as_ref().map_or_else(String::new, |owner| format!(" by {owner}")), other_port(*address)
    )]
    InUse {
        /// The address wanted.
        address: SocketAddr,
        /// `pid 4121 (java)`, where the system tells.
        owner: Option<String>,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address wanted.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

fn other_port(address: SocketAddr) -> u16 {
    address.port().checked_add(100).unwrap_or(9192)
}

/// A bound socket that accepts no one yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    index: usize,
}

/// What listening sockets are opened with.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// Connections that may wait to be accepted (`socket.listen.backlog.size`).
    pub backlog: i32,
    /// `socket.send.buffer.bytes`; `None` leaves it to the kernel, which then fits it to each connection.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`, likewise.
    pub receive_buffer_bytes: Option<usize>,
}

/// Opens the `index`-th listener. Port 0 picks a free one; [`Listener::address`] says which.
pub fn bind(address: SocketAddr, index: usize, options: SocketOptions) -> Result<Listener, BindError> {
    let open = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Connections inherit both, and the window's scale is agreed on before they are accepted.
        if let Some(bytes) = options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        let socket = TcpListener::from_std(socket.into())?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    match open() {
        Ok((socket, address)) => Ok(Listener { socket, address, index }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(BindError::InUse { address, owner: port_owner(address.port()) })
        }
        Err(source) => Err(BindError::Other { address, source }),
    }
}

/// How many connections there may be (`max.connections`, `max.connections.per.ip` and its overrides).
#[derive(Debug)]
pub struct ListenerLimits {
    /// In all.
    pub connections_max: usize,
    /// From one address.
    pub connections_per_ip_max: usize,
    /// From these addresses, instead.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    places: Arc<Semaphore>,
    /// How many the process has descriptors for. More are turned away, so that those there are can go on.
    affordable: Arc<Semaphore>,
    open: Mutex<HashMap<IpAddr, usize>>,
    /// Connections that were turned away for want of descriptors since there last was a place.
    turned_away: AtomicUsize,
}

impl ListenerLimits {
    /// Limits shared by all listeners. `affordable_max` is how many connections the process has descriptors for.
    pub fn new(
        connections_max: usize,
        connections_per_ip_max: usize,
        per_ip_overrides: HashMap<IpAddr, usize>,
        affordable_max: usize,
    ) -> Self {
        let semaphore = |places: usize| Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self {
            connections_max,
            connections_per_ip_max,
            per_ip_overrides,
            places: semaphore(connections_max),
            affordable: semaphore(affordable_max),
            open: Mutex::default(),
            turned_away: AtomicUsize::new(0),
        }
    }

    /// A descriptor for a connection that was accepted; `None` if the process has none to spare. Says so once, and
    /// once that there is one again.
    fn afford(&self, peer: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let afforded = Arc::clone(&self.affordable).try_acquire_owned().ok();
        if afforded.is_none() && self.turned_away.fetch_add(1, Ordering::Relaxed) == 0 {
            warn!(
                %peer,
                "connection refused: the process may not open more files. Others are refused without a line each. Raise \
                 the limit (ulimit -n, LimitNOFILE= of the unit, docker run --ulimit nofile=) or set max.connections"
            );
        } else if afforded.is_some() && self.turned_away.load(Ordering::Relaxed) > 0 {
            let count = self.turned_away.swap(0, Ordering::Relaxed);
            warn!("there is a descriptor for a connection again; {count} were refused");
        }
        afforded
    }

    /// A place among all connections. While there is none the listener takes no other connection: as in Kafka, those
    /// who come wait in the backlog.
    async fn place(&self, listener: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Some(place);
        }
        warn!(%listener, "max.connections ({}) is reached; new connections wait", self.connections_max);
        // The semaphore is never closed.
        places.acquire_owned().await.ok()
    }

    fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        place: OwnedSemaphorePermit,
        afforded: OwnedSemaphorePermit,
    ) -> Result<Seat, &'static str> {
        let mut open = self.open.lock();
        let max = self.per_ip_overrides.get(&ip).copied().unwrap_or(self.connections_per_ip_max);
        let count = open.entry(ip).or_default();
        if *count >= max {
            if *count == 0 {
                open.remove(&ip);
            }
            return Err("max.connections.per.ip is reached");
        }
        *count += 1;
        Ok(Seat { limits: Arc::clone(self), ip, _place: place, _afforded: afforded })
    }
}

/// One connection's place under the limits.
struct Seat {
    limits: Arc<ListenerLimits>,
    ip: IpAddr,
    _place: OwnedSemaphorePermit,
    _afforded: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock();
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

impl Listener {
    /// The address it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the drain begins. Each connection gets a task of its own.
    pub async fn serve<S: Service<Slice = LogSlice>>(
        self,
        service: Arc<S>,
        limits: Arc<ListenerLimits>,
        connection_limits: ConnectionLimits,
        mut drain: Drain,
    ) {
        let mut is_failing = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.wait() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!(listener = %self.address, %error, "cannot accept a connection; trying until one can be");
                    }
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            is_failing = false;
            let Some(afforded) = limits.afford(address) else { continue };
            let place = tokio::select! {
                biased;
                () = drain.wait() => return,
                place = limits.place(self.address) => place,
            };
            let Some(place) = place else { return };
            let seat = match limits.enter(address.ip().to_canonical(), place, afforded) {
                Ok(seat) => seat,
                Err(reason) => {
                    warn!(peer = %address, "connection refused: {reason}");
                    continue;
                }
            };
            self.spawn(socket, address, seat, Arc::clone(&service), connection_limits.clone(), drain.clone());
        }
    }

    fn spawn<S: Service<Slice = LogSlice>>(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        seat: Seat,
        service: Arc<S>,
        limits: ConnectionLimits,
        drain: Drain,
    ) {
        let local = socket.local_addr().unwrap_or(self.address);
        let peer = Peer { address, listener: self.index, local };
        tokio::spawn(async move {
            let _seat = seat;
            if let Err(error) = socket.set_nodelay(true) {
                debug!(peer = %address, %error, "cannot set TCP_NODELAY");
            }
            match serve_connection(socket, service, peer, limits, drain).await {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    warn!(peer = %address, "closing the connection: {error}");
                }
                Err(error) => debug!(peer = %address, %error, "connection ended"),
                Ok(()) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn socket_buffers_are_as_large_as_asked_and_else_the_kernels() {
        let bytes = 20_000;
        let accepted = async |options| {
            let listener = bind((std::net::Ipv4Addr::LOCALHOST, 0).into(), 0, options).unwrap();
            let _client = std::net::TcpStream::connect(listener.address()).unwrap();
            let (socket, _) = listener.socket.accept().await.unwrap();
            let socket = SockRef::from(&socket);
            (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap())
        };
        let options = SocketOptions { backlog: 5, send_buffer_bytes: None, receive_buffer_bytes: None };
        let (send, receive) = accepted(options).await;
        assert!(send > 4 * bytes && receive > 2 * bytes, "{send} {receive}");
        let both =
            SocketOptions { send_buffer_bytes: Some(bytes), receive_buffer_bytes: Some(bytes), ..options };
        // Linux counts its own needs in.
        assert_eq!(accepted(both).await, (2 * bytes, 2 * bytes));
    }
}
