//! Reading a segment forward and telling where its valid batches end.

use std::fs::File;
use std::io;

use crate::record::batch::{BatchHeader, HEADER_LEN};
use crate::storage::pread::{Wait, read_some};

/// What the batches of a segment must satisfy besides being whole and having the right CRC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The segment's base offset.
    pub(super) base: i64,
    /// The offset that the first batch begins at.
    pub(super) next: i64,
    /// Whether each batch begins exactly where the one before ends; in a segment that may be compacted offsets only rise.
    pub(super) exact: bool,
    /// The offset past which no batch reaches, if that is known.
    pub(super) limit: i64,
    /// How far into the file one may look to judge the last batches, if further than to where they are shown.
    pub(super) reach: u64,
}

/// A valid batch.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) position: u64,
    pub(super) header: BatchHeader,
    /// The whole batch if it is a control batch.
    pub(super) control: Option<&'a [u8]>,
}

/// What a scan found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanned {
    /// Where the last valid batch ends.
    pub(super) end: u64,
    /// The offset behind it.
    pub(super) next: i64,
    pub(super) batches: u64,
    /// Why the bytes at `end` are not a batch; `None` at the end of the file.
    pub(super) stop: Option<&'static str>,
}

/// Reads `file` from `from` to `len` and shows every valid batch to `each`, until bytes come that are none.
///
/// Leader epochs are not judged: they stand outside the checksum, no record depends on them, and two that do not fit
/// do not say which is wrong (see [`super::mend`]).
pub(super) fn scan(
    file: &File,
    from: u64,
    len: u64,
    rules: Rules,
    buffer: &mut Vec<u8>,
    each: &mut dyn FnMut(&Found<'_>),
) -> io::Result<Scanned> {
    let mut window = Window { file, len: len.max(rules.reach), at: from, buffer };
    window.buffer.clear();
    let mut scanned = Scanned { end: from, next: rules.next, batches: 0, stop: None };
    while scanned.end < len {
        let position = scanned.end;
        let head = window.at_least(position, HEADER_LEN)?;
        let header = match check_header(head, position, len, &scanned, rules) {
            Ok(header) => header,
            Err(why) => {
                scanned.stop = Some(why);
                break;
            }
        };
        let total = header.total_len();
        if !window.crc_matches(position, total, header.crc)? {
            scanned.stop = Some("the CRC does not match");
            break;
        }
        if window.is_belied(position + total as u64, &header, &scanned)? {
            scanned.stop = Some("the batch's offset is not the one that was written");
            break;
        }
        let control = header.attributes.is_control() && total <= WINDOW;
        let control = if control { window.at_least(position, total)?.get(..total) } else { None };
        each(&Found { position, header, control });
        scanned.end = position + total as u64;
        scanned.next = header.next_offset();
        scanned.batches += 1;
    }
    Ok(scanned)
}

fn check_header(
    head: &[u8],
    position: u64,
    len: u64,
    before: &Scanned,
    rules: Rules,
) -> Result<BatchHeader, &'static str> {
    let header = BatchHeader::parse(head).map_err(|_| "there is no whole batch header")?;
    if header.total_len() as u64 > len - position {
        return Err("the batch is not whole");
    }
    if header.last_offset_delta < 0 || header.records_count < 0 {
        return Err("the batch has negative counts");
    }
    let fits =
        if rules.exact { header.base_offset == before.next } else { header.base_offset >= before.next };
    if !fits {
        return Err("the batch's offset does not follow on the one before");
    }
    if header.last_offset() - rules.base > i64::from(i32::MAX) {
        return Err("the batch's offset does not belong into this segment");
    }
    if header.next_offset() > rules.limit {
        return Err("the batch's offsets reach into what follows");
    }
    Ok(header)
}

/// The part of the file that is in memory. It moves forward only, and never grows with what a batch claims.
struct Window<'a> {
    file: &'a File,
    len: u64,
    /// Where in the file the buffer begins.
    at: u64,
    buffer: &'a mut Vec<u8>,
}

impl Window<'_> {
    /// The bytes at `position`: `want` of them (at most [`WINDOW`]) or what the file has.
    fn at_least(&mut self, position: u64, want: usize) -> io::Result<&[u8]> {
        let have = self.held(position).len();
        if have < want && position + (have as u64) < self.len {
            let gone = self.buffer.len() - have;
            self.buffer.drain(..gone);
            self.at = position;
            self.fill()?;
        }
        Ok(self.held(position))
    }

    fn held(&self, position: u64) -> &[u8] {
        let skip = position.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.buffer.get(skip..)).unwrap_or_default()
    }

    fn fill(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let mut filled = self.buffer.len();
        self.buffer.resize(WINDOW.min(left), 0);
        while filled < self.buffer.len() {
            let position = self.at + filled as u64;
            match read_some(self.file, position, &mut self.buffer[filled..], Wait::MayBlock)? {
                0 => break,
                read => filled += read,
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// Whether the batch behind this one, which ends at `end`, shows that this one's offset was raised: it is whole, its
    /// offset fits behind the batches before, and there is no room for both. Base offsets stand outside the checksum.
    fn is_belied(&mut self, end: u64, header: &BatchHeader, before: &Scanned) -> io::Result<bool> {
        if header.base_offset <= before.next || end >= self.len {
            return Ok(false);
        }
        let left = self.len - end;
        let Ok(behind) = BatchHeader::parse(self.at_least(end, HEADER_LEN)?) else { return Ok(false) };
        let total = behind.total_len();
        let fits = (before.next..header.next_offset()).contains(&behind.base_offset);
        Ok(fits && total as u64 <= left && self.crc_matches(end, total, behind.crc)?)
    }

    /// Whether the batch of `total` bytes at `position`, all of which the file holds, has this CRC.
    fn crc_matches(&mut self, position: u64, total: usize, crc: u32) -> io::Result<bool> {
        // A batch that fits into the window stays in it whole.
        self.at_least(position, total.min(WINDOW))?;
        let (mut at, end) = (position + CRC_FROM, position + total as u64);
        let mut found = 0;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let bytes = self.at_least(at, left.min(WINDOW))?;
            let bytes = &bytes[..left.min(bytes.len())];
            if bytes.is_empty() {
                return Ok(false);
            }
            found = crc32c::crc32c_append(found, bytes);
            at += bytes.len() as u64;
        }
        Ok(found == crc)
    }
}

/// What is read at once, in bytes.
const WINDOW: usize = 1 << 20;
/// Where the part of a batch begins that its CRC covers: at the attributes.
const CRC_FROM: u64 = 21;

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
