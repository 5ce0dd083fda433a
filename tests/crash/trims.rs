//! DeleteRecords and changed settings under kill -9: what was answered stays so, and no offset is used twice.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::random::Random;
use crate::support::Broker;
use crate::support::raw::{self, Connection};

const TOPIC: i8 = 2;

fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_owned())
}

fn delete(offset: i64) -> DeleteRecordsRequest {
    let row = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(raw::name("t")).with_partitions(vec![row]);
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

fn alter(name: &str, value: &str) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

/// The topic's own value of a setting.
fn own(connection: &mut Connection, name: &str) -> Option<String> {
    let topic = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_configuration_keys(Some(vec![text(name)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![topic]);
    let config = connection.call(4, &request).results.remove(0).configs.remove(0);
    (config.config_source == 1).then(|| config.value.unwrap_or_default().to_string())
}

/// The partition's first offset.
fn begins_at(connection: &mut Connection) -> i64 {
    let row = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-2);
    let topic = ListOffsetsTopic::default().with_name(raw::name("t")).with_partitions(vec![row]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    connection.call(5, &request).topics[0].partitions[0].offset
}

/// What a round was told before the kill.
#[derive(Debug, Default)]
struct Told {
    /// Records that were acknowledged: offset and value.
    appended: Vec<(i64, String)>,
    /// The largest start that was answered, and the largest that was asked for.
    trimmed: i64,
    asked: i64,
    /// The last setting that was answered, and the last that was asked for.
    set: Option<String>,
    asked_set: Option<String>,
}

/// Appends, trims and changes a setting, until the broker is gone.
fn work(address: &str, seed: u64, begun: &mpsc::Sender<()>) -> Told {
    let mut random = Random::new(seed, 0);
    let mut told = Told::default();
    let mut connection = Connection::to(address);
    for turn in 0_u64.. {
        if turn == 3 {
            let _ = begun.send(());
        }
        let value = format!("{seed}-{turn}");
        let request = raw::produce("t", 0, -1, raw::batch(&[value.as_bytes()]));
        let Ok(answer) = connection.ask(9, &request) else { break };
        let (error, offset) = raw::produced(&answer);
        assert_eq!(error, 0);
        told.appended.push((offset, value));
        match random.below(4) {
            0 => {
                let to = offset + 1 - i64::try_from(random.below(3)).unwrap();
                told.asked = told.asked.max(to);
                let Ok(answer) = connection.ask(2, &delete(to.max(0))) else { break };
                let row = &answer.topics[0].partitions[0];
                assert_eq!(row.error_code, 0);
                told.trimmed = told.trimmed.max(row.low_watermark);
            }
            1 => {
                let wanted = (100_000 + turn).to_string();
                told.asked_set = Some(wanted.clone());
                let Ok(answer) = connection.ask(1, &alter("flush.ms", &wanted)) else { break };
                assert_eq!(answer.responses[0].error_code, 0);
                told.set = Some(wanted);
            }
            _ => {}
        }
    }
    told
}

#[test]
fn s88_s96_what_was_answered_before_a_kill_is_so_after_it() {
    let mut broker = Broker::with("[kafka]\n\"log.segment.delete.delay.ms\" = 0\n");
    raw::create(&mut Connection::to(broker.address()), "t", 1, &[("segment.bytes", "400")]);
    let (mut start, mut end, mut set) = (0, 0, None);
    for seed in 1..=8_u64 {
        let address = broker.address().to_owned();
        let (begun, has_begun) = mpsc::channel();
        let told = thread::scope(|scope| {
            let worker = scope.spawn(|| work(&address, seed, &begun));
            has_begun.recv().unwrap();
            thread::sleep(Duration::from_millis(seed * 37 % 300));
            broker.kill();
            worker.join().unwrap()
        });
        broker.up();
        let mut connection = Connection::to(broker.address());
        let first = begins_at(&mut connection);
        let records = raw::read_from(&mut connection, "t", 0, first);
        start = told.trimmed.max(start);
        assert!(first >= start, "round {seed}: it begins at {first}, and began at {start}");
        let at_most = told.asked.max(start);
        for (offset, value) in told.appended.iter().filter(|(offset, _)| *offset >= at_most) {
            let found = records.iter().find(|record| record.offset == *offset);
            let found = found.map(|record| String::from_utf8(record.value.clone()).unwrap());
            assert_eq!(found.as_deref(), Some(value.as_str()), "round {seed}: offset {offset}");
        }
        let lowest = told.appended.first().map_or(end, |(offset, _)| *offset);
        assert!(lowest >= end, "round {seed}: offset {lowest} was given again, {end} was the end");
        end = told.appended.last().map_or(end, |(offset, _)| offset + 1).max(start);
        let now = own(&mut connection, "flush.ms");
        let allowed = [told.set.clone().or_else(|| set.clone()), told.asked_set.clone()];
        assert!(allowed.contains(&now), "round {seed}: {now:?} is none of {allowed:?}");
        set = now;
    }
    assert!(start > 0 && set.is_some(), "nothing was tried");
}
