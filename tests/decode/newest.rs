//! The versions that the protocol crate lacks, against bytes laid out by Kafka 4.3's schemas.

use bytes::Bytes;
use streamd::api::admin::log_dirs;
use streamd::api::data::list_offsets;
use streamd::api::group::{offset_commit, offset_fetch};
use streamd::api::txn::write_markers;
use streamd::types::TopicId;
use streamd::wire::generate::Generator;
use streamd::wire::{Reader, StrBytes};

const ID: [u8; 16] = [0xd0; 16];

/// Parts of a message, one field each.
fn message(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn text(of: &'static str) -> StrBytes {
    StrBytes::from_static_str(of)
}

#[test]
fn offset_commit_v10_names_topics_by_id() {
    let body = message(&[
        b"\x02g",               // group
        &5_i32.to_be_bytes(),   // generation or epoch
        b"\x02m",               // member
        b"\x00",                // instance: null
        b"\x02",                // one topic
        &ID,                    //   id
        b"\x02",                //   one partition
        &7_i32.to_be_bytes(),   //     index
        &100_i64.to_be_bytes(), //     offset
        &3_i32.to_be_bytes(),   //     leader epoch
        b"\x05meta",            //     metadata
        b"\0\0\0",              // tags of partition, topic, request
    ]);
    let mut reader = Reader::new(&body, true);
    let request = offset_commit::Request::decode(&mut reader, 10).unwrap();
    assert_eq!(reader.remaining(), 0);
    let partition = offset_commit::Partition {
        index: 7,
        committed_offset: 100,
        committed_leader_epoch: 3,
        committed_metadata: Some(text("meta")),
    };
    let topic = offset_commit::Topic {
        name: StrBytes::new(),
        id: TopicId::from_bytes(ID),
        partitions: vec![partition],
    };
    let expected = offset_commit::Request {
        group_id: text("g"),
        generation_id_or_member_epoch: 5,
        member_id: text("m"),
        group_instance_id: None,
        retention_time_ms: -1,
        topics: vec![topic],
    };
    assert_eq!(request, expected);
}

#[test]
fn offset_fetch_v10_names_topics_by_id() {
    let body = message(&[
        b"\x02",              // one group
        b"\x02g",             //   id
        b"\x02m",             //   member
        &4_i32.to_be_bytes(), //   epoch
        b"\x02",              //   one topic
        &ID,                  //     id
        b"\x03",              //     two partitions
        &7_i32.to_be_bytes(),
        &8_i32.to_be_bytes(),
        b"\0\0", // tags of topic, group
        b"\x01", // require stable
        b"\0",   // tags of request
    ]);
    let mut reader = Reader::new(&body, true);
    let request = offset_fetch::Request::decode(&mut reader, 10).unwrap();
    assert_eq!(reader.remaining(), 0);
    let topic =
        offset_fetch::Topic { name: StrBytes::new(), id: TopicId::from_bytes(ID), partitions: vec![7, 8] };
    let group = offset_fetch::Group {
        group_id: text("g"),
        member_id: Some(text("m")),
        member_epoch: 4,
        topics: Some(vec![topic]),
    };
    assert_eq!(request, offset_fetch::Request { groups: vec![group], require_stable: true });
}

#[test]
fn list_offsets_v11_reads_as_v10() {
    for seed in 0..100 {
        let generator = Generator::new(seed);
        let written = list_offsets::Request::decode(&mut Reader::generating(&generator, true), 11).unwrap();
        let body = generator.into_bytes();
        assert_eq!(list_offsets::Request::decode(&mut Reader::new(&body, true), 10), Ok(written));
    }
}

#[test]
fn describe_log_dirs_v5_reads_as_v4() {
    for seed in 0..100 {
        let generator = Generator::new(seed);
        let written = log_dirs::Request::decode(&mut Reader::generating(&generator, true), 5).unwrap();
        let body = generator.into_bytes();
        assert_eq!(log_dirs::Request::decode(&mut Reader::new(&body, true), 4), Ok(written));
    }
}

#[test]
fn write_txn_markers_v2_says_the_transactions_version() {
    let body = message(&[
        b"\x02",                 // one marker
        &4000_i64.to_be_bytes(), //   producer
        &3_i16.to_be_bytes(),    //   epoch
        b"\x01",                 //   commit
        b"\x02\x02t\x02",        //   one topic, one partition
        &7_i32.to_be_bytes(),    //     index
        b"\0",                   //     tags
        &5_i32.to_be_bytes(),    //   coordinator's epoch
        b"\x02",                 //   transaction version
        b"\0\0",                 // tags of marker, request
    ]);
    let mut reader = Reader::new(&body, true);
    let request = write_markers::Request::decode(&mut reader, 2).unwrap();
    assert_eq!(reader.remaining(), 0);
    let marker = write_markers::Marker {
        producer_id: 4000,
        producer_epoch: 3,
        commit: true,
        topics: vec![write_markers::Topic { name: text("t"), partitions: vec![7] }],
        coordinator_epoch: 5,
        transaction_version: 2,
    };
    assert_eq!(request, write_markers::Request { markers: vec![marker] });
}
