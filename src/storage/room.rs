//! Room on the disk: how much clients may still write before the broker turns read-only (`disk.reserve`,
//! `disk.limit`).
//!
//! The broker measures the file system about once a second ([`outlook`], [`Room::set`]); in between logs count the blocks
//! that they take, so that no append has to ask the system. Past the watermark it is the broker that decides, once
//! retention has had its chance; past half of the reserve, or past the limit, appends are refused without it.
//!
//! What the broker writes for itself (metadata, committed offsets, checkpoints) is counted and never refused: that is
//! what the reserve is for. Between the two lies room that only the cleaner may take, for it needs some before it makes
//! more; logs that are compacted keep their segments so small that one of them fits into it.

use std::fmt;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

use crate::config::DiskLimits;
use crate::types::offset::saturate_i64;

/// The count between two measurements, shared by all logs of a data directory. Questions are one or two atomic loads.
pub struct Room {
    /// Bytes that may be taken before appends are refused, whatever the broker says.
    left: AtomicI64,
    /// Bytes behind `left` that only the cleaner may take.
    for_cleaner: AtomicU64,
    /// Below this many left the broker looks at once.
    wake_below: AtomicI64,
    /// The most that one log reserves ahead.
    ahead_max: AtomicU64,
    /// The broker's word.
    read_only: AtomicBool,
    /// The broker's word on who should make room; a [`Pressure`].
    pressure: AtomicU8,
    /// Somebody has met a full file system since the last measurement.
    full: AtomicBool,
    /// Bytes taken since the start, and bytes given back; neither falls.
    taken: AtomicU64,
    given_back: AtomicU64,
    /// Batches refused since the start.
    refused: AtomicU64,
    /// Whether the broker was asked to look, and has not yet.
    wanted: AtomicBool,
    waker: AtomicWaker,
}

impl Default for Room {
    /// Without bounds, until somebody measures.
    fn default() -> Self {
        Self {
            left: AtomicI64::new(i64::MAX),
            for_cleaner: AtomicU64::new(u64::MAX),
            wake_below: AtomicI64::new(i64::MIN),
            ahead_max: AtomicU64::new(u64::MAX),
            read_only: AtomicBool::new(false),
            pressure: AtomicU8::new(Pressure::None as u8),
            full: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            given_back: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }
}

impl Room {
    /// Whether what clients send may be written.
    pub fn admits(&self) -> bool {
        !self.read_only.load(Ordering::Relaxed) && self.left.load(Ordering::Relaxed) > 0
    }

    /// Whether compaction may write: a quarter of the reserve is for what cannot wait, the limit for nobody.
    pub(super) fn admits_cleaner(&self) -> bool {
        let more = saturate_i64(self.for_cleaner.load(Ordering::Relaxed));
        self.left.load(Ordering::Relaxed).saturating_add(more) > 0
    }

    /// The most that a segment of a compacted log should hold, so that the cleaner finds room for it and the indexes
    /// beside it when nobody else finds any.
    pub(super) fn compacted_segment_bytes_max(&self) -> u64 {
        (self.for_cleaner.load(Ordering::Relaxed) / 2).max(COMPACTED_SEGMENT_BYTES_MIN)
    }

