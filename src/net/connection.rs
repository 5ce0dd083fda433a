//! One connection: frames in, answers out, in order.
//!
//! Requests start in order and are answered in order. Those that overlap (Produce) may wait together, so that waiting
//! for the disk does not stop the next one; any other starts when all before it are answered, and nothing starts behind
//! it until it is. The connection reads on meanwhile, within its byte bound, so that it notices a peer that goes away.
//! All frames of one receive are started before their shared work is settled, and all answers that are finished leave
//! in one write.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Sleep};

use super::budget::Admission;
use super::write_queue::WriteQueue;
use super::{ByteBudget, Drain, Transport};
use crate::storage::log::LogSlice;
use crate::wire::frame::{FrameBuffer, FrameLimits};
use crate::wire::service::{Outcome, Peer, Pending, Service, Started};

/// A connection that was silent for this long holds no receive buffer.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// How long a client may stop in the middle of a request while request memory is short.
const STALL_MAX: Duration = Duration::from_secs(5);
/// The silence timer goes off no more often than this.
const SILENCE_TICK_MIN: Duration = Duration::from_millis(100);

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
    /// The bound on request bytes of all connections.
    pub budget: Arc<ByteBudget>,
}

/// Serves one connection until it ends. Returns why it ended if that is worth a debug line.
pub async fn serve_connection<T: Transport, S: Service<Slice = LogSlice>>(
    io: T,
    service: Arc<S>,
    peer: Peer,
    limits: ConnectionLimits,
    drain: Drain,
) -> io::Result<()> {
    let session = service.open(&peer);
    let mut connection = Connection {
        io,
        frames: FrameBuffer::new(limits.frame),
        limits,
        inbox: VecDeque::new(),
        waiting: VecDeque::new(),
        held_bytes: 0,
        out: WriteQueue::default(),
        muted_until: None,
        ending: None,
        overflow: None,
        counted_pending: 0,
        silence: Box::pin(tokio::time::sleep(QUIET_AFTER)),
        last_heard: Instant::now(),
        quiet: false,
    };
    let mut session = session;
    let result = connection.run(&*service, &mut session, drain).await;
    connection.limits.budget.give((connection.held_bytes + connection.counted_pending) as u64);
    service.close(session);
    result
}

/// A request that was started and is not answered yet.
struct Waiting {
    pending: Pending<LogSlice>,
    frame_bytes: usize,
    overlaps: bool,
    /// Given up when the peer goes away.
    while_open: bool,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The peer sends no more; what it sent without wanting an answer is still carried out.
    PeerClosed,
    /// The connection closes when the answers before have left.
    Close,
}

struct Connection<T> {
    io: T,
    frames: FrameBuffer,
    limits: ConnectionLimits,
    inbox: VecDeque<Bytes>,
    waiting: VecDeque<Waiting>,
    held_bytes: usize,
    out: WriteQueue,
    muted_until: Option<Instant>,
    ending: Option<Ending>,
    overflow: Option<Admission>,
    /// Bytes of a frame that is not whole yet, as the budget counts them.
    counted_pending: usize,
    /// Goes off when a connection that is owed nothing has been silent: first its buffer goes, then the connection.
    silence: Pin<Box<Sleep>>,
    last_heard: Instant,
    quiet: bool,
}

impl<T: Transport> Connection<T> {
    async fn run<S: Service<Slice = LogSlice>>(
        &mut self,
        service: &S,
        session: &mut S::Session,
        mut drain: Drain,
    ) -> io::Result<()> {
        loop {
            self.start_frames(service, session);
            self.collect_finished();
            if !self.out.is_empty() {
                self.out.write_to(&mut self.io, self.limits.idle_max, &mut drain).await?;
            }
            // What is finished, answered or not, may have been what the next frames waited for.
            if self.can_start(service) {
                continue;
            }
            if self.is_over() || (drain.begun() && !self.owes_acknowledgements()) {
                return Ok(());
            }
            if self.wait(service, session, &mut drain).await? {
                self.take_frames(service, session);
            }
        }
    }

