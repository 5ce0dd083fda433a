//! The records of `__consumer_offsets`, byte for byte as Kafka writes them (OffsetCommitKey and Value, GroupMetadataKey
//! and Value), so that its tools read our log and we read a log of its making.
//!
//! A key begins with its type, a value with its version. Written are the versions that Kafka 4.3 writes: offset values
//! 4, group values 3. Read are all that it ever wrote. Types that are not ours (consumer, share and streams groups) are
//! left out, and so is what only a client can have produced here: bytes that fit no schema in a batch that is whole.
//!
//! One thing is our own: an offset with its own expiry, which Kafka writes as version 1 and thereby without topic id,
//! stays version 4 with the expiry in a tagged field that Kafka skips. Without the id a topic made again could inherit
//! the offset.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::hard::{CommittedOffset, GroupMetadata, MemberMetadata, Record};
use super::pending::PendingOffset;
use crate::coord::{BatchKind, CorruptRecord, Decoded, LogRecord};
use crate::types::TopicId;
use crate::types::offset::NO_EPOCH;
use crate::wire::{DecodeError, Reader, Writer};

/// Key type of offsets, and of its older form that differs in nothing but this number.
const OFFSET_KEY: i16 = 1;
const LEGACY_OFFSET_KEY: i16 = 0;
/// Key type of classic groups.
const GROUP_KEY: i16 = 2;

/// The value versions that we write; both are what Kafka 4.3 writes.
const OFFSET_VALUE: i16 = 4;
const GROUP_VALUE: i16 = 3;
/// The newest value versions that Kafka has defined; the first flexible ones.
const OFFSET_VALUE_MAX: i16 = 4;
const GROUP_VALUE_MAX: i16 = 4;
const FLEXIBLE: i16 = 4;

/// Tags of an offset value: Kafka's, and our own, far from any that Kafka will use.
const TOPIC_ID_TAG: u32 = 0;
const EXPIRES_AT_TAG: u32 = 10_000;

/// The wire's "no timestamp", and "no timeout".
const NONE_I64: i64 = -1;
const NONE_I32: i32 = -1;

/// The longest string that a key or a group value can hold, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 0x7fff;

/// The record as key and value. What is pending has the bytes of any other offset: its batch says whose it is. The end
/// of a transaction has none of its own; it lies in the log as a marker.
pub(super) fn encode(record: &Record) -> LogRecord {
    match record {
        Record::Offset { group, topic, partition, value } => LogRecord {
            key: Some(offset_key(group, topic, *partition)),
            value: value.as_ref().map(offset_value),
        },
        Record::PendingOffset { group, topic, partition, pending } => LogRecord {
            key: Some(offset_key(group, topic, *partition)),
            value: Some(offset_value(&pending.value)),
        },
        Record::EndTransaction { .. } => LogRecord { key: None, value: None },
        Record::Group { group, value } => {
            LogRecord { key: Some(group_key(group)), value: value.as_deref().map(group_value) }
        }
    }
}

/// The record back, from a batch of this kind. Only offsets can be pending: all else, tombstones included, counts at once
/// wherever it lies, as in Kafka.
///
/// # Errors
/// A value of a version that Kafka 4.3 does not have. A newer broker wrote it: without it, a group would fall back to
/// what it had before.
pub(super) fn decode(record: &LogRecord, batch: &BatchKind) -> Result<Decoded<Record>, CorruptRecord> {
    let Some(key) = &record.key else { return Ok(Decoded::NotOurs("it has no key".to_owned())) };
    let shown = |cause: &DecodeError| {
        let shown = &key[..key.len().min(80)];
        format!("record of a group with key \"{}\": {cause}", shown.escape_ascii())
    };
    match decode_key(key, record.value.as_ref()) {
        Ok(Some(record)) => Ok(Decoded::Own(in_batch(record, batch))),
        Ok(None) => {
            let kind = key.first_chunk().map_or(-1, |kind| i16::from_be_bytes(*kind));
            Ok(Decoded::NotOurs(format!("a key of type {kind}, which is none of classic groups")))
        }
        Err(Undecodable::Garbled(cause)) => Ok(Decoded::NotOurs(shown(&cause))),
        Err(Undecodable::Newer(cause)) => Err(CorruptRecord(shown(&cause))),
    }
}

