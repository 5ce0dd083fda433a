//! Many topics deleted at once.

use std::time::Duration;

use super::*;
use crate::broker::{Broker, random};
use crate::catalog::{NewTopic, Reply, TopicRef};
use crate::config::Config;
use crate::types::Clock;

#[tokio::test]
async fn one_request_may_delete_any_number_of_topics_and_all_their_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.data_dir = dir.path().to_path_buf();
    let broker = Broker::start(config, Clock::system()).await.unwrap();
    let name = |n: usize| format!("t{n:04}");
    let topics = (0..TOPICS)
        .map(|n| NewTopic { partitions: 1, ..NewTopic::with_defaults(name(n), random::topic_id()) });
    let create = Command::CreateTopics { topics: topics.collect(), validate_only: false };
    let Reply::Topics(_) = broker.catalog().call(create).await else { panic!("no topics") };
    for n in [0, TOPICS / 2, TOPICS - 1] {
        let topic = Arc::clone(broker.image().topic(&name(n)).unwrap());
        broker.partition(&topic, 0).await.unwrap().reserve(1).unwrap();
    }
    let dirs = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('t'))
    };
    assert_eq!(dirs().count(), 3);

    let refs = (0..TOPICS).map(|n| TopicRef::Name(name(n))).collect();
    let Reply::Topics(gone) = broker.catalog().call(Command::DeleteTopics(refs)).await else {
        panic!("no topics")
    };
    assert!(gone.iter().all(|outcome| outcome.result.is_ok()));
    for _ in 0..1000 {
        if dirs().count() == 0 {
            broker.stop().await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("files stay: {:?}", dirs().collect::<Vec<_>>());
}

const TOPICS: usize = 5000;
