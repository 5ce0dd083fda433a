//! The disk's keeper: measures, runs retention early where it gets tight, and turns the broker read-only and back
//! (`disk.reserve`, `disk.limit`). What that means for an append stands in [`crate::storage::room`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Broker;
use crate::config::{DiskLimits, TopicSettings, units};
use crate::storage::manifest::PartitionRow;
use crate::storage::room::{Measured, Outlook, Pressure, Short, outlook};

/// What is known of the disk.
#[derive(Debug)]
pub(super) struct Disk {
    limits: DiskLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: Held,
    /// When to look it through again, on the steady clock.
    walk_at: Duration,
    /// When to run retention early again.
    tidy_at: Duration,
    /// Whether that will free more as soon as a checkpoint is made.
    more_to_free: bool,
    /// Since when there has been less than there should be, without the broker being read-only for it.
    short_since: Option<Duration>,
    /// Batches that had been refused at the last look.
    refused: u64,
    read_only: Option<ReadOnly>,
}

/// What the data directory held when it was last looked through.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    bytes: u64,
    /// What logs had taken when that began, and given back when it was over: what came in between counts as there.
    taken: u64,
    given_back: u64,
}

/// Why and since when clients are refused.
#[derive(Debug, Clone, Copy)]
struct ReadOnly {
    why: Why,
    since: Duration,
    /// Batches that had been refused before.
    refused: u64,
    /// The last time that a full file system was met.
    full_at: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Short(Short),
    /// The system refuses space that it says is free: a quota, or no more files.
    Full,
}

/// What a look at the disk came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DiskState {
    /// Clients are refused.
    pub(super) is_read_only: bool,
    /// Retention has found more to drop and waits for a checkpoint, or compaction makes room.
    pub(super) is_being_freed: bool,
}

impl Disk {
    /// A keeper that takes the manifest's word for what there is, until it has looked.
    pub(super) fn new<'a>(limits: DiskLimits, rows: impl Iterator<Item = &'a Arc<PartitionRow>>) -> Self {
        let held = Held { bytes: rows.map(|row| row.bytes()).sum(), ..Held::default() };
        let (walk_at, tidy_at) = (Duration::ZERO, Duration::ZERO);
        let state = State {
            held,
            walk_at,
            tidy_at,
            more_to_free: false,
            short_since: None,
            refused: 0,
            read_only: None,
        };
        Self { limits, state: Mutex::new(state) }
    }
}

/// How much room is needed.
fn pressure(outlook: &Outlook, is_refused: bool) -> Pressure {
    match (outlook.short, outlook.tight) {
        _ if is_refused => Pressure::Short,
        (Some(_), _) => Pressure::Short,
        (None, true) => Pressure::Tight,
        (None, false) => Pressure::None,
    }
}

impl Broker {
    /// Bounds what clients may write before the first look.
    pub(super) fn measure_disk_at_start(&self) {
        let state = self.disk.state.lock();
        if let Some((_, outlook)) = self.look_at_disk(&state) {
            self.data_dir.health().room().set(&outlook);
        }
    }

    /// Measures, and does what follows from it. Blocks.
    pub(super) fn keep_disk(&self, now: Duration) -> DiskState {
        let room = self.data_dir.health().room();
        let mut state = self.disk.state.lock();
        let is_full = room.take_full();
        self.walk_if_due(&mut state, now);
        let Some((mut measured, mut outlook)) = self.look_at_disk(&state) else {
            return DiskState::default();
        };
        self.cleaner.press(room, pressure(&outlook, is_full || state.read_only.is_some()));
        // Nobody is refused before retention has had its chance.
        let turns = outlook.short.is_some() && state.read_only.is_none() && state.short_since.is_none();
        if turns || ((outlook.tight || is_full) && now >= state.tidy_at) {
            self.tidy(&mut state, now);
            self.walk_if_due(&mut state, now);
            if let Some(again) = self.look_at_disk(&state) {
                (measured, outlook) = again;
            }
        }
        room.set(&outlook);
        if outlook.short.is_none() {
            state.short_since = None;
        }
        self.cleaner.press(room, pressure(&outlook, is_full || state.read_only.is_some()));
        let is_being_freed = outlook.tight && (state.more_to_free || self.cleaner.makes_room());
        let waits = is_being_freed
            && state.read_only.is_none()
            && now < *state.short_since.get_or_insert(now) + FREEING_MAX;
        let why = match (outlook.short, state.read_only) {
            // What is to go goes with the next checkpoint, or with what is being compacted.
            (Some(_), None) if waits => None,
            (Some(short), _) => Some(Why::Short(short)),
            (None, _) if is_full => Some(Why::Full),
            (None, Some(was))
                if was.why == Why::Full && (now < was.full_at + FULL_FOR || measured.is_full()) =>
            {
                Some(Why::Full)
            }
            (None, _) => None,
        };
        // A full file system refuses by itself, and who tries is the first to notice that it no longer does.
        room.set_read_only(matches!(why, Some(Why::Short(_))));
        self.tell(&mut state, why, &measured, now);
        if let Some(read_only) = state.read_only.as_mut().filter(|_| is_full) {
            read_only.full_at = now;
        }
        DiskState { is_read_only: state.read_only.is_some(), is_being_freed }
    }

