//! Which part of a log is to be cleaned, and when: pure planning (S92), carried out by [`super::clean`].

use std::ops::Range;

use crate::config::topic::TopicSettings;
use crate::storage::log::SegmentInfo;
use crate::storage::room::Pressure;
use crate::types::Timestamp;

/// A compacted log as planning looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// All of its segments, oldest first, the last one active.
    pub segments: &'a [SegmentInfo],
    /// The first offset that no cleaning has covered, see [`dirty_from`].
    pub dirty_from: i64,
    /// Nothing at or past it is cleaned: the smallest of stable offset, durable offset and the checkpoint's segment.
    pub bound: i64,
    /// The smallest time of a first record among the sealed segments from `dirty_from` on, if
    /// `max.compaction.lag.ms` asks for it.
    pub oldest_dirty: Option<Timestamp>,
    /// Whether a coordinator replays the log whole when it loads it: then its size is what somebody waits for.
    pub replayed: bool,
    /// Whether room is needed on the disk: then the shares that the settings ask for do not count, the lags do.
    pub pressure: Pressure,
    /// The broker's clock.
    pub now: Timestamp,
}

/// What is to be done with a log.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Plan {
    /// The part to be cleaned now.
    pub work: Option<Work>,
    /// The active segment is to be closed, so that it can be cleaned: a coordinator would have more to replay than the
    /// log is worth, or room is needed on the disk.
    pub roll: bool,
    /// There will be work when a sync and a checkpoint have passed what lies there.
    pub waits: bool,
    /// When there will be work though nothing is appended; `None` if nothing is known.
    pub next: Option<Timestamp>,
}

/// A part of a log to be cleaned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Where the part begins that was never cleaned.
    pub dirty_from: i64,
    /// The first offset behind what may be cleaned; a segment begins there.
    pub end: i64,
    /// The dirty share of the bytes below `end`.
    pub ratio: f64,
    /// `max.compaction.lag.ms` has passed: it is cleaned whatever the share.
    pub forced: bool,
}

/// Where the dirty part begins: where the last cleaning ended, unless the log has moved away from there.
pub fn dirty_from(cleaned_to: Option<i64>, start: i64, end: i64) -> i64 {
    cleaned_to.filter(|at| (start..=end).contains(at)).unwrap_or(start)
}

/// The sealed segments that hold offsets from `from` on.
pub fn dirty(segments: &[SegmentInfo], from: i64) -> &[SegmentInfo] {
    let sealed = segments.split_last().map_or(segments, |(_, sealed)| sealed);
    sealed.get(sealed.partition_point(|segment| segment.next <= from)..).unwrap_or_default()
}

/// Plans the next cleaning of a log.
pub fn plan(log: &Situation<'_>, settings: &TopicSettings) -> Plan {
    let Some((active, sealed)) = log.segments.split_last().filter(|_| settings.compact) else {
        return Plan::default();
    };
    let dirty = dirty(log.segments, log.dirty_from);
    let clean_bytes: u64 = sealed.iter().take(sealed.len() - dirty.len()).map(|segment| segment.bytes).sum();
    let lag = settings.min_compaction_lag_ms.max(0);
    let too_young =
        |segment: &SegmentInfo| newest(segment).is_some_and(|at| log.now.saturating_sub(at) < lag);
    let barrier = dirty.iter().position(|segment| segment.next > log.bound || too_young(segment));
    let cleanable = dirty.get(..barrier.unwrap_or(dirty.len())).unwrap_or_default();
    let dirty_bytes: u64 = cleanable.iter().map(|segment| segment.bytes).sum();

    let due_at = log.oldest_dirty.map(|at| at.saturating_add(settings.max_compaction_lag_ms.max(0)));
    let forced = due_at.is_some_and(|due| due < log.now);
    let ratio = share(dirty_bytes, clean_bytes);
    let work = cleanable.last().filter(|_| dirty_bytes > 0).and_then(|last| {
        let is_due = forced || ratio > least_ratio(log, settings);
        is_due.then_some(Work { dirty_from: log.dirty_from, end: last.next, ratio, forced })
    });
    let grown_up = barrier
        .and_then(|nth| dirty.get(nth))
        .filter(|segment| segment.next <= log.bound)
        .and_then(newest)
        .map(|at| at.saturating_add(lag));
    Plan {
        work,
        // Housekeeping closes segments for `max.compaction.lag.ms`.
        roll: (log.replayed && active.bytes > clean_bytes.max(REPLAY_BYTES_MIN))
            || (is_worth_closing(log, active.bytes, dirty_bytes, clean_bytes) && !too_young(active)),
        waits: barrier
            .and_then(|nth| dirty.get(nth))
            .is_some_and(|segment| segment.next > log.bound && !too_young(segment)),
        next: [due_at.filter(|due| *due >= log.now), grown_up].into_iter().flatten().min(),
    }
}

