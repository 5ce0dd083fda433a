//! Which segments have outlived the topic's settings, and when the next ones will have: pure planning, carried out by
//! [`super::log::Log::advance_start`].

mod clock_guard;
mod outlook;

use super::log::SegmentInfo;
use crate::config::topic::TopicSettings;
use crate::types::Timestamp;

pub use clock_guard::ClockGuard;
pub use outlook::{Outlook, outlook};

/// What is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionPlan {
    /// The log's new start, at which a segment begins (or will, after `roll`); `None` if nothing is to go.
    pub drop_before: Option<i64>,
    /// The active segment is to go as well: roll first. The new, empty segment's name carries the next offset; the old
    /// ones go when a checkpoint has reached it.
    pub roll: bool,
    /// Why, for the log line.
    pub why: Option<Reason>,
}

/// Why segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// They lie below the log's start (DeleteRecords).
    LogStart,
    /// `retention.bytes`.
    Size,
    /// `retention.ms`.
    Time,
}

/// Plans retention (S90). `segments` are all of the log's, oldest first, the last one active; `start` is the log's
/// start; nothing at or past `bound` (the smaller of high watermark and durable end) goes.
///
/// By time a segment's age is that of its newest record, or of the broker's clock at its last append if that is older:
/// a record from the future pins nothing. Nothing goes sooner than `retention_grace_ms` after it came, or `retention.ms`
/// if that is shorter.
pub fn plan(
    segments: &[SegmentInfo],
    settings: &TopicSettings,
    start: i64,
    now: Timestamp,
    bound: i64,
) -> RetentionPlan {
    let mut excess = segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let size_max = u64::try_from(settings.retention_bytes).ok().filter(|_| settings.delete);
    let mut plan = RetentionPlan::default();
    for (nth, segment) in segments.iter().enumerate() {
        let is_active = nth + 1 == segments.len();
        if segment.next > bound || (is_active && segment.bytes == 0) {
            break;
        }
        let left = excess.checked_sub(segment.bytes);
        let why = if segment.next <= start {
            Some(Reason::LogStart)
        } else if size_max.is_some_and(|max| left.is_some_and(|left| left >= max)) {
            Some(Reason::Size)
        } else if settings.delete && too_old_at(segment, settings).is_some_and(|at| at <= now) {
            Some(Reason::Time)
        } else {
            None
        };
        let Some(why) = why else { break };
        excess = left.unwrap_or(0);
        plan = RetentionPlan { drop_before: Some(segment.next), roll: is_active, why: Some(why) };
    }
    plan
}

/// When a segment is past `retention.ms`; `None` for never, or if no time of it is known.
///
/// Records that were old when they came, as where an archive is copied in, stay for a while all the same: as long as
/// Apache Kafka may take to find them, so that somebody can read them.
fn too_old_at(segment: &SegmentInfo, settings: &TopicSettings) -> Option<Timestamp> {
    if settings.retention_ms < 0 {
        return None;
    }
    let known = [segment.max_timestamp, segment.appended_at];
    let newest = known.into_iter().filter(|timestamp| *timestamp >= 0).min()?;
    let grace = settings.retention_ms.min(settings.retention_grace_ms);
    let limits = [newest.saturating_add(settings.retention_ms), segment.appended_at.saturating_add(grace)];
    limits.into_iter().max().map(|limit| limit.saturating_add(1))
}

#[cfg(test)]
mod tests;
