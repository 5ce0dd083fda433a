//! The committer against fake logs: what is published, what is not, and how rounds are shared.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::storage::flush::{SyncMark, SyncNote, WholeSync};

/// A log whose end tests move by hand. It checks the committer's side of the contract wherever it is called.
struct FakeLog {
    mark: SyncMark,
    file: Mutex<Arc<File>>,
    paths: Mutex<Vec<Arc<std::path::Path>>>,
    end: AtomicI64,
    dirty: AtomicBool,
    /// The end of the note that is in flight; -1 for none.
    noted: AtomicI64,
    durable: AtomicI64,
    rounds: AtomicUsize,
    failures: AtomicUsize,
    /// While set, a note waits: it stands for a round that takes its time.
    gate: Mutex<Option<mpsc::Receiver<()>>>,
    entered: Mutex<Option<mpsc::Sender<()>>>,
}

impl FakeLog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mark: SyncMark::default(),
            file: Mutex::new(Arc::new(tempfile::tempfile().unwrap())),
            paths: Mutex::default(),
            end: AtomicI64::new(0),
            dirty: AtomicBool::new(false),
            noted: AtomicI64::new(-1),
            durable: AtomicI64::new(0),
            rounds: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            gate: Mutex::new(None),
            entered: Mutex::new(None),
        })
    }

    fn append(self: &Arc<Self>, committer: &Committer, bytes: u64, when: When) {
        self.end.fetch_add(1, Ordering::SeqCst);
        self.dirty.store(true, Ordering::SeqCst);
        committer.mark_dirty(self, bytes, when);
    }

    /// From now on a sync of this log fails.
    fn break_disk(&self) {
        *self.file.lock() = Arc::new(File::open("/dev/null").unwrap());
    }

    fn durable(&self) -> i64 {
        self.durable.load(Ordering::SeqCst)
    }

    fn end(&self) -> i64 {
        self.end.load(Ordering::SeqCst)
    }
}

impl SyncTarget for FakeLog {
    fn mark(&self) -> &SyncMark {
        &self.mark
    }

    fn note(&self) -> Option<SyncNote> {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        if let Some(entered) = self.entered.lock().take() {
            entered.send(()).unwrap();
        }
        if let Some(gate) = self.gate.lock().take() {
            gate.recv().unwrap();
        }
        if !self.dirty.swap(false, Ordering::SeqCst) {
            return None;
        }
        let end = self.end();
        let before = self.noted.swap(end, Ordering::SeqCst);
        assert_eq!(before, -1, "noted again before the last note's round ended");
        Some(SyncNote { files: vec![self.file.lock().clone()], paths: self.paths.lock().clone(), end })
    }

    fn synced(&self, end: i64) {
        let noted = self.noted.swap(-1, Ordering::SeqCst);
        assert_eq!(end, noted, "only what was noted before the sync may be published");
        let before = self.durable.swap(end, Ordering::SeqCst);
        assert!(before <= end, "the durable end went back");
    }

    fn failed(&self, _: &Arc<io::Error>) {
        self.failures.fetch_add(1, Ordering::SeqCst);
        self.noted.store(-1, Ordering::SeqCst);
    }
}

fn committer_with(clock: Clock, limit: u64) -> Arc<Committer> {
    let spec = CommitterSpec {
        clock,
        health: DirHealth::new(),
        dir: Arc::new(File::open("/tmp").unwrap()),
        whole: WholeSync::Never,
        files: FileCache::new(64, 0),
        unsynced_limit_bytes: limit,
    };
    Committer::start(spec).unwrap()
}

fn committer() -> Arc<Committer> {
    committer_with(Clock::system(), 1 << 30)
}

fn as_targets(logs: &[Arc<FakeLog>]) -> Vec<Arc<dyn SyncTarget>> {
    logs.iter().map(|log| log.clone() as Arc<dyn SyncTarget>).collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("not within a minute: {what}");
}

