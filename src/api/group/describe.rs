//! DescribeGroups (key 15), versions 0 to 6: state and members of classic groups.
//!
//! v1 the throttle time; v3 authorized operations; v4 static members' instance ids; v5 the flexible form; v6 an unknown
//! group gives 69, where older versions describe it as `Dead` without error (S76).

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsResponse, GroupId};

use super::{ask, shared, text};
use crate::api::operations;
use crate::api::{Call, Started, waits};
use crate::groups::{Command, DescribeReply, GroupState};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 15, name: "DescribeGroups", min: 0, max: 6, flexible_from: 5 };

/// A DescribeGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The groups.
    pub groups: Vec<StrBytes>,
    /// Whether to say what the client may do with each (v3).
    pub include_authorized_operations: bool,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            groups: r.array(Reader::string)?,
            include_authorized_operations: if version >= 3 { r.bool()? } else { false },
        };
        r.end()?;
        Ok(request)
    }
}

/// From this version on an unknown group is an error, not a dead group (S76).
const GROUP_ID_NOT_FOUND: i16 = 6;

/// Describes the groups, one after the other; each once.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut seen = HashSet::new();
        for id in request.groups.into_iter().filter(|id| seen.insert(id.clone())) {
            let reply = ask(&api, &id, Command::Describe { group: shared(&id) }).await.describe();
            let group = describe(id, reply, responder.version);
            let asked = request.include_authorized_operations && group.error_code == 0;
            groups.push(group.with_authorized_operations(operations::told(asked, operations::GROUP)));
        }
        responder.reply(&DescribeGroupsResponse::default().with_groups(groups))
    }))
}

fn describe(id: StrBytes, reply: Result<DescribeReply, ErrorCode>, version: i16) -> DescribedGroup {
    let not_found = format!("Group {id} not found.");
    let group = DescribedGroup::default().with_group_id(GroupId(id));
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return group.with_error_code(error.code()),
    };
    let group = group.with_group_state(StrBytes::from_static_str(reply.state.name()));
    if reply.state == GroupState::Dead && version >= GROUP_ID_NOT_FOUND {
        return group
            .with_error_code(ErrorCode::GroupIdNotFound.code())
            .with_error_message(Some(StrBytes::from_string(not_found)));
    }
    let members = reply.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    group
        .with_protocol_type(text(&reply.protocol_type))
        .with_protocol_data(text(&reply.protocol_data))
        .with_members(members.collect())
}
