//! Consumer groups: rebalances between several consumers, static members, commit and resume.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use crate::clients::{PATIENCE, consumer, create, poll, producer, send, value};
use crate::support::Broker;

const EARLIEST: (&str, &str) = ("auto.offset.reset", "earliest");
const MANUAL: (&str, &str) = ("enable.auto.commit", "false");

/// Polls all consumers until their assignments have these sizes; returns the records that came meanwhile.
fn settle(consumers: &[&BaseConsumer], sizes: &[usize]) -> usize {
    let began = Instant::now();
    let mut records = 0;
    loop {
        for consumer in consumers {
            if let Some(message) = consumer.poll(Duration::from_millis(20)) {
                message.expect("no error while polling");
                records += 1;
            }
        }
        let mut now: Vec<usize> =
            consumers.iter().map(|consumer| consumer.assignment().unwrap().count()).collect();
        now.sort_unstable();
        if now == sizes {
            return records;
        }
        assert!(began.elapsed() < PATIENCE, "assignments are {now:?}, not {sizes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_resumes_where_it_committed() {
    let broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let producer = producer(&broker, &[]);
    for n in 0..10 {
        send(&producer, "t", 0, "k", &n.to_string()).await;
    }
    let group = [("group.id", "g"), EARLIEST, MANUAL];
    {
        let first = consumer(&broker, &group);
        first.subscribe(&["t"]).unwrap();
        let records = poll(&first, 4);
        assert_eq!(value(&records[3]), "3");
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset("t", 0, rdkafka::Offset::Offset(4)).unwrap();
        first.commit(&list, CommitMode::Sync).unwrap();
    }
    let second = consumer(&broker, &group);
    second.subscribe(&["t"]).unwrap();
    assert_eq!(value(&poll(&second, 1)[0]), "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_shared_out_as_members_come_and_go() {
    let broker = Broker::start();
    create(&broker, "t", 4, &[]).await;
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let group = format!("g-{strategy}");
        let settings = [
            ("group.id", &*group),
            EARLIEST,
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "6000"),
        ];
        let one = consumer(&broker, &settings);
        one.subscribe(&["t"]).unwrap();
        settle(&[&one], &[4]);
        let two = consumer(&broker, &settings);
        two.subscribe(&["t"]).unwrap();
        settle(&[&one, &two], &[2, 2]);
        let three = consumer(&broker, &settings);
        three.subscribe(&["t"]).unwrap();
        settle(&[&one, &two, &three], &[1, 1, 2]);
        drop(two);
        settle(&[&one, &three], &[2, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_goes_to_one_member() {
    let broker = Broker::start();
    create(&broker, "t", 3, &[]).await;
    let producer = producer(&broker, &[]);
    let settings = [("group.id", "g"), EARLIEST];
    let members: Vec<_> = (0..3).map(|_| consumer(&broker, &settings)).collect();
    for member in &members {
        member.subscribe(&["t"]).unwrap();
    }
    settle(&members.iter().collect::<Vec<_>>(), &[1, 1, 1]);
    for n in 0..90 {
        send(&producer, "t", n % 3, "k", &n.to_string()).await;
    }
    let mut seen = HashSet::new();
    for member in &members {
        for record in poll(member, 30) {
            assert!(seen.insert(value(&record).to_owned()), "{} came twice", value(&record));
        }
    }
    assert_eq!(seen.len(), 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn s68_a_static_member_comes_back_without_a_rebalance() {
    let broker = Broker::start();
    create(&broker, "t", 2, &[]).await;
    let member = |id: &str| {
        let member = consumer(
            &broker,
            &[("group.id", "g"), ("group.instance.id", id), EARLIEST, ("session.timeout.ms", "30000")],
        );
        member.subscribe(&["t"]).unwrap();
        member
    };
    let (one, two) = (member("one"), member("two"));
    settle(&[&one, &two], &[1, 1]);
    let mine = two.assignment().unwrap();
    let generations = broker.log().matches("group is stable").count();
    // The old process is still there, as after a network partition: it is fenced when the new one joins.
    let again = member("two");
    settle(&[&one, &again], &[1, 1]);
    std::mem::forget(two);
    assert_eq!(again.assignment().unwrap(), mine, "the partition stayed with its member");
    assert_eq!(broker.log().matches("group is stable").count(), generations, "no rebalance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_is_replaced_after_its_session() {
    let broker = Broker::start();
    create(&broker, "t", 2, &[]).await;
    let settings =
        [("group.id", "g"), EARLIEST, ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];
    let stays = consumer(&broker, &settings);
    stays.subscribe(&["t"]).unwrap();
    let mut dies = std::process::Command::new(env!("CARGO_BIN_EXE_streamd"))
        .args(["consume", "t", "-g", "g", "-b", broker.address()])
        .env_clear()
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a second member");
    settle(&[&stays], &[1]);
    dies.kill().unwrap();
    dies.wait().unwrap();
    settle(&[&stays], &[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s73_s74_offsets_survive_a_restart_and_a_kill() {
    let mut broker = Broker::start();
    create(&broker, "t", 1, &[]).await;
    let settings = [("group.id", "g"), EARLIEST, MANUAL];
    for (round, crash) in [(1, false), (2, true), (3, false)] {
        let member = consumer(&broker, &settings);
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset("t", 0, rdkafka::Offset::Offset(round)).unwrap();
        member.commit(&list, CommitMode::Sync).unwrap();
        drop(member);
        if crash {
            broker.kill();
            broker.up();
        } else {
            broker.restart();
        }
        let member = consumer(&broker, &settings);
        let mut asked = rdkafka::TopicPartitionList::new();
        asked.add_partition("t", 0);
        let committed = member.committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(committed.find_partition("t", 0).unwrap().offset(), rdkafka::Offset::Offset(round));
        assert_eq!(committed.find_partition("t", 0).unwrap().topic(), "t");
    }
}
