//! Rules of the protocol that show only over time or in what is not sent, so that no recording of Kafka's answers holds
//! them: each is named by its number.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::{Decodable as _, StrBytes};
use streamd::config::topic::Compression;
use streamd::record::build::{BatchBuilder, NewRecord};
use streamd::types::Codec;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const INVALID_RECORD: i16 = 87;

/// A broker with an empty topic `t`, and a connection to it.
fn broker() -> (Broker, Connection) {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    (broker, connection)
}

fn api_versions(connection: &mut Connection, version: i16) -> ApiVersionsResponse {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("rules"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    connection.call(version, &request)
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

#[test]
fn s4_produce_is_offered_from_version_0_and_served_from_3() {
    let (broker, mut connection) = broker();
    for version in 0..=4 {
        let offered = api_versions(&mut connection, version).api_keys;
        let produce = offered.iter().find(|key| key.api_key == 0).unwrap();
        assert_eq!(produce.min_version, 0, "old librdkafka compresses only then");
        assert!(produce.max_version >= 12);
    }
    connection.call(3, &raw::produce("t", 0, -1, raw::batch(&[b"a"])));
    for version in 0..3 {
        let mut old = Connection::to(broker.address());
        // Key 0, its version, a correlation id, no client id.
        old.write(&[0, 0, 0, 10, 0, 0, 0, version, 0, 0, 0, 1, 0xff, 0xff]).unwrap();
        assert_eq!(old.read_to_close(), b"", "version {version}");
    }
}

#[test]
fn s9_nobody_is_throttled() {
    let (_broker, mut connection) = broker();
    let value = vec![7; 500_000];
    let began = Instant::now();
    for _ in 0..40 {
        let produced = connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[&value])));
        let fetched = connection.call(11, &raw::fetch("t", 0, 0, 0));
        let told = connection.call(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
        let throttles = [produced.throttle_time_ms, fetched.throttle_time_ms, told.throttle_time_ms];
        assert_eq!(throttles, [0; 3]);
        assert!(!only(&fetched).records.clone().unwrap_or_default().is_empty(), "an empty answer");
        assert_eq!(api_versions(&mut connection, 4).throttle_time_ms, 0);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "held back without a word: {:?}", began.elapsed());
}

#[test]
fn s11_features_that_begin_at_0_are_not_told_to_versions_below_4() {
    let (_broker, mut connection) = broker();
    for version in 3..=4 {
        let told = api_versions(&mut connection, version);
        assert!(!told.supported_features.is_empty() && told.finalized_features_epoch >= 0, "{told:?}");
        for feature in &told.supported_features {
            assert!(feature.min_version > 0 || version >= 4, "{feature:?} in version {version}");
        }
        for level in &told.finalized_features {
            let known = told.supported_features.iter().find(|feature| feature.name == level.name);
            let Some(known) = known else {
                assert!(version < 4, "{level:?} is in force and not told");
                continue;
            };
            assert!((known.min_version..=known.max_version).contains(&level.max_version_level));
        }
    }
}

#[test]
fn s19_a_committed_read_waits_for_what_is_committed_and_for_nothing_else() {
    let (broker, mut connection) = broker();
    let mut waiting = Connection::to(broker.address());
    let request = raw::fetch("t", 0, 0, 60_000).with_isolation_level(1);
    waiting.send(11, &request).unwrap();
    // Records of a transaction that nobody is named for are no records: they wake nobody and are not stored.
    let mut open = BatchBuilder::new().producer(7, 0, 0).transactional(true);
    open.push(&NewRecord { value: Some(b"open"), ..NewRecord::default() });
    let response = connection.call(9, &raw::produce("t", 0, 1, open.build().unwrap()));
    assert_eq!(raw::produced(&response).0, TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    waiting.patience(Duration::from_millis(300));
    assert!(waiting.receive().is_err(), "nothing is committed");
    waiting.patience(Duration::from_secs(20));
    let response = connection.call(9, &raw::produce("t", 0, 1, raw::batch(&[b"a", b"b"])));
    assert_eq!(raw::produced(&response), (0, 0));
    let (_, response) = waiting.answer::<FetchRequest>(11).unwrap();
    assert_eq!(raw::fetched(&response, 0).2.len(), 2);
    let partition = only(&response);
    assert_eq!((partition.high_watermark, partition.last_stable_offset), (2, 2));
    assert_eq!(partition.aborted_transactions.as_deref(), Some(&[][..]), "a list, and an empty one");
}

/// Fetches `t` by id at a version that tells leaders, as a reader that knows this epoch.
fn fetch_in_epoch(connection: &mut Connection, epoch: i32) -> FetchResponse {
    let topic = MetadataRequestTopic::default().with_name(Some(raw::name("t")));
    let known = connection.call(12, &MetadataRequest::default().with_topics(Some(vec![topic])));
    let mut request = raw::fetch("t", 0, 0, 0);
    request.topics[0].topic_id = known.topics[0].topic_id;
    request.topics[0].partitions[0].current_leader_epoch = epoch;
    connection.call(16, &request)
}

#[test]
fn s27_s33_the_epoch_rises_with_every_start_and_who_knows_an_old_one_is_told_the_new_one() {
    let (mut broker, mut connection) = broker();
    connection.call(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])));
    for epoch in 0..4 {
        let mut connection = Connection::to(broker.address());
        let current = fetch_in_epoch(&mut connection, epoch);
        assert_eq!((only(&current).error_code, only(&current).current_leader.leader_epoch), (0, -1));
        assert!(current.node_endpoints.is_empty());
        let ahead = fetch_in_epoch(&mut connection, epoch + 1);
        assert_eq!(only(&ahead).error_code, UNKNOWN_LEADER_EPOCH);
        if epoch > 0 {
            let fenced = fetch_in_epoch(&mut connection, epoch - 1);
            assert_eq!(only(&fenced).error_code, FENCED_LEADER_EPOCH);
            let leader = &only(&fenced).current_leader;
            assert_eq!((leader.leader_id.0, leader.leader_epoch), (1, epoch));
            let told = &fenced.node_endpoints[..];
            let addresses: Vec<_> =
                told.iter().map(|node| format!("{}:{}", &*node.host, node.port)).collect();
            assert_eq!((told[0].node_id.0, addresses), (1, vec![broker.address().to_owned()]));
        }
        if epoch % 2 == 0 {
            broker.kill();
            broker.up();
        } else {
            broker.restart();
        }
    }
}

