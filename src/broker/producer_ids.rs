//! Producer ids, handed out from durable blocks of the catalog's (S50). What is left of a block at a stop is lost, so no
//! id is ever given twice.

use tokio::sync::Mutex;

use crate::catalog::{CatalogMachine, Command, Reply};
use crate::coord::task::ShardHandle;
use crate::types::ErrorCode;

/// The block at hand.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    block: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// An id that nobody else was or will be given.
    pub(super) async fn next(&self, catalog: &ShardHandle<CatalogMachine>) -> Result<i64, ErrorCode> {
        // Held across the call on purpose: those who find the block empty wait for one block, not for one each.
        let mut block = self.block.lock().await;
        if block.is_empty() {
            match catalog.call(Command::AllocateProducerIds).await {
                Reply::ProducerIds(next) => *block = next.first..next.first + i64::from(next.len),
                Reply::Refused(error) => return Err(error),
                _ => return Err(ErrorCode::UnknownServerError),
            }
        }
        block.next().ok_or(ErrorCode::CoordinatorNotAvailable)
    }
}
