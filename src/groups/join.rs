//! JoinGroup: who may join, and what a join sets off (S62, S63, S67, S68).

use std::sync::Arc;

use super::Groups;
use super::classic::ClassicGroup;
use super::command::{JoinGroup, Protocol};
use super::hard::Hard;
use super::members::{self, Member};
use super::records::TEXT_BYTES_MAX;
use super::reply::{GroupState, JoinReply, Reply, SyncReply};
use super::soft::{Soft, Turn};
use super::world::{GroupSettings, World};
use crate::coord::{Context, Decision, Ticket};
use crate::types::ErrorCode;

/// How long a newcomer may wait for the end of its first join phase, in milliseconds: it cannot send heartbeats, and
/// its connection may be gone.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;
/// Assignors that one member may offer. Clients offer a handful; the votes are counted name by name.
const PROTOCOLS_MAX: usize = 256;
/// What the metadata of all members of a group may take, in bytes, so that a generation fits a record.
const GROUP_BYTES_MAX: usize = 64 << 20;
/// What a member id is longer than the client or instance id that it begins with, in bytes: a dash and a UUID.
const MEMBER_ID_TAIL_BYTES: usize = 37;
/// What of a client's reason reaches the log, in bytes.
const REASON_BYTES_MAX: usize = 255;

/// Decides on a JoinGroup request.
pub(super) fn join(
    hard: &Hard,
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &JoinGroup,
) -> Decision<Groups> {
    let refuse = |error| {
        let reply = JoinReply::refusal(error, Arc::clone(&request.member_id));
        Decision::reply(ticket, Reply::Join(reply))
    };
    if let Err(error) = precheck(request, &context.world.settings) {
        return refuse(error);
    }
    let known = soft.groups.contains_key(&request.group) || hard.group(&request.group).is_some();
    if !known && !request.member_id.is_empty() {
        return refuse(ErrorCode::UnknownMemberId);
    }
    soft.with_any(hard, context, &request.group, |group, turn| group.join(turn, ticket, request))
}

