//! Giving up what is damaged, on the operator's word and with the broker stopped.
//!
//! The lost offsets stay used: in place of the damaged bytes the segment gets an empty batch that spans them, as
//! compaction leaves where all records of a batch are gone. So readers pass over the hole, and every rule that recovery
//! keeps (offsets follow on each other, a segment reaches to the next one) holds as before. The damaged bytes are kept
//! in a file beside the segment.
//!
//! A crash on the way leaves the old segment or the new one: the manifest's row is put first, as one that vouches for
//! nothing, so that the next start reads everything; the new file becomes the segment by the suffix rules of
//! compaction; and the list of damaged stretches loses those of the segment when its successor is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::replace;
use super::layout::{
    FileKind, FileState, PARTITION_METADATA, SegmentFileName, encode_partition_metadata, segment_file_in,
};
use super::log::{Damage, Log, Opened, ReadError};
use super::manifest::{Checkpoint, Manifest, PartitionRow, SegmentRow};
use super::pread::{Wait, read_full};
use super::quarantine::{self, Bad, Quarantine};
use super::segment::Segment;
use crate::record::batch::{Attributes, BatchHeader, HEADER_LEN, MAGIC};
use crate::record::empty;
use crate::types::offset::{NO_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, saturate_i32};
use crate::types::time::NO_TIMESTAMP;

/// What was given up in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Where, and which offsets.
    pub damage: Damage,
    /// Bytes of the file that were taken out.
    pub bytes: u64,
    /// Where they are kept; `None` if there were none.
    pub aside: Option<PathBuf>,
}

/// Reads the whole log with its checksums, so that everything that is damaged is known, and what of batches can be put
/// right is. Blocks.
///
/// # Errors
/// The file system; damage is none.
pub fn verify(opened: &Opened) -> Result<Vec<Damage>, ReadError> {
    opened.log.look_again()?;
    for part in opened.log.parts() {
        opened.log.examine(part.base)?;
    }
    Ok(opened.log.damage())
}

/// Takes every damaged stretch out of the log. The log is to be opened anew afterwards. Blocks.
///
/// # Errors
/// What the file system says; what was done by then is done, and the rest is still damaged.
pub fn give_up(log: &Arc<Log>, manifest: &Manifest) -> io::Result<Vec<Loss>> {
    let (segments, row) = {
        let state = log.state.lock();
        (state.segments.clone(), state.row.clone())
    };
    let damaged: Vec<&Arc<Segment>> = segments.iter().filter(|segment| segment.bad().is_some()).collect();
    let mut losses = Vec::new();
    for segment in &damaged {
        for bad in segment.all_bad() {
            losses.push(keep_aside(segment, &bad)?);
        }
    }
    if let Some(row) = &row {
        manifest.put(Arc::new(PartitionRow {
            checkpoint: Checkpoint::NONE,
            segments: Vec::new(),
            producers: false,
            ..PartitionRow::clone(row)
        }));
        manifest.sync().map_err(from_shared)?;
    }
    let mut new_row = row.map(|row| PartitionRow::clone(&row));
    for segment in damaged {
        let rewritten = rewrite(log, segment)?;
        if let Some(row) = &mut new_row {
            rewritten.note_in(segment, row);
        }
    }
    if let Some(row) = new_row {
        manifest.put(Arc::new(row));
        manifest.sync().map_err(from_shared)?;
    }
    Ok(losses)
}

/// Makes a partition again whose directory is gone although the manifest knows it: empty, and going on behind the last
/// offset that is known to have been given. Returns the offsets that are lost.
///
/// # Errors
/// What the file system says.
pub fn begin_anew(dir: &Path, row: &PartitionRow, manifest: &Manifest) -> io::Result<(i64, i64)> {
    let end = row.checkpoint.offset.max(row.log_start);
    if !dir.is_dir() {
        fs::create_dir(dir)?;
    }
    replace(&dir.join(PARTITION_METADATA), encode_partition_metadata(row.id.topic).as_bytes())?;
    File::create_new(segment_file_in(dir, end, FileKind::Log))?.sync_all()?;
    for made in [Some(dir), dir.parent()].into_iter().flatten() {
        File::open(made)?.sync_all()?;
    }
    manifest.put(Arc::new(PartitionRow {
        log_start: end,
        checkpoint: Checkpoint { offset: end, segment: end, position: 0, max_timestamp: NO_TIMESTAMP },
        segments: vec![SegmentRow {
            base: end,
            bytes: 0,
            max_timestamp: NO_TIMESTAMP,
            appended_at: NO_TIMESTAMP,
            aborted: None,
        }],
        producers: false,
        ..row.clone()
    }));
    manifest.sync().map_err(from_shared)?;
    Ok((row.log_start, end))
}

