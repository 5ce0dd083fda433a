//! LeaveGroup: members that go, and static ones that an administrator removes (S72).

use std::sync::Arc;

use super::Groups;
use super::classic::ClassicGroup;
use super::command::{LeaveGroup, Leaver};
use super::join::brief;
use super::reply::{LeaveReply, LeftMember, Reply};
use super::soft::{Soft, Turn};
use super::world::World;
use crate::coord::{Context, Decision, Ticket};
use crate::types::ErrorCode;

/// Decides on a LeaveGroup request.
pub(super) fn leave(
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &LeaveGroup,
) -> Decision<Groups> {
    if request.group.is_empty() {
        let reply = LeaveReply { error: ErrorCode::InvalidGroupId, members: Vec::new() };
        return Decision::reply(ticket, Reply::Leave(reply));
    }
    let left = soft.with_live(context, &request.group, |group, turn| {
        let members = group.leave(turn, &request.members);
        turn.reply(ticket, Reply::Leave(LeaveReply { error: ErrorCode::None, members }));
    });
    left.unwrap_or_else(|| {
        let stranger = |leaver: &Leaver| answer(leaver, ErrorCode::UnknownMemberId);
        let members = request.members.iter().map(stranger).collect();
        Decision::reply(ticket, Reply::Leave(LeaveReply { error: ErrorCode::None, members }))
    })
}

fn answer(leaver: &Leaver, error: ErrorCode) -> LeftMember {
    LeftMember { member_id: Arc::clone(&leaver.member_id), instance_id: leaver.instance_id.clone(), error }
}

impl ClassicGroup {
    fn leave(&mut self, turn: &mut Turn<'_>, leavers: &[Leaver]) -> Vec<LeftMember> {
        let mut answers = Vec::with_capacity(leavers.len());
        let mut gone = Vec::new();
        for leaver in leavers {
            let error = if self.forget_pending(turn, &leaver.member_id) {
                ErrorCode::None
            } else {
                match self.leaving_member(leaver) {
                    Ok(id) => {
                        self.remove_member(turn, &id);
                        gone.push(id);
                        ErrorCode::None
                    }
                    Err(error) => error,
                }
            };
            answers.push(answer(leaver, error));
        }
        let reason = leavers.iter().find_map(|leaver| leaver.reason.as_deref()).unwrap_or("no reason given");
        match gone.as_slice() {
            [] => self.complete_if_ready(turn),
            [id] => self.rebalance_or_complete(turn, &format!("member {id} left ({})", brief(reason))),
            many => {
                self.rebalance_or_complete(turn, &format!("{} members left ({})", many.len(), brief(reason)))
            }
        }
        answers
    }

    /// The member that is meant: by its id, or by its instance alone.
    fn leaving_member(&self, leaver: &Leaver) -> Result<Arc<str>, ErrorCode> {
        let instance = leaver.instance_id.as_deref();
        if leaver.member_id.is_empty() {
            let holder = instance.and_then(|instance| self.members.holder(instance));
            return holder.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        self.members.check(&leaver.member_id, instance)?;
        Ok(Arc::clone(&leaver.member_id))
    }
}
