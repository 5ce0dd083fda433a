//! Every request decoder, for tests that treat them all alike.

use streamd::api::{admin, data, group, session, topic, txn};
use streamd::wire::{ApiSpec, DecodeError, Reader};

/// One API's decoder.
pub(crate) struct Decoder {
    pub(crate) spec: ApiSpec,
    /// Decodes and drops; for the error.
    pub(crate) decode: fn(&mut Reader<'_>, i16) -> Result<(), DecodeError>,
    /// Decodes and prints, to compare two readings.
    pub(crate) print: fn(&mut Reader<'_>, i16) -> Result<String, DecodeError>,
}

macro_rules! decoders {
    ($($api:path),+ $(,)?) => {
        &[$({
            use $api as api;
            Decoder {
                spec: api::SPEC,
                decode: |r, version| api::Request::decode(r, version).map(drop),
                print: |r, version| Ok(format!("{:?}", api::Request::decode(r, version)?)),
            }
        }),+]
    };
}

pub(crate) const ALL: &[Decoder] = decoders![
    data::produce,
    data::fetch,
    data::list_offsets,
    topic::metadata,
    group::offset_commit,
    group::offset_fetch,
    group::find_coordinator,
    group::join_group,
    group::heartbeat,
    group::leave_group,
    group::sync_group,
    group::describe,
    group::list,
    session::api_versions,
    topic::create,
    topic::delete,
    txn::init_producer_id,
    data::leader_epoch,
    admin::configs,
    topic::partitions,
    group::delete,
    group::offset_delete,
    admin::cluster,
    topic::describe_partitions,
];
