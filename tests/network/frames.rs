//! Bytes that are no requests: the connection closes, a line in the log says why and who, and everybody else goes on.

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, ProduceRequest};
use kafka_protocol::protocol::Decodable as _;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// How many lines say that a connection was closed for what came in on it.
fn closings(broker: &Broker) -> usize {
    broker.log().lines().filter(|line| line.contains("closing the connection")).count()
}

/// Sends these bytes on a new connection, which must be closed for it with one line that says `reason`, where `{peer}` is
/// the address; returns what came back.
fn refused(broker: &Broker, bytes: &[u8], reason: &str) -> Vec<u8> {
    let mut connection = Connection::to(broker.address());
    let peer = connection.stream.local_addr().unwrap().to_string();
    connection.write(bytes).unwrap();
    let answer = connection.read_to_close();
    let event = broker.wait_for_event(&peer);
    let said = event["message"].as_str().unwrap();
    assert!(said.contains("closing the connection: "), "{event}");
    assert!(said.contains(&reason.replace("{peer}", &peer)), "{event}");
    assert_eq!(broker.log().matches(&peer).count(), 1, "one line is enough\n{}", broker.log());
    assert!(raw::is_served(&mut Connection::to(broker.address())), "others are served");
    answer
}

/// A frame with this header and nothing else.
fn header(key: i16, version: i16) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 11];
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 9, 0, 1, b'x']);
    frame
}

#[test]
fn s1_lengths_that_cannot_be_close_the_connection_before_their_bytes_come() {
    let broker = Broker::start();
    assert_eq!(refused(&broker, &(-1_i32).to_be_bytes(), "announced a frame of -1 bytes"), b"");
    assert_eq!(refused(&broker, &i32::MIN.to_be_bytes(), "announced a frame of -2147483648 bytes"), b"");
    let reason = "socket.request.max.bytes";
    assert_eq!(refused(&broker, &104_857_601_i32.to_be_bytes(), reason), b"");
    assert_eq!(refused(&broker, &i32::MAX.to_be_bytes(), reason), b"");
}

#[test]
fn only_produce_requests_may_be_larger_than_16_mib() {
    let broker = Broker::start();
    let announce = |key: i16| {
        let mut bytes = header(key, 9);
        bytes[..4].copy_from_slice(&(16 * 1024 * 1024 + 1_i32).to_be_bytes());
        bytes
    };
    refused(&broker, &announce(3), "a request of 16777217 bytes with API key 3");
    refused(&broker, &announce(18), "API key 18; the limit for it is 16777216 (network.request_limit)");
    let mut producer = Connection::to(broker.address());
    producer.write(&announce(0)).unwrap();
    producer.patience(std::time::Duration::from_millis(300));
    assert!(
        producer.receive().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "it may go on"
    );
}

#[test]
fn the_limit_of_frames_follows_the_setting() {
    let broker = Broker::with("[kafka]\n\"socket.request.max.bytes\" = 5000\n");
    refused(&broker, &5001_i32.to_be_bytes(), "a frame of 5001 bytes");
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
}

#[test]
fn other_protocols_are_told_in_their_own_words() {
    let broker = Broker::start();
    // A ClientHello as OpenSSL begins it.
    let hello =
        [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[0x5a; 500]].concat();
    let words = "sent a TLS handshake to a plaintext listener. Use security.protocol=PLAINTEXT";
    let alert = refused(&broker, &hello, words);
    assert_eq!(alert[..3], [0x15, 3, 3], "a TLS alert");
    for (method, path) in
        [("GET", "/metrics"), ("POST", "/topics/t"), ("PUT", "/"), ("HEAD", "/"), ("OPTIONS", "*")]
    {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: broker:9092\r\nUser-Agent: curl/8\r\n\r\n");
        let answer = refused(
            &broker,
            request.as_bytes(),
            &format!("sent an HTTP {method} request: this is a Kafka port"),
        );
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
        assert_eq!(body, "This is a Kafka port. Use a Kafka client with it.\n");
    }
}

#[test]
fn s5_requests_that_are_none_close_the_connection() {
    let broker = Broker::start();
    refused(&broker, &header(999, 0), "API key 999 version 0");
    refused(&broker, &header(-5, 0), "API key -5");
    refused(
        &broker,
        &header(34, 1),
        "asked AlterReplicaLogDirs v1 (API key 34), which this broker does not have",
    );
    refused(&broker, &header(3, 99), "asked Metadata v99; served: v0 to v13.");
    refused(&broker, &header(3, -1), "Metadata v-1");
    let old = "client \"x\" from {peer} asked Produce v2; served: v3 to v13. Last Kafka to serve it: 3.9.";
    refused(&broker, &header(0, 2), old);
    refused(&broker, &header(3, 9), "sent a Metadata v9 request that does not decode");
    refused(&broker, &[0, 0, 0, 0], "a frame of 0 bytes");
    refused(&broker, &[0, 0, 0, 3, 0, 3, 0], "a frame of 3 bytes");
    // A name's length that points behind the frame, an array of two thousand million topics.
    refused(
        &broker,
        &[&[0, 0, 0, 12, 0, 3, 0, 1, 0, 0, 0, 9, 0x7f, 0xff][..], b"ab"].concat(),
        "sent a Metadata v1 request that does not decode",
    );
    let many =
        [&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff][..], &0x7fff_ffff_i32.to_be_bytes()].concat();
    refused(&broker, &many, "sent a Metadata v1 request that does not decode");
}

