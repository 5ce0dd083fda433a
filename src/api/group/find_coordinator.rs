//! FindCoordinator (key 10), versions 0 to 6: which broker looks after a group or a transactional id.
//!
//! v1 the kind of key; v3 the flexible form; v4 many keys, each answered for itself; v5 may answer that a transaction
//! must be aborted; v6 share groups, whose keys are `group:topic id:partition`. One broker answers at once with itself
//! (S77).

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorResponse};

use crate::api::{Call, Started, done};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 10, name: "FindCoordinator", min: 0, max: 6, flexible_from: 3 };

/// A FindCoordinator request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the keys are: 0 groups, 1 transactional ids, 2 share partitions.
    pub key_type: i8,
    /// The keys; before v4 exactly one.
    pub keys: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let mut keys = if version <= 3 { vec![r.string()?] } else { Vec::new() };
        let key_type = if version >= 1 { r.i8()? } else { 0 };
        if version >= 4 {
            keys = r.array(Reader::string)?;
        }
        r.end()?;
        Ok(Self { key_type, keys })
    }
}

/// The kinds of coordinators that a key may ask for.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// From this version on a request may hold several keys.
const MANY_KEYS: i16 = 4;

/// This broker coordinates everything, so it answers at once (S77).
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let endpoint = call.api.broker.endpoint(&call.session.peer);
    let node = BrokerId(call.api.broker.node_id());
    let refusal = match request.key_type {
        GROUP | TRANSACTION => None,
        _ => Some((ErrorCode::InvalidRequest, "this version of streamd has no such coordinator")),
    };
    let (code, node, host, port) = match refusal {
        None => (ErrorCode::None, node, StrBytes::from_string(endpoint.host), endpoint.port),
        Some((code, _)) => (code, BrokerId(-1), StrBytes::default(), -1),
    };
    let refusal = refusal.map(|(_, message)| message);
    if call.version < MANY_KEYS {
        let message = refusal.unwrap_or("NONE");
        let response = FindCoordinatorResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str(message)))
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
        return Ok(done(call.responder.reply(&response)));
    }
    let message = StrBytes::from_static_str(refusal.unwrap_or_default());
    let coordinators = request.keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port)
            .with_error_code(code.code())
            .with_error_message(Some(message.clone()))
    });
    let response = FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
    Ok(done(call.responder.reply(&response)))
}
