//! Opening a log: after a clean stop by its manifest row, otherwise by the rules of architecture 2.2.
//!
//! The long way: list the directory and put it right, see whose it is, take what the row vouches for as it stands, load
//! producers and epochs, drop cached pages that may lie, cut the indexes to the checkpoint, read forward and validate,
//! cut the log where the first byte is wrong, and sync before anything of it is shown. It runs before any reader or map
//! of the log exists, and is the one place that shortens a file below what it held.

mod aborted;
mod forward;
mod listing;
mod producers;
mod trusted;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{read_epochs, replace};
use super::epochs::{Epochs, Sieve};
use super::health::DirHealth;
use super::index::{IndexTail, offset_entries};
use super::layout::{
    FileKind, LEADER_EPOCHS, PARTITION_METADATA, encode_partition_metadata, read_partition_metadata,
};
use super::log::{Damage, OpenError, OpenSpec, RecoveryReport, Replay, Replayed};
use super::manifest::{Checkpoint, PartitionRow};
use super::mend::{front_of, put as put_patches};
use super::pread::Wait;
use super::quarantine::{self, Bad, Quarantine, Span, locate};
use super::room::is_no_space;
use super::segment::{Facts, Segment};
use super::segment_file::SegmentFile;
use super::text_file::TextFault;
use super::txn_index::AbortedTransaction;
use super::walk::{Step, Walk, WalkFault};
use crate::types::time::NO_TIMESTAMP;
use listing::Listing;

/// What opening a log's files came to.
#[derive(Debug)]
pub(super) struct Recovered {
    /// By rising base.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) start: i64,
    /// The next offset; past the last segment's batches if more was known to be durable than was found.
    pub(super) end: i64,
    /// Whether the last segment ends at `end`, so that it can go on growing.
    pub(super) last_is_active: bool,
    /// Up to where the files are known to be on disk.
    pub(super) durable: i64,
    pub(super) epochs: Epochs,
    pub(super) epochs_unwritten: bool,
    /// The row that was believed.
    pub(super) row: Option<Arc<PartitionRow>>,
    /// Whether the row speaks of no file because the manifest was lost.
    pub(super) manifest_lost: bool,
    /// Offsets of the `.producers` files.
    pub(super) producers: Vec<i64>,
    /// Segments that were read, if some batch of theirs bears an epoch that cannot be its own.
    pub(super) misfits: Vec<Arc<Segment>>,
    /// Segments that were read and not synced.
    pub(super) unsynced: Vec<Arc<Segment>>,
    pub(super) dirs_unsynced: bool,
    pub(super) next_serial: u32,
    pub(super) report: RecoveryReport,
}

/// Opens the files of a log.
pub(super) fn recover(
    spec: &OpenSpec,
    replay: &mut dyn FnMut(Replay<'_>) -> Replayed,
) -> Result<Recovered, OpenError> {
    let began = spec.clock.monotonic();
    let mut recovery = Recovery::new(spec);
    if spec.row.is_some() || spec.dir.is_dir() {
        recovery.known_damage = quarantine::load(&spec.dir);
        recovery.written_damage = recovery.known_damage.clone();
        if spec.clean && recovery.take_row()? {
            recovery.report.clean = true;
            recovery.check_aborted(replay).map_err(|error| recovery.fault(error))?;
            recovery.load_producers(replay)?;
        } else {
            recovery.long_way(replay)?;
        }
    } else {
        recovery.end = spec.log_start.max(0);
    }
    let mut recovered = recovery.finish()?;
    recovered.report.took = spec.clock.monotonic().saturating_sub(began);
    Ok(recovered)
}

/// Recovery under way.
struct Recovery<'a> {
    spec: &'a OpenSpec,
    /// The manifest's row, if it speaks of files.
    row: Option<Arc<PartitionRow>>,
    /// Whether the manifest was lost: its row speaks of no segment, and what it once vouched for is not known. A
    /// partition without any row was never checkpointed, so nothing of it was ever compacted or known to be durable.
    manifest_lost: bool,
    listing: Listing,
    /// Damaged stretches that were written down, by segment.
    known_damage: Quarantine,
    /// As it stands in the file.
    written_damage: Quarantine,
    report: RecoveryReport,
    segments: Vec<Arc<Segment>>,
    serial: u32,
    checkpoint: Checkpoint,
    /// The next offset as far as it is known.
    end: i64,
    last_is_active: bool,
    epochs: Epochs,
    /// What the batches that are read say of them.
    sieve: Sieve,
    /// As they stand in the file.
    epochs_on_disk: Epochs,
    /// Where their file says that the log begins, if the batches below bear that out and the manifest is lost.
    proven_start: i64,
    /// Lists of aborted transactions that were made again for a segment that is yet to be read forward, by its base.
    remade_aborted: BTreeMap<i64, Vec<AbortedTransaction>>,
    /// From here on batches are replayed to the producers.
    replay_from: i64,
    /// Segments that were scanned, to be synced.
    scanned: Vec<Arc<Segment>>,
    buffer: Vec<u8>,
}