/// Copies the damaged bytes into a file of their own.
fn keep_aside(segment: &Segment, bad: &Bad) -> io::Result<Loss> {
    let path = segment.path(FileKind::Log);
    let damage = Damage::of(segment, bad);
    let len = match fs::metadata(&path) {
        Ok(file) => file.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let bytes = bad.to.min(len).saturating_sub(bad.from);
    if bytes == 0 {
        return Ok(Loss { damage, bytes, aside: None });
    }
    let (aside, mut out) = new_beside(&path, bad.from)?;
    let mut file = File::open(&path)?;
    file.seek(SeekFrom::Start(bad.from))?;
    io::copy(&mut file.take(bytes), &mut out)?;
    out.sync_all()?;
    Ok(Loss { damage, bytes, aside: Some(aside) })
}

/// A new file for what is damaged at this place. What an earlier repair saved from it is the last copy, and stays.
fn new_beside(log: &Path, position: u64) -> io::Result<(PathBuf, File)> {
    for time in 0_u32.. {
        let mut name = log.to_owned().into_os_string();
        match time {
            0 => name.push(format!(".{position}.damaged")),
            _ => name.push(format!(".{position}-{time}.damaged")),
        }
        let path = PathBuf::from(name);
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A segment after its damage was taken out.
struct Rewritten {
    /// Stretches that were taken out, and the length of what came in their place.
    holes: Vec<(Bad, u64)>,
    len: u64,
}

impl Rewritten {
    /// Where a place behind some holes is now.
    fn moved(&self, position: u64) -> u64 {
        let before = self.holes.iter().filter(|(bad, _)| bad.to <= position);
        before.fold(position, |at, (bad, filler)| at.saturating_sub(bad.to - bad.from) + filler)
    }

    fn note_in(&self, segment: &Segment, row: &mut PartitionRow) {
        let open_ended = self.holes.iter().any(|(bad, _)| bad.to == u64::MAX);
        if row.checkpoint.segment == segment.base() {
            let position = row.checkpoint.position;
            row.checkpoint.position = if open_ended { self.len } else { self.moved(position) };
        }
        let is_last = row.checkpoint.segment == segment.base();
        if let Some(listed) = row.segments.iter_mut().find(|listed| listed.base == segment.base()) {
            listed.bytes = if is_last { row.checkpoint.position } else { self.len };
        }
    }
}

/// Writes the segment anew without its damage, and puts it in place of the old one.
fn rewrite(log: &Arc<Log>, segment: &Arc<Segment>) -> io::Result<Rewritten> {
    let name =
        |state| SegmentFileName { offset: segment.base(), kind: FileKind::Log, state }.path_in(&log.dir);
    let (cleaned, swap, live) = (name(FileState::Cleaned), name(FileState::Swap), name(FileState::Live));
    let sync_dir = || File::open(&log.dir)?.sync_all();
    let rewritten = write_without_damage(log, segment, &cleaned)?;
    fs::rename(&cleaned, &swap)?;
    sync_dir()?;
    // From here on the swap is finished, by us or by the next start, which then forgets the stretches itself.
    let mut rest: Quarantine = quarantine::load(&log.dir);
    rest.remove(&segment.base());
    quarantine::save(&log.dir, &rest)?;
    for kind in [FileKind::Index, FileKind::TimeIndex] {
        match fs::remove_file(segment.path(kind)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(&swap, &live)?;
    sync_dir()?;
    log.index_anew(segment.base(), rewritten.len)?;
    Ok(rewritten)
}

fn write_without_damage(log: &Log, segment: &Arc<Segment>, to: &Path) -> io::Result<Rewritten> {
    let mut old = match File::open(segment.path(FileKind::Log)) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    let mut out = BufWriter::with_capacity(COPY_BYTES, file);
    let (mut holes, mut at, mut len) = (Vec::new(), 0, 0);
    for bad in segment.all_bad() {
        len += copy(old.as_mut(), at, bad.from, &mut out)?;
        let filler = filler(log, segment.base(), &bad, || epoch_behind(old.as_ref(), &bad, segment.len()))?;
        out.write_all(&filler)?;
        len += filler.len() as u64;
        at = bad.to;
        holes.push((bad, filler.len() as u64));
    }
    len += copy(old.as_mut(), at, segment.len(), &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(Rewritten { holes, len })
}

fn copy(file: Option<&mut File>, from: u64, to: u64, out: &mut impl io::Write) -> io::Result<u64> {
    let (Some(file), Some(bytes)) = (file, to.checked_sub(from).filter(|bytes| *bytes > 0)) else {
        return Ok(0);
    };
    file.seek(SeekFrom::Start(from))?;
    let copied = io::copy(&mut file.take(bytes), out)?;
    if copied == bytes { Ok(copied) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The epoch of the batch that follows a damaged stretch in its segment. Nothing before it has a higher one.
fn epoch_behind(file: Option<&File>, bad: &Bad, len: u64) -> io::Result<Option<i32>> {
    let Some(file) = file.filter(|_| bad.to < len) else { return Ok(None) };
    let mut head = [0; HEADER_LEN];
    read_full(file, bad.to, &mut head, Wait::MayBlock)?;
    Ok(BatchHeader::parse(&head).ok().map(|header| header.partition_leader_epoch))
}

/// An empty batch over the lost offsets; nothing if no offset is lost. Its epoch is what the history says, or that of the
/// batch behind, if the segment has one.
fn filler(
    log: &Log,
    base: i64,
    bad: &Bad,
    behind: impl FnOnce() -> io::Result<Option<i32>>,
) -> io::Result<Vec<u8>> {
    let last = (bad.next - 1).min(base.saturating_add(i64::from(i32::MAX)));
    if last < bad.first {
        return Ok(Vec::new());
    }
    let epoch = match log.epochs().at(bad.first) {
        Some(epoch) => epoch,
        None => behind()?.unwrap_or_else(|| epoch_at_start(log)),
    };
    Ok(empty(&BatchHeader {
        base_offset: bad.first,
        batch_length: 0,
        partition_leader_epoch: epoch,
        magic: MAGIC,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: saturate_i32(last - bad.first),
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: NO_TIMESTAMP,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        base_sequence: NO_SEQUENCE,
        records_count: 0,
    }))
}

/// The first epoch that the log knows: it has forgotten those below its start.
fn epoch_at_start(log: &Log) -> i32 {
    let start = log.state.lock().start;
    log.epochs().at(start).unwrap_or(NO_EPOCH)
}

fn from_shared(error: Arc<io::Error>) -> io::Error {
    io::Error::new(error.kind(), error)
}

/// Bytes that are written at once.
const COPY_BYTES: usize = 1 << 20;

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
