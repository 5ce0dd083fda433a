//! The records of `__transaction_state`, byte for byte as Kafka writes them (TransactionLogKey 0, TransactionLogValue 1), so
//! that its tools read our log and we read a log of its making.
//!
//! A key begins with its type, a value with its version. Read are both versions that Kafka ever wrote. What only a client
//! can have produced here (bytes that fit no schema in a batch that is whole) is left out.
//!
//! One thing is our own: the epoch whose holder may come back for the present one (KIP-360), which Kafka forgets in a
//! restart, stands in a tagged field that Kafka skips. So a producer whose answer a crash cut off is not fenced by its
//! own retry.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::hard::Record;
use super::transaction::{DEAD, NO_EPOCH, Partitions, Producer, Status, Transaction};
use crate::coord::{CorruptRecord, Decoded, LogRecord};
use crate::types::offset::NO_PRODUCER_ID;
use crate::wire::{DecodeError, Reader, Writer};

/// Key type of transactional ids.
const KEY: i16 = 0;
/// The value version that Kafka writes with `transaction.version` 1 and above, and the first flexible one.
const VALUE: i16 = 1;

/// Tags of a value: Kafka's, and our own, far from any that Kafka will use.
const PREVIOUS_ID_TAG: u32 = 0;
const NEXT_ID_TAG: u32 = 1;
const VERSION_TAG: u32 = 2;
const LAST_EPOCH_TAG: u32 = 10_000;
const TAGS: [u32; 4] = [PREVIOUS_ID_TAG, NEXT_ID_TAG, VERSION_TAG, LAST_EPOCH_TAG];

/// The record as key and value.
pub(super) fn encode(record: &Record) -> LogRecord {
    LogRecord { key: Some(key(&record.transactional_id)), value: record.value.as_deref().map(value) }
}

/// The record back.
///
/// # Errors
/// A value of a version that Kafka 4.3 does not have. A newer broker wrote it: without it, a transaction would fall back
/// to where it was before.
pub(super) fn decode(record: &LogRecord) -> Result<Decoded<Record>, CorruptRecord> {
    let Some(key) = &record.key else { return Ok(Decoded::NotOurs("it has no key".to_owned())) };
    let shown = |cause: &DecodeError| {
        let shown = &key[..key.len().min(80)];
        format!("record of a transactional id with key \"{}\": {cause}", shown.escape_ascii())
    };
    match decode_record(key, record.value.as_ref()) {
        Ok(Some(record)) => Ok(Decoded::Own(record)),
        Ok(None) => Ok(Decoded::NotOurs("a key of a type that is none of transactions".to_owned())),
        Err(Undecodable::Garbled(cause)) => Ok(Decoded::NotOurs(shown(&cause))),
        Err(Undecodable::Newer(cause)) => Err(CorruptRecord(shown(&cause))),
    }
}

/// Why a key and its value are no record.
enum Undecodable {
    /// The bytes fit no schema: no coordinator wrote them.
    Garbled(DecodeError),
    /// The value is of a version that is yet to come.
    Newer(DecodeError),
}

impl From<DecodeError> for Undecodable {
    fn from(error: DecodeError) -> Self {
        Self::Garbled(error)
    }
}

fn decode_record(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Record>, Undecodable> {
    let mut reader = Reader::new(key, false);
    if reader.i16()? != KEY {
        return Ok(None);
    }
    let transactional_id = Arc::from(reader.str()?);
    let value = value.map(decode_value).transpose()?.flatten().map(Arc::new);
    Ok(Some(Record { transactional_id, value }))
}

fn key(transactional_id: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + transactional_id.len());
    let mut writer = Writer::new(&mut out, false);
    writer.i16(KEY);
    writer.string(transactional_id);
    out.freeze()
}