    /// Counts a batch that was refused because [`Room::admits`] said no, or because the file system is full.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if !self.read_only.load(Ordering::Relaxed) {
            self.want_look();
        }
    }

    /// The most that is worth reserving ahead of what is needed: the last bytes are for those who write.
    pub(super) fn ahead_bytes_max(&self) -> u64 {
        let left = u64::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(0);
        self.ahead_max.load(Ordering::Relaxed).min(left / AHEAD_SHARE)
    }

    /// Counts blocks that a file has been given.
    pub(super) fn take(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let bytes = saturate_i64(bytes);
        let left = self.left.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
        if left < self.wake_below.load(Ordering::Relaxed) {
            self.want_look();
        }
    }

    /// Counts blocks of a file that is gone. What readers still hold of it the next measurement finds.
    pub fn give_back(&self, bytes: u64) {
        self.given_back.fetch_add(bytes, Ordering::Relaxed);
        // Nothing is bounded, or there is enough: a sum past the largest number is not to become a negative one.
        let add = |left: i64| Some(left.saturating_add(saturate_i64(bytes)));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// A write found no space, whatever was measured: a quota, or somebody else was faster.
    pub(super) fn found_full(&self) {
        self.full.store(true, Ordering::Relaxed);
        self.want_look();
    }

    fn want_look(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Returns when the broker should measure at once. For one waiter.
    pub async fn wanted(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.wanted.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Bytes that logs have taken since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes of files that were unlinked since the start.
    pub fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }

    /// Batches refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether somebody has met a full file system since this was last asked.
    pub fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::Relaxed)
    }

    /// Puts a measurement in force.
    pub fn set(&self, outlook: &Outlook) {
        self.left.store(outlook.left, Ordering::Relaxed);
        self.for_cleaner.store(outlook.for_cleaner, Ordering::Relaxed);
        self.wake_below.store(outlook.wake_below, Ordering::Relaxed);
        self.ahead_max.store(outlook.ahead_max, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Release);
    }

    /// Puts the broker's word in force.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Says how much room is needed. What was said before.
    pub fn set_pressure(&self, pressure: Pressure) -> Pressure {
        Pressure::from_u8(self.pressure.swap(pressure as u8, Ordering::Relaxed))
    }

    /// How much room is needed.
    pub fn pressure(&self) -> Pressure {
        Pressure::from_u8(self.pressure.load(Ordering::Relaxed))
    }

    /// Unlinks a file that left its log, and counts what that gives back.
    ///
    /// # Errors
    /// What the file system says. A file that is gone already is none.
    pub fn unlink(&self, file: &Path) -> io::Result<()> {
        let bytes = fs::metadata(file).map_or(0, |found| found.blocks().saturating_mul(BLOCK_BYTES));
        // Before it is so: who measures in between must not count it twice.
        self.give_back(bytes);
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.take(bytes);
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("left", &self.left)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// How much room is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Pressure {
    /// There is enough.
    #[default]
    None,
    /// Clients would soon be refused: what is worth removing should be removed now.
    Tight,
    /// Clients are refused, or are about to be: whatever may be removed should be.
    Short,
}

impl Pressure {
    fn from_u8(byte: u8) -> Self {
        match byte {
            0 => Self::None,
            1 => Self::Tight,
            _ => Self::Short,
        }
    }
}

/// Whether an error says that the file system has no space for us: it may have another time.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What was measured, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Free on the file system, for us.
    pub free: u64,
    /// All of the file system.
    pub total: u64,
    /// What the data directory holds, blocks that are reserved included; only looked at if there is a limit.
    pub held: u64,
}

impl Measured {
    /// Whether as good as nothing is free. A file system that refuses although it is not full has met another bound.
    pub fn is_full(&self) -> bool {
        self.free < FULL_BYTES.min(self.total / 100)
    }
}

/// What stands between clients and the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// Less is free than `disk.reserve`.
    Reserve,
    /// The data directory holds more than `disk.limit`.
    Limit,
}

/// What a measurement comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Bytes that may be taken before appends are refused at once.
    left: i64,
    /// Bytes behind those that only the cleaner may take.
    for_cleaner: u64,
    /// Below this many left the broker should look again.
    wake_below: i64,
    /// The most that one log should reserve ahead.
    ahead_max: u64,
    /// Whether retention and compaction should be run now, and files that wait be unlinked.
    pub tight: bool,
    /// Why the broker should be read-only, if it should.
    pub short: Option<Short>,
}

