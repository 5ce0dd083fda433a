//! Transactions on a partition: what moves the stable offset, who is woken, and which batches a marker keeps out.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::ack::{Ack, AckSlot, AppendResult, AppendTicket, NotAppended};
use super::testing::*;
use super::transactions::{CoordinatorWord, FirstBatch};
use super::waiter::FetchWaiter;
use super::{Isolation, Partition, PartitionRead, ReadRequest, TransactionMarker};
use crate::config::{Fsync, TopicSettings};
use crate::record::build::{BatchBuilder, NewRecord};
use crate::record::check::CheckedBatch;
use crate::record::control::{ControlType, Marker, build_marker};
use crate::storage::files::FileCache;
use crate::storage::flush::CheckpointTarget as _;
use crate::types::ErrorCode;

const PID: i64 = 7;

/// A batch of one record in a transaction.
fn in_transaction(producer: i64, epoch: i16, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new().producer(producer, epoch, sequence).transactional(true);
    builder.push(&NewRecord { timestamp: NOW, value: Some(b"v"), ..NewRecord::default() });
    builder.build().unwrap()
}

fn send(partition: &Arc<Partition>, bytes: Bytes, said: CoordinatorWord) -> Arc<AppendTicket> {
    let ticket = AppendTicket::new(1);
    let (bytes, header) = headed(bytes);
    let ack = Ack::All(AckSlot { ticket: Arc::clone(&ticket), slot: 0 });
    partition.enqueue_said(CheckedBatch { bytes, header, log_append_time: -1 }, ack, said);
    partition.drain();
    ticket
}

fn write(partition: &Arc<Partition>, sequence: i32) -> AppendResult {
    let ticket = partition.transactional_ticket(&first(0, sequence, false)).unwrap();
    let said = ticket.map_or(CoordinatorWord::NotAsked, CoordinatorWord::Given);
    answer(&send(partition, in_transaction(PID, 0, sequence), said))
}

fn marker(commit: bool) -> TransactionMarker {
    TransactionMarker {
        producer_id: PID,
        producer_epoch: 0,
        coordinator_epoch: 1,
        commit,
        v2: false,
        is_own: false,
    }
}

fn first(epoch: i16, base_sequence: i32, is_v2: bool) -> FirstBatch {
    FirstBatch { producer_id: PID, producer_epoch: epoch, base_sequence, is_v2 }
}

fn read(partition: &Partition, from: i64, isolation: Isolation) -> PartitionRead {
    let request = ReadRequest { from, hint: None, max_bytes: 1 << 20, at_least_one: true, isolation };
    partition.read_blocking(&request).unwrap()
}

fn refused(result: AppendResult) -> ErrorCode {
    match result {
        Err(NotAppended::Refused(code)) => code,
        other => panic!("{other:?}"),
    }
}

