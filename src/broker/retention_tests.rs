//! Retention by a clock that the test moves: what is due goes, what a jump of the clock makes look due stays.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::random;
use super::*;
use crate::catalog::{AlterTopic, Command, ConfigChange, ConfigOp, NewTopic, Reply};
use crate::config::Config;
use crate::record::batch::BatchHeader;
use crate::record::build::{BatchBuilder, NewRecord};

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

struct Rig {
    broker: Arc<Broker>,
    clock: Clock,
}

impl Rig {
    async fn start(dir: &Path, clock: &Clock) -> Self {
        let mut config = Config::default();
        config.data_dir = dir.to_path_buf();
        Self { broker: Broker::start(config, clock.clone()).await.unwrap(), clock: clock.clone() }
    }

    async fn create(&self, name: &str, settings: &[(&str, &str)]) {
        let setting = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        let topic = NewTopic {
            configs: settings.iter().map(setting).collect(),
            ..NewTopic::with_defaults(name, random::topic_id())
        };
        let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
        let Reply::Topics(outcomes) = self.broker.catalog().call(command).await else { panic!("no topics") };
        outcomes[0].result.as_ref().unwrap();
    }

    async fn set(&self, topic: &str, name: &str, value: &str) {
        let change = ConfigChange::Each(vec![(name.to_owned(), ConfigOp::Set(value.to_owned()))]);
        let topics = vec![AlterTopic { name: topic.to_owned(), change }];
        let command = Command::AlterTopics { topics, validate_only: false };
        let Reply::Topics(outcomes) = self.broker.catalog().call(command).await else { panic!("no topics") };
        outcomes[0].result.as_ref().unwrap();
    }

    async fn partition(&self, topic: &str) -> Arc<Partition> {
        let topic = Arc::clone(self.broker.image().topic(topic).unwrap());
        self.broker.partition(&topic, 0).await.unwrap()
    }

    /// Appends a record of this time, and waits until it is on disk.
    async fn append(&self, topic: &str, timestamp: i64) {
        let partition = self.partition(topic).await;
        let mut batch = BatchBuilder::new();
        batch.push(&NewRecord { timestamp, value: Some(b"v"), ..NewRecord::default() });
        let batch = batch.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        let end = partition.append_own(&[(batch, header)]).unwrap();
        partition.when_durable(end, Arc::new(|| {}));
        self.until("the record is on disk", || partition.reader().durable() == end).await;
    }

