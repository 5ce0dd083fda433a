//! Fetch sessions: S24 to S26.

use super::*;
use crate::api::data::fetch_request::{ForgottenTopic, Topic};

const NAME: StrBytes = StrBytes::from_static_str("t");

fn partition(index: i32, fetch_offset: i64) -> Partition {
    Partition { index, current_leader_epoch: -1, fetch_offset, last_fetched_epoch: -1, max_bytes: 1 << 20 }
}

fn request(session_id: i32, session_epoch: i32, partitions: &[Partition]) -> Request {
    let topics = match partitions {
        [] => Vec::new(),
        _ => vec![Topic { name: NAME, id: TopicId::ZERO, partitions: partitions.to_vec() }],
    };
    Request {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: i32::MAX,
        isolation_level: 0,
        session_id,
        session_epoch,
        topics,
        forgotten: Vec::new(),
        rack_id: StrBytes::new(),
    }
}

fn key(index: i32) -> Key {
    Key { name: NAME, id: TopicId::ZERO, index }
}

fn answer(index: i32, high_watermark: i64, records_len: usize) -> FetchedPartition<()> {
    let mut answer = FetchedPartition::refused(index, ErrorCode::None);
    (answer.high_watermark, answer.log_start_offset, answer.records_len) = (high_watermark, 0, records_len);
    answer
}

fn sessions(slots: usize) -> (FetchSessions, Clock) {
    let clock = Clock::manual(0);
    (FetchSessions::new(slots, clock.clone()), clock)
}

fn open(sessions: &FetchSessions, partitions: &[Partition]) -> (Arc<Mutex<FetchSession>>, i32) {
    match sessions.enter(&request(0, 0, partitions), false) {
        Ok((FetchContext::Session { session, id, full: true }, _)) => (session, id),
        other => panic!("no session: {other:?}"),
    }
}

fn indexes(entered: Result<(FetchContext, Vec<Wanted>), ErrorCode>) -> Vec<(i32, i64)> {
    entered.unwrap().1.iter().map(|w| (w.key.index, w.partition.fetch_offset)).collect()
}

#[test]
fn s24_without_a_session_everything_is_named_each_time() {
    let (sessions, _) = sessions(10);
    let (context, wanted) = sessions.enter(&request(0, -1, &[partition(0, 5)]), false).unwrap();
    assert!(matches!(context, FetchContext::Sessionless));
    assert_eq!(wanted.len(), 1);
}

#[test]
fn s25_an_incremental_request_changes_adds_and_forgets() {
    let (sessions, _) = sessions(10);
    let (_, id) = open(&sessions, &[partition(0, 0), partition(1, 0)]);
    assert_eq!(indexes(sessions.enter(&request(id, 1, &[partition(1, 7)]), false)), [(0, 0), (1, 7)]);
    let mut third = request(id, 2, &[partition(2, 0)]);
    third.forgotten = vec![ForgottenTopic { name: NAME, id: TopicId::ZERO, partitions: vec![0] }];
    assert_eq!(indexes(sessions.enter(&third, false)), [(1, 7), (2, 0)]);
}

