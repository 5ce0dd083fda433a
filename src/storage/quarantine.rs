//! Damaged stretches of a log: where one begins and ends, and the file that remembers them.
//!
//! What is damaged below the log's end is kept as it lies, never cut and never served: a read into it is an error, and
//! what stands before and behind it goes on. The stretches of a partition stand in [`QUARANTINE`], a small text file in
//! its directory, in the form of Kafka's checkpoint files. In the directory and not in the manifest's row, for three
//! reasons: the row speaks of what is right and is put in passing by every checkpoint; a manifest that is lost must not
//! take with it what nobody may read; and whoever copies, dumps or repairs a partition finds what belongs to it beside
//! it. Without the file nothing is served that was not before: the damage is found again where it is met.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use parking_lot::Mutex;

use super::checkpoint::{encode, number, read, replace};
use super::index::OffsetEntry;
use super::layout::QUARANTINE;
use super::scan::{Rules, Scanned, scan};
use super::text_file::TextFault;
use crate::record::batch::{BatchHeader, HEADER_LEN, LENGTH_OVERHEAD};

/// A stretch of a segment that is never served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) from: u64,
    /// Where sound batches go on; `u64::MAX` if the file has none behind it.
    pub(super) to: u64,
    /// The first offset that is lost with it.
    pub(super) first: i64,
    /// The first offset behind it.
    pub(super) next: i64,
    pub(super) why: &'static str,
}

impl Bad {
    pub(super) fn holds(&self, position: u64) -> bool {
        (self.from..self.to).contains(&position)
    }

    pub(super) fn holds_offset(&self, offset: i64) -> bool {
        (self.first..self.next).contains(&offset)
    }

    /// Whether nothing of the file can be read.
    pub(super) fn is_all(&self) -> bool {
        self.from == 0 && self.to == u64::MAX
    }
}

/// Adds a stretch to those known, which stay sorted and apart.
pub(super) fn add(all: &mut Vec<Bad>, mut new: Bad) {
    all.retain(|old| {
        let touches = old.from <= new.to && new.from <= old.to;
        if touches {
            // The first word on it counts.
            if old.from <= new.from {
                new.why = old.why;
            }
            (new.from, new.to) = (new.from.min(old.from), new.to.max(old.to));
            (new.first, new.next) = (new.first.min(old.first), new.next.max(old.next));
        }
        !touches
    });
    let at = all.partition_point(|old| old.from < new.from);
    all.insert(at, new);
}

/// The part of a segment that is looked at for damage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The segment's base offset.
    pub(super) base: i64,
    /// A batch boundary at or before the damage, and the offset that is next there.
    pub(super) from: (u64, i64),
    /// The end of what the segment has to hold, and the offset behind it.
    pub(super) to: (u64, i64),
}

/// Finds out where damage that was met at `met` begins and where sound batches go on; `None` if every batch of the
/// span proves to be whole.
///
/// A flipped length leads a walk astray, so the damage may begin before the place where it was met; only checksums
/// tell. Behind it any bytes could look like a batch, even some producer's value. So batches count again from where the
/// damaged one's own length leads, if a whole one begins there; else from where an unbroken chain of them leads to a
/// place that is known to be a boundary, which is one that the index names or the end of the span. `entries` are the
/// index's; they are hints, and wrong ones cost only some more bytes.
pub(super) fn locate(
    file: &File,
    entries: &[OffsetEntry],
    span: Span,
    met: u64,
    why: &'static str,
) -> io::Result<Option<Bad>> {
    let mut locator = Locator { file, span, buffer: Vec::new() };
    let inside = |entry: &OffsetEntry| (span.from.0..span.to.0).contains(&u64::from(entry.position));
    let bounds: Vec<u64> =
        entries.iter().filter(|entry| inside(entry)).map(|e| u64::from(e.position)).collect();
    let len = file.metadata()?.len();
    let sound = locator.sound_up_to(&bounds, met, len.min(span.to.0))?;
    if sound.end >= span.to.0 {
        return Ok(None);
    }
    let (to, next) = if len < span.to.0 {
        (u64::MAX, span.to.1)
    } else {
        locator.resume(&bounds, sound.end, sound.next)?
    };
    let why = if sound.end == met { why } else { sound.stop.unwrap_or(why) };
    Ok(Some(Bad { from: sound.end, to, first: sound.next.min(next), next, why }))
}

