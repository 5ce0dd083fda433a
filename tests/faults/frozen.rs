//! A process that stands still for longer than its clients' sessions: when it goes on, groups come together again,
//! producers go on, and nothing is lost or doubled.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;

use crate::clients::{config, create};
use crate::scene::*;
use crate::support::Broker;

/// A member of the group that reads until it is told to stop, and notes what it was given.
fn member(
    broker: &Broker,
    stop: &Arc<AtomicBool>,
    seen: &Arc<Mutex<HashMap<String, u32>>>,
) -> thread::JoinHandle<()> {
    let consumer: BaseConsumer = config(
        broker,
        &[
            ("group.id", "g"),
            ("session.timeout.ms", "1500"),
            ("heartbeat.interval.ms", "300"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ],
    )
    .create()
    .expect("a consumer");
    consumer.subscribe(&["t"]).expect("a subscription");
    let (stop, seen) = (Arc::clone(stop), Arc::clone(seen));
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                *seen.lock().entry(value).or_default() += 1;
                let _refused_while_rebalancing = consumer.commit_message(&message, CommitMode::Async);
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stood_still_longer_than_sessions_last_goes_on() {
    let broker = Broker::with("[kafka]\n\"group.min.session.timeout.ms\" = 1000\n");
    create(&broker, "t", 4, &[]).await;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let members: Vec<_> = (0..2).map(|_| member(&broker, &stop, &seen)).collect();
    let producer = patient_producer(&broker);
    let chunk = |from: i32| -> Vec<String> { (from..from + 500).map(|n| n.to_string()).collect() };
    send_all(&producer, "t", 0, &chunk(0)).await;
    broker.wait_for_log("group is stable");
    for round in 1..=2 {
        let still = async {
            // In the midst of it.
            tokio::time::sleep(Duration::from_millis(30)).await;
            broker.freeze();
            tokio::time::sleep(Duration::from_millis(3500)).await;
            broker.signal("CONT");
        };
        let sending = async {
            for partition in 0..4 {
                send_all(&producer, "t", partition, &chunk(round * 10_000 + partition * 1000)).await;
            }
        };
        tokio::join!(sending, still);
    }
    wait_for("the group has read everything", || seen.lock().len() == 500 + 2 * 4 * 500);
    stop.store(true, Ordering::Relaxed);
    members.into_iter().for_each(|member| member.join().expect("a member ends"));
    for partition in 0..4 {
        let mut sent: Vec<String> = if partition == 0 { chunk(0) } else { Vec::new() };
        for round in 1..=2 {
            sent.extend(chunk(round * 10_000 + partition * 1000));
        }
        assert_eq!(values(&broker, "t", partition), sent, "all of them, once, in order");
    }
    assert!(!broker.log().contains("panicked"));
}
