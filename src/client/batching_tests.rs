//! What is in which batch, and with which numbers.

use super::*;
use crate::types::Codec;

const ME: ProducerId = ProducerId { id: 7, epoch: 3 };

fn batching(batch_bytes_max: usize) -> Batching {
    Batching::new(2, Compression { codec: Codec::None, level: 0 }, Some(ME), batch_bytes_max)
}

fn value(bytes: &[u8]) -> NewRecord<'_> {
    NewRecord { timestamp: 5, value: Some(bytes), ..NewRecord::default() }
}

/// Base sequence and values of a batch.
fn content(batch: &Batch) -> (i32, Vec<Vec<u8>>) {
    let view = BatchView::parse(&batch.bytes).unwrap();
    assert!(view.crc_ok());
    assert_eq!((view.header().producer_id, view.header().producer_epoch), (ME.id, ME.epoch));
    assert_eq!(view.header().records_count, batch.records);
    let records = view.records(usize::MAX).unwrap();
    (
        view.header().base_sequence,
        records.iter().map(|record| record.unwrap().value.unwrap().to_vec()).collect(),
    )
}

#[test]
fn records_share_a_batch_until_it_is_full() {
    let mut batching = batching(400);
    let closed: Vec<bool> = (0..6).map(|_| batching.push(1, &value(&[b'x'; 100])).unwrap()).collect();
    assert_eq!(closed, [false, false, true, false, true, false]);
    assert_eq!(batching.waiting().collect::<Vec<_>>(), [1]);
    let taken: Vec<_> = std::iter::from_fn(|| batching.take(1).unwrap()).collect();
    assert_eq!(taken.iter().map(|batch| batch.records).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(taken.iter().map(|batch| content(batch).0).collect::<Vec<_>>(), [0, 2, 4], "sequences go on");
    assert_eq!(batching.waiting().count(), 0);
}

#[test]
fn a_record_larger_than_a_batch_has_one_to_itself() {
    let mut batching = batching(100);
    batching.push(0, &value(b"small")).unwrap();
    batching.push(0, &value(&[b'x'; 5_000])).unwrap();
    batching.push(0, &value(b"small")).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| batching.take(0).unwrap()).collect();
    assert_eq!(taken.iter().map(|batch| batch.records).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn what_is_put_back_goes_first() {
    let mut batching = batching(10);
    for text in ["a", "b"] {
        batching.push(0, &value(text.as_bytes())).unwrap();
    }
    let first = batching.take(0).unwrap().unwrap();
    batching.put_back(first.clone());
    assert_eq!(batching.take(0).unwrap().unwrap(), first);
    assert_eq!(content(&batching.take(0).unwrap().unwrap()).1, [b"b"]);
}

#[test]
fn held_bytes_are_those_that_are_here() {
    let mut batching = batching(400);
    for _ in 0..9 {
        batching.push(0, &value(&[b'x'; 100])).unwrap();
        batching.push(1, &value(&[b'x'; 100])).unwrap();
    }
    assert!((1_800..2_600).contains(&batching.held_bytes()), "{}", batching.held_bytes());
    let batch = batching.take(0).unwrap().unwrap();
    batching.put_back(batch);
    for partition in [0, 1] {
        while batching.take(partition).unwrap().is_some() {}
    }
    assert_eq!(batching.held_bytes(), 0);
}

#[test]
fn a_batch_is_split_without_a_change_of_records_and_sequences() {
    let mut batching = batching(10_000);
    batching.push(0, &value(b"zero")).unwrap();
    batching.take(0).unwrap();
    let headers = [HeaderView { key: b"h", value: None }, HeaderView { key: b"h", value: Some(b"2") }];
    for text in ["a", "b", "c"] {
        let record = NewRecord { key: Some(b"k"), headers: &headers, ..value(text.as_bytes()) };
        batching.push(0, &record).unwrap();
    }
    let batch = batching.take(0).unwrap().unwrap();
    let [first, second] = batching.split(&batch).unwrap().unwrap();
    assert_eq!(content(&first), (1, vec![b"a".to_vec()]));
    assert_eq!(content(&second), (2, vec![b"b".to_vec(), b"c".to_vec()]));
    let view = BatchView::parse(&second.bytes).unwrap();
    let records = view.records(usize::MAX).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    assert_eq!((record.key, record.timestamp), (Some(&b"k"[..]), 5));
    assert_eq!(record.headers.collect::<Vec<_>>(), headers);
    assert_eq!(batching.split(&first).unwrap(), None, "one record cannot be split");
}
