//! Produce-time checks: what a producer sent becomes a [`CheckedBatch`] or a [`Refusal`], as Apache Kafka decides it
//! (S35 to S43; `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`).
//!
//! This is the hot path, outside any lock. What it costs, and why it cannot cost less:
//!
//! - *Header*: a few comparisons (`frame`).
//! - *CRC*: one pass over the bytes.
//! - *Records*: one walk (`walk`). Kafka's rules speak of every record: its time must lie in the window, its key must
//!   be there if the topic is compacted, its fields must fill its length, there must be as many as the header counts
//!   and nothing behind them; and the batch's largest timestamp, which indexes and time lookups trust, must be true. So
//!   each record's numbers are read and its bytes stepped over: nothing is copied or allocated, keys, values and
//!   headers are not looked into.
//! - *Decompression*, of compressed batches only: a batch that does not decompress would poison every consumer. It goes
//!   through a window of memory and stops at [`CheckRules::inflated_max_bytes`].
//!
//! The bytes then go on as they came, except that the batch is copied to correct its header (log append time; a wrong
//! largest timestamp), or made anew (`rebuild`) when the topic has another codec or its offset deltas do not count
//! 0, 1, 2.
//!
//! Where this differs from Kafka on purpose:
//!
//! - An uncompressed batch with wrong offset deltas is made anew. Kafka does so for compressed ones only and stores the
//!   others as they are, for consumers to stumble over.
//! - Records that no consumer could read are [`ErrorCode::InvalidRecord`], also where Kafka lets them in (lengths below
//!   -1; in compressed batches, a length that is not that of the fields) or runs into an exception it does not expect
//!   and answers `UNKNOWN_SERVER_ERROR` (payloads that do not decompress, a codec that does not exist).
//! - Decompressed records have a bound, beyond which the answer is [`ErrorCode::MessageTooLarge`].
//! - A refusal names at most [`RECORD_ERRORS_MAX`] of its records.

mod frame;
mod rebuild;
mod walk;

use bytes::Bytes;

use super::batch::{BatchError, BatchHeader};
use crate::config::topic::{Compression, TopicSettings};
use crate::config::units;
use crate::types::offset::non_negative;
use crate::types::time::NO_TIMESTAMP;
use crate::types::{Codec, ErrorCode, Timestamp};

/// Records that a refusal names one by one, at most.
pub const RECORD_ERRORS_MAX: usize = 1000;
/// Decompressed records may be this many times as large as the largest batch the topic accepts.
const INFLATED_RATIO_MAX: usize = 128;
/// Decompressed records may always be this large, in bytes.
const INFLATED_FLOOR_BYTES: usize = 64 << 20;
/// The first Produce version whose clients all know zstd (KIP-110).
const ZSTD_FROM_VERSION: i16 = 7;

/// What a batch is held against.
#[derive(Debug, Clone, Copy)]
pub struct CheckRules<'a> {
    settings: &'a TopicSettings,
    topic: &'a str,
    partition: i32,
    zstd: bool,
    inflated_max_bytes: usize,
}

/// What the records of one batch to a topic with these settings may take once decompressed, in bytes.
pub fn inflated_bytes_max(settings: &TopicSettings) -> usize {
    non_negative(settings.max_message_bytes).saturating_mul(INFLATED_RATIO_MAX).max(INFLATED_FLOOR_BYTES)
}

impl<'a> CheckRules<'a> {
    /// The rules for a batch of a Produce request of `version` to a partition of `topic`; messages name both.
    pub fn new(settings: &'a TopicSettings, topic: &'a str, partition: i32, version: i16) -> Self {
        let inflated_max_bytes = inflated_bytes_max(settings);
        Self { settings, topic, partition, zstd: version >= ZSTD_FROM_VERSION, inflated_max_bytes }
    }

    /// The same rules, but a batch whose records take more than `bytes` decompressed is refused with
    /// [`ErrorCode::MessageTooLarge`] as soon as that is seen: for who has no time for a longer check.
    pub fn inflating_at_most(self, bytes: usize) -> Self {
        Self { inflated_max_bytes: self.inflated_max_bytes.min(bytes), ..self }
    }

