//! From a frame to a handler: the front-end as connections see it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::context::{Call, Responder, Session, Started, done};
use super::{Api, Outcome, Slice, session, table};
use crate::wire::frame::FrameError;
use crate::wire::header::{API_VERSIONS, RequestHeader, RequestStart};
use crate::wire::read::{DecodeError, Reader, StrBytes};
use crate::wire::service::{Peer, Service};

/// Topics, partitions, groups and the like that one request may name, all together. Each costs a few bytes of the
/// request and some hundred bytes of memory until it is answered; no client has so many at one broker.
const ELEMENTS_MAX: usize = 100_000;

/// The front-end handed to listeners. A handle: cheap to make from an [`Api`].
#[derive(Debug)]
pub struct KafkaService(pub Arc<Api>);

impl Service for KafkaService {
    type Session = Session;
    type Slice = Slice;

    fn open(&self, peer: &Peer) -> Session {
        Session::new(*peer)
    }

    fn poll_room(&self, session: &Session, context: &mut Context<'_>) -> Poll<()> {
        match session.has_produced {
            true => self.0.broker.committer().unsynced().poll_room(context),
            false => Poll::Ready(()),
        }
    }

    fn overlaps(&self, frame: &[u8]) -> bool {
        RequestStart::peek(frame).and_then(|start| table::row(start.api_key)).is_some_and(|row| row.overlaps)
    }

    fn start(&self, session: &mut Session, frame: Bytes) -> Started {
        match self.start_frame(session, &frame) {
            Ok(started) => started,
            Err(refusal) => {
                tracing::warn!(client = session.describe(), "closing the connection: {refusal}");
                done(Outcome::Close)
            }
        }
    }

    fn settle(&self, session: &mut Session) {
        for partition in session.touched.drain(..) {
            partition.drain();
        }
    }

    fn bad_frame(&self, session: &mut Session, error: &FrameError) -> Option<Bytes> {
        tracing::warn!(client = session.describe(), "closing the connection: {error}");
        error.parting_words()
    }

    fn close(&self, _session: Session) {}
}

/// Why a frame closes its connection (S5).
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a frame of {0} bytes is shorter than a request header")]
    Short(usize),
    #[error("it asked for API key {key} version {version}, which this broker does not have")]
    UnknownKey { key: i16, version: i16 },
    #[error("it asked for {name} v{version}; served: v{min} to v{max}")]
    UnknownVersion { name: &'static str, version: i16, min: i16, max: i16 },
    #[error("its {name} v{version} request does not decode: {error}")]
    Decode { name: &'static str, version: i16, error: DecodeError },
}

impl KafkaService {
    fn start_frame(&self, session: &mut Session, frame: &Bytes) -> Result<Started, Refusal> {
        let start = RequestStart::peek(frame).ok_or(Refusal::Short(frame.len()))?;
        let (key, version) = (start.api_key, start.version);
        let row = table::row(key).ok_or(Refusal::UnknownKey { key, version })?;
        let spec = row.spec;
        if !spec.serves(version) {
            if key == API_VERSIONS {
                return Ok(done(session::api_versions::unsupported(
                    start.correlation_id,
                    session.peer.address,
                )));
            }
            return Err(Refusal::UnknownVersion { name: spec.name, version, min: spec.min, max: spec.max });
        }
        let undecodable = |error| Refusal::Decode { name: spec.name, version, error };
        let mut body = Reader::new(frame, false);
        body.limit_elements(ELEMENTS_MAX);
        let start = RequestStart::decode(&mut body).map_err(undecodable)?;
        let header =
            RequestHeader::decode(&mut body, start, spec.is_flexible(version)).map_err(undecodable)?;
        if session.client_id != header.client_id {
            // A copy: a slice would keep this request's memory for as long as the connection lives.
            session.client_id = StrBytes::from_string(header.client_id.to_string());
        }
        let correlation_id = start.correlation_id;
        let responder = Responder { spec, version, correlation_id, client: session.peer.address };
        (row.start)(&mut Call { api: &self.0, session, version, body, responder }).map_err(undecodable)
    }
}