#[test]
fn s43_nothing_is_converted_the_oldest_fetch_gets_the_bytes_as_they_were_sent() {
    let (_broker, mut connection) = broker();
    for (offset, codec) in (0..).zip([Codec::Zstd, Codec::None]) {
        let mut builder = BatchBuilder::new().compression(Compression { codec, level: 3 });
        let value = vec![b'v'; 1000];
        builder.push(&NewRecord { value: Some(&value), ..NewRecord::default() });
        let sent = builder.build().unwrap();
        let response = connection.call(9, &raw::produce("t", 0, -1, sent.clone()));
        assert_eq!(raw::produced(&response), (0, offset));
        for version in [4, 9, 10, 12] {
            let response = connection.call(version, &raw::fetch("t", 0, offset, 0));
            let stored = only(&response).records.clone().unwrap();
            // Offset and epoch are the broker's and stand outside the checksum.
            assert_eq!((stored.len(), &stored[16..]), (sent.len(), &sent[16..]), "version {version}");
        }
    }
    // A message of magic 1: nothing of it is stored.
    let mut old = vec![0; 8];
    old.extend_from_slice(&[0, 0, 0, 23, 0, 0, 0, 0, 1, 0]);
    old.extend_from_slice(&[0; 8]);
    old.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'v']);
    let response = connection.call(9, &raw::produce("t", 0, -1, Bytes::from(old)));
    assert_eq!(raw::produced(&response), (INVALID_RECORD, -1));
    assert_eq!(raw::read_all(&mut connection, "t", 0).len(), 2);
}

#[test]
fn s99_the_clusters_id_stays_and_nobody_is_sent_away() {
    let (mut broker, _connection) = broker();
    let id = broker.cluster_id.clone();
    assert_eq!(id.len(), 22);
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{id}");
    for _ in 0..2 {
        let mut connection = Connection::to(broker.address());
        let response = connection.call(13, &MetadataRequest::default().with_topics(Some(Vec::new())));
        assert_eq!((response.error_code, response.cluster_id.as_deref()), (0, Some(&*id)));
        for version in 0..=4 {
            assert_eq!(api_versions(&mut connection, version).error_code, 0);
        }
        // A later version is answered with the newest that there is, whatever its body asks.
        let (_, mut frame) = connection.frame(4, &ApiVersionsRequest::default());
        frame[7] = 5;
        connection.write(&frame).unwrap();
        let mut answer = connection.receive().unwrap().slice(4..);
        assert_eq!(ApiVersionsResponse::decode(&mut answer, 0).unwrap().error_code, 35);
        broker.restart();
    }
}

/// Produces and fetches until the connection ends; returns what was answered with an error.
fn errors_until_the_end(mut connection: Connection) -> Vec<(i64, i16)> {
    let mut errors = Vec::new();
    for nth in 0.. {
        let sent = connection
            .send(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])))
            .and_then(|_| connection.send(11, &raw::fetch("t", 0, nth, 5)));
        if sent.is_err() {
            break;
        }
        let Ok((_, response)) = connection.answer::<ProduceRequest>(9) else { break };
        errors.push((nth, raw::produced(&response).0));
        let Ok((_, response)) = connection.answer::<FetchRequest>(11) else { break };
        errors.push((nth, only(&response).error_code));
    }
    assert!(errors.len() > 2, "nothing was tried");
    errors.retain(|(_, error)| *error != 0);
    errors
}

#[test]
fn s100_a_stop_closes_the_port_and_then_the_connections_and_sends_no_errors() {
    let (mut broker, _connection) = broker();
    for round in 0..5 {
        let address = broker.address().to_owned();
        let (errors, waited) = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    let connection = Connection::to(&address);
                    scope.spawn(move || errors_until_the_end(connection))
                })
                .collect();
            // A client that waits for a record that does not come is not told of a new leader either.
            let mut poll = Connection::to(&address);
            poll.send(11, &raw::fetch("t", 0, 1 << 40, 60_000)).unwrap();
            poll.answer::<FetchRequest>(11).unwrap();
            raw::create(&mut poll, &format!("quiet-{round}"), 1, &[]);
            poll.send(11, &raw::fetch(&format!("quiet-{round}"), 0, 0, 60_000)).unwrap();
            thread::sleep(Duration::from_millis(200 + 7 * round));
            broker.stop();
            let waited = poll.answer::<FetchRequest>(11).ok().map(|(_, response)| only(&response).error_code);
            let errors: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
            (errors, waited)
        });
        assert_eq!(errors, [], "round {round}: (request, error)");
        assert!(matches!(waited, None | Some(0)), "round {round}: {waited:?}");
        assert!(TcpStream::connect(&address).is_err(), "the port is still open");
        broker.up();
    }
}
