//! What an answer waits for in each mode of `durability.fsync`, as docs/durability.md promises it. A disk that refuses to
//! sync tells: what waits for it fails, and what does not succeeds.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, GroupId, IncrementalAlterConfigsRequest, OffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::injector::{self, EIO, Faults, SYNCS};
use crate::scene::*;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// The interval is one that does not end while a test looks on.
const MODES: [&str; 4] = ["batch", "always", "interval(1h)", "never"];
const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];

fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_owned())
}

fn broker(mode: &str) -> Option<(Broker, Faults)> {
    injector::broker(&format!("[durability]\nfsync = \"{mode}\"\n[disk]\nscrub_rate = 0\n"))
}

fn produce_with(broker: &Broker, topic: &str, acks: i16, value: &[u8]) -> i16 {
    let request = raw::produce(topic, 0, acks, raw::batch(&[value]));
    raw::produced(&Connection::to(broker.address()).call(9, &request)).0
}

#[test]
fn an_acknowledgement_waits_for_the_disk_where_the_mode_says_so() {
    for mode in MODES {
        // acks=all, acks=1, and acks=1 to a topic with flush.messages=1.
        let waits = match mode {
            "batch" => [true, false, true],
            "always" => [true; 3],
            _ => [false, false, true],
        };
        for (nth, (acks, topic)) in [(-1, "t"), (1, "t"), (1, "flushed")].into_iter().enumerate() {
            let Some((broker, faults)) = broker(mode) else { return };
            let mut connection = Connection::to(broker.address());
            raw::create(&mut connection, "t", 1, KEEP);
            raw::create(&mut connection, "flushed", 1, &[("flush.messages", "1"), KEEP[0]]);
            assert_eq!(produce_with(&broker, topic, -1, b"first"), 0);
            let path = format!("/{topic}-0/");
            wait_for("the first record is shown", || values(&broker, topic, 0) == ["first"]);
            faults.set(&SYNCS, &path, EIO, 0);
            let code = produce_with(&broker, topic, acks, b"second");
            let expected = if waits[nth] { STORAGE_ERROR } else { 0 };
            assert_eq!(code, expected, "{mode}, acks={acks} to {topic}");
            // What consumers see is what is on disk, or what is in the log.
            let is_shown = !waits[nth] && mode != "batch";
            let shown: &[&str] = if is_shown { &["first", "second"] } else { &["first"] };
            assert_eq!(values(&broker, topic, 0), shown, "{mode}, acks={acks} to {topic}");
        }
    }
}

#[test]
fn flush_messages_and_flush_ms_bring_a_sync_forward() {
    for (setting, records) in
        [(("flush.messages", "3"), 3), (("flush.ms", "100"), 1), (("retention.ms", "-1"), 3)]
    {
        let Some((broker, faults)) = broker("never") else { return };
        raw::create(&mut Connection::to(broker.address()), "t", 1, &[setting]);
        faults.set(&SYNCS, "/t-0/", EIO, 0);
        for _ in 0..records {
            assert!(faults.met().is_empty(), "{setting:?}");
            assert_eq!(produce_with(&broker, "t", -1, b"x"), 0, "{setting:?}: nobody waits");
        }
        if setting.0 == "retention.ms" {
            std::thread::sleep(std::time::Duration::from_secs(1));
            assert!(faults.met().is_empty(), "by itself it is not synced so soon");
        } else {
            wait_for("a sync", || !faults.met().is_empty());
        }
    }
}

fn commit(broker: &Broker, offset: i64) -> i16 {
    let row = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default().with_name(raw::name("t")).with_partitions(vec![row]);
    let request = OffsetCommitRequest::default().with_group_id(GroupId(text("g"))).with_topics(vec![topic]);
    Connection::to(broker.address()).call(8, &request).topics[0].partitions[0].error_code
}

