//! Bringing one partition into our directory: its segments linked or copied, then opened by the recovery that opens a log
//! of which nothing is known, so that every byte is checked and every index made by the code that always does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::super::offline::Offline;
use super::source::link_or_copy;
use super::written::Written;
use crate::catalog::names::CONSUMER_OFFSETS;
use crate::config::TopicSettings;
use crate::partition::producers::{Change, Producers};
use crate::storage::checkpoint::replace;
use crate::storage::flush::SyncTarget as _;
use crate::storage::layout::{
    FileKind, FileState, IMPORTING, LEADER_EPOCHS, PARTITION_METADATA, encode_partition_metadata, parse_file,
    partition_dir, read_partition_metadata, segment_file_in, stray_dir,
};
use crate::storage::log::{Opened, Replay, Replayed};
use crate::storage::manifest::{Checkpoint, PartitionRow};
use crate::types::{TopicId, TopicPartition};

/// A partition to bring over.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) topic: Arc<str>,
    pub(super) id: TopicPartition,
    pub(super) settings: TopicSettings,
    /// Kafka's directory.
    pub(super) from: PathBuf,
    pub(super) written: Written,
}

/// What was brought over.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) bytes: u64,
    pub(super) copied_bytes: u64,
    pub(super) offsets: i64,
    /// The last leader epoch in the log, -1 for none.
    pub(super) last_epoch: i32,
}

/// Directories that were made, to be taken away again if the import does not come to its end.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<(PathBuf, TopicPartition)>);

impl Made {
    /// Makes a partition's directory, marked as one of an import that has not come to its end: whoever finds the mark
    /// later knows that nobody needs what is there.
    ///
    /// # Errors
    /// What the file system says, or something else is in the way.
    pub(super) fn dir(
        &mut self,
        offline: &Offline,
        topic: &Arc<str>,
        id: TopicPartition,
    ) -> anyhow::Result<PathBuf> {
        let dir = offline.dir.path().join(partition_dir(topic, id.partition));
        clear(offline, &dir, topic, id.partition)?;
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        self.0.push((dir.clone(), id));
        File::create_new(dir.join(IMPORTING))?.sync_all()?;
        Ok(dir)
    }

    /// Takes the marks away: from here on it is for the catalog to say whose the directories are.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn unmark(&self) -> std::io::Result<()> {
        for (dir, _) in &self.0 {
            fs::remove_file(dir.join(IMPORTING))?;
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Takes everything away again.
    pub(super) fn undo(&self, offline: &Offline) {
        for (dir, id) in &self.0 {
            offline.manifest.remove(*id);
            if let Err(error) = fs::remove_dir_all(dir) {
                tracing::warn!(dir = %dir.display(), %error, "cannot take away what an import began");
            }
        }
        // Rows of partitions that are not there do no harm, and the next start drops them.
        let _ = offline.manifest.sync();
    }
}

/// Brings a partition over; an empty one leaves no trace.
pub(super) fn place(
    offline: &Offline,
    wanted: &Wanted,
    may_link: bool,
    made: &mut Made,
) -> anyhow::Result<Placed> {
    let owner = read_partition_metadata(&wanted.from)?;
    if owner != Some(wanted.id.topic) {
        bail!("{} is not this topic's: its partition.metadata names another id", wanted.from.display());
    }
    let logs = logs_of(&wanted.from)?;
    let first = logs.first().map(|(base, _)| *base);
    first.map_or(Ok(()), |first| wanted.written.check_front(first))?;
    if logs.iter().all(|(base, path)| *base == 0 && fs::metadata(path).is_ok_and(|file| file.len() == 0)) {
        wanted.written.check_end(0)?;
        return Ok(Placed { last_epoch: -1, ..Placed::default() });
    }
    let name = partition_dir(&wanted.topic, wanted.id.partition);
    let dir = made.dir(offline, &wanted.topic, wanted.id)?;
    let mut placed = Placed::default();
    let last = logs.last().map(|(base, _)| *base);
    for (base, path) in &logs {
        refuse_old_format(path)?;
        // Kafka goes on writing to its last segment if it is started again, and so do we.
        let is_last = Some(*base) == last;
        let to = segment_file_in(&dir, *base, FileKind::Log);
        let copied = link_or_copy(path, &to, may_link && !is_last)
            .with_context(|| format!("cannot bring {} over", path.display()))?;
        let bytes = fs::metadata(&to)?.len();
        placed.bytes += bytes;
        placed.copied_bytes += if copied { bytes } else { 0 };
    }
    let epochs = wanted.from.join(LEADER_EPOCHS);
    if epochs.exists() {
        link_or_copy(&epochs, &dir.join(LEADER_EPOCHS), false)?;
    }
    replace(&dir.join(PARTITION_METADATA), encode_partition_metadata(wanted.id.topic).as_bytes())?;
    for made in [&*dir, &**offline.dir.path()] {
        File::open(made)?.sync_all()?;
    }
    let start = wanted.written.start(first);
    open(offline, wanted, start, &mut placed)
        .with_context(|| format!("{name} of {}", wanted.from.display()))?;
    Ok(placed)
}

/// The live segments, in order.
fn logs_of(dir: &Path) -> anyhow::Result<Vec<(i64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(parse_file) else {
            continue;
        };
        match name.state {
            FileState::Live if name.kind == FileKind::Log => logs.push((name.offset, path)),
            FileState::Swap => bail!(
                "{}: a compaction was cut short. Start that Kafka again, and stop it in order.",
                path.display()
            ),
            _ => {}
        }
    }
    logs.sort();
    Ok(logs)
}