#[test]
fn what_is_requested_becomes_durable() {
    let committer = committer();
    let log = FakeLog::new();
    log.append(&committer, 10, When::Now);
    eventually("durable", || log.durable() == 1);
    assert_eq!(committer.unsynced().bytes(), 0);
    log.append(&committer, 10, When::Someday);
    committer.sync(&as_targets(std::slice::from_ref(&log))).unwrap();
    assert_eq!(log.durable(), 2, "sync returns when it is");
}

#[test]
fn requests_during_a_round_share_the_next_one() {
    let committer = committer();
    let slow = FakeLog::new();
    let (open, gate) = mpsc::channel();
    let (entered, running) = mpsc::channel();
    *slow.gate.lock() = Some(gate);
    *slow.entered.lock() = Some(entered);
    slow.append(&committer, 1, When::Now);
    running.recv().unwrap();

    let logs: Vec<_> = (0..20).map(|_| FakeLog::new()).collect();
    for _ in 0..50 {
        logs.iter().for_each(|log| log.append(&committer, 1, When::Now));
        slow.append(&committer, 1, When::Now);
    }
    assert!(logs.iter().all(|log| log.rounds.load(Ordering::SeqCst) == 0), "a round is running");
    open.send(()).unwrap();
    eventually("all durable", || logs.iter().all(|log| log.durable() == 50) && slow.durable() == 51);
    assert!(logs.iter().all(|log| log.rounds.load(Ordering::SeqCst) == 1), "50 requests, one round");
    assert_eq!(slow.rounds.load(Ordering::SeqCst), 2, "what came after its note went to the next round");
}

#[test]
fn ends_are_those_noted_before_the_sync_whatever_is_appended_meanwhile() {
    let committer = committer();
    let logs: Vec<_> = (0..4).map(|_| FakeLog::new()).collect();
    std::thread::scope(|scope| {
        for log in &logs {
            scope.spawn(|| {
                for n in 0..3000 {
                    let when = if n % 3 == 0 { When::Now } else { When::Soon };
                    log.append(&committer, 7, when);
                    assert!(log.durable() <= log.end());
                }
            });
        }
    });
    committer.sync(&as_targets(&logs)).unwrap();
    // The checks are in FakeLog::note and FakeLog::synced.
    assert!(logs.iter().all(|log| log.durable() == 3000));
    assert_eq!(committer.unsynced().bytes(), 0, "every byte was taken off again");
}

#[test]
fn soon_needs_no_waiter() {
    let committer = committer();
    let log = FakeLog::new();
    log.append(&committer, 1, When::Soon);
    eventually("durable without a request", || log.durable() == 1);
}

#[test]
fn the_background_is_synced_by_its_deadline_and_not_before() {
    let clock = Clock::manual(0);
    let committer = committer_with(clock.clone(), 1 << 30);
    let (log, other) = (FakeLog::new(), FakeLog::new());
    log.append(&committer, 1, When::Within(Duration::from_millis(50)));
    committer.sync(&as_targets(std::slice::from_ref(&other))).unwrap();
    assert_eq!(log.durable(), 0, "an ack's round does not pay for the background");
    clock.advance(Duration::from_millis(50));
    eventually("durable", || log.durable() == 1);
}

#[test]
fn write_back_starts_at_a_quarter_of_the_limit_even_for_never() {
    let committer = committer_with(Clock::manual(0), 1000);
    let log = FakeLog::new();
    log.append(&committer, 249, When::Someday);
    committer.sync(&as_targets(&[FakeLog::new()])).unwrap();
    assert_eq!((log.durable(), committer.unsynced().bytes()), (0, 249));
    log.append(&committer, 1, When::Someday);
    eventually("written back", || log.durable() == 2);
    eventually("counted", || committer.unsynced().bytes() == 0);
}

