//! Requests that many scripts make.

use serde_json::{Value, json};

use crate::batch::Batch;
use crate::session::{Session, Topic};

/// Records for partition 0 of a topic, acknowledged by all replicas.
pub(super) fn produce(topic: &Topic, batch: &Batch) -> Value {
    produce_bytes(topic, batch.value())
}

/// The same with a records field of any kind. The topic goes by name or by id, as the version has it.
pub(super) fn produce_bytes(topic: &Topic, records: Value) -> Value {
    let partitions = json!([{"index": 0, "records": records}]);
    json!({"acks": -1, "timeout_ms": 30_000, "topic_data": [
        {"name": topic.name, "topic_id": topic.id, "partition_data": partitions}]})
}

/// What partition 0 of a topic holds from `offset` on, without waiting.
pub(super) fn fetch(topic: &Topic, offset: i64) -> Value {
    let partitions = json!([{"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1_000_000}]);
    json!({"max_wait_ms": 0, "min_bytes": 0, "topics": [
        {"topic": topic.name, "topic_id": topic.id, "partitions": partitions}]})
}

/// The offset of partition 0 of a topic at a time or special value.
pub(super) fn list_offset(topic: &Topic, timestamp: i64) -> Value {
    let partitions = json!([{"partition_index": 0, "timestamp": timestamp}]);
    json!({"replica_id": -1, "topics": [{"name": topic.name, "partitions": partitions}]})
}

/// Appends a batch to partition 0, unrecorded.
pub(super) fn append(s: &Session, topic: &Topic, batch: &Batch) {
    append_to(s, topic, 0, batch);
}

/// Appends a batch to a partition, unrecorded.
pub(super) fn append_to(s: &Session, topic: &Topic, partition: i32, batch: &Batch) {
    let mut request = produce(topic, batch);
    request["topic_data"][0]["partition_data"][0]["index"] = partition.into();
    let answer = s.connect().quiet("Produce", 9, request);
    assert_eq!(answer.int("responses[0].partition_responses[0].error_code"), 0, "{:?}", answer.tree);
}
