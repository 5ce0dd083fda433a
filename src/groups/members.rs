//! The members of one group, and the counts that make questions about all of them cheap.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::command::{JoinGroup, Protocol};
use super::hard::MemberMetadata;
use crate::coord::Ticket;
use crate::types::{ErrorCode, Timestamp};

/// A member of a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    protocols: Vec<Protocol>,
    /// What the leader gave it in the present generation; empty before.
    pub(super) assignment: Bytes,
    /// Who waits for the end of the join phase. Set by [`Members`], which counts.
    join: Option<Ticket>,
    /// Who waits for the leader's assignment.
    pub(super) sync: Option<Ticket>,
    /// It has not been through a join phase yet: it cannot send heartbeats, so its session ends even while it waits.
    pub(super) is_new: bool,
    /// When its session ends.
    pub(super) deadline: Timestamp,
    /// When its timer fires: at `deadline` or before, so that a heartbeat need not move it.
    pub(super) armed: Option<Timestamp>,
}

impl Member {
    /// A newcomer, from its request.
    pub(super) fn joining(id: Arc<str>, request: &JoinGroup) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: kept(&request.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
            deadline: 0,
            armed: None,
        }
    }

    /// A member as the log has it; of its protocols only the chosen one is known.
    pub(super) fn recorded(stored: &MemberMetadata, protocol: &Arc<str>) -> Self {
        let chosen = Protocol { name: Arc::clone(protocol), metadata: stored.subscription.clone() };
        Self {
            id: Arc::clone(&stored.member_id),
            instance_id: stored.instance_id.clone(),
            client_id: Arc::clone(&stored.client_id),
            client_host: Arc::clone(&stored.client_host),
            session_timeout_ms: stored.session_timeout_ms,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            protocols: vec![chosen],
            assignment: stored.assignment.clone(),
            join: None,
            sync: None,
            is_new: false,
            deadline: 0,
            armed: None,
        }
    }

    /// Whether it offers exactly these protocols, in this order and with this metadata.
    pub(super) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// Its metadata for a protocol; empty for one that it does not offer.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let offered = self.protocols.iter().find(|offered| Some(&*offered.name) == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// Whether somebody waits for the end of the join phase.
    pub(super) fn is_joining(&self) -> bool {
        self.join.is_some()
    }

    /// A member that waits for an answer of ours cannot be late with a heartbeat, unless it never had a session.
    pub(super) fn owes_no_heartbeat(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}

/// What is kept of a request is copied: it must not hold on to a whole frame.
fn kept(protocols: &[Protocol]) -> Vec<Protocol> {
    let copy = |protocol: &Protocol| Protocol {
        name: Arc::clone(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    protocols.iter().map(copy).collect()
}

/// The memory that a list of protocols takes, in bytes.
pub(super) fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| 64 + protocol.name.len() + protocol.metadata.len()).sum()
}

/// Each protocol name of the list once, however often it is offered.
fn names(protocols: &[Protocol]) -> impl Iterator<Item = &Arc<str>> {
    let repeated = |at: usize| protocols[..at].iter().any(|earlier| earlier.name == protocols[at].name);
    protocols.iter().enumerate().filter(move |(at, _)| !repeated(*at)).map(|(_, protocol)| &protocol.name)
}