#[test]
fn a_failed_sync_publishes_nothing_and_is_final() {
    let committer = committer();
    let (good, bad, later) = (FakeLog::new(), FakeLog::new(), FakeLog::new());
    bad.break_disk();
    later.append(&committer, 1, When::Someday);
    good.end.fetch_add(1, Ordering::SeqCst);
    good.dirty.store(true, Ordering::SeqCst);
    bad.append(&committer, 1, When::Soon);
    let error = committer.sync(&as_targets(&[good.clone(), bad.clone()])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "/dev/null cannot be synced");
    assert!(committer.health().is_failed());
    assert_eq!((good.durable(), bad.durable()), (0, 0), "nothing of a failed round counts");
    eventually("everybody queued is told", || {
        [&good, &bad, &later].iter().all(|log| log.failures.load(Ordering::SeqCst) > 0)
    });

    let rounds = good.rounds.load(Ordering::SeqCst);
    good.append(&committer, 1, When::Now);
    eventually("who comes later is told too", || good.failures.load(Ordering::SeqCst) > 1);
    assert!(committer.sync(&as_targets(std::slice::from_ref(&good))).is_err());
    assert_eq!(good.durable(), 0);
    assert_eq!(good.rounds.load(Ordering::SeqCst), rounds, "never synced again as proof");
    assert!(!committer.unsynced().is_full(), "and holds no socket back");
}

#[test]
fn want_of_descriptors_delays_a_round_and_fails_nothing() {
    use crate::storage::testing::{all_descriptors, is_short_of_descriptors};
    if !is_short_of_descriptors(module_path!(), "want_of_descriptors_delays_a_round_and_fails_nothing") {
        return;
    }
    let committer = committer();
    let log = FakeLog::new();
    log.paths.lock().push(std::path::Path::new("/tmp").into());
    committer.syncer().drop_spare();
    let all = all_descriptors();
    log.append(&committer, 5, When::Now);
    std::thread::sleep(3 * SHORTAGE_PAUSE);
    assert_eq!((log.durable(), log.rounds.load(Ordering::SeqCst)), (0, 1), "the round goes on");
    assert_eq!(committer.unsynced().bytes(), 5);
    assert!(!committer.health().is_failed());
    drop(all);
    committer.sync(&as_targets(std::slice::from_ref(&log))).unwrap();
    assert_eq!(log.durable(), 1);
    eventually("counted", || committer.unsynced().bytes() == 0);
    assert_eq!(log.failures.load(Ordering::SeqCst), 0);
}

#[test]
fn a_directory_that_failed_elsewhere_publishes_nothing() {
    let committer = committer();
    let log = FakeLog::new();
    let (open, gate) = mpsc::channel();
    let (entered, running) = mpsc::channel();
    *log.gate.lock() = Some(gate);
    *log.entered.lock() = Some(entered);
    log.append(&committer, 1, When::Now);
    running.recv().unwrap();
    committer.health().fail(io::Error::other("the manifest's sync failed"));
    open.send(()).unwrap();
    eventually("told", || log.failures.load(Ordering::SeqCst) > 0);
    assert_eq!(log.durable(), 0);
}

#[test]
fn a_stop_syncs_what_is_dirty_and_returns_at_once_when_nothing_is() {
    let committer = committer();
    let logs: Vec<_> = (0..20).map(|_| FakeLog::new()).collect();
    for (log, when) in logs.iter().zip([When::Someday, When::Within(Duration::from_secs(60))].iter().cycle())
    {
        log.append(&committer, 1, *when);
    }
    committer.stop();
    assert!(logs.iter().all(|log| log.durable() == 1));
    assert!(committer.sync(&as_targets(&logs)).is_err(), "a stopped committer makes no promise");

    let quickest = (0..5).map(|_| {
        let idle = self::committer();
        let clock = Clock::system();
        idle.stop();
        clock.monotonic()
    });
    assert!(quickest.min().unwrap() < Duration::from_millis(20));
}

#[test]
fn a_committer_that_dies_fails_the_directory_and_leaves_nobody_waiting() {
    let committer = committer();
    let (log, other) = (FakeLog::new(), FakeLog::new());
    // Breaks the contract that the fake checks, so that the committer's thread panics.
    log.noted.store(5, Ordering::SeqCst);
    log.append(&committer, 1, When::Now);
    other.append(&committer, 1, When::Someday);
    assert!(committer.sync(&as_targets(std::slice::from_ref(&other))).is_err());
    assert!(committer.health().is_failed());
    eventually("told", || other.failures.load(Ordering::SeqCst) > 0);
}
