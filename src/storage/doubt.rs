//! What of a segment's file nobody has checked since it was opened: the first read of it does, before it is shown.
//!
//! A log that is opened believes what its manifest row vouches for without reading it, and a disk may have let it rot.
//! What this process appended, recovered or compacted was checked when it was. So doubt is a stretch that can only
//! shrink: readers that go through a segment take it away as they come, and so does a scrub.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The doubtful stretch of one file; without any, which is nearly always, a question is two loads.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Only rises.
    from: AtomicU64,
    /// Only falls, once it is set.
    to: AtomicU64,
}

impl Doubt {
    /// Nobody has checked the first `len` bytes. To be said before the file has readers.
    pub(super) fn begin(&self, len: u64) {
        self.to.store(len, Ordering::Release);
    }

    /// Whether some of this is unchecked.
    pub(super) fn covers(&self, wanted: &Range<u64>) -> bool {
        // The end first: for whatever is appended it is enough.
        wanted.start < self.to.load(Ordering::Acquire)
            && wanted.end > self.from.load(Ordering::Acquire)
            && !self.is_over()
    }

    /// This was checked, and is sound. Counts if nothing unchecked is left on one side of it.
    pub(super) fn lift(&self, sound: &Range<u64>) {
        if sound.start <= self.from.load(Ordering::Acquire) {
            self.from.fetch_max(sound.end, Ordering::AcqRel);
        }
        if sound.end >= self.to.load(Ordering::Acquire) {
            self.to.fetch_min(sound.start, Ordering::AcqRel);
        }
    }

    fn is_over(&self) -> bool {
        self.from.load(Ordering::Acquire) >= self.to.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_from_an_end_is_doubted_no_more() {
        let doubt = Doubt::default();
        assert!(!doubt.covers(&(0..u64::MAX)), "nothing was doubted");
        doubt.begin(100);
        assert!(doubt.covers(&(0..1)) && doubt.covers(&(99..200)));
        assert!(!doubt.covers(&(100..200)), "appended since");
        doubt.lift(&(40..60));
        assert!(doubt.covers(&(40..60)), "in the midst: it is checked again");
        doubt.lift(&(0..50));
        assert!(!doubt.covers(&(0..50)) && doubt.covers(&(0..51)));
        doubt.lift(&(90..120));
        assert!(!doubt.covers(&(90..100)) && doubt.covers(&(89..100)));
        doubt.lift(&(50..90));
        assert!(!doubt.covers(&(0..u64::MAX)));
    }
}
