//! SyncGroup: the leader brings the assignments, the others fetch theirs (S69).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Groups;
use super::classic::ClassicGroup;
use super::command::SyncGroup;
use super::effect::Effect;
use super::reply::{GroupState, Reply, SyncReply};
use super::soft::{Soft, Turn};
use super::world::World;
use crate::coord::{Context, Decision, Ticket};
use crate::types::ErrorCode;

/// Decides on a SyncGroup request.
pub(super) fn sync(
    soft: &mut Soft,
    context: &Context<'_, World>,
    ticket: Ticket,
    request: &SyncGroup,
) -> Decision<Groups> {
    let refuse = |error| Decision::reply(ticket, Reply::Sync(SyncReply::refusal(error)));
    if request.group.is_empty() {
        return refuse(ErrorCode::InvalidGroupId);
    }
    let synced = soft.with_live(context, &request.group, |group, turn| match group.check_sync(request) {
        Ok(()) => group.sync(turn, ticket, request),
        Err(error) => turn.reply_sync(Some(ticket), SyncReply::refusal(error)),
    });
    synced.unwrap_or_else(|| refuse(ErrorCode::UnknownMemberId))
}

impl ClassicGroup {
    fn check_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        let differs = |told: &Option<Arc<str>>, own: &Option<Arc<str>>| {
            told.as_ref().zip(own.as_ref()).is_some_and(|(told, own)| told != own)
        };
        self.check(&request.member_id, request.instance_id.as_deref(), request.generation)?;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn sync(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &SyncGroup) {
        match self.state {
            GroupState::CompletingRebalance => {
                self.note_sync(turn, &request.member_id);
                self.wait_for_assignment(turn, ticket, &request.member_id);
                if self.is_leader(&request.member_id) {
                    self.assign(turn, &request.assignments);
                }
            }
            GroupState::Stable => {
                self.note_sync(turn, &request.member_id);
                let assignment = self.members.get(&request.member_id).map(|member| member.assignment.clone());
                let reply = SyncReply {
                    error: ErrorCode::None,
                    protocol_type: self.protocol_type.clone(),
                    protocol_name: self.protocol.clone(),
                    assignment: assignment.unwrap_or_default(),
                };
                turn.reply_sync(Some(ticket), reply);
            }
            GroupState::PreparingRebalance => {
                turn.reply_sync(Some(ticket), SyncReply::refusal(ErrorCode::RebalanceInProgress));
            }
            GroupState::Empty | GroupState::Dead => {
                turn.reply_sync(Some(ticket), SyncReply::refusal(ErrorCode::UnknownMemberId));
            }
        }
    }

    fn wait_for_assignment(&mut self, turn: &mut Turn<'_>, ticket: Ticket, member: &str) {
        let superseded = self.members.get_mut(member).and_then(|member| member.sync.replace(ticket));
        turn.reply_sync(superseded, SyncReply::refusal(ErrorCode::RebalanceInProgress));
    }

    /// The generation is complete: recorded, and everybody who waits gets its part. Members that the leader left out
    /// get nothing to do.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: &[(Arc<str>, Bytes)]) {
        let mut by_member: HashMap<&str, &Bytes> =
            assignments.iter().map(|(member, assignment)| (&**member, assignment)).collect();
        for member in self.members.iter_mut() {
            let assignment = by_member.remove(&*member.id);
            // Copied: it must not hold on to a whole frame.
            member.assignment = assignment.map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
        }
        turn.record(self.record());
        self.enter(GroupState::Stable, turn.wall);
        self.answer_syncs(turn, ErrorCode::None);
        turn.effect(Effect::Stabilized {
            group: Arc::clone(&self.id),
            generation: self.generation,
            members: self.members.len(),
            took_ms: turn.now.saturating_sub(self.rebalance.began),
        });
    }
}
