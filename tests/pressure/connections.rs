//! Ten thousand connections that do nothing, or next to nothing.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const CONNECTIONS: usize = 10_000;
/// Of the broker's memory for each: the kernel's sockets are not in it.
const BYTES_MAX: u64 = 8 * 1024;
/// What the broker keeps of what it may open for its own sake, at most; it gives half of the rest to connections.
const OTHER_FILES: u64 = 600;

/// How many connections there can be here. The broker shares what it may open between connections and logs.
fn affordable() -> usize {
    let wanted = 2 * CONNECTIONS as u64 + OTHER_FILES;
    let limit = rlimit::setrlimit(rlimit::Resource::NOFILE, wanted, wanted)
        .map_or_else(|_| rlimit::increase_nofile_limit(wanted).unwrap(), |()| wanted);
    usize::try_from(limit.saturating_sub(OTHER_FILES) / 2).unwrap().min(CONNECTIONS)
}

/// What each of these connections costs, as soon as it costs no more than it may, or after a while.
fn each(broker: &Broker, before: u64, count: usize) -> u64 {
    let began = Instant::now();
    loop {
        let each = broker.resident().saturating_sub(before) / count as u64;
        if each <= BYTES_MAX || began.elapsed() > Duration::from_secs(10) {
            return each;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Asks on all connections, some hundred at a time, and reads all answers.
fn on_all(
    connections: &mut [Connection],
    ask: impl Fn(usize, &mut Connection),
    read: impl Fn(&mut Connection),
) {
    for chunk in connections.chunks_mut(500) {
        chunk.iter_mut().enumerate().for_each(|(at, connection)| ask(at, connection));
        chunk.iter_mut().for_each(&read);
    }
}

#[test]
fn ten_thousand_idle_connections_cost_at_most_8_kib_each() {
    let _alone = crate::alone();
    let count = affordable();
    let broker = crate::broker("");
    let mut first = Connection::to(broker.address());
    raw::create(&mut first, "t", 8, &[]);
    for partition in 0..8 {
        let response = first.call(9, &raw::produce("t", partition, 1, raw::batch(&[&[7; 1000]])));
        assert_eq!(raw::produced(&response).0, 0);
        first.call(11, &raw::fetch("t", partition, 0, 0));
    }
    let before = broker.resident();
    let mut connections: Vec<_> = (0..count).map(|_| Connection::to(broker.address())).collect();
    let versions = ApiVersionsRequest::default();
    let metadata = MetadataRequest::default().with_topics(None);
    on_all(
        &mut connections,
        |_, connection| {
            connection.send(2, &versions).unwrap();
            connection.send(9, &metadata).unwrap();
        },
        |connection| {
            connection.answer::<ApiVersionsRequest>(2).unwrap();
            connection.answer::<MetadataRequest>(9).unwrap();
        },
    );
    let asked = each(&broker, before, count);
    eprintln!("{count} connections that asked for metadata: {asked} bytes each");
    assert!(asked <= BYTES_MAX, "{asked} bytes for each of {count} connections that asked for metadata");
    on_all(
        &mut connections,
        |at, connection| {
            let partition = i32::try_from(at % 8).unwrap();
            let batch = raw::batch(&[&[7; 1000]]);
            connection.send(9, &raw::produce("t", partition, 1, batch)).unwrap();
            connection.send(11, &raw::fetch("t", partition, 0, 0)).unwrap();
        },
        |connection| {
            let (_, response) = connection.answer::<ProduceRequest>(9).unwrap();
            assert_eq!(raw::produced(&response).0, 0);
            connection.answer::<FetchRequest>(11).unwrap();
        },
    );
    let worked = each(&broker, before, count);
    eprintln!("{count} connections that produced and fetched as well: {worked} bytes each");
    assert!(worked <= BYTES_MAX, "{worked} bytes for each of {count} connections that produced and fetched");
    assert!(connections.iter_mut().step_by(97).all(raw::is_served), "all of them are still served");
}
