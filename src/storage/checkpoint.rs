//! Small files that are replaced whole, and Kafka's text form for those of them that Kafka has too.
//!
//! A replaced file is the old one or the new one after any crash, never a mix. What cannot be read counts as missing;
//! the caller reports the fault and goes the longer way.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::layout::TEMP_SUFFIX;
use super::text_file::{self, TextFault};

/// Puts a file with these bytes in place of the one at `path`, durably: temporary file, fsync, rename, fsync of the
/// directory. When it returns an error the old file still stands, or the new one does; a rest of a temporary file is
/// overwritten by the next call.
///
/// # Errors
/// What the file system said, with the path in it.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_path(path);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let write = || {
        let mut file = File::create(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        File::open(dir)?.sync_all()
    };
    write()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot replace {}: {error}", path.display())))
}

/// Where [`replace`] writes before it renames.
pub fn temp_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(TEMP_SUFFIX);
    name.into()
}

/// `leader-epoch-checkpoint`: each epoch and the offset it began at, both rising (Kafka's `LeaderEpochCheckpointFile`).
pub fn encode_epochs(epochs: &[(i32, i64)]) -> String {
    encode(epochs.iter().map(|(epoch, start)| format!("{epoch} {start}")))
}

/// Reads what [`encode_epochs`] or Kafka wrote; `None` if there is no file.
///
/// # Errors
/// [`TextFault`]; the epochs are then found again by reading the log.
pub fn read_epochs(path: &Path) -> Result<Option<Vec<(i32, i64)>>, TextFault> {
    let Some(epochs) = read(path, |fields| match fields {
        [epoch, start] => Some((number::<i32>(epoch)?, number::<i64>(start)?)),
        _ => None,
    })?
    else {
        return Ok(None);
    };
    let rising = epochs.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0 && a.1 <= b.1));
    if rising { Ok(Some(epochs)) } else { Err(TextFault::malformed(path, "its epochs do not rise")) }
}

/// One offset for each partition, in the form of Kafka's `recovery-point-offset-checkpoint` and its like.
pub fn encode_offsets(rows: &[PartitionOffset]) -> String {
    encode(rows.iter().map(|row| format!("{} {} {}", row.topic, row.partition, row.offset)))
}

/// Reads what [`encode_offsets`] or Kafka wrote; `None` if there is no file.
///
/// # Errors
/// [`TextFault`]; every offset then counts as unknown.
pub fn read_offsets(path: &Path) -> Result<Option<Vec<PartitionOffset>>, TextFault> {
    read(path, |fields| match fields {
        [topic, partition, offset] => Some(PartitionOffset {
            topic: (*topic).to_owned(),
            partition: number(partition)?,
            offset: number(offset)?,
        }),
        _ => None,
    })
}

/// A line of [`encode_offsets`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The offset, of the kind that the file is about.
    pub offset: i64,
}

/// Version, count, one line for each entry.
pub(super) fn encode(lines: impl Iterator<Item = String>) -> String {
    let (mut count, mut body) = (0_usize, String::new());
    for line in lines {
        count += 1;
        body.push_str(&line);
        body.push('\n');
    }
    format!("{VERSION}\n{count}\n{body}")
}

pub(super) fn read<T>(
    path: &Path,
    entry: impl Fn(&[&str]) -> Option<T>,
) -> Result<Option<Vec<T>>, TextFault> {
    text_file::read(path, SIZE_MAX, |text| decode(text, entry))
}

fn decode<T>(text: &str, entry: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, String> {
    let mut lines = text.lines();
    // Kafka makes such files empty, before it first writes them.
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != VERSION {
        return Err(format!("line 1: version {version:?}, not {VERSION}"));
    }
    let count = lines.next().unwrap_or_default();
    let count: usize = count.trim().parse().map_err(|_| format!("line 2: {count:?} is no count"))?;
    let mut entries = Vec::new();
    for (line, n) in lines.zip(3..) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        entries.push(entry(&fields).ok_or_else(|| format!("line {n}: {line:?} is no entry"))?);
    }
    if entries.len() == count {
        Ok(entries)
    } else {
        Err(format!("{} entries where line 2 says {count}", entries.len()))
    }
}

/// A number that is not negative: no epoch, partition or offset in these files is.
pub(super) fn number<T: FromStr + PartialOrd + Default>(text: &str) -> Option<T> {
    text.parse().ok().filter(|n| *n >= T::default())
}

const VERSION: &str = "0";
/// Far more than any such file holds, in bytes (50,000 partitions take 13 MB at most); the rest is not read.
const SIZE_MAX: u64 = 64 << 20;

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
