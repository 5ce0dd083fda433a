//! What a partition's directory holds, put right by Kafka's suffix rules.
//!
//! `.cleaned` is compaction's unfinished output and goes; `.swap` is complete and its swap is finished, unless a
//! `.cleaned` with a lower offset shows that the set it belongs to is not, or it does not read back as what it has to
//! be; `.deleted` goes; an index without its `.log` goes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::set_aside;
use crate::storage::layout::{
    FileKind, FileState, LEADER_EPOCHS, PARTITION_METADATA, SegmentFileName, TEMP_SUFFIX, parse_file,
};
use crate::storage::pread::Wait;
use crate::storage::scan::{Rules, scan};
use crate::storage::walk::Walk;
use crate::types::Timestamp;
use crate::types::offset::saturate_i64;
use crate::types::time::NO_TIMESTAMP;

/// The files of a partition.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The `.log` files by base offset.
    pub(super) logs: BTreeMap<i64, LogFile>,
    /// Offsets of Kafka's producer snapshots.
    pub(super) snapshots: Vec<i64>,
    /// Offsets of our producer files.
    pub(super) producers: Vec<i64>,
    /// Segments whose files were replaced by complete ones: what was known of the old ones is over.
    pub(super) swapped: Vec<i64>,
    /// Whether files were renamed or unlinked.
    pub(super) changed: bool,
}

/// What the file system says of a `.log`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogFile {
    pub(super) len: u64,
    /// Bytes of the blocks that it takes on disk.
    allocated: u64,
    /// When it was last written, in milliseconds since the epoch; -1 if the file system does not say.
    pub(super) modified: Timestamp,
}

impl Listing {
    /// Lists the directory, finishing what a crash cut short.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut changed = false;
        let mut names = read_names(dir, &mut changed)?;
        let swapped = finish_swaps(dir, &mut names, &mut changed)?;
        changed |= !swapped.is_empty() | drop_orphans(dir, &mut names);
        let mut listing = Self { changed, swapped, ..Self::default() };
        for name in names {
            match name.kind {
                FileKind::Log => {
                    listing.logs.insert(name.offset, LogFile::of(&name.path_in(dir))?);
                }
                FileKind::Snapshot => listing.snapshots.push(name.offset),
                FileKind::Producers => listing.producers.push(name.offset),
                FileKind::Index | FileKind::TimeIndex | FileKind::TxnIndex => {}
            }
        }
        Ok(listing)
    }

    /// Only the producer files, of a directory that is believed to be right.
    pub(super) fn of_producers(dir: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(dir)? {
            match entry?.file_name().to_str().and_then(parse_file) {
                Some(SegmentFileName { offset, kind: FileKind::Snapshot, state: FileState::Live }) => {
                    listing.snapshots.push(offset);
                }
                Some(SegmentFileName { offset, kind: FileKind::Producers, state: FileState::Live }) => {
                    listing.producers.push(offset);
                }
                _ => {}
            }
        }
        Ok(listing)
    }

    /// Takes a segment's files away: it is covered by others.
    pub(super) fn unlink_segment(&mut self, dir: &Path, base: i64) {
        for kind in SEGMENT_KINDS {
            unlink(dir, SegmentFileName { offset: base, kind, state: FileState::Live });
        }
        self.logs.remove(&base);
        self.changed = true;
    }
}

impl LogFile {
    /// Whether blocks stand behind its end: a writer reserves 64 KiB at the least.
    pub(super) fn has_reserve(&self) -> bool {
        self.allocated > self.len + (32 << 10)
    }

    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let since = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
        Ok(Self {
            len: metadata.len(),
            allocated: metadata.blocks().saturating_mul(512),
            modified: since.map_or(NO_TIMESTAMP, |since| saturate_i64(since.as_millis())),
        })
    }
}

/// The names of live and swapped files; what is unfinished or dropped is unlinked.
fn read_names(dir: &Path, changed: &mut bool) -> io::Result<Vec<SegmentFileName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if [LEADER_EPOCHS, PARTITION_METADATA].iter().any(|own| name.strip_suffix(TEMP_SUFFIX) == Some(own)) {
            // Best effort: it is overwritten by the next one anyway.
            let _ = fs::remove_file(dir.join(name));
        }
        names.extend(parse_file(name));
    }
    let cleaned = names.iter().filter(|name| name.state == FileState::Cleaned);
    let min_cleaned = cleaned.map(|name| name.offset).min().unwrap_or(i64::MAX);
    let stays = |name: &SegmentFileName| match name.state {
        FileState::Live => true,
        FileState::Swap => name.offset < min_cleaned,
        FileState::Cleaned | FileState::Deleted | FileState::Temp => false,
    };
    // `.cleaned` last: while one is there, the rest of its set is known to be incomplete.
    names.sort_by_key(|name| name.state == FileState::Cleaned);
    for name in names.iter().filter(|name| !stays(name)) {
        unlink(dir, *name);
        *changed = true;
    }
    names.retain(stays);
    Ok(names)
}

