//! One socket: requests go out in order, and answers, which come back in the same order, find who waits for them.
//!
//! Two tasks own the two halves of the socket, so that a caller who stops waiting never leaves half a frame behind.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Error;
use super::error::plain;
use crate::wire::frame::{FrameBuffer, FrameError, FrameLimits};

/// Requests whose answers may be outstanding at once.
const IN_FLIGHT_MAX: usize = 16;
/// The largest answer taken. Brokers send more than a fetch asks for only to bring a batch whole, which is bounded by
/// `message.max.bytes`.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A connection before it is known what the other side speaks.
#[derive(Debug)]
pub(super) struct Link {
    peer: Arc<str>,
    requests: mpsc::Sender<Outgoing>,
    /// Why it ended, once it has.
    fate: Arc<OnceLock<Error>>,
    reader: AbortHandle,
}

/// A frame to send, and who is to hear about it.
#[derive(Debug)]
struct Outgoing {
    frame: Bytes,
    heard: Heard,
}

#[derive(Debug)]
enum Heard {
    /// The answer.
    Answer(Awaited),
    /// That it was written: there is no answer.
    Written(oneshot::Sender<()>),
}

/// An answer that is due.
#[derive(Debug)]
struct Awaited {
    correlation_id: i32,
    answer: oneshot::Sender<Bytes>,
}

impl Link {
    /// Takes over a connected socket.
    pub(super) fn new(socket: TcpStream, peer: Arc<str>) -> Self {
        let fate = Arc::new(OnceLock::new());
        let (requests, outgoing) = mpsc::channel(IN_FLIGHT_MAX);
        let (due, awaited) = mpsc::channel(IN_FLIGHT_MAX);
        let (read, write) = socket.into_split();
        let reading = Reading { peer: Arc::clone(&peer), socket: read, awaited, answers: 0 };
        let ended = Arc::clone(&fate);
        let reader = tokio::spawn(async move {
            let mut reading = reading;
            let why = reading.run().await;
            // Before the channel closes, so that whoever sees it closed finds the reason.
            let _first_reason_stays = ended.set(why);
            drop(reading);
        });
        let ended = Arc::clone(&fate);
        let to = Arc::clone(&peer);
        tokio::spawn(async move {
            if let Err(error) = write_all(outgoing, due, write).await {
                let _first_reason_stays = ended.set(lost(&to, plain(&error)));
            }
        });
        Self { peer, requests, fate, reader: reader.abort_handle() }
    }

