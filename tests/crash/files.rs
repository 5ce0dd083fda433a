//! A look at a partition's files with other eyes than the broker's: what Kafka's dump tool would find.

use std::fs;
use std::path::Path;

use streamd::record::batch::BatchView;

/// Checks every segment of a partition that was closed in order: names, sizes, batches, offsets and both indexes.
pub(crate) fn check(dir: &Path) -> Result<(), String> {
    let mut bases: Vec<i64> = fs::read_dir(dir)
        .map_err(|error| format!("{}: {error}", dir.display()))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse().ok())
        .collect();
    bases.sort_unstable();
    let mut next = *bases.first().unwrap_or(&0);
    for base in bases {
        if base != next {
            return Err(format!("{}: a segment begins at {base} and not at {next}", dir.display()));
        }
        let file = |kind: &str| dir.join(format!("{base:020}.{kind}"));
        next = check_segment(base, &file("log"), &read(&file("index"))?, &read(&file("timeindex"))?)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Returns the offset behind the segment's last record.
fn check_segment(base: i64, path: &Path, index: &[u8], time_index: &[u8]) -> Result<i64, String> {
    let bytes = read(path)?;
    let wrong = |what: String| format!("{}: {what}", path.display());
    let (mut position, mut next) = (0, base);
    // Where each batch begins, its last offset, and the latest time up to its end.
    let mut batches = Vec::new();
    let mut latest = i64::MIN;
    while position < bytes.len() {
        let view =
            BatchView::parse(&bytes[position..]).map_err(|error| wrong(format!("at {position}: {error}")))?;
        let header = view.header();
        if !view.crc_ok() || header.base_offset != next {
            return Err(wrong(format!(
                "at {position}: offset {} for {next}, or a bad CRC",
                header.base_offset
            )));
        }
        latest = latest.max(header.max_timestamp);
        batches.push((position, header.base_offset, header.last_offset(), latest));
        next = header.next_offset();
        position += header.total_len();
    }
    let mut last = None;
    for entry in index.chunks_exact(8) {
        let offset = base + i64::from(u32::from_be_bytes(entry[..4].try_into().expect("4 bytes")));
        let at = u32::from_be_bytes(entry[4..].try_into().expect("4 bytes")) as usize;
        let known = batches
            .iter()
            .any(|&(position, first, last, _)| position == at && (first..=last).contains(&offset));
        if !known || last >= Some(offset) {
            return Err(wrong(format!("its index says that offset {offset} is at {at}")));
        }
        last = Some(offset);
    }
    for entry in time_index.chunks_exact(12) {
        let time = i64::from_be_bytes(entry[..8].try_into().expect("8 bytes"));
        let offset = base + i64::from(u32::from_be_bytes(entry[8..].try_into().expect("4 bytes")));
        if time > latest || offset >= next {
            return Err(wrong(format!("its time index says that offset {offset} has the time {time}")));
        }
    }
    match (index.len() % 8, time_index.len() % 12) {
        (0, 0) => Ok(next),
        _ => Err(wrong("its indexes end in the middle of an entry".to_owned())),
    }
}
