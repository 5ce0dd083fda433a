//! One receive of a connection: into room that is made when there is something to read, and as the gate allows.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use tokio::io::AsyncReadExt as _;

use super::Transport;
use super::budget::Gate;
use crate::wire::frame::FrameBuffer;

/// What a connection that holds little reads at a time when the memory for requests is taken, in bytes.
const LITTLE_RECEIVE_BYTES: usize = 8 * 1024;

/// Reads once, and keeps no memory while there is nothing to read.
pub(super) async fn receive<T: Transport>(
    io: &mut T,
    frames: &mut FrameBuffer,
    gate: &mut Gate,
    (owed_nothing, holds_little): (bool, bool),
    poll_room: impl Fn(&mut Context<'_>) -> Poll<()>,
) -> io::Result<usize> {
    poll_fn(|context| {
        let received = match poll_room(context) {
            Poll::Ready(()) => poll_receive(io, frames, gate, (owed_nothing, holds_little), context),
            Poll::Pending => Poll::Pending,
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
/// owed nothing and holds little reads a little without asking.
fn poll_receive<T: Transport>(
    io: &mut T,
    frames: &mut FrameBuffer,
    gate: &mut Gate,
    (owed_nothing, holds_little): (bool, bool),
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let little = owed_nothing && holds_little && gate.is_full();
    if little {
        gate.leave();
    }
    let received = match io.poll_readable(context)? {
        Poll::Pending => Poll::Pending,
        Poll::Ready(()) if little => {
            let mut space = frames.little_space().limit(LITTLE_RECEIVE_BYTES);
            pin!(io.read_buf(&mut space)).poll(context)?
        }
        Poll::Ready(()) => {
            ready!(gate.poll_open(context, owed_nothing));
            pin!(io.read_buf(frames.space(gate.room()))).poll(context)?
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
