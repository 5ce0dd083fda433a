//! Responses written by hand: the protocol crate reads them at every version it has and writes the same bytes, and
//! those of the newest versions are as Kafka 4.3's schemas lay them out.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    DescribeLogDirsResponse, ListOffsetsResponse, OffsetCommitResponse, OffsetFetchResponse,
    WriteTxnMarkersResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use streamd::api::admin::log_dirs;
use streamd::api::data::list_offsets;
use streamd::api::group::{offset_commit, offset_fetch};
use streamd::api::txn::write_markers;
use streamd::types::{ErrorCode, TopicId};
use streamd::wire::{ApiSpec, StrBytes, Writer};

const ID: TopicId = TopicId::from_bytes([0xd0; 16]);

fn text(of: &'static str) -> StrBytes {
    StrBytes::from_static_str(of)
}

fn written(spec: ApiSpec, version: i16, write: impl Fn(&mut Writer<'_>, i16)) -> Bytes {
    let mut out = BytesMut::new();
    write(&mut Writer::new(&mut out, spec.is_flexible(version)), version);
    out.freeze()
}

/// Reads what `write` wrote with the crate at every version it has, and hands the reading to `check`.
fn read_by_crate<T: Decodable + Encodable + Message>(
    spec: ApiSpec,
    write: impl Fn(&mut Writer<'_>, i16),
    check: impl Fn(i16, T),
) {
    assert_eq!(spec.min, T::VERSIONS.min);
    for version in spec.min..=T::VERSIONS.max {
        let body = written(spec, version, &write);
        let mut rest = body.clone();
        let read = T::decode(&mut rest, version).unwrap();
        assert!(rest.is_empty(), "{} v{version}", spec.name);
        let mut again = BytesMut::new();
        read.encode(&mut again, version).unwrap();
        assert_eq!(again, body, "{} v{version}", spec.name);
        check(version, read);
    }
}

fn commit_response() -> offset_commit::Response {
    let topic = offset_commit::TopicOutcome {
        name: text("t"),
        id: ID,
        partitions: vec![(0, ErrorCode::None), (4, ErrorCode::OffsetMetadataTooLarge)],
    };
    offset_commit::Response { throttle_time_ms: 9, topics: vec![topic] }
}

#[test]
fn offset_commit_responses_are_what_the_crate_reads() {
    let response = commit_response();
    let write = |w: &mut Writer<'_>, version: i16| response.write(w, version);
    read_by_crate(offset_commit::SPEC, write, |version, read: OffsetCommitResponse| {
        assert_eq!(read.throttle_time_ms, if version >= 3 { 9 } else { 0 });
        let (name, id) = if version >= 10 { ("", *ID.as_bytes()) } else { ("t", [0; 16]) };
        assert_eq!((read.topics[0].name.as_str(), read.topics[0].topic_id.into_bytes()), (name, id));
        let partitions: Vec<_> =
            read.topics[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
        assert_eq!(partitions, [(0, 0), (4, 12)]);
    });
}

#[test]
fn offset_commit_v10_response_names_topics_by_id() {
    let response = commit_response();
    let body = written(offset_commit::SPEC, 10, |w, version| response.write(w, version));
    let expected = [&b"\0\0\0\x09\x02"[..], ID.as_bytes(), b"\x03\0\0\0\0\0\0\0\0\0\0\x04\0\x0c\0", b"\0\0"];
    assert_eq!(body, expected.concat());
}

fn fetch_response(groups: usize) -> offset_fetch::Response {
    let found = offset_fetch::PartitionOffset {
        index: 2,
        committed_offset: 77,
        committed_leader_epoch: 5,
        metadata: Some(text("m")),
        error: ErrorCode::None,
    };
    let bad = offset_fetch::PartitionOffset {
        index: 3,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: None,
        error: ErrorCode::UnstableOffsetCommit,
    };
    let topic = offset_fetch::TopicOffsets { name: text("t"), id: ID, partitions: vec![found, bad] };
    let group = offset_fetch::GroupOffsets {
        group_id: text("g"),
        error: ErrorCode::NotCoordinator,
        topics: vec![topic],
    };
    offset_fetch::Response { throttle_time_ms: 9, groups: vec![group; groups] }
}

#[test]
fn offset_fetch_responses_are_what_the_crate_reads() {
    let response = fetch_response(2);
    let write = |w: &mut Writer<'_>, version: i16| response.write(w, version);
    read_by_crate(offset_fetch::SPEC, write, |version, read: OffsetFetchResponse| {
        assert_eq!(read.throttle_time_ms, if version >= 3 { 9 } else { 0 });
        let epoch = if version >= 5 { 5 } else { -1 };
        if version < 8 {
            assert_eq!(read.error_code, if version >= 2 { 16 } else { 0 });
            let partition = &read.topics[0].partitions[0];
            assert_eq!((partition.partition_index, partition.committed_offset), (2, 77));
            assert_eq!(partition.committed_leader_epoch, epoch);
            assert_eq!(read.topics[0].partitions[1].error_code, 88);
        } else {
            assert_eq!((read.groups.len(), read.groups[1].error_code), (2, 16));
            assert_eq!(read.groups[0].group_id.as_str(), "g");
            let partition = &read.groups[0].topics[0].partitions[0];
            assert_eq!((partition.partition_index, partition.committed_offset), (2, 77));
            assert_eq!(partition.committed_leader_epoch, epoch);
            assert_eq!(partition.metadata.as_deref(), Some("m"));
        }
    });
}

#[test]
fn offset_fetch_v10_response_names_topics_by_id() {
    let response = fetch_response(1);
    let body = written(offset_fetch::SPEC, 10, |w, version| response.write(w, version));
    let expected = [
        &b"\0\0\0\x09\x02\x02g\x02"[..],
        ID.as_bytes(),
        b"\x03",
        b"\0\0\0\x02\0\0\0\0\0\0\0\x4d\0\0\0\x05\x02m\0\0\0",
        b"\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\0\x58\0",
        b"\0\0\x10\0\0",
    ];
    assert_eq!(body, expected.concat());
}

#[test]
fn list_offsets_responses_are_what_the_crate_reads() {
    let partition = list_offsets::PartitionOffset {
        index: 6,
        error: ErrorCode::FencedLeaderEpoch,
        timestamp: 1000,
        offset: 55,
        leader_epoch: 4,
    };
    let topic = list_offsets::TopicOffsets { name: text("t"), partitions: vec![partition] };
    let response = list_offsets::Response { throttle_time_ms: 9, topics: vec![topic] };
    let write = |w: &mut Writer<'_>, version: i16| response.write(w, version);
    read_by_crate(list_offsets::SPEC, write, |version, read: ListOffsetsResponse| {
        assert_eq!(read.throttle_time_ms, if version >= 2 { 9 } else { 0 });
        let partition = &read.topics[0].partitions[0];
        assert_eq!((partition.partition_index, partition.error_code), (6, 74));
        assert_eq!((partition.timestamp, partition.offset), (1000, 55));
        assert_eq!(partition.leader_epoch, if version >= 4 { 4 } else { -1 });
    });
    let [v10, v11] = [10, 11].map(|version| written(list_offsets::SPEC, version, write));
    assert_eq!(v11, v10);
}

fn told(index: i32, bytes: i64, damage: &str) -> log_dirs::Told {
    log_dirs::Told { index, bytes, damage: damage.to_owned() }
}

fn log_dirs_response() -> log_dirs::Response {
    log_dirs::Response {
        throttle_time_ms: 9,
        error: ErrorCode::None,
        log_dir: "/d".to_owned(),
        topics: [("t".to_owned(), vec![told(0, 7, ""), told(4, 1 << 40, "3 5 rot\n")])].into(),
        total_bytes: 100,
        usable_bytes: 50,
    }
}

#[test]
fn describe_log_dirs_responses_are_what_the_crate_reads() {
    let response = log_dirs_response();
    let write = |w: &mut Writer<'_>, version: i16| response.write(w, version);
    read_by_crate(log_dirs::SPEC, write, |version, read: DescribeLogDirsResponse| {
        assert_eq!((read.throttle_time_ms, read.error_code), (9, 0));
        let dir = &read.results[0];
        assert_eq!((dir.error_code, dir.log_dir.as_str(), dir.topics[0].name.as_str()), (0, "/d", "t"));
        let sizes: Vec<_> =
            dir.topics[0].partitions.iter().map(|p| (p.partition_index, p.partition_size)).collect();
        assert_eq!(sizes, [(0, 7), (4, 1 << 40)]);
        let tagged = |nth: usize| dir.topics[0].partitions[nth].unknown_tagged_fields.get(&21_000).cloned();
        let damage = (version >= 2).then(|| "3 5 rot\n".into());
        assert_eq!((tagged(0), tagged(1)), (None, damage), "others pass over it");
        let space = if version >= 4 { (100, 50) } else { (-1, -1) };
        assert_eq!((dir.total_bytes, dir.usable_bytes), space);
    });
}

#[test]
fn describe_log_dirs_v5_response_tells_that_the_directory_takes_partitions() {
    let mut response = log_dirs_response();
    response.topics.clear();
    let body = written(log_dirs::SPEC, 5, |w, version| response.write(w, version));
    let expected =
        [&b"\0\0\0\x09\0\0\x02\0\0\x03/d\x01"[..], &100_i64.to_be_bytes(), &50_i64.to_be_bytes(), b"\0\0\0"];
    assert_eq!(body, expected.concat());
}

#[test]
fn write_txn_markers_responses_are_what_the_crate_reads() {
    let topic = write_markers::TopicResult {
        name: text("t"),
        partitions: vec![(0, ErrorCode::None), (4, ErrorCode::InvalidProducerEpoch)],
    };
    let marker = write_markers::MarkerResult { producer_id: 4000, topics: vec![topic] };
    let response = write_markers::Response { markers: vec![marker] };
    let write = |w: &mut Writer<'_>, version: i16| response.write(w, version);
    read_by_crate(write_markers::SPEC, write, |_, read: WriteTxnMarkersResponse| {
        assert_eq!(*read.markers[0].producer_id, 4000);
        let partitions = &read.markers[0].topics[0].partitions;
        let partitions: Vec<_> = partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
        assert_eq!(partitions, [(0, 0), (4, 47)]);
    });
}
