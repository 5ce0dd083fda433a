//! The scripts, one family a module.

mod alter_configs;
mod ask;
mod commits;
mod configs;
mod connection;
mod delete_records;
mod fetch;
mod group_admin;
mod groups;
mod idempotence;
mod log_dirs;
mod member;
mod metadata;
mod offsets;
mod produce;
mod rebalances;
mod records;
mod sessions;
mod static_members;
mod topics;
mod txn;
mod txn_admin;
mod txn_epochs;
mod txn_flow;
mod txn_ids;
mod txn_offsets;
mod txn_produce;
mod txn_read;
mod txn_timeouts;
mod versions;

use crate::run::Script;

/// Every script.
pub(crate) fn all() -> impl Iterator<Item = &'static Script> {
    let families = [
        versions::SCRIPTS,
        connection::SCRIPTS,
        metadata::SCRIPTS,
        topics::SCRIPTS,
        produce::SCRIPTS,
        records::SCRIPTS,
        fetch::SCRIPTS,
        sessions::SCRIPTS,
        offsets::SCRIPTS,
        idempotence::SCRIPTS,
        groups::SCRIPTS,
        rebalances::SCRIPTS,
        static_members::SCRIPTS,
        commits::SCRIPTS,
        group_admin::SCRIPTS,
        configs::SCRIPTS,
        alter_configs::SCRIPTS,
        delete_records::SCRIPTS,
        txn_ids::SCRIPTS,
        txn_epochs::SCRIPTS,
        txn_flow::SCRIPTS,
        txn_produce::SCRIPTS,
        txn_read::SCRIPTS,
        txn_offsets::SCRIPTS,
        txn_admin::SCRIPTS,
        txn_timeouts::SCRIPTS,
        log_dirs::SCRIPTS,
    ];
    families.into_iter().flatten()
}
