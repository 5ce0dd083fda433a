//! Ways to put the appends of many partitions on disk together, without the broker around them: what
//! docs/decisions/group-sync.md compares.
//!
//! One thread appends for partitions that keep a few batches under way each; a second one syncs, in rounds, whatever was
//! appended before a round began, and answers it; a third one makes checkpoints. Printed are the medians of the rounds.
//!
//! `STREAMD_BENCH_DIR` (the working directory) is where the files go, `STREAMD_BENCH_ROUNDS` (5) how often each way is
//! measured, `STREAMD_BENCH_MS` (2000) for how long, `STREAMD_BENCH_KIB` (16) how large a batch is,
//! `STREAMD_BENCH_PARTITIONS` (1,16,100,1000) how many are busy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a bench ends when it cannot go on, prints, and has the system's clock"
)]

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::fs::{FallocateFlags, fallocate, syncfs};

/// Batches that a partition's clients keep under way.
const UNDER_WAY: usize = 5;
/// Threads that sync files, the caller included: as many as the broker has.
const SYNC_THREADS: usize = 8;
const RING_BYTES: u64 = 256 << 20;
/// The broker's limits on what lies behind a checkpoint, of one partition and of all.
const BEHIND_BYTES_MAX: u64 = 64 << 20;
const BEHIND_TOTAL_MAX: u64 = 512 << 20;
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(250);
/// Small files that a checkpoint writes for each partition.
const SMALL_FILES: u64 = 2;
const RESERVE_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// fdatasync of each file that was written to.
    Files,
    /// One sync of the file system.
    Whole,
    /// A second copy of everything in one recycled file, which alone is waited for.
    Ring,
}

const WAYS: [Way; 3] = [Way::Files, Way::Whole, Way::Ring];

#[derive(Debug, Default, Clone, Copy)]
struct Measured {
    mb_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_per_gb: f64,
    machine_per_gb: f64,
}