    /// Sends a request and waits for its answer, header included.
    pub(super) async fn exchange(&self, frame: Bytes, correlation_id: i32) -> Result<Bytes, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Outgoing { frame, heard: Heard::Answer(Awaited { correlation_id, answer }) }).await?;
        answered.await.map_err(|_| self.why())
    }

    /// Sends a request that has no answer, and returns when the system has taken it.
    pub(super) async fn post(&self, frame: Bytes) -> Result<(), Error> {
        let (written, wrote) = oneshot::channel();
        self.send(Outgoing { frame, heard: Heard::Written(written) }).await?;
        wrote.await.map_err(|_| self.why())
    }

    /// Ends the connection: what is awaited fails with this reason.
    pub(super) fn close(&self, reason: Error) {
        let _first_reason_stays = self.fate.set(reason);
        self.reader.abort();
    }

    /// Whether it is of no use any more.
    pub(super) fn is_over(&self) -> bool {
        self.fate.get().is_some() || self.requests.is_closed()
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), Error> {
        if let Some(why) = self.fate.get() {
            return Err(why.clone());
        }
        self.requests.send(outgoing).await.map_err(|_| self.why())
    }

    fn why(&self) -> Error {
        self.fate.get().cloned().unwrap_or_else(|| lost(&self.peer, "it was closed".to_owned()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The writer ends by itself, when it has written what was accepted.
        self.reader.abort();
    }
}

/// Writes requests until there are no more, or the socket fails.
async fn write_all(
    mut outgoing: mpsc::Receiver<Outgoing>,
    due: mpsc::Sender<Awaited>,
    mut socket: OwnedWriteHalf,
) -> std::io::Result<()> {
    while let Some(Outgoing { frame, heard }) = outgoing.recv().await {
        let written = match heard {
            // Told to the reader first: the answer may be there as soon as the request is written.
            Heard::Answer(awaited) => {
                if due.send(awaited).await.is_err() {
                    return Ok(());
                }
                None
            }
            Heard::Written(written) => Some(written),
        };
        socket.write_all(&frame).await?;
        if let Some(written) = written {
            let _nobody_waits = written.send(());
        }
    }
    Ok(())
}

/// The reading half.
struct Reading {
    peer: Arc<str>,
    socket: OwnedReadHalf,
    awaited: mpsc::Receiver<Awaited>,
    /// Answers so far.
    answers: u64,
}

impl Reading {
    /// Hands out answers until the connection ends; returns why it did.
    async fn run(&mut self) -> Error {
        let limits = FrameLimits { frame_bytes_max: ANSWER_BYTES_MAX, other_bytes_max: ANSWER_BYTES_MAX };
        let mut buffer = FrameBuffer::new(limits);
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(error) = self.hand_out(frame.bytes).await {
                        return error;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => return self.misfit(error),
            }
            match self.socket.read_buf(buffer.space(usize::MAX)).await {
                Ok(0) => return self.closed(),
                Ok(bytes) => buffer.received(bytes),
                Err(error) => return lost(&self.peer, plain(&error)),
            }
        }
    }

    async fn hand_out(&mut self, frame: Bytes) -> Result<(), Error> {
        let malformed =
            |reason: &str| Error::Malformed { address: self.peer.to_string(), reason: reason.to_owned() };
        let id = frame
            .first_chunk()
            .map(|id| i32::from_be_bytes(*id))
            .ok_or_else(|| malformed("an answer without a header"))?;
        let Some(awaited) = self.awaited.recv().await else {
            return Err(lost(&self.peer, "it was closed".to_owned()));
        };
        if awaited.correlation_id != id {
            return Err(malformed("an answer to another request than the one it is due for"));
        }
        self.answers += 1;
        // Who asked may have stopped waiting.
        let _nobody_waits = awaited.answer.send(frame);
        Ok(())
    }

    /// The other side hung up. Brokers do that to clients who do not speak TLS or SASL where they should: at once, or
    /// after telling their versions.
    fn closed(&self) -> Error {
        let foreign = |what| Error::Foreign { address: self.peer.to_string(), what };
        match self.answers {
            0 => foreign(
                "closed the connection without an answer. Does that port want TLS (this client speaks PLAINTEXT only), or are \
                 there as many connections as the broker takes (max.connections, max.connections.per.ip)? Its log may say",
            ),
            1 => foreign(
                "closed the connection after the first answer. Does that port want SASL? This client speaks PLAINTEXT only",
            ),
            _ => lost(&self.peer, "the broker closed it".to_owned()),
        }
    }

    fn misfit(&self, error: FrameError) -> Error {
        let foreign = |what| Error::Foreign { address: self.peer.to_string(), what };
        match error {
            FrameError::TooLarge { len, .. } if len == HTTP => foreign("answers HTTP: that is no Kafka port"),
            FrameError::TooLarge { len, .. } if len >> 16 == TLS_ALERT => {
                foreign("answers TLS, and this client speaks PLAINTEXT only")
            }
            error => Error::Malformed {
                address: self.peer.to_string(),
                reason: format!("its answer cannot be taken: {error}"),
            },
        }
    }
}

/// "HTTP", read as a frame's length.
const HTTP: usize = 0x4854_5450;
/// The first two bytes of a TLS alert, read as the upper half of a frame's length.
const TLS_ALERT: usize = 0x1503;

fn lost(peer: &str, reason: String) -> Error {
    Error::Lost { address: peer.to_owned(), reason }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
