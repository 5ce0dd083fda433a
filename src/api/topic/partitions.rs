//! CreatePartitions (key 37), versions 0 to 3: gives topics more partitions.
//!
//! v2 the flexible form; v3 may answer that a quota is exceeded. The count is the new total; one that is not above the
//! present one is refused with 37 (S84).

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 37, name: "CreatePartitions", min: 0, max: 3, flexible_from: 2 };

/// A CreatePartitions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The topics to grow.
    pub topics: Vec<Topic>,
    /// How long the answer may wait.
    pub timeout_ms: i32,
    /// Whether to do everything but grow them.
    pub validate_only: bool,
}

/// One topic to grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// How many partitions it is to have.
    pub count: i32,
    /// Node ids of the replicas of each new partition; `None` to let the broker choose.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl Request {
    /// Reads the body of a request of any version: only their form differs.
    pub fn decode(r: &mut Reader<'_>, _version: i16) -> Result<Self, DecodeError> {
        let request =
            Self { topics: r.array(Topic::decode)?, timeout_ms: r.i32()?, validate_only: r.bool()? };
        r.end()?;
        Ok(request)
    }
}

impl Topic {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, count: r.i32()?, assignments: r.nullable_array(assignment)? };
        r.end()?;
        Ok(topic)
    }
}

fn assignment(r: &mut Reader<'_>) -> Result<Vec<i32>, DecodeError> {
    let broker_ids = r.array(Reader::i32)?;
    r.end()?;
    Ok(broker_ids)
}
