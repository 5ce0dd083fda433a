//! How the records of one decision lie in the log: among others, as part of a producer's transaction, or as the marker
//! that ends one.

use bytes::Bytes;

use super::CorruptRecord;
use crate::record::control::{ControlType, Marker, build_marker, read_marker};
use crate::record::{BatchBuilder, BatchError, BatchView};
use crate::types::Timestamp;
use crate::types::offset::NO_SEQUENCE;

/// The kind of a batch. Plain decisions share batches; each of the others stands alone in its own, as in Kafka: producer
/// and transaction are the whole batch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchKind {
    /// Records that count as soon as they are in the log.
    #[default]
    Plain,
    /// Records that count when the producer's transaction is committed. They have no sequence numbers: one coordinator
    /// writes them, once.
    Transactional {
        /// Whose transaction it is.
        producer_id: i64,
        /// The producer's epoch.
        producer_epoch: i16,
    },
    /// The end of a producer's transaction: one control record, which the machine does not write itself.
    Marker {
        /// Whose transaction ends.
        producer_id: i64,
        /// The epoch that the marker carries (S57).
        producer_epoch: i16,
        /// The epoch of the transaction coordinator that decided.
        coordinator_epoch: i32,
        /// Whether it is committed; else it is aborted.
        commit: bool,
    },
}

impl BatchKind {
    /// The kind of a batch that was read. `None` for a control batch that ends no transaction: it changes nothing.
    ///
    /// # Errors
    /// A control batch without a whole record.
    pub fn of(batch: &BatchView<'_>) -> Result<Option<Self>, CorruptRecord> {
        let header = batch.header();
        let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
        let marker = read_marker(batch).map_err(|error| CorruptRecord(error.to_string()))?;
        Ok(match marker {
            None if header.attributes.is_transactional() => {
                Some(Self::Transactional { producer_id, producer_epoch })
            }
            None => Some(Self::Plain),
            Some(Marker { kind: ControlType::Other(_), .. }) => None,
            Some(Marker { kind, coordinator_epoch }) => {
                let commit = kind == ControlType::Commit;
                Some(Self::Marker { producer_id, producer_epoch, coordinator_epoch, commit })
            }
        })
    }

    /// An empty batch for records of this kind.
    pub(super) fn builder(self) -> BatchBuilder {
        match self {
            Self::Plain => BatchBuilder::new(),
            Self::Transactional { producer_id, producer_epoch }
            | Self::Marker { producer_id, producer_epoch, .. } => {
                BatchBuilder::new().producer(producer_id, producer_epoch, NO_SEQUENCE).transactional(true)
            }
        }
    }

    /// The whole batch of a marker; `None` for kinds that have records.
    pub(super) fn marker(self, wall: Timestamp) -> Option<Result<Bytes, BatchError>> {
        let Self::Marker { producer_id, producer_epoch, coordinator_epoch, commit } = self else {
            return None;
        };
        let kind = if commit { ControlType::Commit } else { ControlType::Abort };
        Some(build_marker(Marker { kind, coordinator_epoch }, producer_id, producer_epoch, wall))
    }
}