fn value(transaction: &Transaction) -> Bytes {
    let partitions = &transaction.partitions;
    let names: usize = partitions.iter().map(|(topic, ids)| 8 + topic.len() + 4 * ids.len()).sum();
    let mut out = BytesMut::with_capacity(96 + names);
    Writer::new(&mut out, false).i16(VALUE);
    let mut writer = Writer::new(&mut out, true);
    writer.i64(transaction.producer.id);
    writer.i16(transaction.producer.epoch);
    writer.i32(transaction.timeout_ms);
    writer.i8(transaction.status.number());
    let listed = transaction.status != Status::Empty;
    writer.nullable_array(listed.then_some(partitions.len()));
    for (topic, ids) in partitions.iter().filter(|_| listed) {
        writer.string(topic);
        writer.array(ids.len());
        ids.iter().for_each(|id| writer.i32(*id));
        writer.end();
    }
    writer.i64(transaction.updated_at);
    writer.i64(transaction.started_at);
    let (previous, next) = (transaction.previous_id.to_be_bytes(), transaction.next_id.to_be_bytes());
    let (version, last_epoch) = (transaction.version.to_be_bytes(), transaction.last_epoch.to_be_bytes());
    let fields: [(bool, u32, &[u8]); 4] = [
        (transaction.previous_id != NO_PRODUCER_ID, PREVIOUS_ID_TAG, &previous),
        (transaction.next_id != NO_PRODUCER_ID, NEXT_ID_TAG, &next),
        (transaction.version != 0, VERSION_TAG, &version),
        (transaction.last_epoch != NO_EPOCH, LAST_EPOCH_TAG, &last_epoch),
    ];
    let fields: Vec<_> =
        fields.iter().filter(|(set, ..)| *set).map(|(_, tag, bytes)| (*tag, *bytes)).collect();
    writer.tags(&fields);
    out.freeze()
}

/// A value; `None` for one that says that the transactional id is gone.
fn decode_value(bytes: &Bytes) -> Result<Option<Transaction>, Undecodable> {
    let mut reader = Reader::new(bytes, false);
    let version = reader.i16()?;
    if !(0..=VALUE).contains(&version) {
        let cause = reader.error("a value of a version that Kafka 4.3 does not have");
        return Err(if version > VALUE { Undecodable::Newer(cause) } else { Undecodable::Garbled(cause) });
    }
    reader.set_flexible(version >= VALUE);
    let producer = Producer { id: reader.i64()?, epoch: reader.i16()? };
    let timeout_ms = reader.i32()?;
    let number = reader.i8()?;
    let unknown = reader.error("a state that Kafka 4.3 does not have");
    let partitions = reader.nullable_array(decode_topic)?.unwrap_or_default();
    let (updated_at, started_at) = (reader.i64()?, reader.i64()?);
    let (mut previous_id, mut next_id) = (NO_PRODUCER_ID, NO_PRODUCER_ID);
    let (mut version, mut last_epoch) = (0, NO_EPOCH);
    reader.tags(&TAGS, |tag, reader| {
        match tag {
            PREVIOUS_ID_TAG => previous_id = reader.i64()?,
            NEXT_ID_TAG => next_id = reader.i64()?,
            VERSION_TAG => version = reader.i16()?,
            _ => last_epoch = reader.i16()?,
        }
        Ok(())
    })?;
    let status = match Status::from_number(number) {
        Some(status) => status,
        None if number == DEAD => return Ok(None),
        None => return Err(Undecodable::Garbled(unknown)),
    };
    let partitions =
        if status == Status::Empty { Partitions::new() } else { partitions.into_iter().collect() };
    Ok(Some(Transaction {
        producer,
        previous_id,
        next_id,
        last_epoch,
        timeout_ms,
        status,
        partitions,
        updated_at,
        started_at,
        version,
    }))
}

fn decode_topic(reader: &mut Reader<'_>) -> Result<(Arc<str>, BTreeSet<i32>), DecodeError> {
    let topic = Arc::from(reader.str()?);
    let ids = reader.array(Reader::i32)?.into_iter().collect();
    reader.end()?;
    Ok((topic, ids))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
