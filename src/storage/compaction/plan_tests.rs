//! When which part of a log is cleaned, and which segments become one.

use super::*;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

/// Segments of ten records each, the last one active; `(bytes, newest record's age in hours)`.
fn segments(of: &[(u64, i64)]) -> Vec<SegmentInfo> {
    let one = |(&(bytes, hours), base): (&(u64, i64), i64)| SegmentInfo {
        base,
        next: base + 10,
        bytes,
        max_timestamp: NOW - hours * HOUR,
        appended_at: NOW - hours * HOUR,
    };
    of.iter().zip((0..).step_by(10)).map(one).collect()
}

fn situation(segments: &[SegmentInfo], dirty_from: i64) -> Situation<'_> {
    let bound = i64::MAX;
    let (oldest_dirty, replayed) = (None, false);
    let pressure = Pressure::None;
    Situation { segments, dirty_from, bound, oldest_dirty, replayed, pressure, now: NOW }
}

fn compact() -> TopicSettings {
    TopicSettings { compact: true, delete: false, ..TopicSettings::default() }
}

fn work(log: &Situation<'_>, settings: &TopicSettings) -> Option<(i64, i64)> {
    plan(log, settings).work.map(|work| (work.dirty_from, work.end))
}

#[test]
fn s92_a_log_is_cleaned_when_its_dirty_share_is_above_the_ratio() {
    let list = segments(&[(100, 9), (100, 9), (100, 9), (1_000, 0)]);
    assert_eq!(work(&situation(&list, 0), &compact()), Some((0, 30)), "all of it, but the active segment");
    assert_eq!(work(&situation(&list, 10), &compact()), Some((10, 30)));
    assert_eq!(work(&situation(&list, 20), &compact()), None, "a third");
    assert_eq!(work(&situation(&list, 15), &compact()), Some((15, 30)), "a segment cleaned in part is dirty");
    let eager = TopicSettings { min_cleanable_dirty_ratio: 0.0, ..compact() };
    assert_eq!(work(&situation(&list, 20), &eager), Some((20, 30)));
    assert_eq!(work(&situation(&list, 30), &eager), None, "nothing is dirty");
    let half = segments(&[(100, 9), (100, 9), (0, 0)]);
    assert_eq!(work(&situation(&half, 10), &compact()), None, "exactly half is not above it");
    let deleting = TopicSettings { compact: false, ..eager };
    assert_eq!(plan(&situation(&list, 0), &deleting), Plan::default());
}

#[test]
fn s92_nothing_at_or_past_the_bound_is_cleaned() {
    let list = segments(&[(100, 9), (100, 9), (100, 9), (1_000, 0)]);
    for (bound, end) in [(30, Some(30)), (29, Some(20)), (10, Some(10)), (9, None)] {
        let log = Situation { bound, ..situation(&list, 0) };
        assert_eq!(work(&log, &compact()).map(|work| work.1), end, "{bound}");
    }
}

#[test]
fn s92_what_is_younger_than_the_lag_waits_and_holds_back_what_follows() {
    let list = segments(&[(100, 5), (100, 2), (100, 4), (1_000, 0)]);
    let lag = TopicSettings { min_compaction_lag_ms: 3 * HOUR, ..compact() };
    let planned = plan(&situation(&list, 0), &lag);
    assert_eq!(planned.work.map(|work| work.end), Some(10));
    assert_eq!(planned.next, Some(NOW + HOUR));
    let exact = TopicSettings { min_compaction_lag_ms: 2 * HOUR, ..compact() };
    assert_eq!(work(&situation(&list, 0), &exact), Some((0, 30)));
}

#[test]
fn a_record_from_the_future_holds_nothing_back() {
    let mut list = segments(&[(100, -1_000), (0, 0)]);
    list[0].appended_at = NOW - 4 * HOUR;
    let lag = TopicSettings { min_compaction_lag_ms: 3 * HOUR, ..compact() };
    assert_eq!(work(&situation(&list, 0), &lag), Some((0, 10)));
}

#[test]
fn s92_the_largest_lag_forces_a_cleaning() {
    let list = segments(&[(100, 9), (100, 9), (1, 9), (0, 0)]);
    let lag = TopicSettings { max_compaction_lag_ms: 6 * HOUR, ..compact() };
    let at = |hours: i64| Situation { oldest_dirty: Some(NOW - hours * HOUR), ..situation(&list, 20) };
    let planned = plan(&at(7), &lag);
    assert_eq!(planned.work.map(|work| (work.dirty_from, work.end, work.forced)), Some((20, 30, true)));
    assert_eq!(plan(&at(6), &lag), Plan { next: Some(NOW), ..Plan::default() }, "not before it has passed");
    assert_eq!(plan(&at(4), &lag).next, Some(NOW + 2 * HOUR));
}

