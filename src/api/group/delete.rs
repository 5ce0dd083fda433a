//! DeleteGroups (key 42), versions 0 to 2: deletes groups that have no members, with their offsets.
//!
//! v1 is v0; v2 the flexible form. A group with members gives 68, an unknown one 69 (S76).

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsResponse, GroupId};

use super::{ask, shared};
use crate::api::{Call, Started, waits};
use crate::groups::Command;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 42, name: "DeleteGroups", min: 0, max: 2, flexible_from: 2 };

/// A DeleteGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The groups.
    pub groups: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self { groups: r.array(Reader::string)? };
        r.end()?;
        Ok(request)
    }
}

/// Deletes the groups, one after the other.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let mut results = Vec::with_capacity(request.groups.len());
        let mut seen = HashSet::new();
        for id in request.groups.into_iter().filter(|id| seen.insert(id.clone())) {
            let reply = ask(&api, &id, Command::DeleteGroup { group: shared(&id) }).await;
            let error = reply.delete_group().unwrap_or_else(|error| error);
            let result = DeletableGroupResult::default().with_group_id(GroupId(id));
            results.push(result.with_error_code(error.code()));
        }
        responder.reply(&DeleteGroupsResponse::default().with_results(results))
    }))
}
