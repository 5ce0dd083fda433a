//! One receive of a connection: into room that is made when there is something to read, and as the gate and the disk
//! allow.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use tokio::io::AsyncReadExt as _;

use super::budget::Gate;
use super::{HangUp, Transport};
use crate::wire::frame::{Frame, FrameBuffer};
use crate::wire::service::Service;

/// What a connection that holds little reads at a time when the memory for requests is taken, or when the disk is behind
/// and it is not known what comes, in bytes.
const LITTLE_RECEIVE_BYTES: usize = 8 * 1024;

/// What may be read of a connection, for the sake of the disk.
enum Allowed {
    /// As much as there is.
    All,
    /// The beginning of a frame, to see what it is.
    Beginning,
    /// Nothing: what comes next is more than the disk has room for.
    Nothing,
}

/// How a connection receives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) owed_nothing: bool,
    pub(super) holds_little: bool,
    /// The next frame is more than the disk has room for.
    pub(super) lacks_room: bool,
    /// The peer was seen to send no more.
    pub(super) sends_no_more: bool,
}

/// What a receive brought.
#[derive(Debug)]
pub(super) enum Received {
    /// This many bytes; 0 at the end of what the peer sends.
    Bytes(usize),
    /// The disk has room again for what was held back.
    Room,
    /// The peer hung up while it was held back.
    HungUp(HangUp),
}

/// Reads once, and keeps no memory while there is nothing to read. Where nothing may be read for want of room it waits
/// for room, or for the peer to hang up, which no read would tell then.
pub(super) async fn receive<T: Transport, S: Service>(
    io: &mut T,
    frames: &mut FrameBuffer,
    gate: &mut Gate,
    manner: Manner,
    service: &S,
    inbox: &VecDeque<Frame>,
) -> io::Result<Received> {
    if !manner.lacks_room {
        let received = poll_fn(|context| {
            let beginning = match allowed(service, inbox, frames) {
                Allowed::All => false,
                Allowed::Beginning => true,
                Allowed::Nothing => return Poll::Ready(None),
            };
            let received = poll_receive(io, frames, gate, manner, beginning, context);
            if received.is_pending() {
                frames.rest(gate.is_easy());
            }
            gate.hold(frames.allocated());
            received.map(Some)
        });
        if let Some(received) = received.await {
            return Ok(Received::Bytes(received?));
        }
    }
    frames.rest(gate.is_easy());
    gate.hold(frames.allocated());
    tokio::select! {
        biased;
        () = service.room() => Ok(Received::Room),
        how = io.hang_up(manner.sends_no_more) => Ok(Received::HungUp(how)),
    }
}

/// Makes room only when there is something to read, and asks at the gate, if it must, only then. A connection that is
/// owed nothing and holds little reads a little without asking. Of a frame that has not begun, `beginning` reads a little.
fn poll_receive<T: Transport>(
    io: &mut T,
    frames: &mut FrameBuffer,
    gate: &mut Gate,
    Manner { owed_nothing, holds_little, .. }: Manner,
    beginning: bool,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let passes = owed_nothing && holds_little && gate.is_full();
    if passes {
        gate.leave();
    }
    let received = match io.poll_readable(context)? {
        Poll::Pending => Poll::Pending,
        Poll::Ready(()) => {
            if !passes {
                ready!(gate.poll_open(context, owed_nothing));
            }
            if passes || beginning {
                let mut space = frames.little_space().limit(LITTLE_RECEIVE_BYTES);
                pin!(io.read_buf(&mut space)).poll(context)?
            } else {
                pin!(io.read_buf(frames.space(gate.room()))).poll(context)?
            }
        }
    };
    match received {
        Poll::Ready(bytes) => frames.received(bytes),
        // Nobody has to wait for a frame that is not begun.
        Poll::Pending if frames.pending() == 0 => gate.leave(),
        Poll::Pending => {}
    }
    received.map(Ok)
}

/// What may be read behind these frames: while the disk has no room for more, no frame that needs it, but everything
/// else, and so much of the next frame that it shows which it is.
fn allowed<S: Service>(service: &S, inbox: &VecDeque<Frame>, frames: &FrameBuffer) -> Allowed {
    if service.has_room() {
        Allowed::All
    } else if !lies_open(service, inbox, frames) {
        Allowed::Nothing
    } else if frames.pending() == 0 {
        Allowed::Beginning
    } else {
        Allowed::All
    }
}

/// Whether nothing that has come waits for the disk to have room.
pub(super) fn lies_open<S: Service>(service: &S, inbox: &VecDeque<Frame>, frames: &FrameBuffer) -> bool {
    service.has_room()
        || !(service.needs_room(frames.begun()) || inbox.iter().any(|frame| service.needs_room(&frame.bytes)))
}
