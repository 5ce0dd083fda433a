//! LeaveGroup (key 13), versions 0 to 5: members leave a classic group, or an operator removes them.
//!
//! v1 the throttle time; v3 many members, each with its own error; v4 the flexible form; v5 the reason. An operator
//! names a static member by its instance id with an empty member id (S72).

use std::sync::Arc;

use kafka_protocol::messages::LeaveGroupResponse;
use kafka_protocol::messages::leave_group_response::MemberResponse;

use super::{ask, shared, shared_if_any, text};
use crate::api::{Call, Started, waits};
use crate::groups::{Command, LeaveGroup, LeaveReply, Leaver};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 13, name: "LeaveGroup", min: 0, max: 5, flexible_from: 4 };

/// A LeaveGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// Who leaves; before v3 exactly one, whose error is that of the whole answer.
    pub members: Vec<Member>,
}

/// One member that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id; may be empty for a static member.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
    /// Why it leaves (v5).
    pub reason: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let group_id = r.string()?;
        let members = if version <= 2 {
            vec![Member { member_id: r.string()?, group_instance_id: None, reason: None }]
        } else {
            r.array(|r| Member::decode(r, version))?
        };
        r.end()?;
        Ok(Self { group_id, members })
    }
}

impl Member {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let member = Self {
            member_id: r.string()?,
            group_instance_id: r.nullable_string()?,
            reason: if version >= 5 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(member)
    }
}

/// From this version on several members may leave at once, each with its own error.
const MANY_MEMBERS: i16 = 3;

/// Takes members out of the group.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let leaver = |member: &Member| Leaver {
            member_id: shared(&member.member_id),
            instance_id: shared_if_any(member.group_instance_id.as_ref()),
            reason: shared_if_any(member.reason.as_ref()),
        };
        let command = Command::Leave(LeaveGroup {
            group: shared(&request.group_id),
            members: request.members.iter().map(leaver).collect(),
        });
        let reply = ask(&api, &request.group_id, command).await.leave();
        let reply = reply.unwrap_or_else(|error| LeaveReply { error, members: Vec::new() });
        responder.reply(&answer(reply, responder.version))
    }))
}

fn answer(reply: LeaveReply, version: i16) -> LeaveGroupResponse {
    if version < MANY_MEMBERS {
        let error = match reply.error {
            ErrorCode::None => reply.members.first().map_or(ErrorCode::None, |member| member.error),
            error => error,
        };
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = reply.members.into_iter().map(|member| {
        MemberResponse::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_error_code(member.error.code())
    });
    LeaveGroupResponse::default().with_error_code(reply.error.code()).with_members(members.collect())
}
