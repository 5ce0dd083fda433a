//! ListGroups (key 16), versions 0 to 5: all groups of any kind.
//!
//! v1 the throttle time; v3 the flexible form; v4 a filter by state, and states in the answer; v5 a filter by kind, and
//! kinds in the answer. An empty filter lets everything through.

use std::sync::Arc;

use kafka_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use kafka_protocol::messages::{GroupId, ListGroupsResponse};

use super::{shared, text};
use crate::api::{Api, Call, Started, waits};
use crate::groups::{CLASSIC, Command, ListGroups, ListedGroup};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 16, name: "ListGroups", min: 0, max: 5, flexible_from: 3 };

/// A ListGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names of states, e.g. `Stable`, in any case (v4).
    pub states_filter: Vec<StrBytes>,
    /// Names of kinds, e.g. `classic`, in any case (v5).
    pub types_filter: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            states_filter: if version >= 4 { r.array(Reader::string)? } else { Vec::new() },
            types_filter: if version >= 5 { r.array(Reader::string)? } else { Vec::new() },
        };
        r.end()?;
        Ok(request)
    }
}

/// Asks every shard that has groups.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let filters = ListGroups {
            states: request.states_filter.iter().map(shared).collect(),
            types: request.types_filter.iter().map(shared).collect(),
        };
        let response = match list(&api, &filters).await {
            Ok(groups) => ListGroupsResponse::default().with_groups(groups.into_iter().map(listed).collect()),
            Err(error) => ListGroupsResponse::default().with_error_code(error.code()),
        };
        responder.reply(&response)
    }))
}

async fn list(api: &Arc<Api>, filters: &ListGroups) -> Result<Vec<ListedGroup>, ErrorCode> {
    let mut groups = Vec::new();
    for shard in api.broker.all_group_shards().await? {
        groups.extend(shard.call(Command::List(filters.clone())).await.list()?);
    }
    Ok(groups)
}

fn listed(group: ListedGroup) -> WireGroup {
    WireGroup::default()
        .with_group_id(GroupId(text(&group.group)))
        .with_protocol_type(text(&group.protocol_type))
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_group_type(StrBytes::from_static_str(CLASSIC))
}
