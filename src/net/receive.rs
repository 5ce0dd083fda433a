//! One receive of a connection: into room that is made when there is something to read, and as the gate and the disk
//! allow.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use tokio::io::AsyncReadExt as _;

use super::Transport;
use super::budget::Gate;
use crate::wire::frame::{Frame, FrameBuffer};
use crate::wire::service::Service;

/// What a connection that holds little reads at a time when the memory for requests is taken, or when the disk is behind
/// and it is not known what comes, in bytes.
const LITTLE_RECEIVE_BYTES: usize = 8 * 1024;

/// What may be read of a connection, for the sake of the disk.
pub(super) enum Allowed {
    /// As much as there is.
    All,
    /// The beginning of a frame, to see what it is.
    Beginning,
    /// Nothing: what comes next is more than the disk has room for.
    Nothing,
}

/// Reads once, and keeps no memory while there is nothing to read.
pub(super) async fn receive<T: Transport>(
    io: &mut T,
    frames: &mut FrameBuffer,
    gate: &mut Gate,
    (owed_nothing, holds_little): (bool, bool),
    allowed: impl Fn(&FrameBuffer, &mut Context<'_>) -> Allowed,
) -> io::Result<usize> {
    poll_fn(|context| {
        let beginning = match allowed(frames, context) {
            Allowed::All => Some(false),
            Allowed::Beginning => Some(true),
            Allowed::Nothing => None,
        };
        let received = match beginning {
            Some(beginning) => {
                poll_receive(io, frames, gate, (owed_nothing, holds_little), beginning, context)
            }
            None => Poll::Pending,
        };
        if received.is_pending() {
            frames.rest(gate.is_easy());
        }
        gate.hold(frames.allocated());
        received
    })
    .await
}

/// Makes room only when there is something to read, and asks at the gate, if it must, only then. A connection that is
/// owed nothing and holds little reads a little without asking. Of a frame that has not begun, `beginning` reads a little.
fn poll_receive<T: Transport>(
    io: &mut T,
    frames: &mut FrameBuffer,
    gate: &mut Gate,
    (owed_nothing, holds_little): (bool, bool),
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
pub(super) fn allowed<S: Service>(
    service: &S,
    inbox: &VecDeque<Frame>,
    frames: &FrameBuffer,
    context: &mut Context<'_>,
) -> Allowed {
    if service.has_room() {
        Allowed::All
    } else if lies_open(service, inbox, frames) {
        if frames.pending() == 0 { Allowed::Beginning } else { Allowed::All }
    } else if service.poll_room(context).is_ready() {
        Allowed::All
    } else {
        Allowed::Nothing
    }
}

/// Whether nothing that has come waits for the disk to have room.
pub(super) fn lies_open<S: Service>(service: &S, inbox: &VecDeque<Frame>, frames: &FrameBuffer) -> bool {
    service.has_room()
        || !(service.needs_room(frames.begun()) || inbox.iter().any(|frame| service.needs_room(&frame.bytes)))
}