/// Gives complete outputs of a compaction or a repair their final names, in place of what they cover. Their bases.
fn finish_swaps(dir: &Path, names: &mut Vec<SegmentFileName>, changed: &mut bool) -> io::Result<Vec<i64>> {
    let mut swaps: Vec<_> = names.iter().copied().filter(|name| name.state == FileState::Swap).collect();
    let logs: Vec<_> = swaps.iter().copied().filter(|swap| swap.kind == FileKind::Log).collect();
    for swap in logs {
        if let Some(why) = unsound(dir, swap, names)? {
            refuse(dir, swap.offset, names, why)?;
            swaps.retain(|other| other.offset != swap.offset);
            *changed = true;
            continue;
        }
        let Some(next) = next_offset(&swap.path_in(dir))? else { continue };
        names.retain(|name| {
            // The `.txnindex` at the first offset is the new segment's if it has come before the rest, or is overwritten
            // by it below. The other indexes can be made again.
            let is_new = name.kind == FileKind::TxnIndex && name.offset == swap.offset;
            let covered = name.state == FileState::Live
                && SEGMENT_KINDS.contains(&name.kind)
                && (swap.offset..next).contains(&name.offset)
                && !is_new;
            if covered {
                unlink(dir, *name);
            }
            !covered
        });
    }
    for swap in &swaps {
        let live = swap.with_state(FileState::Live);
        fs::rename(swap.path_in(dir), live.path_in(dir))?;
        names.retain(|name| name != swap && *name != live);
        names.push(live);
    }
    Ok(swaps.iter().map(|swap| swap.offset).collect())
}

/// Why a complete output must not take the place of the segment that is still there: it was synced before it got its
/// name, so it is rotten, or it is none. Where the segment is gone already the output is all there is.
fn unsound(dir: &Path, swap: SegmentFileName, names: &[SegmentFileName]) -> io::Result<Option<&'static str>> {
    if !names.contains(&swap.with_state(FileState::Live)) {
        return Ok(None);
    }
    let file = File::open(swap.path_in(dir))?;
    let base = swap.offset;
    let rules = Rules { base, next: base, exact: false, limit: i64::MAX, reach: 0 };
    let scanned = scan(&file, 0, file.metadata()?.len(), rules, &mut Vec::new(), &mut |_| {})?;
    if scanned.stop.is_some() || scanned.batches == 0 {
        return Ok(Some(scanned.stop.unwrap_or("it is empty")));
    }
    let is_covered = |name: &&SegmentFileName| {
        name.state == FileState::Live
            && name.kind == FileKind::Log
            && (base..scanned.next).contains(&name.offset)
    };
    for live in names.iter().filter(is_covered) {
        if next_offset(&live.path_in(dir))?.is_some_and(|next| next > scanned.next) {
            return Ok(Some("it ends before what it would replace"));
        }
    }
    Ok(None)
}

/// Puts an output that is not sound out of the way, and drops its indexes.
fn refuse(dir: &Path, base: i64, names: &mut Vec<SegmentFileName>, why: &str) -> io::Result<()> {
    let is_its = |name: &SegmentFileName| name.state == FileState::Swap && name.offset == base;
    for name in names.iter().filter(|name| is_its(name)) {
        let path = name.path_in(dir);
        if name.kind == FileKind::Log {
            let kept_in = set_aside(&path)?;
            tracing::warn!(
                file = %path.display(), kept_in = %kept_in.display(), why,
                "a file that was to replace a segment is not sound: the segment stays, and the file is kept beside it"
            );
        } else {
            unlink(dir, *name);
        }
    }
    names.retain(|name| !is_its(name));
    Ok(())
}

/// The offset behind a file's last batch; `None` if it has no sound one.
fn next_offset(path: &Path) -> io::Result<Option<i64>> {
    let file = File::open(path)?;
    let mut walk = Walk::new(&file, 0, file.metadata()?.len(), Wait::MayBlock);
    let mut next = None;
    // A fault here is damage, which the scan will report.
    while let Ok(Some(step)) = walk.next() {
        next = Some(step.header.next_offset());
    }
    Ok(next)
}

/// Unlinks indexes whose `.log` is gone. Producer files stand by themselves.
fn drop_orphans(dir: &Path, names: &mut Vec<SegmentFileName>) -> bool {
    let mut logs: Vec<i64> =
        names.iter().filter(|name| name.kind == FileKind::Log).map(|name| name.offset).collect();
    logs.sort_unstable();
    let before = names.len();
    names.retain(|name| {
        let stays = !INDEX_KINDS.contains(&name.kind) || logs.binary_search(&name.offset).is_ok();
        if !stays {
            unlink(dir, *name);
        }
        stays
    });
    names.len() < before
}

fn unlink(dir: &Path, name: SegmentFileName) {
    let path = name.path_in(dir);
    match fs::remove_file(&path) {
        Ok(()) => tracing::debug!(file = %path.display(), "unlinked what a crash left behind"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "cannot unlink what a crash left behind")
        }
    }
}

const INDEX_KINDS: [FileKind; 3] = [FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];
const SEGMENT_KINDS: [FileKind; 4] =
    [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