#[test]
fn a_commit_waits_for_the_disk_only_with_always() {
    for mode in MODES {
        let Some((broker, faults)) = broker(mode) else { return };
        let mut connection = Connection::to(broker.address());
        raw::create(&mut connection, "t", 1, KEEP);
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
        wait_for("a coordinator", || connection.call(4, &find).coordinators[0].error_code == 0);
        wait_for("a first commit", || commit(&broker, 1) == 0);
        // In `batch` it is synced soon, which must be over.
        std::thread::sleep(std::time::Duration::from_secs(1));
        faults.set(&SYNCS, "/__consumer_offsets-", EIO, 0);
        let code = commit(&broker, 2);
        assert_eq!(code == 0, mode != "always", "{mode}: {code}");
    }
}

fn delete_first(connection: &mut Connection) -> i16 {
    let row = DeleteRecordsPartition::default().with_partition_index(0).with_offset(1);
    let topic = DeleteRecordsTopic::default().with_name(raw::name("t")).with_partitions(vec![row]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    connection.call(2, &request).topics[0].partitions[0].error_code
}

fn alter(connection: &mut Connection) -> i16 {
    let config = AlterableConfig::default().with_name(text("flush.ms")).with_value(Some(text("7")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    connection.call(1, &request).responses[0].error_code
}

fn producer_id(connection: &mut Connection) -> i16 {
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1000);
    connection.call(4, &request).error_code
}

#[test]
fn topics_settings_producer_ids_and_deleted_records_wait_for_the_disk_in_every_mode() {
    type Ask = fn(&mut Connection) -> i16;
    let asks: [(&str, &str, Ask); 4] = [
        ("a topic", "/__cluster_metadata-0/", |connection| {
            connection.call(5, &raw::create_request("new", 1, &[])).topics[0].error_code
        }),
        ("a setting", "/__cluster_metadata-0/", alter),
        ("a producer id", "/__cluster_metadata-0/", producer_id),
        ("deleted records", "/streamd.manifest", delete_first),
    ];
    for mode in ["batch", "never"] {
        for (what, path, ask) in asks {
            let Some((broker, faults)) = broker(mode) else { return };
            let mut connection = Connection::to(broker.address());
            raw::create(&mut connection, "t", 1, KEEP);
            assert_eq!(produce_with(&broker, "t", -1, b"first"), 0);
            faults.set(&SYNCS, path, EIO, 0);
            assert_ne!(ask(&mut connection), 0, "{mode}: {what}");
            assert!(!faults.met().is_empty(), "{mode}: {what}");
        }
    }
}

#[test]
fn a_commit_past_the_end_is_told_and_never_answered_with_other_records() {
    let Some((mut broker, _faults)) = broker("never") else { return };
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, KEEP);
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    wait_for("a coordinator", || connection.call(4, &find).coordinators[0].error_code == 0);
    for value in [b"a", b"b", b"c", b"d"] {
        assert_eq!(produce_with(&broker, "t", -1, value), 0);
    }
    wait_for("a commit", || commit(&broker, 4) == 0);
    broker.kill();
    // A power cut takes the end of this log, and leaves that of the other.
    let log = broker.data().join("t-0/00000000000000000000.log");
    let len = std::fs::metadata(&log).unwrap().len();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(len / 2).unwrap();
    broker.up();
    let mut connection = Connection::to(broker.address());
    assert_eq!(values(&broker, "t", 0), ["a", "b"]);
    let response = connection.call(11, &raw::fetch("t", 0, 4, 0));
    assert_eq!(raw::fetched(&response, 4).0, OFFSET_OUT_OF_RANGE);
    assert_eq!(produce_with(&broker, "t", -1, b"e"), 0);
    // The epoch of the lost records ends where the log was cut: a client that knows it goes back to there.
    let epoch = |offset: i64| {
        let response = connection.call(11, &raw::fetch("t", 0, offset, 0));
        let batch = response.responses[0].partitions[0].records.clone().unwrap();
        i32::from_be_bytes(batch[12..16].try_into().unwrap())
    };
    let [before, after] = [1, 2].map(epoch);
    assert!(before < after, "{before} and {after}");
}

/// `OFFSET_OUT_OF_RANGE`.
const OFFSET_OUT_OF_RANGE: i16 = 1;
