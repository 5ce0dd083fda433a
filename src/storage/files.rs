//! The bound on open segment files and read maps, over all partitions of the process.
//!
//! Both go by second chance: what was not used since the hand last came by is let go. A descriptor with unsynced bytes
//! stays open whatever the bound says: closing it would let its inode go, and with it an unreported write error.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::segment::Segment;
use super::segment_file::SegmentFile;

/// The process's bound on open segment files and maps.
pub struct FileCache {
    open_max: usize,
    maps_max: usize,
    open: Arc<AtomicUsize>,
    segments: Mutex<VecDeque<Weak<Segment>>>,
    maps: Mutex<VecDeque<Weak<SegmentFile>>>,
}

impl FileCache {
    /// At most `open_max` descriptors (files with unsynced bytes may exceed it) and `maps_max` maps (0: none; tail
    /// reads then go by `pread`).
    pub fn new(open_max: usize, maps_max: usize) -> Arc<Self> {
        Arc::new(Self {
            open_max,
            maps_max,
            open: Arc::default(),
            segments: Mutex::default(),
            maps: Mutex::default(),
        })
    }

    /// Descriptors that stand open now.
    pub fn open_files(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether more descriptors stand open than should, because they hold unsynced bytes: time for a sync of them all.
    pub fn is_over(&self) -> bool {
        self.open_files() > self.open_max
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
        if self.is_over() {
            self.close_unused(&mut self.segments.lock());
        }
    }

    /// Moves the hand on by a few files: thousands may hold unsynced bytes, and to look at them all for each would cost
    /// more than to be over the bound for a while.
    fn close_unused(&self, ring: &mut VecDeque<Weak<Segment>>) {
        let mut steps = (2 * ring.len()).min(STEPS_MAX);
        while self.is_over() && steps > 0 {
            steps -= 1;
            let Some(weak) = ring.pop_front() else { break };
            let Some(segment) = weak.upgrade() else { continue };
            if !segment.try_close() {
                ring.push_back(weak);
            }
        }
    }

    /// Takes note of a file that was just mapped, and drops other maps past the bound.
    pub(super) fn admit_map(&self, file: &Arc<SegmentFile>) {
        let mut ring = self.maps.lock();
        ring.retain(|weak| weak.upgrade().is_some_and(|file| file.has_map()));
        ring.push_back(Arc::downgrade(file));
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
            .field("maps_max", &self.maps_max)
            .finish_non_exhaustive()
    }
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