fn main() {
    let dir =
        PathBuf::from(env::var("STREAMD_BENCH_DIR").unwrap_or_else(|_| ".".into())).join("group-sync.tmp");
    let rounds = setting("STREAMD_BENCH_ROUNDS", 5);
    let time = Duration::from_millis(setting("STREAMD_BENCH_MS", 2000) as u64);
    let batch = vec![0xa5; setting("STREAMD_BENCH_KIB", 16) << 10];
    let partitions = env::var("STREAMD_BENCH_PARTITIONS").unwrap_or_else(|_| "1,16,100,1000".into());
    fs::create_dir_all(&dir).expect("a directory to measure in");
    touch_memory(&dir);
    println!("partitions | way | MB/s | ack p50 ms | p99 ms | CPU s/GB | CPU of the machine s/GB");
    for partitions in partitions.split(',').map(|text| text.trim().parse::<usize>().expect("a number")) {
        let mut found = [const { Vec::new() }; WAYS.len()];
        for round in 0..rounds {
            for nth in 0..WAYS.len() {
                let nth = (nth + round) % WAYS.len();
                found[nth].push(Scene::new(&dir, WAYS[nth], partitions).play(&batch, time));
                fs::remove_dir_all(&dir).expect("own files can be removed");
                fs::create_dir_all(&dir).expect("a directory to measure in");
                syncfs(File::open(&dir).expect("it is there")).expect("a sync between rounds");
            }
        }
        for (way, found) in WAYS.iter().zip(&found) {
            let median = |of: fn(&Measured) -> f64| {
                let mut all: Vec<f64> = found.iter().map(of).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            let (rate, p50, p99) = (median(|m| m.mb_per_second), median(|m| m.p50_ms), median(|m| m.p99_ms));
            let (cpu, machine) = (median(|m| m.cpu_per_gb), median(|m| m.machine_per_gb));
            println!("{partitions} | {way:?} | {rate:.0} | {p50:.2} | {p99:.2} | {cpu:.2} | {machine:.2}");
        }
    }
    fs::remove_dir_all(&dir).expect("own files can be removed");
}

fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Memory that a virtual machine touches for the first time is slow: all that a round needs is touched before.
fn touch_memory(dir: &Path) {
    let path = dir.join("touched");
    let file = File::create(&path).expect("a file to touch memory with");
    let block = vec![1; 4 << 20];
    (0..1000).for_each(|nth| file.write_all_at(&block, nth * (4 << 20)).expect("4 GB of space"));
    fs::remove_file(path).expect("own files can be removed");
}

/// One way with its files and threads.
struct Scene {
    way: Way,
    partitions: Vec<Partition>,
    ring: Arc<File>,
    pool: Pool,
    state: Mutex<State>,
    /// The appender waits here for answers, or for room in the ring.
    answered: Condvar,
    /// The syncer waits here for something to sync.
    appended: Condvar,
    over: AtomicBool,
}

struct Partition {
    log: Arc<File>,
    small: Vec<Arc<File>>,
}

#[derive(Default)]
struct State {
    /// One entry for each batch that may be appended now.
    ready: VecDeque<usize>,
    gathering: Vec<(usize, Instant)>,
    latencies: Vec<f64>,
    /// Bytes of each partition behind its checkpoint, and of all.
    behind: Vec<u64>,
    total_behind: u64,
    /// Bytes of the ring whose segments are not known to be on disk.
    ring_used: u64,
}

impl Scene {
    fn new(dir: &Path, way: Way, count: usize) -> Self {
        let new = |name: String| {
            let options = &mut File::options();
            let open = options.read(true).write(true).create(true).truncate(true).open(dir.join(name));
            Arc::new(open.expect("a file for each partition"))
        };
        let partition = |nth| Partition {
            log: new(format!("{nth}.log")),
            small: (0..SMALL_FILES).map(|small| new(format!("{nth}.{small}"))).collect(),
        };
        let ring = new("ring".to_owned());
        if way == Way::Ring {
            let block = vec![0; 4 << 20];
            (0..RING_BYTES / (4 << 20))
                .for_each(|nth| ring.write_all_at(&block, nth * (4 << 20)).expect("space"));
            ring.sync_all().expect("a ring on disk");
        }
        let partitions: Vec<_> = (0..count).map(partition).collect();
        syncfs(&*ring).expect("all files on disk before the first append");
        let ready = (0..count * UNDER_WAY).map(|nth| nth % count).collect();
        let state = State { ready, behind: vec![0; count], ..State::default() };
        Self {
            way,
            partitions,
            ring,
            pool: Pool::new(),
            state: Mutex::new(state),
            answered: Condvar::new(),
            appended: Condvar::new(),
            over: AtomicBool::new(false),
        }
    }

    fn play(&self, batch: &[u8], time: Duration) -> Measured {
        let (own, machine) = (own_cpu_seconds(), machine_cpu_seconds());
        let began = Instant::now();
        let spent = std::thread::scope(|scope| {
            scope.spawn(|| self.answer_in_rounds());
            scope.spawn(|| self.make_checkpoints());
            self.append_until(batch, began + time);
            // What ends here is what counts: the threads go on for a moment.
            let spent =
                (own_cpu_seconds() - own, machine_cpu_seconds() - machine, began.elapsed().as_secs_f64());
            self.over.store(true, Ordering::SeqCst);
            let _state = self.state.lock();
            self.appended.notify_all();
            spent
        });
        let mut latencies = std::mem::take(&mut self.state.lock().latencies);
        latencies.sort_by(f64::total_cmp);
        let gb = latencies.len() as f64 * batch.len() as f64 / 1e9;
        let quantile = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] * 1e3;
        Measured {
            mb_per_second: gb * 1e3 / spent.2,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            cpu_per_gb: spent.0 / gb,
            machine_per_gb: spent.1 / gb,
        }
    }

    fn append_until(&self, batch: &[u8], end: Instant) {
        let (bytes, count) = (batch.len() as u64, self.partitions.len());
        let (mut position, mut reserved, mut ring_at) = (vec![0; count], vec![0; count], 0);
        while Instant::now() < end {
            let mut state = self.state.lock();
            let has_room = |state: &State| self.way != Way::Ring || state.ring_used + bytes <= RING_BYTES;
            if state.ready.is_empty() || !has_room(&state) {
                self.answered.wait_for(&mut state, Duration::from_millis(100));
                continue;
            }
            let Some(nth) = state.ready.pop_front() else { continue };
            drop(state);
            let began = Instant::now();
            let log = &self.partitions[nth].log;
            if position[nth] + bytes > reserved[nth] {
                let ahead = position[nth].clamp(64 << 10, RESERVE_BYTES);
                fallocate(log, FallocateFlags::KEEP_SIZE, reserved[nth], bytes + ahead).expect("space");
                reserved[nth] += bytes + ahead;
            }
            log.write_all_at(batch, position[nth]).expect("an append");
            position[nth] += bytes;
            if self.way == Way::Ring {
                if ring_at + bytes > RING_BYTES {
                    ring_at = 0;
                }
                self.ring.write_all_at(batch, ring_at).expect("an append to the ring");
                ring_at += bytes;
            }
            let mut state = self.state.lock();
            state.behind[nth] += bytes;
            state.total_behind += bytes;
            state.ring_used += bytes;
            state.gathering.push((nth, began));
            drop(state);
            self.appended.notify_one();
        }
    }

    /// Rounds of a sync and the answers to all that was appended before it.
    fn answer_in_rounds(&self) {
        while !self.over.load(Ordering::SeqCst) {
            let mut state = self.state.lock();
            if state.gathering.is_empty() {
                self.appended.wait_for(&mut state, Duration::from_millis(100));
                continue;
            }
            let round = std::mem::take(&mut state.gathering);
            drop(state);
            match self.way {
                Way::Whole => syncfs(&*self.ring).expect("a sync"),
                Way::Ring => self.ring.sync_data().expect("a sync"),
                Way::Files => {
                    let mut dirty: Vec<usize> = round.iter().map(|(nth, _)| *nth).collect();
                    dirty.sort_unstable();
                    dirty.dedup();
                    self.pool.sync(dirty.iter().map(|nth| self.partitions[*nth].log.clone()).collect());
                }
            }
            let now = Instant::now();
            let mut state = self.state.lock();
            for (nth, began) in round {
                state.latencies.push((now - began).as_secs_f64());
                state.ready.push_back(nth);
            }
            drop(state);
            self.answered.notify_one();
        }
    }

    /// As the broker: partitions that are far behind, and if all together are, those that are furthest until half of it
    /// is done. With a ring their segments have to be synced, too, before its bytes may be written over.
    fn make_checkpoints(&self) {
        let is_ring = self.way == Way::Ring;
        let total_max = if is_ring { RING_BYTES / 2 } else { BEHIND_TOTAL_MAX };
        while !self.over.load(Ordering::SeqCst) {
            std::thread::sleep(if is_ring { Duration::from_millis(5) } else { CHECKPOINT_PAUSE });
            let mut state = self.state.lock();
            let is_full = state.total_behind >= total_max;
            let mut order: Vec<usize> =
                (0..self.partitions.len()).filter(|nth| state.behind[*nth] > 0).collect();
            order.sort_unstable_by_key(|nth| std::cmp::Reverse(state.behind[*nth]));
            let mut left = if is_full { if is_ring { u64::MAX } else { total_max / 2 } } else { 0 };
            // The ring is given back from its oldest byte on, so all that is in it has to be on disk.
            let used = if is_full { state.ring_used } else { 0 };
            order.retain(|nth| {
                let bytes = state.behind[*nth];
                let is_due = left > 0 || bytes >= BEHIND_BYTES_MAX && !is_ring;
                left = left.saturating_sub(bytes);
                is_due
            });
            for nth in &order {
                state.total_behind -= state.behind[*nth];
                state.behind[*nth] = 0;
            }
            drop(state);
            if order.is_empty() {
                continue;
            }
            let small = order.iter().flat_map(|nth| &self.partitions[*nth].small);
            small.clone().for_each(|file| file.write_all_at(&[1; 4096], 0).expect("a small file"));
            let logs = order.iter().filter(|_| is_ring).map(|nth| self.partitions[*nth].log.clone());
            let set: Vec<_> = small.cloned().chain(logs).collect();
            if is_ring && set.len() > 64 {
                syncfs(&*self.ring).expect("a sync");
            } else {
                self.pool.sync(set);
            }
            self.state.lock().ring_used -= used;
            self.answered.notify_one();
        }
    }
}

