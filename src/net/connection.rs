//! One connection: frames in, answers out, in order.
//!
//! Requests start in order and are answered in order. Those that overlap (Produce) may wait together, so that waiting
//! for the disk does not stop the next one; any other starts when all before it are answered, and nothing starts behind
//! it until it is. The connection reads on meanwhile, within its byte bound, so that it notices a peer that goes away.
//! While the disk is too far behind, a Produce is left where it is; a connection that has none is served as ever. A peer
//! that hangs up then is let go at once, unless a whole request of it is there: like Kafka's broker this one carries that
//! out, and answers a peer that has only ended its own side.
//! All frames of one receive are started before their shared work is settled, and all answers that are finished leave
//! in one write; but no more is started while many bytes of answers have not left, and a connection that has been busy
//! for a while lets the others have their turn.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

use super::budget::Gate;
use super::receive::{Manner, Received, lies_open, receive};
use super::transport::is_hang_up;
use super::turn::{TURN_MAX, Turn};
use super::write_queue::{Patience, WriteQueue};
use super::{ConnectionLimits, Drain, HangUp, Transport};
use crate::storage::log::LogSlice;
use crate::wire::frame::{Block, Frame, FrameBuffer, FrameError};
use crate::wire::service::{Outcome, Peer, Pending, Service, Started};

/// A connection that was silent for this long holds no more memory than the bytes that it sent.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// A connection that holds less than this may read on when the memory for requests is taken, a little at a time: small
/// requests are never held up by large ones.
const LITTLE_BYTES: usize = 64 * 1024;
/// Answers of this size count as soon as the peer does not take them: thousands who take nothing would hold much
/// together.
const SMALL_ANSWERS_BYTES: usize = 8 * 1024;
/// How long a connection may stand still in the middle of a larger frame, or before answers that count, while the memory
/// for requests is taken.
const STALL_MAX: Duration = Duration::from_secs(2);
/// How fast a larger frame has to grow while the memory for requests is taken, in bytes per second, over this time.
const FRAME_RATE_MIN: u64 = 32 * 1024;
const FRAME_RATE_OVER: Duration = Duration::from_secs(4);
/// Answers in memory that have not left, in bytes: above it no frame is started. One answer may be larger.
const ANSWERS_BYTES_MAX: usize = 256 * 1024;

/// Serves one connection until it ends or is cut. Returns why it ended if that is worth a debug line.
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
        gate: Gate::new(Arc::clone(&limits.budget)),
        frames: FrameBuffer::new(limits.frame),
        limits,
        inbox: VecDeque::new(),
        untaken: false,
        unheard: false,
        waiting: VecDeque::new(),
        sends_no_more: false,
        listening: true,
        held_bytes: 0,
        out: WriteQueue::default(),
        muted_until: None,
        ending: None,
        silence: Box::pin(tokio::time::sleep(QUIET_AFTER)),
        last_heard: Instant::now(),
        quiet: false,
        pace: None,
    };
    let mut session = session;
    let cut = drain.clone().cut();
    // Biased: what is finished at that moment is still written.
    let result = tokio::select! {
        biased;
        result = connection.run(&*service, &mut session, drain) => result,
        () = cut => Ok(()),
    };
    service.close(session);
    result
}

/// A request that was started and is not answered yet.
struct Waiting {
    pending: Pending<LogSlice>,
    held: Held,
    overlaps: bool,
    /// Given up when the peer goes away.
    while_open: bool,
}

/// What a request counts for until it is answered.
struct Held {
    frame_bytes: usize,
    /// Counts by being there.
    _block: Arc<Block>,
}

/// What a connection woke up for.
enum Event {
    /// Bytes came in.
    Received,
    /// It stands still in the middle of a frame, or nearly so, while others wait for the memory.
    Stalled(FrameError),
    /// Anything else: looking around is enough.
    Other,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The peer sends no more; what it sent before is still carried out.
    PeerClosed,
    /// What the peer sends is not understood; what it sent before that is still answered.
    Unreadable,
    /// The connection closes when the answers before have left.
    Close,
}

