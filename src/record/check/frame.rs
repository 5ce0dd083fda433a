//! What can be said of a batch without looking at its records: that there is exactly one (S35), and what its header
//! says (S36, S37).

use bytes::Bytes;

use super::{CheckRules, Refusal};
use crate::config::units;
use crate::record::batch::{Attributes, BatchView, HEADER_LEN, LENGTH_OVERHEAD, MAGIC};
use crate::types::offset::non_negative;
use crate::types::{Codec, ErrorCode};

/// The least length field of any record format: that of magic 0.
const LENGTH_MIN: i32 = 14;
/// Bytes up to the magic, with it.
const MAGIC_END: usize = 17;

/// The one batch that `records` must hold. A piece of another behind it is cut off, as Kafka does: it may be what a
/// client's own limit left of it.
pub(super) fn one_batch(mut records: Bytes, rules: &CheckRules<'_>) -> Result<Bytes, Refusal> {
    // Kafka looks at the first batch so early that its words reach the client.
    let first =
        next_batch(&records).map_err(|refusal| Refusal { message: Some(refusal.detail.clone()), ..refusal });
    let Some(len) = first? else {
        return Err(Refusal::new(ErrorCode::InvalidRecord, "there is no whole record batch"));
    };
    let magic = records.get(MAGIC_END - 1).copied().unwrap_or_default().cast_signed();
    if magic != MAGIC {
        let detail = format!("the batch has magic {magic}; only 2 is accepted");
        return Err(Refusal::new(ErrorCode::InvalidRecord, detail));
    }
    let attributes = records.get(21..23).map(|bytes| Attributes(i16::from_be_bytes([bytes[0], bytes[1]])));
    if !rules.zstd && attributes.and_then(Attributes::codec) == Some(Codec::Zstd) {
        let detail = "zstd needs Produce version 7";
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, detail));
    }
    if next_batch(records.get(len..).unwrap_or_default())?.is_some() {
        return Err(Refusal::new(ErrorCode::InvalidRecord, "there is more than one record batch"));
    }
    records.truncate(len);
    Ok(records)
}

/// Bytes of the batch, of any magic, at the front of `bytes`; `None` when it is not whole.
fn next_batch(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some(length) = bytes.get(8..LENGTH_OVERHEAD) else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    if length < LENGTH_MIN {
        let detail = format!("Record size {length} is less than the minimum record overhead ({LENGTH_MIN})");
        return Err(Refusal::new(ErrorCode::CorruptMessage, detail));
    }
    let Some(&magic) = bytes.get(MAGIC_END - 1) else {
        return Ok(None);
    };
    if !(0..=MAGIC).contains(&magic.cast_signed()) {
        let detail = format!("Invalid magic found in record: {}", magic.cast_signed());
        return Err(Refusal::new(ErrorCode::CorruptMessage, detail));
    }
    let total = non_negative(length) + LENGTH_OVERHEAD;
    Ok((total <= bytes.len()).then_some(total))
}

/// Checks the header of the batch `bytes`, and its CRC. The order decides which error a batch with several gets.
pub(super) fn check_header<'a>(
    bytes: &'a [u8],
    rules: &CheckRules<'_>,
) -> Result<(BatchView<'a>, Codec), Refusal> {
    let invalid = |detail: String| Refusal::new(ErrorCode::InvalidRecord, detail);
    let base_offset = bytes.first_chunk().map_or(0, |offset| i64::from_be_bytes(*offset));
    if base_offset != 0 {
        return Err(invalid(format!("the base offset should be 0 and is {base_offset}")));
    }
    if bytes.len() > non_negative(rules.settings.max_message_bytes) {
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        return Err(Refusal::too_large(format_args!("batch {} B", units::show_count(size)), rules));
    }
    let corrupt = |detail: &str| Refusal::new(ErrorCode::CorruptMessage, detail);
    if bytes.len() < HEADER_LEN {
        return Err(corrupt("the batch is shorter than its header"));
    }
    let batch = BatchView::parse(bytes)?;
    if !batch.crc_ok() {
        return Err(corrupt("the CRC does not match"));
    }
    let header = batch.header();
    let Some(codec) = header.attributes.codec() else {
        return Err(invalid(format!("attributes {:#06x} name no codec", header.attributes.0)));
    };
    let (count, last) = (header.records_count, header.last_offset_delta);
    if last < 0 || count <= 0 || i64::from(count) != i64::from(last) + 1 {
        return Err(invalid(format!("{count} records do not go with a last offset delta of {last}")));
    }
    if header.attributes.is_control() {
        return Err(invalid("clients may not write control records".to_owned()));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (id, sequence) = (header.producer_id, header.base_sequence);
        return Err(invalid(format!("producer {id} sent the sequence number {sequence}")));
    }
    Ok((batch, codec))
}
