//! Heartbeat (key 12), versions 0 to 4: a member of a classic group says that it lives.
//!
//! v1 the throttle time; v3 static members; v4 the flexible form. A rebalance that prepares is answered with 27 and
//! still counts as a sign of life; the other states are S70.

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 12, name: "Heartbeat", min: 0, max: 4, flexible_from: 4 };

/// A Heartbeat request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// The generation that the member is in.
    pub generation_id: i32,
    /// The member.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            group_id: r.string()?,
            generation_id: r.i32()?,
            member_id: r.string()?,
            group_instance_id: if version >= 3 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(request)
    }
}
