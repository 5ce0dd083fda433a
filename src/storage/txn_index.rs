//! The aborted transactions of a segment: Kafka's `.txnindex`, which `read_committed` readers and compaction go by.
//!
//! An entry stands in the segment of the marker that aborted the transaction, however far back that began. Entries rise
//! by their markers. What was aborted since the file was last written stands in RAM, where readers find it, so a disk
//! that refuses the file costs no reader anything: only checkpoints stay behind, and recovery makes the entries again.
//! The file is made with the first entry; most segments never have one. Kafka's bytes have no checksum, so the manifest
//! keeps a sum of them ([`AbortedSum`]), by which a start sees whether a file is what it was.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::pread::{Wait, read_full};

/// A transaction that was aborted: one entry of a `.txnindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first record's offset.
    pub first_offset: i64,
    /// Its marker's offset.
    pub last_offset: i64,
    /// The last stable offset behind the marker: no transaction that is aborted later begins below it.
    pub last_stable_offset: i64,
}

/// Bytes of an entry (Kafka's `AbortedTxn`, version 0).
pub const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;
/// Entries that a lookup reads at once.
const CHUNK_ENTRIES: u64 = 128;

impl AbortedTransaction {
    /// The entry's bytes.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[..2].copy_from_slice(&VERSION.to_be_bytes());
        out[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        out[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        out[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        out[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        out
    }

    /// Reads an entry; `None` if no transaction can have been like that.
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk::<2>()?;
        let (fields, _) = rest.as_chunks::<8>();
        let &[producer_id, first_offset, last_offset, last_stable_offset] = fields.first_chunk::<4>()?;
        let entry = Self {
            producer_id: i64::from_be_bytes(producer_id),
            first_offset: i64::from_be_bytes(first_offset),
            last_offset: i64::from_be_bytes(last_offset),
            last_stable_offset: i64::from_be_bytes(last_stable_offset),
        };
        let is_sound = i16::from_be_bytes(*version) == VERSION
            && entry.producer_id >= 0
            && (0..=entry.last_offset).contains(&entry.first_offset)
            && (0..=entry.last_offset.saturating_add(1)).contains(&entry.last_stable_offset);
        is_sound.then_some(entry)
    }
}

/// What a checkpoint says of a segment's entries, so that a file that has lost some, or has others, is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AbortedSum {
    /// How many there are.
    pub entries: u64,
    /// CRC-32C of their bytes.
    pub crc: u32,
}

impl AbortedSum {
    /// Of whole entries.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { entries: (bytes.len() / ENTRY_BYTES) as u64, crc: crc32c::crc32c(bytes) }
    }

    fn add(&mut self, entry: &AbortedTransaction) {
        self.entries += 1;
        self.crc = crc32c::crc32c_append(self.crc, &entry.encode());
    }
}

/// The entries of a file, as far as they are sound and rise; and whether that is all of it.
pub(super) fn decode_all(bytes: &[u8]) -> (Vec<AbortedTransaction>, bool) {
    let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    let mut entries: Vec<AbortedTransaction> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match AbortedTransaction::decode(chunk) {
            Some(entry) if entries.last().is_none_or(|last| last.last_offset < entry.last_offset) => {
                entries.push(entry);
            }
            _ => return (entries, false),
        }
    }
    (entries, rest.is_empty())
}

/// The bytes of these entries.
pub(super) fn encode_all(entries: &[AbortedTransaction]) -> Vec<u8> {
    entries.iter().flat_map(AbortedTransaction::encode).collect()
}

/// The aborted transactions of one segment.
#[derive(Debug)]
pub(super) struct TxnIndex {
    tail: Mutex<Tail>,
    /// Whether there are any, for those who only want to know that.
    some: AtomicU8,
}

/// Values of [`TxnIndex::some`].
const UNKNOWN: u8 = 0;
const NONE: u8 = 1;
const SOME: u8 = 2;

#[derive(Debug, Default)]
struct Tail {
    /// Entries in the file; `None` before anybody has looked.
    written: Option<u64>,
    /// Entries that are not in the file yet.
    pending: Vec<AbortedTransaction>,
    /// Of all entries, written or not; `None` before anybody has read those that were found.
    sum: Option<AbortedSum>,
    sync: Synced,
}

