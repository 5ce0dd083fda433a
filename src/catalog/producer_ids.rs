//! Blocks of producer ids: durable before they are given out, so that no id is ever given twice.

use super::command::{ProducerIdBlock, Reply};
use super::records::Record;
use super::state::Catalog;
use crate::types::ErrorCode;

/// Ids in a block, as in Kafka. A restart loses what is left of one.
const BLOCK_LEN: i32 = 1_000;

/// Decides on the next block for this node.
pub(super) fn allocate(hard: &Catalog, node: i32) -> (Vec<Record>, Reply) {
    let first = hard.next_producer_id();
    let Some(next) = first.checked_add(i64::from(BLOCK_LEN)) else {
        tracing::error!(first, "all producer ids are given out");
        return (Vec::new(), Reply::Refused(ErrorCode::UnknownServerError));
    };
    let block = ProducerIdBlock { first, len: BLOCK_LEN };
    (vec![Record::ProducerIds { node, next }], Reply::ProducerIds(block))
}
