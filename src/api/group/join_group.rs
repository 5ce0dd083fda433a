//! JoinGroup (key 11), versions 0 to 9: a member enters a classic group or enters it again.
//!
//! v1 the rebalance timeout; v2 the throttle time; v4 members without id must come back with the one they are given
//! (KIP-394); v5 static members; v6 the flexible form; v7 the protocol's type in the answer; v8 the reason; v9 a static
//! leader may be told to skip the assignment.
//!
//! The answer comes when the group's join phase ends (S62 to S68). Members' metadata are passed on byte for byte (S71).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::JoinGroupResponse;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::{ask, shared, shared_if_any, text};
use crate::api::{Call, Started, waits};
use crate::broker::random;
use crate::groups::{self, Command, JoinGroup, JoinReply};

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 11, name: "JoinGroup", min: 0, max: 9, flexible_from: 6 };

/// A JoinGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// How long without a heartbeat until the member is taken for dead.
    pub session_timeout_ms: i32,
    /// How long the group waits for members to join again; in v0 the session timeout.
    pub rebalance_timeout_ms: i32,
    /// The member's id; empty for one that has none yet.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v5).
    pub group_instance_id: Option<StrBytes>,
    /// `consumer` for consumers, `connect` for Connect, and so on.
    pub protocol_type: StrBytes,
    /// What the member supports, best first.
    pub protocols: Vec<Protocol>,
    /// Why it joins (v8).
    pub reason: Option<StrBytes>,
}

/// One assignment protocol that a member supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, e.g. `range`.
    pub name: StrBytes,
    /// The member's subscription; opaque.
    pub metadata: Bytes,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let group_id = r.string()?;
        let session_timeout_ms = r.i32()?;
        let request = Self {
            group_id,
            session_timeout_ms,
            rebalance_timeout_ms: if version >= 1 { r.i32()? } else { session_timeout_ms },
            member_id: r.string()?,
            group_instance_id: if version >= 5 { r.nullable_string()? } else { None },
            protocol_type: r.string()?,
            protocols: r.array(Protocol::decode)?,
            reason: if version >= 8 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(request)
    }
}

impl Protocol {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = Self { name: r.string()?, metadata: r.bytes()? };
        r.end()?;
        Ok(protocol)
    }
}

/// From this version on a member without an id must come back with the one it is given (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;
/// From this version on a leader may be told to leave the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

/// Joins the group and answers when its join phase ends.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let command = JoinGroup {
        group: shared(&request.group_id),
        member_id: shared(&request.member_id),
        instance_id: shared_if_any(request.group_instance_id.as_ref()),
        client_id: shared(&call.session.client_id),
        client_host: format!("/{}", call.session.peer.address.ip().to_canonical()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: shared(&request.protocol_type),
        protocols: request.protocols.iter().map(Protocol::to_command).collect(),
        reason: shared_if_any(request.reason.as_ref()),
        member_id_required: call.version >= MEMBER_ID_REQUIRED,
        can_skip_assignment: call.version >= SKIP_ASSIGNMENT,
        uuid: random::bytes(),
    };
    Ok(waits(async move {
        let member_id = Arc::clone(&command.member_id);
        let reply = ask(&api, &request.group_id, Command::Join(Box::new(command))).await;
        let reply = reply.join().unwrap_or_else(|error| JoinReply::refusal(error, member_id));
        responder.reply(&answer(reply, responder.version))
    }))
}

impl Protocol {
    fn to_command(&self) -> groups::Protocol {
        // Metadata is kept for as long as the member is: it must not hold the frame.
        groups::Protocol { name: shared(&self.name), metadata: Bytes::copy_from_slice(&self.metadata) }
    }
}

fn answer(reply: JoinReply, version: i16) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_metadata(member.metadata)
    });
    let protocol_name = match reply.protocol_name.as_deref() {
        Some(name) => Some(text(name)),
        None if version < 7 => Some(StrBytes::new()),
        None => None,
    };
    JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation)
        .with_protocol_type(reply.protocol_type.as_deref().map(text))
        .with_protocol_name(protocol_name)
        .with_leader(text(&reply.leader))
        .with_skip_assignment(reply.skip_assignment && version >= SKIP_ASSIGNMENT)
        .with_member_id(text(&reply.member_id))
        .with_members(members.collect())
}
