//! DescribeConfigs (key 32), versions 1 to 4: settings of topics and brokers, with their values and where those come
//! from.
//!
//! v1 synonyms; v3 types and, on request, documentation; v4 the flexible form. Every known setting of a resource is
//! listed unless names are given; sensitive values are null; an unknown topic gives 3, another broker's id 42 (S95).

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
