//! Framing without I/O: received bytes go in, whole frames come out.
//!
//! A frame is a 32-bit length and as many bytes. The length is a claim: what is reserved follows the bytes that have
//! come, so a client that announces 100 MB and sends nothing costs nothing. Lengths above the limits end the
//! connection before their bytes are taken; requests other than Produce have a smaller limit, which is applied when
//! the first bytes of the header are there (S1).

use bytes::{Buf, Bytes, BytesMut};

use super::header::RequestStart;

/// The key of Produce, the one API whose requests may be as large as a frame may be.
const PRODUCE: i16 = 0;
const LENGTH_BYTES: usize = 4;
/// Room made for one receive, at least. Idle connections hold no more.
const RECEIVE_BYTES_MIN: usize = 8 * 1024;
/// Room made for one receive when the last ones filled theirs.
const RECEIVE_BYTES_MAX: usize = 256 * 1024;
/// A client that has sent a large frame in full is given room for another of that size at once, up to this.
const TRUSTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How large frames may be, length prefix not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// For Produce, and so for any frame: `socket.request.max.bytes`.
    pub frame_bytes_max: usize,
    /// For requests of every other API.
    pub other_bytes_max: usize,
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is below zero.
    #[error("a frame of {0} bytes was announced: this is not the Kafka protocol")]
    Negative(i32),
    /// The length is above the limit for any frame.
    #[error(
        "a frame of {len} bytes was announced; the limit is {max} (socket.request.max.bytes). \
         Raise it if the client is to send such requests, else this is not the Kafka protocol"
    )]
    TooLarge {
        /// What was announced.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The length is above the limit for requests other than Produce.
    #[error("a request of {len} bytes with API key {api_key} was announced; the limit for it is {max}")]
    TooLargeForApi {
        /// The API key in its header.
        api_key: i16,
        /// What was announced.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A large frame was begun and not gone on with, while others waited for the memory.
    #[error(
        "{received} bytes of a frame came and then nothing for {seconds} s, while all memory for requests is taken \
         (network.in_flight_total)"
    )]
    Stalled {
        /// What came of it.
        received: usize,
        /// For how long nothing came.
        seconds: u64,
    },
    /// A TLS handshake on a listener without TLS.
    #[error(
        "the client began a TLS handshake, but this listener speaks plain Kafka: set security.protocol=PLAINTEXT in \
         the client or connect to a TLS listener"
    )]
    Tls,
    /// An HTTP request.
    #[error("the client sent an HTTP {0} request, but this port speaks the Kafka protocol")]
    Http(&'static str),
}

impl FrameError {
    /// What to send before closing, in the protocol that the peer does speak, so that a person sees what is wrong. A
    /// Kafka client gets nothing: it could not read it (S1).
    pub fn parting_words(&self) -> Option<Bytes> {
        match self {
            Self::Tls => Some(Bytes::from_static(TLS_ALERT)),
            Self::Http("HTTP/2") => None,
            Self::Http(_) => Some(Bytes::from_static(HTTP_ANSWER)),
            _ => None,
        }
    }
}

/// A fatal alert, `protocol_version`, in a TLS 1.2 record.
const TLS_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46];
const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 65\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks the Kafka protocol. Use a Kafka client with it.\n";

/// The receive buffer of one connection.
#[derive(Debug)]
pub struct FrameBuffer {
    received: BytesMut,
    limits: FrameLimits,
    /// Room to make for the next receive.
    receive_bytes: usize,
    /// The largest frame that came in full, up to a bound.
    trusted_bytes: usize,
    any_frame_taken: bool,
}

