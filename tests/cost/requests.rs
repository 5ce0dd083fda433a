//! The requests that are counted, one at a time, on a connection of their own.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, GroupId, InitProducerIdRequest, OffsetCommitRequest,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use streamd::record::build::{BatchBuilder, NewRecord};

use crate::support::raw::{self, Connection};

/// Hands every kind of request to `count`: its name in the table, and what sends it and takes the answer.
pub(crate) fn each(address: &str, mut count: impl FnMut(&str, &mut dyn FnMut())) {
    let mut connection = Connection::to(address);
    raw::create(&mut connection, "t", 1, &[]);
    raw::create(&mut connection, "full", 1, &[]);
    raw::create(&mut connection, "idle", 100, &[]);
    for _ in 0..40 {
        let write = raw::produce("full", 0, -1, batch(63, 1_024));
        assert_eq!(raw::produced(&connection.call(9, &write)).0, 0);
    }
    for (what, write) in [
        ("Produce, ten records of 100 bytes", batch(10, 100)),
        ("Produce, 16 KiB", batch(15, 1_024)),
        ("Produce, 64 KiB", batch(63, 1_024)),
    ] {
        let request = raw::produce("t", 0, -1, write);
        count(what, &mut || assert_eq!(raw::produced(&connection.call(9, &request)).0, 0));
    }
    for (what, bytes) in [("Fetch, 64 KiB", 64 << 10), ("Fetch, 1 MiB", 1 << 20)] {
        let mut request = raw::fetch("full", 0, 0, 100);
        request.topics[0].partitions[0].partition_max_bytes = bytes;
        count(what, &mut || {
            let records = connection.call(11, &request).responses[0].partitions[0].records.clone();
            assert!(records.unwrap().len() > usize::try_from(bytes).unwrap() / 2);
        });
    }
    let poll = raw::fetch_from("idle", (0..100).map(|index| (index, 0))).with_max_wait_ms(2);
    count("Fetch, 100 idle partitions", &mut || assert_eq!(connection.call(11, &poll).error_code, 0));
    let commit = commit();
    let committed =
        |connection: &mut Connection| connection.call(7, &commit).topics[0].partitions[0].error_code;
    // Its topic is made first.
    while committed(&mut connection) != 0 {
        thread::sleep(Duration::from_millis(10));
    }
    count("OffsetCommit", &mut || assert_eq!(committed(&mut connection), 0));
    count("Transaction: AddPartitionsToTxn, Produce, EndTxn", &mut transaction(&mut connection));
}

fn batch(count: usize, bytes: usize) -> Bytes {
    let value = vec![b'v'; bytes];
    raw::batch(&vec![value.as_slice(); count])
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn commit() -> OffsetCommitRequest {
    let place = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default().with_name(raw::name("t")).with_partitions(vec![place]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// A transaction of one partition, from its first request to the answer to its end.
fn transaction(connection: &mut Connection) -> impl FnMut() {
    let id = TransactionalId(text("cost"));
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id.clone()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let producer = connection.call(4, &init);
    let (producer, epoch) = (producer.producer_id, producer.producer_epoch);
    let mut connection = connection.another();
    let mut sequence = 0;
    move || {
        let topic = AddPartitionsToTxnTopic::default().with_name(raw::name("t")).with_partitions(vec![0]);
        let add = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id.clone())
            .with_v3_and_below_producer_id(producer)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![topic]);
        let added = connection.call(3, &add);
        assert_eq!(added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
        let mut batch = BatchBuilder::new().producer(producer.0, epoch, sequence).transactional(true);
        batch.push(&NewRecord { timestamp: 1_700_000_000_000, value: Some(b"v"), ..NewRecord::default() });
        sequence += 1;
        let write = raw::produce("t", 0, -1, batch.build().unwrap()).with_transactional_id(Some(id.clone()));
        assert_eq!(raw::produced(&connection.call(9, &write)).0, 0);
        let end = EndTxnRequest::default()
            .with_transactional_id(id.clone())
            .with_producer_id(producer)
            .with_producer_epoch(epoch)
            .with_committed(true);
        assert_eq!(connection.call(3, &end).error_code, 0);
    }
}