impl<'a> Recovery<'a> {
    fn new(spec: &'a OpenSpec) -> Self {
        let row = spec.row.clone().filter(|row| !row.segments.is_empty());
        Self {
            spec,
            checkpoint: row.as_ref().map_or(Checkpoint::NONE, |row| row.checkpoint),
            manifest_lost: spec.row.is_some() && row.is_none(),
            row,
            listing: Listing::default(),
            known_damage: Quarantine::new(),
            written_damage: Quarantine::new(),
            report: RecoveryReport::default(),
            segments: Vec::new(),
            serial: 0,
            end: 0,
            last_is_active: false,
            epochs: Epochs::default(),
            sieve: Sieve::default(),
            epochs_on_disk: Epochs::default(),
            proven_start: 0,
            remade_aborted: BTreeMap::new(),
            replay_from: 0,
            scanned: Vec::new(),
            buffer: Vec::new(),
        }
    }

    fn dir(&self) -> &'a Path {
        &self.spec.dir
    }

    fn long_way(&mut self, replay: &mut dyn FnMut(Replay<'_>) -> Replayed) -> Result<(), OpenError> {
        self.listing = match Listing::read(self.dir()) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.spec.row.is_some() => {
                return Err(OpenError::FilesGone { dir: self.dir().to_path_buf() });
            }
            Err(error) => return Err(self.fault(error)),
        };
        let swapped = std::mem::take(&mut self.listing.swapped);
        self.known_damage.retain(|base, _| !swapped.contains(base));
        self.check_owner()?;
        if self.listing.logs.is_empty() {
            if self.row.is_some() {
                return Err(OpenError::FilesGone { dir: self.dir().to_path_buf() });
            }
            self.end = self.spec.log_start.max(0);
            return Ok(());
        }
        if self.row.is_none() {
            let first = self.listing.logs.keys().next().copied().unwrap_or(0);
            self.checkpoint = Checkpoint {
                offset: first,
                segment: first,
                position: 0,
                max_timestamp: Checkpoint::NONE.max_timestamp,
            };
        }
        self.take_below_checkpoint().map_err(|error| self.fault(error))?;
        self.load_epochs().map_err(|error| self.fault(error))?;
        self.check_aborted(replay).map_err(|error| self.fault(error))?;
        self.load_producers(replay)?;
        self.read_forward(replay).map_err(|error| self.fault(error))
    }

    /// Whose directory it is: its `partition.metadata` says, else the manifest's row does.
    fn check_owner(&mut self) -> Result<(), OpenError> {
        let wanted = self.spec.id.topic;
        let found = match read_partition_metadata(self.dir()) {
            Ok(Some(id)) if id == wanted => return Ok(()),
            Ok(found) => found,
            Err(TextFault::Newer { path }) => return Err(OpenError::Newer { path }),
            Err(TextFault::Io { path, error }) => return Err(OpenError::Io { path, error }),
            Err(fault @ TextFault::Malformed { .. }) => {
                tracing::warn!(%fault, "cannot tell from the directory whose it is");
                None
            }
        };
        // Nothing was ever appended to an empty directory, so it may be anybody's.
        let is_ours = found.is_none()
            && (self.spec.row.is_some() || self.listing.logs.values().all(|log| log.len == 0));
        if !is_ours {
            return Err(OpenError::Stray { dir: self.dir().to_path_buf(), found, wanted });
        }
        // On disk before anything is appended: records beside an empty file of this name would be a stranger's.
        let text = encode_partition_metadata(wanted);
        match replace(&self.dir().join(PARTITION_METADATA), text.as_bytes()) {
            // The row goes on saying whose it is, and the next start tries again.
            Err(error) if self.spec.row.is_some() && is_no_space(&error) => {
                tracing::warn!(%error, "cannot write down whose directory it is");
            }
            written => written.map_err(|error| self.fault(error))?,
        }
        self.listing.changed = true;
        Ok(())
    }

    /// The epochs below the checkpoint: from their file, or from the batches if the file is not to be had.
    fn load_epochs(&mut self) -> io::Result<()> {
        self.epochs_on_disk = match read_epochs(&self.dir().join(LEADER_EPOCHS)) {
            Ok(epochs) => Epochs::new(epochs.unwrap_or_default()),
            Err(fault) => {
                tracing::warn!(%fault, "finding the leader epochs by reading the log");
                Epochs::default()
            }
        };
        self.epochs = self.epochs_on_disk.clone();
        self.epochs.truncate_end(self.checkpoint.offset);
        if self.epochs.is_empty() {
            let (mut found, mut sieve) = (Epochs::default(), Sieve::default());
            self.walk_below_checkpoint(i64::MIN, &mut |_, step| {
                sieve.note(&mut found, step.header.partition_leader_epoch, step.header.base_offset);
            })?;
            sieve.end(&mut found, self.spec.leader_epoch);
            self.epochs = found;
        }
        Ok(())
    }

    /// Walks over the batches that the checkpoint vouches for, in segments that reach past `from`. What breaks the walk
    /// is damage, and the walk goes on behind it.
    fn walk_below_checkpoint(
        &mut self,
        from: i64,
        each: &mut dyn FnMut(&SegmentFile, &Step),
    ) -> io::Result<()> {
        let mut segments: Vec<(Arc<Segment>, u64)> =
            self.segments.iter().map(|segment| (segment.clone(), segment.len())).collect();
        if !self.report.clean && self.checkpoint.position > 0 {
            // The checkpoint's own segment comes to the list when it is read forward.
            let serial = self.next_serial();
            let base = self.checkpoint.segment;
            let len = self.listing.logs.get(&base).map_or(0, |log| log.len);
            let facts = Facts::new(IndexTail::unloaded(), NO_TIMESTAMP);
            let segment = Segment::new(base, serial, self.spec.dir.clone(), len, facts);
            self.add_known_damage(&segment);
            segments.push((segment, self.checkpoint.position.min(len)));
        }
        let ends: Vec<i64> = segments
            .iter()
            .map(|(segment, _)| segment.base())
            .skip(1)
            .chain([self.checkpoint.offset])
            .collect();
        for ((segment, size), next) in segments.into_iter().zip(ends) {
            if next > from && size > 0 && !segment.bad().is_some_and(|bad| bad.is_all()) {
                self.walk_segment((&segment, size, next), from, each)?;
            }
        }
        Ok(())
    }

    fn walk_segment(
        &mut self,
        (segment, size, next): (&Arc<Segment>, u64, i64),
        from: i64,
        each: &mut dyn FnMut(&SegmentFile, &Step),
    ) -> io::Result<()> {
        let file = segment.open(&self.spec.files, Wait::MayBlock)?;
        let relative = segment.relative(from);
        let near =
            segment.floor(&file, &self.spec.files, Wait::MayBlock, |entry| entry.relative <= relative)?;
        let mut at = near.map_or(0, |entry| u64::from(entry.position));
        while let Some(part) = segment.sound_parts(size).into_iter().find(|part| at < part.end) {
            let mut walk = Walk::new(file.log(), at.max(part.start), part.end, Wait::MayBlock);
            let broken = loop {
                match walk.next() {
                    Ok(Some(step)) => each(&file, &step),
                    Ok(None) => break None,
                    Err(WalkFault::Io(error)) => return Err(error),
                    Err(WalkFault::Bad(position, why)) => break Some((position, why)),
                }
            };
            at = match broken {
                // An index that leads nowhere shows as a walk that breaks at once: then from the front.
                Some((position, _)) if position == at && at > part.start => part.start,
                Some((position, why)) => {
                    if self.quarantine(segment, file.log(), (size, next), position, why)? {
                        // Put right, and what is before it was shown.
                        at = position;
                        continue;
                    }
                    segment.all_bad().iter().find(|bad| bad.to > position).map_or(size, |bad| bad.to)
                }
                None => part.end,
            };
        }
        Ok(())
    }

    fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// Gives a segment the damage that was written down for it.
    fn add_known_damage(&self, segment: &Segment) {
        self.known_damage.get(&segment.base()).into_iter().flatten().for_each(|bad| segment.add_bad(*bad));
    }

    /// Finds out how far damage goes that was met at `met`, and never serves it; or puts it right if it can be, and
    /// answers that it did. `end` is where the segment has to end, and the offset behind it.
    fn quarantine(
        &mut self,
        segment: &Segment,
        file: &File,
        end: (u64, i64),
        met: u64,
        why: &'static str,
    ) -> io::Result<bool> {
        let entries = match File::open(segment.path(FileKind::Index)) {
            Ok(file) => offset_entries(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let bads = segment.all_bad();
        let before = bads.iter().rfind(|bad| bad.to <= met);
        let from = before.map_or_else(|| (0, segment.base()), |bad| (bad.to, bad.next));
        let span = Span { base: segment.base(), from, to: end };
        let found = locate(file, &entries, span, met, why)?;
        if let Some(bad) = found
            && self.mend(segment, file, &bad)
        {
            return Ok(true);
        }
        let rest = Bad { from: met, to: end.0, first: end.1, next: end.1, why };
        self.damage(segment, found.unwrap_or(rest));
        Ok(false)
    }

    /// Puts the front of a damaged batch right, if only that is wrong and it is known what it was.
    fn mend(&self, segment: &Segment, file: &File, bad: &Bad) -> bool {
        let path = segment.path(FileKind::Log);
        // The history is not complete yet: an epoch is righted when all is known.
        let patched = match front_of(file, bad, None) {
            Ok(Some(patch)) => put_patches(&path, &[patch]),
            _ => return false,
        };
        match patched {
            Ok(()) => tracing::warn!(
                topic = %self.spec.topic, partition = self.spec.id.partition, first_offset = bad.first,
                next_offset = bad.next, file = %path.display(), position = bad.from,
                "the front of a batch, outside its checksum, was not what was written ({}). It was put right, and no \
                 record is lost",
                bad.why
            ),
            Err(ref error) => {
                tracing::warn!(file = %path.display(), %error, "cannot put right what a batch says of itself");
            }
        }
        patched.is_ok()
    }

    fn damage(&mut self, segment: &Segment, bad: Bad) {
        segment.add_bad(bad);
        // Found again below when the walk was over a segment that is not in the list yet.
        quarantine::add(self.known_damage.entry(segment.base()).or_default(), bad);
    }

    /// Reports what is damaged, and writes it down if that is news.
    fn report_damage(&mut self, end: i64, written: &Quarantine) {
        let mut all = Quarantine::new();
        for segment in &self.segments {
            let bads: Vec<Bad> = segment.all_bad().into_iter().filter(|bad| bad.next <= end).collect();
            let is_known = |bad: &Bad| {
                let known = written.get(&segment.base()).into_iter().flatten();
                known.clone().any(|known| (known.from, known.to) == (bad.from, bad.to))
            };
            let news = bads.iter().filter(|bad| !is_known(bad));
            self.report.new_damage.extend(news.map(|bad| Damage::of(segment, bad)));
            self.report.damage.extend(bads.iter().map(|bad| Damage::of(segment, bad)));
            if !bads.is_empty() {
                all.insert(segment.base(), bads);
            }
        }
        let places = |all: &Quarantine| -> Vec<_> {
            all.iter()
                .flat_map(|(base, bads)| bads.iter().map(move |bad| (*base, bad.from, bad.to)))
                .collect()
        };
        if places(&all) != places(written)
            && let Err(error) = quarantine::save(self.dir(), &all)
        {
            tracing::warn!(dir = %self.dir().display(), %error, "cannot write down what is damaged: the next start finds it again");
        }
    }

    fn fault(&self, error: io::Error) -> OpenError {
        OpenError::Io { path: self.dir().to_path_buf(), error }
    }

    /// Syncs what was kept, so that what a reader is shown now cannot vanish later.
    fn sync(&mut self, health: &DirHealth) -> io::Result<()> {
        let is_unchanged = self.report.truncated_bytes == 0 && !self.listing.changed;
        if self.spec.settled && is_unchanged {
            return Ok(());
        }
        for segment in &self.scanned {
            let file = segment.open(&self.spec.files, Wait::MayBlock)?;
            if let Err(error) = file.log().sync_all() {
                return Err(io::Error::new(error.kind(), health.fail(error)));
            }
        }
        if self.listing.changed {
            File::open(self.dir())?.sync_all()?;
            if let Some(parent) = self.dir().parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(())
    }

    /// The first readable offset, as far as something vouches for it.
    fn log_start(&self) -> i64 {
        self.spec.row.as_ref().map_or(0, |row| row.log_start).max(self.spec.log_start).max(self.proven_start)
    }

    /// Below here offsets were given, whatever the files still hold.
    fn known_end(&self) -> i64 {
        let checkpoint = if self.row.is_some() { self.checkpoint.offset } else { 0 };
        checkpoint.max(self.log_start())
    }

    fn finish(mut self) -> Result<Recovered, OpenError> {
        let first = self.segments.first().map_or(0, |segment| segment.base());
        let start = self.log_start().max(first);
        let known = self.known_end();
        let end = self.end.max(known).max(start);
        let written = std::mem::take(&mut self.written_damage);
        self.report_damage(end, &written);
        self.last_is_active &= end == self.end;
        let mut durable =
            if self.report.clean || self.segments.is_empty() { end } else { known.clamp(first, end) };
        if self.spec.sync_on_open {
            self.sync(&self.spec.health).map_err(|error| self.fault(error))?;
            durable = end;
        }
        let synced = self.spec.sync_on_open;
        self.epochs.truncate_end(end);
        self.epochs.truncate_start(start);
        Ok(Recovered {
            epochs_unwritten: self.epochs != self.epochs_on_disk,
            epochs: self.epochs,
            segments: self.segments,
            row: self.row,
            manifest_lost: self.manifest_lost,
            start,
            end,
            last_is_active: self.last_is_active,
            durable,
            producers: self.listing.producers,
            misfits: if self.sieve.is_odd { self.scanned.clone() } else { Vec::new() },
            unsynced: if synced { Vec::new() } else { self.scanned },
            dirs_unsynced: self.listing.changed && !synced,
            next_serial: self.serial,
            report: self.report,
        })
    }
}

/// Puts a file out of the way, under a name that nobody takes for a segment.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let to = free_name(path, ".aside")?;
    fs::rename(path, &to)?;
    Ok(to)
}

/// Copies what a file holds from `from` on into a file beside it.
fn keep_end(path: &Path, from: u64) -> io::Result<PathBuf> {
    let to = free_name(path, &format!(".{from}.cut"))?;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut kept = File::create_new(&to)?;
    io::copy(&mut file, &mut kept)
        .and_then(|_| kept.sync_all())
        // Its name as well, before anything is cut.
        .and_then(|()| path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()))
        .inspect_err(|_| drop(fs::remove_file(&to)))?;
    Ok(to)
}

/// `path` with an ending, and with a number behind it if there is such a file already.
fn free_name(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    let mut to = PathBuf::from(&name);
    let mut n = 1;
    while to.try_exists()? {
        let mut numbered = name.clone();
        numbered.push(format!(".{n}"));
        to = numbered.into();
        n += 1;
    }
    Ok(to)
}

#[cfg(test)]
mod tests;
