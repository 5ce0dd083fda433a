//! The streams that connections run over.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

/// A byte stream. Plain TCP shows itself, so that answers can leave with `writev` and `sendfile` straight from log
/// files; on any other stream file slices are read into memory first.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The TCP socket underneath, if bytes may be put on it as they are.
    fn tcp(&self) -> Option<&TcpStream>;

    /// Ready when a read is likely to bring something; may be ready too early.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Transport for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }
}

impl Transport for DuplexStream {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn poll_readable(&self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