/// Segments of Kafka before 0.11 hold messages that are no batches.
fn refuse_old_format(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut head = [0; 17];
    let file = File::open(path)?;
    if file.metadata()?.len() >= head.len() as u64 {
        file.read_exact_at(&mut head, 0)?;
        let [.., magic] = head;
        if magic < 2 {
            bail!(
                "{} holds records in format {magic}, which Kafka wrote before 0.11 and Kafka 4 does not read either",
                path.display()
            );
        }
    }
    Ok(())
}

/// Frees a partition's path. What an import that was cut short left there goes; what is nobody's is kept, under the
/// name of a stray.
fn clear(offline: &Offline, dir: &Path, topic: &str, partition: i32) -> anyhow::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if dir.join(IMPORTING).exists() {
        return fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()));
    }
    let owner = read_partition_metadata(dir).ok().flatten().unwrap_or(TopicId::ZERO);
    let aside = offline.dir.path().join(stray_dir(topic, partition, owner));
    if aside.exists() {
        bail!("{} is in the way, and so is {}. Move them elsewhere.", dir.display(), aside.display());
    }
    fs::rename(dir, &aside).with_context(|| format!("cannot rename {}", dir.display()))
}

/// Opens the log as one of which nothing is known, and puts a row that vouches for all of it.
fn open(offline: &Offline, wanted: &Wanted, start: i64, placed: &mut Placed) -> anyhow::Result<()> {
    let row = Arc::new(PartitionRow {
        id: wanted.id,
        topic: Arc::clone(&wanted.topic),
        log_start: start,
        checkpoint: Checkpoint::NONE,
        segments: Vec::new(),
        producers: false,
    });
    let mut seen = Seen { next: start, ..Seen::default() };
    let opened =
        offline.open_log(&wanted.topic, wanted.id, wanted.settings.clone(), Some(row), &mut |event| {
            seen.take(&event)
        })?;
    let report = &opened.report;
    if let Some(damage) = report.damage.first() {
        let file = damage.file.file_name().unwrap_or_default().to_string_lossy();
        let (at, why, topic) = (damage.position, damage.why, &wanted.topic);
        bail!(
            "{file} is damaged at byte {at}: {why}. Restore it from a copy, or leave the topic out: --except {topic}"
        );
    }
    if let Some(cut) = &report.cut {
        bail!(
            "its log does not end with a whole batch, as after an unclean stop ({cut}). Start that Kafka again and stop it \
             in order, or leave the topic out: --except {}",
            wanted.topic
        );
    }
    if let Some(aside) = report.set_aside.first() {
        bail!("{} does not follow on the segment before it", aside.display());
    }
    if let Some((from, to)) = seen.hole
        && !wanted.settings.compact
        && !wanted.written.is_thinned()
    {
        return Err(wanted.written.hole(from, to).into());
    }
    wanted.written.check_end(opened.reader.end())?;
    if let Some(first) = seen.producers.first_open() {
        bail!(
            "it holds a transaction that has not ended, from offset {first} on, and nobody would ever end it here. Start \
             that Kafka again and let its producer end it, or leave the topic out: --except {}",
            wanted.topic
        );
    }
    placed.offsets = opened.reader.end() - opened.reader.start();
    placed.last_epoch = opened.reader.last_epoch().unwrap_or(-1);
    checkpoint(offline, &opened, &seen.producers)
}

/// Vouches for all of a log: files synced, then the row.
pub(super) fn checkpoint(offline: &Offline, opened: &Opened, producers: &Producers) -> anyhow::Result<()> {
    sync(opened)?;
    let bytes = (!producers.is_empty()).then(|| producers.to_window_snapshot());
    let mark = opened.writer.mark();
    let Some(note) = opened.log.prepare_checkpoint(&mark, bytes.as_deref(), bytes.is_some())? else {
        return Ok(());
    };
    sync(opened)?;
    for path in &note.paths {
        match File::open(path) {
            // An index without entries has no file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            opened => opened?.sync_all()?,
        }
    }
    offline.manifest.put(Arc::clone(&note.row));
    opened.log.checkpointed(&note.row);
    Ok(())
}

/// Syncs what a log has not brought to disk.
pub(super) fn sync(opened: &Opened) -> anyhow::Result<()> {
    let Some(note) = opened.log.note() else { return Ok(()) };
    for file in &note.files {
        file.sync_all()?;
    }
    for path in &note.paths {
        File::open(path)?.sync_all()?;
    }
    opened.log.synced(note.end);
    Ok(())
}

/// What the batches of a log tell. Kafka's producer files are not taken over: the log tells more.
#[derive(Debug, Default)]
struct Seen {
    producers: Producers,
    /// The offset that the next batch is to begin at.
    next: i64,
    /// The first offsets that are not there: from the one to before the other.
    hole: Option<(i64, i64)>,
}

impl Seen {
    fn take(&mut self, event: &Replay<'_>) -> Replayed {
        let Replay::Batch { header, control } = event else { return Replayed::Damaged };
        if header.base_offset > self.next {
            self.hole.get_or_insert((self.next, header.base_offset));
        }
        self.next = self.next.max(header.next_offset());
        match self.producers.replay(header, *control) {
            Some(Change::Ended { aborted: Some(transaction), .. }) => Replayed::Aborted(transaction),
            _ => Replayed::Sound,
        }
    }
}

/// Whether Kafka keeps the topic for itself: its records are not taken as they are.
pub(super) fn is_kafkas_own(topic: &str) -> bool {
    crate::catalog::names::is_internal(topic) || topic == CONSUMER_OFFSETS || topic == "__remote_log_metadata"
}
