//! What a restart may forget: groups with members, who waits for what, and timers. [`Turn`] is how one decision reaches
//! all that is not the group itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Groups;
use super::classic::{ClassicGroup, PENDING_OVERHEAD_BYTES};
use super::effect::Effect;
use super::guards::Guards;
use super::hard::{Hard, Record};
use super::reply::{JoinReply, Reply, SyncReply};
use super::sweep::Sweep;
use super::world::World;
use crate::coord::{Context, Decision, Ticket};
use crate::types::deadlines::Deadlines;
use crate::types::{Timestamp, TopicId};

/// Memory, in bytes, that ids given out but not yet joined with (KIP-394) may take in one shard. Past it those given out
/// longest ago expire, one or two for each new one: a client that comes back with such an id asks for another.
pub(super) const PENDING_BYTES_MAX: usize = 4 << 20;
/// Where a newcomer is sent away with `COORDINATOR_NOT_AVAILABLE`, and comes back: ids expire in turns of their own, which
/// could be late.
const PENDING_BYTES_CEILING: usize = 2 * PENDING_BYTES_MAX;
/// Ids that expire for each new one.
const EXPIRED_FOR_ONE: usize = 2;
/// Entries of ids that are no longer pending, before they are looked for.
const STALE_ENTRIES_MIN: usize = 64;

/// The soft state of one shard.
#[derive(Debug, Default)]
pub struct Soft {
    /// Groups that have members, or ids of members to come. The others are in the hard state alone.
    pub(super) groups: BTreeMap<Arc<str>, ClassicGroup>,
    /// Everything that happens by itself in these groups.
    pub(super) timers: Deadlines<Timer>,
    /// Expiry of offsets.
    pub(super) sweep: Sweep,
    /// Transactions that their coordinators are being asked about.
    pub(super) guards: Guards,
    /// Deleted topics whose offsets are still to be removed.
    pub(super) deleted_topics: VecDeque<DeletedTopic>,
    /// What pending ids of all groups take.
    pending_bytes: usize,
    /// Group and id of all that are pending, the oldest first, and of some that no longer are.
    pub(super) given_out: VecDeque<(Arc<str>, Arc<str>)>,
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A member, or an id given out, has been silent for its session timeout.
    Member {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// The join phase of this group has lasted long enough.
    Join(Arc<str>),
    /// The members of this group have had their time to sync.
    Sync(Arc<str>),
}

/// A topic that the catalog has removed.
#[derive(Debug)]
pub(super) struct DeletedTopic {
    /// Its name.
    pub(super) name: Arc<str>,
    /// Its id.
    pub(super) id: TopicId,
    /// The last group that was cleaned.
    pub(super) done: Option<Arc<str>>,
}

/// One decision in the making, as a group sees it.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// When the step began, for timers.
    pub(super) now: Timestamp,
    /// When the step began by the wall clock, for what is written down.
    pub(super) wall: Timestamp,
    /// Settings and topics.
    pub(super) world: &'a World,
    /// The shard's timers.
    pub(super) timers: &'a mut Deadlines<Timer>,
    /// What pending ids may still take, in bytes, when the turn began.
    pub(super) pending_room: usize,
    /// The id that was given out in this turn.
    pub(super) given_out: Option<Arc<str>>,
    /// What has been decided so far.
    pub(super) out: Decision<Groups>,
}

impl Turn<'_> {
    /// Answers a caller.
    pub(super) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.out.replies.push((ticket, reply));
    }

    /// Answers a join, if somebody waits.
    pub(super) fn reply_join(&mut self, ticket: Option<Ticket>, reply: JoinReply) {
        if let Some(ticket) = ticket {
            self.reply(ticket, Reply::Join(reply));
        }
    }

    /// Answers a sync, if somebody waits.
    pub(super) fn reply_sync(&mut self, ticket: Option<Ticket>, reply: SyncReply) {
        if let Some(ticket) = ticket {
            self.reply(ticket, Reply::Sync(reply));
        }
    }

    /// Decides on a record.
    pub(super) fn record(&mut self, record: Record) {
        self.out.records.push(record);
    }

    /// Tells what happened.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }
}

impl Soft {
    /// Nobody is here; the first look at old offsets comes an interval from now.
    pub(super) fn starting(context: &Context<'_, World>) -> Self {
        Self { sweep: Sweep::starting(context), guards: Guards::starting(context.now), ..Self::default() }
    }

    /// Lets `act` work on a group that has members or pending ids; `None` when there is no such group.
    ///
    /// A group that ends up without either leaves the soft state: the hard state knows all there is to know of it.
    pub(super) fn with_live(
        &mut self,
        context: &Context<'_, World>,
        id: &str,
        act: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>),
    ) -> Option<Decision<Groups>> {
        let group = self.groups.get_mut(id)?;
        let mut turn = Turn {
            now: context.now,
            wall: context.wall,
            world: context.world,
            timers: &mut self.timers,
            pending_room: PENDING_BYTES_CEILING.saturating_sub(self.pending_bytes),
            given_out: None,
            out: Decision::default(),
        };
        let pending_before = group.pending_bytes();
        act(group, &mut turn);
        let Turn { out, given_out, .. } = turn;
        let given_out = given_out.map(|member| (Arc::clone(&group.id), member));
        self.pending_bytes = self.pending_bytes.saturating_sub(pending_before) + group.pending_bytes();
        if group.is_idle() {
            self.groups.remove(id);
        }
        if let Some(entry) = given_out {
            self.note_given_out(entry, context.now);
        }
        Some(out)
    }

    /// Takes note of an id given out. If pending ids take too much, the oldest are to expire now.
    fn note_given_out(&mut self, entry: (Arc<str>, Arc<str>), now: Timestamp) {
        let Self { given_out, groups, timers, pending_bytes, .. } = self;
        given_out.push_back(entry);
        let is_pending = |group: &str, member: &str| groups.get(group).is_some_and(|g| g.is_pending(member));
        if given_out.len() > STALE_ENTRIES_MIN + 2 * (*pending_bytes / PENDING_OVERHEAD_BYTES) {
            given_out.retain(|(group, member)| is_pending(group, member));
        }
        let mut expired = 0;
        while *pending_bytes > PENDING_BYTES_MAX && expired < EXPIRED_FOR_ONE {
            let Some((group, member)) = given_out.pop_front() else { break };
            if is_pending(&group, &member) {
                timers.set(Timer::Member { group, member }, now);
                expired += 1;
            }
        }
    }

    /// As [`Soft::with_live`], for a group that may have to be brought in from the hard state, or made.
    pub(super) fn with_any(
        &mut self,
        hard: &Hard,
        context: &Context<'_, World>,
        id: &Arc<str>,
        act: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>),
    ) -> Decision<Groups> {
        if !self.groups.contains_key(id) {
            let stored = hard.group(id).and_then(|stored| stored.metadata.as_deref());
            let group = ClassicGroup::new(Arc::clone(id), stored, context.wall);
            self.groups.insert(Arc::clone(id), group);
        }
        self.with_live(context, id, act).unwrap_or_default()
    }

    /// Forgets a group without members, whatever ids it had given out.
    pub(super) fn drop_empty(&mut self, id: &str) {
        let Some(mut group) = self.groups.remove(id) else { return };
        self.pending_bytes = self.pending_bytes.saturating_sub(group.pending_bytes());
        group.cancel_timers(&mut self.timers);
    }
}
