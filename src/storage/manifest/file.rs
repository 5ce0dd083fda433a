//! The manifest's file: opened, appended to, written anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use super::codec::{Encoder, HEADER_LEN, Header, Record, VERSION};
use super::load::{Loaded, Rows, load, snapshot};
use super::{Checkpoint, PartitionRow, Verdict};
use crate::storage::checkpoint::temp_path;
use crate::storage::layout::{DirKind, MANIFEST, MANIFEST_DAMAGED, parse_dir, read_partition_metadata};
use crate::storage::room::is_no_space;
use crate::types::TopicPartition;

/// A manifest that can be appended to.
#[derive(Debug)]
pub(super) struct ManifestFile {
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// Up to where the file is known to be on disk.
    synced: u64,
    /// Up to where space is reserved.
    reserved: u64,
    /// Past this, the file should be written anew.
    rewrite_at: u64,
}

/// Why the manifest could not be written.
#[derive(Debug)]
pub(super) enum WriteFault {
    /// No space, or no descriptor: the file stands as it stood, and it may work later.
    Later(io::Error),
    /// A sync failed, or a write for another reason than space.
    Final(io::Error),
}

impl WriteFault {
    fn of_write(error: io::Error) -> Self {
        if is_no_space(&error) { Self::Later(error) } else { Self::Final(error) }
    }
}

/// Opens the directory's manifest, or writes a new one from what can be had of the old.
pub(super) fn open(dir: &Path) -> io::Result<(Option<ManifestFile>, Loaded)> {
    let path = dir.join(MANIFEST);
    let mut found = match read(&path) {
        Ok(Some(bytes)) => {
            refuse_newer(&path, &bytes)?;
            load(&bytes)
        }
        Ok(None) => Loaded::empty(Verdict::Missing),
        Err(error) => Loaded::empty(Verdict::Damaged(format!("it cannot be read: {error}"))),
    };
    // What a crash left of a rewrite only takes space. Usually there is nothing.
    let _ = fs::remove_file(temp_path(&path));
    match &found.verdict {
        Verdict::Clean | Verdict::Unclean => {
            let file = ManifestFile::reopen(&path, &found)?;
            return Ok((Some(file), found));
        }
        Verdict::Damaged(_) => set_aside(dir),
        Verdict::Missing => {}
    }
    add_found(dir, &mut found.rows)?;
    match write_new(dir, &found.rows) {
        Ok(file) => Ok((Some(file), found)),
        Err(WriteFault::Later(error)) => {
            // The writer tries again with every row; until then a start is refused by `started`, not here.
            tracing::warn!(%error, "cannot write a manifest yet");
            Ok((None, found))
        }
        Err(WriteFault::Final(error)) => Err(error),
    }
}

/// What a manifest says, without opening it for writing.
pub(super) fn peek(path: &Path) -> io::Result<Loaded> {
    let bytes = read(path)?.ok_or(io::ErrorKind::NotFound)?;
    refuse_newer(path, &bytes)?;
    Ok(load(&bytes))
}

/// A later release's manifest is no damaged one: nothing is touched.
fn refuse_newer(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(format) = Header::newer_format(bytes) else { return Ok(()) };
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "{} was written by a later streamd (format {format}; this one knows up to {VERSION}). Nothing was changed: \
             start that release, or a later one",
            path.display()
        ),
    ))
}

/// Gives the partitions in the data directory that have no row one that vouches for nothing. It stays until their next
/// checkpoint, and tells them from partitions that never had a row: nobody knows what the lost one vouched for.
fn add_found(dir: &Path, rows: &mut Rows) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some(found) = name.to_str().and_then(parse_dir).filter(|found| found.kind == DirKind::Live)
        else {
            continue;
        };
        // Whose directory it is, its row cannot tell either: without an owner it is a stray (2.2).
        let Ok(Some(topic)) = read_partition_metadata(&dir.join(&name)) else { continue };
        let id = TopicPartition { topic, partition: found.partition };
        rows.entry(id).or_insert_with(|| {
            Arc::new(PartitionRow {
                id,
                topic: found.topic.into(),
                log_start: 0,
                checkpoint: Checkpoint::NONE,
                segments: Vec::new(),
                producers: false,
            })
        });
    }
    Ok(())
}