    fn look_at_disk(&self, state: &State) -> Option<(Measured, Outlook)> {
        let space = match self.data_dir.space() {
            Ok(space) => space,
            Err(error) => {
                tracing::debug!(%error, "the file system does not say how much is free");
                return None;
            }
        };
        let (then, room) = (state.held, self.data_dir.health().room());
        let taken = room.taken().saturating_sub(then.taken);
        let given_back = room.given_back().saturating_sub(then.given_back);
        let held = then.bytes.saturating_add(taken).saturating_sub(given_back);
        let measured = Measured { free: space.free_bytes, total: space.total_bytes, held };
        let before = state.read_only.and_then(|read_only| match read_only.why {
            Why::Short(short) => Some(short),
            Why::Full => None,
        });
        Some((measured, outlook(&self.disk.limits, &measured, before)))
    }

    /// Looks through the data directory, if there is a limit and it is time: it may take a hundredth of the time.
    fn walk_if_due(&self, state: &mut State, now: Duration) {
        if self.disk.limits.limit_bytes.is_none() || now < state.walk_at {
            return;
        }
        let began = self.clock.monotonic();
        let room = self.data_dir.health().room();
        let taken = room.taken();
        match self.data_dir.held_bytes() {
            Ok(bytes) => state.held = Held { bytes, taken, given_back: room.given_back() },
            Err(error) => tracing::warn!(%error, "cannot find out what the data directory holds"),
        }
        let took = self.clock.monotonic().saturating_sub(began);
        // Not before space is back would anybody be let in again.
        let share = if state.read_only.is_some() { 10 } else { 100 };
        state.walk_at = now + (took * share).max(WALK_PAUSE_MIN);
    }

    /// Makes what space the settings allow: runs retention now, and unlinks what was waiting for its readers.
    fn tidy(&self, state: &mut State, now: Duration) {
        let began = self.clock.monotonic();
        let again = self.retain();
        self.unlinks.lock().unlink_all(self.data_dir.health().room());
        let took = self.clock.monotonic().saturating_sub(began);
        state.more_to_free = again;
        // It looks at every partition there is: what waits for a checkpoint is no reason to do nothing else.
        state.tidy_at = now + if again { took * 5 } else { (took * 20).max(TIDY_PAUSE_MIN) };
        state.walk_at = Duration::ZERO;
    }

    /// One line when the broker turns read-only or for another reason stays so, one when that is over.
    fn tell(&self, state: &mut State, why: Option<Why>, measured: &Measured, now: Duration) {
        let refused = self.data_dir.health().room().refused();
        let refused_before = std::mem::replace(&mut state.refused, refused);
        match (state.read_only, why) {
            (None, None) => {}
            (Some(was), Some(why)) if was.why == why => {}
            (was, Some(why)) => {
                let fresh = ReadOnly { why, since: now, refused: refused_before, full_at: now };
                state.read_only = Some(ReadOnly { why, ..was.unwrap_or(fresh) });
                let reason = self.reason(why, measured);
                let largest = self.largest_topic().unwrap_or_default();
                tracing::error!(
                    "read-only: {reason}. Produces answer KAFKA_STORAGE_ERROR until space is freed.{largest}"
                );
            }
            (Some(was), None) => {
                state.read_only = None;
                let is_so = self.what_mattered(was.why, measured);
                let batches = refused.saturating_sub(was.refused);
                let seconds = now.saturating_sub(was.since).as_secs();
                tracing::info!(
                    "writable again: {is_so}. Read-only for {seconds} s; {batches} batches were refused."
                );
            }
        }
    }

