//! A stop under load: a record that is in the log is never answered with an error, for its producer would send it again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{DeleteTopicsRequest, MetadataRequest, ProduceRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const PRODUCERS: usize = 6;
/// How long the first answers may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests of one producer that are under way.
const UNDER_WAY: usize = 20;

#[derive(Default)]
struct Outcome {
    acknowledged: Vec<String>,
    refused: Vec<String>,
}

/// Produces values that nobody else does, until the connection ends. Counts itself as `answered` with the first answer.
fn produce(address: &str, producer: usize, acks: i16, answered: &AtomicUsize) -> Outcome {
    let mut connection = Connection::to(address);
    let mut outcome = Outcome::default();
    let value = |nth: usize| format!("{producer}-{nth}");
    let request = |nth| raw::produce("t", 0, acks, raw::batch(&[value(nth).as_bytes()]));
    for nth in 0..UNDER_WAY {
        if connection.send(9, &request(nth)).is_err() {
            return outcome;
        }
    }
    for nth in 0.. {
        let Ok((_, response)) = connection.answer::<ProduceRequest>(9) else { break };
        match raw::produced(&response).0 {
            0 => outcome.acknowledged.push(value(nth)),
            _ => outcome.refused.push(value(nth)),
        }
        if nth == 0 {
            answered.fetch_add(1, Ordering::Relaxed);
        }
        // What cannot be sent was not taken; what was sent before is still answered.
        let _ = connection.send(9, &request(nth + UNDER_WAY));
    }
    outcome
}

#[test]
fn no_record_that_is_in_the_log_was_refused_at_a_stop() {
    let mut broker = Broker::with("[durability]\nfsync = \"batch\"\n");
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    for round in 0..5_usize {
        let address = broker.address().to_owned();
        let answered = AtomicUsize::new(0);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|nth| {
                    let (address, answered) = (&address, &answered);
                    let acks = if nth == 0 { 1 } else { -1 };
                    scope.spawn(move || produce(address, PRODUCERS * round + nth, acks, answered))
                })
                .collect();
            let began = Instant::now();
            while answered.load(Ordering::Relaxed) < PRODUCERS && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(7 * round as u64));
            broker.stop();
            producers.into_iter().map(|producer| producer.join().unwrap()).collect()
        });
        broker.up();
        let held = raw::read_all(&mut Connection::to(broker.address()), "t", 0);
        let distinct: HashSet<_> =
            held.iter().map(|read| String::from_utf8(read.value.clone()).unwrap()).collect();
        assert_eq!(distinct.len(), held.len(), "nobody sent anything twice");
        for outcome in &outcomes {
            assert!(!outcome.acknowledged.is_empty(), "nothing was tried");
            for value in &outcome.acknowledged {
                assert!(distinct.contains(value), "{value} was acknowledged and is gone");
            }
            for value in &outcome.refused {
                assert!(!distinct.contains(value), "{value} was refused and is in the log");
            }
        }
    }
}

#[test]
fn what_was_taken_without_an_acknowledgement_is_there_after_a_stop() {
    let mut broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    let mut sent: usize = 0;
    for round in 1..4_usize {
        let mut connection = Connection::to(broker.address());
        for _ in 0..round * 50 {
            connection.send(9, &raw::produce("t", 0, 0, raw::batch(&[sent.to_string().as_bytes()]))).unwrap();
            sent += 1;
        }
        // Requests are started in order, so what came before this one is taken.
        connection.call(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
        broker.restart();
        let held = raw::read_all(&mut Connection::to(broker.address()), "t", 0);
        let held: Vec<_> = held.into_iter().map(|read| String::from_utf8(read.value).unwrap()).collect();
        assert_eq!(held, (0..sent).map(|nth| nth.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn a_stop_in_the_midst_of_a_removal_leaves_nothing_to_recover() {
    let mut broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "kept", 1, &[]);
    for _ in 0..5 {
        let mut connection = Connection::to(broker.address());
        raw::create(&mut connection, "t", 300, &[]);
        for partition in [0, 7, 100, 299] {
            let response = connection.call(9, &raw::produce("t", partition, -1, raw::batch(&[b"a"])));
            assert_eq!(raw::produced(&response).0, 0);
        }
        assert_eq!(
            raw::produced(&connection.call(9, &raw::produce("kept", 0, -1, raw::batch(&[b"a"])))).0,
            0
        );
        let request =
            DeleteTopicsRequest::default().with_topic_names(vec![raw::name("t")]).with_timeout_ms(30_000);
        assert_eq!(connection.call(4, &request).responses[0].error_code, 0);
        broker.stop();
        let before = broker.log().len();
        broker.up();
        raw::read_all(&mut Connection::to(broker.address()), "kept", 0);
        assert!(!broker.log()[before..].contains("recover"), "{}", broker.log());
    }
}
