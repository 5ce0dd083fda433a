//! Request and response headers, and the facts about an API that decide their form.

use bytes::{BufMut, Bytes, BytesMut};

use super::read::{DecodeError, Reader, StrBytes};

/// What identifies an API on the wire and which versions of it are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiSpec {
    /// The API key.
    pub key: i16,
    /// Kafka's name for it, e.g. `Produce`.
    pub name: &'static str,
    /// The lowest version served. What is offered may be lower (S4).
    pub min: i16,
    /// The highest version served.
    pub max: i16,
    /// The first flexible version, or [`NEVER_FLEXIBLE`].
    pub flexible_from: i16,
}

/// For APIs without flexible versions: SaslHandshake and OffsetDelete (S2).
pub const NEVER_FLEXIBLE: i16 = i16::MAX;

/// The key of ApiVersions, whose responses differ from all others.
pub const API_VERSIONS: i16 = 18;

impl ApiSpec {
    /// Whether requests of this version are decoded.
    pub const fn serves(&self, version: i16) -> bool {
        version >= self.min && version <= self.max
    }

    /// Whether this version has compact fields and tagged fields, and so a request header of version 2.
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Whether a response of this version has a header of version 1. Never for ApiVersions: a client must be able to
    /// read its answer before it knows what the broker speaks (KIP-511).
    pub const fn has_flexible_response_header(&self, version: i16) -> bool {
        self.is_flexible(version) && self.key != API_VERSIONS
    }
}

/// The first 8 bytes of every request: enough to find its API and to answer an ApiVersions request of a version that
/// is not known (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestStart {
    /// Which API.
    pub api_key: i16,
    /// In which version.
    pub version: i16,
    /// What the response must carry so that the client knows it again.
    pub correlation_id: i32,
}

impl RequestStart {
    /// How many bytes it takes.
    pub const BYTES: usize = 8;

    /// Reads it; the reader then stands at the client id.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { api_key: reader.i16()?, version: reader.i16()?, correlation_id: reader.i32()? })
    }

    /// The client id behind it, which stands there in every version of the header: of a frame that is refused, so that
    /// it can be said whose it was. Empty if there is none that can be read.
    pub fn client_id(frame: &Bytes) -> StrBytes {
        let mut reader = Reader::new(frame, false);
        let id = Self::decode(&mut reader).and_then(|_| reader.classic_string());
        id.ok().flatten().unwrap_or_default()
    }

    /// Reads it from the front of a frame, or `None` when the frame is shorter.
    pub fn peek(frame: &[u8]) -> Option<Self> {
        let (&[k0, k1, v0, v1, c0, c1, c2, c3], _) = frame.split_first_chunk::<{ Self::BYTES }>()?;
        Some(Self {
            api_key: i16::from_be_bytes([k0, k1]),
            version: i16::from_be_bytes([v0, v1]),
            correlation_id: i32::from_be_bytes([c0, c1, c2, c3]),
        })
    }
}

/// The rest of a request header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Key, version and correlation id.
    pub start: RequestStart,
    /// What the client calls itself; empty when it does not. Bytes that are not UTF-8 are replaced.
    pub client_id: StrBytes,
}

impl RequestHeader {
    /// Reads what follows `start`. The reader then stands at the body and is set to its form. The client id is in the
    /// classic form even in header version 2 (S2).
    pub fn decode(reader: &mut Reader<'_>, start: RequestStart, flexible: bool) -> Result<Self, DecodeError> {
        let client_id = reader.classic_string()?.unwrap_or_default();
        reader.set_flexible(flexible);
        reader.end()?;
        Ok(Self { start, client_id })
    }
}

/// Writes a response header of version 1 (`flexible`) or 0.
pub fn put_response_header(out: &mut BytesMut, correlation_id: i32, flexible: bool) {
    out.put_i32(correlation_id);
    if flexible {
        out.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCE: ApiSpec = ApiSpec { key: 0, name: "Produce", min: 3, max: 13, flexible_from: 9 };

    fn header(frame: &Bytes) -> Result<RequestHeader, DecodeError> {
        let mut reader = Reader::new(frame, false);
        let start = RequestStart::decode(&mut reader)?;
        let header = RequestHeader::decode(&mut reader, start, PRODUCE.is_flexible(start.version))?;
        assert_eq!(reader.remaining(), 0);
        Ok(header)
    }

    #[test]
    fn a_frame_shorter_than_the_header_is_an_error() {
        let whole = b"\x00\x00\x00\x09\x00\x00\x00\x07\x00\x02me\x00";
        for len in 0..whole.len() {
            let part = Bytes::copy_from_slice(&whole[..len]);
            assert!(header(&part).is_err(), "{len} bytes");
            assert_eq!(RequestStart::peek(&part).is_some(), len >= 8);
        }
        assert!(header(&Bytes::from_static(whole)).is_ok());
    }

    #[test]
    fn s2_the_client_id_is_classic_in_both_header_versions() {
        let v1 = header(&Bytes::from_static(b"\0\0\0\x08\0\0\0\x07\0\x02me")).unwrap();
        let v2 = header(&Bytes::from_static(b"\0\0\0\x09\0\0\0\x07\0\x02me\x01\x05\x01x")).unwrap();
        assert_eq!((&*v1.client_id, &*v2.client_id), ("me", "me"));
        assert_eq!(v2.start, RequestStart { api_key: 0, version: 9, correlation_id: 7 });
    }

    #[test]
    fn who_sent_a_request_that_is_refused_is_read_if_it_can_be() {
        let id = |frame: &'static [u8]| RequestStart::client_id(&Bytes::from_static(frame)).to_string();
        assert_eq!(id(b"\x7f\xff\0\0\0\0\0\x07\0\x02me and more"), "me");
        assert_eq!(id(b"\0\0\0\0\0\0\0\x07\xff\xff"), "");
        assert_eq!(id(b"\0\0\0\0\0\0\0\x07\0\x09short"), "");
        assert_eq!(id(b"\0\0\0"), "");
    }

    #[test]
    fn a_client_id_may_be_null_or_no_utf8() {
        let null = header(&Bytes::from_static(b"\0\0\0\x08\0\0\0\x07\xff\xff")).unwrap();
        assert_eq!(&*null.client_id, "");
        let odd = header(&Bytes::from_static(b"\0\0\0\x08\0\0\0\x07\0\x03a\xffb")).unwrap();
        assert_eq!(&*odd.client_id, "a\u{fffd}b");
    }

    #[test]
    fn s3_api_versions_never_has_a_flexible_response_header() {
        let api_versions = ApiSpec { key: 18, name: "ApiVersions", min: 0, max: 4, flexible_from: 3 };
        assert!(api_versions.is_flexible(3) && !api_versions.has_flexible_response_header(3));
        assert!(PRODUCE.has_flexible_response_header(9) && !PRODUCE.has_flexible_response_header(8));
    }
}