/// Whether the file is on disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Synced {
    #[default]
    Yes,
    /// A checkpoint that is under way syncs it.
    Noted,
    No,
}

impl TxnIndex {
    /// Of a segment that was found: whether it has a file will be seen.
    pub(super) fn found() -> Self {
        Self { tail: Mutex::default(), some: AtomicU8::new(UNKNOWN) }
    }

    /// Of a segment whose file has these entries.
    pub(super) fn knows(&self, sum: AbortedSum) {
        let mut tail = self.tail.lock();
        tail.written = Some(sum.entries);
        tail.sum = Some(sum);
        self.set_some(&tail);
    }

    /// Of a segment whose file was cut to these entries, which is yet to be synced.
    pub(super) fn was_cut(&self, sum: AbortedSum) {
        self.knows(sum);
        self.tail.lock().sync = Synced::No;
    }

    /// Of a segment whose file is gone and whose entries were made again, to be written with [`TxnIndex::flush`].
    pub(super) fn was_remade(&self, entries: Vec<AbortedTransaction>) {
        let mut tail = self.tail.lock();
        tail.written = Some(0);
        tail.sum = Some(AbortedSum::of(&encode_all(&entries)));
        tail.pending = entries;
        tail.sync = Synced::No;
        self.set_some(&tail);
    }

    /// What a checkpoint may say of the entries; `None` if there are none, or nobody has read them.
    pub(super) fn sum(&self) -> Option<AbortedSum> {
        self.tail.lock().sum.filter(|sum| sum.entries > 0)
    }

    fn set_some(&self, tail: &Tail) {
        let has_any = !tail.pending.is_empty() || tail.written.is_some_and(|written| written > 0);
        let some = match (has_any, tail.written) {
            (true, _) => SOME,
            (false, Some(_)) => NONE,
            (false, None) => UNKNOWN,
        };
        self.some.store(some, Ordering::Release);
    }

    /// Whether there is nothing to be looked for.
    pub(super) fn is_known_empty(&self) -> bool {
        self.some.load(Ordering::Acquire) == NONE
    }

    /// Takes an entry; its marker is behind those of all before. To be written with [`TxnIndex::flush`].
    pub(super) fn push(&self, entry: AbortedTransaction) {
        let mut tail = self.tail.lock();
        if let Some(sum) = &mut tail.sum {
            sum.add(&entry);
        }
        tail.pending.push(entry);
        self.some.store(SOME, Ordering::Release);
    }

    /// Writes what the file at `path` lacks. One caller at a time.
    pub(super) fn flush(&self, path: &Path) -> io::Result<()> {
        if self.tail.lock().pending.is_empty() {
            return Ok(());
        }
        let written = self.written(path, Wait::MayBlock)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let at = written * ENTRY_BYTES as u64;
        let is_unread = self.tail.lock().sum.is_none();
        if is_unread {
            let mut found = vec![0; usize::try_from(at).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut found, 0)?;
            let mut tail = self.tail.lock();
            let mut sum = AbortedSum::of(&found);
            tail.pending.iter().for_each(|entry| sum.add(entry));
            tail.sum = Some(sum);
        }
        let bytes = encode_all(&self.tail.lock().pending);
        file.write_all_at(&bytes, at)?;
        let count = bytes.len() / ENTRY_BYTES;
        // What stood behind the last whole entry was cut short by a crash.
        if file.metadata()?.len() > at + bytes.len() as u64 {
            file.set_len(at + bytes.len() as u64)?;
        }
        let mut tail = self.tail.lock();
        tail.pending.drain(..count);
        tail.written = Some(written + count as u64);
        tail.sync = Synced::No;
        Ok(())
    }

    /// Whether a checkpoint has to sync the file; it is taken to do so.
    pub(super) fn note_unsynced(&self) -> bool {
        let mut tail = self.tail.lock();
        let is_unsynced = tail.sync != Synced::Yes;
        if is_unsynced {
            tail.sync = Synced::Noted;
        }
        is_unsynced
    }

    /// What was noted is on disk.
    pub(super) fn noted_synced(&self) {
        let mut tail = self.tail.lock();
        if tail.sync == Synced::Noted {
            tail.sync = Synced::Yes;
        }
    }

