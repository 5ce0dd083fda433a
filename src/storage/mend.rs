//! What stands outside a batch's checksum, put right where it can only have been one thing.
//!
//! Base offset, length, leader epoch and magic come before what the CRC-32C covers, so that a broker can stamp a batch
//! that it did not make. A bit that flips there says nothing about the records, and it need not cost them:
//!
//! - Base offset, length and magic are known if exactly one batch is missing between its neighbours: if with these
//!   values the checksum is right, it was this batch. Where offsets beside it were compacted away, its base offset is
//!   the one that it has, if that fits between the neighbours.
//! - The leader epoch is known from the history of epochs, if the batches around bear what the history says for them.
//!
//! It is put right in place, and as none of these bytes is covered by anything, a crash on the way leaves what the next
//! look puts right again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::epochs::Epochs;
use super::pread::{Wait, read_full};
use super::quarantine::Bad;
use crate::record::batch::{BatchHeader, CRC_FROM, HEADER_LEN, LENGTH_OVERHEAD, MAGIC};

/// Bytes of a file that are to be others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    position: u64,
    bytes: Vec<u8>,
}

impl Patch {
    /// This epoch for the batch at `position`.
    pub(super) fn epoch(position: u64, epoch: i32) -> Self {
        Self { position: position + EPOCH_AT, bytes: epoch.to_be_bytes().to_vec() }
    }
}

/// Writes patches into a segment's file, and syncs it. Not into one that has another name somewhere, from an import by
/// hard links or a copy made so: what stands there is not ours to change.
pub(super) fn put(path: &Path, patches: &[Patch]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.nlink() > 1 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the file has another name somewhere"));
    }
    for patch in patches {
        file.write_all_at(&patch.bytes, patch.position)?;
    }
    file.sync_data()
}

/// What makes a damaged stretch the one batch that it was, if only the front of that is wrong. `epoch` is that of its
/// offset, if it is known.
pub(super) fn front_of(file: &File, bad: &Bad, epoch: Option<i32>) -> io::Result<Option<Patch>> {
    let (Some(total), Some(offsets)) = (bad.to.checked_sub(bad.from), bad.next.checked_sub(bad.first)) else {
        return Ok(None);
    };
    let length = total.checked_sub(LENGTH_OVERHEAD as u64).and_then(|length| i32::try_from(length).ok());
    let Some(length) = length.filter(|_| total >= HEADER_LEN as u64) else { return Ok(None) };
    let mut stored = [0; HEADER_LEN];
    read_full(file, bad.from, &mut stored, Wait::MayBlock)?;
    let Some(base) = base_of(&stored, bad, length, offsets) else { return Ok(None) };
    // The history is asked for the first offset that is missing.
    let head = with_front(stored, base, Some(length), epoch.filter(|_| base == bad.first));
    let Ok(header) = BatchHeader::parse(&head) else { return Ok(None) };
    // One that says already what it should is damaged in another way.
    let is_news = base == bad.first || head != stored;
    if !is_news || crc_between(file, bad.from + CRC_FROM as u64, bad.to)? != Some(header.crc) {
        return Ok(None);
    }
    let bytes = head.get(..FRONT_LEN).unwrap_or_default().to_vec();
    Ok(Some(Patch { position: bad.from, bytes }))
}

/// The base offset of the one batch that is missing: the first offset, if it takes all of them; where some were
/// compacted away beside it, what it says itself, if that leaves it between its neighbours.
fn base_of(stored: &[u8; HEADER_LEN], bad: &Bad, length: i32, offsets: i64) -> Option<i64> {
    let header = BatchHeader::parse(&with_front(*stored, bad.first, Some(length), None)).ok()?;
    let span = i64::from(header.last_offset_delta) + 1;
    if span <= 0 || header.records_count < 0 {
        return None;
    }
    let told = i64::from_be_bytes(*stored.first_chunk()?);
    let fits = told >= bad.first && told.checked_add(span).is_some_and(|next| next <= bad.next);
    if span == offsets { Some(bad.first) } else { Some(told).filter(|_| fits) }
}

/// A batch's header with this offset, and with this length and epoch if there are any to put there.
pub(super) fn with_front(
    mut head: [u8; HEADER_LEN],
    base_offset: i64,
    length: Option<i32>,
    epoch: Option<i32>,
) -> [u8; HEADER_LEN] {
    head[0..8].copy_from_slice(&base_offset.to_be_bytes());
    if let Some(length) = length {
        head[8..12].copy_from_slice(&length.to_be_bytes());
    }
    if let Some(epoch) = epoch {
        head[12..16].copy_from_slice(&epoch.to_be_bytes());
    }
    head[16..17].copy_from_slice(&MAGIC.to_be_bytes());
    head
}

/// The checksum of a part of a file; `None` if the file ends before.
pub(super) fn crc_between(file: &File, from: u64, to: u64) -> io::Result<Option<u32>> {
    let (mut at, mut crc) = (from, 0);
    let mut piece = vec![0; PIECE_BYTES];
    while at < to {
        let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(piece.len());
        let bytes = piece.get_mut(..want).unwrap_or_default();
        match read_full(file, at, bytes, Wait::MayBlock) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        crc = crc32c::crc32c_append(crc, bytes);
        at += want as u64;
    }
    Ok(Some(crc))
}

/// Tells which of a segment's batches bear an epoch that cannot be theirs.
///
/// One that differs from the history is wrong if the batches beside it agree with the history. Where several in a row
/// differ it is the history that is not what it was, and where there is no other batch nobody can tell.
#[derive(Debug)]
pub(super) struct Misfits<'a> {
    history: &'a Epochs,
    /// Whether the batch before agrees with the history; `None` at the front.
    before: Option<bool>,
    /// A batch that differs, and what the history says; the next one tells.
    held: Option<(u64, i32)>,
    found: Vec<(u64, i32)>,
}

impl<'a> Misfits<'a> {
    pub(super) fn new(history: &'a Epochs) -> Self {
        Self { history, before: None, held: None, found: Vec::new() }
    }

    /// The next batch.
    pub(super) fn note(&mut self, position: u64, header: &BatchHeader) {
        let right = differs(self.history, header);
        self.judge(Some(right.is_none()));
        match right {
            Some(right) => self.held = Some((position, right)),
            None => self.before = Some(true),
        }
    }

    /// The batch that was held back: it is wrong if there is one beside it that agrees with the history, and none that
    /// does not.
    fn judge(&mut self, behind: Option<bool>) {
        let Some(held) = self.held.take() else { return };
        let beside = [self.before, behind];
        let is_wrong = beside.contains(&Some(true)) && !beside.contains(&Some(false));
        if is_wrong {
            self.found.push(held);
        }
        self.before = Some(is_wrong);
    }

    /// Positions of batches with a wrong epoch, and the right one.
    pub(super) fn end(mut self) -> Vec<(u64, i32)> {
        self.judge(None);
        self.found
    }
}

/// The epoch that the history has for a batch, if it is another than the batch has.
pub(super) fn differs(history: &Epochs, header: &BatchHeader) -> Option<i32> {
    history.at(header.base_offset).filter(|epoch| *epoch != header.partition_leader_epoch)
}

/// Bytes of a batch before its own checksum.
const FRONT_LEN: usize = 17;
/// Where in a batch its leader epoch stands.
const EPOCH_AT: u64 = 12;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
#[path = "mend_tests.rs"]
mod tests;
