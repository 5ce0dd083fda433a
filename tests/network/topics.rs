//! Topics that come and go under their clients.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest,
};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Does the same on 20 connections at once.
fn at_once<T: Send>(broker: &Broker, work: impl Fn(&mut Connection) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(20);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::to(broker.address());
                    start.wait();
                    work(&mut connection)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn s83_many_that_ask_for_the_same_new_topic_all_get_it() {
    let broker = Broker::start();
    for round in 0..10 {
        let name = format!("new-{round}");
        let topic = MetadataRequestTopic::default().with_name(Some(raw::name(&name)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        let answers = at_once(&broker, |connection| connection.call(12, &request));
        for answer in &answers {
            assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
            assert_eq!(answer.topics[0].topic_id, answers[0].topics[0].topic_id);
            assert_eq!(answer.topics[0].partitions.len(), 1);
        }
    }
}

#[test]
fn of_many_that_create_the_same_topic_one_does() {
    let broker = Broker::start();
    let topic =
        CreatableTopic::default().with_name(raw::name("t")).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let mut errors = at_once(&broker, |connection| connection.call(5, &request).topics[0].error_code);
    errors.sort_unstable();
    assert_eq!(errors[0], 0);
    assert!(errors[1..].iter().all(|error| *error == TOPIC_ALREADY_EXISTS), "{errors:?}");
}

fn delete(connection: &mut Connection, topic: &str) {
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![raw::name(topic)]).with_timeout_ms(30_000);
    assert_eq!(connection.call(4, &request).responses[0].error_code, 0);
}

#[test]
fn s89_a_deleted_topic_refuses_records_and_wakes_those_who_wait_on_it() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])));
    let mut waiting: Vec<_> = (0..5)
        .map(|_| {
            let mut waiting = Connection::to(broker.address());
            waiting.send(11, &raw::fetch("t", 0, 1, 60_000)).unwrap();
            waiting
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    delete(&mut Connection::to(broker.address()), "t");
    for waiting in &mut waiting {
        let (_, response) = waiting.answer::<FetchRequest>(11).unwrap();
        assert_eq!(raw::fetched(&response, 1).0, UNKNOWN_TOPIC_OR_PARTITION);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The connection remembers the partition from before.
    let response = connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[b"b"])));
    assert_eq!(raw::produced(&response).0, UNKNOWN_TOPIC_OR_PARTITION);
    let response = connection.call(11, &raw::fetch("t", 0, 0, 0));
    assert_eq!(raw::fetched(&response, 0).0, UNKNOWN_TOPIC_OR_PARTITION);
    raw::create(&mut connection, "t", 1, &[]);
    let response = connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[b"c"])));
    assert_eq!(raw::produced(&response), (0, 0), "a topic made again is another one");
}

#[test]
fn producers_on_a_topic_that_is_deleted_under_them_are_all_answered() {
    let broker = Broker::start();
    for _ in 0..5 {
        raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
        thread::scope(|scope| {
            let producers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = Connection::to(broker.address());
                        let request = raw::produce("t", 0, -1, raw::batch(&[b"some value"]));
                        loop {
                            for _ in 0..5 {
                                connection.send(9, &request).unwrap();
                            }
                            let errors: Vec<i16> = (0..5)
                                .map(|_| raw::produced(&connection.answer::<ProduceRequest>(9).unwrap().1).0)
                                .collect();
                            if errors.contains(&UNKNOWN_TOPIC_OR_PARTITION) {
                                return errors;
                            }
                            assert_eq!(errors, [0; 5]);
                        }
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(50));
            delete(&mut Connection::to(broker.address()), "t");
            for producer in producers {
                let errors = producer.join().unwrap();
                assert!(
                    errors.iter().all(|error| [0, UNKNOWN_TOPIC_OR_PARTITION].contains(error)),
                    "{errors:?}"
                );
            }
        });
    }
}
