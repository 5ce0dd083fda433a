//! Heartbeat (key 12), versions 0 to 4: a member of a classic group says that it lives.
//!
//! v1 the throttle time; v3 static members; v4 the flexible form. A rebalance that prepares is answered with 27 and
//! still counts as a sign of life; the other states are S70.

use std::sync::Arc;

use kafka_protocol::messages::HeartbeatResponse;

use super::{ask, shared, shared_if_any};
use crate::api::{Call, Started, waits};
use crate::groups::{Command, Heartbeat};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 12, name: "Heartbeat", min: 0, max: 4, flexible_from: 4 };

/// A Heartbeat request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// The generation that the member is in.
    pub generation_id: i32,
    /// The member.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            group_id: r.string()?,
            generation_id: r.i32()?,
            member_id: r.string()?,
            group_instance_id: if version >= 3 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(request)
    }
}

/// Renews the member's session.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let command = Command::Heartbeat(Heartbeat {
            group: shared(&request.group_id),
            member_id: shared(&request.member_id),
            instance_id: shared_if_any(request.group_instance_id.as_ref()),
            generation: request.generation_id,
        });
        let error = ask(&api, &request.group_id, command).await.heartbeat().unwrap_or_else(|error| error);
        responder.reply(&HeartbeatResponse::default().with_error_code(error.code()))
    }))
}
