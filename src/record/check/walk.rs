//! The one walk over a batch's records: S38, S40 and S42, and what the log needs to know of them.

use std::fmt::Write;

use super::{CheckRules, RECORD_ERRORS_MAX, Refusal};
use crate::record::batch::{BatchError, BatchView};
use crate::record::compress::Inflate;
use crate::record::format::{read_fields, read_length, skip_headers};
use crate::record::iter::RecordIter;
use crate::types::time::NO_TIMESTAMP;
use crate::types::{Codec, ErrorCode, Timestamp};

/// Record errors that the message spells out.
const SPELLED_OUT: usize = 3;

/// What the walk has found in records that may be appended.
pub(super) struct Walked {
    /// The largest timestamp, or -1.
    pub(super) max_timestamp: Timestamp,
    /// Whether the offset deltas are 0, 1, 2 and so on.
    pub(super) in_order: bool,
}

/// Walks the records of `batch`, whose header has been checked.
pub(super) fn walk(
    batch: &BatchView<'_>,
    codec: Codec,
    rules: &CheckRules<'_>,
    now: Timestamp,
) -> Result<Walked, Refusal> {
    let mut judge = Judge::new(batch, codec, rules, now);
    if codec == Codec::None {
        for record in RecordIter::new(*batch.header(), batch.payload()) {
            let record = record?;
            judge.see(Seen {
                timestamp: record.timestamp,
                offset_delta: record.offset_delta,
                key_len: record.key.map(<[u8]>::len),
                value_len: record.value.map(<[u8]>::len),
            });
        }
    } else {
        walk_compressed(batch, codec, rules, &mut judge)?;
    }
    judge.verdict()
}

/// The same over what comes out of the decompressor, without holding a record.
fn walk_compressed(
    batch: &BatchView<'_>,
    codec: Codec,
    rules: &CheckRules<'_>,
    judge: &mut Judge<'_>,
) -> Result<(), BatchError> {
    let header = batch.header();
    let mut source = Inflate::new(codec, batch.payload(), rules.inflated_max_bytes())?;
    for _ in 0..header.records_count {
        let length = read_length(&mut source)?;
        let start = source.position();
        let fields = read_fields(&mut source)?;
        skip_headers(&mut source, fields.headers)?;
        if source.position() - start != length {
            return Err(BatchError::Record("its length is not that of its fields"));
        }
        judge.see(Seen {
            timestamp: header.timestamp_of(fields.timestamp_delta),
            offset_delta: fields.offset_delta,
            key_len: fields.key.map(|key| key.len),
            value_len: fields.value.map(|value| value.len),
        });
    }
    if source.at_end()? { Ok(()) } else { Err(BatchError::Surplus) }
}

/// What the rules ask about one record.
struct Seen {
    timestamp: Timestamp,
    offset_delta: i32,
    key_len: Option<usize>,
    value_len: Option<usize>,
}

/// Holds record after record against the rules.
struct Judge<'a> {
    rules: &'a CheckRules<'a>,
    now: Timestamp,
    /// The batch claims that the broker has set its time.
    claims_append_time: bool,
    /// What Java calls a record that it does not hold in memory.
    class: &'static str,
    index: i32,
    max_timestamp: Timestamp,
    in_order: bool,
    errors: Vec<(i32, Option<String>)>,
    errors_total: usize,
    bad_time: bool,
}

impl<'a> Judge<'a> {
    fn new(batch: &BatchView<'_>, codec: Codec, rules: &'a CheckRules<'_>, now: Timestamp) -> Self {
        let in_place = rules.settings.compression.is_none_or(|wanted| wanted.codec == codec);
        let partial = codec != Codec::None && in_place;
        Self {
            rules,
            now,
            claims_append_time: batch.header().attributes.is_log_append_time(),
            class: if partial { "PartialDefaultRecord" } else { "DefaultRecord" },
            index: 0,
            max_timestamp: NO_TIMESTAMP,
            in_order: true,
            errors: Vec::new(),
            errors_total: 0,
            bad_time: false,
        }
    }

    #[inline]
    fn see(&mut self, record: Seen) {
        self.in_order &= record.offset_delta == self.index;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let settings = self.rules.settings;
        if settings.compact && record.key_len.is_none() {
            self.refuse_key();
        } else if !settings.log_append_time && record.timestamp != NO_TIMESTAMP {
            // Kafka's arithmetic, which wraps.
            let age = self.now.wrapping_sub(record.timestamp);
            if age > settings.timestamp_before_max_ms || age.wrapping_neg() > settings.timestamp_after_max_ms
            {
                self.refuse_time(&record);
            }
        } else if self.claims_append_time {
            self.refuse_type(&record);
        }
        self.index = self.index.wrapping_add(1);
    }

    #[cold]
    fn refuse_key(&mut self) {
        let (topic, partition) = (self.rules.topic, self.rules.partition);
        self.refuse(|| {
            format!(
                "Compacted topic cannot accept message without key in topic partition {topic}-{partition}"
            )
        });
    }

    #[cold]
    fn refuse_time(&mut self, record: &Seen) {
        self.bad_time = true;
        let settings = self.rules.settings;
        let from = self.now.wrapping_sub(settings.timestamp_before_max_ms);
        let to = self.now.wrapping_add(settings.timestamp_after_max_ms);
        self.refuse(|| {
            format!(
                "Timestamp {} of message with offset {} is out of range. The timestamp should be within [{from}, {to}]",
                record.timestamp, record.offset_delta
            )
        });
    }

    #[cold]
    fn refuse_type(&mut self, record: &Seen) {
        self.bad_time = true;
        let class = self.class;
        self.refuse(|| {
            format!(
                "Invalid timestamp type in message {class}(offset={}, timestamp={}, key={} bytes, value={} bytes). \
                 Producer should not set timestamp type to LogAppendTime.",
                record.offset_delta,
                record.timestamp,
                record.key_len.unwrap_or(0),
                record.value_len.unwrap_or(0),
            )
        });
    }

    fn refuse(&mut self, text: impl FnOnce() -> String) {
        self.errors_total += 1;
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push((self.index, Some(text())));
        }
    }

    fn verdict(self) -> Result<Walked, Refusal> {
        if self.errors_total == 0 {
            return Ok(Walked { max_timestamp: self.max_timestamp, in_order: self.in_order });
        }
        let (code, message) = if self.bad_time {
            let message = "One or more records have been rejected due to invalid timestamp".to_owned();
            (ErrorCode::InvalidTimestamp, message)
        } else {
            (ErrorCode::InvalidRecord, self.spell_out())
        };
        let detail = message.clone();
        Err(Refusal { code, message: Some(message), record_errors: self.errors, detail })
    }

    fn spell_out(&self) -> String {
        let mut message = format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first \
             three errors at most: [",
            self.errors_total
        );
        for (n, (index, text)) in self.errors.iter().take(SPELLED_OUT).enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            let text = text.as_deref().unwrap_or("null");
            // Writing to a string does not fail.
            let _ = write!(message, "{separator}RecordError(batchIndex={index}, message='{text}')");
        }
        message.push(']');
        message
    }
}