    /// Lets housekeeping's own rounds go on until something is so.
    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not in time: {what}");
    }

    /// Gives housekeeping time to do what it must not do.
    async fn settle(&self) {
        let broker = Arc::clone(&self.broker);
        tokio::task::spawn_blocking(move || {
            broker.keeper.lock().round(&broker);
            broker.schedule_all();
            broker.keeper.lock().round(&broker);
        })
        .await
        .unwrap();
    }

    fn advance(&self, ms: i64) {
        self.clock.advance(Duration::from_millis(ms.unsigned_abs()));
    }

    async fn stop(self) {
        self.broker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_when_they_are_due_and_not_before() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
    let rig = Rig::start(dir.path(), &clock).await;
    rig.create("t", &[("retention.ms", "10000")]).await;
    rig.append("t", NOW).await;
    let partition = rig.partition("t").await;
    for _ in 0..2 {
        rig.advance(5_000);
        rig.settle().await;
        assert_eq!(partition.log_start(), 0);
    }
    rig.advance(1);
    rig.until("the record is gone", || partition.log_start() == 1).await;
    let is_gone = || {
        // A checkpoint has to come first, and is waited for by the clock.
        rig.advance(200);
        partition.reader().segments().len() == 1
    };
    rig.until("its segment is gone", is_gone).await;
    assert_eq!(partition.reader().size_bytes(), 0);
    rig.append("t", clock.now_ms()).await;
    assert_eq!(partition.reader().end(), 2, "offsets go on");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_deletes_nothing_for_ten_minutes() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
    let rig = Rig::start(dir.path(), &clock).await;
    rig.create("t", &[("retention.ms", "604800000")]).await;
    rig.create("size", &[("retention.bytes", "0")]).await;
    rig.append("t", NOW).await;
    let (partition, by_size) = (rig.partition("t").await, rig.partition("size").await);
    clock.jump(30 * DAY);
    rig.settle().await;
    assert_eq!(partition.log_start(), 0, "it looks thirty days old and is not");
    rig.append("size", clock.now_ms()).await;
    let is_gone = || {
        // It may have been looked at before it was on disk: the next look is waited for by the clock.
        rig.advance(100);
        by_size.log_start() == 1
    };
    rig.until("size does not wait for the clock", is_gone).await;
    rig.advance(300_000);
    // Somebody puts it right: that is a jump, too.
    clock.jump(-30 * DAY);
    rig.settle().await;
    rig.advance(599_000);
    rig.settle().await;
    assert_eq!(partition.log_start(), 0);
    rig.advance(2_000);
    rig.settle().await;
    assert_eq!(partition.log_start(), 0, "its time has not come");
    rig.advance(7 * DAY);
    rig.until("retention goes on", || partition.log_start() == 1).await;

    // A clock that stays where it was put is believed.
    rig.append("t", clock.now_ms()).await;
    clock.jump(30 * DAY);
    rig.settle().await;
    assert_eq!(partition.log_start(), 1);
    rig.advance(600_001);
    rig.until("the new time counts", || partition.log_start() == 2).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_went_back_does_not_stop_retention_for_ever() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
    let rig = Rig::start(dir.path(), &clock).await;
    rig.create("t", &[("retention.ms", "3600000")]).await;
    rig.append("t", NOW + 400 * DAY).await;
    let partition = rig.partition("t").await;
    clock.jump(-DAY);
    rig.settle().await;
    rig.append("t", clock.now_ms()).await;
    rig.advance(3_600_000 + 1);
    rig.until("the last append's time counts", || partition.log_start() == 2).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_opened_goes_by_its_row() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
    let rig = Rig::start(dir.path(), &clock).await;
    for topic in ["due", "kept", "altered"] {
        rig.create(topic, &[("retention.ms", if topic == "due" { "60000" } else { "-1" })]).await;
        rig.append(topic, NOW).await;
    }
    rig.stop().await;
    let rig = Rig::start(dir.path(), &clock).await;
    let is_open = |rig: &Rig, name: &str| {
        let id = TopicPartition { topic: rig.broker.image().topic(name).unwrap().id, partition: 0 };
        rig.broker.open_partition(id).is_some()
    };
    rig.settle().await;
    assert!(!is_open(&rig, "due"), "it is not due yet");
    rig.advance(60_001);
    rig.until("it is opened when it is due", || is_open(&rig, "due")).await;
    let due = rig.partition("due").await;
    rig.until("its record goes", || due.log_start() == 1).await;
    rig.set("altered", "retention.ms", "1000").await;
    rig.until("new settings are looked at", || is_open(&rig, "altered")).await;
    let altered = rig.partition("altered").await;
    rig.until("its record goes", || altered.log_start() == 1).await;
    assert!(!is_open(&rig, "kept"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_closed_in_time_though_nobody_writes() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
    let rig = Rig::start(dir.path(), &clock).await;
    rig.create("t", &[("segment.ms", "60000"), ("cleanup.policy", "compact")]).await;
    // Older than segment.ms when it comes, as where an archive is copied in.
    rig.append("t", NOW - DAY).await;
    let partition = rig.partition("t").await;
    rig.advance(60_000);
    rig.settle().await;
    assert_eq!(partition.reader().segments().len(), 1);
    rig.advance(1);
    rig.until("it is closed", || partition.reader().segments().len() == 2).await;
    assert_eq!(partition.log_start(), 0, "nothing is lost");
    rig.stop().await;
}