    /// Entries in the file.
    fn written(&self, path: &Path, wait: Wait) -> io::Result<u64> {
        if let Some(written) = self.tail.lock().written {
            return Ok(written);
        }
        if wait == Wait::Never {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = match std::fs::metadata(path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let mut tail = self.tail.lock();
        let written = *tail.written.get_or_insert(len / ENTRY_BYTES as u64);
        self.set_some(&tail);
        Ok(written)
    }

    /// Whether a lookup has to look into the file, which is at `path`.
    pub(super) fn needs_file(&self, path: &Path, wait: Wait) -> io::Result<bool> {
        self.written(path, wait).map(|written| written > 0)
    }

    /// Adds the transactions to `out` that have something in `from..upper`, in the order of their markers. Whether none
    /// that was aborted later can have anything there. `open` gives the file, which is asked for if it has entries:
    /// [`TxnIndex::needs_file`] is to be asked before.
    pub(super) fn overlapping<'f>(
        &self,
        (from, upper): (i64, i64),
        wait: Wait,
        open: impl FnOnce() -> io::Result<Option<&'f File>>,
        out: &mut Vec<AbortedTransaction>,
    ) -> io::Result<bool> {
        // Taken together: what is written meanwhile is in one of the two.
        let (written, pending) = {
            let tail = self.tail.lock();
            (tail.written.unwrap_or(0), tail.pending.clone())
        };
        let mut search = Search { from, upper, out };
        if written > 0 {
            let file = open()?.ok_or(io::ErrorKind::NotFound)?;
            if search.file(file, written, wait)? {
                return Ok(true);
            }
        }
        Ok(pending.iter().any(|entry| search.take(*entry)))
    }
}

struct Search<'a> {
    from: i64,
    upper: i64,
    out: &'a mut Vec<AbortedTransaction>,
}

impl Search<'_> {
    /// Takes an entry if it belongs to the answer. Whether the search is over.
    fn take(&mut self, entry: AbortedTransaction) -> bool {
        if entry.last_offset >= self.from && entry.first_offset < self.upper {
            self.out.push(entry);
        }
        entry.last_stable_offset >= self.upper
    }

    fn file(&mut self, file: &File, entries: u64, wait: Wait) -> io::Result<bool> {
        // Those that ended before `from` are passed over.
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = read_entries(file, middle, 1, wait)?;
            match entry.first() {
                Some(entry) if entry.last_offset < self.from => low = middle + 1,
                _ => high = middle,
            }
        }
        while low < entries {
            let count = (entries - low).min(CHUNK_ENTRIES);
            for entry in read_entries(file, low, count, wait)? {
                if self.take(entry) {
                    return Ok(true);
                }
            }
            low += count;
        }
        Ok(false)
    }
}

fn read_entries(file: &File, from: u64, count: u64, wait: Wait) -> io::Result<Vec<AbortedTransaction>> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * ENTRY_BYTES];
    read_full(file, from * ENTRY_BYTES as u64, &mut bytes, wait)?;
    let (entries, is_sound) = decode_all(&bytes);
    if !is_sound {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry of the .txnindex is damaged"));
    }
    Ok(entries)
}

/// Whether the file at `path` has these entries in front; what stands behind them is nobody's.
pub(super) fn has(path: &Path, sum: AbortedSum) -> bool {
    let len = usize::try_from(sum.entries).ok().and_then(|entries| entries.checked_mul(ENTRY_BYTES));
    let bytes = std::fs::read(path).ok();
    let front = bytes.as_deref().zip(len).and_then(|(bytes, len)| bytes.get(..len));
    front.is_some_and(|front| AbortedSum::of(front) == sum)
}

/// Cuts the file at `path` to the entries whose markers lie below `offset`, after a crash. What is left.
pub(super) fn cut(path: &Path, offset: i64) -> io::Result<AbortedSum> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AbortedSum::default()),
        Err(error) => return Err(error),
    };
    let (entries, _) = decode_all(&bytes);
    let left = entries.partition_point(|entry| entry.last_offset < offset);
    if left == 0 {
        std::fs::remove_file(path)?;
    } else if left * ENTRY_BYTES < bytes.len() {
        OpenOptions::new().write(true).open(path)?.set_len((left * ENTRY_BYTES) as u64)?;
    }
    Ok(AbortedSum::of(bytes.get(..left * ENTRY_BYTES).unwrap_or_default()))
}

#[cfg(test)]
#[path = "txn_index_tests.rs"]
mod tests;
