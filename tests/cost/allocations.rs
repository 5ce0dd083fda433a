//! Allocations, counted by an allocator around the system's, in a broker that runs in this process.

#![allow(unsafe_code, reason = "an allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::table::{self, median};
use crate::{ROUNDS, WARM_UP, requests};

/// How long the broker may take to serve.
const START_MAX: Duration = Duration::from_secs(30);
/// How long it goes on after an answer.
const AFTER: Duration = Duration::from_millis(2);

#[global_allocator]
static COUNTING: Counting = Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread's allocations are somebody else's than the broker's.
    static APART: Cell<bool> = const { Cell::new(false) };
}

/// Counts new blocks and those that are moved or grown.
struct Counting;

impl Counting {
    fn count() {
        // A thread that ends has no cell any more, and nothing to be counted for.
        if APART.try_with(Cell::get) == Ok(false) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: all is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// From now on nothing that this thread allocates counts.
pub(crate) fn apart() {
    APART.set(true);
}

/// Starts a broker in this process, which runs until the process ends. Where it serves.
fn broker(dir: &TempDir) -> String {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ports = path("ports.json");
    let words = ["streamd", "--data-dir", &path("data"), "--ports-file", &ports];
    let settings = ["listen.kafka=127.0.0.1:0", "listen.admin=", "durability.fsync=never", "log.level=error"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    for setting in settings {
        words.extend(["--set".to_owned(), setting.to_owned()]);
    }
    thread::spawn(move || streamd::cli::run(words.into_iter().map(Into::into)).unwrap());
    let began = Instant::now();
    loop {
        if let Ok(said) = fs::read(&ports) {
            let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
            return said["kafka"][0].as_str().unwrap().to_owned();
        }
        assert!(began.elapsed() < START_MAX, "the broker does not serve");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_request_costs_the_allocations_that_the_page_says() {
    apart();
    let dir = TempDir::new().unwrap();
    let address = broker(&dir);
    let mut found = table::Rows::new();
    requests::each(&address, |what, ask| {
        (0..WARM_UP).for_each(|_| ask());
        let rounds: Vec<usize> = (0..ROUNDS)
            .map(|_| {
                thread::sleep(AFTER);
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                ask();
                thread::sleep(AFTER);
                ALLOCATIONS.load(Ordering::Relaxed) - before
            })
            .collect();
        found.insert(what.to_owned(), vec![median(rounds.into_iter())]);
    });
    assert_eq!(found, table::columns(&["allocations"]));
}