/// All members of a group, sorted by id.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<Arc<str>, Member>,
    /// Static members: instance to member id.
    by_instance: BTreeMap<Arc<str>, Arc<str>>,
    /// How many wait for the end of the join phase.
    joining: usize,
    /// How many offer each protocol.
    offers: HashMap<Arc<str>, usize>,
    /// What their protocols take, in bytes.
    bytes: usize,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    /// For everything but protocols and the join ticket, which are counted.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.by_id.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.by_id.values_mut()
    }

    /// The member id that holds an instance.
    pub(super) fn holder(&self, instance: &str) -> Option<&Arc<str>> {
        self.by_instance.get(instance)
    }

    /// How many wait for the end of the join phase.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// What the protocols of all members but this one take, in bytes.
    pub(super) fn bytes_without(&self, id: &str) -> usize {
        self.bytes - self.get(id).map_or(0, |member| protocol_bytes(&member.protocols))
    }

    /// The longest rebalance timeout, 0 without members.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.iter().map(|member| i64::from(member.rebalance_timeout_ms.max(0))).max().unwrap_or(0)
    }

    /// Whether this is a member, and if it names an instance the one that holds it (S68).
    pub(super) fn check(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.holder(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if **holder != *id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.by_id.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether one of these protocols is offered by every member.
    pub(super) fn share_one_of(&self, protocols: &[Protocol]) -> bool {
        protocols.iter().any(|offered| self.all_offer(&offered.name))
    }

    fn all_offer(&self, protocol: &str) -> bool {
        self.offers.get(protocol).copied().unwrap_or(0) == self.len()
    }

    /// The protocol of the next generation (S66): of those that all offer, the one most members prefer. Of equals the
    /// one that comes first with the first member. `None` without members, or without a common protocol.
    pub(super) fn elect_protocol(&self) -> Option<Arc<str>> {
        let first = self.iter().next()?;
        let candidates: Vec<_> =
            names(&first.protocols).filter(|name| self.all_offer(name)).map(|name| (name, 0_usize)).collect();
        let mut votes = candidates;
        for member in self.iter() {
            let mut offered = member.protocols.iter();
            let choice = offered.find_map(|offer| votes.iter().position(|(name, _)| **name == offer.name));
            if let Some(choice) = choice {
                votes[choice].1 += 1;
            }
        }
        let best = votes.into_iter().rev().max_by_key(|(_, votes)| *votes);
        best.map(|(name, _)| Arc::clone(name))
    }

    /// Takes a member in. A static one must not hold an instance that another holds.
    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance), Arc::clone(&member.id));
        }
        self.count(&member);
        self.by_id.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.by_id.remove(id)?;
        self.discount(&member);
        if let Some(instance) = &member.instance_id {
            self.by_instance.remove(instance);
        }
        Some(member)
    }

    /// Gives a member what its new join brings, and a ticket to wait with. Returns a ticket that waited before.
    pub(super) fn update(&mut self, id: &str, request: &JoinGroup, ticket: Ticket) -> Option<Ticket> {
        let mut member = self.by_id.remove(id)?;
        self.discount(&member);
        member.protocols = kept(&request.protocols);
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        let superseded = member.join.replace(ticket);
        self.count(&member);
        self.by_id.insert(Arc::clone(&member.id), member);
        superseded
    }

    /// Lets a member wait for the end of the join phase. Returns a ticket that waited before.
    pub(super) fn wait(&mut self, id: &str, ticket: Ticket) -> Option<Ticket> {
        let member = self.by_id.get_mut(id)?;
        let superseded = member.join.replace(ticket);
        self.joining += usize::from(superseded.is_none());
        superseded
    }

    /// Ends a member's wait for the join phase.
    pub(super) fn take_join(&mut self, id: &str) -> Option<Ticket> {
        let ticket = self.by_id.get_mut(id)?.join.take();
        self.joining -= usize::from(ticket.is_some());
        ticket
    }

    fn count(&mut self, member: &Member) {
        self.joining += usize::from(member.join.is_some());
        self.bytes += protocol_bytes(&member.protocols);
        for name in names(&member.protocols) {
            *self.offers.entry(Arc::clone(name)).or_default() += 1;
        }
    }

    fn discount(&mut self, member: &Member) {
        self.joining -= usize::from(member.join.is_some());
        self.bytes -= protocol_bytes(&member.protocols);
        for name in names(&member.protocols) {
            if let Some(count) = self.offers.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.offers.remove(name);
                }
            }
        }
    }
}
