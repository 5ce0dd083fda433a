//! Fetched bytes: cut, damaged, with markers and aborted transactions.

use super::*;
use crate::record::control::{Marker, build_marker};
use crate::record::{BatchBuilder, NewRecord, empty, stamp};

/// A batch of these values at this offset, by a transaction of `producer` if there is one.
fn batch(offset: i64, values: &[&str], producer: Option<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(offset);
    if let Some(id) = producer {
        builder = builder.producer(id, 0, 0).transactional(true);
    }
    for value in values {
        builder.push(&NewRecord { timestamp: 1, value: Some(value.as_bytes()), ..NewRecord::default() });
    }
    builder.build().unwrap().to_vec()
}

fn marker(offset: i64, kind: ControlType, producer: i64) -> Vec<u8> {
    let mut bytes = build_marker(Marker { kind, coordinator_epoch: 0 }, producer, 0, 1).unwrap().to_vec();
    stamp(&mut bytes, offset, 0);
    bytes
}

fn fetched(from: i64, bytes: Vec<u8>, aborted: &[(i64, i64)]) -> Result<FetchedPartition, Error> {
    let aborted = aborted.iter().map(|&(producer_id, first_offset)| Aborted { producer_id, first_offset });
    FetchedPartition::new(("t".into(), 0), from, 100, bytes.into(), aborted.collect())
}

/// Offset and value of each record that a reader sees.
fn seen(fetched: &FetchedPartition) -> Result<Vec<(i64, String)>, Error> {
    let mut seen = Vec::new();
    for batch in fetched.batches() {
        for record in &fetched.records(&batch?)? {
            let record = record.map_err(|error| fetched.damaged(0, &error))?;
            if record.offset >= fetched.from {
                let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
                seen.push((record.offset, value));
            }
        }
    }
    Ok(seen)
}

fn row(offset: i64, value: &str) -> (i64, String) {
    (offset, value.to_owned())
}

#[test]
fn a_fetch_from_the_middle_of_a_batch_begins_there() {
    let fetched = fetched(1, [batch(0, &["a", "b"], None), batch(2, &["c"], None)].concat(), &[]).unwrap();
    assert_eq!(seen(&fetched).unwrap(), [row(1, "b"), row(2, "c")]);
    assert_eq!(fetched.next, 3);
}

#[test]
fn s17_a_cut_last_batch_waits_for_the_next_fetch() {
    let mut bytes = [batch(0, &["a"], None), batch(1, &["b"], None)].concat();
    bytes.truncate(bytes.len() - 1);
    let fetched = fetched(0, bytes, &[]).unwrap();
    assert_eq!(seen(&fetched).unwrap(), [row(0, "a")]);
    assert_eq!(fetched.next, 1);
}

#[test]
fn a_first_batch_that_is_cut_or_old_is_an_error() {
    let mut cut = batch(0, &["a"], None);
    cut.truncate(65);
    assert!(fetched(0, cut, &[]).is_err());
    let mut old = batch(7, &["a"], None);
    old[16] = 1;
    let error = fetched(7, old, &[]).unwrap_err().to_string();
    assert!(error.starts_with("t-0 at offset 7: ") && error.contains("magic 1"), "{error}");
}

#[test]
fn a_wrong_checksum_is_told_with_its_place() {
    let mut bytes = batch(5, &["a"], None);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let error = seen(&fetched(5, bytes, &[]).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("t-0 at offset 5: the batch's checksum is wrong"), "{error}");
}

#[test]
fn s22_markers_are_spent_offsets_and_no_records() {
    let bytes =
        [batch(0, &["a"], Some(9)), marker(1, ControlType::Commit, 9), batch(2, &["b"], None)].concat();
    let fetched = fetched(0, bytes, &[]).unwrap();
    assert_eq!(seen(&fetched).unwrap(), [row(0, "a"), row(2, "b")]);
    assert_eq!(fetched.next, 3);
}

#[test]
fn s93_batches_that_compaction_emptied_are_spent_offsets() {
    let emptied = |bytes: Vec<u8>| empty(BatchView::parse(&bytes).unwrap().header());
    let bytes = [
        emptied(batch(0, &["a", "b"], None)),
        emptied(marker(2, ControlType::Commit, 9)),
        batch(3, &["c"], None),
        emptied(batch(4, &["d", "e"], Some(9))),
    ];
    let fetched = fetched(0, bytes.concat(), &[]).unwrap();
    assert_eq!(seen(&fetched).unwrap(), [row(3, "c")]);
    assert_eq!(fetched.next, 6);
}

#[test]
fn aborted_transactions_are_left_out_until_their_marker() {
    let bytes = [
        batch(0, &["aborted"], Some(9)),
        batch(1, &["kept"], Some(8)),
        batch(2, &["plain"], None),
        marker(3, ControlType::Abort, 9),
        batch(4, &["second try"], Some(9)),
        marker(5, ControlType::Commit, 9),
    ]
    .concat();
    let fetched = fetched(0, bytes, &[(9, 0)]).unwrap();
    assert_eq!(seen(&fetched).unwrap(), [row(1, "kept"), row(2, "plain"), row(4, "second try")]);
    assert_eq!(fetched.next, 6);
}
