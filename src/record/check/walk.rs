//! The one walk over a batch's records: S38, S40 and S42, and what the log needs to know of them.

use std::fmt::Write;

use super::{CheckRules, RECORD_ERRORS_MAX, Refusal};
use crate::config::topic::TopicSettings;
use crate::config::units;
use crate::record::batch::{BatchError, BatchHeader, BatchView};
use crate::record::compress::Inflate;
use crate::record::format::{Fields, Flaw, Source, read_fields, read_length, skip_headers};
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
        walk_uncompressed(batch, &mut judge)?;
    } else {
        walk_compressed(batch, codec, rules, &mut judge)?;
    }
    judge.verdict()
}

fn walk_uncompressed(batch: &BatchView<'_>, judge: &mut Judge<'_>) -> Result<(), BatchError> {
    let header = batch.header();
    let mut rest = batch.payload();
    for _ in 0..header.records_count {
        let length = read_length(&mut rest)?;
        let mut body = rest.span(length)?;
        let fields = read_fields(&mut body)?;
        skip_headers(&mut body, fields.headers)?;
        if !body.is_empty() {
            return Err(Flaw::EndsLate.into());
        }
        judge.see(&Seen::new(header, &fields));
    }
    if rest.is_empty() { Ok(()) } else { Err(BatchError::Surplus) }
}

/// The same over what comes out of the decompressor, without holding a record.
fn walk_compressed(
    batch: &BatchView<'_>,
    codec: Codec,
    rules: &CheckRules<'_>,
    judge: &mut Judge<'_>,
) -> Result<(), BatchError> {
    let mut source = Inflate::new(codec, batch.payload(), rules.inflated_max_bytes())?;
    for _ in 0..batch.header().records_count {
        match source.next_record() {
            Ok(fields) => judge.see(&Seen::new(batch.header(), &fields)),
            Err(flaw) => return Err(source.explain(flaw)),
        }
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

impl Seen {
    #[inline]
    fn new<S>(header: &BatchHeader, fields: &Fields<S>) -> Self {
        Self {
            timestamp: header.timestamp_of(fields.timestamp_delta),
            offset_delta: fields.offset_delta,
            key_len: fields.key.as_ref().map(|key| key.len),
            value_len: fields.value.as_ref().map(|value| value.len),
        }
    }
}

/// Holds record after record against the rules.
struct Judge<'a> {
    rules: &'a CheckRules<'a>,
    now: Timestamp,
    keys_wanted: bool,
    /// Records keep their own times, which must lie in the topic's window.
    create_time: bool,
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
    /// Of the first record outside the topic's window: in which way, and by which setting.
    out_of_window: Option<(String, &'static str)>,
}

impl<'a> Judge<'a> {
    fn new(batch: &BatchView<'_>, codec: Codec, rules: &'a CheckRules<'_>, now: Timestamp) -> Self {
        let in_place = rules.settings.compression.is_none_or(|wanted| wanted.codec == codec);
        let partial = codec != Codec::None && in_place;
        Self {
            rules,
            now,
            keys_wanted: rules.settings.compact,
            create_time: !rules.settings.log_append_time,
            claims_append_time: batch.header().attributes.is_log_append_time(),
            class: if partial { "PartialDefaultRecord" } else { "DefaultRecord" },
            index: 0,
            max_timestamp: NO_TIMESTAMP,
            in_order: true,
            errors: Vec::new(),
            errors_total: 0,
            bad_time: false,
            out_of_window: None,
        }
    }

    #[inline]
    fn see(&mut self, record: &Seen) {
        self.in_order &= record.offset_delta == self.index;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        if self.keys_wanted && record.key_len.is_none() {
            self.refuse_key();
        } else if self.create_time && record.timestamp != NO_TIMESTAMP {
            // Kafka's arithmetic, which wraps.
            let age = self.now.wrapping_sub(record.timestamp);
            let settings = self.rules.settings;
            if age > settings.timestamp_before_max_ms || age.wrapping_neg() > settings.timestamp_after_max_ms
            {
                self.refuse_time(record);
            }
        } else if self.claims_append_time {
            self.refuse_type(record);
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
        if self.out_of_window.is_none() {
            self.out_of_window = Some(outside(self.now.wrapping_sub(record.timestamp), settings));
        }
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
        let (detail, setting) = match self.out_of_window {
            Some((detail, setting)) if self.bad_time => (detail, Some(setting)),
            _ => (message.clone(), None),
        };
        Err(Refusal { code, message: Some(message), record_errors: self.errors, detail, setting })
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

/// Says how far a record of this age lies outside the topic's window, and which setting bounds it.
fn outside(age: i64, settings: &TopicSettings) -> (String, &'static str) {
    let (how_far, setting, max) = if age < 0 {
        let ahead = units::about_millis(age.saturating_neg());
        let max = settings.timestamp_after_max_ms;
        (format!("{ahead} ahead (producer clock?)"), "message.timestamp.after.max.ms", max)
    } else {
        let max = settings.timestamp_before_max_ms;
        (format!("{} old", units::about_millis(age)), "message.timestamp.before.max.ms", max)
    };
    (format!("record timestamp is {how_far}; {setting} = {}", units::show_millis(max)), setting)
}
