//! What happens to a batch that is right but not as the topic wants it: a corrected header (S38, S39), or the same
//! records in a batch of another codec (S41) or with offsets that count up.

use bytes::{Bytes, BytesMut};

use super::{CheckRules, Refusal};
use crate::config::topic::Compression;
use crate::record::batch::{Attributes, BatchHeader, BatchView, seal};
use crate::record::build::BatchBuilder;
use crate::record::compress::Inflate;
use crate::record::format::{Flaw, Source, read_length, read_varint, read_varlong};
use crate::types::offset::non_negative;
use crate::types::{Codec, Timestamp};

/// Attribute bits that mean something; Kafka clears the others when it touches a header.
const KNOWN_ATTRIBUTES: i16 = 0x7f;

/// The batch with the timestamps that the topic gives it: type and `append_time` under log append time, else the
/// records' own with the `max_timestamp` that was found. Copied, and its CRC made anew, only if the producer has not
/// sent it so.
pub(super) fn settle_times(
    batch: &BatchView<'_>,
    bytes: &Bytes,
    max_timestamp: Timestamp,
    append_time: Option<Timestamp>,
) -> Bytes {
    let mut header = *batch.header();
    let max_timestamp = append_time.unwrap_or(max_timestamp);
    if header.attributes.is_log_append_time() == append_time.is_some()
        && header.max_timestamp == max_timestamp
    {
        return bytes.clone();
    }
    let attributes = Attributes(header.attributes.0 & KNOWN_ATTRIBUTES);
    header.attributes = attributes.with_log_append_time(append_time.is_some());
    header.max_timestamp = max_timestamp;
    let mut settled = BytesMut::with_capacity(bytes.len());
    settled.extend_from_slice(&header.encode());
    settled.extend_from_slice(batch.payload());
    seal(&mut settled);
    settled.freeze()
}

/// The records of `batch`, which have been walked, in a new batch. They pass through a window of memory, from one codec
/// to the other; what stands in a record behind its offset is taken over as it is.
pub(super) fn rebuild(
    batch: &BatchView<'_>,
    codec: Codec,
    compression: Compression,
    rules: &CheckRules<'_>,
    now: Timestamp,
) -> Result<Bytes, Refusal> {
    let header = batch.header();
    let max = non_negative(rules.settings.max_message_bytes);
    let mut builder = BatchBuilder::new()
        .compression(compression)
        .leader_epoch(header.partition_leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.attributes.is_transactional());
    if rules.settings.log_append_time {
        builder = builder.log_append_time(now);
    }
    let mut source = Inflate::new(codec, batch.payload(), rules.inflated_max_bytes())?;
    for _ in 0..header.records_count {
        let (timestamp, tail) = read_head(header, &mut source).map_err(|flaw| source.explain(flaw))?;
        let certain = if compression.codec == Codec::None { tail } else { 0 };
        if builder.produced_len() + certain > max {
            return Err(too_large(rules));
        }
        builder.push_tail(timestamp, tail, &mut source);
        if builder.failed() {
            break;
        }
    }
    let bytes = builder.build()?;
    if bytes.len() > max { Err(too_large(rules)) } else { Ok(bytes) }
}

/// Reads a record up to its key: its time, and the bytes that follow.
fn read_head(header: &BatchHeader, source: &mut Inflate<'_>) -> Result<(Timestamp, usize), Flaw> {
    let length = read_length(source)?;
    let start = source.position();
    source.byte()?;
    let timestamp = header.timestamp_of(read_varlong(source)?);
    read_varint(source)?;
    let tail = length.checked_sub(source.position() - start).ok_or(Flaw::EndsLate)?;
    Ok((timestamp, tail))
}

fn too_large(rules: &CheckRules<'_>) -> Refusal {
    Refusal::too_large("batch, as the topic's compression.type makes it,", rules)
}
