//! The rebalance itself: how a join phase begins, how long it lasts, and what ends it (S64 to S66).
//!
//! # The initial delay
//!
//! Kafka makes the first rebalance of an empty group wait `group.initial.rebalance.delay.ms` (3 s), and as long again
//! whenever somebody joined meanwhile, up to the rebalance timeout: so members that start together find themselves in
//! one generation. Every lone consumer pays those 3 s.
//!
//! When the setting is given, it means exactly that. When it is left alone, the delay is adaptive: nobody waits for
//! members that nobody has heard of. The join phase ends as soon as every *known* member is there: all that have
//! joined, and all that were given an id (KIP-394) and are about to come back with it. Kafka's delay stays as the upper
//! bound, for ids whose owners do not come back. Hence:
//!
//! - a lone member has its first generation at once;
//! - members that start together with clients from JoinGroup v4 on are held together by their ids, and mostly share the
//!   first generation;
//! - who comes later sets off an ordinary rebalance. One that has not synced yet takes part at once; one that has learns
//!   of it with its next heartbeat (3 s by default), which is as long as Kafka would have made all of them wait.

use std::sync::Arc;

use bytes::Bytes;

use super::classic::{ClassicGroup, Rebalance};
use super::effect::Effect;
use super::reply::{GroupState, JoinReply, SyncReply};
use super::soft::{Timer, Turn};
use super::world::InitialDelay;
use crate::types::ErrorCode;