struct Connection<T> {
    io: T,
    frames: FrameBuffer,
    limits: ConnectionLimits,
    inbox: VecDeque<Frame>,
    /// Whole frames may have come that there was no place for in the inbox.
    untaken: bool,
    /// Nobody takes answers any more: they are dropped.
    unheard: bool,
    waiting: VecDeque<Waiting>,
    /// The peer was seen to send no more; what it sent before need not have been read.
    sends_no_more: bool,
    /// Whether the peer was listened to when the silence began to count.
    listening: bool,
    /// Bytes of whole frames that are not answered.
    held_bytes: usize,
    gate: Gate,
    out: WriteQueue,
    muted_until: Option<Instant>,
    ending: Option<Ending>,
    /// Goes off when a connection that is owed nothing has been silent: first its buffer goes, then the connection.
    silence: Pin<Box<Sleep>>,
    last_heard: Instant,
    quiet: bool,
    /// Since when a larger frame is watched while the memory is taken, and what had come of it.
    pace: Option<(Instant, usize)>,
}

impl<T: Transport> Connection<T> {
    async fn run<S: Service<Slice = LogSlice>>(
        &mut self,
        service: &S,
        session: &mut S::Session,
        mut drain: Drain,
    ) -> io::Result<()> {
        let mut turn = Turn::begin();
        loop {
            if self.untaken {
                self.take_frames(service, session);
            }
            self.start_frames(service, session, turn.end());
            self.collect_finished();
            self.cancel_long_poll();
            // One write carries the answers to all frames that came together.
            if self.waiting.is_empty()
                && self.out.bytes_in_memory() < ANSWERS_BYTES_MAX
                && !turn.is_over()
                && self.can_start(service)
            {
                continue;
            }
            if !self.out.is_empty() {
                self.write_answers(&mut drain).await?;
            }
            // What is finished, answered or not, may have been what the next frames waited for.
            if self.can_start(service) || self.untaken && self.has_place() {
                turn.pass_on().await;
                continue;
            }
            if self.is_over() || (drain.begun() && !self.owes_acknowledgements()) {
                return Ok(());
            }
            match turn.wait(self.wait(service, &mut drain)).await? {
                Event::Received => self.untaken = true,
                Event::Stalled(error) => self.give_up(service, session, &error),
                Event::Other => {}
            }
            self.count_held();
        }
    }

    /// Counts what the connection holds: its requests and, unless they are small, the answers that have not left.
    fn count_held(&mut self) {
        let answers = Some(self.out.bytes_in_memory()).filter(|bytes| *bytes >= SMALL_ANSWERS_BYTES);
        self.gate.hold(self.frames.allocated() + answers.unwrap_or(0));
    }

    /// Writes all answers that are finished.
    async fn write_answers(&mut self, drain: &mut Drain) -> io::Result<()> {
        let counts = self.out.bytes_in_memory() >= SMALL_ANSWERS_BYTES;
        if counts {
            self.count_held();
        }
        let when_full = counts.then_some((STALL_MAX, &*self.limits.budget));
        let patience = Patience { idle_max: self.limits.idle_max, when_full };
        match self.out.write_to(&mut self.io, patience, drain).await {
            Err(error) if is_hang_up(&error) => {
                self.ending.get_or_insert(Ending::PeerClosed);
                self.stop_answering();
            }
            written => written?,
        }
        if counts {
            self.count_held();
        }
        // Silence begins anew: the peer may have waited for this.
        self.last_heard = Instant::now();
        Ok(())
    }

    /// Whether nothing is left to do for a connection that is ending.
    fn is_over(&self) -> bool {
        match self.ending {
            None => false,
            Some(Ending::Close) => self.waiting.is_empty(),
            Some(Ending::Unreadable) => {
                // A long poll that nothing stands behind need not be waited for.
                self.inbox.is_empty() && self.waiting.front().is_none_or(|waiting| waiting.while_open)
            }
            Some(Ending::PeerClosed) => self.waiting.is_empty() && self.inbox.is_empty() && !self.untaken,
        }
    }