fn is_woken(waiter: &FetchWaiter) -> bool {
    let mut ready = std::pin::pin!(waiter.ready());
    matches!(ready.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

fn never() -> Rig {
    Rig::with(TopicSettings::default(), FileCache::new(64, 8), Fsync::Never)
}

#[test]
fn s20_readers_of_what_is_committed_stop_before_an_open_transaction() {
    let rig = never();
    let partition = rig.open("t", id(1));
    produce(&partition, record(b"a")).unwrap();
    write(&partition, 0).unwrap();
    produce(&partition, record(b"b")).unwrap();
    assert_eq!((partition.high_watermark(), partition.last_stable_offset()), (3, 1));
    assert_eq!(partition.latest(Isolation::ReadCommitted).offset, 1);
    assert_eq!(partition.latest(Isolation::ReadUncommitted).offset, 3);
    let committed = read(&partition, 0, Isolation::ReadCommitted);
    assert_eq!((committed.batches.next.offset(), committed.last_stable_offset), (1, 1));
    assert_eq!(read(&partition, 0, Isolation::ReadUncommitted).batches.next.offset(), 3);
    assert_eq!(partition.append_marker(marker(true)).unwrap(), 4);
    assert_eq!(partition.last_stable_offset(), 4);
    assert_eq!(read(&partition, 0, Isolation::ReadCommitted).batches.next.offset(), 4);
}

#[test]
fn s21_a_read_names_the_aborted_transactions_among_what_it_shows() {
    let rig = never();
    let partition = rig.open("t", id(1));
    write(&partition, 0).unwrap();
    partition.append_marker(marker(false)).unwrap();
    write(&partition, 1).unwrap();
    produce(&partition, record(b"b")).unwrap();
    partition.append_marker(marker(false)).unwrap();
    let firsts = |from| {
        let read = read(&partition, from, Isolation::ReadCommitted);
        read.aborted.iter().map(|transaction| transaction.first_offset).collect::<Vec<_>>()
    };
    assert_eq!(firsts(0), [0, 2]);
    assert_eq!(firsts(1), [0, 2], "the marker is still to come");
    assert_eq!(firsts(2), [2]);
    assert_eq!(firsts(5), [0; 0]);
    assert!(read(&partition, 0, Isolation::ReadUncommitted).aborted.is_empty());
    let request = ReadRequest {
        from: 0,
        hint: None,
        max_bytes: 1,
        at_least_one: true,
        isolation: Isolation::ReadCommitted,
    };
    assert_eq!(partition.read_blocking(&request).unwrap().aborted.len(), 1, "only what was read");
}

#[test]
fn a_marker_counts_when_nobody_can_take_it_back_and_wakes_those_who_wait_for_it() {
    let rig = Rig::new(TopicSettings::default());
    let partition = rig.open("t", id(1));
    write(&partition, 0).unwrap();
    assert_eq!((partition.high_watermark(), partition.last_stable_offset()), (1, 0));
    let release = Stall::begin(rig.committer());
    let [committed, uncommitted] = [Isolation::ReadCommitted, Isolation::ReadUncommitted].map(|isolation| {
        let waiter = FetchWaiter::new();
        partition.watch(&waiter, 0, isolation);
        waiter
    });
    let end = partition.append_marker(marker(true)).unwrap();
    assert_eq!(partition.last_stable_offset(), 0, "a power cut can still take it");
    assert!(!is_woken(&committed));
    let (told, tell) = std::sync::mpsc::channel();
    partition.when_visible(end, Arc::new(move || told.send(()).unwrap()));
    drop(release);
    tell.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(partition.last_stable_offset(), 2);
    assert!(is_woken(&committed) && is_woken(&uncommitted));
}

#[test]
fn what_does_not_move_the_stable_offset_does_not_wake_those_who_wait_for_it() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let waiter = FetchWaiter::new();
    partition.watch(&waiter, 0, Isolation::ReadCommitted);
    write(&partition, 0).unwrap();
    produce(&partition, record(b"b")).unwrap();
    assert!(!is_woken(&waiter));
    partition.append_marker(marker(false)).unwrap();
    assert!(is_woken(&waiter));
}

#[test]
fn batches_of_no_transaction_take_no_lock_and_look_nothing_up() {
    for fsync in [Fsync::Batch, Fsync::Always, Fsync::Never] {
        let rig = Rig::with(TopicSettings::default(), FileCache::new(64, 8), fsync);
        let partition = rig.open("t", id(1));
        // Somebody had a transaction here once.
        write(&partition, 0).unwrap();
        partition.append_marker(marker(false)).unwrap();
        produce(&partition, record(b"a")).unwrap();
        until_stable(&partition, 3);
        // What is known of transactions is behind this lock: whoever looks at it now waits.
        let held = partition.transactions.lock();
        let writer = std::thread::spawn({
            let partition = Arc::clone(&partition);
            move || {
                for sequence in 0..50 {
                    partition.append_own(&[headed(record(b"a"))]).unwrap();
                    // The last is a repetition.
                    for bytes in [record(b"b"), record_of(9, sequence, b"c"), record_of(9, sequence, b"c")] {
                        produce(&partition, bytes).unwrap();
                    }
                }
                until_stable(&partition, 153);
                assert_eq!(read(&partition, 3, Isolation::ReadCommitted).batches.next.offset(), 153);
                assert_eq!(partition.held_back(std::time::Duration::ZERO), None);
            }
        });
        within_seconds(|| writer.is_finished(), "it waits for the lock");
        writer.join().unwrap();
        // So does this one.
        let asked = std::thread::spawn({
            let partition = Arc::clone(&partition);
            move || partition.transactional_ticket(&first(0, 1, false)).unwrap()
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!asked.is_finished(), "the lock is the one");
        drop(held);
        assert!(asked.join().unwrap().is_some());
    }
}

fn until_stable(partition: &Partition, end: i64) {
    within_seconds(|| partition.last_stable_offset() == end, "the stable offset does not move");
}

fn within_seconds(done: impl Fn() -> bool, what: &str) {
    let so_far = (0..10_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        done()
    });
    assert!(so_far, "{what}");
}

#[test]
fn the_stable_offset_is_never_below_the_logs_start() {
    let rig = never();
    let partition = rig.open("t", id(1));
    write(&partition, 0).unwrap();
    produce(&partition, record(b"b")).unwrap();
    let _ = partition.trim(1, rig.manifest()).unwrap();
    assert_eq!(partition.last_stable_offset(), 1);
}

#[test]
fn s54_a_marker_voids_the_word_that_was_given_before_it() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let batch = |sequence| in_transaction(PID, 0, sequence);
    assert_eq!(refused(produce(&partition, batch(0))), ErrorCode::InvalidTxnState, "nobody was asked");
    let early = partition.transactional_ticket(&first(0, 0, false)).unwrap().unwrap();
    assert_eq!(partition.transactional_ticket(&first(0, 0, false)).unwrap(), Some(early), "of the same wait");
    partition.append_marker(marker(false)).unwrap();
    let late = answer(&send(&partition, batch(0), CoordinatorWord::Given(early)));
    assert_eq!(refused(late), ErrorCode::InvalidTxnState, "it would begin a transaction that nobody ends");
    let ticket = partition.transactional_ticket(&first(0, 0, false)).unwrap().unwrap();
    assert_ne!(ticket, early);
    answer(&send(&partition, batch(0), CoordinatorWord::Given(ticket))).unwrap();
    assert_eq!(partition.transactional_ticket(&first(0, 1, false)).unwrap(), None, "it is open");
    produce(&partition, batch(1)).unwrap();
    partition.append_marker(marker(true)).unwrap();
    assert_eq!(refused(produce(&partition, batch(2))), ErrorCode::InvalidTxnState, "it has ended");
}