/// Keeps a damaged manifest for whoever wants to look at it, under a second name: the first is replaced at once.
fn set_aside(dir: &Path) {
    let aside = dir.join(MANIFEST_DAMAGED);
    let linked = match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::hard_link(dir.join(MANIFEST), &aside),
    };
    if let Err(error) = linked {
        tracing::warn!(%error, "cannot keep the damaged manifest");
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // After a failed write-back the cache shows what the disk never got. Dropping it costs one read; that it may not be
    // possible changes nothing.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let len = file.metadata()?.len();
    if len > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {len} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl ManifestFile {
    fn reopen(path: &Path, found: &Loaded) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if found.torn_bytes > 0 {
            file.set_len(found.end)?;
        }
        // What a process that was killed wrote may not be on disk yet; the snapshot is.
        let synced = found.snapshot_end;
        let mut this = Self { file, end: found.end, synced, reserved: found.end, rewrite_at: 0 };
        if let Err(error) = this.reserve(found.snapshot_end) {
            tracing::warn!(%error, "cannot reserve space for the manifest");
        }
        Ok(this)
    }

    /// Reserves space in proportion to the snapshot: enough for each row to be put twice once the file is due to be
    /// written anew but cannot be, because the disk is full.
    fn reserve(&mut self, snapshot_bytes: u64) -> io::Result<()> {
        let capacity = (4 * snapshot_bytes).max(CAPACITY_BYTES_MIN);
        self.rewrite_at = capacity / 2;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, capacity) {
            Ok(()) => self.reserved = capacity,
            // A file system that cannot promise space: it will say so at the write.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A manifest on a device that is always full.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        Self { file, end: 0, synced: 0, reserved: 0, rewrite_at: u64::MAX }
    }

    /// Whether the file has outgrown its snapshot.
    pub(super) fn is_outgrown(&self) -> bool {
        self.end > self.rewrite_at
    }

    /// Puts off writing anew until the file has grown some more.
    pub(super) fn postpone(&mut self) {
        self.rewrite_at = self.end + (self.reserved.saturating_sub(self.end) / 8).max(POSTPONE_BYTES_MIN);
    }

    /// Appends records. They are on disk after [`ManifestFile::sync`].
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), WriteFault> {
        let mut encoder = Encoder::new(self.synced);
        for record in records {
            encoder.push(record);
        }
        let bytes = encoder.finish();
        // On failure the end stays: the next write goes over what was written of this one.
        self.file.write_all_at(&bytes, self.end).map_err(WriteFault::of_write)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), WriteFault> {
        self.file.sync_data().map_err(WriteFault::Final)?;
        self.synced = self.end;
        Ok(())
    }
}

/// Writes a manifest of these rows in place of the old one, durably.
pub(super) fn write_new(dir: &Path, rows: &Rows) -> Result<ManifestFile, WriteFault> {
    let path = dir.join(MANIFEST);
    let temp = temp_path(&path);
    // Opened before anything is changed: without a descriptor for it the old file has to do.
    let dir = File::open(dir).map_err(WriteFault::Later)?;
    let written = write_temp(&temp, rows);
    if written.is_err() {
        // It may hold space that somebody needs; that it cannot be removed makes nothing worse.
        let _ = fs::remove_file(&temp);
    }
    let new = written?;
    fs::rename(&temp, &path).map_err(WriteFault::of_write)?;
    dir.sync_all().map_err(WriteFault::Final)?;
    Ok(new)
}

fn write_temp(temp: &Path, rows: &Rows) -> Result<ManifestFile, WriteFault> {
    let mut sorted: Vec<&Arc<PartitionRow>> = rows.values().collect();
    sorted.sort_unstable_by_key(|row| row.id);
    let bytes = snapshot(sorted.into_iter());
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(temp);
    let file = file.map_err(WriteFault::Later)?;
    let end = bytes.len() as u64;
    let mut new = ManifestFile { file, end, synced: end, reserved: end, rewrite_at: 0 };
    new.reserve(end).map_err(WriteFault::of_write)?;
    new.file.write_all_at(&bytes, 0).map_err(WriteFault::of_write)?;
    // No space at the sync is no failure yet: the old file is untouched, and this one is not in use.
    new.file.sync_all().map_err(WriteFault::of_write)?;
    Ok(new)
}

impl Loaded {
    fn empty(verdict: Verdict) -> Self {
        let begin = HEADER_LEN as u64;
        Self { rows: Rows::new(), verdict, end: begin, torn_bytes: 0, snapshot_end: begin }
    }
}

/// The least space that is reserved.
const CAPACITY_BYTES_MIN: u64 = 2 << 20;
const POSTPONE_BYTES_MIN: u64 = 64 << 10;
/// A manifest of a million partitions takes a tenth of this; a longer file is not read.
const FILE_BYTES_MAX: u64 = 1 << 30;
