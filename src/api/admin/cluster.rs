//! DescribeCluster (key 60), versions 0 to 2: the cluster's id, its brokers and its controller.
//!
//! v1 whether brokers or controllers are asked about; v2 whether fenced brokers are listed, too. Authorized operations
//! that nobody asked for are the smallest `i32` (S97).

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterResponse};

use crate::api::operations;
use crate::api::{Call, Started, done};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 60, name: "DescribeCluster", min: 0, max: 2, flexible_from: 0 };

/// A DescribeCluster request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Whether to say what the client may do with the cluster.
    pub include_cluster_authorized_operations: bool,
    /// Whose addresses are wanted: 1 brokers', 2 controllers' (v1).
    pub endpoint_type: i8,
    /// Whether to list brokers that are fenced (v2).
    pub include_fenced_brokers: bool,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            include_cluster_authorized_operations: r.bool()?,
            endpoint_type: if version >= 1 { r.i8()? } else { 1 },
            include_fenced_brokers: if version >= 2 { r.bool()? } else { false },
        };
        r.end()?;
        Ok(request)
    }
}

/// The kinds of endpoints that a client may ask for (KIP-919).
const BROKERS: i8 = 1;

/// Describes the one broker there is.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let broker = &call.api.broker;
    if request.endpoint_type != BROKERS {
        let message = "This broker has no separate controllers: ask for brokers";
        let error = match request.endpoint_type {
            2 => ErrorCode::MismatchedEndpointType,
            _ => ErrorCode::UnsupportedEndpointType,
        };
        let refusal = DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str(message)));
        return Ok(done(call.responder.reply(&refusal)));
    }
    let endpoint = broker.endpoint(&call.session.peer);
    let node = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(broker.node_id()))
        .with_host(StrBytes::from_string(endpoint.host))
        .with_port(endpoint.port)
        .with_rack(broker.config().rack.clone().map(StrBytes::from_string));
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(broker.cluster_id().to_owned()))
        .with_controller_id(BrokerId(broker.node_id()))
        .with_brokers(vec![node])
        .with_cluster_authorized_operations(operations::told(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ));
    Ok(done(call.responder.reply(&response)))
}
