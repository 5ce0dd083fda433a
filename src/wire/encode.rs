//! Responses as they leave: length, header and body in one buffer, or a list of chunks around slices of the log.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;

use super::header::{ApiSpec, put_response_header};
use super::write::Writer;
use crate::types::TopicId;
use crate::types::offset::saturate_i32;

/// The length prefix of a frame.
pub(super) const LENGTH_BYTES: usize = 4;

/// A framed response: bytes first, then, for Fetch, slices of the log and the bytes between them. `S` is the storage
/// layer's slice, which this layer does not look into.
#[derive(Debug)]
pub struct Reply<S> {
    /// The frame from its length prefix to the first slice, or all of it.
    pub head: Bytes,
    /// What follows.
    pub tail: Vec<Chunk<S>>,
    /// The bytes of the whole frame, length prefix included.
    pub len: usize,
}

/// A piece of a reply.
#[derive(Debug)]
pub enum Chunk<S> {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes in the log.
    Slice(S),
}

impl<S> From<Bytes> for Reply<S> {
    fn from(frame: Bytes) -> Self {
        Self { len: frame.len(), head: frame, tail: Vec::new() }
    }
}

/// The most bytes that a response may have, records aside: what librdkafka takes unless it is told otherwise. The
/// largest that clients need describes a group whose members' metadata take all that they may.
pub const RESPONSE_BYTES_MAX: usize = 100_000_000;

/// A response that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Its own version cannot carry it: a bug in the handler that built it.
    #[error("{api} v{version} response cannot be encoded: {reason}")]
    Fault {
        /// Kafka's name of the API.
        api: &'static str,
        /// The version that was to be written.
        version: i16,
        /// What the encoder said.
        reason: String,
    },
    /// It is above [`RESPONSE_BYTES_MAX`].
    #[error("the response would have {0} bytes")]
    TooLarge(usize),
}

/// A topic's id as the protocol crate's responses take it.
pub const fn uuid(id: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*id.as_bytes())
}

/// Frames a response that the protocol crate encodes.
pub fn response<T: Encodable>(
    api: &ApiSpec,
    version: i16,
    correlation_id: i32,
    body: &T,
) -> Result<Bytes, EncodeError> {
    let fault =
        |e: &dyn std::fmt::Display| EncodeError::Fault { api: api.name, version, reason: e.to_string() };
    let size = body.compute_size(version).map_err(|e| fault(&e))?;
    if size > RESPONSE_BYTES_MAX {
        return Err(EncodeError::TooLarge(size));
    }
    let mut out = begin(api, version, correlation_id, size);
    body.encode(&mut out, version).map_err(|e| fault(&e))?;
    Ok(finish(out))
}

/// Frames a response whose body is written by hand; `size` is a guess that saves growing the buffer.
pub fn response_with(
    api: &ApiSpec,
    version: i16,
    correlation_id: i32,
    size: usize,
    body: impl FnOnce(&mut Writer<'_>),
) -> Bytes {
    let mut out = begin(api, version, correlation_id, size);
    body(&mut Writer::new(&mut out, api.is_flexible(version)));
    finish(out)
}

/// A buffer that holds the header and room for the length before it and `size` bytes of body behind it.
pub(super) fn begin(api: &ApiSpec, version: i16, correlation_id: i32, size: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(LENGTH_BYTES + 5 + size);
    out.put_i32(0);
    put_response_header(&mut out, correlation_id, api.has_flexible_response_header(version));
    out
}

/// Writes `len`, the bytes of the frame with its prefix, into the prefix.
pub(super) fn set_length(out: &mut BytesMut, len: usize) {
    if let Some(prefix) = out.first_chunk_mut() {
        *prefix = saturate_i32(len - LENGTH_BYTES).to_be_bytes();
    }
}

fn finish(mut out: BytesMut) -> Bytes {
    let len = out.len();
    set_length(&mut out, len);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiVersionsResponse, HeartbeatResponse};

    use super::*;

    const HEARTBEAT: ApiSpec = ApiSpec { key: 12, name: "Heartbeat", min: 0, max: 4, flexible_from: 4 };
    const API_VERSIONS: ApiSpec = ApiSpec { key: 18, name: "ApiVersions", min: 0, max: 4, flexible_from: 3 };

    #[test]
    fn a_frame_is_length_header_and_body() {
        let body = HeartbeatResponse::default().with_error_code(27);
        let frame = response(&HEARTBEAT, 0, 7, &body).unwrap();
        assert_eq!(&frame[..], b"\0\0\0\x06\0\0\0\x07\0\x1b");
        let frame = response(&HEARTBEAT, 4, 7, &body).unwrap();
        assert_eq!(&frame[..], b"\0\0\0\x0c\0\0\0\x07\0\0\0\0\0\0\x1b\0");
        let by_hand = response_with(&HEARTBEAT, 4, 7, 8, |w| {
            w.i32(0);
            w.i16(27);
            w.end();
        });
        assert_eq!(by_hand, frame);
    }

    #[test]
    fn s3_an_api_versions_response_has_the_old_header() {
        let frame = response(&API_VERSIONS, 3, 7, &ApiVersionsResponse::default()).unwrap();
        assert_eq!(&frame[4..11], b"\0\0\0\x07\0\0\x01");
    }

    #[test]
    fn a_response_that_its_version_cannot_carry_is_a_fault() {
        let body = kafka_protocol::messages::FetchResponse::default().with_session_id(3);
        let api = ApiSpec { key: 1, name: "Fetch", min: 4, max: 18, flexible_from: 12 };
        let fault = response(&api, 4, 7, &body).unwrap_err();
        assert!(fault.to_string().starts_with("Fetch v4 response cannot be encoded: "), "{fault}");
    }
}
