//! The streams that connections run over.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest};
use tokio::net::TcpStream;

/// A byte stream. Plain TCP shows itself, so that answers can leave with `writev` and `sendfile` straight from log
/// files; on any other stream file slices are read into memory first.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The TCP socket underneath, if bytes may be put on it as they are.
    fn tcp(&self) -> Option<&TcpStream>;

    /// Ready when a read is likely to bring something; may be ready too early.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Returns when the peer hangs up, without reading what it sent before; if it is known that it sends no more, when it
    /// is gone.
    fn hang_up(&self, sends_no_more: bool) -> impl Future<Output = HangUp> + Send;

    /// Bytes that have come and are not read. Once the peer sends no more, these are all there will be.
    fn unread(&self) -> usize;

    /// Reads the bytes that have come and drops them. A socket that is closed with bytes unread is reset, and takes the
    /// answers that have not arrived with it.
    fn discard_unread(&mut self);
}

/// How a peer hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// It sends no more (FIN). Whether it still takes answers cannot be told.
    SendsNoMore,
    /// It takes nothing either (RST, or the network's word that it is not there).
    Gone,
}

impl Transport for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }

    async fn hang_up(&self, sends_no_more: bool) -> HangUp {
        // Readable would be ready for as long as bytes lie there. "Priority" is urgent data, which the socket is not
        // watched for, or the end of what the peer sends.
        let interest = if sends_no_more { Interest::ERROR } else { Interest::PRIORITY.add(Interest::ERROR) };
        match self.ready(interest).await {
            Ok(ready) if !ready.is_error() => HangUp::SendsNoMore,
            _ => HangUp::Gone,
        }
    }

    fn unread(&self) -> usize {
        let bytes = rustix::io::ioctl_fionread(self).unwrap_or(0);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn discard_unread(&mut self) {
        let (mut left, mut scratch) = (self.unread(), [0; 4096]);
        while left > 0
            && let Ok(bytes @ 1..) = self.try_read(&mut scratch)
        {
            left = left.saturating_sub(bytes);
        }
    }
}

impl Transport for DuplexStream {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn poll_readable(&self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing tells it before all is read.
    async fn hang_up(&self, _sends_no_more: bool) -> HangUp {
        std::future::pending().await
    }

    fn unread(&self) -> usize {
        0
    }

    fn discard_unread(&mut self) {}
}

/// Whether a write failed because the peer is gone.
pub(super) fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}
