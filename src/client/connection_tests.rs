//! Every request in every version that may be picked, and the handshake with brokers of different ages.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, LeaveGroupRequest, ListGroupsRequest, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::client::batching::Batch;
use crate::client::coordinator::{self, Committer, Coordinated};
use crate::client::offsets::{self, Isolation};
use crate::client::open_transactions::{self, OpenIn};
use crate::client::producer::{self, Acks};
use crate::client::topics::{self, NewTopic};
use crate::client::transactions;
use crate::client::versions::KAFKA_2_1;
use crate::client::{Wanted, consumer, groups, heartbeat, membership, metadata};
use crate::types::TopicId;

/// Writes a request in every version from Kafka 2.1's to ours, and reads it back as the crate does.
fn writable<R: Request + PartialEq + std::fmt::Debug>(make: impl Fn(i16) -> R) {
    let known = KAFKA_2_1.iter().find(|(key, _)| *key == R::KEY);
    let oldest = known.map_or(<R as Message>::VERSIONS.min, |(_, max)| *max);
    for version in oldest..=<R as Message>::VERSIONS.max {
        let request = make(version);
        let name = api_name(R::KEY);
        let frame = request_frame(&request, version, 7, &StrBytes::from_static_str("me"))
            .unwrap_or_else(|reason| panic!("{name} v{version}: {reason}"));
        let (length, mut body) =
            frame.split_first_chunk().map(|(n, rest)| (*n, Bytes::copy_from_slice(rest))).unwrap();
        assert_eq!(usize::try_from(i32::from_be_bytes(length)).unwrap(), body.len(), "{name} v{version}");
        let header = RequestHeader::decode(&mut body, R::header_version(version)).unwrap();
        assert_eq!(
            (header.request_api_key, header.request_api_version, header.correlation_id),
            (R::KEY, version, 7)
        );
        let back = R::decode(&mut body, version).unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
        assert!(body.is_empty(), "{name} v{version}");
        // What a version cannot carry is not asked for in it.
        let again = request_frame(&back, version, 7, &StrBytes::from_static_str("me")).unwrap();
        assert_eq!(again, frame, "{name} v{version}");
    }
}

#[test]
fn every_request_can_be_written_in_every_version_since_kafka_2_1() {
    let me = Committer { member_id: StrBytes::from_static_str("m"), generation: 3 };
    let offsets = [(("t".to_owned(), 0), 5), (("u".to_owned(), 1), 6)].into();
    let batches = [Batch { partition: 1, bytes: Bytes::from_static(b"batch"), records: 1 }];
    let wanted =
        [("t".into(), TopicId::from_bytes([1; 16]), 0, 5), ("t".into(), TopicId::from_bytes([1; 16]), 1, 6)];
    let topic = NewTopic {
        name: "t".to_owned(),
        config: [("k".to_owned(), "v".to_owned())].into(),
        ..NewTopic::default()
    };
    let open = OpenIn {
        topic: "t".to_owned(),
        partition: 1,
        producer_id: 4_000,
        producer_epoch: 3,
        coordinator_epoch: -1,
        first_offset: 10,
        last_written: 1,
    };
    let names = ["t".to_owned()];
    let shared = [("m".to_owned(), [("t".to_owned(), vec![0, 1])].into())].into();

    writable(|version| metadata::request(version, Wanted::Named(&["t"]), true));
    writable(|version| metadata::request(version, Wanted::All, false));
    writable(|version| {
        producer::request(version, ("t", TopicId::from_bytes([1; 16])), &batches, Acks::All, 1)
    });
    writable(|_| producer::id_request());
    writable(|version| consumer::request(version, &wanted, Isolation::ReadCommitted));
    writable(|version| offsets::request(version, "t", &[0, 1], -1, Isolation::ReadCommitted, 1));
    for kind in [Coordinated::Group, Coordinated::Transactions] {
        writable(|version| coordinator::find_request(version, kind, "g"));
    }
    writable(|_| transactions::list_request(&[1]));
    writable(|_| transactions::describe_request(&["x"]));
    writable(|_| open_transactions::producers_request(&[("t", vec![0, 1])]));
    writable(|_| transactions::fence_request("x", 60_000));
    writable(|_| open_transactions::marker_request(&open));
    writable(|version| coordinator::committed_request(version, "g", true));
    writable(|version| coordinator::commit_request(version, "g", &me, &offsets));
    writable(|version| membership::join_request(version, "g", &me.member_id, &names));
    writable(|version| membership::sync_request(version, "g", &me, &shared));
    writable(|version| membership::leave_request(version, "g", &me.member_id));
    writable(|_| heartbeat::request("g", &me));
    writable(|_| groups::classic_request("g"));
    writable(|_| ListGroupsRequest::default());
    writable(|_| ConsumerGroupDescribeRequest::default());
    writable(|version| topics::create_request(version, std::slice::from_ref(&topic), 1));
    writable(|version| topics::delete_request(version, &names, 1));
    writable(|_| topics::settings_request("t"));
}

