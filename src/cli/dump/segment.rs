//! Segments: batches, their records, and what is damaged.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Depth;
use super::decoded::decoded;
use super::out::{MENDED, Out, many};
use crate::record::control::{ControlType, read_marker};
use crate::record::{BatchHeader, BatchView, RecordView};
use crate::storage::inspect::{self, Look, Piece};
use crate::storage::layout::parse_dir;

/// Shows a `.log`.
pub(super) fn show(
    path: &Path,
    base: i64,
    next: Option<i64>,
    depth: Depth,
    out: &mut Out,
) -> anyhow::Result<()> {
    out.file(path, "log")?;
    if depth.verify && next.is_some_and(|next| next > base) && fs::metadata(path)?.len() == 0 {
        out.wrong("it is empty, and was not when the next segment was begun")?;
    }
    let topic = topic_of(path);
    let look =
        Look { base, next, verify: depth.verify || depth.records, bytes: depth.verify || depth.records };
    let (mut batches, mut records, mut bytes, mut last) = (0_u64, 0_i64, 0_u64, base);
    inspect::segment::<anyhow::Error>(path, look, &mut |piece| {
        match piece {
            Piece::Damage { damage, mendable } => out.damage(damage, mendable)?,
            Piece::Epoch { position, epoch } => out.wrong(&format!(
                "the batch at byte {position}: its leader epoch was {epoch} when it was written. {MENDED}"
            ))?,
            Piece::Batch { position, header, batch } => {
                batches += 1;
                records += i64::from(header.records_count);
                bytes += header.total_len() as u64;
                last = header.next_offset();
                out.item(|| batch_text(position, header, batch.as_ref()), || batch_json(position, header))?;
                match batch {
                    Some(batch) => show_records(&batch, position, topic.as_deref(), depth, out)?,
                    None if depth.records => out.item(
                        || "  its records are too large to be shown".to_owned(),
                        || json!({ "skipped": "its records are too large to be shown" }),
                    )?,
                    None => {}
                }
            }
        }
        Ok(())
    })?;
    out.sum(
        &format!(
            "{}, {}, {bytes} bytes, next offset {last}",
            many(batches, "batch", "batches"),
            many(records, "record", "records")
        ),
        json!({ "batches": batches, "records": records, "bytes": bytes, "next_offset": last }),
    )
}

/// The topic whose directory the file is in.
fn topic_of(path: &Path) -> Option<String> {
    let dir = path.parent()?.file_name()?.to_str()?;
    parse_dir(dir).map(|name| name.topic.to_owned())
}

/// Shows the records, or only sees that they can be read.
fn show_records(
    batch: &BatchView<'_>,
    position: u64,
    topic: Option<&str>,
    depth: Depth,
    out: &mut Out,
) -> anyhow::Result<()> {
    let unreadable = |why: &dyn fmt::Display| {
        format!(
            "offsets {} to {}, the batch at byte {position}: its checksum is right and its records cannot be read: {why}",
            batch.header().base_offset,
            batch.header().last_offset()
        )
    };
    let records = match batch.records(inspect::BATCH_BYTES_MAX) {
        Ok(records) => records,
        Err(error) => return out.wrong(&unreadable(&error)),
    };
    for record in &records {
        match record {
            Ok(record) if depth.records => {
                let decoded = decoded(batch, &record, topic);
                out.item(
                    || record_text(&record, decoded.as_deref()),
                    || record_json(&record, decoded.as_deref()),
                )?;
            }
            Ok(_) => {}
            Err(error) => return out.wrong(&unreadable(&error)),
        }
    }
    Ok(())
}

fn batch_text(position: u64, header: &BatchHeader, batch: Option<&BatchView<'_>>) -> String {
    let mut text = format!(
        "byte {position}: offsets {} to {}, {}, {} bytes, epoch {}, {}, {} {}",
        header.base_offset,
        header.last_offset(),
        many(header.records_count, "record", "records"),
        header.total_len(),
        header.partition_leader_epoch,
        codec(header),
        if header.attributes.is_log_append_time() { "append time" } else { "create time" },
        header.max_timestamp,
    );
    if header.has_producer_id() {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        let _ = write!(text, ", producer {id}/{epoch} from {}", header.base_sequence);
    }
    if header.attributes.is_transactional() {
        text.push_str(", transactional");
    }
    if header.attributes.is_control() {
        let _ = write!(text, ", {}", marker(batch));
    }
    text
}

fn codec(header: &BatchHeader) -> &'static str {
    header.attributes.codec().map_or("unknown codec", |codec| codec.name())
}

fn marker(batch: Option<&BatchView<'_>>) -> &'static str {
    match batch.and_then(|batch| read_marker(batch).ok().flatten()).map(|marker| marker.kind) {
        Some(ControlType::Commit) => "control: commit",
        Some(ControlType::Abort) => "control: abort",
        _ => "control",
    }
}

fn batch_json(position: u64, header: &BatchHeader) -> Value {
    json!({ "batch": {
        "position": position,
        "bytes": header.total_len(),
        "base_offset": header.base_offset,
        "last_offset": header.last_offset(),
        "records": header.records_count,
        "leader_epoch": header.partition_leader_epoch,
        "codec": codec(header),
        "max_timestamp": header.max_timestamp,
        "log_append_time": header.attributes.is_log_append_time(),
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "transactional": header.attributes.is_transactional(),
        "control": header.attributes.is_control(),
        "crc": header.crc,
    } })
}

fn record_text(record: &RecordView<'_>, decoded: Option<&str>) -> String {
    let mut text = format!("  offset {}, time {}", record.offset, record.timestamp);
    if let Some(decoded) = decoded {
        let _ = write!(text, ": {decoded}");
        return text;
    }
    let _ = write!(text, ", key {}, value {}", quoted(record.key), quoted(record.value));
    for header in record.headers {
        let _ = write!(text, ", {}={}", header.key.escape_ascii(), quoted(header.value));
    }
    text
}

fn quoted(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| format!("\"{}\"", bytes.escape_ascii()))
}

fn record_json(record: &RecordView<'_>, decoded: Option<&str>) -> Value {
    let mut row = serde_json::Map::new();
    row.insert("offset".to_owned(), record.offset.into());
    row.insert("timestamp".to_owned(), record.timestamp.into());
    put_bytes(&mut row, "key", record.key);
    put_bytes(&mut row, "value", record.value);
    let headers = record.headers.map(|header| {
        let mut row = serde_json::Map::new();
        put_bytes(&mut row, "key", Some(header.key));
        put_bytes(&mut row, "value", header.value);
        Value::Object(row)
    });
    row.insert("headers".to_owned(), headers.collect());
    if let Some(decoded) = decoded {
        row.insert("decoded".to_owned(), decoded.into());
    }
    json!({ "record": row })
}

/// Text as it is; other bytes in base64 under another name.
fn put_bytes(row: &mut serde_json::Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => row.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => row.insert(name.to_owned(), text.into()),
        Some(Err(_)) => {
            row.insert(format!("{name}_base64"), STANDARD.encode(bytes.unwrap_or_default()).into())
        }
    };
}
