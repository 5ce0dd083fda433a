//! Sessions: heartbeats renew them, silence ends them (S70).

use std::sync::Arc;

use super::Groups;
use super::classic::ClassicGroup;
use super::command::Heartbeat;
use super::effect::Effect;
use super::members::Member;
use super::reply::{GroupState, Reply};
use super::soft::{Soft, Timer, Turn};
use super::world::World;
use crate::coord::{Context, Decision, Ticket};
use crate::types::ErrorCode;

/// Decides on a Heartbeat request.
pub(super) fn heartbeat(
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &Heartbeat,
) -> Decision<Groups> {
    let answer = |error| Decision::reply(ticket, Reply::Heartbeat(error));
    if request.group.is_empty() {
        return answer(ErrorCode::InvalidGroupId);
    }
    let beaten = soft.with_live(context, &request.group, |group, turn| {
        let error = group.heartbeat(turn, request);
        turn.reply(ticket, Reply::Heartbeat(error));
    });
    beaten.unwrap_or_else(|| answer(ErrorCode::UnknownMemberId))
}

impl ClassicGroup {
    fn heartbeat(&mut self, turn: &mut Turn<'_>, request: &Heartbeat) -> ErrorCode {
        let id = &request.member_id;
        if let Err(error) = self.check(id, request.instance_id.as_deref(), request.generation) {
            return error;
        }
        self.renew_session(id, turn);
        match self.state {
            GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            // A member may beat before it syncs. Sending it back to join would keep the group joining for ever.
            GroupState::CompletingRebalance | GroupState::Stable => ErrorCode::None,
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
        }
    }

    /// Begins the member's session anew.
    pub(super) fn renew_session(&mut self, member: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get_mut(member) {
            let timeout_ms = i64::from(member.session_timeout_ms);
            renew(&self.id, member, timeout_ms, turn);
        }
    }

    /// Begins every member's session anew.
    pub(super) fn renew_all_sessions(&mut self, turn: &mut Turn<'_>) {
        for member in self.members.iter_mut() {
            let timeout_ms = i64::from(member.session_timeout_ms);
            renew(&self.id, member, timeout_ms, turn);
        }
    }

    /// Gives a member this long instead of its session timeout.
    pub(super) fn renew_session_for(&mut self, member: &str, timeout_ms: i64, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get_mut(member) {
            renew(&self.id, member, timeout_ms, turn);
        }
    }

    /// A member's timer fired: its session may be over.
    pub(super) fn on_member_timer(&mut self, turn: &mut Turn<'_>, id: &str) {
        if self.forget_pending(turn, id) {
            self.complete_if_all_joined(turn);
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        member.armed = None;
        if member.deadline > turn.now {
            member.armed = Some(member.deadline);
            let timer = Timer::Member { group: Arc::clone(&self.id), member: Arc::clone(&member.id) };
            turn.timers.set(timer, member.deadline);
            return;
        }
        // Its session begins anew with the answer that it waits for.
        if member.owes_no_heartbeat() {
            return;
        }
        let member_id = Arc::clone(&member.id);
        turn.effect(Effect::MemberFailed {
            group: Arc::clone(&self.id),
            member_id: Arc::clone(&member_id),
            reason: "it was silent for its session timeout",
        });
        self.remove_member(turn, &member_id);
        self.go_on_without(turn, &format!("the session of member {member_id} ended"));
    }
}

/// The timer is moved only when it would fire too late. One that fires early is set again: so a heartbeat costs no more
/// than a look-up.
fn renew(group: &Arc<str>, member: &mut Member, timeout_ms: i64, turn: &mut Turn<'_>) {
    member.deadline = turn.now.saturating_add(timeout_ms);
    if member.armed.is_some_and(|at| at <= member.deadline) {
        return;
    }
    member.armed = Some(member.deadline);
    let timer = Timer::Member { group: Arc::clone(group), member: Arc::clone(&member.id) };
    turn.timers.set(timer, member.deadline);
}