#[test]
fn s54_in_v2_a_marker_does_not_void_the_word_for_the_transaction_after_it() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let mut marker = TransactionMarker { producer_epoch: 1, v2: true, ..marker(true) };
    let ticket = partition.transactional_ticket(&first(0, 0, true)).unwrap().unwrap();
    answer(&send(&partition, in_transaction(PID, 0, 0), CoordinatorWord::Given(ticket))).unwrap();
    let next = partition.transactional_ticket(&first(1, 0, true)).unwrap().unwrap();
    partition.append_marker(marker).unwrap();
    answer(&send(&partition, in_transaction(PID, 1, 0), CoordinatorWord::Given(next))).unwrap();
    assert_eq!(
        partition.append_marker(marker),
        Err(NotAppended::Refused(ErrorCode::InvalidProducerEpoch)),
        "repeated when the next one is open"
    );
    marker.producer_epoch = 2;
    partition.append_marker(marker).unwrap();
}

#[test]
fn s54_a_marker_of_v1_voids_the_word_for_a_batch_of_v2() {
    let rig = never();
    let partition = rig.open("t", id(1));
    // One that adds as a client of V2 does and ends as one of V1: the epoch stays.
    let early = partition.transactional_ticket(&first(0, 0, true)).unwrap().unwrap();
    partition.append_marker(marker(true)).unwrap();
    let late = answer(&send(&partition, in_transaction(PID, 0, 0), CoordinatorWord::Given(early)));
    assert_eq!(refused(late), ErrorCode::InvalidTxnState, "it would begin a transaction that nobody ends");
    assert_eq!(partition.last_stable_offset(), partition.high_watermark());
}

#[test]
fn s54_the_lowest_sequence_that_waits_goes_first() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let ticket = partition.transactional_ticket(&first(0, 4, false)).unwrap().unwrap();
    assert_eq!(partition.transactional_ticket(&first(0, 2, false)).unwrap(), Some(ticket));
    let ahead = answer(&send(&partition, in_transaction(PID, 0, 4), CoordinatorWord::Given(ticket)));
    assert_eq!(refused(ahead), ErrorCode::OutOfOrderSequenceNumber);
    answer(&send(&partition, in_transaction(PID, 0, 2), CoordinatorWord::Given(ticket))).unwrap();
}

#[test]
fn s54_batches_that_waited_together_are_appended_with_one_write() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let given = |sequence| {
        let ticket = partition.transactional_ticket(&first(0, sequence, false)).unwrap();
        CoordinatorWord::Given(ticket.unwrap())
    };
    let said = [given(0), given(1), given(2)];
    // The writer is busy meanwhile.
    let tickets: Vec<_> = partition.with_writer(|_| {
        let sent = said.into_iter().zip(0..);
        sent.map(|(said, sequence)| send(&partition, in_transaction(PID, 0, sequence), said)).collect()
    });
    let offsets: Vec<_> = tickets.iter().map(|ticket| answer(ticket).unwrap().base_offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
}

#[test]
fn s54_what_was_refused_for_good_goes_before_those_behind_it_until_a_marker_comes() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let ticket = partition.transactional_ticket(&first(0, 4, false)).unwrap().unwrap();
    partition.give_ticket_up(PID, ticket);
    let next = partition.transactional_ticket(&first(0, 6, false)).unwrap().unwrap();
    let behind = answer(&send(&partition, in_transaction(PID, 0, 6), CoordinatorWord::Given(next)));
    assert_eq!(refused(behind), ErrorCode::OutOfOrderSequenceNumber);
    partition.append_marker(marker(false)).unwrap();
    let next = partition.transactional_ticket(&first(0, 0, false)).unwrap().unwrap();
    answer(&send(&partition, in_transaction(PID, 0, 0), CoordinatorWord::Given(next))).unwrap();
}

