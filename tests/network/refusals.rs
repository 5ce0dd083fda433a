//! What is refused: that it costs one line in the log and no more, and that nobody can write what is the broker's own.

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const INVALID_TOPIC: i16 = 17;

#[test]
fn refused_batches_are_one_line_a_request_and_a_minute() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 50, &[]);
    let mut request = raw::produce("t", 0, -1, Bytes::from_static(b"no batch"));
    request.topic_data[0].partition_data = (0..50)
        .map(|index| {
            PartitionProduceData::default()
                .with_index(index)
                .with_records(Some(Bytes::from_static(b"no batch, whatever its length may be")))
        })
        .collect();
    for _ in 0..3 {
        let response = connection.call(9, &request);
        assert!(response.responses[0].partition_responses.iter().all(|partition| partition.error_code != 0));
    }
    let line = broker.wait_for_log("refused");
    assert!(line.contains("t-0") && line.contains("and 49 more") && line.contains("raw"), "{line}");
    assert_eq!(broker.log().matches("refused").count(), 1, "{}", broker.log());
}

#[test]
fn s45_nobody_produces_to_the_brokers_own_topics() {
    let broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    let partition = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
    let topic =
        OffsetCommitRequestTopic::default().with_name(raw::name("t")).with_partitions(vec![partition]);
    let commit =
        OffsetCommitRequest::default().with_group_id(GroupId("g".to_owned().into())).with_topics(vec![topic]);
    assert_eq!(connection.call(8, &commit).topics[0].partitions[0].error_code, 0);
    for client in ["somebody", "__admin_client"] {
        let mut connection = Connection::to(broker.address()).named(client);
        let request = raw::produce("__consumer_offsets", 0, -1, raw::batch(&[b"\0\x01\0"]));
        assert_eq!(raw::produced(&connection.call(9, &request)).0, INVALID_TOPIC, "{client}");
    }
}

#[test]
fn a_producer_that_leaves_the_disk_no_time_gets_its_acknowledgement() {
    let broker = Broker::with("[durability]\nfsync = \"batch\"\n");
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    for timeout_ms in [0, -1, i32::MIN, 1] {
        for _ in 0..25 {
            let request = raw::produce("t", 0, -1, raw::batch(&[b"a"])).with_timeout_ms(timeout_ms);
            assert_eq!(raw::produced(&connection.call(9, &request)).0, 0, "{timeout_ms}");
        }
    }
}