impl FrameBuffer {
    /// An empty buffer; nothing is allocated before [`FrameBuffer::space`].
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            received: BytesMut::new(),
            limits,
            receive_bytes: RECEIVE_BYTES_MIN,
            trusted_bytes: 0,
            any_frame_taken: false,
        }
    }

    /// Other limits from the next frame on: before authentication they are smaller.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// The buffer with room at its end for one receive: append what the socket gives and nothing else.
    pub fn space(&mut self) -> &mut BytesMut {
        let len = self.received.len();
        let wanted = match self.announced() {
            // Room for the frame itself, in steps no larger than what has come so far or came before.
            Some(frame) if LENGTH_BYTES + frame > len + self.receive_bytes => {
                let missing = LENGTH_BYTES + frame - len;
                missing.min(self.receive_bytes.max(len).max(self.trusted_bytes))
            }
            // Nothing yet: one like the last, so that a large frame comes in one piece and is never moved.
            None if len == 0 => self.receive_bytes.max(self.trusted_bytes),
            _ => self.receive_bytes,
        };
        self.received.reserve(wanted);
        &mut self.received
    }

    /// The buffer with little room at its end: for a connection that must make do with it.
    pub fn little_space(&mut self) -> &mut BytesMut {
        self.received.reserve(RECEIVE_BYTES_MIN);
        &mut self.received
    }

    /// Takes the next whole frame, without its length. `None`: more bytes are needed.
    ///
    /// After an error the buffer gives nothing more than that error; the connection must close.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(&prefix) = self.received.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let len = self.check(prefix)?;
        let total = LENGTH_BYTES + len;
        if self.received.len() < total {
            return Ok(None);
        }
        self.received.advance(LENGTH_BYTES);
        let frame = self.received.split_to(len).freeze();
        self.any_frame_taken = true;
        // Half of the memory of a large frame goes with every smaller one that follows.
        self.trusted_bytes = total.min(TRUSTED_BYTES_MAX).max(self.trusted_bytes / 2);
        Ok(Some(frame))
    }

    /// Told after a receive: fits the room for the next one to what came.
    pub fn received(&mut self, bytes: usize) {
        if bytes >= self.receive_bytes {
            self.receive_bytes = (self.receive_bytes * 2).min(RECEIVE_BYTES_MAX);
        } else if bytes < self.receive_bytes / 4 {
            self.receive_bytes = (self.receive_bytes / 2).max(RECEIVE_BYTES_MIN);
        }
    }

    /// Bytes that have come and belong to no whole frame yet.
    pub fn pending(&self) -> usize {
        self.received.len()
    }

    /// Gives memory back when no bytes are pending: for a connection that goes idle.
    pub fn shrink(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
            self.receive_bytes = RECEIVE_BYTES_MIN;
            self.trusted_bytes = 0;
        }
    }

    /// Whether no memory is held: [`FrameBuffer::space`] will allocate.
    pub fn is_shrunk(&self) -> bool {
        self.received.capacity() == 0
    }

    /// The length in the prefix, if it is there and within the limits.
    fn announced(&self) -> Option<usize> {
        let prefix = self.received.first_chunk::<LENGTH_BYTES>()?;
        let len = usize::try_from(i32::from_be_bytes(*prefix)).ok()?;
        (len <= self.limits.frame_bytes_max).then_some(len)
    }

    fn check(&self, prefix: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
        let announced = i32::from_be_bytes(prefix);
        let max = self.limits.frame_bytes_max;
        let len = usize::try_from(announced).map_err(|_| FrameError::Negative(announced))?;
        if len > max {
            return Err(self.foreign(prefix).unwrap_or(FrameError::TooLarge { len, max }));
        }
        let max = self.limits.other_bytes_max;
        if len > max
            && let Some(start) = self.received.get(LENGTH_BYTES..).and_then(RequestStart::peek)
            && start.api_key != PRODUCE
        {
            return Err(FrameError::TooLargeForApi { api_key: start.api_key, len, max });
        }
        Ok(len)
    }

    /// Another protocol, if a connection's first bytes look like one. Their value as a length is hundreds of
    /// megabytes, so a legitimate frame is not mistaken for them.
    fn foreign(&self, prefix: [u8; LENGTH_BYTES]) -> Option<FrameError> {
        if self.any_frame_taken {
            return None;
        }
        Some(match &prefix {
            // A handshake record of SSL 3.0 to TLS 1.3.
            [0x16, 0x03, 0x00..=0x04, _] => FrameError::Tls,
            b"GET " => FrameError::Http("GET"),
            b"PUT " => FrameError::Http("PUT"),
            b"POST" => FrameError::Http("POST"),
            b"HEAD" => FrameError::Http("HEAD"),
            b"DELE" => FrameError::Http("DELETE"),
            b"PATC" => FrameError::Http("PATCH"),
            b"OPTI" => FrameError::Http("OPTIONS"),
            b"CONN" => FrameError::Http("CONNECT"),
            b"TRAC" => FrameError::Http("TRACE"),
            b"PRI " => FrameError::Http("HTTP/2"),
            _ => return None,
        })
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