/// Above which dirty share a log is cleaned now. When room is needed for clients whatever may go shall go; but who
/// writes on meanwhile, as coordinators do, is not cleaned again for every few bytes.
fn least_ratio(log: &Situation<'_>, settings: &TopicSettings) -> f64 {
    match log.pressure {
        Pressure::None => settings.min_cleanable_dirty_ratio,
        Pressure::Short if !log.replayed => 0.0,
        Pressure::Tight | Pressure::Short => settings.min_cleanable_dirty_ratio.min(PRESSED_RATIO),
    }
}

/// Whether room is needed and some may be won in the active segment.
fn is_worth_closing(log: &Situation<'_>, active: u64, dirty: u64, clean: u64) -> bool {
    match log.pressure {
        Pressure::None => false,
        Pressure::Short if !log.replayed => active >= BLOCK_BYTES,
        Pressure::Tight | Pressure::Short => {
            active >= PRESSED_ROLL_BYTES_MIN && share(active.saturating_add(dirty), clean) > PRESSED_RATIO
        }
    }
}

/// The time of a segment's newest record, or of the broker's clock at its last append if that is older: a record from
/// the future keeps nothing from being cleaned for ever.
fn newest(segment: &SegmentInfo) -> Option<Timestamp> {
    [segment.max_timestamp, segment.appended_at].into_iter().filter(|at| *at >= 0).min()
}

#[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
fn share(dirty: u64, clean: u64) -> f64 {
    let all = dirty.saturating_add(clean);
    if all == 0 { 0.0 } else { dirty as f64 / all as f64 }
}

/// A sealed segment, as grouping looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) base: i64,
    /// The first offset behind it.
    pub(super) next: i64,
    pub(super) bytes: u64,
    /// Bytes of its offset index, and of its time index.
    pub(super) index_bytes: [u64; 2],
}

/// Which neighbours become one segment: as many as fit into `segment.bytes` and `bytes_max`, their indexes into
/// `segment.index.bytes`, and their offsets into 32 bits, whatever cleaning leaves of them. In order, and all of them.
pub(super) fn groups(inputs: &[Input], settings: &TopicSettings, bytes_max: u64) -> Vec<Range<usize>> {
    let limit = |n: i32| u64::try_from(n).unwrap_or(0);
    let (bytes_max, index_max) =
        (limit(settings.segment_bytes).min(bytes_max), limit(settings.segment_index_bytes));
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut sum = Input { base: 0, next: 0, bytes: 0, index_bytes: [0; 2] };
    for (nth, input) in inputs.iter().enumerate() {
        let bytes = sum.bytes.saturating_add(input.bytes);
        let [offsets, times] =
            [0, 1].map(|kind| sum.index_bytes[kind].saturating_add(input.index_bytes[kind]));
        match groups.last_mut() {
            Some(group)
                if bytes <= bytes_max
                    && offsets.max(times) <= index_max
                    && input.next - 1 - sum.base <= i64::from(i32::MAX)
                    && group.len() < GROUP_SEGMENTS_MAX =>
            {
                group.end = nth + 1;
                sum = Input { bytes, index_bytes: [offsets, times], ..sum };
            }
            _ => {
                groups.push(nth..nth + 1);
                sum = *input;
            }
        }
    }
    groups
}

/// A coordinator's log is worth cleaning from this size on, in bytes.
const REPLAY_BYTES_MIN: u64 = 16 << 20;
/// Above this dirty share a log is cleaned when room is needed: nine bytes are read for one that may go.
const PRESSED_RATIO: f64 = 0.1;
/// From this size on an active segment is closed when room gets tight.
const PRESSED_ROLL_BYTES_MIN: u64 = 64 << 10;
/// Within less than a block of the file system there is nothing to be won.
const BLOCK_BYTES: u64 = 4096;
/// Segments that become one at once: while they are swapped, each holds two descriptors.
const GROUP_SEGMENTS_MAX: usize = 128;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
