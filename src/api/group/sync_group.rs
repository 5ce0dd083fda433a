//! SyncGroup (key 14), versions 0 to 5: the leader hands in the assignments, every member gets its own.
//!
//! v1 the throttle time; v3 static members; v4 the flexible form; v5 the protocol's type and name, which must be given
//! and be the group's. Followers wait for the leader; rules and errors are S69.

use bytes::Bytes;

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 14, name: "SyncGroup", min: 0, max: 5, flexible_from: 4 };

/// A SyncGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// The generation that the member joined.
    pub generation_id: i32,
    /// The member.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
    /// The group's protocol type as the member knows it (v5).
    pub protocol_type: Option<StrBytes>,
    /// The group's protocol as the member knows it (v5).
    pub protocol_name: Option<StrBytes>,
    /// What each member gets, from the leader; empty from the others.
    pub assignments: Vec<Assignment>,
}

/// One member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The member.
    pub member_id: StrBytes,
    /// What it gets; opaque.
    pub assignment: Bytes,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            group_id: r.string()?,
            generation_id: r.i32()?,
            member_id: r.string()?,
            group_instance_id: if version >= 3 { r.nullable_string()? } else { None },
            protocol_type: if version >= 5 { r.nullable_string()? } else { None },
            protocol_name: if version >= 5 { r.nullable_string()? } else { None },
            assignments: r.array(Assignment::decode)?,
        };
        r.end()?;
        Ok(request)
    }
}

impl Assignment {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let assignment = Self { member_id: r.string()?, assignment: r.bytes()? };
        r.end()?;
        Ok(assignment)
    }
}
