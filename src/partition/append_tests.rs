//! The append section: nobody is left in the queue, and a failed write leaves no gap behind.

use std::fs;

use super::ack::NotAppended;
use super::testing::*;
use super::{Closed, Partition};
use crate::config::{Fsync, TopicSettings};
use crate::storage::files::FileCache;
use crate::storage::flush::CheckpointTarget as _;
use crate::storage::layout::{FileKind, segment_file};
use crate::types::ErrorCode;

fn log_file(base: i64) -> String {
    segment_file(base, FileKind::Log)
}

/// Settings whose segments hold this many bytes.
fn segments_of(bytes: i32) -> TopicSettings {
    TopicSettings { segment_bytes: bytes, ..TopicSettings::default() }
}

#[test]
fn whoever_held_the_writer_appends_what_came_meanwhile() {
    type Holder = fn(&Rig, &std::sync::Arc<Partition>);
    let holders: [(&str, Holder); 8] = [
        ("a checkpoint", |_, partition| drop(partition.prepare())),
        ("the expiry of producers", |_, partition| assert_eq!(partition.expire_producers(0), 0)),
        ("a reservation", |_, partition| partition.reserve(1000).unwrap()),
        ("the broker's own append", |_, partition| {
            partition.append_own(&[headed(record(b"own"))]).unwrap();
        }),
        ("a roll", |_, partition| partition.roll_segment().unwrap()),
        ("the end of writing", |_, partition| partition.finish().unwrap()),
        ("a deletion", |rig, partition| rig.table.delete(partition.id())),
        ("a stop", |rig, _| rig.table.close_all().unwrap()),
    ];
    for (what, hold) in holders {
        let rig = Rig::new(TopicSettings::default());
        let partition = rig.open("t", id(1));
        produce(&partition, record(b"first")).unwrap();
        let ticket = {
            let _held = partition.writer.lock();
            let ticket = enqueue(&partition, record(b"second"));
            // The lock is taken: this producer goes away and trusts in its holder.
            partition.drain();
            ticket
        };
        assert!(!ticket.is_done());
        // The holder that comes next stands for the one that was there: nobody else looks at the queue.
        hold(&rig, &partition);
        let answered = answer(&ticket);
        let is_closed = partition.closed().is_some() || what == "the end of writing";
        assert_eq!(answered.is_ok(), !is_closed, "{what}: {answered:?}");
    }
}

#[test]
fn who_drains_for_others_does_a_turns_worth_and_leaves_the_rest_to_a_task() {
    let rig = Rig::with(TopicSettings::default(), FileCache::new(64, 8), Fsync::Never);
    let partition = rig.open("t", id(1));
    let others: Vec<_> = (0..20).map(|_| enqueue(&partition, record(&[7; 300_000]))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let done = || others.iter().filter(|ticket| ticket.is_done()).count();
    {
        let _tasks = runtime.enter();
        partition.drain();
    }
    assert!((1..=4).contains(&done()), "{} of 20 were appended before it could go on", done());
    // Nobody else asks for it.
    runtime.block_on(async {
        while done() < others.len() {
            tokio::task::yield_now().await;
        }
    });
    let offsets: Vec<_> = others.iter().map(|ticket| offset(answer(ticket))).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<_>>(), "in the order in which they came");
}

#[test]
fn a_batch_checked_against_batches_that_were_not_written_is_refused() {
    // Files are closed as soon as they are synced, so that a write has to open them again.
    let rig = Rig::with(segments_of(400), FileCache::new(0, 0), Fsync::Batch);
    let partition = rig.open("t", id(1));
    assert_eq!(offset(produce(&partition, record_of(7, 0, b"a"))), 0);
    // The segment cannot be opened, a new one could be made.
    let file = rig.dir("t").join(log_file(0));
    fs::rename(&file, rig.dir("t").join("away")).unwrap();
    fs::create_dir(&file).unwrap();
    let small = enqueue(&partition, record_of(7, 1, b"b"));
    let large = enqueue(&partition, record_of(7, 2, &[b'c'; 300]));
    partition.drain();
    assert_eq!(answer(&small), Err(NotAppended::Storage));
    assert_eq!(answer(&large), Err(NotAppended::Storage), "it follows on one that is not in the log");
    assert_eq!(partition.reader().end(), 1);
    fs::remove_dir(&file).unwrap();
    fs::rename(rig.dir("t").join("away"), &file).unwrap();

    let early = produce(&partition, record_of(7, 2, &[b'c'; 300]));
    assert_eq!(early, Err(NotAppended::Refused(ErrorCode::OutOfOrderSequenceNumber)));
    assert_eq!(offset(produce(&partition, record_of(7, 1, b"b"))), 1);
    assert_eq!(offset(produce(&partition, record_of(7, 2, &[b'c'; 300]))), 2);
    assert_eq!(offset(produce(&partition, record_of(7, 2, &[b'c'; 300]))), 2, "a duplicate is known");
    let held = [(0, b"a".to_vec()), (1, b"b".to_vec()), (2, vec![b'c'; 300])];
    assert_eq!(values(&partition), held);
}

