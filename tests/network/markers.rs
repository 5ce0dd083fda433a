//! Markers written by hand and what DescribeProducers tells of them.

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::PartitionResponse;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{DescribeProducersRequest, FetchRequest, WriteTxnMarkersRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const COORDINATOR_FENCED: i16 = 52;

/// Aborts producer 7's transaction in these topics' partitions 0 and 1: the errors, in order.
fn abort(connection: &mut Connection, topics: &[&str], epoch: i16, coordinator_epoch: i32) -> Vec<i16> {
    let topics = topics.iter().map(|name| {
        let topic = WritableTxnMarkerTopic::default().with_name(raw::name(name));
        topic.with_partition_indexes(vec![0, 1])
    });
    let marker = WritableTxnMarker::default()
        .with_producer_id(7.into())
        .with_producer_epoch(epoch)
        .with_transaction_result(false)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(topics.collect());
    let response = connection.call(1, &WriteTxnMarkersRequest::default().with_markers(vec![marker]));
    assert_eq!(response.markers.len(), 1);
    assert_eq!(response.markers[0].producer_id, 7);
    let topics = response.markers[0].topics.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(|partition| partition.error_code)).collect()
}

fn describe(connection: &mut Connection, topic: &str) -> Vec<PartitionResponse> {
    let topic = TopicRequest::default().with_name(raw::name(topic)).with_partition_indexes(vec![0, 5]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    connection.call(0, &request).topics.remove(0).partitions
}

#[test]
fn s57_an_operators_marker_fences_and_shows() {
    let mut broker = Broker::start();
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 2, &[]);
    let outcome = abort(&mut connection, &["t", "missing"], 3, 5);
    assert_eq!(outcome, [0, 0, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(abort(&mut connection, &["t"], 2, 5), [INVALID_PRODUCER_EPOCH; 2]);
    assert_eq!(abort(&mut connection, &["t"], 3, 4), [COORDINATOR_FENCED; 2]);
    assert_eq!(abort(&mut connection, &["t"], 3, 5), [0, 0], "repeated");
    for restarted in [false, true] {
        if restarted {
            broker.kill();
            broker.up();
            connection = Connection::to(broker.address());
        }
        let told = describe(&mut connection, "t");
        assert_eq!((told[0].error_code, told[1].error_code), (0, UNKNOWN_TOPIC_OR_PARTITION));
        let [producer] = &told[0].active_producers[..] else { panic!("{told:?}") };
        assert_eq!((producer.producer_id, producer.producer_epoch), (7.into(), 3));
        assert_eq!((producer.last_sequence, producer.coordinator_epoch), (-1, 5));
        assert_eq!(producer.current_txn_start_offset, -1);
        assert!(producer.last_timestamp > 0);
        let response = connection.call::<FetchRequest>(11, &raw::fetch("t", 0, 0, 0).with_isolation_level(1));
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (2, 2));
        assert_eq!(partition.aborted_transactions.as_deref(), Some(&[][..]), "nothing was open");
    }
    assert_eq!(describe(&mut connection, "missing")[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    let wrong = describe(&mut connection, "no/name");
    assert_eq!(wrong[0].error_code, INVALID_TOPIC);
    assert!(wrong[0].error_message.is_some());
}
