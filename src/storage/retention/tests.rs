//! Retention's plans, and its times.

use std::time::Duration;

use super::*;
use crate::types::Clock;

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
        appended_at: NOW - days.max(0) * DAY,
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
    let all = plan(&list, &compacted, 30, NOW, 30);
    let rolled = RetentionPlan { drop_before: Some(30), roll: true, why: Some(Reason::LogStart) };
    assert_eq!(all, rolled, "DeleteRecords up to the end frees the last segment's space, too");
}

/// What a look at the outlook's time must find, and one before it must not.
fn assert_due(list: &[SegmentInfo], settings: &TopicSettings, start: i64) -> Outlook {
    let found = outlook(list, settings, start);
    let end = list.last().map_or(0, |last| last.next);
    if let Some(due) = found.due {
        assert!(plan(list, settings, start, due.max(0), end).drop_before.is_some(), "{found:?}");
        if due > 0 {
            assert_eq!(plan(list, settings, start, due - 1, end), RetentionPlan::default(), "{found:?}");
        }
    } else {
        assert_eq!(plan(list, settings, start, i64::MAX, end), RetentionPlan::default());
    }
    found
}

#[test]
fn the_outlook_is_when_the_plan_first_finds_something() {
    let list = segments(&[(100, 3), (100, 5), (100, 0)]);
    let found = assert_due(&list, &settings(7 * DAY, -1), 0);
    assert_eq!(found, Outlook { due: Some(NOW + 4 * DAY + 1), room_bytes: u64::MAX });
    assert_eq!(assert_due(&list, &settings(-1, -1), 0).due, None, "kept for ever");
    assert_eq!(assert_due(&list, &settings(7 * DAY, -1), 10).due, Some(i64::MIN), "below the start");
    assert_eq!(assert_due(&list, &settings(-1, 200), 0).due, Some(i64::MIN), "too many bytes");
    let compacted = TopicSettings { delete: false, compact: true, ..settings(DAY, 0) };
    assert_eq!(assert_due(&list, &compacted, 0).due, None);
    assert_eq!(assert_due(&segments(&[]), &settings(0, 0), 0).due, None);
    assert_eq!(assert_due(&segments(&[(0, 0)]), &settings(0, 0), 0).due, None);
    assert_eq!(assert_due(&segments(&[(100, 2)]), &settings(DAY, -1), 0).due, Some(NOW - DAY + 1));
}

#[test]
fn the_outlook_tells_how_much_may_be_appended_before_the_size_is_reached() {
    let list = segments(&[(100, 0), (100, 0), (70, 0)]);
    let found = assert_due(&list, &settings(-1, 250), 0);
    assert_eq!(found, Outlook { due: None, room_bytes: 80 });
    let mut grown = list;
    grown[2].bytes += 79;
    assert_eq!(assert_due(&grown, &settings(-1, 250), 0).due, None);
    grown[2].bytes += 1;
    assert_eq!(assert_due(&grown, &settings(-1, 250), 0).due, Some(i64::MIN));
    // A lone segment grows as a whole: only a roll leaves something that can go.
    assert_eq!(outlook(&segments(&[(500, 0)]), &settings(-1, 250), 0).room_bytes, u64::MAX);
}

#[test]
fn the_outlook_counts_from_the_clock_where_records_come_from_the_future() {
    let mut list = segments(&[(100, -400), (100, 0)]);
    list[0].appended_at = NOW - DAY;
    assert_eq!(assert_due(&list, &settings(7 * DAY, -1), 0).due, Some(NOW + 6 * DAY + 1));
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_wall_clock_that_jumps_makes_deletion_by_time_stand_still() {
    for by in [61_000, -61_000, 40 * 365 * DAY, -40 * 365 * DAY] {
        let clock = Clock::manual(NOW);
        let mut guard = ClockGuard::new(&clock);
        clock.advance(SECOND);
        assert_eq!(guard.look(&clock), None);
        clock.advance(SECOND);
        clock.jump(by);
        assert_eq!(guard.look(&clock), Some(by));
        assert!(guard.stands_still(&clock));
        clock.advance(Duration::from_secs(599));
        assert_eq!(guard.look(&clock), None, "told once");
        assert!(guard.stands_still(&clock));
        clock.advance(SECOND);
        assert!(!guard.stands_still(&clock), "the clock is believed in the end");
    }
}

#[test]
fn a_second_jump_begins_the_ten_minutes_anew() {
    let clock = Clock::manual(NOW);
    let mut guard = ClockGuard::new(&clock);
    clock.jump(365 * DAY);
    assert_eq!(guard.look(&clock), Some(365 * DAY));
    clock.advance(Duration::from_secs(500));
    clock.jump(-365 * DAY);
    assert_eq!(guard.look(&clock), Some(-365 * DAY));
    clock.advance(Duration::from_secs(599));
    assert!(guard.stands_still(&clock));
}

#[test]
fn small_steps_and_long_pauses_are_no_jump() {
    let clock = Clock::manual(NOW);
    let mut guard = ClockGuard::new(&clock);
    for _ in 0..100 {
        clock.advance(SECOND);
        clock.jump(59_000);
        assert_eq!(guard.look(&clock), None);
    }
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(guard.look(&clock), None);
    assert!(!guard.stands_still(&clock));
}

#[test]
fn records_that_are_old_when_they_come_stay_for_a_while() {
    let mut list = segments(&[(100, 900), (100, 0)]);
    list[0].appended_at = NOW;
    assert_eq!(assert_due(&list, &settings(7 * DAY, -1), 0).due, Some(NOW + 300_001));
    assert_eq!(assert_due(&list, &settings(1_000, -1), 0).due, Some(NOW + 1_001), "retention.ms is shorter");
    let eager = TopicSettings { retention_grace_ms: 0, ..settings(7 * DAY, -1) };
    assert_eq!(assert_due(&list, &eager, 0).due, Some(NOW + 1));
}
