//! Counts what the current thread allocates, so that a test can hold a decoder to a bound.

#![allow(unsafe_code, reason = "an allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// What a piece of code allocated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    /// The most bytes that were allocated at one time, above what was before.
    pub(crate) peak_bytes: usize,
    /// How many allocations there were.
    pub(crate) allocations: usize,
}

/// Runs `code` and says what it allocated.
pub(crate) fn measure<T>(code: impl FnOnce() -> T) -> (T, Use) {
    let (live, calls) = (LIVE.get(), CALLS.get());
    PEAK.set(live);
    let result = code();
    let peak_bytes = usize::try_from(PEAK.get() - live).unwrap();
    (result, Use { peak_bytes, allocations: CALLS.get() - calls })
}

struct Counting;

fn grown(bytes: usize) {
    // A thread that ends has no counters any more; nothing is measured then.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + isize::try_from(bytes).unwrap_or(isize::MAX / 2));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

fn shrunk(bytes: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get() - isize::try_from(bytes).unwrap_or(isize::MAX / 2)));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: `ptr` came from `alloc` above, so from the system's allocator, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}
