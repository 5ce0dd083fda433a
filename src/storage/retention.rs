//! Which segments have outlived the topic's settings: pure planning, carried out by
//! [`super::log::Log::advance_start`].

use super::log::SegmentInfo;
use crate::config::topic::TopicSettings;
use crate::types::Timestamp;

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
/// a record from the future pins nothing.
pub fn plan(
    segments: &[SegmentInfo],
    settings: &TopicSettings,
    start: i64,
    now: Timestamp,
    bound: i64,
) -> RetentionPlan {
    let mut excess = segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let size_max = u64::try_from(settings.retention_bytes).ok().filter(|_| settings.delete);
    let age_max = Some(settings.retention_ms).filter(|ms| settings.delete && *ms >= 0);
    let mut plan = RetentionPlan::default();
    for (nth, segment) in segments.iter().enumerate() {
        let is_active = nth + 1 == segments.len();
        if segment.next > bound || (is_active && segment.bytes == 0) {
            break;
        }
        let left = excess.checked_sub(segment.bytes);
        let why = if segment.next <= start && !is_active {
            Some(Reason::LogStart)
        } else if size_max.is_some_and(|max| left.is_some_and(|left| left >= max)) {
            Some(Reason::Size)
        } else if age_max.is_some_and(|max| age(segment, now).is_some_and(|age| age > max)) {
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

/// How old a segment is by the time that retention counts; `None` if no time is known.
fn age(segment: &SegmentInfo, now: Timestamp) -> Option<i64> {
    let known = [segment.max_timestamp, segment.appended_at];
    let newest = known.into_iter().filter(|timestamp| *timestamp >= 0).min()?;
    Some(now.saturating_sub(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_000 * DAY;

    /// Segments of ten records each; `(bytes, newest record's age in days)`.
    fn segments(of: &[(u64, i64)]) -> Vec<SegmentInfo> {
        let bases = (0..).step_by(10);
        let one = |(&(bytes, days), base): (&(u64, i64), i64)| SegmentInfo {
            base,
            next: base + if bytes == 0 { 0 } else { 10 },
            bytes,
            max_timestamp: if bytes == 0 { -1 } else { NOW - days * DAY },
            appended_at: NOW,
        };
        of.iter().zip(bases).map(one).collect()
    }

    fn settings(retention_ms: i64, retention_bytes: i64) -> TopicSettings {
        TopicSettings { retention_ms, retention_bytes, ..TopicSettings::default() }
    }

    #[test]
    fn s90_by_time_a_prefix_goes_whose_newest_records_are_too_old() {
        let list = segments(&[(100, 9), (100, 8), (100, 7), (100, 9), (100, 0)]);
        let got = plan(&list, &settings(7 * DAY, -1), 0, NOW, 50);
        assert_eq!(got, RetentionPlan { drop_before: Some(20), roll: false, why: Some(Reason::Time) });
        assert_eq!(plan(&list, &settings(-1, -1), 0, NOW, 50), RetentionPlan::default());
    }

    #[test]
    fn s90_by_size_the_oldest_go_while_enough_is_left() {
        let list = segments(&[(100, 0), (100, 0), (100, 0)]);
        assert_eq!(plan(&list, &settings(-1, 150), 0, NOW, 30).drop_before, Some(10));
        assert_eq!(plan(&list, &settings(-1, 200), 0, NOW, 30).drop_before, Some(10));
        assert_eq!(plan(&list, &settings(-1, 201), 0, NOW, 30).drop_before, None);
    }

    #[test]
    fn s90_nothing_at_or_past_the_bound_goes() {
        let list = segments(&[(100, 9), (100, 9), (100, 9)]);
        assert_eq!(plan(&list, &settings(DAY, -1), 0, NOW, 19).drop_before, Some(10));
        assert_eq!(plan(&list, &settings(DAY, -1), 0, NOW, 9).drop_before, None);
    }

    #[test]
    fn s90_the_active_segment_goes_after_a_roll_and_an_empty_one_stays() {
        let all = plan(&segments(&[(100, 9), (100, 9)]), &settings(DAY, -1), 0, NOW, 20);
        assert_eq!(all, RetentionPlan { drop_before: Some(20), roll: true, why: Some(Reason::Time) });
        let rolled = plan(&segments(&[(100, 9), (100, 9), (0, 0)]), &settings(DAY, -1), 0, NOW, 20);
        assert_eq!(rolled, RetentionPlan { drop_before: Some(20), roll: false, why: Some(Reason::Time) });
        assert_eq!(plan(&segments(&[(0, 0)]), &settings(0, 0), 0, NOW, 0), RetentionPlan::default());
    }

    #[test]
    fn a_record_from_the_future_pins_nothing() {
        let mut list = segments(&[(100, -400), (100, 0)]);
        list[0].appended_at = NOW - 8 * DAY;
        assert_eq!(plan(&list, &settings(7 * DAY, -1), 0, NOW, 20).drop_before, Some(10));
        // Without a known time nothing is too old.
        list[0].max_timestamp = -1;
        list[0].appended_at = -1;
        assert_eq!(plan(&list, &settings(7 * DAY, -1), 0, NOW, 20).drop_before, None);
    }

    #[test]
    fn below_the_log_start_segments_go_whatever_the_policy() {
        let list = segments(&[(100, 0), (100, 0), (100, 0)]);
        let compacted = TopicSettings { delete: false, compact: true, ..settings(0, 0) };
        let got = plan(&list, &compacted, 25, NOW, 30);
        assert_eq!(got, RetentionPlan { drop_before: Some(20), roll: false, why: Some(Reason::LogStart) });
        assert_eq!(plan(&list, &compacted, 9, NOW, 30), RetentionPlan::default());
    }
}
