//! A group as it is now, whether it lives in the soft state or only in the log; DescribeGroups and ListGroups (S76).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::classic::ClassicGroup;
use super::command::ListGroups;
use super::hard::{Hard, StoredGroup};
use super::members::Member;
use super::reply::{CLASSIC, DescribeReply, DescribedMember, GroupState, ListedGroup};
use super::soft::Soft;
use super::subscription::CONSUMER;
use crate::types::Timestamp;

/// One group, seen through the state that knows it best.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    /// It has members, or ids of members to come.
    Live(&'a ClassicGroup),
    /// It has none: what the log says is all.
    Stored(&'a StoredGroup),
}

impl<'a> View<'a> {
    /// The group of this id.
    pub(super) fn of(hard: &'a Hard, soft: &'a Soft, id: &str) -> Option<Self> {
        let live = soft.groups.get(id).map(Self::Live);
        live.or_else(|| hard.group(id).map(Self::Stored))
    }

    pub(super) fn state(self) -> GroupState {
        match self {
            Self::Live(group) => group.state,
            Self::Stored(_) => GroupState::Empty,
        }
    }

    pub(super) fn protocol_type(self) -> Option<&'a Arc<str>> {
        match self {
            Self::Live(group) => group.protocol_type.as_ref(),
            Self::Stored(group) => group.metadata.as_ref()?.protocol_type.as_ref(),
        }
    }

    /// When it came to its state, if that is known.
    pub(super) fn since(self) -> Option<Timestamp> {
        match self {
            Self::Live(group) => Some(group.since),
            Self::Stored(group) => group.metadata.as_ref()?.state_since,
        }
    }

    pub(super) fn is_consumer(self) -> bool {
        self.protocol_type().is_some_and(|protocol_type| **protocol_type == *CONSUMER)
    }

    /// Whether ids are out that may come back.
    pub(super) fn has_pending(self) -> bool {
        matches!(self, Self::Live(group) if group.has_pending())
    }

    /// The topics that it subscribes to; `None` when that is not known.
    pub(super) fn subscribed(self) -> Option<&'a BTreeSet<Arc<str>>> {
        static NOTHING: BTreeSet<Arc<str>> = BTreeSet::new();
        match self {
            Self::Live(group) => group.subscribed.as_ref(),
            Self::Stored(_) => self.is_consumer().then_some(&NOTHING),
        }
    }

    /// Whether it subscribes to a topic. Consumers whose subscription is not known may.
    pub(super) fn subscribes_to(self, topic: &str) -> bool {
        self.subscribed().map_or_else(|| self.is_consumer(), |topics| topics.contains(topic))
    }
}

/// Answers a DescribeGroups request for one group.
pub(super) fn describe(hard: &Hard, soft: &Soft, id: &str) -> DescribeReply {
    let Some(view) = View::of(hard, soft, id) else {
        let nothing = Arc::<str>::default();
        return DescribeReply {
            state: GroupState::Dead,
            protocol_type: Arc::clone(&nothing),
            protocol_data: nothing,
            members: Vec::new(),
        };
    };
    let live = match view {
        View::Live(group) => Some(group),
        View::Stored(_) => None,
    };
    let protocol =
        live.filter(|group| group.state == GroupState::Stable).and_then(|group| group.protocol.as_ref());
    let members = live.into_iter().flat_map(|group| group.members.iter());
    DescribeReply {
        state: view.state(),
        protocol_type: view.protocol_type().cloned().unwrap_or_default(),
        protocol_data: protocol.cloned().unwrap_or_default(),
        members: members.map(|member| describe_member(member, protocol.map(|name| &**name))).collect(),
    }
}

fn describe_member(member: &Member, protocol: Option<&str>) -> DescribedMember {
    DescribedMember {
        member_id: Arc::clone(&member.id),
        instance_id: member.instance_id.clone(),
        client_id: Arc::clone(&member.client_id),
        client_host: Arc::clone(&member.client_host),
        metadata: member.metadata(protocol),
        assignment: member.assignment.clone(),
    }
}

/// Answers a ListGroups request, sorted by group id.
pub(super) fn list(hard: &Hard, soft: &Soft, filter: &ListGroups) -> Vec<ListedGroup> {
    if !filter.types.is_empty() && !filter.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(CLASSIC)) {
        return Vec::new();
    }
    let wanted = |state: GroupState| {
        let matches = |name: &Arc<str>| name.trim().eq_ignore_ascii_case(state.name());
        filter.states.is_empty() || filter.states.iter().any(matches)
    };
    let stored = hard.groups().iter().filter(|(id, _)| !soft.groups.contains_key(*id));
    let stored = stored.map(|(id, group)| (id, View::Stored(group)));
    let live = soft.groups.iter().map(|(id, group)| (id, View::Live(group)));
    let listed = stored.chain(live).filter(|(_, view)| wanted(view.state())).map(|(id, view)| ListedGroup {
        group: Arc::clone(id),
        protocol_type: view.protocol_type().cloned().unwrap_or_default(),
        state: view.state(),
    });
    let mut listed: Vec<_> = listed.collect();
    listed.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    listed
}
