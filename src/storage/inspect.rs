//! Reading files of a data directory as they lie, for `streamd dump`: nothing is locked, changed or believed.

use std::fs::File;
use std::io;
use std::path::Path;

use super::checkpoint::read_epochs;
use super::epochs::Epochs;
use super::index::{Entry as _, OffsetEntry, TimeEntry, offset_entries};
use super::layout::{FileKind, LEADER_EPOCHS, parse_file, segment_file_in};
use super::log::Damage;
use super::mend::{Misfits, front_of};
use super::pread::{Wait, read_full};
use super::quarantine::{Span, locate};
use super::walk::{Walk, WalkFault};
use crate::record::batch::{BatchHeader, BatchView};
use crate::types::Timestamp;
use crate::types::offset::saturate_u32;

/// What a segment holds, in order.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A batch.
    Batch {
        /// Where it begins.
        position: u64,
        /// Its header.
        header: &'a BatchHeader,
        /// All of it, if its bytes were asked for and are not more than [`BATCH_BYTES_MAX`].
        batch: Option<BatchView<'a>>,
    },
    /// Bytes that are no batch where one has to be.
    Damage {
        /// Where, and which offsets.
        damage: &'a Damage,
        /// Whether only the front of one batch is wrong and it is known what it was: no record is lost.
        mendable: bool,
    },
    /// A batch that bears another leader epoch than it was written with. Shown behind all others, and only with
    /// [`Look::verify`].
    Epoch {
        /// Where the batch begins.
        position: u64,
        /// The epoch that it was written with.
        epoch: i32,
    },
}

/// How a segment is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The offset that the first batch is at or behind: the file's name.
    pub base: i64,
    /// The first offset behind the segment, if the next one is known.
    pub next: Option<i64>,
    /// Whether checksums are checked; without it only headers are read.
    pub verify: bool,
    /// Whether [`Piece::Batch`] is to have its bytes.
    pub bytes: bool,
}

/// Goes through a `.log`. Memory is that of the largest batch.
///
/// # Errors
/// What the file system says, or what `each` returns.
pub fn segment<E: From<io::Error>>(
    path: &Path,
    look: Look,
    each: &mut dyn FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let limit = look.next.unwrap_or_else(|| look.base.saturating_add(i64::from(i32::MAX) + 1));
    let epochs = epochs_of(path).filter(|_| look.verify).unwrap_or_default();
    let mut misfits = Misfits::new(&epochs);
    let (mut from, mut next, mut buffer) = (0, look.base, Vec::new());
    // Before the last batch: what follows may show that it is the one to blame.
    let mut before = (from, next);
    'parts: while from < len {
        let mut walk = Walk::new(&file, from, len, Wait::MayBlock);
        let (met, why) = loop {
            match walk.next() {
                Ok(Some(step)) => {
                    let at = step.position;
                    let batch = if look.verify || look.bytes {
                        whole(&file, at, &step.header, &mut buffer)?
                    } else {
                        None
                    };
                    if look.verify && batch.is_some_and(|batch| !batch.crc_ok()) {
                        break (at, "the CRC does not match");
                    }
                    each(Piece::Batch {
                        position: at,
                        header: &step.header,
                        batch: batch.filter(|_| look.bytes),
                    })?;
                    misfits.note(at, &step.header);
                    before = (from, next);
                    (from, next) = (step.end(), step.header.next_offset());
                }
                Ok(None) => break 'parts,
                Err(WalkFault::Io(error)) => return Err(error.into()),
                Err(WalkFault::Bad(position, why)) => break (position, why),
            }
        };
        let span = Span { base: look.base, from: before, to: (len, limit) };
        let bad = locate(&file, &entries_of(path, look.base), span, met, why)?;
        let front = bad.as_ref().map(|bad| front_of(&file, bad, None)).transpose()?.flatten();
        let (position, end, first, behind, why) = match bad {
            Some(bad) => (bad.from, bad.to, bad.first, bad.next, bad.why),
            None => (met, len, next, limit, why),
        };
        let end = end.min(len);
        // Behind the last sound batch nobody knows which offsets there were.
        let known = end < len || look.next.is_some();
        let damage = Damage {
            file: path.to_owned(),
            position,
            end: Some(end).filter(|end| *end < len),
            first,
            next: if known { behind } else { first },
            why,
        };
        each(Piece::Damage { damage: &damage, mendable: front.is_some() })?;
        (from, next) = (end, behind);
        before = (from, next);
    }
    misfits.end().into_iter().try_for_each(|(position, epoch)| each(Piece::Epoch { position, epoch }))
}

/// The history of epochs beside a segment, if there is one.
fn epochs_of(log: &Path) -> Option<Epochs> {
    read_epochs(&log.with_file_name(LEADER_EPOCHS)).ok().flatten().map(Epochs::new)
}

