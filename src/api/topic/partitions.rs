//! CreatePartitions (key 37), versions 0 to 3: gives topics more partitions.
//!
//! v2 the flexible form; v3 may answer that a quota is exceeded. The count is the new total; one that is not above the
//! present one is refused with 37 (S84).

use std::sync::Arc;

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsResponse, TopicName};

use crate::api::{Call, Started, waits};
use crate::catalog::{Command, MorePartitions, Reply};
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 37, name: "CreatePartitions", min: 0, max: 3, flexible_from: 2 };

/// A CreatePartitions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The topics to grow.
    pub topics: Vec<Topic>,
    /// How long the answer may wait.
    pub timeout_ms: i32,
    /// Whether to do everything but grow them.
    pub validate_only: bool,
}

/// One topic to grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// How many partitions it is to have.
    pub count: i32,
    /// Node ids of the replicas of each new partition; `None` to let the broker choose.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request =
            Self { topics: r.array(Topic::decode)?, timeout_ms: r.i32()?, validate_only: r.bool()? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, count: r.i32()?, assignments: r.nullable_array(assignment)? };
        r.end()?;
        Ok(topic)
    }
}

fn assignment(r: &mut Reader<'_>) -> Result<Vec<i32>, DecodeError> {
    let broker_ids = r.array(Reader::i32)?;
    r.end()?;
    Ok(broker_ids)
}

/// Grows the topics and answers when the new partitions serve every API.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    Ok(waits(async move {
        let names: Vec<StrBytes> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let more = |topic: Topic| MorePartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments,
        };
        let topics = request.topics.into_iter().map(more).collect();
        let command = Command::CreatePartitions { topics, validate_only: request.validate_only };
        let results = match api.broker.catalog().call(command).await {
            Reply::Topics(outcomes) => outcomes
                .into_iter()
                .map(|outcome| {
                    let name = StrBytes::from_string(outcome.name.as_deref().unwrap_or_default().to_owned());
                    match outcome.result {
                        Ok(_) => result(name, ErrorCode::None, None),
                        Err(error) => result(name, error.code, error.message),
                    }
                })
                .collect(),
            Reply::Refused(error) => names.into_iter().map(|name| result(name, error, None)).collect(),
            _ => Vec::new(),
        };
        responder.reply(&CreatePartitionsResponse::default().with_results(results))
    }))
}

fn result(name: StrBytes, error: ErrorCode, message: Option<String>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(TopicName(name))
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}
