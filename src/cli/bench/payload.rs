//! The batches that are sent: uncompressed, their values random bytes.

use bytes::Bytes;

use crate::client::load_txn::Identity;
use crate::record::{BatchBuilder, BatchError, NewRecord};

/// Random bytes that values are cut from, so that neither brokers nor file systems can make them smaller.
const POOL_BYTES: usize = 1024 * 1024;
/// What records and batches look like.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pool: Bytes,
    record_bytes: usize,
    /// Records in a batch.
    records: usize,
}

impl Payload {
    /// Records with values of this size, as many as fit into batches of that size and at least one.
    pub(super) fn new(record_bytes: usize, batch_bytes: usize) -> Result<Self, getrandom::Error> {
        let mut pool = vec![0; POOL_BYTES.max(record_bytes)];
        getrandom::fill(&mut pool)?;
        Ok(Self { records: fitting(&pool, record_bytes, batch_bytes), pool: pool.into(), record_bytes })
    }

    /// Records in a batch.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// How large a value is.
    pub(super) fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// A batch. With a stamp each value begins with it; with an identity it belongs to a transaction.
    pub(super) fn batch(
        &self,
        timestamp: i64,
        stamp: &[u8],
        identity: Option<Identity>,
    ) -> Result<Bytes, BatchError> {
        let mut builder = BatchBuilder::new();
        if let Some(Identity { id, epoch, sequence }) = identity {
            builder = builder.producer(id, epoch, sequence).transactional(true);
        }
        let mut stamped = Vec::new();
        let mut at = 0;
        for _ in 0..self.records {
            if at + self.record_bytes > self.pool.len() {
                at = 0;
            }
            let mut value = self.pool.get(at..at + self.record_bytes).unwrap_or_default();
            if !stamp.is_empty() {
                stamped.clear();
                stamped.extend_from_slice(stamp);
                stamped.extend_from_slice(value.get(stamp.len()..).unwrap_or_default());
                value = &stamped;
            }
            builder.push(&NewRecord { timestamp, key: None, value: Some(value), headers: &[] });
            at += self.record_bytes;
        }
        builder.build()
    }
}

/// How many records fit into a batch.
fn fitting(pool: &[u8], record_bytes: usize, batch_bytes: usize) -> usize {
    let record = NewRecord { timestamp: 0, key: None, value: pool.get(..record_bytes), headers: &[] };
    let mut builder = BatchBuilder::new();
    let mut records = 0_usize;
    while builder.uncompressed_len() <= batch_bytes {
        builder.push(&record);
        records += 1;
    }
    records.saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BatchView;

    #[test]
    fn batches_are_full_and_not_larger_than_asked() {
        for (record_bytes, batch_bytes) in [(1024, 65_536), (100, 16_384), (1024, 100), (1, 1_000)] {
            let payload = Payload::new(record_bytes, batch_bytes).unwrap();
            let batch = payload.batch(1, &[], None).unwrap();
            // What a record takes beside its value depends on its place.
            let one_more = batch.len() + record_bytes + 15;
            assert!(batch.len() <= batch_bytes || payload.records() == 1, "{} bytes", batch.len());
            assert!(one_more > batch_bytes, "{} of {batch_bytes} bytes", batch.len());
        }
    }

    #[test]
    fn every_value_has_the_stamp_and_its_size() {
        let payload = Payload::new(50, 1_000).unwrap();
        let bytes = payload.batch(1, b"stamp", None).unwrap();
        let view = BatchView::parse(&bytes).unwrap();
        let records = view.records(10_000).unwrap();
        let values: Vec<_> = records.iter().map(|record| record.unwrap().value.unwrap()).collect();
        assert_eq!(values.len(), payload.records());
        assert!(values.iter().all(|value| value.len() == 50 && value.starts_with(b"stamp")));
    }
}