/// Threads that sync the files of one set together.
struct Pool {
    threads: Vec<Sender<Arc<Set>>>,
}

struct Set {
    files: Vec<Arc<File>>,
    next: AtomicUsize,
    left: Mutex<usize>,
    done: Condvar,
}

impl Pool {
    fn new() -> Self {
        let thread = |_| {
            let (sender, sets) = channel::<Arc<Set>>();
            std::thread::spawn(move || sets.iter().for_each(|set| set.work()));
            sender
        };
        Self { threads: (1..SYNC_THREADS).map(thread).collect() }
    }

    fn sync(&self, files: Vec<Arc<File>>) {
        let (left, helpers) = (Mutex::new(files.len()), files.len().saturating_sub(1));
        let set = Arc::new(Set { files, next: AtomicUsize::new(0), left, done: Condvar::new() });
        for thread in self.threads.iter().take(helpers) {
            thread.send(set.clone()).expect("the pool lives as long as its scene");
        }
        set.work();
        let mut left = set.left.lock();
        while *left > 0 {
            set.done.wait(&mut left);
        }
    }
}

impl Set {
    fn work(&self) {
        while let Some(file) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            file.sync_data().expect("a sync");
            *self.left.lock() -= 1;
            self.done.notify_all();
        }
    }
}

/// User and system time of this process.
fn own_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

/// Time that all processors of the machine were not idle: write-back and the journal are in no process.
fn machine_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let fields = stat.lines().next().expect("a line for all processors").split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map(|field| field.parse().expect("a number")).collect();
    // user, nice, system, idle, iowait, irq, softirq
    (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / 100.0
}
