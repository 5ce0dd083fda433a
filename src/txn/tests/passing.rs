//! What time does: time-outs, expiry, reports (S59); and what is seen of a transaction from outside.

use std::sync::Arc;

use super::driver::*;
use crate::txn::transaction::LAST_EPOCH;
use crate::txn::*;
use crate::types::ErrorCode;

#[test]
fn s59_a_transaction_past_its_time_out_is_aborted_and_its_producer_fenced() {
    let mut shard = Shard::new();
    let producer = shard.ongoing();
    shard.advance(i64::from(TIMEOUT_MS) - 1);
    assert_eq!(shard.status(), Status::Ongoing);
    shard.advance(1);
    assert_eq!(shard.status(), Status::Prepare(Outcome::Abort));
    assert_eq!(shard.state().producer, raised(producer));
    let markers = shard.write_markers();
    assert!(markers.raises_epoch);
    assert_eq!(shard.end(producer, Outcome::Commit, false), Err(ErrorCode::ProducerFenced));
    assert_eq!(shard.end(producer, Outcome::Commit, true), Err(ErrorCode::InvalidTxnState));
    assert!(shard.effects.iter().any(|effect| matches!(effect, Effect::TimedOut { .. })));
    assert_eq!(shard.init(Some(producer)), Ok(raised(producer)), "KIP-360: it may go on");
}

#[test]
fn s59_time_outs_run_on_through_a_restart_and_no_clock_makes_them_longer() {
    for (jump_ms, left_ms) in [(0, 20_000), (5_000, 15_000), (-3_600_000, 30_000), (3_600_000, 0)] {
        let mut shard = Shard::new();
        shard.ongoing();
        shard.advance(10_000);
        shard.wall += jump_ms;
        shard.restart();
        if left_ms > 0 {
            shard.advance(left_ms - 1);
            assert_eq!(shard.status(), Status::Ongoing, "{jump_ms}");
        }
        shard.advance(1);
        assert_eq!(shard.status(), Status::Prepare(Outcome::Abort), "{jump_ms}");
    }
}

#[test]
fn s59_a_time_out_at_the_last_epoch_waits_for_a_fresh_id() {
    let mut shard = Shard::new();
    let last = Producer { id: 7, epoch: LAST_EPOCH };
    shard.put(ID, Transaction { producer: last, ..Transaction::first(7, TIMEOUT_MS, START) });
    shard.add(last, &[0], 2).unwrap();
    shard.advance(i64::from(TIMEOUT_MS));
    let wanted = Effect::WantProducerId { transactional_id: ID.into(), producer: last };
    assert_eq!(shard.effects, std::slice::from_ref(&wanted));
    shard.advance(1_000);
    assert_eq!(shard.effects, [wanted.clone(), wanted], "it is asked for again");
    let found = |fresh_id| Command::ProducerIdFound { transactional_id: ID.into(), producer: last, fresh_id };
    shard.post_internal(found(50));
    assert_eq!(shard.status(), Status::Prepare(Outcome::Abort));
    shard.post_internal(found(51));
    shard.write_markers();
    assert_eq!(shard.state().producer, Producer::fresh(50));
    shard.advance(10_000);
    assert_eq!(shard.status(), Status::Complete(Outcome::Abort));
}

#[test]
fn s59_an_id_that_nobody_uses_is_forgotten_and_one_with_a_transaction_is_not() {
    let mut shard = Shard::new();
    shard.world.settings.max_timeout_ms = i32::MAX;
    let request = |id: &str| {
        let timeout_ms = i32::MAX - 1;
        Command::Init(InitProducer {
            transactional_id: id.into(),
            timeout_ms,
            held: None,
            fresh_id: Some(1),
            client: Arc::default(),
        })
    };
    // More than one slice.
    for n in 0..1_500 {
        shard.ask(request(&format!("idle-{n}")));
    }
    shard.ask(request(ID));
    shard.add(Producer::fresh(1), &[0], 0).unwrap();
    let day_ms = 86_400_000;
    shard.advance(6 * day_ms);
    shard.ask(request("used"));
    shard.advance(day_ms + 2 * 3_600_000);
    let listed = shard.ask(Command::List(ListTransactions { longer_than_ms: -1, ..Default::default() }));
    let Reply::List(listed) = listed else { panic!("{listed:?}") };
    let ids: Vec<_> = listed.iter().map(|listed| &*listed.transactional_id).collect();
    assert_eq!(ids, [ID, "used"]);
    assert_eq!(listed[0].status, Status::Ongoing);
    shard.restart();
}

