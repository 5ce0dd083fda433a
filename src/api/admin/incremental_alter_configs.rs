//! IncrementalAlterConfigs (key 44), versions 0 and 1: changes single settings of topics (KIP-339).
//!
//! v1 the flexible form. A setting is set (0), taken back (1), or its list gets elements (2) or loses some (3); the
//! other settings stay as they are (S96). Each resource is answered for itself, and all of it changes or nothing.

use std::sync::Arc;

use kafka_protocol::messages::IncrementalAlterConfigsResponse;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;

use super::altered::{self, Change, Wanted};
use crate::api::{Call, Started, waits};
use crate::catalog::{ConfigChange, ConfigOp};
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec =
    ApiSpec { key: 44, name: "IncrementalAlterConfigs", min: 0, max: 1, flexible_from: 1 };

/// An IncrementalAlterConfigs request.
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
    /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: StrBytes,
    /// What is to change.
    pub configs: Vec<Config>,
}

/// The change of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The setting's name.
    pub name: StrBytes,
    /// 0 set, 1 take back, 2 append to its list, 3 subtract from it.
    pub config_operation: i8,
    /// The value, or the elements.
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
        Wanted {
            resource_type: self.resource_type,
            name: self.resource_name.to_string(),
            changes: self.configs.iter().map(|config| (config.name.to_string(), config.change())).collect(),
        }
    }
}

impl Config {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let config = Self { name: r.string()?, config_operation: r.i8()?, value: r.nullable_string()? };
        r.end()?;
        Ok(config)
    }

    fn change(&self) -> Change {
        let value = self.value.as_ref().map(ToString::to_string);
        match self.config_operation {
            0 => Change::Set(value),
            1 => Change::Delete,
            2 => Change::Append(value),
            3 => Change::Subtract(value),
            other => Change::Unknown(other, value),
        }
    }
}

/// Changes the settings, and answers when they are in force.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let who = call.session.describe();
    Ok(waits(async move {
        let wanted = request.resources.iter().map(Resource::wanted).collect();
        let each = |changes: Vec<(String, Change)>| {
            let op = |(name, change)| {
                let op = match change {
                    Change::Set(value) => ConfigOp::Set(value?),
                    Change::Delete => ConfigOp::Delete,
                    Change::Append(value) => ConfigOp::Append(value?),
                    Change::Subtract(value) => ConfigOp::Subtract(value?),
                    Change::Unknown(..) => return None,
                };
                Some((name, op))
            };
            ConfigChange::Each(changes.into_iter().filter_map(op).collect())
        };
        let outcomes = altered::alter(&api, &who, wanted, request.validate_only, true, each).await;
        let responses = request.resources.into_iter().zip(outcomes).map(|(resource, outcome)| {
            AlterConfigsResourceResponse::default()
                .with_error_code(outcome.code.code())
                .with_error_message(outcome.message.map(StrBytes::from_string))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
        });
        responder.reply(&IncrementalAlterConfigsResponse::default().with_responses(responses.collect()))
    }))
}
