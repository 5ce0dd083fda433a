//! AlterConfigs (key 33), versions 0 to 2: replaces all settings that a topic has of its own.
//!
//! v2 the flexible form. What is not named goes back to its default (S96); [`super::incremental_alter_configs`] changes
//! settings one by one. Each resource is answered for itself, and all of its settings change or none.

use std::sync::Arc;

use kafka_protocol::messages::AlterConfigsResponse;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;

use super::altered::{self, Change, Wanted};
use crate::api::{Call, Started, waits};
use crate::catalog::ConfigChange;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 33, name: "AlterConfigs", min: 0, max: 2, flexible_from: 2 };

/// An AlterConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to change.
    pub resources: Vec<Resource>,
    /// Whether to do everything but change it.
    pub validate_only: bool,
}

/// One thing that has settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is: 2 a topic, 4 a broker, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: StrBytes,
    /// All settings that it is to have.
    pub configs: Vec<Config>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name.
    pub name: StrBytes,
    /// Its value.
    pub value: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self { resources: r.array(Resource::decode)?, validate_only: r.bool()? };
        r.end()?;
        Ok(request)
    }
}

impl Resource {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let resource =
            Self { resource_type: r.i8()?, resource_name: r.string()?, configs: r.array(Config::decode)? };
        r.end()?;
        Ok(resource)
    }

    fn wanted(&self) -> Wanted {
        let config = |config: &Config| {
            let change = Change::Set(config.value.as_ref().map(ToString::to_string));
            (config.name.to_string(), change)
        };
        Wanted {
            resource_type: self.resource_type,
            name: self.resource_name.to_string(),
            changes: self.configs.iter().map(config).collect(),
        }
    }
}

impl Config {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let config = Self { name: r.string()?, value: r.nullable_string()? };
        r.end()?;
        Ok(config)
    }
}

/// Changes the settings, and answers when they are in force.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let who = call.session.describe();
    Ok(waits(async move {
        let wanted = request.resources.iter().map(Resource::wanted).collect();
        let replace = |changes: Vec<(String, Change)>| {
            let set = |(name, change)| match change {
                Change::Set(Some(value)) => Some((name, value)),
                _ => None,
            };
            ConfigChange::Replace(changes.into_iter().filter_map(set).collect())
        };
        let outcomes = altered::alter(&api, &who, wanted, request.validate_only, false, replace).await;
        let responses = request.resources.into_iter().zip(outcomes).map(|(resource, outcome)| {
            AlterConfigsResourceResponse::default()
                .with_error_code(outcome.code.code())
                .with_error_message(outcome.message.map(StrBytes::from_string))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
        });
        responder.reply(&AlterConfigsResponse::default().with_responses(responses.collect()))
    }))
}
