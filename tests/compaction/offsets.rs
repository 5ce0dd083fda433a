//! Committed offsets live in a compacted topic, and the same cleaner keeps it small.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::Broker;
use crate::updates::Updates;
use crate::{EAGER, PATIENCE, config, create};

#[tokio::test(flavor = "multi_thread")]
async fn the_offsets_topic_is_compacted_and_commits_stay() {
    let settings = format!(
        "{EAGER}\"offsets.topic.num.partitions\" = 1\n\"offsets.topic.segment.bytes\" = 50000\n\
         \"log.cleaner.min.cleanable.ratio\" = 0.1\n"
    );
    let mut broker = Broker::with(&settings);
    create(&broker, "t", &[]).await;
    let mut updates = Updates::new(&broker, "t", 100, 5_000, "none");
    updates.send(5_000);
    updates.wait();
    let consumers: Vec<BaseConsumer> = (0..4)
        .map(|n| config(&broker).set("group.id", format!("group-{n}")).create().expect("a consumer"))
        .collect();
    for offset in 0..600 {
        for (n, consumer) in (0..).zip(&consumers) {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, Offset::Offset(offset + n)).expect("an offset");
            consumer.commit(&list, CommitMode::Sync).expect("a commit");
        }
    }
    let committed = |broker: &Broker, n: i64| {
        let consumer: BaseConsumer =
            config(broker).set("group.id", format!("group-{n}")).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        let found = consumer.committed_offsets(list, PATIENCE).expect("an answer");
        found.elements()[0].offset()
    };
    let log = broker.wait_for_log("__consumer_offsets\",\"partition\":0,\"dirty_from");
    assert!(log.contains("compacted"), "{log}");
    for n in 0..4 {
        assert_eq!(committed(&broker, n), Offset::Offset(599 + n));
    }
    for how in ["stop", "kill"] {
        if how == "stop" {
            broker.stop()
        } else {
            broker.kill()
        }
        broker.up();
        for n in 0..4 {
            assert_eq!(committed(&broker, n), Offset::Offset(599 + n), "after a {how}");
        }
    }
}
