//! How long a batch takes from a producer to a consumer where no broker does anything between them: what
//! docs/performance.md compares the end-to-end latencies with.
//!
//! Two producers send batches over the loopback on a fixed schedule, a thread for each hands them on as it gets them, and
//! a consumer for each takes them; every latency counts from when the batch was due. Printed are the rounds' medians.
//!
//! `STREAMD_BENCH_ROUNDS` (5) says how often that is measured, `STREAMD_BENCH_MS` (8000) for how long,
//! `STREAMD_BENCH_KIB` (16) how large a batch is, `STREAMD_BENCH_RATE` (20) how many MB a second there are in all.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench ends when it cannot go on, prints, and has the system's clock"
)]

use std::env;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

const PRODUCERS: u32 = 2;

/// When the batches of one producer are due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    interval: Duration,
    batches: u32,
}

impl Schedule {
    fn due(self, nth: u32) -> Instant {
        self.start + self.interval * nth
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// Sends each batch when it is due.
fn produce(mut to: TcpStream, batch: &[u8], schedule: Schedule) {
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).unwrap();
    for nth in 0..schedule.batches {
        thread::sleep(schedule.due(nth).saturating_duration_since(Instant::now()));
        to.write_all(batch).unwrap();
    }
}

/// Hands every batch on.
fn relay(mut from: TcpStream, mut to: TcpStream, bytes: usize, schedule: Schedule) {
    let mut batch = vec![0; bytes];
    for _ in 0..schedule.batches {
        from.read_exact(&mut batch).unwrap();
        to.write_all(&batch).unwrap();
    }
}

/// How long each batch took.
fn consume(mut from: TcpStream, bytes: usize, schedule: Schedule) -> Vec<Duration> {
    let mut batch = vec![0; bytes];
    let mut take = |nth| {
        from.read_exact(&mut batch).unwrap();
        Instant::now().saturating_duration_since(schedule.due(nth))
    };
    (0..schedule.batches).map(&mut take).collect()
}

/// The latencies of one round, sorted.
fn round(bytes: usize, rate: u64, lasts: Duration) -> Vec<Duration> {
    let batch = vec![7; bytes];
    let interval = Duration::from_secs_f64(bytes as f64 * f64::from(PRODUCERS) / rate as f64);
    let batches = u32::try_from(lasts.as_nanos() / interval.as_nanos()).unwrap();
    let start = Instant::now() + Duration::from_millis(100);
    let mut all: Vec<Duration> = thread::scope(|threads| {
        let consumers: Vec<_> = (0..PRODUCERS)
            .map(|nth| {
                let schedule = Schedule { start: start + interval * nth / PRODUCERS, interval, batches };
                let ((producer, in_side), (out_side, consumer)) = (connected(), connected());
                let batch = &batch;
                threads.spawn(move || produce(producer, batch, schedule));
                threads.spawn(move || relay(in_side, out_side, bytes, schedule));
                threads.spawn(move || consume(consumer, bytes, schedule))
            })
            .collect();
        consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
    });
    all.sort_unstable();
    all
}

fn main() {
    let bytes = usize::try_from(setting("STREAMD_BENCH_KIB", 16) << 10).unwrap();
    let rate = setting("STREAMD_BENCH_RATE", 20) * 1_000_000;
    let lasts = Duration::from_millis(setting("STREAMD_BENCH_MS", 8_000));
    let rounds: Vec<_> = (0..setting("STREAMD_BENCH_ROUNDS", 5)).map(|_| round(bytes, rate, lasts)).collect();
    for (name, per_mille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        let mut of_rounds: Vec<_> =
            rounds.iter().map(|round| round[round.len() * per_mille / 1000]).collect();
        of_rounds.sort_unstable();
        let (least, most) = (of_rounds[0], of_rounds[of_rounds.len() - 1]);
        println!("{name}: {:?} [{least:?} to {most:?}]", of_rounds[of_rounds.len() / 2]);
    }
}
