//! A data directory against its manifest: files that are gone or shorter than they were, and directories that are
//! another topic's.
//!
//! A running broker goes on meanwhile, and the manifest is always behind the files. But no file goes before a manifest
//! without it is on disk: what seems to be missing is looked for in the manifest once more.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::out::Out;
use crate::storage::inspect::{self, Look, Piece};
use crate::storage::layout::{
    DirKind, FileKind, MANIFEST, META_PROPERTIES, PARTITION_METADATA, parse_dir, partition_dir,
    read_partition_metadata, segment_file_in,
};
use crate::storage::log::Damage;
use crate::storage::manifest::{self, PartitionRow};

/// The rows of a data directory's manifest, by the names of their directories.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    data: PathBuf,
    rows: HashMap<String, Arc<PartitionRow>>,
    exists: bool,
}

impl Vouched {
    /// Reads the manifest of a data directory; no rows if there is none, or none that can be read.
    pub(super) fn of(data: &Path) -> Self {
        let path = data.join(MANIFEST);
        let rows = manifest::read(&path).map(|state| state.rows).unwrap_or_default();
        let named = |row: Arc<PartitionRow>| (partition_dir(&row.topic, row.id.partition), row);
        let rows = rows.into_values().map(named).collect();
        Self { data: data.to_owned(), rows, exists: path.exists() }
    }

    fn again(&self, name: &str) -> Option<Arc<PartitionRow>> {
        Self::of(&self.data).rows.remove(name)
    }

    /// What is wrong with a data directory besides its partitions.
    pub(super) fn check(&self, out: &mut Out) -> anyhow::Result<()> {
        let has_meta = self.data.join(META_PROPERTIES).exists();
        if self.exists && !has_meta {
            out.file(&self.data.join(META_PROPERTIES), "meta.properties")?;
            out.wrong("it is missing: the broker does not start without it")?;
        }
        let mut names: Vec<_> = self.rows.keys().collect();
        names.sort();
        for name in names {
            let dir = self.data.join(name);
            if !dir.is_dir() {
                self.check_partition(&dir, out)?;
            }
        }
        Ok(())
    }

    /// What is wrong with a partition's directory as a whole.
    pub(super) fn check_partition(&self, dir: &Path, out: &mut Out) -> anyhow::Result<()> {
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        if !parse_dir(name).is_some_and(|parsed| parsed.kind == DirKind::Live) {
            return Ok(());
        }
        let Some(row) = self.rows.get(name) else { return Ok(()) };
        let mut found = findings(dir, row)?;
        if !found.is_empty() {
            found = match self.again(name) {
                Some(row) => findings(dir, &row)?,
                None => Vec::new(),
            };
        }
        for damage in &found {
            out.file(&damage.file, "log")?;
            out.damage(damage, false)?;
        }
        if let Ok(Some(id)) = read_partition_metadata(dir)
            && id != row.id.topic
            && self.again(name).is_some_and(|row| row.id.topic != id)
        {
            out.file(&dir.join(PARTITION_METADATA), "partition.metadata")?;
            let known = row.id.topic;
            out.wrong(&format!(
                "it names topic id {id}, and the manifest knows this partition as {known}'s"
            ))?;
        }
        Ok(())
    }
}

/// Segments that the row lists and that are not there, or not whole.
fn findings(dir: &Path, row: &PartitionRow) -> anyhow::Result<Vec<Damage>> {
    let mut found = Vec::new();
    // A compaction may have put one segment in place of several, and not have told the manifest yet.
    let mut covered_to = i64::MIN;
    for (nth, listed) in row.segments.iter().enumerate() {
        if listed.base < covered_to {
            continue;
        }
        let next = row.segments.get(nth + 1).map_or(row.checkpoint.offset, |next| next.base);
        let file = segment_file_in(dir, listed.base, FileKind::Log);
        let len = match fs::metadata(&file) {
            Ok(meta) => Some(meta.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let has_next = nth + 1 == row.segments.len() || segment_file_in(dir, next, FileKind::Log).exists();
        let Some(len) = len else {
            let (position, first, why) = (0, listed.base, "the file is missing");
            found.push(Damage { file, position, end: None, first, next, why });
            continue;
        };
        if len >= listed.bytes && has_next {
            continue;
        }
        let Some(end) = end_of(&file, listed.base)? else { continue };
        let is_end = end > listed.base && end == row.checkpoint.offset;
        if end >= next && (is_end || row.segments.iter().any(|segment| segment.base == end)) {
            covered_to = end;
        } else if len < listed.bytes {
            let why = "the file is shorter than it was";
            found.push(Damage { file, position: len, end: None, first: end.min(next), next, why });
        }
    }
    Ok(found)
}

/// The offset behind the batches of a segment; `None` if it is gone, or damaged in a way that was told.
fn end_of(file: &Path, base: i64) -> anyhow::Result<Option<i64>> {
    let look = Look { base, next: None, verify: false, bytes: false };
    let (mut end, mut cut) = (base, false);
    let walked = inspect::segment::<anyhow::Error>(file, look, &mut |piece| {
        match piece {
            Piece::Batch { header, .. } => end = header.next_offset(),
            // At the file's end it shows that the file was longer.
            Piece::Damage { damage, .. } => cut |= damage.end.is_some(),
            Piece::Epoch { .. } => {}
        }
        Ok(())
    });
    match walked {
        Ok(()) => Ok(Some(end).filter(|_| !cut)),
        Err(error) if super::out::is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
