//! JoinGroup (key 11), versions 0 to 9: a member enters a classic group or enters it again.
//!
//! v1 the rebalance timeout; v2 the throttle time; v4 members without id must come back with the one they are given
//! (KIP-394); v5 static members; v6 the flexible form; v7 the protocol's type in the answer; v8 the reason; v9 a static
//! leader may be told to skip the assignment.
//!
//! The answer comes when the group's join phase ends (S62 to S68). Members' metadata are passed on byte for byte (S71).

use bytes::Bytes;

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 11, name: "JoinGroup", min: 0, max: 9, flexible_from: 6 };

/// A JoinGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// How long without a heartbeat until the member is taken for dead.
    pub session_timeout_ms: i32,
    /// How long the group waits for members to join again; in v0 the session timeout.
    pub rebalance_timeout_ms: i32,
    /// The member's id; empty for one that has none yet.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v5).
    pub group_instance_id: Option<StrBytes>,
    /// `consumer` for consumers, `connect` for Connect, and so on.
    pub protocol_type: StrBytes,
    /// What the member supports, best first.
    pub protocols: Vec<Protocol>,
    /// Why it joins (v8).
    pub reason: Option<StrBytes>,
}

/// One assignment protocol that a member supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, e.g. `range`.
    pub name: StrBytes,
    /// The member's subscription; opaque.
    pub metadata: Bytes,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let group_id = r.string()?;
        let session_timeout_ms = r.i32()?;
        let request = Self {
            group_id,
            session_timeout_ms,
            rebalance_timeout_ms: if version >= 1 { r.i32()? } else { session_timeout_ms },
            member_id: r.string()?,
            group_instance_id: if version >= 5 { r.nullable_string()? } else { None },
            protocol_type: r.string()?,
            protocols: r.array(Protocol::decode)?,
            reason: if version >= 8 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(request)
    }
}

impl Protocol {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = Self { name: r.string()?, metadata: r.bytes()? };
        r.end()?;
        Ok(protocol)
    }
}