    /// A long poll is of no use to a peer that went away; what it sent behind it may be. That goes unanswered, since
    /// answers have to come in order.
    fn cancel_long_poll(&mut self) {
        if self.ending == Some(Ending::PeerClosed)
            && self.waiting.front().is_some_and(|waiting| waiting.while_open)
            && let Some(head) = self.waiting.pop_front()
        {
            self.release(head.held);
            self.unheard = true;
        }
    }

    fn stop_answering(&mut self) {
        self.unheard = true;
        self.out = WriteQueue::default();
    }

    /// Whether requests that change data wait for their answers: a drain lets them finish, and cuts long polls short.
    fn owes_acknowledgements(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.overlaps)
    }

    fn can_start<S: Service<Slice = LogSlice>>(&self, service: &S) -> bool {
        self.is_next(service) && !self.lacks_room(service)
    }

    /// Whether the next frame may start if the disk has room for it.
    fn is_next<S: Service<Slice = LogSlice>>(&self, service: &S) -> bool {
        let Some(frame) = self.inbox.front() else { return false };
        if self.ending == Some(Ending::Close) || self.muted_until.is_some() {
            return false;
        }
        self.waiting.is_empty()
            || (self.waiting.iter().all(|waiting| waiting.overlaps) && service.overlaps(&frame.bytes))
    }

    /// Whether the next frame is more than the disk has room for.
    fn lacks_room<S: Service<Slice = LogSlice>>(&self, service: &S) -> bool {
        !service.has_room() && self.inbox.front().is_some_and(|frame| service.needs_room(&frame.bytes))
    }

    /// Starts every frame that may start now, then settles what they gathered. Those that are answered at once stop it
    /// when the time is up or their answers are many bytes.
    fn start_frames<S: Service<Slice = LogSlice>>(
        &mut self,
        service: &S,
        session: &mut S::Session,
        until: Instant,
    ) {
        let mut started = false;
        while self.can_start(service) && self.out.bytes_in_memory() < ANSWERS_BYTES_MAX {
            let Some(frame) = self.inbox.pop_front() else { break };
            let Frame { bytes, block } = frame;
            let (held, overlaps) =
                (Held { frame_bytes: bytes.len(), _block: block }, service.overlaps(&bytes));
            started = true;
            let (pending, while_open) = match service.start(session, bytes) {
                Started::Done(outcome) if self.waiting.is_empty() => {
                    self.release(held);
                    self.finish(outcome);
                    if Instant::now() >= until {
                        break;
                    }
                    continue;
                }
                Started::Done(outcome) => (Box::pin(std::future::ready(outcome)) as Pending<LogSlice>, false),
                Started::Waits(pending) => (pending, false),
                Started::WaitsWhileOpen(pending) => (pending, true),
            };
            self.waiting.push_back(Waiting { pending, held, overlaps, while_open });
            // More patience for what is settled together.
            if Instant::now() >= until + 4 * TURN_MAX {
                break;
            }
        }
        if started {
            service.settle(session);
        }
    }

    /// Moves answers that are finished already to the write queue. Outside of the runtime's budget of polls, which would
    /// make the later ones of many wait for nothing: the connection's own turn bounds it.
    fn collect_finished(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(head) = self.waiting.front_mut() {
            match pin!(unconstrained(head.pending.as_mut())).poll(&mut context) {
                Poll::Ready(outcome) => self.finish_head(outcome),
                Poll::Pending => break,
            }
        }
    }

    fn finish_head(&mut self, outcome: Outcome<LogSlice>) {
        if let Some(head) = self.waiting.pop_front() {
            self.release(head.held);
        }
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome<LogSlice>) {
        match outcome {
            Outcome::Reply(_) | Outcome::ReplyThenMute(..) if self.unheard => {}
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
                self.untaken = false;
                self.held_bytes = 0;
            }
        }
        if self.out.bytes_in_memory() >= LITTLE_BYTES {
            self.count_held();
        }
    }

    /// Waits until something happens.
    async fn wait<S: Service<Slice = LogSlice>>(
        &mut self,
        service: &S,
        drain: &mut Drain,
    ) -> io::Result<Event> {
        let draining = drain.begun();
        let may_read = !draining
            && (self.ending.is_none()
                && self.muted_until.is_none()
                && self.held_bytes + self.frames.pending() < self.limits.inflight_bytes_max
                && self.has_place()
                || self.reads_on());
        self.listening = may_read;
        let (heeds_silence, lacks_room) = (self.heeds_silence(), self.lacks_room(service));
        let manner = Manner {
            owed_nothing: self.reads_on(),
            holds_little: !self.is_in_large_frame(),
            lacks_room,
            sends_no_more: self.sends_no_more,
        };
        if !lacks_room && self.is_next(service) {
            // There was none when the frame was to start. Asked once: who waits for it below is sure to be woken.
            return Ok(Event::Other);
        }
        let Self { io, frames, inbox, gate, waiting, muted_until, silence, .. } = self;
        tokio::select! {
            biased;
            outcome = head(waiting), if !waiting.is_empty() => {
                self.finish_head(outcome);
                Ok(Event::Other)
            }
            () = until(*muted_until), if muted_until.is_some() => {
                *muted_until = None;
                Ok(Event::Other)
            }
            received = receive(io, frames, gate, manner, service, inbox), if may_read || lacks_room => {
                self.heard(received)
            }
            () = drain.wait(), if !draining => Ok(Event::Other),
            () = silence, if heeds_silence => {
                self.listening &= lies_open(service, &self.inbox, &self.frames);
                Ok(self.heard_nothing())
            }
        }
    }

    /// Takes note of a receive.
    fn heard(&mut self, received: io::Result<Received>) -> io::Result<Event> {
        let received = match received {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
            Ok(Received::Bytes(bytes)) => bytes,
            Ok(Received::Room) => return Ok(Event::Other),
            Ok(Received::HungUp(how)) => {
                self.let_go(how);
                return Ok(Event::Other);
            }
        };
        self.last_heard = Instant::now();
        if self.quiet {
            self.quiet = false;
            self.silence.as_mut().reset(self.last_heard + QUIET_AFTER);
        }
        if received == 0 {
            self.sends_no_more = true;
            self.ending = Some(Ending::PeerClosed);
            return Ok(Event::Other);
        }
        Ok(Event::Received)
    }

    /// The peer hung up while it was held back. What it sent in full stays what it is, for it may take the answer; once
    /// it is gone nothing that has not begun is owed to anybody.
    fn let_go(&mut self, how: HangUp) {
        let is_gone = how == HangUp::Gone;
        self.sends_no_more = true;
        let unread = self.io.unread();
        if !is_gone && self.frames.missing().map_or(unread > 0, |missing| missing <= unread) {
            return;
        }
        self.frames.clear();
        self.io.discard_unread();
        self.untaken = false;
        self.ending.get_or_insert(Ending::PeerClosed);
        if is_gone {
            self.held_bytes -= self.inbox.drain(..).map(|frame| frame.bytes.len()).sum::<usize>();
            self.stop_answering();
        }
        self.count_held();
    }

    /// Whether silence means something now.
    fn heeds_silence(&self) -> bool {
        let holds_memory = self.is_in_large_frame() || self.frames.block_bytes() >= LITTLE_BYTES;
        self.listening && holds_memory
            || self.is_owed_nothing() && (!self.quiet || self.limits.idle_max.is_some())
    }

    /// A connection that is owed an answer may be silent.
    fn is_owed_nothing(&self) -> bool {
        self.waiting.is_empty() && self.inbox.is_empty()
    }

    /// Whether a frame has begun that others may have to wait for.
    fn is_in_large_frame(&self) -> bool {
        self.frames.pending() >= LITTLE_BYTES
    }

    /// The silence timer went off. It is not set anew with every receive, so it may be early.
    fn heard_nothing(&mut self) -> Event {
        let silent = self.last_heard.elapsed();
        let soon = Instant::now() + QUIET_AFTER;
        if self.gate.is_asking() || !self.listening {
            // It is we who do not listen.
            self.last_heard = Instant::now();
            self.pace = None;
            self.silence.as_mut().reset(soon);
            return Event::Other;
        }
        if self.is_owed_nothing() && self.limits.idle_max.is_some_and(|max| silent >= max) {
            self.ending = Some(Ending::Close);
            return Event::Other;
        }
        if let Some(error) = self.stalls(silent) {
            return Event::Stalled(error);
        }
        self.quiet = silent >= QUIET_AFTER;
        if self.quiet {
            self.frames.shrink();
        }
        let next = match self.limits.idle_max {
            _ if !self.quiet => self.last_heard + QUIET_AFTER,
            Some(max) if !self.is_in_large_frame() => self.last_heard + max,
            _ => soon,
        };
        let next = self.limits.idle_max.map_or(next, |max| next.min((self.last_heard + max).max(soon)));
        self.silence.as_mut().reset(next);
        Event::Other
    }

    /// What to say of a larger frame that is not gone on with, or hardly, while the memory is taken.
    fn stalls(&mut self, silent: Duration) -> Option<FrameError> {
        if !self.is_in_large_frame() || !self.gate.is_full() {
            self.pace = None;
            return None;
        }
        let received = self.frames.pending();
        if silent >= STALL_MAX {
            return Some(FrameError::Stalled { received, seconds: silent.as_secs() });
        }
        let (since, before) = *self.pace.get_or_insert_with(|| (Instant::now(), received));
        let watched = since.elapsed();
        if watched < FRAME_RATE_OVER {
            return None;
        }
        self.pace = None;
        let (lately, seconds) = (received.saturating_sub(before), watched.as_secs());
        (lately as u64 / FRAME_RATE_MIN < seconds).then_some(FrameError::TooSlow {
            received,
            lately,
            seconds,
        })
    }

    /// A frame that has begun is read to its end even over the connection's own bound: it could never start otherwise.
    fn reads_on(&self) -> bool {
        self.ending.is_none() && self.muted_until.is_none() && self.is_owed_nothing()
    }

    /// Whether one more request may be held.
    fn has_place(&self) -> bool {
        self.is_owed_nothing() || self.inbox.len() + self.waiting.len() < self.limits.inflight_requests_max
    }

    /// Takes the whole frames that there is place for.
    fn take_frames<S: Service<Slice = LogSlice>>(&mut self, service: &S, session: &mut S::Session) {
        while self.has_place() {
            match self.frames.next_frame() {
                Ok(Some(frame)) => {
                    self.held_bytes += frame.bytes.len();
                    self.gate.leave();
                    self.pace = None;
                    self.inbox.push_back(frame);
                }
                Ok(None) => {
                    self.untaken = false;
                    return;
                }
                Err(error) => return self.give_up(service, session, &error),
            }
        }
    }

    /// Nothing that comes in from now on can be understood.
    fn give_up<S: Service<Slice = LogSlice>>(
        &mut self,
        service: &S,
        session: &mut S::Session,
        error: &FrameError,
    ) {
        // Only the first bytes of a connection are answered, so no other answer is owed before.
        if let Some(parting) = service.bad_frame(session, error) {
            self.out.push_bytes(parting);
        }
        self.ending = Some(Ending::Unreadable);
        self.untaken = false;
    }

    fn release(&mut self, held: Held) {
        self.held_bytes -= held.frame_bytes;
        drop(held);
        self.count_held();
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

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
