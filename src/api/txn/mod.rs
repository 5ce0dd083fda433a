//! APIs of idempotent and transactional producers.

pub mod add_offsets;
pub mod add_partitions;
pub mod describe;
pub mod end;
pub mod init_producer_id;
pub mod list;
pub mod offset_commit;
pub mod write_markers;

use std::sync::Arc;

use crate::types::ErrorCode;
use crate::wire::StrBytes;

/// A text that outlives its request's frame.
fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(&**text)
}

/// A text for an answer.
fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The code for a version: before `fenced_from` clients do not know `PRODUCER_FENCED`, and take
/// `INVALID_PRODUCER_EPOCH` for it.
fn told(error: ErrorCode, version: i16, fenced_from: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if version < fenced_from => ErrorCode::InvalidProducerEpoch,
        error => error,
    }
}