    /// Bytes that a batch's records may decompress to.
    pub fn inflated_max_bytes(&self) -> usize {
        self.inflated_max_bytes
    }
}

/// A batch that may be appended: whole, checked, and as the topic wants it.
#[derive(Debug, Clone)]
pub struct CheckedBatch {
    /// The batch, base offset 0. What the log assigns is still to be stamped.
    pub bytes: Bytes,
    /// Its header.
    pub header: BatchHeader,
    /// What the Produce response says: the time of the append, or -1 when the records keep their own (S39).
    pub log_append_time: Timestamp,
}

/// Why a batch is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The partition's error code.
    pub code: ErrorCode,
    /// The partition's `error_message` (Produce v8): only where Kafka sends one.
    pub message: Option<String>,
    /// The partition's `record_errors` (Produce v8): indexes in the batch, with what is wrong with the record.
    pub record_errors: Vec<(i32, Option<String>)>,
    /// The reason in words, for the broker's log.
    pub detail: String,
    /// The topic's setting that it is held against.
    pub setting: Option<&'static str>,
}

impl Refusal {
    fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, message: None, record_errors: Vec::new(), detail: detail.into(), setting: None }
    }

    /// A batch of this size is above the topic's bound.
    fn too_large(batch: impl std::fmt::Display, rules: &CheckRules<'_>) -> Self {
        let (setting, topic) = ("max.message.bytes", rules.topic);
        let max = units::show_count(i64::from(rules.settings.max_message_bytes));
        let detail = format!("{batch} > {setting} {max} on topic {topic}");
        Self { setting: Some(setting), ..Self::new(ErrorCode::MessageTooLarge, detail) }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match error {
            BatchError::Bomb { .. } => ErrorCode::MessageTooLarge,
            _ => ErrorCode::InvalidRecord,
        };
        Self::new(code, error.to_string())
    }
}

/// Checks what a Produce request holds for one partition; `now` is the broker's time.
///
/// # Errors
/// The refusal to answer with; nothing of the batch is to be appended.
pub fn check(
    records: Option<Bytes>,
    rules: &CheckRules<'_>,
    now: Timestamp,
) -> Result<CheckedBatch, Refusal> {
    let settings = rules.settings;
    let bytes = frame::one_batch(records.unwrap_or_default(), rules)?;
    let (batch, codec) = frame::check_header(&bytes, rules)?;
    let walked = walk::walk(&batch, codec, rules, now)?;

    let wanted = settings.compression.filter(|wanted| wanted.codec != codec);
    let bytes = match wanted {
        Some(compression) => rebuild::rebuild(&batch, codec, compression, rules, now)?,
        None if !walked.in_order => {
            let again = Compression { codec, level: default_level(codec) };
            let compression = settings.compression.unwrap_or(again);
            rebuild::rebuild(&batch, codec, compression, rules, now)?
        }
        None => rebuild::settle_times(
            &batch,
            &bytes,
            walked.max_timestamp,
            settings.log_append_time.then_some(now),
        ),
    };
    let header = BatchHeader::parse(&bytes)?;
    let size = header.total_len();
    if size > non_negative(settings.segment_bytes) {
        let count = |n: usize| units::show_count(i64::try_from(n).unwrap_or(i64::MAX));
        let (setting, max) = ("segment.bytes", count(non_negative(settings.segment_bytes)));
        let detail = format!("batch {} B > {setting} {max} on topic {}", count(size), rules.topic);
        let refusal = Refusal::new(ErrorCode::RecordListTooLarge, detail);
        return Err(Refusal { setting: Some(setting), ..refusal });
    }
    let log_append_time = if settings.log_append_time { now } else { NO_TIMESTAMP };
    Ok(CheckedBatch { bytes, header, log_append_time })
}

/// The level at which a batch that keeps its codec is compressed again; libraries know -1 (gzip) as their own default.
const fn default_level(codec: Codec) -> i32 {
    match codec {
        Codec::Zstd => 3,
        _ => -1,
    }
}

#[cfg(test)]
mod tests;
