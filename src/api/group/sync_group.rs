//! SyncGroup (key 14), versions 0 to 5: the leader hands in the assignments, every member gets its own.
//!
//! v1 the throttle time; v3 static members; v4 the flexible form; v5 the protocol's type and name, which must be given
//! and be the group's. Followers wait for the leader; rules and errors are S69.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::SyncGroupResponse;

use super::{ask, shared, shared_if_any, text};
use crate::api::{Call, Started, waits};
use crate::groups::{Command, SyncGroup, SyncReply};
use crate::types::ErrorCode;

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 14, name: "SyncGroup", min: 0, max: 5, flexible_from: 4 };

/// A SyncGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// The generation that the member joined.
    pub generation_id: i32,
    /// The member.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
    /// The group's protocol type as the member knows it (v5).
    pub protocol_type: Option<StrBytes>,
    /// The group's protocol as the member knows it (v5).
    pub protocol_name: Option<StrBytes>,
    /// What each member gets, from the leader; empty from the others.
    pub assignments: Vec<Assignment>,
}

/// One member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The member.
    pub member_id: StrBytes,
    /// What it gets; opaque.
    pub assignment: Bytes,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            group_id: r.string()?,
            generation_id: r.i32()?,
            member_id: r.string()?,
            group_instance_id: if version >= 3 { r.nullable_string()? } else { None },
            protocol_type: if version >= 5 { r.nullable_string()? } else { None },
            protocol_name: if version >= 5 { r.nullable_string()? } else { None },
            assignments: r.array(Assignment::decode)?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Assignment {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let assignment = Self { member_id: r.string()?, assignment: r.bytes()? };
        r.end()?;
        Ok(assignment)
    }
}

/// Hands the assignments around.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let reply = match responder.version >= PROTOCOL_REQUIRED
            && (request.protocol_type.is_none() || request.protocol_name.is_none())
        {
            true => SyncReply::refusal(ErrorCode::InconsistentGroupProtocol),
            false => {
                let reply = ask(&api, &request.group_id, request.to_command()).await;
                reply.sync().unwrap_or_else(SyncReply::refusal)
            }
        };
        let response = SyncGroupResponse::default()
            .with_error_code(reply.error.code())
            .with_protocol_type(reply.protocol_type.as_deref().map(text))
            .with_protocol_name(reply.protocol_name.as_deref().map(text))
            .with_assignment(reply.assignment);
        responder.reply(&response)
    }))
}

/// From this version on a member must say which protocol it means.
const PROTOCOL_REQUIRED: i16 = 5;

impl Request {
    fn to_command(&self) -> Command {
        let assignment = |a: &Assignment| (shared(&a.member_id), Bytes::copy_from_slice(&a.assignment));
        Command::Sync(Box::new(SyncGroup {
            group: shared(&self.group_id),
            member_id: shared(&self.member_id),
            instance_id: shared_if_any(self.group_instance_id.as_ref()),
            generation: self.generation_id,
            protocol_type: shared_if_any(self.protocol_type.as_ref()),
            protocol_name: shared_if_any(self.protocol_name.as_ref()),
            assignments: self.assignments.iter().map(assignment).collect(),
        }))
    }
}
