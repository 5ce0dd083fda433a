//! ListGroups (key 16), versions 0 to 5: all groups of any kind.
//!
//! v1 the throttle time; v3 the flexible form; v4 a filter by state, and states in the answer; v5 a filter by kind, and
//! kinds in the answer. An empty filter lets everything through.

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 16, name: "ListGroups", min: 0, max: 5, flexible_from: 3 };

/// A ListGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names of states, e.g. `Stable`, in any case (v4).
    pub states_filter: Vec<StrBytes>,
    /// Names of kinds, e.g. `classic`, in any case (v5).
    pub types_filter: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            states_filter: if version >= 4 { r.array(Reader::string)? } else { Vec::new() },
            types_filter: if version >= 5 { r.array(Reader::string)? } else { Vec::new() },
        };
        r.end()?;
        Ok(request)
    }
}
