//! Framing without I/O: received bytes go in, whole frames come out.
//!
//! A frame is a 32-bit length and as many bytes. The length is a claim: what is reserved follows the bytes that have
//! come, so a client that announces 100 MB and sends nothing costs nothing. Lengths above the limits end the
//! connection before their bytes are taken; requests other than Produce have a smaller limit, which is applied when
//! the first bytes of the header are there (S1).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::header::RequestStart;
pub use super::received::Block;
use super::received::Received;

/// The key of Produce, the one API whose requests may be as large as a frame may be.
const PRODUCE: i16 = 0;
const LENGTH_BYTES: usize = 4;
/// Room made for one receive, at least.
const RECEIVE_BYTES_MIN: usize = 8 * 1024;
/// Room made for one receive when the last ones filled theirs.
const RECEIVE_BYTES_MAX: usize = 256 * 1024;
/// A client that has sent a large frame in full is given room for another of that size at once, up to this.
const TRUSTED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The beginning of a frame that is moved for the sake of more room behind it.
const MOVED_BYTES_MAX: usize = 16 * 1024;

/// How large frames may be, length prefix not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// For Produce, and so for any frame: `socket.request.max.bytes`.
    pub frame_bytes_max: usize,
    /// For requests of every other API.
    pub other_bytes_max: usize,
}

/// Why a connection cannot go on. The texts follow the client's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is below zero.
    #[error("announced a frame of {0} bytes: this is not the Kafka protocol")]
    Negative(i32),
    /// The length is above the limit for any frame.
    #[error(
        "announced a frame of {len} bytes; the limit is {max} (socket.request.max.bytes). \
         Raise it if the client is to send such requests, else this is not the Kafka protocol"
    )]
    TooLarge {
        /// What was announced.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The length is above the limit for requests other than Produce.
    #[error(
        "announced a request of {len} bytes with API key {api_key}; the limit for it is {max} (network.request_limit)"
    )]
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
        "sent {received} bytes of a frame and then nothing for {seconds} s, while all memory for requests is taken \
         (network.in_flight_total)"
    )]
    Stalled {
        /// What came of it.
        received: usize,
        /// For how long nothing came.
        seconds: u64,
    },
    /// A large frame came so slowly that it would never end, while others waited for the memory.
    #[error(
        "sent {received} bytes of a frame, but only {lately} of them in the last {seconds} s, while all memory for \
         requests is taken (network.in_flight_total)"
    )]
    TooSlow {
        /// What came of it.
        received: usize,
        /// What of that came lately.
        lately: usize,
        /// How long that took.
        seconds: u64,
    },
    /// A TLS handshake on a listener without TLS.
    #[error("sent a TLS handshake to a plaintext listener. Use security.protocol=PLAINTEXT")]
    Tls,
    /// An HTTP request.
    #[error("sent an HTTP {0} request: this is a Kafka port")]
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
    Content-Length: 50\r\n\
    Connection: close\r\n\
    \r\n\
    This is a Kafka port. Use a Kafka client with it.\n";

/// A whole frame.
#[derive(Debug)]
pub struct Frame {
    /// Its bytes, without the length.
    pub bytes: Bytes,
    /// The memory that they lie in counts for as long as this is held: hold it as long as the bytes.
    pub block: Arc<Block>,
}

/// The receive buffer of one connection.
#[derive(Debug)]
pub struct FrameBuffer {
    received: Received,
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
            received: Received::default(),
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

