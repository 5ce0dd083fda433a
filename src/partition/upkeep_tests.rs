//! Housekeeping's side of a partition: what falls due is known when it changes, and a start that moved stays moved.

use std::sync::Arc;

use super::Partition;
use super::testing::*;
use crate::config::TopicSettings;
use crate::types::Timestamp;

fn settings() -> TopicSettings {
    TopicSettings { retention_ms: 1_000, segment_ms: 5_000, ..TopicSettings::default() }
}

/// When the partition is to be looked at, and forgets it.
fn next(rig: &Rig) -> Option<Timestamp> {
    let schedule = &rig.table.environment().schedule;
    let next = schedule.next();
    schedule.pop_due(i64::MAX);
    next
}

#[test]
fn the_first_record_of_a_segment_falls_due_by_its_age() {
    let rig = Rig::new(settings());
    let partition = rig.open("t", id(1));
    assert_eq!(next(&rig), None, "an empty log has nothing to lose");
    produce(&partition, record(b"a")).unwrap();
    assert_eq!(next(&rig), Some(NOW + 1_001));
    produce(&partition, record(b"b")).unwrap();
    assert_eq!(next(&rig), None, "later records change nothing");
    partition.roll_segment().unwrap();
    produce(&partition, record(b"c")).unwrap();
    assert_eq!(next(&rig), Some(NOW + 1_001), "the oldest segment decides");
}

#[test]
fn a_log_that_is_kept_for_ever_is_looked_at_for_its_roll_alone() {
    let rig = Rig::new(TopicSettings { retention_ms: -1, ..settings() });
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    assert_eq!(next(&rig), Some(NOW + 5_001));
    assert!(!partition.roll_if_idle(NOW + 5_000).unwrap());
    assert!(partition.roll_if_idle(NOW + 5_001).unwrap(), "nobody has written since");
    assert_eq!(partition.reader().segments().len(), 2);
    assert!(!partition.roll_if_idle(i64::MAX).unwrap(), "an empty segment waits for records");
    assert_eq!(partition.next_look(true), None);
}

#[test]
fn settings_are_in_force_at_once_and_are_looked_at_at_once() {
    let rig = Rig::new(TopicSettings { retention_ms: -1, segment_ms: i64::MAX, ..TopicSettings::default() });
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    next(&rig);
    partition.set_settings(Arc::new(TopicSettings { segment_bytes: 100, ..settings() }));
    assert_eq!(next(&rig), Some(i64::MIN));
    assert_eq!(partition.next_look(true), Some(NOW + 1_001));
    produce(&partition, record(b"b")).unwrap();
    produce(&partition, record(b"c")).unwrap();
    assert_eq!(partition.reader().segments().len(), 3, "segment.bytes");
}

#[test]
fn records_that_waited_for_the_disk_are_shown_when_they_need_not_wait_any_more() {
    let always = TopicSettings { flush_messages: 1, ..TopicSettings::default() };
    let rig = Rig::with(always, crate::storage::files::FileCache::new(64, 8), crate::config::Fsync::Never);
    let partition = rig.open("t", id(1));
    let stalled = Stall::begin(rig.committer());
    let ticket = enqueue(&partition, record(b"a"));
    partition.drain();
    assert!(ticket.result(0).is_none(), "the disk stands still");
    partition.set_settings(Arc::new(TopicSettings::default()));
    assert!(answer(&ticket).is_ok());
    assert_eq!(partition.high_watermark(), 1);
    drop(stalled);
}

#[test]
fn room_that_is_used_up_makes_the_size_due() {
    let rig =
        Rig::new(TopicSettings { retention_bytes: 1_000, segment_ms: i64::MAX, ..TopicSettings::default() });
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    partition.roll_segment().unwrap();
    produce(&partition, record(&[b'x'; 500])).unwrap();
    next(&rig);
    produce(&partition, record(b"b")).unwrap();
    assert_eq!(next(&rig), None);
    produce(&partition, record(&[b'x'; 500])).unwrap();
    assert_eq!(next(&rig), Some(i64::MIN), "more than retention.bytes lie behind the oldest segment");
}

fn trimmed(rig: &Rig, partition: &Arc<Partition>, offset: i64) -> usize {
    partition.drop_segments_below(offset, rig.manifest()).unwrap().len()
}

#[test]
fn s88_a_start_that_moved_is_everybodys_at_once_and_offsets_go_on() {
    let rig = Rig::new(TopicSettings::default());
    let partition = rig.open("t", id(1));
    for n in 0..5 {
        produce(&partition, record_of(7, n, b"a")).unwrap();
    }
    assert_eq!(trimmed(&rig, &partition, 3), 0, "the segment holds more");
    assert_eq!((partition.log_start(), partition.earliest().offset), (3, 3));
    assert!(partition.trim(2, rig.manifest()).unwrap().is_none(), "never back");
    assert_eq!(trimmed(&rig, &partition, 5), 0);
    assert_eq!(values(&partition), []);
    // The producer goes on where it was.
    assert_eq!(offset(produce(&partition, record_of(7, 5, b"b"))), 5);
    assert_eq!(values(&partition), [(5, b"b".to_vec())]);
    assert!(next(&rig).is_some());
}

#[test]
fn a_deleted_topic_is_not_looked_at_any_more() {
    let rig = Rig::new(settings());
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    rig.table.delete(partition.id());
    assert_eq!(rig.table.environment().schedule.next(), None);
}
