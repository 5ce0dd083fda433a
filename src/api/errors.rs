//! Faults to error codes: the one place where what broke becomes what a client is told.
//!
//! A disk that fails must look retriable (`KAFKA_STORAGE_ERROR`), never like `UNKNOWN_SERVER_ERROR`, which clients take
//! as final (S32).

use crate::partition::{NotAppended, OpenFault};
use crate::storage::log::ReadError;
use crate::types::ErrorCode;

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

/// What a producer is told when the transaction coordinator does not let its batch into the transaction (S54). Older
/// clients give up at what they do not expect from Produce; `NOT_ENOUGH_REPLICAS` is what all of them try again.
pub(crate) fn not_joined(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        // With transactions V2 clients know that the end before takes its time.
        ErrorCode::ConcurrentTransactions if version < 12 => ErrorCode::NotEnoughReplicas,
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < 11 => ErrorCode::InvalidTxnState,
        // It was asked whether the partition is part of the transaction, and it is not: abort, and go on.
        ErrorCode::InvalidTxnState if version == 11 => ErrorCode::TransactionAbortable,
        other => other,
    }
}

/// Whether asking again would get the same answer.
pub(crate) fn is_final_for_transaction(code: ErrorCode) -> bool {
    let may_change = not_joined(code, 0) == ErrorCode::NotEnoughReplicas;
    !may_change
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s54_a_coordinator_that_cannot_speak_is_told_in_words_that_every_producer_tries_again() {
        for code in [
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
        ] {
            assert_eq!(not_joined(code, 7), ErrorCode::NotEnoughReplicas);
            assert_eq!(not_joined(code, 13), ErrorCode::NotEnoughReplicas);
        }
        let ending = ErrorCode::ConcurrentTransactions;
        assert_eq!(not_joined(ending, 11), ErrorCode::NotEnoughReplicas);
        assert_eq!(not_joined(ending, 12), ending);
        assert_eq!(not_joined(ErrorCode::ProducerFenced, 12), ErrorCode::InvalidProducerEpoch);
        assert_eq!(not_joined(ErrorCode::InvalidTxnState, 10), ErrorCode::InvalidTxnState);
        assert_eq!(not_joined(ErrorCode::InvalidTxnState, 11), ErrorCode::TransactionAbortable);
        assert_eq!(not_joined(ErrorCode::InvalidTxnState, 12), ErrorCode::InvalidTxnState);
        assert_eq!(not_joined(ErrorCode::TransactionAbortable, 10), ErrorCode::InvalidTxnState);
        assert!(is_final_for_transaction(ErrorCode::InvalidTxnState));
        assert!(!is_final_for_transaction(ending));
    }
}