#[test]
fn a_coordinators_log_is_closed_when_it_is_larger_than_what_lives_in_it() {
    const MIB: u64 = 1 << 20;
    for (clean, active, rolls) in [(0, 16, false), (0, 17, true), (40, 40, false), (40, 41, true)] {
        let list = segments(&[(clean * MIB, 9), (active * MIB, 0)]);
        let log = Situation { replayed: true, ..situation(&list, 10) };
        assert_eq!(plan(&log, &compact()).roll, rolls, "{active} MiB behind {clean}");
        assert!(!plan(&situation(&list, 10), &compact()).roll, "nobody waits for another log");
    }
}

#[test]
fn dirt_begins_where_the_last_cleaning_ended_if_that_is_in_the_log() {
    assert_eq!(dirty_from(None, 5, 20), 5);
    assert_eq!(dirty_from(Some(12), 5, 20), 12);
    assert_eq!(dirty_from(Some(20), 5, 20), 20);
    assert_eq!(dirty_from(Some(4), 5, 20), 5, "retention went past it");
    assert_eq!(dirty_from(Some(21), 5, 20), 5, "the log was lost meanwhile");
}

fn input(base: i64, bytes: u64, index_bytes: u64) -> Input {
    Input { base, next: base + 10, bytes, index_bytes: [index_bytes, 0] }
}

#[test]
fn neighbours_merge_while_they_fit() {
    let settings = TopicSettings { segment_bytes: 100, segment_index_bytes: 80, ..compact() };
    let by_size = [input(0, 40, 8), input(10, 60, 8), input(20, 1, 8), input(30, 120, 8), input(40, 10, 8)];
    assert_eq!(groups(&by_size, &settings, u64::MAX), [0..2, 2..3, 3..4, 4..5]);
    let by_index = [input(0, 1, 40), input(10, 1, 40), input(20, 1, 8)];
    assert_eq!(groups(&by_index, &settings, u64::MAX), [0..2, 2..3]);
    let mut by_time = by_index;
    by_time.iter_mut().for_each(|input| input.index_bytes.reverse());
    assert_eq!(groups(&by_time, &settings, u64::MAX), [0..2, 2..3]);
    let far = i64::from(i32::MAX);
    let by_offset = [input(0, 1, 8), input(far - 9, 1, 8), input(far + 1, 1, 8)];
    assert_eq!(groups(&by_offset, &settings, u64::MAX), [0..2, 2..3]);
    let many: Vec<Input> = (0..300).map(|n| input(n * 10, 0, 0)).collect();
    assert_eq!(groups(&many, &settings, u64::MAX), [0..128, 128..256, 256..300]);
    assert!(groups(&[], &settings, u64::MAX).is_empty());
}

#[test]
fn when_room_is_needed_less_is_worth_cleaning_and_active_segments_are_closed() {
    let list = segments(&[(1_000_000, 9), (100_000, 9), (50_000, 0)]);
    let at = |pressure| Situation { pressure, ..situation(&list, 10) };
    assert_eq!(plan(&at(Pressure::None), &compact()), Plan::default());
    let tight = plan(&at(Pressure::Tight), &compact());
    assert_eq!((tight.work, tight.roll), (None, false), "a tenth at least");
    let short = plan(&at(Pressure::Short), &compact());
    assert_eq!(short.work.map(|work| (work.dirty_from, work.end)), Some((10, 20)), "whatever may go");
    assert!(short.roll);
    let list = segments(&[(1_000_000, 9), (120_000, 9), (120_000, 0)]);
    let tight = plan(&Situation { pressure: Pressure::Tight, ..situation(&list, 10) }, &compact());
    assert!(tight.work.is_some() && tight.roll);
    let lagging = TopicSettings { min_compaction_lag_ms: HOUR, ..compact() };
    let short = Situation { pressure: Pressure::Short, ..situation(&list, 10) };
    assert!(!plan(&short, &lagging).roll, "it is younger than the lag");
    assert!(plan(&Situation { bound: 10, ..short }, &compact()).waits, "for a checkpoint");
    assert!(!plan(&short, &compact()).waits);
}

#[test]
fn a_coordinators_log_is_not_cleaned_again_for_every_few_bytes() {
    let list = segments(&[(1_000_000, 9), (20_000, 0), (50_000, 0)]);
    let of = |pressure| plan(&Situation { pressure, replayed: true, ..situation(&list, 10) }, &compact());
    assert_eq!((of(Pressure::Short).work, of(Pressure::Short).roll), (None, false));
}
