//! The broker put together: the order in which its parts start and stop, and how a front-end reaches them.
//!
//! Start: data directory, manifest, committer, partition table, catalog, declared topics; then whoever serves may
//! listen, and the rest (coordinators of transactions and groups, recovery sweep, housekeeping) goes on behind. Stop is the reverse.

mod at_once;
mod barred;
mod cleaner;
mod cold;
mod coord_log;
mod descriptors;
mod disk;
mod endpoints;
mod group_shards;
mod housekeeping;
mod leftovers;
mod marker_requests;
mod marker_writers;
mod markers;
mod producer_ids;
mod published;
pub mod random;
mod removal;
mod retention;
mod scrub;
mod start;
mod stop;
mod sweep;
#[cfg(test)]
mod testing;
mod topics;
mod transactions;
mod txn_shards;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use self::barred::Barred;
use self::cleaner::Cleaner;
use self::group_shards::GroupShards;
use self::producer_ids::ProducerIds;
use self::published::Published;
use self::scrub::Scrub;
use self::txn_shards::TxnShards;
use crate::catalog::CatalogMachine;
use crate::config::Config;
use crate::coord::task::ShardHandle;
use crate::partition::table::PartitionTable;
use crate::storage::dir::DataDir;
use crate::storage::flush::{Checkpointer, Committer};
use crate::storage::manifest::Manifest;
use crate::types::{Clock, ErrorCode};
use crate::wire::service::Peer;

pub use self::at_once::at_once;
pub use self::cold::read_cold;
pub use self::descriptors::Descriptors;
pub use self::endpoints::Endpoint;
pub use self::group_shards::{CONSUMER_OFFSETS, partition_of};
pub use self::start::StartError;
pub use self::stop::{StopFault, Stopped};
pub use self::topics::tell_created;
pub use self::transactions::JoinTransaction;

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    config: Arc<Config>,
    clock: Clock,
    data_dir: DataDir,
    manifest: Arc<Manifest>,
    committer: Arc<Committer>,
    checkpointer: Arc<Checkpointer>,
    partitions: Arc<PartitionTable>,
    catalog: ShardHandle<CatalogMachine>,
    published: Arc<Published>,
    groups: Arc<GroupShards>,
    transactions: TxnShards,
    barred: Barred,
    producer_ids: ProducerIds,
    cleaner: Arc<Cleaner>,
    scrub: Arc<Scrub>,
    /// The addresses that listeners are bound to, by listener; set before anything is served.
    bound: OnceLock<Vec<SocketAddr>>,
    /// Whether every partition that an unclean stop left behind was opened: only then may the next stop be clean.
    recovered: AtomicBool,
    /// Segment files that left their logs and wait for their readers.
    unlinks: parking_lot::Mutex<housekeeping::Unlinks>,
    disk: disk::Disk,
    /// Held while a round of retention goes on.
    keeper: parking_lot::Mutex<retention::Keeper>,
    background: parking_lot::Mutex<Vec<tokio::task::JoinHandle<()>>>,
    /// Told when the data directory is gone.
    lost: tokio::sync::Notify,
}

/// Without a broker there is nothing to clean or to look through. The threads are not waited for: one of them may be the one that drops it.
impl Drop for Broker {
    fn drop(&mut self) {
        self.cleaner.end();
        self.scrub.end();
    }
}

impl Broker {
    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// This broker's number.
    pub fn node_id(&self) -> i32 {
        self.config.node_id
    }

    /// The cluster's id: 22 characters that never change.
    pub fn cluster_id(&self) -> &str {
        self.data_dir.cluster_id()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// The catalog's coordinator.
    pub fn catalog(&self) -> &ShardHandle<CatalogMachine> {
        &self.catalog
    }

    /// What syncs logs; its count of unsynced bytes is what holds clients back.
    pub fn committer(&self) -> &Arc<Committer> {
        &self.committer
    }

    /// Tells the broker what its listeners are bound to. Only the first call counts.
    pub fn listening_on(&self, bound: Vec<SocketAddr>) {
        if self.bound.set(bound).is_err() {
            tracing::debug!("listeners were told twice");
        }
    }

    /// The address that this client is told to come back to (S14).
    pub fn endpoint(&self, peer: &Peer) -> Endpoint {
        let bound = self.bound.get().and_then(|bound| bound.get(peer.listener));
        let port = bound.map_or_else(|| peer.local.port(), SocketAddr::port);
        match self.config.listeners.get(peer.listener) {
            Some(listener) => endpoints::endpoint(listener, port, peer.address, peer.local),
            None => Endpoint { host: peer.local.ip().to_canonical().to_string(), port: i32::from(port) },
        }
    }

    /// A producer id that nobody else was or will be given.
    ///
    /// # Errors
    /// The catalog cannot serve now.
    pub async fn next_producer_id(&self) -> Result<i64, ErrorCode> {
        self.producer_ids.next(&self.catalog).await
    }
}
