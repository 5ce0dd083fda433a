//! DeleteTopics (key 20), versions 1 to 6: deletes topics.
//!
//! v4 the flexible form; v5 messages with the errors; v6 topics by name or by id. Unknown names give 3, unknown ids
//! 100; `delete.topic.enable` = false gives 73, or 42 where clients do not know that (S89). What is named twice, in two
//! ways or not at all gives 42. The answer means that the topic is gone and its name is free.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsResponse, TopicName};
use uuid::Uuid;

use crate::api::{Call, Started, waits};
use crate::catalog::{CatalogImage, Command, Reply, TopicOutcome, TopicRef};
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    let (topics, mut results) = sort_out(&api.broker.image(), request.topics);
    Ok(waits(async move {
        let refs = topics.iter().map(|topic| match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(topic.id),
        });
        match api.broker.catalog().call(Command::DeleteTopics(refs.collect())).await {
            Reply::Topics(outcomes) => {
                results
                    .extend(topics.into_iter().zip(outcomes).map(|(asked, outcome)| result(asked, outcome)));
            }
            Reply::Refused(error) => {
                results.extend(topics.into_iter().map(|asked| refused(asked, error, None)));
            }
            _ => {}
        }
        for result in results.iter_mut().filter(|_| responder.version < DELETION_DISABLED) {
            if result.error_code == ErrorCode::TopicDeletionDisabled.code() {
                result.error_code = ErrorCode::InvalidRequest.code();
            }
        }
        responder.reply(&DeleteTopicsResponse::default().with_responses(results))
    }))
}

/// From this version on clients know `TOPIC_DELETION_DISABLED`.
const DELETION_DISABLED: i16 = 3;

/// Tells the topics that are named once and in one way from the others, which are refused.
fn sort_out(image: &CatalogImage, topics: Vec<Topic>) -> (Vec<Topic>, Vec<DeletableTopicResult>) {
    let mut times: HashMap<Topic, u32> = HashMap::new();
    topics.iter().for_each(|topic| *times.entry(topic.clone()).or_default() += 1);
    let by_name = |id: TopicId| {
        let name = image.topic_by_id(id).map(|topic| StrBytes::from_string(topic.name.to_string()))?;
        times.contains_key(&Topic { name: Some(name.clone()), id: TopicId::ZERO }).then_some(name)
    };
    let by_id = |name: &StrBytes| {
        let topic = image.topic(name).map(|topic| Topic { name: None, id: topic.id });
        topic.is_some_and(|topic| times.contains_key(&topic))
    };
    let mut answered = HashSet::new();
    let (mut taken, mut results) = (Vec::with_capacity(topics.len()), Vec::new());
    for mut topic in topics {
        let again = times.get(&topic).is_some_and(|times| *times > 1);
        // One answer stands for all that name the same.
        if !answered.insert(topic.clone()) || topic.id.is_zero() && topic.name.as_ref().is_some_and(by_id) {
            continue;
        }
        let why = match (&topic.name, topic.id.is_zero()) {
            (Some(_), false) => "give the topic's name or its id, not both",
            (None, true) => "give the topic's name or its id",
            _ if again => "the topic is in the request more than once",
            (None, false) if by_name(topic.id).is_some() => {
                topic.name = by_name(topic.id);
                "the topic is in the request by its name and by its id"
            }
            _ => {
                taken.push(topic);
                continue;
            }
        };
        results.push(refused(topic, ErrorCode::InvalidRequest, Some(why.to_owned())));
    }
    (taken, results)
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