fn in_batch(record: Record, batch: &BatchKind) -> Record {
    match (record, *batch) {
        (
            Record::Offset { group, topic, partition, value: Some(value) },
            BatchKind::Transactional { producer_id, producer_epoch },
        ) => {
            let pending = PendingOffset { producer_id, producer_epoch, value };
            Record::PendingOffset { group, topic, partition, pending }
        }
        (record, _) => record,
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

fn decode_key(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Record>, Undecodable> {
    let mut reader = Reader::new(key, false);
    match reader.i16()? {
        OFFSET_KEY | LEGACY_OFFSET_KEY => Ok(Some(Record::Offset {
            group: text(&mut reader)?,
            topic: text(&mut reader)?,
            partition: reader.i32()?,
            value: value.map(decode_offset).transpose()?,
        })),
        GROUP_KEY => Ok(Some(Record::Group {
            group: text(&mut reader)?,
            value: value.map(decode_group).transpose()?.map(Arc::new),
        })),
        _ => Ok(None),
    }
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut out = BytesMut::with_capacity(10 + group.len() + topic.len());
    let mut writer = Writer::new(&mut out, false);
    writer.i16(OFFSET_KEY);
    writer.string(group);
    writer.string(topic);
    writer.i32(partition);
    out.freeze()
}

fn offset_value(value: &CommittedOffset) -> Bytes {
    let metadata = value.metadata.as_deref().unwrap_or_default();
    let mut out = BytesMut::with_capacity(64 + metadata.len());
    let mut writer = Writer::new(&mut out, false);
    writer.i16(OFFSET_VALUE);
    let mut writer = Writer::new(&mut out, true);
    writer.i64(value.offset);
    writer.i32(value.leader_epoch);
    writer.string(metadata);
    writer.i64(value.committed_at);
    let id = value.topic_id.as_bytes();
    let expires_at = value.expires_at.map(i64::to_be_bytes);
    match (value.topic_id.is_zero(), &expires_at) {
        (false, None) => writer.tags(&[(TOPIC_ID_TAG, id)]),
        (false, Some(at)) => writer.tags(&[(TOPIC_ID_TAG, id), (EXPIRES_AT_TAG, at)]),
        (true, Some(at)) => writer.tags(&[(EXPIRES_AT_TAG, at)]),
        (true, None) => writer.end(),
    }
    out.freeze()
}

fn decode_offset(bytes: &Bytes) -> Result<CommittedOffset, Undecodable> {
    let (version, mut reader) = versioned(bytes, OFFSET_VALUE_MAX)?;
    let offset = reader.i64()?;
    let leader_epoch = if version >= 3 { reader.i32()? } else { NO_EPOCH };
    let metadata = reader.str()?;
    let metadata = (!metadata.is_empty()).then(|| Arc::from(metadata));
    let committed_at = reader.i64()?;
    let mut expires_at = if version == 1 { Some(reader.i64()?) } else { None };
    let mut topic_id = TopicId::ZERO;
    reader.tags(&[TOPIC_ID_TAG, EXPIRES_AT_TAG], |tag, reader| {
        match tag {
            TOPIC_ID_TAG => topic_id = reader.topic_id()?,
            _ => expires_at = Some(reader.i64()?),
        }
        Ok(())
    })?;
    let expires_at = expires_at.filter(|at| *at != NONE_I64);
    Ok(CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at, topic_id })
}

fn group_key(group: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + group.len());
    let mut writer = Writer::new(&mut out, false);
    writer.i16(GROUP_KEY);
    writer.string(group);
    out.freeze()
}

fn group_value(value: &GroupMetadata) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + value.members.iter().map(member_bytes).sum::<usize>());
    let mut writer = Writer::new(&mut out, false);
    writer.i16(GROUP_VALUE);
    writer.string(value.protocol_type.as_deref().unwrap_or_default());
    writer.i32(value.generation);
    writer.nullable_string(value.protocol.as_deref());
    writer.nullable_string(value.leader.as_deref());
    writer.i64(value.state_since.unwrap_or(NONE_I64));
    writer.array(value.members.len());
    for member in &value.members {
        writer.string(&member.member_id);
        writer.nullable_string(member.instance_id.as_deref());
        writer.string(&member.client_id);
        writer.string(&member.client_host);
        writer.i32(member.rebalance_timeout_ms);
        writer.i32(member.session_timeout_ms);
        writer.bytes(&member.subscription);
        writer.bytes(&member.assignment);
    }
    out.freeze()
}

