//! Reading everything by the ordinary ways, and holding it against the model.

use std::collections::HashSet;

use streamd::partition::{Isolation, Partition, ReadRequest};
use streamd::record::batch::BatchView;
use streamd::record::control::{ControlType, read_marker};
use streamd::storage::log::{Place, ReadBatches, ReadError};

use crate::model::{Model, Record};
use crate::node::Node;
use crate::random::Random;
use crate::transactions::Fate;

/// A record that was read, and whether it is a marker.
type Found = (Record, bool);

fn read(
    partition: &Partition,
    from: i64,
    hint: Option<Place>,
    max_bytes: usize,
) -> Result<ReadBatches, ReadError> {
    let isolation = Isolation::ReadUncommitted;
    let request = ReadRequest { from, hint, max_bytes, at_least_one: true, isolation };
    let read = partition.read_blocking(&request)?;
    assert_eq!(read.high_watermark, partition.high_watermark());
    Ok(read.batches)
}

/// The records of whole batches from `from` on.
fn records(read: &ReadBatches, from: i64, model: &Model) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let (mut before, mut epoch) = (None, i32::MIN);
    for slice in &read.slices {
        let mut bytes = vec![0; slice.len()];
        assert_eq!(slice.read_into(0, &mut bytes).expect("it can be read"), bytes.len());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let view = BatchView::parse(rest).expect("a whole batch");
            let header = view.header();
            assert!(view.crc_ok(), "the batch at {} is damaged and was served", header.base_offset);
            assert!(before.is_none_or(|before| header.base_offset >= before), "offsets rise");
            assert!(
                before.is_some() || header.next_offset() > from,
                "the first batch, at {}, ends before {from}",
                header.base_offset
            );
            before = Some(header.next_offset());
            assert!(header.partition_leader_epoch >= epoch, "the epoch falls at {}", header.base_offset);
            epoch = header.partition_leader_epoch;
            if let Some(batch) = model.batches.get(&header.base_offset).filter(|_| header.records_count > 0) {
                assert_eq!(epoch, batch.epoch, "the epoch at {}", header.base_offset);
            }
            let records = view.records(1 << 20).expect("records");
            found.extend(records.iter().map(|record| {
                let record = record.expect("a sound record");
                let record = Record {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                };
                (record, header.attributes.is_control())
            }));
            rest = &rest[view.bytes().len()..];
        }
    }
    found.retain(|(record, _)| record.offset >= from);
    assert!(found.windows(2).all(|pair| pair[0].0.offset < pair[1].0.offset), "offsets rise");
    found
}

/// Reads all, passing over what is damaged, of which the model takes note.
pub(crate) fn read_all(node: &Node, model: &mut Model, luck: &mut Random) -> Vec<Found> {
    let (partition, end) = (&node.partition, node.partition.high_watermark());
    let (mut from, mut hint, mut all) = (partition.log_start(), None, Vec::<Found>::new());
    while from < end {
        let batches = match read(partition, from, hint, 1 + luck.index(6_000)) {
            Ok(batches) => batches,
            Err(ReadError::Damaged { damage, .. }) => {
                assert!(
                    model.damaged.contains(&(damage.first, damage.next)),
                    "nothing was damaged: {damage:?}"
                );
                assert!((damage.first..damage.next).contains(&from), "{from} is not in {damage:?}");
                (from, hint) = (damage.next, None);
                continue;
            }
            Err(error) => panic!("a read at {from}: {error}"),
        };
        all.extend(records(&batches, from, model));
        assert!(batches.next.offset() > from, "a read at {from} of {end} does not get on");
        from = batches.next.offset();
        hint = Some(batches.next).filter(|_| !luck.once_in(3));
    }
    all
}

