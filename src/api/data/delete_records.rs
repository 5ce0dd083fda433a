//! DeleteRecords (key 21), versions 0 to 2: moves the start of partitions, so that what lies before it is gone.
//!
//! v2 the flexible form. The offset becomes the partition's first one exactly, even in the middle of a batch; -1 stands
//! for the high watermark. The answer tells the start as it is then, and comes when it is durable. Records below it are
//! never served again, and whole segments of them go from the disk (S88).

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsResponse, TopicName};

use crate::api::{Api, Call, Started, errors, waits};
use crate::catalog::CatalogImage;
use crate::partition::{self, Closed};
use crate::types::ErrorCode;
use crate::types::offset::NO_OFFSET;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 21, name: "DeleteRecords", min: 0, max: 2, flexible_from: 2 };

/// A DeleteRecords request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to delete.
    pub topics: Vec<Topic>,
    /// How long followers may take to follow. There are none.
    pub timeout_ms: i32,
}

/// One topic of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: i32,
    /// Its first offset from here on; -1 for the high watermark.
    pub offset: i64,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self { topics: r.array(Topic::decode)?, timeout_ms: r.i32()? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(Partition::decode)? };
        r.end()?;
        Ok(topic)
    }
}

impl Partition {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let partition = Self { index: r.i32()?, offset: r.i64()? };
        r.end()?;
        Ok(partition)
    }
}

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// What is asked of one partition, and what came of it.
struct Row {
    topic: usize,
    index: i32,
    result: Result<(Arc<partition::Partition>, i64), ErrorCode>,
}

/// Deletes the records, and answers when they cannot come back.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let who = call.session.describe();
    Ok(waits(async move {
        let mut rows = find(&api, &request).await;
        delete(&api, who, &mut rows).await;
        let mut topics: Vec<DeleteRecordsTopicResult> = request
            .topics
            .iter()
            .map(|topic| DeleteRecordsTopicResult::default().with_name(TopicName(topic.name.clone())))
            .collect();
        for row in rows {
            let (error, low_watermark) = match row.result {
                Ok((partition, _)) => (ErrorCode::None, partition.log_start()),
                Err(error) => (error, NO_OFFSET),
            };
            if let Some(topic) = topics.get_mut(row.topic) {
                topic.partitions.push(
                    DeleteRecordsPartitionResult::default()
                        .with_partition_index(row.index)
                        .with_low_watermark(low_watermark)
                        .with_error_code(error.code()),
                );
            }
        }
        topics.retain(|topic| !topic.partitions.is_empty());
        responder.reply(&DeleteRecordsResponse::default().with_topics(topics))
    }))
}

/// The partitions and their wanted starts. One that is named twice gets what was said last.
async fn find(api: &Arc<Api>, request: &Request) -> Vec<Row> {
    let image = api.broker.image();
    let mut rows: Vec<Row> = Vec::new();
    let mut seen = HashMap::new();
    for (topic, wanted) in request.topics.iter().enumerate() {
        for partition in &wanted.partitions {
            let result = find_one(api, &image, &wanted.name, *partition).await;
            match seen.get(&(&*wanted.name, partition.index)) {
                Some(&at) => {
                    if let Some(Row { result: earlier, .. }) = rows.get_mut(at) {
                        *earlier = result;
                    }
                }
                None => {
                    seen.insert((&*wanted.name, partition.index), rows.len());
                    rows.push(Row { topic, index: partition.index, result });
                }
            }
        }
    }
    rows
}

async fn find_one(
    api: &Arc<Api>,
    image: &CatalogImage,
    name: &str,
    wanted: Partition,
) -> Result<(Arc<partition::Partition>, i64), ErrorCode> {
    let topic = image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !(0..topic.partitions).contains(&wanted.index) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if topic.internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = api.broker.partition(topic, wanted.index).await;
    let partition = partition.map_err(|fault| errors::open_fault(&fault))?;
    let settings = partition.settings();
    if settings.compact && !settings.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let end = partition.high_watermark();
    let offset = if wanted.offset == HIGH_WATERMARK { end } else { wanted.offset };
    if !(0..=end).contains(&offset) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    drop(settings);
    Ok((partition, offset))
}

/// Carries out what is to be done, with one sync for all.
async fn delete(api: &Arc<Api>, who: String, rows: &mut [Row]) {
    let wanted: Vec<_> = rows.iter().filter_map(|row| row.result.as_ref().ok().cloned()).collect();
    if wanted.is_empty() {
        return;
    }
    let broker = Arc::clone(&api.broker);
    let outcomes = tokio::task::spawn_blocking(move || {
        let outcomes = broker.delete_records(&wanted);
        for ((partition, offset), outcome) in wanted.iter().zip(&outcomes) {
            let (topic, index) = (partition.topic(), partition.id().partition);
            match outcome {
                Ok(()) => {
                    tracing::info!(%topic, partition = index, below = offset, "records deleted by client {who}")
                }
                Err(error) => {
                    tracing::error!(%topic, partition = index, %error, "records cannot be deleted");
                }
            }
        }
        outcomes
    });
    let mut outcomes = outcomes.await.unwrap_or_default().into_iter();
    for row in rows.iter_mut().filter(|row| row.result.is_ok()) {
        let is_deleted =
            row.result.as_ref().is_ok_and(|(partition, _)| partition.closed() == Some(Closed::Deleted));
        if is_deleted {
            row.result = Err(ErrorCode::UnknownTopicOrPartition);
            outcomes.next();
        } else if !matches!(outcomes.next(), Some(Ok(()))) {
            row.result = Err(ErrorCode::KafkaStorageError);
        }
    }
}