    fn reason(&self, why: Why, measured: &Measured) -> String {
        let is_so = self.what_mattered(why, measured);
        match why {
            Why::Short(Short::Reserve) => {
                format!("{is_so} is under disk.reserve {}", self.disk.limits.reserve)
            }
            Why::Short(Short::Limit) => is_so,
            Why::Full if measured.is_full() => {
                format!("the disk is full, with {is_so}, and what finds no space is refused")
            }
            Why::Full => format!(
                "the file system of data_dir refuses more bytes or files although {is_so} are free (a quota, or no \
                 inodes?)"
            ),
        }
    }

    /// The figures that a bound is about.
    fn what_mattered(&self, why: Why, measured: &Measured) -> String {
        let show = units::show_rounded;
        match why {
            Why::Short(Short::Limit) => {
                let limit = self.disk.limits.limit_bytes.unwrap_or(0);
                format!("data_dir holds {}, and disk.limit is {}", show(measured.held), show(limit))
            }
            Why::Full if !measured.is_full() => {
                format!("{} of {}", show(measured.free), show(measured.total))
            }
            Why::Short(Short::Reserve) | Why::Full => {
                format!("{} free of {}", show(measured.free), show(measured.total))
            }
        }
    }

    /// The topic that holds most, how much, what its retention is, and how it can be made smaller.
    fn largest_topic(&self) -> Option<String> {
        let mut sizes: HashMap<Arc<str>, u64> = HashMap::new();
        for partition in self.partitions.all() {
            *sizes.entry(Arc::clone(partition.topic())).or_default() += partition.reader().size_bytes();
        }
        for row in self.partitions.unopened() {
            *sizes.entry(Arc::clone(&row.topic)).or_default() += row.bytes();
        }
        let (name, bytes) = sizes.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let bytes = units::show_rounded(bytes);
        let image = self.image();
        let Some(topic) = image.topic(&name) else { return Some(format!(" Largest: {name} {bytes}.")) };
        let (retention, advice) = (retention(&topic.settings), advice(&name, &topic.settings));
        Some(format!(" Largest: {name} {bytes} ({retention}). {advice}"))
    }
}

/// What goes by itself of a topic, in a few words.
fn retention(settings: &TopicSettings) -> String {
    if !settings.delete {
        return "cleanup.policy=compact".to_owned();
    }
    let time = Some(settings.retention_ms).filter(|ms| *ms >= 0).map(units::show_millis);
    let size = u64::try_from(settings.retention_bytes).ok().map(units::show_rounded);
    let both: Vec<String> = time.into_iter().chain(size.map(|size| format!("{size} a partition"))).collect();
    if both.is_empty() { "retention: none".to_owned() } else { format!("retention: {}", both.join(", ")) }
}

/// What an operator can do about a topic that holds too much.
fn advice(name: &str, settings: &TopicSettings) -> String {
    match settings.compact {
        // The first offsets of such a topic are those of keys that were not written again since.
        true => format!(
            "What compaction leaves of {name} are its keys' last values, so delete no records of it: raise disk.limit \
             or add space, or delete topics that are not needed (streamd topic delete NAME)."
        ),
        false => format!(
            "To free space: streamd topic trim {name} -o @-1d, streamd topic config {name} -c retention.bytes=1GiB, or \
             add some."
        ),
    }
}

/// How long retention may take to bring the disk out of its reserve before clients are refused.
const FREEING_MAX: Duration = Duration::from_secs(2);
/// How long a full file system counts as full after it was last met.
const FULL_FOR: Duration = Duration::from_secs(10);
/// The least time between two looks through the data directory.
const WALK_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The least time between two early rounds of retention.
const TIDY_PAUSE_MIN: Duration = Duration::from_secs(1);
