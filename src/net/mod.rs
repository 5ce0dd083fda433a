//! Sockets: listeners, connections, back-pressure and shutdown. Knows no API: what a frame means is told by a
//! [`Service`](crate::wire::service::Service) value that the caller hands in.

mod budget;
mod connection;
mod limits;
mod listener;
mod port_owner;
mod receive;
mod shutdown;
mod transport;
mod turn;
mod write_queue;

pub use budget::ByteBudget;
pub use connection::serve_connection;
pub use limits::ConnectionLimits;
pub use listener::{BindError, Listener, ListenerLimits, SocketOptions, bind};
pub use shutdown::{Drain, ShutdownHandle, shutdown};
pub use transport::{HangUp, Transport};

/// An answer: chunks in memory and slices of log files, in the order in which they leave.
pub type Reply = crate::wire::encode::Reply<crate::storage::log::LogSlice>;
