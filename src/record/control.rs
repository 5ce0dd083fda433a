//! Transaction markers: the control batches that end a transaction in each partition it wrote to (S22, KIP-98).
//!
//! A marker is a batch of one record, with the control and the transactional bit. Key: version, type. Value: version,
//! epoch of the coordinator that decided. Clients never see it as data but its offset is spent.

use bytes::Bytes;

use super::batch::{BatchError, BatchView};
use super::build::{BatchBuilder, NewRecord};
use crate::types::Timestamp;
use crate::types::offset::NO_SEQUENCE;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
/// What a marker's record may take when it is read: far above its 20 bytes.
const RECORDS_MAX_BYTES: usize = 4096;

/// What a control record is about (`ControlRecordType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlType {
    /// The producer's open transaction is aborted.
    Abort,
    /// The producer's open transaction is committed.
    Commit,
    /// Written by Kafka's Raft logs, or by a version that is not known here: to be skipped.
    Other(i16),
}

impl ControlType {
    /// The number in the record's key.
    pub const fn code(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: i16) -> Self {
        match code {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        }
    }
}

/// A control batch, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// What it does.
    pub kind: ControlType,
    /// Epoch of the transaction coordinator that wrote it; -1 for kinds that carry none.
    pub coordinator_epoch: i32,
}

/// The batch that ends the open transaction of producer `id` at `epoch`.
///
/// # Errors
/// Never in practice: what the builder says.
pub fn build_marker(marker: Marker, id: i64, epoch: i16, now: Timestamp) -> Result<Bytes, BatchError> {
    let mut key = [0; 4];
    key[..2].copy_from_slice(&KEY_VERSION.to_be_bytes());
    key[2..].copy_from_slice(&marker.kind.code().to_be_bytes());
    let mut value = [0; 6];
    value[..2].copy_from_slice(&VALUE_VERSION.to_be_bytes());
    value[2..].copy_from_slice(&marker.coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new().producer(id, epoch, NO_SEQUENCE).transactional(true).control(true);
    builder.push(&NewRecord { timestamp: now, key: Some(&key), value: Some(&value), headers: &[] });
    builder.build()
}

/// Reads a control batch; `None` when `batch` is data.
///
/// # Errors
/// A control batch that has no whole record in it.
pub fn read_marker(batch: &BatchView<'_>) -> Result<Option<Marker>, BatchError> {
    if !batch.header().attributes.is_control() {
        return Ok(None);
    }
    let records = batch.records(RECORDS_MAX_BYTES)?;
    let record = records.iter().next().ok_or(BatchError::Record("a control batch is empty"))??;
    let key = record
        .key
        .and_then(|key| key.first_chunk::<4>())
        .ok_or(BatchError::Record("its control key is short"))?;
    // Kafka reads any version of the key from 0 up as version 0, and refuses negative ones.
    if i16::from_be_bytes([key[0], key[1]]) < 0 {
        return Err(BatchError::Record("its control key has a negative version"));
    }
    let kind = ControlType::from_code(i16::from_be_bytes([key[2], key[3]]));
    let coordinator_epoch = match kind {
        ControlType::Other(_) => -1,
        ControlType::Abort | ControlType::Commit => {
            let value = record.value.and_then(|value| value.first_chunk::<6>());
            let value = value.ok_or(BatchError::Record("its marker is short"))?;
            i32::from_be_bytes([value[2], value[3], value[4], value[5]])
        }
    };
    Ok(Some(Marker { kind, coordinator_epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s22_markers_have_kafkas_bytes() {
        let marker = Marker { kind: ControlType::Commit, coordinator_epoch: 7 };
        let bytes = build_marker(marker, 4000, 3, 1_700_000_000_000).unwrap();
        let batch = BatchView::parse(&bytes).unwrap();
        assert!(batch.crc_ok());
        let header = batch.header();
        assert!(header.attributes.is_control() && header.attributes.is_transactional());
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4000, 3, -1));
        assert_eq!((header.records_count, header.last_offset_delta), (1, 0));
        let records = batch.records(100).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!(record.key, Some(&[0, 0, 0, 1][..]));
        assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 7][..]));
        assert_eq!(read_marker(&batch), Ok(Some(marker)));
    }

    #[test]
    fn data_is_no_marker_and_unknown_kinds_are_told_apart() {
        let mut data = BatchBuilder::new();
        data.push(&NewRecord::default());
        let data = data.build().unwrap();
        assert_eq!(read_marker(&BatchView::parse(&data).unwrap()), Ok(None));

        let raft = Marker { kind: ControlType::Other(2), coordinator_epoch: -1 };
        let bytes = build_marker(raft, -1, -1, 0).unwrap();
        assert_eq!(read_marker(&BatchView::parse(&bytes).unwrap()), Ok(Some(raft)));
    }

    #[test]
    fn a_control_batch_without_a_whole_record_is_an_error() {
        for key in [None, Some(&b"abc"[..]), Some(&[0xff, 0xff, 0, 0][..])] {
            let mut short = BatchBuilder::new().control(true);
            short.push(&NewRecord { key, value: Some(b"123456"), ..NewRecord::default() });
            let short = short.build().unwrap();
            assert!(read_marker(&BatchView::parse(&short).unwrap()).is_err());
        }
    }
}
