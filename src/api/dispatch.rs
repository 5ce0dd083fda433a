//! From a frame to a handler: the front-end as connections see it.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::context::{Call, Responder, Session, Started, done};
use super::{Api, Outcome, Slice, session, table};
use crate::wire::frame::FrameError;
use crate::wire::header::{API_VERSIONS, ApiSpec, RequestHeader, RequestStart};
use crate::wire::read::{DecodeError, Reader};
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

    fn has_room(&self) -> bool {
        !self.0.broker.committer().unsynced().is_full()
    }

    fn room(&self) -> impl Future<Output = ()> + Send {
        self.0.broker.committer().unsynced().room()
    }

    fn needs_room(&self, frame: &[u8]) -> bool {
        const PRODUCE: i16 = ApiKey::Produce as i16;
        RequestStart::peek(frame).is_some_and(|start| start.api_key == PRODUCE)
    }

    fn overlaps(&self, frame: &[u8]) -> bool {
        RequestStart::peek(frame).and_then(|start| table::row(start.api_key)).is_some_and(|row| row.overlaps)
    }

    fn start(&self, session: &mut Session, frame: Bytes) -> Started {
        match self.start_frame(session, &frame) {
            Ok(started) => started,
            Err(refusal) => {
                let id = RequestStart::client_id(&frame);
                if !id.is_empty() {
                    session.call_client(&id);
                }
                tracing::warn!("closing the connection: client {} {refusal}", session.describe());
                done(Outcome::Close)
            }
        }
    }

    fn settle(&self, session: &mut Session) {
        for partition in session.take_touched() {
            partition.drain();
        }
    }

    fn bad_frame(&self, session: &mut Session, error: &FrameError) -> Option<Bytes> {
        // What is no Kafka protocol names nobody; a client that spoke it before is named.
        let who = match session.client_id.is_empty() {
            true => session.peer.address.to_string(),
            false => format!("client {}", session.describe()),
        };
        let listener = session.peer.local.port();
        tracing::warn!(listener, "closing the connection: {who} {error}");
        error.parting_words()
    }

    fn close(&self, _session: Session) {}
}

/// Why a frame closes its connection (S5). The texts follow the client's name.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("sent a frame of {0} bytes, which is shorter than a request header")]
    Short(usize),
    #[error("asked {}, which this broker does not have.{}", api(*key, *version), instead_of(*key))]
    UnknownKey { key: i16, version: i16 },
    #[error("asked {} v{version}; served: v{} to v{}.{}", spec.name, spec.min, spec.max, last_to_serve(spec, *version))]
    UnknownVersion { spec: &'static ApiSpec, version: i16 },
    #[error("sent a {name} v{version} request that does not decode: {error}")]
    Decode { name: &'static str, version: i16, error: DecodeError },
}

/// An API that is not served, by Kafka's name if it has one.
fn api(key: i16, version: i16) -> String {
    match ApiKey::try_from(key) {
        Ok(known) => format!("{known:?} v{version} (API key {key})"),
        Err(()) => format!("API key {key} version {version}"),
    }
}

/// What its user is to set instead, with a space before it: the client itself often only stays silent.
fn instead_of(key: i16) -> &'static str {
    const CONSUMER_GROUP_HEARTBEAT: i16 = ApiKey::ConsumerGroupHeartbeat as i16;
    match key {
        CONSUMER_GROUP_HEARTBEAT => {
            " Its consumer is set to group.protocol=consumer (KIP-848): set group.protocol=classic."
        }
        _ => "",
    }
}

/// Where a client that is too old finds a broker. The lowest versions are those of Kafka 4, which dropped all below
/// them at once (KIP-896).
fn last_to_serve(spec: &ApiSpec, version: i16) -> &'static str {
    if (0..spec.min).contains(&version) { " Last Kafka to serve it: 3.9." } else { "" }
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
            return Err(Refusal::UnknownVersion { spec, version });
        }
        let undecodable = |error| Refusal::Decode { name: spec.name, version, error };
        let mut body = Reader::new(frame, false);
        body.limit_elements(ELEMENTS_MAX);
        let start = RequestStart::decode(&mut body).map_err(undecodable)?;
        let header =
            RequestHeader::decode(&mut body, start, spec.is_flexible(version)).map_err(undecodable)?;
        session.call_client(&header.client_id);
        let correlation_id = start.correlation_id;
        let responder = Responder { spec, version, correlation_id, client: session.peer.address };
        (row.start)(&mut Call { api: &self.0, session, version, body, responder }).map_err(undecodable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_of_the_new_protocol_is_told_what_to_set() {
        let told = |key| Refusal::UnknownKey { key, version: 0 }.to_string();
        assert!(told(68).starts_with("asked ConsumerGroupHeartbeat v0 (API key 68)"), "{}", told(68));
        assert!(told(68).ends_with("set group.protocol=classic."), "{}", told(68));
        assert!(!told(69).contains("group.protocol"), "{}", told(69));
    }
}
