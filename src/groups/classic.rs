//! A classic group: its state, its members, and the questions that commands ask of it. What commands do to it is in
//! [`super::join`], [`super::sync`], [`super::leave`] and [`super::rebalance`].
//!
//! ```text
//!            first join                     all joined, or time is up
//!   Empty ───────────────▶ PreparingRebalance ───────────────▶ CompletingRebalance
//!     ▲                      │            ▲                        │        │
//!     └── nobody left ───────┘            └── join, leave, failure ┘        │ leader's sync
//!                                         ▲                                 ▼
//!                                         └── join, leave, failure ────── Stable
//! ```
//!
//! A group lives in the soft state while it has members. Its generation is recorded when the leader's SyncGroup brings
//! the assignments, when the last member is gone, and when a static member takes its place again. A crash before that
//! loses a rebalance, which the members then do again. A group without members needs no soft state, and no group is
//! ever seen in Kafka's state `Dead`: it is removed in one decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::command::JoinGroup;
use super::hard::{GroupMetadata, MemberMetadata, Record};
use super::members::{Member, Members};
use super::reply::{GroupState, JoinReply, JoinedMember};
use super::soft::Timer;
use super::subscription::{self, CONSUMER};
use crate::types::deadlines::Deadlines;
use crate::types::{ErrorCode, Timestamp};

/// What an id given out takes beside its own length, in bytes: timer, set and queue entries, two counters each.
pub(super) const PENDING_OVERHEAD_BYTES: usize = 256;

/// A classic group with members, or with ids of members to come.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: Arc<str>,
    pub(super) state: GroupState,
    /// When it came to this state, by the wall clock.
    pub(super) since: Timestamp,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: Members,
    /// Ids given out to members that have not come back with them (KIP-394).
    pending: BTreeSet<Arc<str>>,
    pending_bytes: usize,
    /// Members of this generation that have not synced.
    pub(super) to_sync: BTreeSet<Arc<str>>,
    /// Topics that this generation subscribes to; `None` when that is not known.
    pub(super) subscribed: Option<BTreeSet<Arc<str>>>,
    /// The present, or last, rebalance.
    pub(super) rebalance: Rebalance,
}

/// A rebalance under way.
#[derive(Debug, Default)]
pub(super) struct Rebalance {
    /// When it began.
    pub(super) began: Timestamp,
    /// The group was empty: the initial delay applies.
    pub(super) initial: bool,
    /// Somebody joined since the initial delay was last extended.
    pub(super) newcomer: bool,
    /// How long the initial delay that now runs is, in milliseconds.
    pub(super) step_ms: i64,
    /// How much longer the initial delay may be made, in milliseconds.
    pub(super) remaining_ms: i64,
}

impl ClassicGroup {
    /// The group as it was recorded: stable with its members, or empty. One that was never recorded is empty.
    pub(super) fn new(id: Arc<str>, stored: Option<&GroupMetadata>, wall: Timestamp) -> Self {
        let mut group = Self {
            id,
            state: GroupState::Empty,
            since: stored.and_then(|stored| stored.state_since).unwrap_or(wall),
            generation: stored.map_or(0, |stored| stored.generation),
            protocol_type: stored.and_then(|stored| stored.protocol_type.clone()),
            protocol: stored.and_then(|stored| stored.protocol.clone()),
            leader: stored.and_then(|stored| stored.leader.clone()),
            members: Members::default(),
            pending: BTreeSet::new(),
            pending_bytes: 0,
            to_sync: BTreeSet::new(),
            subscribed: None,
            rebalance: Rebalance::default(),
        };
        let protocol = group.protocol.clone().unwrap_or_default();
        for stored in stored.iter().flat_map(|stored| &stored.members) {
            group.members.add(Member::recorded(stored, &protocol));
        }
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// Nothing is left that the hard state does not have.
    pub(super) fn is_idle(&self) -> bool {
        self.state == GroupState::Empty && self.members.is_empty() && self.pending.is_empty()
    }

    /// What its pending ids take, in bytes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn is_pending(&self, member: &str) -> bool {
        self.pending.contains(member)
    }

