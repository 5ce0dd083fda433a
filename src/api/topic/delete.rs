//! DeleteTopics (key 20), versions 1 to 6: deletes topics.
//!
//! v4 the flexible form; v5 messages with the errors; v6 topics by name or by id. Unknown names give 3, unknown ids
//! 100; `delete.topic.enable` = false gives 73 (S89). The answer means that the topic is gone and its name is free.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsResponse, TopicName};
use uuid::Uuid;

use crate::api::{Call, Started, waits};
use crate::catalog::{Command, Reply, TopicOutcome, TopicRef};
use crate::types::{ErrorCode, TopicId};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 20, name: "DeleteTopics", min: 1, max: 6, flexible_from: 4 };

/// A DeleteTopics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The topics to delete.
    pub topics: Vec<Topic>,
    /// How long the answer may wait.
    pub timeout_ms: i32,
}

/// One topic to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; `None` (from v6) when it is named by id.
    pub name: Option<StrBytes>,
    /// Its id; zero before v6 and when it is named by name.
    pub id: TopicId,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let topics = r.array(|r| Topic::decode(r, version))?;
        let request = Self { topics, timeout_ms: r.i32()? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        if version <= 5 {
            // A plain string, no structure: nothing ends here.
            return Ok(Self { name: Some(r.string()?), id: TopicId::ZERO });
        }
        let topic = Self { name: r.nullable_string()?, id: r.topic_id()? };
        r.end()?;
        Ok(topic)
    }
}

/// Deletes the topics and answers when they are gone.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let mut request = request;
    // What is asked twice is answered once.
    let mut seen = HashSet::new();
    request.topics.retain(|topic| seen.insert((topic.name.clone(), topic.id)));
    Ok(waits(async move {
        let refs = request.topics.iter().map(|topic| match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(topic.id),
        });
        let results = match api.broker.catalog().call(Command::DeleteTopics(refs.collect())).await {
            Reply::Topics(outcomes) => request
                .topics
                .into_iter()
                .zip(outcomes)
                .map(|(asked, outcome)| result(asked, outcome))
                .collect(),
            Reply::Refused(error) => {
                request.topics.into_iter().map(|asked| refused(asked, error, None)).collect()
            }
            _ => Vec::new(),
        };
        responder.reply(&DeleteTopicsResponse::default().with_responses(results))
    }))
}

fn result(asked: Topic, outcome: TopicOutcome) -> DeletableTopicResult {
    match outcome.result {
        Ok(topic) => DeletableTopicResult::default()
            .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
            .with_topic_id(Uuid::from_bytes(*topic.id.as_bytes())),
        Err(error) => refused(asked, error.code, error.message),
    }
}

fn refused(asked: Topic, error: ErrorCode, message: Option<String>) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(asked.name.map(TopicName))
        .with_topic_id(Uuid::from_bytes(*asked.id.as_bytes()))
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}
