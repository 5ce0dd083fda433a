//! Faults to error codes: the one place where what broke becomes what a client is told.
//!
//! A disk that fails must look retriable (`KAFKA_STORAGE_ERROR`), never like `UNKNOWN_SERVER_ERROR`, which clients take
//! as final (S32).

use crate::partition::{NotAppended, OpenFault};
use crate::storage::log::ReadError;
use crate::types::ErrorCode;

/// What FindCoordinator and InitProducerId refuse a transactional id with. It is the one code at which librdkafka and
/// the Java client both give up at once and both show FindCoordinator's message: at others librdkafka tries again until
/// its time is over, or Java shows words of its own.
pub(crate) const NO_TRANSACTIONS: ErrorCode = ErrorCode::ClusterAuthorizationFailed;

/// What a client is told when a partition cannot be opened.
pub(crate) fn open_fault(fault: &OpenFault) -> ErrorCode {
    match fault {
        OpenFault::Unknown => ErrorCode::UnknownTopicOrPartition,
        OpenFault::Stopping => ErrorCode::NotLeaderOrFollower,
        OpenFault::Storage(_) => ErrorCode::KafkaStorageError,
    }
}

/// What a client is told when a log cannot be read.
pub(crate) fn read_fault(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Gone => ErrorCode::UnknownTopicOrPartition,
        _ => ErrorCode::KafkaStorageError,
    }
}

/// What a producer is told of a batch that is not acknowledged.
pub(crate) fn not_appended(why: NotAppended) -> ErrorCode {
    match why {
        NotAppended::Refused(code) => code,
        NotAppended::Gone => ErrorCode::UnknownTopicOrPartition,
        NotAppended::Stopping => ErrorCode::NotLeaderOrFollower,
        NotAppended::TooLarge => ErrorCode::RecordListTooLarge,
        NotAppended::Storage => ErrorCode::KafkaStorageError,
        NotAppended::Misplaced => ErrorCode::UnknownServerError,
    }
}