/// What can be said of a request without its group.
fn precheck(request: &JoinGroup, settings: &GroupSettings) -> Result<(), ErrorCode> {
    if request.group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let sessions = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
    if !sessions.contains(&request.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    if fits_records(request) { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

/// Whether a record can hold what the request says. The longest strings that a frame can carry make a member id that
/// is longer than a record's strings may be.
fn fits_records(request: &JoinGroup) -> bool {
    let stem = request.instance_id.as_deref().unwrap_or(&request.client_id);
    let texts = [&request.group, &request.member_id, &request.client_host, &request.protocol_type];
    request.protocols.len() <= PROTOCOLS_MAX
        && stem.len() + MEMBER_ID_TAIL_BYTES <= TEXT_BYTES_MAX
        && request.client_id.len() <= TEXT_BYTES_MAX
        && texts.into_iter().all(|text| text.len() <= TEXT_BYTES_MAX)
        && request.protocols.iter().all(|Protocol { name, .. }| name.len() <= TEXT_BYTES_MAX)
}

impl ClassicGroup {
    fn join(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &JoinGroup) {
        let nobody = Arc::default();
        if !self.has_room_for(&request.member_id, turn.world.settings.max_size)
            || !self.has_memory_for(request)
        {
            turn.reply_join(Some(ticket), JoinReply::refusal(ErrorCode::GroupMaxSizeReached, nobody));
            self.expel(turn, &request.member_id);
        } else if !self.suits(request) {
            // Kafka repeats the member's id here, which is empty for a newcomer.
            let id = Arc::clone(&request.member_id);
            turn.reply_join(Some(ticket), JoinReply::refusal(ErrorCode::InconsistentGroupProtocol, id));
        } else if request.member_id.is_empty() {
            self.join_newcomer(turn, ticket, request);
        } else if self.is_pending(&request.member_id) && request.instance_id.is_none() {
            self.remove_pending(&request.member_id);
            self.add_member(turn, ticket, request, Arc::clone(&request.member_id));
        } else if let Err(error) = self.members.check(&request.member_id, request.instance_id.as_deref()) {
            turn.reply_join(Some(ticket), JoinReply::refusal(error, Arc::clone(&request.member_id)));
        } else {
            self.rejoin(turn, ticket, request);
        }
    }

    fn has_memory_for(&self, request: &JoinGroup) -> bool {
        let added = members::protocol_bytes(&request.protocols);
        self.members.bytes_without(&request.member_id).saturating_add(added) <= GROUP_BYTES_MAX
    }

    /// There is no room for a member that was one, or was to be one: it is out, and those that remain need not wait
    /// for it.
    fn expel(&mut self, turn: &mut Turn<'_>, member: &str) {
        if self.forget_pending(turn, member) {
            self.complete_if_all_joined(turn);
        } else if self.remove_member(turn, member) {
            self.go_on_without(turn, &format!("there is no room for member {member}"));
        }
    }

    fn join_newcomer(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &JoinGroup) {
        let stem = request.instance_id.as_ref().unwrap_or(&request.client_id);
        let id: Arc<str> = format!("{stem}-{}", uuid_text(request.uuid)).into();
        let holder = request.instance_id.as_deref().and_then(|instance| self.members.holder(instance));
        if let Some(holder) = holder.cloned() {
            self.replace_static_member(turn, ticket, request, &holder, id);
        } else if request.member_id_required && request.instance_id.is_none() {
            self.give_out_id(turn, ticket, request, id);
        } else {
            self.add_member(turn, ticket, request, id);
        }
    }

    /// KIP-394: the client must come back with the id, so that a join that was repeated over a new connection does not
    /// leave a second member behind.
    fn give_out_id(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &JoinGroup, id: Arc<str>) {
        if Self::pending_cost(&id) > turn.pending_room {
            let reply = JoinReply::refusal(ErrorCode::CoordinatorNotAvailable, Arc::default());
            turn.reply_join(Some(ticket), reply);
            return;
        }
        let expires = turn.now.saturating_add(i64::from(request.session_timeout_ms));
        turn.timers.set(self.member_timer(&id), expires);
        turn.reply_join(Some(ticket), JoinReply::refusal(ErrorCode::MemberIdRequired, Arc::clone(&id)));
        turn.given_out = Some(Arc::clone(&id));
        self.add_pending(id);
    }

    fn add_member(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &JoinGroup, id: Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        if self.state == GroupState::PreparingRebalance {
            self.rebalance.newcomer = true;
        }
        self.leader.get_or_insert_with(|| Arc::clone(&id));
        self.members.add(Member::joining(Arc::clone(&id), request));
        self.members.wait(&id, ticket);
        self.renew_session_for(&id, NEW_MEMBER_JOIN_TIMEOUT_MS, turn);
        self.rebalance_or_complete(turn, &format!("member {id} joined{}", because(request)));
    }

    /// S67: a member that is one joins again.
    fn rejoin(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &JoinGroup) {
        let id = &request.member_id;
        let unchanged = self.members.get(id).is_some_and(|member| member.matches(&request.protocols));
        let leads = self.is_leader(id);
        match self.state {
            // The answer of the last join was lost, or a follower wants to make sure: nothing new for the group.
            GroupState::CompletingRebalance if unchanged => {
                let reply = self.joined(id, leads);
                turn.reply_join(Some(ticket), reply);
            }
            GroupState::Stable if unchanged && !leads => {
                let reply = self.joined(id, false);
                turn.reply_join(Some(ticket), reply);
            }
            GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Stable => {
                let what = if unchanged { "rejoined" } else { "changed its metadata" };
                let role = if leads { "leader" } else { "member" };
                let superseded = self.members.update(id, request, ticket);
                turn.reply_join(
                    superseded,
                    JoinReply::refusal(ErrorCode::RebalanceInProgress, Arc::clone(id)),
                );
                self.rebalance_or_complete(turn, &format!("{role} {id} {what}{}", because(request)));
            }
            GroupState::Empty | GroupState::Dead => {
                turn.reply_join(Some(ticket), JoinReply::refusal(ErrorCode::UnknownMemberId, Arc::clone(id)));
            }
        }
    }

    /// S68: the instance is back, with a new id. Who still acts under the old one is fenced.
    fn replace_static_member(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: &JoinGroup,
        old: &Arc<str>,
        new: Arc<str>,
    ) {
        let leader_before = self.leader.clone();
        self.rename_member(turn, old, &new);
        self.members.update(&new, request, ticket);
        self.renew_session(&new, turn);
        match self.state {
            GroupState::Stable if self.members.elect_protocol() == self.protocol => {
                self.subscribed = self.read_subscriptions();
                turn.record(self.record());
                let ticket = self.members.take_join(&new);
                let reply = self.returned(request, &new, leader_before);
                turn.reply_join(ticket, reply);
            }
            // The leader may already be assigning to the old id: that assignment would reach nobody.
            GroupState::Stable | GroupState::CompletingRebalance => {
                let instance = request.instance_id.as_deref().unwrap_or_default();
                self.prepare(
                    turn,
                    &format!("static member {instance} came back as {new}{}", because(request)),
                );
            }
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {
                self.complete_if_ready(turn)
            }
        }
    }

    /// What a static member is told that took its place without a rebalance. A leader must not send an assignment, for
    /// a stable group takes none: from version 9 it is told so (KIP-814), before that it is told the old leader's id.
    fn returned(&self, request: &JoinGroup, id: &str, leader_before: Option<Arc<str>>) -> JoinReply {
        if request.can_skip_assignment {
            let leads = self.is_leader(id);
            JoinReply { skip_assignment: leads, ..self.joined(id, leads) }
        } else {
            JoinReply { leader: leader_before.unwrap_or_default(), ..self.joined(id, false) }
        }
    }

    fn rename_member(&mut self, turn: &mut Turn<'_>, old: &Arc<str>, new: &Arc<str>) {
        turn.timers.cancel(&self.member_timer(old));
        let join = self.members.take_join(old);
        turn.reply_join(join, JoinReply::refusal(ErrorCode::FencedInstanceId, Arc::clone(old)));
        let Some(mut member) = self.members.remove(old) else { return };
        turn.reply_sync(member.sync.take(), SyncReply::refusal(ErrorCode::FencedInstanceId));
        member.id = Arc::clone(new);
        member.armed = None;
        member.is_new = false;
        self.members.add(member);
        if self.is_leader(old) {
            self.leader = Some(Arc::clone(new));
        }
        if self.to_sync.remove(old) {
            self.to_sync.insert(Arc::clone(new));
        }
    }
}

/// The client's reason for the log, if it gave one.
fn because(request: &JoinGroup) -> String {
    match request.reason.as_deref() {
        None | Some("") => String::new(),
        Some(reason) => format!(" ({})", brief(reason)),
    }
}

/// As much of a client's reason as good clients send (KIP-800).
pub(super) fn brief(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// The text form of a random (version 4) UUID, as Java prints it.
fn uuid_text(random: [u8; 16]) -> String {
    let mut bytes = random;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
