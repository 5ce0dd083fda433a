//! The bounds of one connection, as whoever accepts it hands them over.

use std::sync::Arc;
use std::time::Duration;

use super::ByteBudget;
use crate::wire::frame::FrameLimits;

/// Bounds of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Sizes that frames may have.
    pub frame: FrameLimits,
    /// Request bytes held for one connection: over it, the connection is not read.
    pub inflight_bytes_max: usize,
    /// Requests held for one connection: over it, the connection is not read.
    pub inflight_requests_max: usize,
    /// How long a connection that is owed nothing may be silent, and how long a peer may take no answers
    /// (`connections.max.idle.ms`); `None` is for ever.
    pub idle_max: Option<Duration>,
    /// The bound on memory for requests and larger answers of all connections.
    pub budget: Arc<ByteBudget>,
}