/// Everything, from the start; from some offsets; by some times; and what lies outside.
pub(crate) fn check(node: &Node, model: &mut Model, luck: &mut Random) {
    let partition = &node.partition;
    assert_eq!(partition.reader().end(), model.end, "the log's end");
    let (start, end) = (partition.log_start(), partition.high_watermark());
    assert_eq!((start, start), model.start, "the log's start");
    if !node.waits_for_disk() {
        assert_eq!(end, model.end, "readers see all of it");
    }
    if model.damaged.is_empty() {
        assert_eq!(partition.log().damage(), [], "nothing was damaged");
    }
    let all = read_all(node, model, luck);
    model.was_read(&all, end);
    let stable = partition.last_stable_offset();
    assert_eq!(stable, model.transactions.stable(start, end), "the last stable offset");
    if model.damaged.is_empty() {
        let is_committed = |(record, control): &&Found| {
            let known = model.at(record.offset).expect("it was appended");
            !control && record.offset < stable && model.fate(known) == Fate::Committed
        };
        let wanted: Vec<i64> = all.iter().filter(is_committed).map(|(record, _)| record.offset).collect();
        assert_eq!(
            committed(partition, stable, &mut luck.clone()),
            wanted,
            "what readers of committed records see"
        );
    }
    assert!(matches!(read(partition, start - 1, None, 1,), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(read(partition, model.end + 1, None, 1), Err(ReadError::OutOfRange { .. })));
    if model.damaged.is_empty() && start < end {
        for _ in 0..3 {
            check_from(partition, model, &all, luck.offset(start, end), end);
        }
        check_times(partition, &all, end, luck);
    }
}

/// The offsets of what readers of committed records see, as clients find it out from what a fetch tells them.
fn committed(partition: &Partition, stable: i64, luck: &mut Random) -> Vec<i64> {
    let (start, mut found) = (partition.log_start(), Vec::new());
    let mut from = start;
    while from < stable {
        let (isolation, max_bytes) = (Isolation::ReadCommitted, 1 + luck.index(6_000));
        let request = ReadRequest { from, hint: None, max_bytes, at_least_one: true, isolation };
        let read = partition.read_blocking(&request).expect("a read inside the log");
        let mut aborted: Vec<_> =
            read.aborted.iter().map(|each| (each.first_offset, each.producer_id)).collect();
        aborted.sort_unstable_by_key(|each| std::cmp::Reverse(*each));
        let mut skipped = HashSet::new();
        for slice in &read.batches.slices {
            let mut bytes = vec![0; slice.len()];
            assert_eq!(slice.read_into(0, &mut bytes).expect("it can be read"), bytes.len());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let view = BatchView::parse(rest).expect("a whole batch");
                let header = *view.header();
                while let Some((_, producer)) = aborted.pop_if(|(first, _)| *first <= header.last_offset()) {
                    skipped.insert(producer);
                }
                if header.attributes.is_control() {
                    let kind = (header.records_count > 0).then(|| read_marker(&view).expect("a marker"));
                    if kind.flatten().is_some_and(|marker| marker.kind == ControlType::Abort) {
                        skipped.remove(&header.producer_id);
                    }
                } else if !header.attributes.is_transactional() || !skipped.contains(&header.producer_id) {
                    let records = view.records(1 << 20).expect("records");
                    found.extend(records.iter().map(|record| record.expect("a sound record").offset));
                }
                rest = &rest[view.bytes().len()..];
            }
        }
        assert!(read.batches.next.offset() > from, "a read at {from} of {stable} does not get on");
        from = read.batches.next.offset();
    }
    found.retain(|offset| *offset >= start);
    found
}

/// From an offset on the first record is the first there is.
fn check_from(partition: &Partition, model: &Model, all: &[Found], from: i64, end: i64) {
    let wanted = all.iter().find(|(record, _)| record.offset >= from);
    let mut at = from;
    while at < end {
        let batches = read(partition, at, None, 1).expect("a read inside the log");
        if let Some(found) = records(&batches, at, model).first() {
            assert_eq!(Some(found), wanted, "the first record from {from} on");
            return;
        }
        assert!(batches.next.offset() > at);
        at = batches.next.offset();
    }
    assert_eq!(wanted, None, "the first record from {from} on");
}

/// By time the first record is found that is not older, and the first of the newest.
fn check_times(partition: &Partition, all: &[Found], end: i64, luck: &mut Random) {
    let isolation = Isolation::ReadUncommitted;
    for _ in 0..2 {
        let Some((near, _)) = all.get(luck.index(all.len())) else { break };
        let target = near.timestamp + luck.offset(-2, 3);
        let wanted = all.iter().find(|(record, _)| record.timestamp >= target);
        let found = partition.offset_for_time(target, isolation).expect("a lookup by time");
        let wanted = wanted.map_or((-1, -1), |(record, _)| (record.offset, record.timestamp));
        assert_eq!((found.offset, found.timestamp), wanted, "the first at or after {target} below {end}");
    }
    let newest = all.iter().map(|(record, _)| record.timestamp).max();
    let wanted = all.iter().find(|(record, _)| Some(record.timestamp) == newest);
    let found = partition.max_timestamp(isolation).expect("a lookup by time");
    // A record below the log's start may be the newest of the first segment.
    if found.offset >= partition.log_start() {
        let wanted = wanted.map_or((-1, -1), |(record, _)| (record.offset, record.timestamp));
        assert_eq!((found.offset, found.timestamp), wanted, "the newest record");
    }
}

/// Where a batch lies: its file and position.
pub(crate) fn place_of(node: &Node, base: i64) -> (std::path::PathBuf, u64) {
    let batches = read(&node.partition, base, None, 1).expect("a read inside the log");
    let slice = batches.slices.first().expect("a batch");
    let file = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(slice.file()));
    (std::fs::read_link(file).expect("an open file"), slice.position())
}

/// Reads everything with its checksums, as verifying does, and says what is damaged.
pub(crate) fn verify(node: &Node) -> Vec<(i64, i64)> {
    let reader = node.partition.reader();
    let (mut from, end) = (reader.start(), reader.end());
    while from < end {
        match reader.for_each_batch(from, end, &mut |_| true) {
            Ok(()) => break,
            Err(ReadError::Damaged { damage, .. }) => from = damage.next,
            Err(error) => panic!("reading at {from}: {error}"),
        }
    }
    node.partition.log().damage().iter().map(|damage| (damage.first, damage.next)).collect()
}
