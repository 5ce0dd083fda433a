//! The files beside the segments, and those of the data directory itself.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use super::Depth;
use super::out::{Out, many};
use crate::partition::producers::Producers;
use crate::storage::checkpoint::{read_epochs, read_offsets};
use crate::storage::inspect;
use crate::storage::layout::{
    HIGH_WATERMARKS, LEADER_EPOCHS, LOG_STARTS, MANIFEST, MANIFEST_DAMAGED, META_PROPERTIES, MetaProperties,
    PARTITION_METADATA, QUARANTINE, RECOVERY_POINTS, read_partition_metadata,
};
use crate::storage::manifest::{self, Verdict};
use crate::storage::txn_index::{AbortedTransaction, ENTRY_BYTES};

/// Shows an `.index`.
pub(super) fn offset_index(path: &Path, base: i64, depth: Depth, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "index")?;
    let (mut count, mut first_wrong) = (0_u64, None);
    inspect::offset_index::<anyhow::Error>(path, base, depth.verify, &mut |entry, why| {
        count += 1;
        if let Some(why) = why {
            first_wrong.get_or_insert_with(|| format!("entry {count}, offset {}: {why}", entry.offset));
        }
        let (offset, position) = (entry.offset, entry.position);
        out.item(
            || format!("offset {offset}: byte {position}"),
            || json!({ "entry": { "offset": offset, "position": position } }),
        )
    })?;
    end_of_index(path, 8, count, first_wrong, out)
}

/// Shows a `.timeindex`.
pub(super) fn time_index(path: &Path, base: i64, _depth: Depth, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "timeindex")?;
    let (mut count, mut first_wrong) = (0_u64, None);
    inspect::time_index::<anyhow::Error>(path, base, &mut |entry, why| {
        count += 1;
        if let Some(why) = why {
            first_wrong.get_or_insert_with(|| format!("entry {count}, offset {}: {why}", entry.offset));
        }
        let (timestamp, offset) = (entry.timestamp, entry.offset);
        out.item(
            || format!("time {timestamp}: offset {offset}"),
            || json!({ "entry": { "timestamp": timestamp, "offset": offset } }),
        )
    })?;
    end_of_index(path, 12, count, first_wrong, out)
}

fn end_of_index(
    path: &Path,
    width: u64,
    count: u64,
    first_wrong: Option<String>,
    out: &mut Out,
) -> anyhow::Result<()> {
    if let Some(wrong) = first_wrong {
        out.help(&wrong)?;
    }
    let rest = fs::metadata(path)?.len() % width;
    if rest > 0 {
        out.help(&format!("{} behind the last whole entry", many(rest, "byte", "bytes")))?;
    }
    out.sum(&many(count, "entry", "entries"), json!({ "entries": count }))
}

/// Shows Kafka's `.txnindex`: aborted transactions.
pub(super) fn txn_index(path: &Path, _depth: Depth, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "txnindex")?;
    let mut file = std::io::BufReader::new(File::open(path)?);
    let (mut bytes, mut count) = ([0; ENTRY_BYTES], 0_u64);
    while file.read_exact(&mut bytes).is_ok() {
        count += 1;
        let Some(entry) = AbortedTransaction::decode(&bytes) else {
            out.wrong(&format!("entry {count} is of no transaction that there can have been"))?;
            continue;
        };
        let AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset } = entry;
        out.item(
            || {
                format!(
                    "producer {producer_id}: offsets {first_offset} to {last_offset} aborted, stable before \
                     {last_stable_offset}"
                )
            },
            || {
                json!({ "aborted": {
                    "producer_id": producer_id, "first_offset": first_offset, "last_offset": last_offset,
                    "last_stable_offset": last_stable_offset,
                } })
            },
        )?;
    }
    end_of_index(path, ENTRY_BYTES as u64, count, None, out)
}

/// Shows a `.snapshot` or a `.producers`.
pub(super) fn producers(path: &Path, _depth: Depth, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "producers")?;
    let producers = match Producers::from_snapshot(&fs::read(path)?) {
        Ok(producers) => producers,
        Err(error) => return out.help(&error.to_string()),
    };
    let mut count = 0_u64;
    for (id, entry) in producers.sorted() {
        count += 1;
        let last = entry.batches.last();
        let (sequence, offset) = last.map_or((-1, -1), |last| (last.last_sequence, last.last_offset));
        let (epoch, open) = (entry.epoch, entry.transaction_first_offset);
        out.item(
            || {
                let transaction = if open >= 0 {
                    format!(", a transaction open since offset {open}")
                } else {
                    String::new()
                };
                format!("producer {id}/{epoch}: sequence {sequence} at offset {offset}{transaction}")
            },
            || {
                json!({ "producer": {
                    "id": id, "epoch": epoch, "last_sequence": sequence, "last_offset": offset,
                    "transaction_first_offset": open, "batches": entry.batches.iter().count(),
                } })
            },
        )?;
    }
    out.sum(&many(count, "producer", "producers"), json!({ "producers": count }))
}