#[test]
fn the_brokers_own_transactional_batches_count_as_any_other() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let data = in_transaction(PID, 0, -1);
    assert_eq!(partition.append_own(&[headed(record(b"a")), headed(data.clone())]).unwrap(), 2);
    assert_eq!(partition.last_stable_offset(), 1);
    assert_eq!(partition.compaction_bound(), i64::MIN, "nothing is checkpointed");
    let abort = Marker { kind: ControlType::Abort, coordinator_epoch: 0 };
    let abort = build_marker(abort, PID, 0, NOW);
    partition.append_own(&[headed(abort.unwrap())]).unwrap();
    assert_eq!(partition.last_stable_offset(), 3);
    let aborted = partition.reader().aborted(0, 3, true).unwrap();
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (1, 2));
    assert_eq!(partition.append_own(&[headed(data)]).unwrap(), 4, "its sequence is none");
    assert_eq!(partition.last_stable_offset(), 3);
}

#[test]
fn a_write_that_fails_opens_nothing() {
    let rig = Rig::with(
        TopicSettings { segment_bytes: 400, ..TopicSettings::default() },
        FileCache::new(64, 8),
        Fsync::Never,
    );
    let partition = rig.open("t", id(1));
    produce(&partition, record(&[b'a'; 300])).unwrap();
    partition.with_writer(|writer| writer.log.close().unwrap());
    assert!(write(&partition, 0).is_err());
    assert_eq!((partition.last_stable_offset(), partition.high_watermark()), (1, 1));
    assert_eq!(partition.with_writer(|writer| writer.producers.first_open()), None);
    assert!(partition.append_marker(marker(true)).is_err());
}

#[test]
fn who_holds_the_stable_offset_back_for_long_is_told_once() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let minute = std::time::Duration::from_secs(60);
    write(&partition, 0).unwrap();
    assert_eq!(partition.held_back(minute), None);
    rig.table.environment().clock.advance(minute);
    let held = partition.held_back(minute).unwrap();
    assert_eq!((held.producer_id, held.first_offset), (PID, 0));
    assert_eq!(partition.held_back(minute), None);
    partition.append_marker(marker(true)).unwrap();
    write(&partition, 1).unwrap();
    rig.table.environment().clock.advance(minute);
    assert_eq!(partition.held_back(minute).unwrap().first_offset, 2);
}

#[test]
fn the_largest_timestamp_is_not_told_to_readers_of_committed_records_while_it_is_undecided() {
    let rig = never();
    let partition = rig.open("t", id(1));
    let at = |isolation| partition.max_timestamp(isolation).unwrap().offset;
    let mut older = BatchBuilder::new();
    older.push(&NewRecord { timestamp: NOW - 5, value: Some(b"v"), ..NewRecord::default() });
    produce(&partition, older.build().unwrap()).unwrap();
    assert_eq!((at(Isolation::ReadUncommitted), at(Isolation::ReadCommitted)), (0, 0));
    write(&partition, 0).unwrap();
    assert_eq!((at(Isolation::ReadUncommitted), at(Isolation::ReadCommitted)), (1, -1));
    partition.append_marker(marker(true)).unwrap();
    assert_eq!((at(Isolation::ReadUncommitted), at(Isolation::ReadCommitted)), (1, 1));
}

/// Where readers do not wait for the disk, a power cut may take a marker that they went by.
#[test]
fn s94_a_marker_decides_for_compaction_once_a_checkpoint_vouches_for_it() {
    let rig = never();
    rig.table.environment().checkpointer.stop();
    let partition = rig.open("t", id(1));
    let checkpoint = || {
        partition.roll_segment().unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        let end = partition.reader().end();
        partition.when_durable(end, Arc::new(move || told.send(()).unwrap_or_default()));
        partition.request_sync();
        tell.recv().unwrap();
        let note = partition.prepare().unwrap().unwrap();
        partition.checkpointed(&note.row);
    };
    produce(&partition, record(b"a")).unwrap();
    write(&partition, 0).unwrap();
    produce(&partition, record(b"b")).unwrap();
    checkpoint();
    assert_eq!(partition.compaction_bound(), 1, "the transaction is open");
    partition.append_marker(marker(true)).unwrap();
    assert_eq!((partition.last_stable_offset(), partition.compaction_bound()), (4, 1));
    checkpoint();
    assert_eq!(partition.compaction_bound(), 4);
}