/// The stretch at the front of `span` if its own length leads to a whole batch.
pub(super) fn batch_between(file: &File, span: Span, why: &'static str) -> io::Result<Option<Bad>> {
    let mut locator = Locator { file, span, buffer: Vec::new() };
    let (from, first) = span.from;
    let Some(to) = locator.end_by_length(from)? else { return Ok(None) };
    let next = locator.batch_at(to, first)?;
    Ok(next.map(|next| Bad { from, to, first, next, why }))
}

struct Locator<'a> {
    file: &'a File,
    span: Span,
    buffer: Vec<u8>,
}

impl Locator<'_> {
    /// How far whole batches reach from the last boundary before `met` from which they do not reach the end.
    fn sound_up_to(&mut self, bounds: &[u64], met: u64, end: u64) -> io::Result<Scanned> {
        let before = bounds.iter().copied().filter(|bound| *bound < met).collect::<Vec<_>>();
        for bound in before.into_iter().rev().take(BOUNDS_TRIED) {
            let scanned = self.scan(bound, end, self.span.base)?;
            if scanned.batches > 0 && scanned.end < self.span.to.0 {
                return Ok(scanned);
            }
        }
        self.scan(self.span.from.0, end, self.span.from.1)
    }

    /// The first place behind `bad` from which whole batches lead to a boundary, and the offset there.
    fn resume(&mut self, bounds: &[u64], bad: u64, first: i64) -> io::Result<(u64, i64)> {
        if let Some(end) = self.end_by_length(bad)?
            && let Some(offset) = self.batch_at(end, first)?
        {
            return Ok((end, offset));
        }
        let ends = bounds.iter().copied().filter(|bound| *bound > bad).chain([self.span.to.0]);
        let mut from = bad + 1;
        for end in ends {
            if end > from
                && let Some(found) = self.chain_to(end, from, first)?
            {
                return Ok(found);
            }
            from = from.max(end);
            if let Some(offset) = self.batch_at(end, first)? {
                return Ok((end, offset));
            }
        }
        Ok((self.span.to.0, self.span.to.1))
    }

    /// Where the batch at `bad` ends by its length field, whatever else is wrong with it.
    fn end_by_length(&self, bad: u64) -> io::Result<Option<u64>> {
        let mut head = [0; LENGTH_OVERHEAD];
        if bad + head.len() as u64 > self.span.to.0 {
            return Ok(None);
        }
        super::pread::read_full(self.file, bad, &mut head, super::pread::Wait::MayBlock)?;
        let [.., a, b, c, d] = head;
        let length = u64::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        Ok(Some(bad + head.len() as u64 + length).filter(|end| length > 0 && *end < self.span.to.0))
    }

    /// A batch between `from` and `end` from which whole batches lead exactly to `end`.
    fn chain_to(&mut self, end: u64, from: u64, first: i64) -> io::Result<Option<(u64, i64)>> {
        let mut at = from;
        let mut window = vec![0; SEARCH_BYTES];
        while at + (HEADER_LEN as u64) <= end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(window.len());
            let Some(bytes) = window.get_mut(..want) else { break };
            super::pread::read_full(self.file, at, bytes, super::pread::Wait::MayBlock)?;
            for (nth, head) in bytes.windows(HEADER_LEN).enumerate() {
                let position = at + nth as u64;
                if let Some(offset) = self.plausible(head, position, end, first)
                    && self.scan(position, end, first)?.end == end
                {
                    return Ok(Some((position, offset)));
                }
            }
            at += (want - HEADER_LEN + 1) as u64;
        }
        Ok(None)
    }

    /// The base offset of what may be a batch, judged by its header alone.
    fn plausible(&self, head: &[u8], position: u64, end: u64, first: i64) -> Option<i64> {
        let header = BatchHeader::parse(head).ok()?;
        let fits = (first..self.span.to.1).contains(&header.base_offset)
            && header.last_offset_delta >= 0
            && header.next_offset() <= self.span.to.1
            && position + header.total_len() as u64 <= end;
        fits.then_some(header.base_offset)
    }

    /// The base offset of the whole batch at `position`, if one begins there.
    fn batch_at(&mut self, position: u64, first: i64) -> io::Result<Option<i64>> {
        if position + (HEADER_LEN as u64) > self.span.to.0 {
            return Ok(None);
        }
        let mut head = [0; HEADER_LEN];
        super::pread::read_full(self.file, position, &mut head, super::pread::Wait::MayBlock)?;
        let Some(offset) = self.plausible(&head, position, self.span.to.0, first) else { return Ok(None) };
        let end = BatchHeader::parse(&head).map_or(position, |header| position + header.total_len() as u64);
        Ok((self.scan(position, end, first)?.batches > 0).then_some(offset))
    }

    fn scan(&mut self, from: u64, to: u64, next: i64) -> io::Result<Scanned> {
        let rules = Rules { base: self.span.base, next, exact: false, limit: self.span.to.1, reach: 0 };
        scan(self.file, from, to, rules, &mut self.buffer, &mut |_| {})
    }
}

