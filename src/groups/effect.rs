//! What happened to a group, for the log and the metrics. No effect asks for work: the broker reports it and moves on.

use std::sync::Arc;

/// One event in a group's life, told when its decision is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The group's members must join anew.
    RebalanceBegun {
        /// The group.
        group: Arc<str>,
        /// The generation that ends.
        generation: i32,
        /// Why, in words for people.
        reason: String,
    },
    /// Every member has its assignment.
    Stabilized {
        /// The group.
        group: Arc<str>,
        /// The generation that begins.
        generation: i32,
        /// How many members it has.
        members: usize,
        /// Milliseconds since the rebalance began.
        took_ms: i64,
    },
    /// The last member is gone.
    Emptied {
        /// The group.
        group: Arc<str>,
        /// The generation without members.
        generation: i32,
    },
    /// A member was silent for too long, or did not take part in a rebalance.
    MemberFailed {
        /// The group.
        group: Arc<str>,
        /// The member.
        member_id: Arc<str>,
        /// What it failed to do, in words for people.
        reason: &'static str,
    },
    /// Offsets went, by age or with their topic.
    OffsetsRemoved {
        /// The group.
        group: Arc<str>,
        /// How many.
        count: usize,
        /// Why, in words for people.
        reason: &'static str,
    },
    /// The group is gone.
    GroupRemoved {
        /// The group.
        group: Arc<str>,
        /// Why, in words for people.
        reason: &'static str,
    },
}
