//! Fetch bodies against the protocol crate's decoder and encoder, at every version.

use bytes::Bytes;
use kafka_protocol::messages;
use kafka_protocol::protocol::{Decodable, Encodable};

use super::*;

const FETCH: ApiSpec = ApiSpec { key: 1, name: "Fetch", min: 4, max: 18, flexible_from: 12 };

fn gather(reply: &Reply<Bytes>) -> Bytes {
    let mut whole = BytesMut::from(&reply.head[..]);
    for chunk in &reply.tail {
        match chunk {
            Chunk::Bytes(bytes) | Chunk::Slice(bytes) => whole.extend_from_slice(bytes),
        }
    }
    whole.freeze()
}

fn partition(index: i32, records: &[&'static [u8]]) -> FetchedPartition<Bytes> {
    let records: Vec<_> = records.iter().map(|slice| Bytes::from_static(slice)).collect();
    FetchedPartition {
        high_watermark: 10,
        last_stable_offset: 9,
        log_start_offset: 2,
        records_len: records.iter().map(Bytes::len).sum(),
        records,
        ..FetchedPartition::refused(index, ErrorCode::None)
    }
}

fn response() -> FetchResponse<Bytes> {
    let odd = FetchedPartition {
        aborted: Some(vec![AbortedTransaction { producer_id: 5, first_offset: 3 }]),
        preferred_read_replica: 4,
        diverging_epoch: Some(EpochEnd { epoch: 2, end_offset: 77 }),
        current_leader: Some(CurrentLeader { leader_id: 1, leader_epoch: 6 }),
        snapshot: Some(EpochEnd { epoch: 8, end_offset: 99 }),
        error: ErrorCode::NotLeaderOrFollower,
        ..partition(1, &[])
    };
    let first = FetchedTopic {
        name: StrBytes::from_static_str("first"),
        id: TopicId::from_bytes([1; 16]),
        partitions: vec![partition(0, &[b"abc", b"defg"]), odd, partition(2, &[b"h"])],
    };
    let second = FetchedTopic {
        name: StrBytes::from_static_str("second"),
        id: TopicId::from_bytes([2; 16]),
        partitions: vec![FetchedPartition {
            aborted: Some(Vec::new()),
            ..FetchedPartition::refused(0, ErrorCode::UnknownTopicId)
        }],
    };
    FetchResponse {
        throttle_time_ms: 11,
        error: ErrorCode::None,
        session_id: 12,
        topics: vec![first, second],
        node_endpoints: vec![NodeEndpoint {
            node_id: 1,
            host: StrBytes::from_static_str("here"),
            port: 9092,
            rack: None,
        }],
    }
}

#[test]
fn the_crate_reads_the_body_at_every_version_and_writes_the_same_bytes() {
    for version in FETCH.min..=FETCH.max {
        let reply = encode(&FETCH, version, 42, response());
        let frame = gather(&reply);
        assert_eq!(frame.len(), reply.len);
        assert_eq!(frame[..4], u32::try_from(reply.len - 4).unwrap().to_be_bytes());
        let header = if version >= 12 { 9 } else { 8 };
        assert_eq!(frame[4..8], 42_i32.to_be_bytes());

        let mut body = frame.slice(header..);
        let read = messages::FetchResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "v{version}");
        let mut again = BytesMut::new();
        read.encode(&mut again, version).unwrap();
        assert_eq!(frame.slice(header..), again, "v{version}");
        check_fields(version, &read);
    }
}

fn check_fields(version: i16, read: &messages::FetchResponse) {
    assert_eq!(read.throttle_time_ms, 11);
    assert_eq!(read.session_id, if version >= 7 { 12 } else { 0 });
    let [first, second] = &read.responses[..] else { panic!("two topics") };
    assert_eq!(first.topic.as_str(), if version < 13 { "first" } else { "" });
    assert_eq!(first.topic_id.as_bytes(), &[u8::from(version >= 13); 16]);
    let [data, odd, last] = &first.partitions[..] else { panic!("three partitions") };
    assert_eq!((data.high_watermark, data.last_stable_offset), (10, 9));
    assert_eq!(data.log_start_offset, if version >= 5 { 2 } else { -1 });
    assert_eq!(data.records.as_deref(), Some(&b"abcdefg"[..]));
    assert_eq!(data.aborted_transactions, None);
    assert_eq!(odd.aborted_transactions.as_ref().unwrap()[0].producer_id.0, 5);
    assert_eq!(odd.preferred_read_replica.0, if version >= 11 { 4 } else { -1 });
    if version >= 12 {
        assert_eq!((odd.diverging_epoch.epoch, odd.diverging_epoch.end_offset), (2, 77));
        assert_eq!((odd.current_leader.leader_id.0, odd.current_leader.leader_epoch), (1, 6));
        assert_eq!((odd.snapshot_id.epoch, odd.snapshot_id.end_offset), (8, 99));
    }
    assert_eq!(last.records.as_deref(), Some(&b"h"[..]));
    assert_eq!(second.partitions[0].error_code, 100);
    assert_eq!(second.partitions[0].aborted_transactions.as_ref().map(Vec::len), Some(0));
    assert_eq!(read.node_endpoints.len(), usize::from(version >= 16));
}

#[test]
fn records_are_not_copied_and_fields_take_one_buffer() {
    let reply = encode(&FETCH, 16, 1, response());
    let slices = reply.tail.iter().filter(|chunk| matches!(chunk, Chunk::Slice(_))).count();
    assert_eq!((slices, reply.tail.len()), (3, 5), "slices of one partition lie side by side");
}

#[test]
fn a_response_without_records_is_one_chunk() {
    let empty = FetchResponse::<Bytes> {
        throttle_time_ms: 0,
        error: ErrorCode::FetchSessionIdNotFound,
        session_id: 0,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    };
    let reply = encode(&FETCH, 12, 1, empty);
    assert!(reply.tail.is_empty());
    let read = messages::FetchResponse::decode(&mut reply.head.slice(9..), 12).unwrap();
    assert_eq!(read.error_code, 70);
}
