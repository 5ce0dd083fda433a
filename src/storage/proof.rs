//! What checksums prove past the checkpoint, where nothing else vouches for a log's bytes: which batch was meant where
//! its length or its format's number is wrong, and whether whole batches lie behind the place where a log is cut.
//!
//! A batch's own fields behind its front are covered by its checksum. So where that is right over the bytes up to some
//! place, the batch ends there, whatever its length says. A torn write never has a right checksum.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::SeekFrom;

use super::mend::{crc_between, with_front};
use super::pread::{Wait, read_full};
use super::quarantine::Bad;
use crate::record::batch::{BatchHeader, CRC_FROM, HEADER_LEN, LENGTH_MIN};

/// The stretch of the batch at `span.start`, which begins with the offset `first`, if only its length or its format's
/// number is wrong: its checksum is right up to where its length leads, or else up to where the next offset stands or
/// the span ends.
pub(super) fn batch_by_checksum(
    file: &File,
    span: Range<u64>,
    first: i64,
    why: &'static str,
) -> io::Result<Option<Bad>> {
    let from = span.start;
    if span.end.saturating_sub(from) < HEADER_LEN as u64 {
        return Ok(None);
    }
    let mut head = [0; HEADER_LEN];
    read_full(file, from, &mut head, Wait::MayBlock)?;
    let told = BatchHeader::parse(&with_front(head, first, None, None)).ok();
    let bare = with_front(head, first, Some(LENGTH_MIN), None);
    let Ok(header) = BatchHeader::parse(&bare) else { return Ok(None) };
    let is_sane = header.last_offset_delta >= 0 && header.records_count >= 0;
    let has_offset = head.first_chunk() == Some(&first.to_be_bytes());
    if !is_sane || !has_offset {
        return Ok(None);
    }
    let bad = |to| Bad { from, to, first, next: header.next_offset(), why };
    if let Some(told) = told {
        let to = from + told.total_len() as u64;
        if to <= span.end && crc_between(file, from + CRC_FROM as u64, to)? == Some(header.crc) {
            return Ok(Some(bad(to)));
        }
    }
    Ok(end_by_checksum(file, span, header.crc, header.next_offset())?.map(bad))
}

/// Where a batch of the checksum `crc` ends: where the offset `next` stands, or at the end of `span`. The checksum is
/// made once over all, whatever the bytes look like.
fn end_by_checksum(file: &File, span: Range<u64>, crc: u32, next: i64) -> io::Result<Option<u64>> {
    let next = next.to_be_bytes();
    let end = span.end.min(span.start + BATCH_BYTES_MAX);
    let mut found = 0;
    // The checksum is made up to here.
    let mut at = span.start + CRC_FROM as u64;
    let first = span.start + HEADER_LEN as u64;
    let mut piece = vec![0; PIECE_BYTES];
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
        let bytes = piece.get_mut(..want).unwrap_or_default();
        read_full(file, at, bytes, Wait::MayBlock)?;
        let is_last = at + want as u64 == end;
        let mut done = 0;
        for (nth, eight) in bytes.windows(next.len()).enumerate() {
            let place = at + nth as u64;
            if eight == next && place >= first {
                found = crc32c::crc32c_append(found, bytes.get(done..nth).unwrap_or_default());
                done = nth;
                if found == crc {
                    return Ok(Some(place));
                }
            }
        }
        // An offset may stand across two pieces.
        let upto = if is_last { want } else { want - (next.len() - 1) };
        found = crc32c::crc32c_append(found, bytes.get(done..upto).unwrap_or_default());
        at += upto as u64;
    }
    Ok((found == crc && end == span.end && end >= first).then_some(end))
}

/// A whole batch at the front of `span`, whatever its offset, or further back with an offset of `offsets`: where it
/// begins, and its offset. Where bytes look like so many batches that it would take long to tell, it is said to be one.
pub(super) fn whole_batch_in(
    file: &File,
    span: Range<u64>,
    offsets: Range<i64>,
) -> io::Result<Option<(u64, i64)>> {
    let mut at = span.start;
    let mut to_check = (span.end - at.min(span.end)).saturating_add(BATCH_BYTES_MAX);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        at = data_from(file, at);
        if at.saturating_add(HEADER_LEN as u64) > span.end {
            return Ok(None);
        }
        let want = usize::try_from(span.end - at).unwrap_or(usize::MAX).min(piece.len());
        let bytes = piece.get_mut(..want).unwrap_or_default();
        read_full(file, at, bytes, Wait::MayBlock)?;
        for (nth, head) in bytes.windows(HEADER_LEN).enumerate() {
            let position = at + nth as u64;
            let Ok(header) = BatchHeader::parse(head) else { continue };
            let end = position + header.total_len() as u64;
            let is_sane = header.last_offset_delta >= 0 && header.records_count >= 0 && end <= span.end;
            if !is_sane || position > span.start && !offsets.contains(&header.base_offset) {
                continue;
            }
            let Some(left) = to_check.checked_sub(end - position) else {
                return Ok(Some((position, header.base_offset)));
            };
            to_check = left;
            if crc_between(file, position + CRC_FROM as u64, end)? == Some(header.crc) {
                return Ok(Some((position, header.base_offset)));
            }
        }
        at += (want - HEADER_LEN + 1) as u64;
    }
}

/// The next place that is no hole in the file; `at` itself if the file system does not say.
fn data_from(file: &File, at: u64) -> u64 {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.max(at),
        Err(rustix::io::Errno::NXIO) => u64::MAX,
        Err(_) => at,
    }
}

/// The largest batch whose end is looked for, in bytes: more than any request is allowed by default.
const BATCH_BYTES_MAX: u64 = 128 << 20;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