#[test]
fn s25_wrong_ids_epochs_and_forms_are_refused() {
    let (sessions, _) = sessions(10);
    let (_, id) = open(&sessions, &[partition(0, 0)]);
    let refused = |request: &Request, by_id| sessions.enter(request, by_id).map(|_| ()).unwrap_err();
    assert_eq!(refused(&request(id ^ 1, 1, &[]), false), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(refused(&request(id, 2, &[]), false), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(refused(&request(id, 1, &[]), true), ErrorCode::FetchSessionTopicIdError);
    assert_eq!(indexes(sessions.enter(&request(id, 1, &[]), false)), [(0, 0)]);
}

#[test]
fn s25_a_session_whose_last_partition_is_forgotten_ends() {
    let (sessions, _) = sessions(10);
    let (_, id) = open(&sessions, &[partition(0, 0)]);
    let mut last = request(id, 1, &[]);
    last.forgotten = vec![ForgottenTopic { name: NAME, id: TopicId::ZERO, partitions: vec![0] }];
    assert!(
        matches!(sessions.enter(&last, false), Ok((FetchContext::Sessionless, wanted)) if wanted.is_empty())
    );
    assert!(sessions.enter(&request(id, 2, &[]), false).is_err());
}

#[test]
fn s26_only_what_changed_is_shown_and_data_moves_a_partition_to_the_end() {
    let (sessions, _) = sessions(10);
    let (session, id) = open(&sessions, &[partition(0, 0), partition(1, 0)]);
    let mut notes = session.lock();
    assert!(notes.note(&key(0), &answer(0, 5, 0), None), "the first watermark is news");
    assert!(!notes.note(&key(0), &answer(0, 5, 0), None));
    assert!(notes.note(&key(0), &answer(0, 6, 0), None));
    assert!(notes.note(&key(0), &answer(0, 6, 100), None), "records are always shown");
    let failed: FetchedPartition<()> = FetchedPartition::refused(1, ErrorCode::KafkaStorageError);
    assert!(notes.note(&key(1), &failed, None));
    assert!(notes.note(&key(1), &answer(1, -1, 0), None) || notes.note(&key(1), &answer(1, 0, 0), None));
    drop(notes);
    assert_eq!(indexes(sessions.enter(&request(id, 1, &[]), false)), [(1, 0), (0, 0)]);
}

#[test]
fn s24_a_full_cache_gives_way_to_larger_or_after_two_minutes() {
    let (sessions, clock) = sessions(1);
    let (_, first) = open(&sessions, &[partition(0, 0)]);
    let enter = |partitions: &[Partition]| sessions.enter(&request(0, 0, partitions), false).unwrap().0;
    assert!(matches!(enter(&[partition(1, 0)]), FetchContext::Sessionless), "no room, not larger");
    clock.advance(EVICT_AFTER);
    assert!(matches!(enter(&[partition(1, 0)]), FetchContext::Session { .. }));
    assert!(sessions.enter(&request(first, 1, &[]), false).is_err(), "the idle one is gone");
    assert!(matches!(enter(&[partition(1, 0), partition(2, 0)]), FetchContext::Session { .. }));
}

/// What a bounded cache holds.
fn held(sessions: &FetchSessions) -> (usize, usize) {
    let cache = sessions.cache.lock();
    assert_eq!(cache.entries, cache.slots.values().map(|slot| slot.partitions).sum::<usize>());
    let lens = cache.slots.values().map(|slot| slot.session.lock().entries.len());
    assert_eq!(cache.entries, lens.sum::<usize>());
    (cache.slots.len(), cache.entries)
}

#[test]
fn all_sessions_together_remember_a_bounded_number_of_partitions() {
    let clock = Clock::manual(0);
    let sessions = FetchSessions::bounded(10, 5, clock.clone());
    let partitions: Vec<_> = (0..6).map(|index| partition(index, 0)).collect();
    let enter = |partitions| sessions.enter(&request(0, 0, partitions), false).unwrap();
    let (_, first) = open(&sessions, &partitions[..3]);
    let (context, wanted) = enter(&partitions[..3]);
    assert!(matches!(context, FetchContext::Sessionless), "six do not fit");
    assert_eq!(wanted.len(), 3, "it is served all the same");
    let (_, second) = open(&sessions, &partitions[..2]);
    assert_eq!(held(&sessions), (2, 5));
    let grown = sessions.enter(&request(second, 1, &partitions[2..3]), false).map(drop);
    assert_eq!(grown, Err(ErrorCode::FetchSessionIdNotFound), "one that outgrows the bound ends");
    assert_eq!(held(&sessions), (1, 3));
    clock.advance(EVICT_AFTER);
    assert!(matches!(enter(&partitions).0, FetchContext::Sessionless), "more than fit at all");
    assert_eq!(held(&sessions), (1, 3), "and nobody had to go for it");
    open(&sessions, &partitions[..5]);
    assert_eq!(held(&sessions), (1, 5), "the idle one made room");
    assert!(sessions.enter(&request(first, 1, &[]), false).is_err());
}

#[test]
fn a_session_that_shrinks_or_ends_gives_its_room_back() {
    let sessions = FetchSessions::bounded(10, 5, Clock::manual(0));
    let partitions: Vec<_> = (0..5).map(|index| partition(index, 0)).collect();
    let (_, id) = open(&sessions, &partitions);
    let mut fewer = request(id, 1, &[]);
    fewer.forgotten = vec![ForgottenTopic { name: NAME, id: TopicId::ZERO, partitions: vec![0, 1] }];
    assert_eq!(indexes(sessions.enter(&fewer, false)).len(), 3);
    assert_eq!(held(&sessions), (1, 3));
    sessions.enter(&request(id, FINAL_EPOCH, &[]), false).unwrap();
    assert_eq!(held(&sessions), (0, 0));
}

#[test]
fn a_name_is_kept_once_for_all_partitions_of_its_topic_and_not_with_the_frame() {
    let (sessions, _) = sessions(10);
    let request = request(0, 0, &[partition(0, 0), partition(1, 0)]);
    let (context, wanted) = sessions.enter(&request, false).unwrap();
    let in_frame = request.topics[0].name.as_ptr();
    assert!(wanted.iter().all(|wanted| wanted.key.name.as_ptr() == in_frame), "no copies for one answer");
    let FetchContext::Session { session, .. } = context else { panic!("no session") };
    let session = session.lock();
    let kept: Vec<_> =
        session.entries.keys().chain(session.order.values()).map(|key| key.name.as_ptr()).collect();
    assert!(kept.iter().all(|name| *name == kept[0] && *name != in_frame), "{kept:?}");
}

#[test]
fn what_is_too_long_for_a_topic_is_answered_and_not_remembered() {
    let (sessions, _) = sessions(10);
    let mut long = request(0, 0, &[partition(0, 0)]);
    long.topics[0].name = StrBytes::from_string("n".repeat(250));
    let (context, wanted) = sessions.enter(&long, false).unwrap();
    assert!(matches!(context, FetchContext::Sessionless));
    assert_eq!(wanted.len(), 1);
    let (_, id) = open(&sessions, &[partition(0, 0)]);
    (long.session_id, long.session_epoch) = (id, 1);
    assert_eq!(sessions.enter(&long, false).map(drop), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(held(&sessions), (0, 0));
}
