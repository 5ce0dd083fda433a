//! Requests of one connection: started in order, answered in order, and what becomes of them when it ends.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// A broker with an empty topic `t`, and a connection to it.
fn broker() -> (Broker, Connection) {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    (broker, connection)
}

fn values(broker: &Broker) -> Vec<String> {
    let records = raw::read_all(&mut Connection::to(broker.address()), "t", 0);
    records.into_iter().map(|read| String::from_utf8(read.value).unwrap()).collect()
}

/// Waits until `done`.
fn eventually(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn open_files(broker: &Broker) -> usize {
    fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().count()
}

#[test]
fn pipelined_requests_of_all_kinds_are_answered_in_order() {
    let (_broker, mut connection) = broker();
    let metadata = MetadataRequest::default().with_topics(Some(Vec::new()));
    for round in 0..20_i64 {
        let mut bytes = Vec::new();
        let mut ids = Vec::new();
        let mut push = |(id, frame): (i32, Vec<u8>)| {
            ids.push(id);
            bytes.extend(frame);
        };
        push(connection.frame(3, &ApiVersionsRequest::default()));
        push(connection.frame(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"]))));
        push(connection.frame(9, &raw::produce("t", 0, 1, raw::batch(&[b"b", b"c"]))));
        push(connection.frame(9, &metadata));
        // Waits at the end of the log for its whole time, and holds back what stands behind it.
        push(connection.frame(11, &raw::fetch("t", 0, 4 * round + 3, 30)));
        push(connection.frame(9, &raw::produce("t", 0, 0, raw::batch(&[b"d"]))));
        push(connection.frame(9, &metadata));
        connection.write(&bytes).unwrap();
        assert_eq!(connection.answer::<ApiVersionsRequest>(3).unwrap().0, ids[0]);
        let (id, response) = connection.answer::<ProduceRequest>(9).unwrap();
        assert_eq!((id, raw::produced(&response)), (ids[1], (0, 4 * round)));
        let (id, response) = connection.answer::<ProduceRequest>(9).unwrap();
        assert_eq!((id, raw::produced(&response)), (ids[2], (0, 4 * round + 1)));
        assert_eq!(connection.answer::<MetadataRequest>(9).unwrap().0, ids[3]);
        let (id, response) = connection.answer::<FetchRequest>(11).unwrap();
        assert_eq!((id, raw::fetched(&response, 0).2), (ids[4], Vec::new()));
        assert_eq!(connection.answer::<MetadataRequest>(9).unwrap().0, ids[6]);
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let (_broker, mut connection) = broker();
    let (id, frame) = connection.frame(9, &raw::produce("t", 0, -1, raw::batch(&[b"slow"])));
    for byte in frame {
        connection.write(&[byte]).unwrap();
    }
    let (answered, response) = connection.answer::<ProduceRequest>(9).unwrap();
    assert_eq!((answered, raw::produced(&response)), (id, (0, 0)));
}

#[test]
fn s8_a_failure_with_acks_0_closes_the_connection_after_the_answers_before() {
    let (broker, mut connection) = broker();
    let (first, mut bytes) = connection.frame(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])));
    bytes.extend(connection.frame(9, &raw::produce("t", 0, 0, raw::batch(&[b"b"]))).1);
    bytes.extend(connection.frame(9, &raw::produce("nowhere", 0, 0, raw::batch(&[b"c"]))).1);
    bytes.extend(connection.frame(9, &raw::produce("t", 0, -1, raw::batch(&[b"d"]))).1);
    connection.write(&bytes).unwrap();
    assert_eq!(connection.answer::<ProduceRequest>(9).unwrap().0, first);
    assert_eq!(connection.read_to_close(), b"");
    assert_eq!(values(&broker)[..2], ["a", "b"]);
}

#[test]
fn acks_0_and_a_close_behind_it_still_append() {
    let (broker, _connection) = broker();
    for _ in 0..50 {
        let mut connection = Connection::to(broker.address());
        connection.send(9, &raw::produce("t", 0, 0, raw::batch(&[b"gone"]))).unwrap();
    }
    eventually("50 records", || values(&broker).len() == 50);
    // A burst, of which the last frame is cut.
    let mut connection = Connection::to(broker.address());
    let mut bytes = Vec::new();
    for _ in 0..50 {
        bytes.extend(connection.frame(9, &raw::produce("t", 0, 0, raw::batch(&[b"gone"]))).1);
    }
    bytes.truncate(bytes.len() - 1);
    connection.write(&bytes).unwrap();
    drop(connection);
    eventually("49 more", || values(&broker).len() == 99);
}

#[test]
fn acks_all_and_a_close_behind_it_still_append_and_answer() {
    let (broker, mut connection) = broker();
    let id = connection.send(9, &raw::produce("t", 0, -1, raw::batch(&[b"half closed"]))).unwrap();
    connection.finish_writing();
    let (answered, response) = connection.answer::<ProduceRequest>(9).unwrap();
    assert_eq!((answered, raw::produced(&response)), (id, (0, 0)));
    assert_eq!(connection.read_to_close(), b"");
    assert_eq!(values(&broker), ["half closed"]);
}

#[test]
fn a_long_poll_ends_with_its_client() {
    let (broker, _connection) = broker();
    let before = open_files(&broker);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let mut connection = Connection::to(broker.address());
            connection.send(11, &raw::fetch("t", 0, 0, 600_000)).unwrap();
            connection
        })
        .collect();
    eventually("50 connections", || open_files(&broker) >= before + 50);
    drop(waiting);
    eventually("the connections end", || open_files(&broker) <= before);
}

#[test]
fn a_long_poll_is_woken_by_a_record_and_not_before() {
    let (broker, mut waiting) = broker();
    waiting.send(11, &raw::fetch("t", 0, 0, 60_000)).unwrap();
    waiting.patience(Duration::from_millis(200));
    assert!(waiting.receive().is_err(), "nothing is there to be read");
    waiting.patience(Duration::from_secs(20));
    Connection::to(broker.address()).call(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])));
    let (_, response) = waiting.answer::<FetchRequest>(11).unwrap();
    assert_eq!(raw::fetched(&response, 0).2.len(), 1);
}

#[test]
fn clients_that_end_in_the_middle_of_anything_leave_nothing_behind() {
    let (broker, _connection) = broker();
    let before = open_files(&broker);
    let value = vec![1; 300_000];
    let frame = raw::frame(9, 1, "cut", &raw::produce("t", 0, -1, raw::batch(&[&value])));
    for cut in [0, 1, 3, 4, 20, 1000, 200_000, frame.len() - 1] {
        for reset in [false, true] {
            let mut connection = Connection::to(broker.address());
            connection.write(&frame[..cut]).unwrap();
            if reset {
                let socket = socket2::SockRef::from(&connection.stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    }
    eventually("the connections end", || open_files(&broker) <= before);
    assert_eq!(values(&broker), [""; 0]);
}