/// What to do, after `before`. Once read-only, it takes some more than the mark to be writable again, so that the broker
/// does not change its mind with every segment.
pub fn outlook(limits: &DiskLimits, measured: &Measured, before: Option<Short>) -> Outlook {
    let signed = |bytes: u64| saturate_i64(bytes);
    let ahead_max = measured.free / AHEAD_SHARE;
    let (left, for_cleaner, wake_below) = (i64::MAX, u64::MAX, i64::MIN);
    let mut outlook = Outlook { left, for_cleaner, wake_below, ahead_max, tight: false, short: None };
    // The least distance to a mark at which something is to be done before it is too late.
    let mut calm = i64::MAX;
    let reserve = limits.reserve.of(measured.total);
    if reserve > 0 {
        let over = signed(measured.free).saturating_sub(signed(reserve));
        let needed = if before == Some(Short::Reserve) { (reserve / 16).min(BACK_BYTES_MAX) } else { 0 };
        if over <= signed(needed) {
            outlook.short = Some(Short::Reserve);
        }
        outlook.left = over.saturating_add(signed(reserve / 2));
        outlook.for_cleaner = reserve / 4;
        calm = over.saturating_sub(signed((reserve / 2).min(TIGHT_BYTES_MAX)));
    }
    if let Some(limit) = limits.limit_bytes {
        let own = (limit / 32).min(OWN_BYTES_MAX);
        let for_cleaner = (limit / 16).min(CLEANER_BYTES_MAX);
        let left = signed(limit - own - for_cleaner).saturating_sub(signed(measured.held));
        let needed = if before == Some(Short::Limit) { (limit / 64).min(BACK_BYTES_MAX) } else { 0 };
        if left <= signed(needed) {
            outlook.short = outlook.short.or(Some(Short::Limit));
        }
        outlook.left = outlook.left.min(left);
        outlook.for_cleaner = outlook.for_cleaner.min(for_cleaner);
        calm = calm.min(left.saturating_sub(signed((limit / 10).min(TIGHT_BYTES_MAX))));
    }
    outlook.tight = calm <= 0;
    outlook.wake_below = match calm {
        i64::MAX => i64::MIN,
        // Where it is tight already, once for each quarter of the rest.
        ..=0 => outlook.left.max(0) / 4 * 3,
        calm => outlook.left.saturating_sub(calm),
    };
    outlook
}

