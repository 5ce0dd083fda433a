//! DescribeGroups (key 15), versions 0 to 6: state and members of classic groups.
//!
//! v1 the throttle time; v3 authorized operations; v4 static members' instance ids; v5 the flexible form; v6 an unknown
//! group gives 69, where older versions describe it as `Dead` without error (S76).

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 15, name: "DescribeGroups", min: 0, max: 6, flexible_from: 5 };

/// A DescribeGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The groups.
    pub groups: Vec<StrBytes>,
    /// Whether to say what the client may do with each (v3).
    pub include_authorized_operations: bool,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            groups: r.array(Reader::string)?,
            include_authorized_operations: if version >= 3 { r.bool()? } else { false },
        };
        r.end()?;
        Ok(request)
    }
}