    /// The buffer with room at its end for one receive: append what the socket gives and nothing else. Room above
    /// `RECEIVE_BYTES_MAX` is only made within `at_once_max`.
    pub fn space(&mut self, at_once_max: usize) -> &mut BytesMut {
        let (have, spare) = (self.received.len(), self.received.spare());
        let at_once = |bytes: usize| bytes.min(TRUSTED_BYTES_MAX).min(at_once_max).max(self.receive_bytes);
        match self.announced().map(|len| LENGTH_BYTES + len).filter(|total| *total > have) {
            // Nothing yet: room like the last, so that a large frame comes in one piece and is never moved.
            None if have == 0 => self.received.make_room(at_once(self.trusted_bytes)),
            None => self.received.make_room(self.receive_bytes),
            Some(total) => {
                let missing = total - have;
                let is_large = have >= MOVED_BYTES_MAX;
                if self.received.is_in_pieces() && spare > 0 || is_large && spare >= missing {
                    return self.received.last();
                }
                // A client that sent a large frame may send one that is somewhat larger.
                if !self.received.is_in_pieces() && missing <= at_once(2 * self.trusted_bytes) {
                    self.received.make_room(missing.max(self.receive_bytes));
                } else if spare < RECEIVE_BYTES_MIN {
                    self.received.add_piece(missing.min(self.receive_bytes));
                }
            }
        }
        self.received.last()
    }

    /// The buffer with little room at its end: for a connection that must make do with it.
    pub fn little_space(&mut self) -> &mut BytesMut {
        self.received.make_room(RECEIVE_BYTES_MIN);
        self.received.last()
    }

    /// Takes the next whole frame, without its length. `None`: more bytes are needed.
    ///
    /// After an error the buffer gives nothing more than that error; the connection must close.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(&prefix) = self.received.front().first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let len = self.check(prefix)?;
        let total = LENGTH_BYTES + len;
        if self.received.len() < total {
            return Ok(None);
        }
        let (bytes, block) = self.received.take(LENGTH_BYTES, len);
        self.any_frame_taken = true;
        // Half of the memory of a large frame goes with every smaller one that follows.
        self.trusted_bytes = total.min(TRUSTED_BYTES_MAX).max(self.trusted_bytes / 2);
        Ok(Some(Frame { bytes, block }))
    }

    /// Told after a receive: fits the room for the next one to what came.
    pub fn received(&mut self, bytes: usize) {
        if bytes >= self.receive_bytes {
            self.receive_bytes = (self.receive_bytes * 2).min(RECEIVE_BYTES_MAX);
        } else if bytes < self.receive_bytes / 4 {
            self.receive_bytes = (self.receive_bytes / 2).max(RECEIVE_BYTES_MIN);
        }
    }

    /// What is there of the frame that comes next, without its length; frames that are whole may lie behind it.
    pub fn begun(&self) -> &[u8] {
        self.received.front().get(LENGTH_BYTES..).unwrap_or_default()
    }

    /// How many bytes the next frame lacks; `None` while its length is not known, or is none.
    pub fn missing(&self) -> Option<usize> {
        self.announced().map(|len| (LENGTH_BYTES + len).saturating_sub(self.received.len()))
    }

    /// Drops all that has come.
    pub fn clear(&mut self) {
        self.received.clear();
    }

    /// Bytes that have come and belong to no whole frame yet.
    pub fn pending(&self) -> usize {
        self.received.len()
    }

    /// Bytes of memory behind this buffer and all frames of it that are still held.
    pub fn allocated(&self) -> usize {
        self.received.allocated()
    }

    /// The size of the block that receives go to, 0 if there is none.
    pub fn block_bytes(&self) -> usize {
        self.received.block_bytes()
    }

    /// For a connection that waits for bytes: one that holds none keeps no memory for them, but may keep a block that is
    /// large enough to be dear, if `keeps_large`.
    pub fn rest(&mut self, keeps_large: bool) {
        if self.received.len() == 0 && !(keeps_large && self.received.block_bytes() > RECEIVE_BYTES_MAX) {
            self.received.free_empty();
        }
    }

    /// For a connection that has been silent: gives back what its bytes do not need, and what it was trusted with.
    pub fn shrink(&mut self) {
        self.received.trim(RECEIVE_BYTES_MIN);
        self.receive_bytes = RECEIVE_BYTES_MIN;
        self.trusted_bytes = 0;
    }

    /// The length in the prefix, if it is there and within the limits.
    fn announced(&self) -> Option<usize> {
        let prefix = self.received.front().first_chunk::<LENGTH_BYTES>()?;
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
            && let Some(start) = self.received.front().get(LENGTH_BYTES..).and_then(RequestStart::peek)
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
