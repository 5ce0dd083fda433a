//! Markers as they are written: everywhere before the end is answered, again where they could not be, and nowhere that
//! has nothing to end.

use std::fs;
use std::pin::pin;

use super::super::CONSUMER_OFFSETS;
use super::super::group_shards::partition_of;
use super::super::testing::*;
use super::*;
use crate::broker::at_once;
use crate::catalog::{self, TopicRef};
use crate::config::Fsync;
use crate::groups::{
    CommitPartition, CommitTopic, FetchOffsets, FetchTopic, TopicKey, TxnCommitReply, TxnOffsetCommit,
};
use crate::record::control::ControlType;
use crate::txn::{Producer, Reply, Status};

/// What the coordinator says of a transactional id.
async fn status(rig: &Rig, id: &str) -> Status {
    let shard = rig.broker.transaction_shard(id).await.unwrap();
    let command = Command::Describe { transactional_id: id.into() };
    let Reply::Describe(Some(described)) = shard.call(command).await else { panic!("{id} is not known") };
    described.status
}

/// The kinds of the markers in a partition.
async fn kinds(rig: &Rig, topic: &str, index: i32) -> Vec<ControlType> {
    markers(&*rig.partition(topic, index).await).into_iter().map(|marker| marker.kind).collect()
}

#[tokio::test]
async fn s58_the_end_is_visible_in_every_partition_when_it_is_answered() {
    let rig = Rig::start().await;
    rig.topic("t", 3).await;
    rig.topic("u", 1).await;
    let all = [("t", 0), ("t", 1), ("t", 2), ("u", 0)];
    for (outcome, kind) in [(Outcome::Commit, ControlType::Commit), (Outcome::Abort, ControlType::Abort)] {
        let id = format!("{outcome:?}");
        let producer = rig.open(&id, &all).await;
        for (topic, index) in all {
            let partition = rig.partition(topic, index).await;
            assert!(partition.last_stable_offset() < partition.high_watermark(), "it is open");
        }
        rig.broker.end_transaction(end(&id, producer, outcome)).await.unwrap();
        assert_eq!(status(&rig, &id).await, Status::Complete(outcome));
        for (topic, index) in all {
            let partition = rig.partition(topic, index).await;
            assert_eq!(partition.last_stable_offset(), partition.high_watermark(), "{topic}-{index}");
            assert_eq!(partition.reader().durable(), partition.reader().end(), "{topic}-{index}");
            assert_eq!(kinds(&rig, topic, index).await.last(), Some(&kind), "{topic}-{index}");
        }
    }
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_written_now_keeps_the_end_waiting_and_is_tried_until_it_can() {
    let rig = Rig::start().await;
    rig.topic("t", 2).await;
    let producer = rig.open("a", &[("t", 0)]).await;
    assert_eq!(rig.join("a", producer, &[("t", 1)], true).await, [Ok(())]);
    // Its directory's place is taken, and nobody has opened it yet.
    fs::write(rig.path("t-1"), b"").unwrap();
    let broker = Arc::clone(&rig.broker);
    let ending =
        tokio::spawn(async move { broker.end_transaction(end("a", producer, Outcome::Commit)).await });
    let partition = rig.partition("t", 0).await;
    until("the other partition is not kept waiting", || partition.last_stable_offset() == 2).await;
    tokio::time::sleep(RETRY_MIN * 5).await;
    assert!(!ending.is_finished(), "it is not visible everywhere");
    assert_eq!(status(&rig, "a").await, Status::Prepare(Outcome::Commit));
    let raised = Producer { epoch: producer.epoch + 1, ..producer };
    for add in [false, true] {
        let busy = rig.join("a", raised, &[("t", 0)], add).await;
        assert_eq!(busy, [Err(ErrorCode::ConcurrentTransactions)], "add: {add}");
    }
    fs::remove_file(rig.path("t-1")).unwrap();
    assert_eq!(ending.await.unwrap(), Ok(raised));
    assert_eq!(kinds(&rig, "t", 1).await, [ControlType::Commit]);
    assert_eq!(kinds(&rig, "t", 0).await, [ControlType::Commit], "what was written is not written again");
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_deleted_meanwhile_needs_no_marker() {
    let rig = Rig::start().await;
    rig.topic("t", 1).await;
    rig.topic("gone", 2).await;
    let producer = rig.open("a", &[("t", 0), ("gone", 0), ("gone", 1)]).await;
    let delete = catalog::Command::DeleteTopics(vec![TopicRef::Name("gone".to_owned())]);
    let catalog::Reply::Topics(deleted) = rig.broker.catalog().call(delete).await else { panic!("topics") };
    deleted[0].result.as_ref().unwrap();
    // A topic of that name is another one.
    rig.topic("gone", 1).await;
    rig.broker.end_transaction(end("a", producer, Outcome::Abort)).await.unwrap();
    assert_eq!(kinds(&rig, "t", 0).await, [ControlType::Abort]);
    assert_eq!(status(&rig, "a").await, Status::Complete(Outcome::Abort));
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn s57_where_a_higher_epoch_has_ended_it_the_coordinators_marker_is_not_missed() {
    let rig = Rig::start().await;
    rig.topic("t", 2).await;
    let producer = rig.open("a", &[("t", 0), ("t", 1)]).await;
    let operators = TransactionMarker {
        producer_id: producer.id,
        producer_epoch: producer.epoch + 5,
        coordinator_epoch: 0,
        commit: false,
        v2: false,
        is_own: false,
    };
    assert_eq!(rig.broker.write_markers(operators, &[("t".into(), 0)]).await, [Ok(())]);
    rig.broker.end_transaction(end("a", producer, Outcome::Commit)).await.unwrap();
    assert_eq!(kinds(&rig, "t", 0).await, [ControlType::Abort], "nothing was left to end");
    assert_eq!(kinds(&rig, "t", 1).await, [ControlType::Commit]);
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn s57_a_marker_written_twice_ends_nothing_twice() {
    let rig = Rig::start().await;
    rig.topic("t", 1).await;
    let producer = rig.open("a", &[("t", 0)]).await;
    let marker = TransactionMarker {
        producer_id: producer.id,
        producer_epoch: producer.epoch + 1,
        coordinator_epoch: 0,
        commit: true,
        v2: true,
        is_own: true,
    };
    let place = ("t".into(), 0);
    for _ in 0..2 {
        if let Some(appended) = append(&rig.broker, marker, &place).await.unwrap() {
            assert!(wait_visible(vec![(place.clone(), appended)]).await.is_empty());
        }
        let partition = rig.partition("t", 0).await;
        assert_eq!(partition.last_stable_offset(), partition.high_watermark());
        let producers = partition.describe_producers();
        assert_eq!(producers.len(), 1);
        assert_eq!((producers[0].epoch, producers[0].transaction_first_offset), (producer.epoch + 1, -1));
    }
    for nowhere in [("t".into(), 1), ("u".into(), 0)] {
        assert!(append(&rig.broker, marker, &nowhere).await.unwrap().is_none(), "{nowhere:?}");
    }
    rig.broker.stop().await.unwrap();
}

/// The offset of `t-0` that the group has, and whether it is certain.
async fn offset_of(rig: &Rig, group: &str) -> (i64, bool) {
    let shard = rig.broker.group_shard(group).await.unwrap();
    let ask = async |require_stable| {
        let topic = FetchTopic { topic: TopicKey::Name("t".into()), partitions: vec![0] };
        let fetch = FetchOffsets { group: group.into(), topics: Some(vec![topic]), require_stable };
        let reply = shard.call(groups::Command::Fetch(fetch)).await;
        reply.fetch().unwrap().topics[0].partitions[0].clone()
    };
    let (plain, stable) = (ask(false).await, ask(true).await);
    assert_eq!(plain.error, ErrorCode::None);
    assert!([ErrorCode::None, ErrorCode::UnstableOffsetCommit].contains(&stable.error), "{stable:?}");
    (plain.offset, stable.error == ErrorCode::None)
}

/// Commits an offset of `t-0` for a group within the producer's transaction.
async fn commit_offset(rig: &Rig, id: &str, producer: Producer, group: &str, offset: i64) {
    commit_offsets(rig, id, producer, (group, 1), offset).await;
}

/// Commits an offset of so many partitions of `t` for a group within the producer's transaction.
async fn commit_offsets(rig: &Rig, id: &str, producer: Producer, (group, many): (&str, i32), offset: i64) {
    let shard = rig.broker.group_shard(group).await.unwrap();
    let place = |partition| CommitPartition { partition, offset, leader_epoch: -1, metadata: None };
    let mut commit = TxnOffsetCommit {
        group: group.into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        guard: None,
        topics: vec![CommitTopic {
            topic: TopicKey::Name("t".into()),
            partitions: (0..many).map(place).collect(),
        }],
    };
    loop {
        let reply = shard.call(groups::Command::TxnOffsetCommit(commit.clone())).await;
        match reply.txn_offset_commit().unwrap() {
            TxnCommitReply::Done(reply) => {
                let partitions = &reply.topics[0].partitions;
                assert_eq!(partitions.len(), usize::try_from(many).unwrap());
                return assert!(partitions.iter().all(|one| one.1 == ErrorCode::None), "{partitions:?}");
            }
            TxnCommitReply::Unverified(guard) => {
                let joined = rig.join(id, producer, &[(CONSUMER_OFFSETS, index_of(rig, group))], true).await;
                assert_eq!(joined, [Ok(())]);
                commit.guard = Some(guard);
            }
        }
    }
}

fn index_of(rig: &Rig, group: &str) -> i32 {
    partition_of(group, rig.broker.image().topic(CONSUMER_OFFSETS).unwrap().partitions)
}

#[tokio::test]
async fn s58_s60_records_and_the_offsets_of_groups_end_together() {
    let rig = Rig::start().await;
    rig.topic("t", 1).await;
    for (round, outcome) in [(1, Outcome::Commit), (2, Outcome::Abort), (3, Outcome::Commit)] {
        let producer = rig.open("a", &[("t", 0)]).await;
        for group in ["g", "h"] {
            commit_offset(&rig, "a", producer, group, round).await;
            assert_eq!(offset_of(&rig, group).await, (if round == 1 { -1 } else { 1 }, false));
        }
        rig.broker.end_transaction(end("a", producer, outcome)).await.unwrap();
        for group in ["g", "h"] {
            assert_eq!(offset_of(&rig, group).await, (if round == 3 { 3 } else { 1 }, true), "{round}");
        }
    }
    rig.broker.stop().await.unwrap();
}

/// The syncs there are while each of these groups commits offsets of so many partitions, and while the
/// transaction, which has written to them all, ends.
async fn syncs(rig: &Rig, id: &str, many: i32, groups: &[&str]) -> (Vec<u64>, u64) {
    let places: Vec<(&str, i32)> = (0..many).map(|index| ("t", index)).collect();
    let producer = rig.open(id, &places).await;
    for group in groups {
        commit_offset(rig, id, producer, group, 1).await;
    }
    // What nobody waits for is synced within ten milliseconds.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let syncs = || rig.broker.committer().syncs();
    let mut before = syncs();
    let mut since = || {
        let now = syncs();
        now - std::mem::replace(&mut before, now)
    };
    let mut of_commits = Vec::new();
    for group in groups {
        commit_offsets(rig, id, producer, (group, many), 2).await;
        of_commits.push(since());
    }
    rig.broker.end_transaction(end(id, producer, Outcome::Commit)).await.unwrap();
    let of_end = since();
    for group in groups {
        assert_eq!(offset_of(rig, group).await, (2, true), "{group}");
    }
    (of_commits, of_end)
}

/// How often syncs are counted.
const TRIES: usize = 7;

#[tokio::test]
async fn an_end_costs_two_group_syncs_and_offsets_one_whatever_their_number() {
    let rig = Rig::start().await;
    rig.topic("t", 40).await;
    let groups = ["g", "h", "i", "j", "k", "l"];
    for (many, groups) in
        [(1, &groups[..1]), (8, &groups[..1]), (40, &groups[..1]), (1, &groups), (40, &groups)]
    {
        // On a slow machine what nobody waits for yet may be synced while the last one is written: mostly it is not.
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            seen.push(syncs(&rig, "a", many, groups).await);
        }
        let as_promised = seen.iter().filter(|seen| **seen == (vec![1; groups.len()], 2)).count();
        assert!(as_promised > TRIES / 2, "{many} partitions, {} groups: {seen:?}", groups.len());
    }
    let homes: std::collections::BTreeSet<i32> = groups.iter().map(|group| index_of(&rig, group)).collect();
    assert!(homes.len() > 3, "the groups have several coordinators: {homes:?}");
    rig.broker.stop().await.unwrap();
}

/// No other task has a part in it: on a busy machine each hop to one is a wait, and a wake-up of another core.
#[tokio::test]
async fn where_nobody_waits_for_the_disk_everything_is_answered_on_the_spot() {
    let rig = Rig::with(|config| config.fsync = Fsync::Never).await;
    rig.topic("t", 3).await;
    for outcome in [Outcome::Commit, Outcome::Abort, Outcome::Commit] {
        let producer = rig.open("a", &[("t", 0), ("t", 1)]).await;
        commit_offset(&rig, "a", producer, "g", 1).await;
        let add = at_once(pin!(rig.join("a", producer, &[("t", 2)], true)));
        assert_eq!(add, Some(vec![Ok(())]));
        rig.write(producer, "t", 2).await;
        let ask = at_once(pin!(rig.join("a", producer, &[("t", 2)], false)));
        assert_eq!(ask, Some(vec![Ok(())]));
        let next = at_once(pin!(rig.broker.end_transaction(end("a", producer, outcome))));
        assert!(matches!(next, Some(Ok(_))), "{next:?}");
        assert!(matches!(status(&rig, "a").await, Status::Complete(ended) if ended == outcome));
        assert!(offset_of(&rig, "g").await.1, "the group is not in doubt");
    }
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_coordinator_does_not_wait_for_a_partition_that_others_write_to() {
    let rig = Rig::with(|config| config.fsync = Fsync::Never).await;
    rig.topic("t", 1).await;
    let producer = rig.open("a", &[("t", 0)]).await;
    let partition = rig.partition("t", 0).await;
    let mut ending = Box::pin(rig.broker.end_transaction(end("a", producer, Outcome::Commit)));
    partition.hold_writer(|| {
        assert_eq!(at_once(ending.as_mut()), None, "its marker waits");
        let now = at_once(pin!(status(&rig, "a")));
        assert!(matches!(now, Some(Status::Prepare(Outcome::Commit))), "and the coordinator serves: {now:?}");
    });
    ending.await.unwrap();
    assert_eq!(kinds(&rig, "t", 0).await, [ControlType::Commit]);
    rig.broker.stop().await.unwrap();
}

#[tokio::test]
async fn an_operators_marker_ends_offsets_too_and_is_refused_where_there_is_no_partition() {
    let rig = Rig::start().await;
    rig.topic("t", 1).await;
    let producer = rig.open("a", &[("t", 0)]).await;
    commit_offset(&rig, "a", producer, "g", 7).await;
    assert_eq!(offset_of(&rig, "g").await, (-1, false));
    let marker = TransactionMarker {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        coordinator_epoch: 0,
        commit: true,
        v2: false,
        is_own: false,
    };
    let place = |topic: &str, index| (topic.into(), index);
    let offsets = rig.broker.image().topic(CONSUMER_OFFSETS).unwrap().partitions;
    let places = [
        place(CONSUMER_OFFSETS, offsets),
        place("t", 1),
        place(CONSUMER_OFFSETS, index_of(&rig, "g")),
        place("nowhere", 0),
        place(CONSUMER_OFFSETS, -1),
        place("t", 0),
    ];
    let unknown = Err(ErrorCode::UnknownTopicOrPartition);
    let outcomes = rig.broker.write_markers(marker, &places).await;
    assert_eq!(outcomes, [unknown, unknown, Ok(()), unknown, unknown, Ok(())]);
    assert_eq!(offset_of(&rig, "g").await, (7, true));
    let partition = rig.partition("t", 0).await;
    assert_eq!(partition.last_stable_offset(), partition.high_watermark());
    rig.broker.stop().await.unwrap();
}
