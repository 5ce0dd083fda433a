//! LeaveGroup (key 13), versions 0 to 5: members leave a classic group, or an operator removes them.
//!
//! v1 the throttle time; v3 many members, each with its own error; v4 the flexible form; v5 the reason. An operator
//! names a static member by its instance id with an empty member id (S72).

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 13, name: "LeaveGroup", min: 0, max: 5, flexible_from: 4 };

/// A LeaveGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: StrBytes,
    /// Who leaves; before v3 exactly one, whose error is that of the whole answer.
    pub members: Vec<Member>,
}

/// One member that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id; may be empty for a static member.
    pub member_id: StrBytes,
    /// `group.instance.id` of a static member (v3).
    pub group_instance_id: Option<StrBytes>,
    /// Why it leaves (v5).
    pub reason: Option<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let group_id = r.string()?;
        let members = if version <= 2 {
            vec![Member { member_id: r.string()?, group_instance_id: None, reason: None }]
        } else {
            r.array(|r| Member::decode(r, version))?
        };
        r.end()?;
        Ok(Self { group_id, members })
    }
}

impl Member {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let member = Self {
            member_id: r.string()?,
            group_instance_id: r.nullable_string()?,
            reason: if version >= 5 { r.nullable_string()? } else { None },
        };
        r.end()?;
        Ok(member)
    }
}