#[test]
fn a_batch_that_finds_no_segment_to_begin_is_refused_and_those_before_it_stand() {
    let rig = Rig::new(segments_of(400));
    let partition = rig.open("t", id(1));
    produce(&partition, record_of(7, 0, b"a")).unwrap();
    let blocker = rig.dir("t").join(log_file(2));
    fs::write(&blocker, b"somebody else's").unwrap();
    let tickets: Vec<_> = [(1, &[b'b'; 1][..]), (2, &[b'c'; 300]), (3, b"d")]
        .map(|(sequence, value)| enqueue(&partition, record_of(7, sequence, value)))
        .into();
    partition.drain();
    assert_eq!(offset(answer(&tickets[0])), 1);
    assert_eq!(answer(&tickets[1]), Err(NotAppended::Storage));
    let gap = NotAppended::Refused(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(answer(&tickets[2]), Err(gap), "its predecessor is not in the log");
    fs::remove_file(&blocker).unwrap();
    assert_eq!(offset(produce(&partition, record_of(7, 2, &[b'c'; 300]))), 2);
    assert_eq!(offset(produce(&partition, record_of(7, 3, b"d"))), 3);
}

#[test]
fn the_brokers_own_batches_are_appended_as_a_whole_or_not_at_all() {
    let rig = Rig::new(segments_of(400));
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    // The first fits in the segment that grows, the second does not; nowhere is a new one to be had.
    let group = [headed(record(b"b")), headed(record(&[b'c'; 300]))];
    let blockers = [1, 2].map(|base| rig.dir("t").join(log_file(base)));
    for blocker in &blockers {
        fs::write(blocker, b"somebody else's").unwrap();
    }
    partition.append_own(&group).unwrap_err();
    assert_eq!(partition.reader().end(), 1, "nothing of it is in the log");
    for blocker in &blockers {
        fs::remove_file(blocker).unwrap();
    }
    assert_eq!(partition.append_own(&group).unwrap(), 3);
    assert_eq!(offset(produce(&partition, record(b"d"))), 3);
    let held = values(&partition);
    let firsts: Vec<_> = held.iter().map(|(offset, value)| (*offset, value[0])).collect();
    assert_eq!(firsts, [(0, b'a'), (1, b'b'), (2, b'c'), (3, b'd')]);
    assert_eq!(partition.high_watermark(), 4, "and all of it is shown");
    let bases: Vec<_> = partition.reader().segments().iter().map(|segment| segment.base).collect();
    assert!(!bases.contains(&2), "a group is not torn apart: {bases:?}");
}

#[test]
fn a_batch_for_a_closed_partition_is_refused_for_the_right_reason() {
    let rig = Rig::new(TopicSettings::default());
    let (deleted, stopped) = (rig.open("t", id(1)), rig.open("u", id(2)));
    rig.table.delete(deleted.id());
    assert_eq!(deleted.closed(), Some(Closed::Deleted));
    assert_eq!(produce(&deleted, record(b"a")), Err(NotAppended::Gone));
    rig.table.close_all().unwrap();
    assert_eq!(stopped.closed(), Some(Closed::Stopping));
    assert_eq!(produce(&stopped, record(b"a")), Err(NotAppended::Stopping));
}

#[test]
fn without_room_what_is_new_is_refused_and_what_is_known_acknowledged_again() {
    let rig = Rig::new(TopicSettings::default());
    let partition = rig.open("t", id(1));
    produce(&partition, record_of(7, 0, b"first")).unwrap();
    let room = rig.committer().health().room();
    room.set_read_only(true);
    assert_eq!(produce(&partition, record_of(7, 1, b"second")), Err(NotAppended::Storage));
    // Not OUT_OF_ORDER_SEQUENCE_NUMBER, which would say that something was lost.
    assert_eq!(produce(&partition, record_of(7, 2, b"third")), Err(NotAppended::Storage));
    assert_eq!(offset(produce(&partition, record_of(7, 0, b"first"))), 0, "it is in the log");
    assert_eq!(room.refused(), 2);
    assert_eq!(partition.append_own(&[headed(record(b"own"))]).unwrap(), 2, "the broker's own records go on");
    room.set_read_only(false);
    assert_eq!(offset(produce(&partition, record_of(7, 1, b"second"))), 2);
}
