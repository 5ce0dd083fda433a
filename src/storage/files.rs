//! The bound on open segment files and read maps, over all partitions of the process.
//!
//! Both go by second chance: what was not used since the hand last came by is let go. A descriptor with unsynced bytes
//! stays open: closing it would let its inode go, and with it an unreported write error. So who is about to write to one
//! file more waits at a mark below the limit until a sync has let others be closed ([`super::flush::Committer::relieve`]);
//! what lies between the mark and the limit is for those who read, whose files can be closed at any time.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::segment::Segment;
use super::segment_file::SegmentFile;

/// The process's bound on open segment files and maps.
pub struct FileCache {
    /// Past it files are closed, and whoever is to write to one more waits.
    open_max: usize,
    /// No file is opened past it.
    limit: usize,
    maps_max: usize,
    /// The bound for the broker's own topics, so that others cannot take their descriptors.
    own: Option<Arc<Self>>,
    open: Arc<AtomicUsize>,
    segments: Mutex<VecDeque<Weak<Segment>>>,
    maps: Mutex<VecDeque<Weak<SegmentFile>>>,
}

impl FileCache {
    /// At most `open_max` descriptors (files with unsynced bytes may exceed it) and `maps_max` maps (0: none; tail
    /// reads then go by `pread`).
    pub fn new(open_max: usize, maps_max: usize) -> Arc<Self> {
        Arc::new(Self::with(open_max, usize::MAX, maps_max, None))
    }

    /// At most `limit` descriptors, whatever they hold, and `maps_max` maps. The broker's own topics have a bound of
    /// their own ([`FileCache::own`]), `own_limit`.
    pub fn limited(limit: usize, own_limit: usize, maps_max: usize) -> Arc<Self> {
        let mark = |limit: usize| limit / 4 * 3;
        let own = Arc::new(Self::with(mark(own_limit), own_limit, 0, None));
        Arc::new(Self::with(mark(limit), limit, maps_max, Some(own)))
    }

    fn with(open_max: usize, limit: usize, maps_max: usize, own: Option<Arc<Self>>) -> Self {
        Self {
            open_max,
            limit,
            maps_max,
            own,
            open: Arc::default(),
            segments: Mutex::default(),
            maps: Mutex::default(),
        }
    }

    /// The bound for the broker's own topics.
    pub fn own(self: &Arc<Self>) -> Arc<Self> {
        self.own.as_ref().unwrap_or(self).clone()
    }

    /// Descriptors that stand open now.
    pub fn open_files(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether more descriptors stand open than should, because they hold unsynced bytes: time for a sync of them all.
    pub fn is_over(&self) -> bool {
        self.open_files() > self.open_max || self.own.as_ref().is_some_and(|own| own.is_over())
    }

    /// Whether who is to write to one file more has to wait until others are closed.
    pub fn is_short(&self) -> bool {
        self.limit < usize::MAX && self.open_files() > self.open_max
    }

    /// Closes what can be closed while [`FileCache::is_short`] says so.
    pub(super) fn close_idle(&self) {
        let mut ring = self.segments.lock();
        let mut steps = 2 * ring.len();
        while self.is_short() && steps > 0 && Self::close_next(&mut ring) {
            steps -= 1;
        }
    }

    /// Sees to it that one more file may be opened.
    ///
    /// # Errors
    /// `EMFILE`: as many stand open as may, and all of them hold unsynced bytes or are in use.
    pub(super) fn make_room(&self) -> io::Result<()> {
        if self.open_files() < self.limit {
            return Ok(());
        }
        let mut ring = self.segments.lock();
        let mut steps = 2 * ring.len();
        while self.open_files() >= self.limit {
            if steps == 0 || !Self::close_next(&mut ring) {
                return Err(rustix::io::Errno::MFILE.into());
            }
            steps -= 1;
        }
        Ok(())
    }

    /// Whether maps are made at all.
    pub(super) fn has_maps(&self) -> bool {
        self.maps_max > 0
    }

    /// Counts one descriptor for as long as the ticket lives.
    pub(super) fn count(&self) -> OpenTicket {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenTicket(self.open.clone())
    }

    /// Takes note of a segment whose file was just opened, and closes others past the bound.
    pub(super) fn admit(&self, segment: &Arc<Segment>) {
        let mut ring = self.segments.lock();
        ring.push_back(Arc::downgrade(segment));
        let open = self.open_files();
        if ring.len() > 2 * open.max(RING_SLACK) {
            ring.retain(|weak| weak.upgrade().is_some_and(|segment| segment.is_open()));
        }
        self.close_unused(&mut ring);
    }

    /// Closes files past the bound that could not be closed before, because they had unsynced bytes.
    pub(super) fn trim(&self) {
        if self.open_files() > self.open_max {
            self.close_unused(&mut self.segments.lock());
        }
    }

    /// Moves the hand on by a few files: thousands may hold unsynced bytes, and to look at them all for each would cost
    /// more than to be over the bound for a while.
    fn close_unused(&self, ring: &mut VecDeque<Weak<Segment>>) {
        let mut steps = (2 * ring.len()).min(STEPS_MAX);
        while self.open_files() > self.open_max && steps > 0 && Self::close_next(ring) {
            steps -= 1;
        }
    }

    /// Moves the hand on by one file; `false` if there is none.
    fn close_next(ring: &mut VecDeque<Weak<Segment>>) -> bool {
        let Some(weak) = ring.pop_front() else { return false };
        if weak.upgrade().is_some_and(|segment| !segment.try_close()) {
            ring.push_back(weak);
        }
        true
    }

    /// Takes note of a file that was just mapped, and drops other maps past the bound.
    pub(super) fn admit_map(&self, file: &Arc<SegmentFile>) {
        let mut ring = self.maps.lock();
        ring.push_back(Arc::downgrade(file));
        // Files that were closed meanwhile stand here until the hand comes by: to look for them each time would cost
        // more than the few maps that there are less.
        let mut steps = 2 * ring.len();
        while ring.len() > self.maps_max && steps > 0 {
            steps -= 1;
            let Some(weak) = ring.pop_front() else { break };
            let Some(file) = weak.upgrade() else { continue };
            if !file.try_unmap() {
                ring.push_back(weak);
            }
        }
    }
}

impl fmt::Debug for FileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCache")
            .field("open", &self.open_files())
            .field("open_max", &self.open_max)
            .field("limit", &self.limit)
            .field("maps_max", &self.maps_max)
            .finish_non_exhaustive()
    }
}

/// Whether the system had nothing left to open a file with; another time it may.
pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    error.raw_os_error().is_some_and(|code| short.iter().any(|errno| errno.raw_os_error() == code))
}

/// One open descriptor, counted.
#[derive(Debug)]
pub(super) struct OpenTicket(Arc<AtomicUsize>);

impl Drop for OpenTicket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Entries of closed files that the ring may hold before it is swept.
const RING_SLACK: usize = 64;
/// Files that one call looks at.
const STEPS_MAX: usize = 32;