    /// What an id to be given out would take, in bytes.
    pub(super) fn pending_cost(member: &str) -> usize {
        member.len() + PENDING_OVERHEAD_BYTES
    }

    pub(super) fn add_pending(&mut self, member: Arc<str>) {
        let cost = Self::pending_cost(&member);
        if self.pending.insert(member) {
            self.pending_bytes += cost;
        }
    }

    /// Whether the id had been given out.
    pub(super) fn remove_pending(&mut self, member: &str) -> bool {
        let removed = self.pending.remove(member);
        if removed {
            self.pending_bytes -= Self::pending_cost(member);
        }
        removed
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Everybody known is here: all members wait for the end of the join phase, and no id is out.
    pub(super) fn all_joined(&self) -> bool {
        self.members.joining() == self.members.len() && self.pending.is_empty()
    }

    /// Whether there is room for a joining member (`group.max.size`). While members rejoin, those count that have: so
    /// the last to rejoin are those for whom there is no room.
    pub(super) fn has_room_for(&self, member: &str, max_size: i32) -> bool {
        let max = usize::try_from(max_size).unwrap_or(0);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                self.members.get(member).is_some_and(Member::is_joining) || self.members.joining() < max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.get(member).is_some() || self.members.len() < max
            }
        }
    }

    /// Whether the protocols of a joining member go with those of the group (S62).
    pub(super) fn suits(&self, request: &JoinGroup) -> bool {
        if self.state == GroupState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && self.members.share_one_of(&request.protocols)
    }

    /// Whether a call of this member for this generation may pass.
    pub(super) fn check(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.members.check(member, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// Whether a commit may pass (S73).
    pub(super) fn check_commit(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if generation >= 0 || !member.is_empty() || instance.is_some() {
            self.check(member, instance, generation)?;
        } else if self.state != GroupState::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.state {
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether offsets may be committed with a transaction (S60, KIP-447). The group's state does not matter, and older
    /// clients name neither member nor generation.
    pub(super) fn check_pending_commit(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let from_outside = generation < 0 && self.state == GroupState::Empty;
        let unnamed = generation < 0 && member.is_empty() && instance.is_none();
        if from_outside || unnamed { Ok(()) } else { self.check(member, instance, generation) }
    }

    /// Changes the state.
    pub(super) fn enter(&mut self, state: GroupState, wall: Timestamp) {
        self.state = state;
        self.since = wall;
    }

    /// The present generation, as a join is told it. The leader's list of members is empty unless asked for.
    pub(super) fn joined(&self, member: &str, with_members: bool) -> JoinReply {
        let members = if with_members { self.joined_members() } else { Vec::new() };
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: self.members.get(member).map(|member| Arc::clone(&member.id)).unwrap_or_default(),
            members,
        }
    }

    fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref();
        let seen = |member: &Member| JoinedMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.iter().map(seen).collect()
    }

    /// The record of the present generation.
    pub(super) fn record(&self) -> Record {
        let protocol = self.protocol.as_deref();
        let recorded = |member: &Member| MemberMetadata {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        };
        let value = GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: Some(self.since),
            members: self.members.iter().map(recorded).collect(),
        };
        Record::Group { group: Arc::clone(&self.id), value: Some(Arc::new(value)) }
    }

    /// The topics that the members subscribe to; `None` when the group is none of consumers or a member's subscription
    /// cannot be read.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<Arc<str>>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            subscription::add_topics(&member.metadata(self.protocol.as_deref()), &mut topics)?;
        }
        Some(topics)
    }

    /// The key of a member's timer.
    pub(super) fn member_timer(&self, member: &Arc<str>) -> Timer {
        Timer::Member { group: Arc::clone(&self.id), member: Arc::clone(member) }
    }

    /// Takes all its timers away.
    pub(super) fn cancel_timers(&mut self, timers: &mut Deadlines<Timer>) {
        timers.cancel(&Timer::Join(Arc::clone(&self.id)));
        timers.cancel(&Timer::Sync(Arc::clone(&self.id)));
        for id in self.pending.iter().chain(self.members.iter().map(|member| &member.id)) {
            timers.cancel(&self.member_timer(id));
        }
    }
}