/// Shows a file that goes by its name; files that are nobody's are passed over. Whether it was one that is known.
pub(super) fn named(path: &Path, name: &str, _depth: Depth, out: &mut Out) -> anyhow::Result<bool> {
    match name {
        LEADER_EPOCHS => epochs(path, out),
        PARTITION_METADATA => {
            out.file(path, "partition.metadata")?;
            match read_partition_metadata(path.parent().unwrap_or_else(|| Path::new("."))) {
                Ok(Some(id)) => out.sum(&format!("topic id {id}"), json!({ "topic_id": id.to_string() })),
                Ok(None) => Ok(()),
                Err(fault) => out.wrong(&fault.to_string()),
            }
        }
        META_PROPERTIES => meta(path, out),
        MANIFEST => show_manifest(path, out),
        MANIFEST_DAMAGED => set_aside(path, out),
        QUARANTINE => quarantine(path, out),
        LOG_STARTS | HIGH_WATERMARKS | RECOVERY_POINTS | CLEANER_OFFSETS => offsets(path, out),
        _ => return Ok(false),
    }
    .map(|()| true)
}

fn epochs(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "leader epochs")?;
    match read_epochs(path) {
        Ok(epochs) => epochs.unwrap_or_default().into_iter().try_for_each(|(epoch, start)| {
            out.item(
                || format!("epoch {epoch} from offset {start}"),
                || json!({ "epoch": { "epoch": epoch, "first_offset": start } }),
            )
        }),
        Err(fault) => out.help(&fault.to_string()),
    }
}

fn meta(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "meta.properties")?;
    match MetaProperties::read(path.parent().unwrap_or_else(|| Path::new("."))) {
        Ok(Some(meta)) => {
            if meta.streamd.is_none() && path.with_file_name(MANIFEST).exists() {
                return out.wrong("it does not say that streamd wrote it, and streamd.manifest is beside it");
            }
            let by = match &meta.streamd {
                Some(by) => format!("streamd {} (format {})", by.version, by.format),
                None => "Apache Kafka".to_owned(),
            };
            out.sum(
                &format!("cluster {}, node {}, written by {by}", meta.cluster_id, meta.node_id),
                json!({ "cluster_id": meta.cluster_id, "node_id": meta.node_id, "written_by": by }),
            )
        }
        Ok(None) => Ok(()),
        Err(error) => out.wrong(&error.to_string()),
    }
}

fn offsets(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "offsets")?;
    match read_offsets(path) {
        Ok(rows) => rows.unwrap_or_default().into_iter().try_for_each(|row| {
            out.item(
                || format!("{}-{}: {}", row.topic, row.partition, row.offset),
                || json!({ "offset": { "topic": row.topic, "partition": row.partition, "offset": row.offset } }),
            )
        }),
        Err(fault) => out.help(&fault.to_string()),
    }
}

/// The list of what is never served: what it names is damage that is known.
fn quarantine(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "damaged ranges")?;
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    for line in text.lines().skip(2) {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let number = |nth: usize| fields.get(nth).and_then(|field| field.parse::<i64>().ok());
        let to = fields.get(2).filter(|to| **to == "end" || to.parse::<u64>().is_ok());
        match (number(0), number(1), to, number(3), number(4)) {
            (Some(segment), Some(from), Some(to), Some(first), Some(next)) => {
                let why = fields.get(5).copied().unwrap_or("no reason was noted");
                let offsets = format!("offsets {first} to {}", next - 1);
                out.wrong(&format!("known, in segment {segment}: bytes {from} to {to}, {offsets}: {why}"))?;
            }
            _ => return out.help("it is no list of damage: what is damaged is found again where it is met"),
        }
    }
    Ok(())
}

/// A manifest that was damaged and is kept: there is another one since.
fn set_aside(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "manifest")?;
    let state = manifest::read(path)?;
    let why = match &state.verdict {
        Verdict::Damaged(why) => why,
        _ => "nothing is wrong with it",
    };
    let rows = state.rows.len();
    out.sum(
        &format!("{rows} rows; it was set aside, and is of no use any more: {why}"),
        json!({ "rows": rows, "set_aside": why }),
    )
}

fn show_manifest(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    out.file(path, "manifest")?;
    let state = manifest::read(path)?;
    let mut rows: Vec<_> = state.rows.values().collect();
    rows.sort_unstable_by(|a, b| (&a.topic, a.id.partition).cmp(&(&b.topic, b.id.partition)));
    for row in rows {
        let at = row.checkpoint;
        let bytes: u64 = row.segments.iter().map(|segment| segment.bytes).sum();
        out.item(
            || {
                format!(
                    "{}-{}: starts at {}, right up to offset {} (segment {}, byte {}), {} segments, {bytes} bytes{}",
                    row.topic, row.id.partition, row.log_start, at.offset, at.segment, at.position,
                    row.segments.len(), if row.producers { ", producers" } else { "" }
                )
            },
            || {
                json!({ "row": {
                    "topic": &*row.topic, "partition": row.id.partition, "topic_id": row.id.topic.to_string(),
                    "log_start": row.log_start, "offset": at.offset, "segment": at.segment, "position": at.position,
                    "segments": row.segments.len(), "bytes": bytes, "producers": row.producers,
                } })
            },
        )?;
    }
    let stop = match &state.verdict {
        Verdict::Damaged(why) => return out.wrong(why),
        Verdict::Clean => "stopped in order",
        Verdict::Unclean | Verdict::Missing => "running, or not stopped in order",
    };
    out.sum(&format!("{} rows, {stop}", state.rows.len()), json!({ "rows": state.rows.len(), "stop": stop }))
}

/// Kafka's file of how far compaction has come.
const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