/// A broker that answers with these bodies, one for each request; it returns the API versions it was asked in.
async fn broker(answers: Vec<Vec<u8>>) -> (Address, tokio::task::JoinHandle<Vec<i16>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut versions = Vec::new();
        for answer in answers {
            let len = usize::try_from(socket.read_i32().await.unwrap()).unwrap();
            let mut request = vec![0; len];
            socket.read_exact(&mut request).await.unwrap();
            versions.push(i16::from_be_bytes([request[2], request[3]]));
            let frame = [&request[4..8], &answer[..]].concat();
            socket.write_i32(i32::try_from(frame.len()).unwrap()).await.unwrap();
            socket.write_all(&frame).await.unwrap();
        }
        versions
    });
    (address, asked)
}

fn options() -> Options {
    Options {
        brokers: Vec::new(),
        client_id: "me".to_owned(),
        timeout: Duration::from_millis(300),
        ceilings: &[],
    }
}

fn versions_body(version: i16, error: ErrorCode, rows: &[(i16, i16, i16)]) -> Vec<u8> {
    let row = |&(key, min, max): &(i16, i16, i16)| {
        ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
    };
    let answer = ApiVersionsResponse::default()
        .with_error_code(error.code())
        .with_api_keys(rows.iter().map(row).collect());
    let mut body = BytesMut::new();
    answer.encode(&mut body, version).unwrap();
    body.to_vec()
}

#[tokio::test]
async fn s3_an_old_broker_is_asked_again_in_its_words() {
    let refusal = versions_body(0, ErrorCode::UnsupportedVersion, &[(18, 0, 2)]);
    let offer = versions_body(0, ErrorCode::None, &[(13, 0, 2), (18, 0, 2)]);
    let (address, asked) = broker(vec![refusal, offer]).await;
    let connection = Connection::open(&address, &options()).await.unwrap();
    assert_eq!(asked.await.unwrap(), [4, 0]);
    assert!(connection.knows::<LeaveGroupRequest>() && !connection.knows::<MetadataRequest>());
    let error = connection.call(Duration::from_secs(1), |_| MetadataRequest::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unsupported { api, offered, .. } if api == "Metadata" && offered == "none"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_names_the_api_and_its_version() {
    let offer = versions_body(4, ErrorCode::None, &[(3, 0, 12)]);
    let (address, _asked) = broker(vec![offer, vec![0, 1, 2]]).await;
    let connection = Connection::open(&address, &options()).await.unwrap();
    let error = connection.call(Duration::from_secs(1), |_| MetadataRequest::default()).await.unwrap_err();
    assert!(error.to_string().contains("its Metadata v12 answer cannot be read"), "{error}");
}

#[tokio::test]
async fn bytes_behind_an_answer_are_an_error() {
    let offer = versions_body(4, ErrorCode::None, &[(3, 0, 7)]);
    let mut body = BytesMut::new();
    MetadataResponse::default().encode(&mut body, 7).unwrap();
    body.put_u8(1);
    let (address, _asked) = broker(vec![offer, body.to_vec()]).await;
    let connection = Connection::open(&address, &options()).await.unwrap();
    let error = connection.call(Duration::from_secs(1), |_| MetadataRequest::default()).await.unwrap_err();
    assert!(error.to_string().contains("1 bytes are left over"), "{error}");
}

#[tokio::test]
async fn a_silent_broker_is_given_up_with_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let error = Connection::open(&address, &options()).await.unwrap_err();
    assert!(matches!(&error, Error::TimedOut { api, .. } if api == "ApiVersions"), "{error}");
}

#[tokio::test]
async fn nobody_at_an_address_is_told_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    drop(listener);
    let error = Connection::open(&address, &options()).await.unwrap_err();
    let tried = vec![(address.to_string(), Trouble::ConnectionRefused)];
    assert_eq!(error, Error::Unreachable { tried, advertised_by: None });
}