    /// Whether nothing is left to do for a connection that is ending.
    fn is_over(&self) -> bool {
        match self.ending {
            None => false,
            Some(Ending::Close) => self.waiting.is_empty(),
            // Acknowledgements are of no use to a peer that went away, but an overlapping request in the inbox may
            // be one that wanted none.
            Some(Ending::PeerClosed) => {
                self.waiting.is_empty() && self.inbox.is_empty()
                    || self.waiting.front().is_some_and(|waiting| waiting.while_open || !waiting.overlaps)
            }
        }
    }

    /// Whether requests that change data wait for their answers: a drain lets them finish, and cuts long polls short.
    fn owes_acknowledgements(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.overlaps)
    }

    fn can_start<S: Service<Slice = LogSlice>>(&self, service: &S) -> bool {
        let Some(frame) = self.inbox.front() else { return false };
        if self.ending == Some(Ending::Close) || self.muted_until.is_some() {
            return false;
        }
        self.waiting.is_empty()
            || (self.waiting.iter().all(|waiting| waiting.overlaps) && service.overlaps(frame))
    }

    /// Starts every frame that may start now, then settles what they gathered.
    fn start_frames<S: Service<Slice = LogSlice>>(&mut self, service: &S, session: &mut S::Session) {
        let mut started = false;
        while self.can_start(service) {
            let Some(frame) = self.inbox.pop_front() else { break };
            let (frame_bytes, overlaps) = (frame.len(), service.overlaps(&frame));
            started = true;
            match service.start(session, frame) {
                Started::Done(outcome) if self.waiting.is_empty() => {
                    self.release(frame_bytes);
                    self.finish(outcome);
                }
                Started::Done(outcome) => {
                    let pending: Pending<LogSlice> = Box::pin(std::future::ready(outcome));
                    self.waiting.push_back(Waiting { pending, frame_bytes, overlaps, while_open: false });
                }
                Started::Waits(pending) => {
                    self.waiting.push_back(Waiting { pending, frame_bytes, overlaps, while_open: false });
                }
                Started::WaitsWhileOpen(pending) => {
                    self.waiting.push_back(Waiting { pending, frame_bytes, overlaps, while_open: true });
                }
            }
        }
        if started {
            service.settle(session);
        }
    }

    /// Moves answers that are finished already to the write queue.
    fn collect_finished(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(head) = self.waiting.front_mut() {
            match head.pending.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => self.finish_head(outcome),
                Poll::Pending => break,
            }
        }
    }

    fn finish_head(&mut self, outcome: Outcome<LogSlice>) {
        if let Some(head) = self.waiting.pop_front() {
            self.release(head.frame_bytes);
        }
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome<LogSlice>) {
        match outcome {
            Outcome::Reply(reply) => self.out.push(reply),
            Outcome::ReplyThenMute(reply, pause) => {
                self.out.push(reply);
                self.muted_until = Some(Instant::now() + pause);
            }
            Outcome::Silent => {}
            Outcome::Close => {
                self.ending = Some(Ending::Close);
                self.waiting.clear();
                self.inbox.clear();
            }
        }
    }

    /// Waits until something happens; `true` when bytes came in.
    async fn wait<S: Service<Slice = LogSlice>>(
        &mut self,
        service: &S,
        session: &S::Session,
        drain: &mut Drain,
    ) -> io::Result<bool> {
        let idle = self.waiting.is_empty() && self.inbox.is_empty();
        let (draining, heeds_silence) =
            (drain.begun(), idle && (!self.quiet || self.limits.idle_max.is_some()));
        let may_read = self.ending.is_none()
            && self.muted_until.is_none()
            && self.held_bytes + self.frames.pending() < self.limits.inflight_bytes_max
            && self.inbox.len() + self.waiting.len() < self.limits.inflight_requests_max
            || self.reads_on();
        let heeds_silence = heeds_silence || self.frames.pending() > 0;
        let Self { io, frames, waiting, muted_until, silence, overflow, limits, .. } = self;
        let received = async {
            if overflow.is_none() && !limits.budget.has_room() {
                *overflow = Some(limits.budget.admit().await);
            }
            receive(io, frames, |context| service.poll_room(session, context)).await
        };
        tokio::select! {
            biased;
            outcome = head(waiting), if !waiting.is_empty() => {
                self.finish_head(outcome);
                Ok(false)
            }
            () = until(*muted_until), if muted_until.is_some() => {
                *muted_until = None;
                Ok(false)
            }
            received = received, if may_read => {
                let received = match received {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                    other => other?,
                };
                if received == 0 {
                    self.ending = Some(Ending::PeerClosed);
                }
                self.last_heard = Instant::now();
                self.quiet = false;
                self.count_pending();
                Ok(received > 0)
            }
            () = drain.wait(), if !draining => Ok(false),
            () = silence, if heeds_silence => {
                self.heard_nothing();
                Ok(false)
            }
        }
    }

    /// The silence timer went off. It is not set anew with every receive, so it may be early.
    fn heard_nothing(&mut self) {
        let silent = self.last_heard.elapsed();
        if self.frames.pending() > 0 && silent >= STALL_MAX && !self.limits.budget.has_room() {
            tracing::warn!(
                pending_bytes = self.frames.pending(),
                "closing a connection that stopped in the middle of a request while request memory is short"
            );
            self.ending = Some(Ending::Close);
            return;
        }
        let owes_nothing = self.waiting.is_empty() && self.inbox.is_empty();
        if owes_nothing && self.limits.idle_max.is_some_and(|max| silent >= max) {
            self.ending = Some(Ending::Close);
            return;
        }
        self.quiet = silent >= QUIET_AFTER;
        if self.quiet {
            self.frames.shrink();
        }
        let next = if self.quiet && self.frames.pending() == 0 {
            self.limits.idle_max.unwrap_or(QUIET_AFTER)
        } else {
            QUIET_AFTER
        };
        let next = next.min(self.limits.idle_max.unwrap_or(next));
        self.silence.as_mut().reset((self.last_heard + next).max(Instant::now() + SILENCE_TICK_MIN));
    }

    /// A frame that has begun is read to its end even over the connection's own bound: it could never start otherwise.
    fn reads_on(&self) -> bool {
        self.ending.is_none()
            && self.muted_until.is_none()
            && self.inbox.is_empty()
            && self.waiting.is_empty()
    }

    fn take_frames<S: Service<Slice = LogSlice>>(&mut self, service: &S, session: &mut S::Session) {
        loop {
            match self.frames.next_frame() {
                Ok(Some(frame)) => {
                    self.held_bytes += frame.len();
                    self.limits.budget.take(frame.len() as u64);
                    self.overflow = None;
                    self.inbox.push_back(frame);
                }
                Ok(None) => {
                    self.count_pending();
                    return;
                }
                Err(error) => {
                    if let Some(parting) = service.bad_frame(session, &error) {
                        self.out.push_bytes(parting);
                    }
                    self.ending = Some(Ending::Close);
                    self.inbox.clear();
                    return;
                }
            }
        }
    }

    /// Counts the bytes of a frame that is not whole yet: many halves of large frames are memory, too.
    fn count_pending(&mut self) {
        let pending = self.frames.pending();
        let budget = &self.limits.budget;
        match pending.checked_sub(self.counted_pending) {
            Some(more) => budget.take(more as u64),
            None => budget.give((self.counted_pending - pending) as u64),
        }
        self.counted_pending = pending;
    }

    fn release(&mut self, frame_bytes: usize) {
        self.held_bytes -= frame_bytes;
        self.limits.budget.give(frame_bytes as u64);
    }
}

/// The outcome of the oldest request that waits.
async fn head(waiting: &mut VecDeque<Waiting>) -> Outcome<LogSlice> {
    match waiting.front_mut() {
        Some(head) => head.pending.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Reads once. A quiet connection gets a buffer only when there is something to read.
async fn receive<T: Transport>(
    io: &mut T,
    frames: &mut FrameBuffer,
    poll_room: impl Fn(&mut Context<'_>) -> Poll<()>,
) -> io::Result<usize> {
    poll_fn(|context| {
        ready!(poll_room(context));
        if frames.is_shrunk() {
            ready!(io.poll_readable(context))?;
        }
        let received = ready!(pin!(io.read_buf(frames.space())).poll(context))?;
        frames.received(received);
        Poll::Ready(Ok(received))
    })
    .await
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
