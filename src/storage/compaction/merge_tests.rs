//! What becomes of one batch, rule by rule.

use super::*;
use crate::record::control::{ControlType, Marker, build_marker};
use crate::record::{BatchBuilder, NewRecord, stamp};
use crate::storage::txn_index::AbortedTransaction;
use crate::types::time::NO_TIMESTAMP;

const NOW: Timestamp = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

type Pair<'a> = (Option<&'a str>, Option<&'a str>);

fn builder(base: i64, records: &[Pair<'_>], with: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Vec<u8> {
    let mut builder = with(BatchBuilder::new().base_offset(base));
    for (key, value) in records {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        builder.push(&NewRecord { timestamp: NOW - HOUR, key, value, headers: &[] });
    }
    builder.build().unwrap().to_vec()
}

fn batch(base: i64, records: &[Pair<'_>]) -> Vec<u8> {
    builder(base, records, |builder| builder)
}

struct Scene {
    map: OffsetMap,
    producers: ActiveProducers,
    end: i64,
    now: Timestamp,
    is_tight: bool,
    transactions: Transactions,
}

impl Scene {
    /// A dirty part in which these keys were last seen at these offsets.
    fn new(keys: &[(&str, i64)]) -> Self {
        let mut map = OffsetMap::new(0, 0.5, 100, [3, 4]);
        for (key, offset) in keys {
            assert!(map.put(key.as_bytes(), *offset));
        }
        let transactions = Transactions::default();
        Self {
            map,
            producers: ActiveProducers::new(),
            end: i64::MAX,
            now: NOW,
            is_tight: false,
            transactions,
        }
    }

    fn judge_as(&mut self, bytes: &[u8], is_last: bool) -> Judged {
        let rules = Rules {
            map: &self.map,
            end: self.end,
            now: self.now,
            delete_retention_ms: 24 * HOUR,
            compression: None,
            producers: &self.producers,
            records_bytes_max: 1 << 20,
        };
        let standing = Standing { frame_stays: is_last, is_tight: self.is_tight };
        rules.judge(&BatchView::parse(bytes).unwrap(), standing, &mut self.transactions).unwrap()
    }

    fn judge(&mut self, bytes: &[u8]) -> Fate {
        self.judge_as(bytes, false).fate
    }
}

fn becomes(fate: Fate) -> Vec<u8> {
    let Fate::Becomes(bytes) = fate else { panic!("{fate:?}") };
    bytes
}

/// Offsets, keys and values of a batch's records.
fn records(bytes: &[u8]) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = BatchView::parse(bytes).unwrap().records(1 << 20).unwrap();
    let each = records.iter().map(|record| record.unwrap());
    each.map(|r| (r.offset, text(r.key.unwrap_or_default()), r.value.map(text))).collect()
}

fn header(bytes: &[u8]) -> BatchHeader {
    BatchHeader::parse(bytes).unwrap()
}

#[test]
fn of_each_key_the_last_record_stays() {
    let mut scene = Scene::new(&[("a", 12), ("b", 11), ("c", 5)]);
    let bytes = batch(10, &[(Some("a"), Some("1")), (Some("b"), Some("2")), (Some("a"), Some("3"))]);
    let judged = scene.judge_as(&bytes, false);
    assert_eq!((judged.before, judged.after), (3, 2));
    let left = becomes(judged.fate);
    let own = |text: &str| Some(text.to_owned());
    assert_eq!(records(&left), [(11, "b".to_owned(), own("2")), (12, "a".to_owned(), own("3"))]);
    assert_eq!((header(&left).base_offset, header(&left).last_offset()), (10, 12));
    // A key of which the dirty part knows nothing, and one that it knows an older record of.
    let untouched = batch(10, &[(Some("x"), Some("1")), (Some("c"), Some("2"))]);
    assert_eq!(scene.judge(&untouched), Fate::Stays);
    assert_eq!(scene.judge(&batch(1, &[(Some("a"), Some("1"))])), Fate::Goes);
}

#[test]
fn s94_records_without_a_key_go() {
    let mut scene = Scene::new(&[]);
    let bytes = batch(0, &[(None, Some("1")), (Some("k"), Some("2"))]);
    assert_eq!(records(&becomes(scene.judge(&bytes))).len(), 1);
    assert_eq!(scene.judge(&batch(0, &[(None, Some("1"))])), Fate::Goes);
}

#[test]
fn past_the_map_everything_stays_as_it_is() {
    let mut scene = Scene::new(&[("a", 11)]);
    scene.end = 12;
    let bytes =
        batch(10, &[(Some("a"), Some("1")), (Some("a"), Some("2")), (Some("a"), None), (None, Some("3"))]);
    let left = becomes(scene.judge(&bytes));
    assert_eq!(records(&left).iter().map(|record| record.0).collect::<Vec<_>>(), [11, 12, 13]);
    assert!(!header(&left).attributes.has_delete_horizon(), "the tombstone was not cleaned yet");
    assert_eq!(scene.judge(&batch(12, &[(None, Some("1")), (Some("a"), None)])), Fate::Stays);
}

#[test]
fn s94_a_tombstone_stays_until_its_horizon_has_passed() {
    let mut scene = Scene::new(&[("a", 10), ("b", 11)]);
    let bytes = batch(10, &[(Some("a"), None), (Some("b"), Some("1"))]);
    let marked = becomes(scene.judge(&bytes));
    assert_eq!(records(&marked).len(), 2);
    let front = header(&marked);
    assert!(front.attributes.has_delete_horizon());
    assert_eq!((front.base_timestamp, front.max_timestamp), (NOW + 24 * HOUR, NOW - HOUR));

    let mut later = Scene::new(&[]);
    later.now = NOW + 24 * HOUR - 1;
    assert_eq!(later.judge(&marked), Fate::Stays, "the horizon is set once");
    later.now += 1;
    let left = becomes(later.judge(&marked));
    assert_eq!(records(&left), [(11, "b".to_owned(), Some("1".to_owned()))]);
    assert_eq!(header(&left).base_timestamp, NOW + 24 * HOUR);
    let kept = BatchView::parse(&left).unwrap().records(1 << 20).unwrap();
    assert_eq!(kept.iter().next().unwrap().unwrap().timestamp, NOW - HOUR);
    // A tombstone that a later record has overtaken goes at once.
    assert_eq!(Scene::new(&[("a", 99)]).judge(&batch(10, &[(Some("a"), None)])), Fate::Goes);
}

#[test]
fn a_horizon_waits_where_a_segment_can_hold_no_more() {
    let mut scene = Scene::new(&[("a", 10), ("b", 99)]);
    scene.is_tight = true;
    assert_eq!(scene.judge(&batch(10, &[(Some("a"), None)])), Fate::Stays);
    let bytes = batch(10, &[(Some("a"), None), (Some("b"), Some("1"))]);
    let left = becomes(scene.judge(&bytes));
    assert!(left.len() < bytes.len() && !header(&left).attributes.has_delete_horizon());
    assert_eq!(scene.judge(&marker(7, 11)), Fate::Stays);
    scene.is_tight = false;
    let marked = becomes(scene.judge(&left));
    assert!(marked.len() > left.len() && header(&marked).attributes.has_delete_horizon());
}

#[test]
fn s93_the_last_batch_of_a_producer_stays_without_its_records() {
    let with = |builder: BatchBuilder| builder.producer(7, 3, 40);
    let bytes = builder(10, &[(Some("a"), Some("1")), (Some("a"), Some("2"))], with);
    let mut scene = Scene::new(&[("a", 99)]);
    assert_eq!(scene.judge(&bytes), Fate::Goes, "the producer has expired");
    scene.producers.insert(7, LastOfProducer { epoch: 3, last_offset: Some(11) });
    let judged = scene.judge_as(&bytes, false);
    assert_eq!((judged.before, judged.after), (2, 0));
    let left = becomes(judged.fate);
    let front = header(&left);
    assert_eq!((front.records_count, front.last_offset(), front.last_sequence()), (0, 11, 41));
    assert_eq!((front.producer_id, front.producer_epoch, front.max_timestamp), (7, 3, NOW - HOUR));
    assert_eq!(scene.judge(&left), Fate::Stays, "it is not written anew each time");
    scene.producers.insert(7, LastOfProducer { epoch: 3, last_offset: Some(50) });
    assert_eq!(scene.judge(&left), Fate::Goes, "the producer is remembered by a later batch");
}

#[test]
fn the_last_batch_of_what_is_covered_stays_without_its_records() {
    let bytes = batch(10, &[(Some("a"), Some("1"))]);
    let left = becomes(Scene::new(&[("a", 99)]).judge_as(&bytes, true).fate);
    assert_eq!((header(&left).records_count, header(&left).last_offset()), (0, 10));
    assert_eq!(Scene::new(&[]).judge_as(&left, true).fate, Fate::Stays);
    assert_eq!(Scene::new(&[]).judge_as(&left, false).fate, Fate::Goes, "no longer the last");
}

fn marker(producer: i64, offset: i64) -> Vec<u8> {
    let marker = Marker { kind: ControlType::Commit, coordinator_epoch: 0 };
    let mut bytes = build_marker(marker, producer, 2, NOW - HOUR).unwrap().to_vec();
    stamp(&mut bytes, offset, 0);
    bytes
}

#[test]
fn s94_a_marker_goes_when_nothing_is_left_to_mark_and_its_horizon_has_passed() {
    let with = |builder: BatchBuilder| builder.producer(7, 2, 0).transactional(true);
    let data = builder(10, &[(Some("a"), Some("1"))], with);
    let mut scene = Scene::new(&[("a", 99)]);
    assert_eq!(scene.judge(&data), Fate::Goes);
    assert_eq!(scene.judge(&marker(7, 11)), Fate::Stays, "its data was there a moment ago");

    let mut next = Scene::new(&[]);
    let marked = becomes(next.judge(&marker(7, 11)));
    assert_eq!(header(&marked).base_timestamp, NOW + 24 * HOUR);
    assert!(header(&marked).attributes.has_delete_horizon() && header(&marked).attributes.is_control());
    let read = crate::record::control::read_marker(&BatchView::parse(&marked).unwrap()).unwrap().unwrap();
    assert_eq!(read.kind, ControlType::Commit);
    assert_eq!(next.judge(&marked), Fate::Stays);
    next.now = NOW + 24 * HOUR;
    assert_eq!(next.judge(&marked), Fate::Goes);
    // What a producer is fenced by stays, without its record.
    next.producers.insert(7, LastOfProducer { epoch: 2, last_offset: None });
    let left = becomes(next.judge(&marked));
    assert_eq!((header(&left).records_count, header(&left).producer_epoch), (0, 2));
    assert_eq!(next.judge(&left), Fate::Stays);
    next.producers.insert(7, LastOfProducer { epoch: 3, last_offset: None });
    assert_eq!(next.judge(&left), Fate::Goes);
}

#[test]
fn s94_data_of_aborted_transactions_goes() {
    let with = |builder: BatchBuilder| builder.producer(7, 2, 0).transactional(true);
    let data = builder(10, &[(Some("a"), Some("1"))], with);
    let mut scene = Scene::new(&[]);
    assert_eq!(scene.judge(&data), Fate::Stays);
    let aborted =
        [AbortedTransaction { producer_id: 7, first_offset: 10, last_offset: 20, last_stable_offset: 21 }];
    scene.transactions = Transactions::new(&aborted);
    assert_eq!(scene.judge(&data), Fate::Goes);
}

#[test]
fn a_batch_keeps_its_codec_and_takes_the_topics_level() {
    let zstd = Compression { codec: Codec::Zstd, level: 19 };
    let bytes = builder(10, &[(Some("a"), Some("1")), (Some("b"), Some("2"))], |b| b.compression(zstd));
    let left = becomes(Scene::new(&[("a", 99)]).judge(&bytes));
    assert_eq!(header(&left).attributes.codec(), Some(Codec::Zstd));
    assert_eq!(records(&left).len(), 1);
}

#[test]
fn records_that_cannot_be_are_an_error() {
    let good = batch(10, &[(Some("a"), Some("1")), (Some("b"), Some("2"))]);
    let mut short = header(&good);
    short.last_offset_delta = 0;
    let mut bytes = good.clone();
    bytes[..61].copy_from_slice(&short.encode());
    crate::record::seal(&mut bytes);
    let scene = Scene::new(&[]);
    let rules = Rules {
        map: &scene.map,
        end: i64::MAX,
        now: NO_TIMESTAMP,
        delete_retention_ms: 0,
        compression: None,
        producers: &scene.producers,
        records_bytes_max: 1 << 20,
    };
    assert!(
        rules
            .judge(&BatchView::parse(&good).unwrap(), Standing::default(), &mut Transactions::default())
            .is_ok()
    );
    assert!(
        rules
            .judge(&BatchView::parse(&bytes).unwrap(), Standing::default(), &mut Transactions::default())
            .is_err()
    );
}

#[test]
fn whatever_may_be_let_in_can_be_judged_within_bounds() {
    let of = |max_message_bytes| {
        records_bytes_max(&TopicSettings { max_message_bytes, ..TopicSettings::default() })
    };
    assert_eq!((of(1 << 10), of(1 << 20)), (256 << 20, 256 << 20));
    let large = TopicSettings { max_message_bytes: 4 << 20, ..TopicSettings::default() };
    assert_eq!(of(4 << 20), inflated_bytes_max(&large));
    assert_eq!(of(i32::MAX), 1 << 30);
    let zstd = Compression { codec: Codec::Zstd, level: 3 };
    let value = "x".repeat(2 << 20);
    let bytes = builder(0, &[(Some("a"), Some(&value))], |b| b.compression(zstd));
    let error = BatchView::parse(&bytes).unwrap().records(1 << 20).unwrap_err();
    assert!(unreadable(&error).contains("more memory"), "{error}");
}
