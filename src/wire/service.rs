//! The contract between connections and front-ends: what a front-end must say of a frame so that a connection that
//! knows no API can serve it. `S` is what stands for a slice of a log file in an answer.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::encode::Reply;
use super::frame::FrameError;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// Which listener it came in on, by its place in the configuration.
    pub listener: usize,
    /// The local address that it reached, which "advertise = auto" falls back on.
    pub local: SocketAddr,
}

/// How one request ends.
#[derive(Debug)]
pub enum Outcome<S> {
    /// With this answer.
    Reply(Reply<S>),
    /// With this answer, after which nothing is read for a while (KIP-219 throttling).
    ReplyThenMute(Reply<S>, Duration),
    /// Without an answer, as the request asked (acks=0).
    Silent,
    /// By closing the connection, once the answers before it have left.
    Close,
}

/// A request's outcome that takes time.
pub type Pending<S> = Pin<Box<dyn Future<Output = Outcome<S>> + Send>>;

/// What became of a frame when it was started.
pub enum Started<S> {
    /// It is done.
    Done(Outcome<S>),
    /// It waits. Requests that overlap may start behind it; others wait until it is answered.
    Waits(Pending<S>),
    /// It waits, and is given up when the peer goes away (a long poll).
    WaitsWhileOpen(Pending<S>),
}

impl<S> std::fmt::Debug for Started<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Started::Done",
            Self::Waits(_) => "Started::Waits",
            Self::WaitsWhileOpen(_) => "Started::WaitsWhileOpen",
        })
    }
}

/// A front-end: turns frames into answers.
///
/// Frames of one connection are started in order. [`Service::settle`] is called after each burst of starts, before
/// anything is waited for, so that requests that came in one receive can share work.
pub trait Service: Send + Sync + 'static {
    /// State of one connection.
    type Session: Send + Sync + 'static;
    /// A slice of a log file in an answer.
    type Slice: Send + 'static;

    /// A connection was accepted.
    fn open(&self, peer: &Peer) -> Self::Session;

    /// Whether there is room for frames that [need it](Service::needs_room): the cheap question before each.
    fn has_room(&self) -> bool;

    /// Returns when there is that room.
    fn room(&self) -> impl Future<Output = ()> + Send;

    /// Whether this frame, of which only the beginning may be there, takes of that room: while there is none it is
    /// neither started nor received to its end. So those who write faster than the disk does are held back, and nobody
    /// else.
    fn needs_room(&self, frame: &[u8]) -> bool;

    /// Whether this frame may start while earlier ones that also overlap wait for their answers.
    fn overlaps(&self, frame: &[u8]) -> bool;

    /// Starts a request.
    fn start(&self, session: &mut Self::Session, frame: Bytes) -> Started<Self::Slice>;

    /// Carries out what the starts since the last call have gathered.
    fn settle(&self, session: &mut Self::Session);

    /// The bytes were no frame: returns what to send before the connection closes, if anything, and says so in the log.
    fn bad_frame(&self, session: &mut Self::Session, error: &FrameError) -> Option<Bytes>;

    /// The connection is gone.
    fn close(&self, session: Self::Session);
}