/// The index beside a segment, if there is one.
fn entries_of(log: &Path, base: i64) -> Vec<OffsetEntry> {
    let Some(dir) = log.parent() else { return Vec::new() };
    File::open(segment_file_in(dir, base, FileKind::Index)).and_then(offset_entries).unwrap_or_default()
}

fn whole<'a>(
    file: &File,
    position: u64,
    header: &BatchHeader,
    buffer: &'a mut Vec<u8>,
) -> io::Result<Option<BatchView<'a>>> {
    let len = header.total_len();
    if len > BATCH_BYTES_MAX {
        return Ok(None);
    }
    buffer.resize(len, 0);
    read_full(file, position, buffer, Wait::MayBlock)?;
    // The walk has parsed the same header, and the bytes are as long as it says.
    Ok(BatchView::parse(buffer).ok())
}

/// An entry of an offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The last offset of a batch.
    pub offset: i64,
    /// Where that batch begins.
    pub position: u32,
}

/// An entry of a time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeIndexEntry {
    /// The largest timestamp so far.
    pub timestamp: Timestamp,
    /// The last offset of the batch that has it.
    pub offset: i64,
}

/// Goes through an `.index`. With `verify` each entry is followed into the `.log` beside it; `each` gets what is wrong.
///
/// # Errors
/// What the file system says, or what `each` returns.
pub fn offset_index<E: From<io::Error>>(
    path: &Path,
    base: i64,
    verify: bool,
    each: &mut dyn FnMut(IndexEntry, Option<&'static str>) -> Result<(), E>,
) -> Result<(), E> {
    let log = if verify { Some(beside(path, base)?) } else { None };
    let mut before: Option<IndexEntry> = None;
    entries::<E>(path, OffsetEntry::BYTES, &mut |bytes| {
        let entry = OffsetEntry::decode(bytes);
        let shown =
            IndexEntry { offset: base.saturating_add(i64::from(entry.relative)), position: entry.position };
        let rises = before.is_none_or(|b| b.offset < shown.offset && b.position < shown.position);
        let why = match &log {
            _ if !rises => Some("it does not rise"),
            Some((log, len)) => leads_astray(log, *len, u64::from(entry.position), shown.offset),
            None => None,
        };
        before = Some(shown);
        each(shown, why)
    })
}

/// Goes through a `.timeindex`; `each` gets what is wrong with an entry.
///
/// # Errors
/// What the file system says, or what `each` returns.
pub fn time_index<E: From<io::Error>>(
    path: &Path,
    base: i64,
    each: &mut dyn FnMut(TimeIndexEntry, Option<&'static str>) -> Result<(), E>,
) -> Result<(), E> {
    let mut before: Option<TimeIndexEntry> = None;
    entries::<E>(path, TimeEntry::BYTES, &mut |bytes| {
        let entry = TimeEntry::decode(bytes);
        let offset = base.saturating_add(i64::from(entry.relative));
        let shown = TimeIndexEntry { timestamp: entry.timestamp, offset };
        let rises = before.is_none_or(|b| b.timestamp < shown.timestamp && b.offset <= shown.offset);
        before = Some(shown);
        each(shown, (!rises).then_some("it does not rise"))
    })
}

fn beside(index: &Path, base: i64) -> io::Result<(File, u64)> {
    let log =
        File::open(segment_file_in(index.parent().unwrap_or_else(|| Path::new(".")), base, FileKind::Log))?;
    let len = log.metadata()?.len();
    Ok((log, len))
}

/// Why an index entry does not lead to its batch, if it does not.
fn leads_astray(log: &File, len: u64, position: u64, offset: i64) -> Option<&'static str> {
    match Walk::new(log, position, len, Wait::MayBlock).next() {
        Ok(Some(step)) if step.header.last_offset() == offset => None,
        Ok(Some(_)) => Some("it leads to another batch"),
        _ => Some("it leads to no batch"),
    }
}

/// Shows each entry of `width` bytes, reading a piece at a time.
fn entries<E: From<io::Error>>(
    path: &Path,
    width: usize,
    each: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut block = vec![0; width * ENTRIES_AT_ONCE];
    let mut at = 0;
    while at < len {
        let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(block.len());
        let Some(bytes) = block.get_mut(..want) else { break };
        read_full(&file, at, bytes, Wait::MayBlock)?;
        for entry in bytes.chunks_exact(width) {
            each(entry)?;
        }
        at += u64::from(saturate_u32(want));
    }
    Ok(())
}

/// The base offset in a segment file's name.
pub fn base_of(path: &Path) -> Option<i64> {
    parse_file(path.file_name()?.to_str()?).map(|name| name.offset)
}

/// The largest batch that is read whole, in bytes; larger ones are told by their headers.
pub const BATCH_BYTES_MAX: usize = 256 << 20;
/// Index entries that are read at once.
const ENTRIES_AT_ONCE: usize = 4096;