/// The stretches of a partition, by the base offset of their segment.
pub(super) type Quarantine = BTreeMap<i64, Vec<Bad>>;

/// Reads the stretches that are remembered. A file that cannot be read counts as none, with a line in the log.
pub(super) fn load(dir: &Path) -> Quarantine {
    let rows = match read_rows(&dir.join(QUARANTINE)) {
        Ok(rows) => rows.unwrap_or_default(),
        Err(fault) => {
            tracing::error!(%fault, "the list of damaged stretches is lost: they are found again where they are met");
            Vec::new()
        }
    };
    let mut found = Quarantine::new();
    for (base, bad) in rows {
        add(found.entry(base).or_default(), bad);
    }
    found
}

fn read_rows(path: &Path) -> Result<Option<Vec<(i64, Bad)>>, TextFault> {
    read(path, |fields| {
        let [base, from, to, first, next, why @ ..] = fields else { return None };
        let to = if *to == "end" { u64::MAX } else { number(to)? };
        let bad =
            Bad { from: number(from)?, to, first: number(first)?, next: number(next)?, why: reason(why) };
        (bad.from <= bad.to && bad.first <= bad.next).then_some((number(base)?, bad))
    })
}

/// A reason that was written down. There are few, and each is kept once for as long as the process lives; of one that
/// is none of ours only the fact counts.
fn reason(words: &[&str]) -> &'static str {
    static KNOWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let text = words.join(" ");
    let mut known = KNOWN.lock();
    if let Some(reason) = known.iter().find(|known| **known == text) {
        return reason;
    }
    if text.is_empty() || text.len() > REASON_BYTES_MAX || known.len() >= REASONS_MAX {
        return "it was found damaged before";
    }
    let reason: &'static str = Box::leak(text.into_boxed_str());
    known.push(reason);
    reason
}

/// Writes the stretches down, durably; without any there is no file.
pub(super) fn save(dir: &Path, all: &Quarantine) -> io::Result<()> {
    let path = dir.join(QUARANTINE);
    if all.values().all(Vec::is_empty) {
        return match fs::remove_file(&path) {
            Ok(()) => File::open(dir)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
    }
    let rows = all.iter().flat_map(|(base, bads)| bads.iter().map(move |bad| (base, bad)));
    let text = encode(rows.map(|(base, bad)| {
        let to = if bad.to == u64::MAX { "end".to_owned() } else { bad.to.to_string() };
        format!("{base} {} {to} {} {} {}", bad.from, bad.first, bad.next, bad.why)
    }));
    replace(&path, text.as_bytes())
}

/// Reasons that are read, and the bytes of each.
const REASONS_MAX: usize = 100;
const REASON_BYTES_MAX: usize = 200;
/// Boundaries before the damage that are tried; the batch at one may be the damaged one.
const BOUNDS_TRIED: usize = 3;
/// Bytes that are searched at once.
const SEARCH_BYTES: usize = 1 << 20;

#[cfg(test)]
#[path = "quarantine_tests.rs"]
mod tests;