#[test]
fn a_transaction_that_holds_readers_back_is_reported_until_it_ends() {
    let mut shard = Shard::new();
    let request = InitProducer {
        transactional_id: ID.into(),
        timeout_ms: 900_000,
        held: None,
        fresh_id: Some(1),
        client: Arc::default(),
    };
    shard.ask(Command::Init(request));
    let producer = Producer::fresh(1);
    shard.add(producer, &[0], 2).unwrap();
    let reports = |shard: &Shard| {
        let reported = shard.effects.iter().filter_map(|effect| match effect {
            Effect::HeldBack { for_ms, .. } => Some(*for_ms),
            _ => None,
        });
        reported.collect::<Vec<_>>()
    };
    shard.advance(59_999);
    assert!(reports(&shard).is_empty());
    shard.advance(1);
    shard.advance(300_000);
    assert_eq!(reports(&shard), [60_000, 360_000]);
    shard.post_end(producer, Outcome::Commit, true);
    shard.advance(300_000);
    assert_eq!(reports(&shard).len(), 3, "markers that are not written hold them back as well");
    shard.write_markers();
    shard.advance(3_000_000);
    assert_eq!(reports(&shard).len(), 3);
}

#[test]
fn a_transaction_that_its_time_out_ends_within_the_minute_is_reported_only_if_that_end_takes_long() {
    let mut shard = Shard::new();
    let request = InitProducer {
        transactional_id: ID.into(),
        timeout_ms: 60_000,
        held: None,
        fresh_id: Some(1),
        client: Arc::default(),
    };
    shard.ask(Command::Init(request));
    shard.add(Producer::fresh(1), &[0], 2).unwrap();
    let is_reported =
        |shard: &Shard| shard.effects.iter().any(|effect| matches!(effect, Effect::HeldBack { .. }));
    shard.advance(60_000);
    assert!(shard.effects.iter().any(|effect| matches!(effect, Effect::TimedOut { .. })));
    shard.advance(9_999);
    assert!(!is_reported(&shard));
    shard.advance(1);
    assert!(is_reported(&shard));
}

#[test]
fn what_is_open_is_described_and_listed_by_filter() {
    let mut shard = Shard::new();
    assert_eq!(shard.ask(Command::Describe { transactional_id: ID.into() }), Reply::Describe(None));
    let producer = shard.ongoing();
    shard.advance(5_000);
    let Reply::Describe(Some(described)) = shard.ask(Command::Describe { transactional_id: ID.into() })
    else {
        panic!("it is known")
    };
    assert_eq!(
        (described.status, described.producer, described.started_at),
        (Status::Ongoing, producer, START)
    );
    assert_eq!((described.timeout_ms, described.partitions["t"].len()), (TIMEOUT_MS, 1));
    let mut count = |statuses: Option<Vec<Status>>, producer_ids: &[i64], longer_than_ms| {
        let filter = ListTransactions { statuses, producer_ids: producer_ids.to_vec(), longer_than_ms };
        let Reply::List(listed) = shard.ask(Command::List(filter)) else { panic!("a list") };
        listed.len()
    };
    assert_eq!(count(None, &[], -1), 1);
    assert_eq!(count(Some(vec![Status::Ongoing]), &[producer.id], 4_999), 1);
    assert_eq!(count(Some(vec![Status::Empty]), &[], -1), 0);
    assert_eq!(count(Some(Vec::new()), &[], -1), 0, "names that are no states");
    assert_eq!(count(None, &[producer.id + 1], -1), 0);
    assert_eq!(count(None, &[], 5_000), 0, "longer, not as long");
}
