//! DescribeCluster (key 60), versions 0 to 2: the cluster's id, its brokers and its controller.
//!
//! v1 whether brokers or controllers are asked about; v2 whether fenced brokers are listed, too. Authorized operations
//! that nobody asked for are the smallest `i32` (S97).

use crate::wire::{ApiSpec, DecodeError, Reader};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 60, name: "DescribeCluster", min: 0, max: 2, flexible_from: 0 };

/// A DescribeCluster request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Whether to say what the client may do with the cluster.
    pub include_cluster_authorized_operations: bool,
    /// Whose addresses are wanted: 1 brokers', 2 controllers' (v1).
    pub endpoint_type: i8,
    /// Whether to list brokers that are fenced (v2).
    pub include_fenced_brokers: bool,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self {
            include_cluster_authorized_operations: r.bool()?,
            endpoint_type: if version >= 1 { r.i8()? } else { 1 },
            include_fenced_brokers: if version >= 2 { r.bool()? } else { false },
        };
        r.end()?;
        Ok(request)
    }
}
