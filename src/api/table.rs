//! The API table: one row per API that is served.

use std::fmt::{self, Debug};

use super::context::{Call, Started};
use super::{admin, data, group, session, topic, txn};
use crate::wire::header::ApiSpec;
use crate::wire::read::{DecodeError, Reader};

/// A request of some API, for those who only want to see it.
pub type AnyRequest = Box<dyn Debug>;

/// One API.
pub struct Row {
    /// Key, name, versions served, first flexible version.
    pub spec: &'static ApiSpec,
    /// The lowest version that ApiVersions tells; below `spec.min` only where clients look for it (S4).
    pub offered_min: i16,
    /// Whether several may wait on one connection.
    pub overlaps: bool,
    /// What docs/compatibility.md says of it.
    pub remarks: &'static str,
    /// Decodes a request of any version, to be dropped or printed: for tests and fuzzing.
    pub decode: fn(&mut Reader<'_>, i16) -> Result<AnyRequest, DecodeError>,
    /// Decodes a request and starts it.
    pub(crate) start: fn(&mut Call<'_>) -> Result<Started, DecodeError>,
}

impl Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.fmt(f)
    }
}

/// A row of an API whose module has the usual names.
macro_rules! row {
    ($module:path, $remarks:literal) => {{
        use $module as api;
        Row {
            spec: &api::SPEC,
            offered_min: api::SPEC.min,
            overlaps: false,
            remarks: $remarks,
            decode: |reader, version| Ok(Box::new(api::Request::decode(reader, version)?)),
            start: api::start,
        }
    }};
}

/// Every API, by key.
pub static TABLE: &[Row] = &[
    Row {
        offered_min: 0,
        overlaps: true,
        ..row!(
            data::produce,
            "Versions 0 to 2 are offered and refused, as Kafka 4 does: old clients look for version 0."
        )
    },
    row!(data::fetch, "Whole batches only; incremental sessions (KIP-227)."),
    row!(data::list_offsets, "All special timestamps; by time exact to the record."),
    row!(topic::metadata, "A topic that the request creates is in its answer."),
    row!(group::offset_commit, "Answered when it is in the log."),
    row!(group::offset_fetch, ""),
    row!(group::find_coordinator, "This broker, at once."),
    row!(
        group::join_group,
        "A lone first member does not wait for the initial rebalance delay unless it is set."
    ),
    row!(group::heartbeat, ""),
    row!(group::leave_group, ""),
    row!(group::sync_group, ""),
    row!(group::describe, ""),
    row!(group::list, ""),
    row!(session::api_versions, ""),
    row!(topic::create, "Answered when the topic serves every API."),
    row!(topic::delete, "Answered when the topic is gone."),
    row!(data::delete_records, "Answered when the new start is durable."),
    row!(txn::init_producer_id, ""),
    row!(data::leader_epoch, ""),
    row!(txn::add_partitions, ""),
    row!(txn::add_offsets, ""),
    row!(txn::end, "Answered when the end is visible: the next request never meets CONCURRENT_TRANSACTIONS."),
    row!(txn::write_markers, "For operators: to end a transaction that nobody else would."),
    row!(txn::offset_commit, "Answered when it is as durable as transactions are."),
    row!(admin::configs, "TOPIC and BROKER."),
    row!(admin::alter_configs, "TOPIC; the broker's own settings are read at its start."),
    row!(admin::log_dirs, "One directory; sizes are those of the logs."),
    row!(topic::partitions, ""),
    row!(group::delete, ""),
    row!(admin::incremental_alter_configs, "TOPIC; the broker's own settings are read at its start."),
    row!(group::offset_delete, ""),
    row!(admin::cluster, ""),
    row!(data::describe_producers, ""),
    row!(txn::describe, ""),
    row!(txn::list, "Patterns are those of Rust's regex crate: no look-around, no back-references."),
    row!(topic::describe_partitions, ""),
];

/// The row of this key.
pub fn row(key: i16) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.spec.key == key)
}