impl ClassicGroup {
    /// Something changed that needs a new generation, or completes the one under way.
    pub(super) fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>, reason: &str) {
        match self.state {
            GroupState::PreparingRebalance => self.complete_if_ready(turn),
            _ => self.prepare(turn, reason),
        }
    }

    /// A member is gone; the others go on.
    pub(super) fn go_on_without(&mut self, turn: &mut Turn<'_>, reason: &str) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare(turn, reason),
            _ => self.complete_if_all_joined(turn),
        }
    }

    /// The group is back from the log: its members were not heard of, so their sessions begin anew. When there are more
    /// of them than are allowed now, they must join anew, and the last find no room.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        self.renew_all_sessions(turn);
        let max = usize::try_from(turn.world.settings.max_size).unwrap_or(0);
        if self.members.len() > max {
            self.prepare(turn, "it has more members than group.max.size allows");
        }
    }

    /// Begins a rebalance: all members must join anew.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>, reason: &str) {
        if self.state == GroupState::CompletingRebalance {
            self.send_syncing_members_back(turn);
        }
        self.to_sync.clear();
        turn.timers.cancel(&Timer::Sync(Arc::clone(&self.id)));
        self.rebalance = self.begin_rebalance(turn);
        self.enter(GroupState::PreparingRebalance, turn.wall);
        turn.effect(Effect::RebalanceBegun {
            group: Arc::clone(&self.id),
            generation: self.generation,
            reason: reason.to_owned(),
        });
        let wait_ms =
            if self.rebalance.initial { self.rebalance.step_ms } else { self.members.rebalance_timeout_ms() };
        self.wait_for_joins(turn, wait_ms);
        self.complete_if_ready(turn);
    }

    fn begin_rebalance(&self, turn: &Turn<'_>) -> Rebalance {
        let step_ms = turn.world.settings.initial_delay.step_ms();
        Rebalance {
            began: turn.now,
            initial: self.state == GroupState::Empty,
            newcomer: false,
            step_ms,
            remaining_ms: (self.members.rebalance_timeout_ms() - step_ms).max(0),
        }
    }

    /// Who waits for an assignment will not get one.
    fn send_syncing_members_back(&mut self, turn: &mut Turn<'_>) {
        for member in self.members.iter_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(turn, ErrorCode::RebalanceInProgress);
    }

    /// Answers every member that waits in a sync, and begins its session anew: while it waited, it owed no heartbeat.
    pub(super) fn answer_syncs(&mut self, turn: &mut Turn<'_>, error: ErrorCode) {
        let mut answered = Vec::new();
        for member in self.members.iter_mut() {
            let Some(ticket) = member.sync.take() else { continue };
            let reply = match error {
                ErrorCode::None => SyncReply {
                    error,
                    protocol_type: self.protocol_type.clone(),
                    protocol_name: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                },
                error => SyncReply::refusal(error),
            };
            turn.reply_sync(Some(ticket), reply);
            answered.push(Arc::clone(&member.id));
        }
        for id in answered {
            self.renew_session(&id, turn);
        }
    }

    fn wait_for_joins(&self, turn: &mut Turn<'_>, wait_ms: i64) {
        turn.timers.set(Timer::Join(Arc::clone(&self.id)), turn.now.saturating_add(wait_ms));
    }

    /// Ends the join phase if everybody is here, unless the initial delay was asked for and still runs.
    pub(super) fn complete_if_ready(&mut self, turn: &mut Turn<'_>) {
        let adaptive = turn.world.settings.initial_delay == InitialDelay::Adaptive;
        if adaptive || !self.rebalance.initial {
            self.complete_if_all_joined(turn);
        }
    }

    /// Ends the join phase if everybody is here.
    pub(super) fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if self.state == GroupState::PreparingRebalance && self.all_joined() {
            self.complete(turn);
        }
    }

    /// The join phase has lasted long enough, or its initial delay may be extended (S64).
    pub(super) fn on_join_timer(&mut self, turn: &mut Turn<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        let rebalance = &mut self.rebalance;
        if rebalance.initial && rebalance.newcomer && rebalance.remaining_ms != 0 {
            rebalance.newcomer = false;
            let ran_ms = rebalance.step_ms;
            rebalance.step_ms = turn.world.settings.initial_delay.step_ms().min(rebalance.remaining_ms);
            rebalance.remaining_ms = (rebalance.remaining_ms - ran_ms).max(0);
            let wait_ms = rebalance.step_ms;
            self.wait_for_joins(turn, wait_ms);
        } else {
            self.complete(turn);
        }
    }

    /// Ends the join phase with those who are here (S65).
    fn complete(&mut self, turn: &mut Turn<'_>) {
        turn.timers.cancel(&Timer::Join(Arc::clone(&self.id)));
        self.remove_absent_members(turn);
        if self.members.is_empty() {
            self.become_empty(turn);
        } else if self.elect_leader() {
            self.begin_generation(turn);
        } else {
            // Only static members are left, and none has come back: their sessions will end it.
            self.rebalance.initial = false;
            let wait_ms = self.members.rebalance_timeout_ms();
            self.wait_for_joins(turn, wait_ms);
        }
    }

    fn remove_absent_members(&mut self, turn: &mut Turn<'_>) {
        let absent = |member: &&super::members::Member| !member.is_joining() && member.instance_id.is_none();
        let absent: Vec<_> =
            self.members.iter().filter(absent).map(|member| Arc::clone(&member.id)).collect();
        for member_id in absent {
            self.remove_member(turn, &member_id);
            let group = Arc::clone(&self.id);
            let reason = "it did not rejoin within the rebalance timeout";
            turn.effect(Effect::MemberFailed { group, member_id, reason });
        }
    }

    /// Makes sure that the leader is one who is here. False when nobody is.
    fn elect_leader(&mut self) -> bool {
        let present = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.is_joining());
        if self.leader.as_ref().is_some_and(present) {
            return true;
        }
        let first = self.members.iter().find(|member| member.is_joining());
        let Some(elected) = first.map(|member| Arc::clone(&member.id)) else { return false };
        self.leader = Some(elected);
        true
    }

    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.generation = next_generation(self.generation);
        self.protocol = None;
        self.leader = None;
        self.subscribed = self.read_subscriptions();
        self.enter(GroupState::Empty, turn.wall);
        turn.record(self.record());
        turn.effect(Effect::Emptied { group: Arc::clone(&self.id), generation: self.generation });
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = next_generation(self.generation);
        self.protocol = self.members.elect_protocol();
        self.subscribed = self.read_subscriptions();
        self.enter(GroupState::CompletingRebalance, turn.wall);
        self.to_sync = self.members.iter().map(|member| Arc::clone(&member.id)).collect();
        for id in self.to_sync.clone() {
            let reply = self.joined(&id, self.is_leader(&id));
            let ticket = self.members.take_join(&id);
            turn.reply_join(ticket, reply);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
        }
        self.renew_all_sessions(turn);
        let sync_by = turn.now.saturating_add(self.members.rebalance_timeout_ms());
        turn.timers.set(Timer::Sync(Arc::clone(&self.id)), sync_by);
    }

    /// Members had their time to sync; those that did not use it are out (S69).
    pub(super) fn on_sync_timer(&mut self, turn: &mut Turn<'_>) {
        let syncing = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !syncing || self.to_sync.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.to_sync) {
            self.remove_member(turn, &member_id);
            let group = Arc::clone(&self.id);
            turn.effect(Effect::MemberFailed {
                group,
                member_id,
                reason: "it did not sync within the rebalance timeout",
            });
        }
        self.prepare(turn, "members did not sync in time");
    }

    /// A member has synced; when it was the last, nobody need be timed.
    pub(super) fn note_sync(&mut self, turn: &mut Turn<'_>, member: &str) {
        if self.to_sync.remove(member) && self.to_sync.is_empty() {
            turn.timers.cancel(&Timer::Sync(Arc::clone(&self.id)));
        }
    }

    /// Takes a member out and answers whoever waits in its name. Whether it was one.
    pub(super) fn remove_member(&mut self, turn: &mut Turn<'_>, id: &str) -> bool {
        let join = self.members.take_join(id);
        let Some(mut member) = self.members.remove(id) else { return false };
        // The client, if it is still there, joins again as a newcomer.
        turn.reply_join(join, JoinReply::refusal(ErrorCode::UnknownMemberId, Arc::default()));
        turn.reply_sync(member.sync.take(), SyncReply::refusal(ErrorCode::UnknownMemberId));
        if member.armed.is_some() {
            turn.timers.cancel(&self.member_timer(&member.id));
        }
        self.to_sync.remove(id);
        if self.is_leader(id) {
            self.leader = self.members.iter().next().map(|member| Arc::clone(&member.id));
        }
        true
    }

    /// Takes back an id that was given out. Whether it was.
    pub(super) fn forget_pending(&mut self, turn: &mut Turn<'_>, id: &str) -> bool {
        let forgotten = self.remove_pending(id);
        if forgotten {
            turn.timers.cancel(&self.member_timer(&Arc::from(id)));
        }
        forgotten
    }
}

/// Generations count up from 1. After the last one they begin again, as in Kafka without going below 0.
fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