/// About what a member takes in a group value.
fn member_bytes(member: &MemberMetadata) -> usize {
    64 + member.member_id.len()
        + member.client_id.len()
        + member.client_host.len()
        + member.subscription.len()
        + member.assignment.len()
}

fn decode_group(bytes: &Bytes) -> Result<GroupMetadata, Undecodable> {
    let (version, mut reader) = versioned(bytes, GROUP_VALUE_MAX)?;
    let protocol_type = text(&mut reader)?;
    let generation = reader.i32()?;
    let protocol = nullable_text(&mut reader)?;
    let leader = nullable_text(&mut reader)?;
    let state_since = if version >= 2 { reader.i64()? } else { NONE_I64 };
    let mut members = reader.array(|reader| decode_member(reader, version))?;
    reader.end()?;
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(GroupMetadata {
        protocol_type: (!protocol_type.is_empty()).then_some(protocol_type),
        generation,
        protocol,
        leader,
        state_since: (state_since != NONE_I64).then_some(state_since),
        members,
    })
}

fn decode_member(reader: &mut Reader<'_>, version: i16) -> Result<MemberMetadata, DecodeError> {
    let member_id = text(reader)?;
    let instance_id = if version >= 3 { nullable_text(reader)? } else { None };
    let client_id = text(reader)?;
    let client_host = text(reader)?;
    let rebalance_timeout_ms = if version >= 1 { reader.i32()? } else { NONE_I32 };
    let session_timeout_ms = reader.i32()?;
    let subscription = copied(reader)?;
    let assignment = copied(reader)?;
    reader.end()?;
    Ok(MemberMetadata {
        member_id,
        instance_id,
        client_id,
        client_host,
        // What had no rebalance timeout waits as long as a session lasts.
        rebalance_timeout_ms: match rebalance_timeout_ms {
            NONE_I32 => session_timeout_ms,
            ms => ms,
        },
        session_timeout_ms,
        subscription,
        assignment,
    })
}

/// The version in front of a value, and a reader of what follows it.
fn versioned(bytes: &Bytes, newest: i16) -> Result<(i16, Reader<'_>), Undecodable> {
    let mut reader = Reader::new(bytes, false);
    let version = reader.i16()?;
    if !(0..=newest).contains(&version) {
        let cause = reader.error("a value of a version that Kafka 4.3 does not have");
        return Err(if version > newest { Undecodable::Newer(cause) } else { Undecodable::Garbled(cause) });
    }
    reader.set_flexible(version >= FLEXIBLE);
    Ok((version, reader))
}

fn text(reader: &mut Reader<'_>) -> Result<Arc<str>, DecodeError> {
    reader.str().map(Arc::from)
}

fn nullable_text(reader: &mut Reader<'_>) -> Result<Option<Arc<str>>, DecodeError> {
    Ok(reader.nullable_str()?.map(Arc::from))
}

/// A byte field, copied: it must not keep a whole batch alive.
fn copied(reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    reader.bytes().map(|bytes| Bytes::copy_from_slice(&bytes))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
