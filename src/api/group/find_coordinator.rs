//! FindCoordinator (key 10), versions 0 to 6: which broker looks after a group or a transactional id.
//!
//! v1 the kind of key; v3 the flexible form; v4 many keys, each answered for itself; v5 may answer that a transaction
//! must be aborted; v6 share groups, whose keys are `group:topic id:partition`. One broker answers at once with itself
//! (S77).

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 10, name: "FindCoordinator", min: 0, max: 6, flexible_from: 3 };

/// A FindCoordinator request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the keys are: 0 groups, 1 transactional ids, 2 share partitions.
    pub key_type: i8,
    /// The keys; before v4 exactly one.
    pub keys: Vec<StrBytes>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let mut keys = if version <= 3 { vec![r.string()?] } else { Vec::new() };
        let key_type = if version >= 1 { r.i8()? } else { 0 };
        if version >= 4 {
            keys = r.array(Reader::string)?;
        }
        r.end()?;
        Ok(Self { key_type, keys })
    }
}
