//! DescribeConfigs (key 32), versions 1 to 4: settings of topics and brokers, with their values and where those come
//! from.
//!
//! v1 synonyms; v3 types and, on request, documentation; v4 the flexible form. Every known setting of a resource is
//! listed unless names are given; sensitive values are null; an unknown topic gives 3, another broker's id 42 (S95).

use std::collections::HashSet;

use kafka_protocol::messages::DescribeConfigsResponse;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::protocol::Encodable as _;

use crate::api::{AnswerRoom, Api, Call, Started, done};
use crate::catalog::CatalogImage;
use crate::config::ConfigEntry;
use crate::types::{ErrorCode, topic_name};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 32, name: "DescribeConfigs", min: 1, max: 4, flexible_from: 4 };

/// A DescribeConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to describe.
    pub resources: Vec<Resource>,
    /// Whether to list the settings that each value could also come from.
    pub include_synonyms: bool,
    /// Whether to add each setting's documentation (v3).
    pub include_documentation: bool,
}

/// One thing that has settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name: a topic's name, a broker's id in digits (empty for the cluster's defaults).
    pub resource_name: StrBytes,
    /// The settings asked for; `None` for all.
    pub configuration_keys: Option<Vec<StrBytes>>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            resources: r.array(Resource::decode)?,
            include_synonyms: r.bool()?,
            include_documentation: if version >= 3 { r.bool()? } else { false },
        };
        r.end()?;
        Ok(request)
    }
}

impl Resource {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let resource = Self {
            resource_type: r.i8()?,
            resource_name: r.string()?,
            configuration_keys: r.nullable_array(Reader::string)?,
        };
        r.end()?;
        Ok(resource)
    }
}

impl Resource {
    /// Whether all settings are asked for: no names stand for all of them, as null does.
    fn wants_all(&self) -> bool {
        self.configuration_keys.as_ref().is_none_or(Vec::is_empty)
    }
}

/// Resource types (KIP-133 and later).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Lists the settings of topics and of this broker (S95), all of one thing's once.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let image = call.api.broker.image();
    let mut results = Vec::new();
    let mut room = AnswerRoom::new();
    let mut seen = HashSet::new();
    for resource in &request.resources {
        if resource.wants_all() && !seen.insert((resource.resource_type, &resource.resource_name)) {
            continue;
        }
        let entries = match resource.resource_type {
            TOPIC => topic_entries(call.api, &image, &resource.resource_name),
            BROKER => broker_entries(call.api, &resource.resource_name),
            other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
        };
        let result = result(&request, resource, entries);
        // What its version cannot carry fails as a whole, below.
        if room.take(result.compute_size(call.version).unwrap_or(0)).is_none() {
            return Ok(done(call.responder.too_large()));
        }
        results.push(result);
    }
    let response = DescribeConfigsResponse::default().with_results(results);
    Ok(done(call.responder.reply(&response)))
}

type Entries = Result<Vec<ConfigEntry>, (ErrorCode, String)>;

fn topic_entries(api: &Api, image: &CatalogImage, name: &str) -> Entries {
    topic_name::check(name).map_err(|message| (ErrorCode::InvalidTopicException, message))?;
    let unknown = "This server does not host this topic-partition.";
    let topic = image.topic(name).ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, unknown.to_owned()))?;
    Ok(api.broker.config().topic_defaults.entries(&topic.overrides))
}

fn broker_entries(api: &Api, name: &str) -> Entries {
    let node = api.broker.node_id();
    if name.is_empty() {
        // The cluster-wide defaults that were set dynamically: none can be yet.
        return Ok(Vec::new());
    }
    match name.parse::<i32>() {
        Ok(id) if id == node => Ok(api.broker.config().broker_entries()),
        Ok(_) => {
            let message =
                format!("Unexpected broker id, expected {node} or empty string, but received {name}");
            Err((ErrorCode::InvalidRequest, message))
        }
        Err(_) => {
            let message = format!("Broker id must be an integer, but it is: {name}");
            Err((ErrorCode::InvalidRequest, message))
        }
    }
}

fn result(request: &Request, resource: &Resource, entries: Entries) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    match entries {
        Ok(entries) => {
            let keys = resource.configuration_keys.as_ref().filter(|_| !resource.wants_all());
            let wanted =
                |entry: &ConfigEntry| keys.is_none_or(|keys| keys.iter().any(|key| **key == *entry.name));
            let configs = entries.into_iter().filter(wanted).map(|entry| config(request, entry));
            result.with_error_message(Some(StrBytes::new())).with_configs(configs.collect())
        }
        Err((error, message)) => {
            result.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}

fn config(request: &Request, entry: ConfigEntry) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| request.include_synonyms).map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(synonym.name.to_string()))
            .with_value(synonym.value.map(StrBytes::from_string))
            .with_source(synonym.source.code())
    });
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name.to_string()))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.code())
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(synonyms.collect())
        .with_config_type(entry.kind.code())
        .with_documentation(request.include_documentation.then(|| StrBytes::from_static_str(entry.doc)))
}
