//! DeleteGroups (key 42), versions 0 to 2: deletes groups that have no members, with their offsets.
//!
//! v1 is v0; v2 the flexible form. A group with members gives 68, an unknown one 69 (S76).

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 42, name: "DeleteGroups", min: 0, max: 2, flexible_from: 2 };

/// A DeleteGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The groups.
    pub groups: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request = Self { groups: r.array(Reader::string)? };
        r.end()?;
        Ok(request)
    }
}