/// `st_blocks` counts in these, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;
/// With less than this free, or a hundredth, a file system is full.
const FULL_BYTES: u64 = 1 << 20;
/// Of what is left, one log reserves no more than this part ahead.
const AHEAD_SHARE: u64 = 16;
/// Of a limit, the most that is kept for the last append and for what the broker writes for itself: metadata, indexes,
/// checkpoints.
const OWN_BYTES_MAX: u64 = 64 << 20;
/// Of a limit, the most that is kept for the cleaner's work besides.
const CLEANER_BYTES_MAX: u64 = 1 << 30;
/// Smaller than this no segment of a compacted log need be.
const COMPACTED_SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// How far before a mark retention is run early, at most.
const TIGHT_BYTES_MAX: u64 = 1 << 30;
/// How far behind a mark the broker is writable again, at most.
const BACK_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Amount;

    const MIB: u64 = 1 << 20;

    fn reserve(bytes: u64) -> DiskLimits {
        DiskLimits { reserve: Amount::Bytes(bytes), limit_bytes: None }
    }

    fn free(free: u64) -> Measured {
        Measured { free, total: 1000 * MIB, held: 0 }
    }

    #[test]
    fn below_the_reserve_the_broker_is_read_only_until_there_is_clearly_more() {
        let limits = reserve(64 * MIB);
        let look = |bytes, before| outlook(&limits, &free(bytes), before).short;
        assert_eq!(look(65 * MIB, None), None);
        assert_eq!(look(64 * MIB, None), Some(Short::Reserve));
        assert_eq!(look(65 * MIB, Some(Short::Reserve)), Some(Short::Reserve));
        assert_eq!(look(69 * MIB, Some(Short::Reserve)), None);
        assert_eq!(outlook(&reserve(0), &free(0), None).short, None, "no reserve, no watermark");
    }

    #[test]
    fn a_share_is_a_share_of_the_whole_file_system() {
        let limits = DiskLimits { reserve: Amount::Percent(5.0), limit_bytes: None };
        assert_eq!(outlook(&limits, &free(51 * MIB), None).short, None);
        assert_eq!(outlook(&limits, &free(49 * MIB), None).short, Some(Short::Reserve));
    }

    #[test]
    fn the_limit_counts_what_the_directory_holds() {
        let limits = DiskLimits { reserve: Amount::Bytes(0), limit_bytes: Some(128 * MIB) };
        let look = |held, before| outlook(&limits, &Measured { held, ..free(500 * MIB) }, before).short;
        // Four are for the broker's own needs, eight for the cleaner's.
        assert_eq!(look(115 * MIB, None), None);
        assert_eq!(look(116 * MIB, None), Some(Short::Limit));
        assert_eq!(look(115 * MIB, Some(Short::Limit)), Some(Short::Limit));
        assert_eq!(look(113 * MIB, Some(Short::Limit)), None);
    }

    #[test]
    fn retention_has_its_chance_before_anything_is_refused() {
        let limits = reserve(64 * MIB);
        let look = |bytes| outlook(&limits, &free(bytes), None);
        assert!(!look(97 * MIB).tight && look(95 * MIB).tight, "half of the reserve before the mark");
        let room = Room::default();
        room.set(&look(100 * MIB));
        room.take(3 * MIB);
        assert!(!room.wanted.load(Ordering::Relaxed));
        room.take(3 * MIB);
        assert!(room.wanted.load(Ordering::Relaxed), "the broker looks when it gets tight");
        room.take(60 * MIB);
        assert!(room.admits(), "below the mark it is the broker that decides");
        room.set_read_only(true);
        assert!(!room.admits());
        room.set_read_only(false);
        room.take(2 * MIB);
        assert!(!room.admits(), "half of the reserve is not for clients");
        assert!(room.admits_cleaner(), "compaction goes on: it makes room in the end");
        room.take(16 * MIB);
        assert!(!room.admits_cleaner(), "a quarter of the reserve is nobody's");
        room.give_back(16 * MIB);
        assert!(room.admits_cleaner() && !room.admits());
        room.give_back(10 * MIB);
        assert!(room.admits());
    }

    #[test]
    fn the_limit_is_never_passed() {
        let limits = DiskLimits { reserve: Amount::Bytes(0), limit_bytes: Some(128 * MIB) };
        let room = Room::default();
        room.set(&outlook(&limits, &Measured { held: 60 * MIB, ..free(500 * MIB) }, None));
        room.take(55 * MIB);
        assert!(room.admits());
        room.take(MIB);
        assert!(!room.admits() && room.admits_cleaner());
        assert_eq!(room.compacted_segment_bytes_max(), 4 * MIB, "half of what the cleaner has");
        room.take(8 * MIB);
        assert!(!room.admits_cleaner());
    }

    #[test]
    fn in_a_tight_place_each_quarter_of_the_rest_is_looked_at() {
        let limits = reserve(64 * MIB);
        let room = Room::default();
        room.set(&outlook(&limits, &free(70 * MIB), None));
        room.take(MIB);
        assert!(!room.wanted.load(Ordering::Relaxed));
        room.take(9 * MIB);
        assert!(room.wanted.load(Ordering::Relaxed));
    }

    #[test]
    fn nothing_is_bounded_before_it_is_measured() {
        let room = Room::default();
        room.take(u64::MAX);
        room.give_back(u64::MAX);
        assert!(room.admits_cleaner() && room.compacted_segment_bytes_max() > 1 << 40);
        assert!(!room.wanted.load(Ordering::Relaxed));
        assert!(Room::default().ahead_bytes_max() > 1 << 40);
    }
}