#[test]
fn every_beginning_of_a_request_is_survived() {
    let broker = Broker::start();
    let whole = raw::frame(9, 1, "cut", &raw::produce("t", 0, -1, raw::batch(&[b"some value"])));
    // Sent to here and then cut off by the client; and announced as if it ended here.
    for len in (0..whole.len()).step_by(7) {
        let mut connection = Connection::to(broker.address());
        connection.write(&whole[..len]).unwrap();
        drop(connection);
        if len < 12 {
            continue;
        }
        let mut connection = Connection::to(broker.address());
        let mut short = whole[..len].to_vec();
        short[..4].copy_from_slice(&i32::try_from(len - 4).unwrap().to_be_bytes());
        connection.write(&short).unwrap();
        connection.finish_writing();
        connection.read_to_close();
    }
    assert!(raw::is_served(&mut Connection::to(broker.address())));
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}

#[test]
fn garbage_of_any_kind_is_survived() {
    let broker = Broker::start();
    let mut state = 0x1234_5678_9abc_def0_u64;
    for _ in 0..200 {
        let mut bytes: Vec<u8> = (0..300)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        // A length that fits and an API that exists, so that the garbage gets as far as a decoder.
        bytes[..4].copy_from_slice(&296_i32.to_be_bytes());
        bytes[4] = 0;
        bytes[5] %= 80;
        bytes[6] = 0;
        bytes[7] %= 16;
        let mut connection = Connection::to(broker.address());
        connection.write(&bytes).unwrap();
        connection.finish_writing();
        connection.read_to_close();
    }
    assert!(raw::is_served(&mut Connection::to(broker.address())));
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}

#[test]
fn a_line_about_a_bad_client_names_it() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address()).named("billing");
    let software = ApiVersionsRequest::default()
        .with_client_software_name("some-client".to_owned().into())
        .with_client_software_version("1.2.3".to_owned().into());
    connection.call(3, &software);
    let peer = connection.stream.local_addr().unwrap();
    connection.write(&header(999, 0)).unwrap();
    connection.read_to_close();
    let event = broker.wait_for_event("closing the connection");
    // It calls itself otherwise in what is refused, and that counts.
    let words = format!("client \"x\" (some-client 1.2.3) from {peer} asked API key 999 version 0");
    assert!(event["message"].as_str().unwrap().contains(&words), "{event}");
    // One that was understood before is named when what follows is not.
    let mut connection = Connection::to(broker.address()).named("billing");
    connection.call(3, &software);
    connection.write(&(-1_i32).to_be_bytes()).unwrap();
    connection.read_to_close();
    broker.wait_for_event("client \"billing\" (some-client 1.2.3) from ");
    // An id may have thousands of characters; a line does not show them all.
    let mut connection = Connection::to(broker.address());
    let id = "é".repeat(5000);
    let len = i16::try_from(id.len()).unwrap();
    let mut frame = (i32::from(len) + 10).to_be_bytes().to_vec();
    frame.extend_from_slice(&[3, 231, 0, 0, 0, 0, 0, 9]);
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(id.as_bytes());
    connection.write(&frame).unwrap();
    connection.read_to_close();
    broker.wait_for_event(&format!("client \"{}\"... from ", "é".repeat(100)));
    assert_eq!(closings(&broker), 3);
}

#[test]
fn s3_versions_that_are_not_known_are_told_which_are() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    connection.write(&header(18, 99)).unwrap();
    let mut frame = connection.receive().unwrap();
    let correlation_id = bytes::Buf::get_i32(&mut frame);
    let response = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!((correlation_id, response.error_code), (9, 35));
    assert!(response.api_keys.iter().any(|api| api.api_key == 18));
    // And the client may go on with one that is.
    assert_eq!(connection.call(0, &ApiVersionsRequest::default()).error_code, 0);
}

#[test]
fn answers_to_what_came_before_bad_bytes_leave_first() {
    let broker = Broker::start();
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[]);
    for bad in [header(999, 0), (-1_i32).to_be_bytes().to_vec(), vec![0, 0, 0, 1, 7]] {
        let mut connection = Connection::to(broker.address());
        let (first, mut bytes) = connection.frame(9, &raw::produce("t", 0, -1, raw::batch(&[b"a"])));
        let (second, more) = connection.frame(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
        let (third, last) = connection.frame(9, &raw::produce("t", 0, -1, raw::batch(&[b"b"])));
        bytes.extend(more);
        bytes.extend(last);
        bytes.extend(&bad);
        connection.write(&bytes).unwrap();
        assert_eq!(connection.answer::<ProduceRequest>(9).unwrap().0, first, "before {bad:?}");
        assert_eq!(connection.answer::<MetadataRequest>(9).unwrap().0, second, "before {bad:?}");
        assert_eq!(connection.answer::<ProduceRequest>(9).unwrap().0, third, "before {bad:?}");
        assert_eq!(connection.read_to_close(), b"");
    }
}
