//! What clients can make the broker hold: never more than its bounds, whatever they announce, send or leave unread.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{DescribeConfigsRequest, MetadataRequest, ProduceRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const MIB: u64 = 1 << 20;

/// A broker with a topic `t`, warmed up so that what it holds is what it always holds.
fn broker(config: &str) -> (Broker, Connection) {
    let broker = Broker::with(config);
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    for _ in 0..20 {
        assert_eq!(raw::produced(&connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])))).0, 0);
    }
    (broker, connection)
}

/// A client with nothing to do with the others gets its answers, soon.
fn goes_on(broker: &Broker) {
    let mut connection = Connection::to(broker.address());
    connection.patience(Duration::from_secs(10));
    for _ in 0..10 {
        let response = connection.ask(9, &raw::produce("t", 0, -1, raw::batch(&[&[7; 20_000]])));
        assert_eq!(raw::produced(&response.expect("others are held up")).0, 0);
    }
}

/// The beginning of a Produce request of 100 MB: its header and `bytes` of its body.
fn beginning(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 11, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b'x', 0];
    frame[..4].copy_from_slice(&100_000_000_i32.to_be_bytes());
    frame.resize(frame.len() + bytes, 0);
    frame
}

#[test]
fn large_frames_that_are_announced_and_never_sent_cost_next_to_nothing() {
    let (broker, _connection) = broker("");
    let before = broker.resident();
    let held: Vec<_> = (0..64)
        .map(|_| {
            let mut connection = Connection::to(broker.address());
            connection.write(&beginning(1024)).unwrap();
            connection
        })
        .collect();
    goes_on(&broker);
    let grew = broker.resident().saturating_sub(before);
    assert!(grew < 8 * MIB, "{grew} bytes for 64 kilobytes");
    drop(held);
}

#[test]
fn large_frames_that_are_begun_and_never_ended_are_held_within_the_bound_of_all_connections() {
    let (broker, _connection) = broker("[network]\nin_flight_total = \"32 MiB\"\n");
    let before = broker.resident();
    for round in 1..=2 {
        let held: Vec<_> = (0..64)
            .map(|_| {
                let mut connection = Connection::to(broker.address());
                connection.stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
                // The broker need not take it all.
                let _held_back = connection.write(&beginning(8 << 20));
                connection
            })
            .collect();
        goes_on(&broker);
        // Half a gigabyte was offered. What may be held is the bound, one frame and 80 KiB of each connection, 45 MiB in
        // all; the rest is what the allocator keeps for a while of memory that was given back.
        let grew = broker.resident().saturating_sub(before);
        assert!(grew < 80 * MIB, "{} MiB with a bound of 32, in round {round}", grew / MIB);
        drop(held);
        goes_on(&broker);
    }
}

#[test]
fn those_who_stand_still_with_the_memory_of_all_are_closed_for_those_who_wait_for_it() {
    let (broker, _connection) = broker("[network]\nin_flight_total = \"4 MiB\"\n");
    let mut still = Connection::to(broker.address());
    still.write(&beginning(5 << 20)).unwrap();
    let mut connection = Connection::to(broker.address());
    let value = vec![7; 900_000];
    let response = connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[&value])));
    assert_eq!(raw::produced(&response).0, 0);
    broker.wait_for_log("all memory for requests is taken");
    still.read_to_close();
}

#[test]
fn those_who_leave_large_answers_with_the_memory_of_all_are_closed_for_those_who_wait_for_it() {
    let (broker, mut connection) = broker("[network]\nin_flight_total = \"4 MiB\"\n");
    let names: Vec<String> = (0..2_000).map(|n| format!("t{n}")).collect();
    let topic = |name: &String| MetadataRequestTopic::default().with_name(Some(raw::name(name)));
    let create = MetadataRequest::default().with_topics(Some(names.iter().map(topic).collect()));
    connection.call(9, &create.with_allow_auto_topic_creation(true));
    let resource = |name: &String| {
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name.clone().into())
            .with_configuration_keys(None)
    };
    let describe = DescribeConfigsRequest::default()
        .with_resources(names.iter().map(resource).collect())
        .with_include_documentation(true)
        .with_include_synonyms(true);
    // One who takes it gets it.
    let described = connection.call(3, &describe);
    assert_eq!(described.results.len(), 2_000);
    let mut slow = Connection::to(broker.address());
    slow.send(3, &describe).unwrap();
    let value = vec![7; 900_000];
    let response = connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[&value])));
    assert_eq!(raw::produced(&response).0, 0);
    broker.wait_for_log("the peer takes no answers, and all memory for requests is taken");
    let whole = kafka_protocol::protocol::Encodable::compute_size(&described, 3).unwrap();
    assert!(slow.read_to_close().len() < whole, "it was not waited for");
    goes_on(&broker);
}

#[test]
fn the_bound_of_all_connections_holds_nobody_up_for_ever() {
    let (broker, _connection) = broker("[network]\nin_flight_total = \"64 KiB\"\n");
    // Connections that are silent, in the middle of a frame or outside of one.
    let silent: Vec<_> = (0..10)
        .map(|n| {
            let mut connection = Connection::to(broker.address());
            assert!(raw::is_served(&mut connection));
            if n % 2 == 0 {
                connection.write(&beginning(100)).unwrap();
            }
            connection
        })
        .collect();
    // Producers that together have far more under way than the bound.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = Connection::to(broker.address());
                let request = raw::produce("t", 0, -1, raw::batch(&[&[7; 30_000]]));
                for _ in 0..5 {
                    for _ in 0..10 {
                        connection.send(9, &request).unwrap();
                    }
                    for _ in 0..10 {
                        let (_, response) = connection.answer::<ProduceRequest>(9).expect("an answer");
                        assert_eq!(raw::produced(&response).0, 0);
                    }
                }
            });
        }
    });
    goes_on(&broker);
    drop(silent);
}

#[test]
fn a_reader_that_never_reads_its_answers_cannot_make_memory_grow() {
    let (broker, mut connection) = broker("");
    for _ in 0..16 {
        connection.call(9, &raw::produce("t", 0, 1, raw::batch(&[&vec![7; 500_000]])));
    }
    let before = broker.resident();
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut slow = Connection::to(broker.address());
            slow.stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            for n in 0..500 {
                // Answers of 8 MB from files, and answers that are built in memory.
                let sent = match n % 2 {
                    0 => slow.send(11, &raw::fetch("t", 0, 0, 0)),
                    _ => slow.send(9, &MetadataRequest::default().with_topics(None)),
                };
                if sent.is_err() {
                    break;
                }
            }
            slow
        })
        .collect();
    goes_on(&broker);
    let grew = broker.resident().saturating_sub(before);
    assert!(grew < 64 * MIB, "{} MiB for answers that nobody takes", grew / MIB);
    drop(slow);
}

#[test]
fn two_thousand_idle_connections_are_cheap() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let (broker, _connection) = broker("");
    let before = broker.resident();
    let mut idle: Vec<_> = (0..2000).map(|_| Connection::to(broker.address())).collect();
    for connection in &mut idle {
        assert!(raw::is_served(connection));
    }
    // A connection that waits holds no buffer.
    let began = Instant::now();
    let per_connection = loop {
        let each = broker.resident().saturating_sub(before) / 2000;
        if each < 5 * 1024 || began.elapsed() > Duration::from_secs(10) {
            break each;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(per_connection < 5 * 1024, "{per_connection} bytes each");
    goes_on(&broker);
    assert!(idle.iter_mut().all(raw::is_served), "all of them are still served");
}
