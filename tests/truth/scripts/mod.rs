//! The scripts, one family a module.

mod ask;
mod connection;
mod fetch;
mod metadata;
mod produce;
mod records;
mod topics;
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
    ];
    families.into_iter().flatten()
}
